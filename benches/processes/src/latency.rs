//! How soon a person's connections are being ended, and how soon that is verified, where every call to AWS takes 30 ms.
//!
//! The function is warm. What the round trips alone cost is counted from outside: calls that begin together are one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Programs;
use crate::aws::{Aws, now_millis};
use crate::lambda::{Lambda, command};
use crate::picture::{Line, picture};

/// How long every call takes.
const LATENCY: Duration = Duration::from_millis(30);

const ENDPOINTS: usize = 3;

/// How many connections each endpoint has.
const SIZES: [usize; 3] = [100, 500, 2_500];

/// How often each is measured; the median counts.
const TIMES: usize = 7;

/// The settle time unless it is set.
const SETTLE: &str = "10";

/// What one revocation came to, in milliseconds.
#[derive(Clone, Copy)]
struct Seen {
    first_terminate: f64,
    rounds: usize,
    verified: f64,
}

/// Prints the table, and draws it.
pub async fn table(given: &Programs) {
    println!(
        "| function | connections on each endpoint | first terminate | round trips before it | these alone | over them | verified, settle 0 | verified, settle {SETTLE} |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut lines = Vec::new();
    for (name, program) in [("revoker", vec![given.revoker.clone()]), ("Python", given.by_python("revoker"))] {
        let mut points = Vec::new();
        for size in SIZES {
            let (seen, trip) = measure(given, &program, size, "0", TIMES).await;
            let (settled, _) = measure(given, &program, size, SETTLE, 1).await;
            let (seen, settled) = (median(seen), median(settled));
            let alone = seen.rounds as f64 * trip;
            println!(
                "| {name} | {size} | {:.0} ms | {} | {alone:.0} ms | {:.0} ms, {:.0} % | {:.0} ms | {:.2} s |",
                seen.first_terminate,
                seen.rounds,
                seen.first_terminate - alone,
                (seen.first_terminate / alone - 1.0) * 100.0,
                seen.verified,
                settled.verified / 1e3,
            );
            points.push((size as f64, seen.first_terminate));
        }
        lines.push(Line { name, points });
    }
    picture(
        "first-terminate.svg",
        ("connections on each of three endpoints", "ms to the first terminate call"),
        &lines,
    );
}

fn median(mut seen: Vec<Seen>) -> Seen {
    seen.sort_by(|a, b| a.first_terminate.total_cmp(&b.first_terminate));
    seen[seen.len() / 2]
}

/// Revokes so many people one after another, each of whom is connected to every endpoint.
///
/// Also how long one call alone takes, in milliseconds.
async fn measure(given: &Programs, program: &[PathBuf], size: usize, settle: &str, times: usize) -> (Vec<Seen>, f64) {
    let aws = Aws::start(ENDPOINTS, LATENCY, |emulator| emulator).await;
    aws.crowd(size - times);
    let variables = aws.variables(&[("VPN_REVOKER_SETTLE_SECONDS", settle)]);
    let mut command = command(program, &variables);
    command.current_dir(&given.peer);
    let mut lambda = Lambda::start(command, &revoke("nobody")).await;
    lambda.first_answer().await;
    let trip = aws.round_trip().await.expect("an answer").as_secs_f64() * 1e3;
    let mut seen = Vec::new();
    for number in 0..times {
        let who = format!("leaver-{number}");
        (0..ENDPOINTS).for_each(|endpoint| drop(aws.connect(endpoint, &format!("{who}@example.com"))));
        aws.forget_calls();
        let (asked, asked_at) = (Instant::now(), now_millis());
        let answer = lambda.ask(&revoke(&who)).await;
        assert_eq!(answer.body["outcome"], "completed", "{}", answer.body);
        let mut calls: Vec<f64> = (aws.relay.calls().iter())
            .map(|(at, _)| at.duration_since(asked).as_secs_f64() * 1e3)
            .chain(aws.emulator.requests().iter().map(|request| (request.at_millis - asked_at) as f64))
            .collect();
        calls.sort_by(f64::total_cmp);
        let terminate =
            |request: &client_vpn_emulator::RequestRecord| request.action == "TerminateClientVpnConnections";
        let first =
            aws.emulator.requests().iter().find(|request| terminate(request)).expect("one").at_millis - asked_at;
        let first = first as f64;
        // The longest row of calls of which each began when the one before it was over.
        let before: Vec<f64> = calls.into_iter().filter(|at| *at < first).collect();
        let mut rounds = 0;
        let mut begun = f64::NEG_INFINITY;
        for at in before {
            if at - begun > LATENCY.as_secs_f64() * 900.0 {
                (rounds, begun) = (rounds + 1, at);
            }
        }
        seen.push(Seen { first_terminate: first, rounds, verified: answer.took.as_secs_f64() * 1e3 });
    }
    (seen, trip)
}

fn revoke(who: &str) -> Value {
    json!({"action": "revoke", "subjects": [format!("{who}@example.com")], "reason": "bench", "id": format!("bench-{who}")})
}
