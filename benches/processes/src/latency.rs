//! How soon a person's connections are being ended, and how soon that is verified, where every call to AWS takes 30 ms:
//! by a command about one, and by a batch of the queue with a producer's word about ten.
//!
//! The function is warm. What the round trips alone cost is counted from outside: calls that begin together are one.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use client_vpn_emulator::RequestRecord;
use serde_json::{Value, json};

use crate::Programs;
use crate::aws::{Aws, now_millis};
use crate::goal::{self, Goal};
use crate::lambda::{Lambda, command};
use crate::picture::{Line, picture};
use crate::queue::{BATCH, DEACTIVATED, Queue, okta};

/// How long every call takes.
const LATENCY: Duration = Duration::from_millis(30);

const ENDPOINTS: usize = 3;

/// How many connections each endpoint has.
const SIZES: [usize; 3] = [100, 500, 2_500];

/// How often each is measured; the median counts, of each figure by itself.
const TIMES: usize = 7;

/// The settle time unless it is set.
const SETTLE: &str = "10";

/// How the function hears of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Command,
    Batch,
}

/// What one revocation came to, in milliseconds.
#[derive(Clone, Copy)]
struct Seen {
    first_terminate: f64,
    /// The first call about whoever was the last of all.
    last_terminate: f64,
    rounds: f64,
    verified: f64,
}

/// Prints the table, and draws it.
pub async fn table(given: &Programs) {
    println!(
        "| function | connections on each endpoint | first terminate | beside | round trips before it | these alone | over them | the last person's | verified, settle 0 | verified, settle {SETTLE} |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let (mut lines, mut goals) = (Vec::new(), Vec::new());
    let (ours, python) = (vec![given.revoker.clone()], given.by_python("revoker"));
    let mut pythons: Vec<f64> = Vec::new();
    for (name, program, by) in [
        ("Python", &python, By::Command),
        ("revoker", &ours, By::Command),
        ("revoker, ten Okta events", &ours, By::Batch),
    ] {
        let mut points = Vec::new();
        for (number, size) in SIZES.into_iter().enumerate() {
            let (seen, trip) = measure(given, (program, by), size, "0", TIMES).await;
            let (settled, _) = measure(given, (program, by), size, SETTLE, 1).await;
            let first = median(&seen, |seen| seen.first_terminate);
            let rounds = median(&seen, |seen| seen.rounds);
            let alone = rounds * trip;
            if name == "Python" {
                pythons.push(first);
            }
            println!(
                "| {name} | {size} | {first:.0} ms | {:.2} × | {rounds:.0} | {alone:.0} ms | {:.0} ms, {:.0} % | {:.0} ms | {:.0} ms | {:.2} s |",
                first / pythons[number],
                first - alone,
                (first / alone - 1.0) * 100.0,
                median(&seen, |seen| seen.last_terminate),
                median(&seen, |seen| seen.verified),
                median(&settled, |seen| seen.verified) / 1e3,
            );
            points.push((size as f64, first));
            if by == By::Command && program == &ours {
                let most = alone * 1.1 + 15.0;
                let what = format!("at {size} connections: at most 15 ms and 10 % over the round trips, {most:.0} ms");
                goals.push(Goal::new(what, format!("{first:.0} ms"), first <= most));
            }
        }
        lines.push(Line { name, points });
    }
    goal::print(&goals);
    picture(
        "first-terminate.svg",
        ("connections on each of three endpoints", "ms to the first terminate call"),
        &lines,
    );
}

fn median(seen: &[Seen], part: impl Fn(&Seen) -> f64) -> f64 {
    let mut parts: Vec<f64> = seen.iter().map(part).collect();
    parts.sort_by(f64::total_cmp);
    parts[parts.len() / 2]
}

/// Revokes so many people one after another, each of whom is connected to every endpoint.
///
/// Also how long one call alone takes, in milliseconds.
async fn measure(
    given: &Programs,
    (program, by): (&[PathBuf], By),
    size: usize,
    settle: &str,
    times: usize,
) -> (Vec<Seen>, f64) {
    let aws = Aws::start(ENDPOINTS, LATENCY, |emulator| emulator).await;
    let at_once = if by == By::Batch { BATCH } else { 1 };
    aws.crowd(size - times * at_once);
    let variables = aws.variables(&[("VPN_REVOKER_SETTLE_SECONDS", settle), ("VPN_REVOKER_MAX_SUBJECTS", "1000")]);
    let mut command = command(program, &variables);
    command.current_dir(&given.peer);
    let mut lambda = Lambda::start(command, &revoke("nobody")).await;
    lambda.first_answer().await;
    let trip = aws.round_trip().await.expect("an answer").as_secs_f64() * 1e3;
    let mut seen = Vec::new();
    for number in 0..times {
        let who: Vec<String> = (number * at_once..(number + 1) * at_once).map(|n| format!("leaver-{n}")).collect();
        for who in &who {
            (0..ENDPOINTS).for_each(|endpoint| drop(aws.connect(endpoint, &format!("{who}@example.com"))));
        }
        let event = if by == By::Batch { batch(number, &who) } else { revoke(&who[0]) };
        aws.forget_calls();
        let (asked, asked_at) = (Instant::now(), now_millis());
        let answer = lambda.ask(&event).await;
        let done = answer.body["outcome"] == "completed" || answer.body["batchItemFailures"] == json!([]);
        assert!(done, "{}", answer.body);
        seen.push(look(&aws, asked, asked_at, answer.took));
    }
    (seen, trip)
}

/// What the calls so far say of a revocation.
fn look(aws: &Aws, asked: Instant, asked_at: i64, took: Duration) -> Seen {
    let at = |request: &RequestRecord| (request.at_millis - asked_at) as f64;
    let requests = aws.emulator.requests();
    let terminates = || requests.iter().filter(|request| request.action == "TerminateClientVpnConnections");
    let first = terminates().next().expect("one");
    let first_terminate = at(first);
    let last_terminate = last_of_all(aws, terminates()).map_or(first_terminate, at);
    let before: Vec<&RequestRecord> = requests.iter().filter(|request| at(request) < first_terminate).collect();
    let tables = aws.relay.calls();
    let tables = tables.iter().map(|(at, _)| at.duration_since(asked).as_secs_f64() * 1e3);
    let others = before.iter().filter(|request| !is_further_page(request)).map(|request| at(request));
    let begun = tables.chain(others).filter(|begun| *begun < first_terminate).collect();
    // The pages of one listing come one after another, whatever is asked for beside them.
    let endpoint = first.parameter("ClientVpnEndpointId");
    let is_same = |request: &&RequestRecord| request.parameter("ClientVpnEndpointId") == endpoint;
    let further_pages = before.into_iter().filter(|request| is_further_page(request)).filter(is_same).count();
    let rounds = (rounds(begun) + further_pages) as f64;
    Seen { first_terminate, last_terminate, rounds, verified: took.as_secs_f64() * 1e3 }
}

/// The first call about the person whose first call was the last of all.
fn last_of_all<'a>(aws: &Aws, terminates: impl Iterator<Item = &'a RequestRecord>) -> Option<&'a RequestRecord> {
    let users: HashMap<String, Option<String>> =
        aws.emulator.connections().into_iter().map(|row| (row.connection_id, row.username)).collect();
    let mut known = HashSet::new();
    let of = |request: &RequestRecord| {
        let id = request.parameter("ConnectionId");
        let by_id = id.and_then(|id| users.get(id).cloned().flatten());
        by_id.or_else(|| request.parameter("Username").map(str::to_owned))
    };
    terminates.filter(|request| known.insert(of(request))).last()
}

fn is_further_page(request: &RequestRecord) -> bool {
    request.parameter("NextToken").is_some()
}

/// The longest row of calls of which each began when the one before it was over.
fn rounds(mut begun: Vec<f64>) -> usize {
    begun.sort_by(f64::total_cmp);
    let (mut rounds, mut last) = (0, f64::NEG_INFINITY);
    for at in begun {
        if at - last > LATENCY.as_secs_f64() * 900.0 {
            (rounds, last) = (rounds + 1, at);
        }
    }
    rounds
}

fn revoke(who: &str) -> Value {
    json!({"action": "revoke", "subjects": [format!("{who}@example.com")], "reason": "bench", "id": format!("bench-{who}")})
}

/// Okta's word about each of them, ten messages of the queue at once.
fn batch(number: usize, who: &[String]) -> Value {
    let mut queue = Queue::new(Duration::MAX);
    for (place, who) in who.iter().enumerate() {
        let name = format!("{who}@example.com");
        queue.send(okta(DEACTIVATED, number * BATCH + place, &name, "2026-03-01T09:29:57.250Z"));
    }
    queue.receive(Duration::ZERO).expect("there are some")
}
