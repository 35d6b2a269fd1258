//! How many calls to AWS it takes to end people's connections, beside the fewest for as many commands, and beside Python.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Programs;
use crate::aws::Aws;
use crate::lambda::{Lambda, command};
use crate::picture::{Line, picture};

/// People who are revoked, and how many of them by one command.
const SIZES: [(usize, usize); 3] = [(1, 1), (10, 10), (1_000, 50)];

/// Endpoints in scope. Everybody who is revoked has a connection on each.
const ENDPOINTS: usize = 3;

/// Everybody else on each of them.
const CROWD: usize = 200;

/// Rows in a page of a listing.
const PAGE: usize = 1_000;

/// Prints the table.
pub async fn table(given: &Programs) {
    println!(
        "| people, by one command | function | endpoints | listings | terminate | DynamoDB | all | for each person | beside |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut lines = ["the fewest", "revoker", "Python"].map(|name| Line { name, points: Vec::new() });
    for (people, at_once) in SIZES {
        let counts = [
            fewest(people, at_once),
            counted(given, vec![given.revoker.clone()], people, at_once).await,
            counted(given, given.by_python("revoker"), people, at_once).await,
        ];
        let least = counts[0].iter().sum::<usize>() as f64;
        for (line, count) in lines.iter_mut().zip(counts) {
            let (all, [endpoints, listings, terminates, tables]) = (count.iter().sum::<usize>(), count);
            let each = all as f64 / people as f64;
            println!(
                "| {people}, {at_once} | {} | {endpoints} | {listings} | {terminates} | {tables} | {all} | {each:.1} | {:.2} × |",
                line.name,
                all as f64 / least,
            );
            line.points.push((people as f64, each));
        }
    }
    picture("calls.svg", ("people who are revoked", "calls for each of them"), &lines);
}

/// For each command the endpoints once, each endpoint listed once to find and once to verify, in as many pages as there
/// are rows for; a call for each connection; for each person two writes: that it was asked for, in one transaction with
/// the lock, and that it is done.
fn fewest(people: usize, at_once: usize) -> [usize; 4] {
    let commands = people.div_ceil(at_once);
    // What has ended stays in the listing for an hour.
    let pages = (CROWD + people).div_ceil(PAGE);
    [commands, commands * 2 * ENDPOINTS * pages, people * ENDPOINTS, people * 2]
}

async fn counted(given: &Programs, program: Vec<PathBuf>, people: usize, at_once: usize) -> [usize; 4] {
    let aws = Aws::start(ENDPOINTS, Duration::ZERO, |emulator| emulator).await;
    aws.crowd(CROWD);
    let variables = aws.variables(&[("VPN_REVOKER_SETTLE_SECONDS", "0"), ("VPN_REVOKER_MAX_SUBJECTS", "50")]);
    let mut command = command(&program, &variables);
    command.current_dir(&given.peer);
    // What it asks for when it starts is no part of this.
    let mut lambda = Lambda::start(command, &revoke("nobody", 0, 1)).await;
    lambda.first_answer().await;
    for number in 0..people {
        (0..ENDPOINTS).for_each(|endpoint| drop(aws.connect(endpoint, &name("leaver", number))));
    }
    aws.forget_calls();
    for from in (0..people).step_by(at_once) {
        let answer = lambda.ask(&revoke("leaver", from, at_once.min(people - from))).await;
        assert_eq!(answer.body["outcome"], "completed", "{}", answer.body);
    }
    let left = aws.emulator.connections().iter().filter(|row| row.status.is_alive()).count();
    assert_eq!(left, CROWD * ENDPOINTS, "everybody who was revoked is out, and nobody else");
    [
        aws.ec2_calls(Some("DescribeClientVpnEndpoints")),
        aws.ec2_calls(Some("DescribeClientVpnConnections")),
        aws.ec2_calls(Some("TerminateClientVpnConnections")),
        aws.relay.calls().len(),
    ]
}

fn name(who: &str, number: usize) -> String {
    format!("{who}-{number}@example.com")
}

fn revoke(who: &str, from: usize, people: usize) -> Value {
    let subjects: Vec<String> = (from..from + people).map(|number| name(who, number)).collect();
    json!({"action": "revoke", "subjects": subjects, "reason": "bench", "id": format!("{who}-{from}")})
}
