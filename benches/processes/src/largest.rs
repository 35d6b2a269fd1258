//! The largest endpoint that there can be: 126,000 connections
//! (<https://docs.aws.amazon.com/vpn/latest/clientvpn-admin/limits.html>), in pages of 1,000.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::Programs;
use crate::aws::{Aws, LOCKS, now_millis};
use crate::goal::{self, Goal};
use crate::lambda::{Lambda, command};
use crate::picture::{Line, picture};

/// Connections on the endpoint, and locks in the table for the sweep, nobody of whom is connected, beside one who is: all of
/// both at three sizes, and much of the one with little of the other.
const SIZES: [(usize, usize); 5] = [(1_000, 100), (12_600, 1_000), (126_000, 10_000), (126_000, 100), (1_000, 10_000)];

/// How many of them are drawn.
const DRAWN: usize = 3;

/// How often each is measured; the median counts, of each figure by itself.
const TIMES: usize = 3;

/// How much memory a function may have, in MiB.
const LIMIT: f64 = 64.0;

/// What one size came to.
struct Row {
    connections: usize,
    /// Of somebody on the first page of the listing.
    first_terminate: f64,
    last_page: f64,
    /// Of somebody on the last page.
    last_terminate: f64,
    verified: f64,
    revoke_peak: f64,
    locks: usize,
    sweep: f64,
    sweep_peak: f64,
}

/// Prints the table, and draws it.
pub async fn table(given: &Programs) {
    println!(
        "| connections | first terminate | last page of that listing | terminate, on the last page | verified | peak memory | locks | sweep | peak memory |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut rows = Vec::new();
    for (connections, locks) in SIZES {
        let mut measured = Vec::new();
        for _ in 0..TIMES {
            measured.push(measure(given, connections, locks).await);
        }
        let row = median(&measured);
        println!(
            "| {} | {:.0} ms | {:.0} ms | {:.0} ms | {:.0} ms | {:.1} MiB | {} | {:.0} ms | {:.1} MiB |",
            row.connections,
            row.first_terminate,
            row.last_page,
            row.last_terminate,
            row.verified,
            row.revoke_peak,
            row.locks,
            row.sweep,
            row.sweep_peak
        );
        rows.push(row);
    }
    let peak = rows.iter().map(|row| row.revoke_peak.max(row.sweep_peak)).fold(0.0, f64::max);
    let largest = &rows[DRAWN - 1];
    let times = format!("{:.0} ms, {:.0} ms", largest.first_terminate, largest.last_page);
    goal::print(&[
        Goal::new(format!("peak memory under {LIMIT} MiB"), format!("{peak:.1} MiB"), peak < LIMIT),
        Goal::new(
            "the largest: first terminate before the last page",
            times,
            largest.first_terminate < largest.last_page,
        ),
    ]);
    let line = |name, y: fn(&Row) -> f64| Line {
        name,
        points: rows.iter().take(DRAWN).map(|row| (row.connections as f64, y(row))).collect(),
    };
    picture(
        "largest.svg",
        ("connections on the endpoint", "peak memory, MiB"),
        &[line("one person revoked", |row| row.revoke_peak), line("sweep with locks", |row| row.sweep_peak)],
    );
}

fn median(rows: &[Row]) -> Row {
    let of = |part: fn(&Row) -> f64| {
        let mut parts: Vec<f64> = rows.iter().map(part).collect();
        parts.sort_by(f64::total_cmp);
        parts[parts.len() / 2]
    };
    Row {
        connections: rows[0].connections,
        first_terminate: of(|row| row.first_terminate),
        last_page: of(|row| row.last_page),
        last_terminate: of(|row| row.last_terminate),
        verified: of(|row| row.verified),
        revoke_peak: of(|row| row.revoke_peak),
        locks: rows[0].locks,
        sweep: of(|row| row.sweep),
        sweep_peak: of(|row| row.sweep_peak),
    }
}

async fn measure(given: &Programs, connections: usize, locks: usize) -> Row {
    let aws = Aws::start(1, Duration::ZERO, |emulator| emulator).await;
    aws.connect(0, "leaver@example.com");
    aws.crowd(connections - 3);
    aws.connect(0, "latecomer@example.com");
    aws.connect(0, "sleeper@example.com");
    let first = revoke(given, &aws, "leaver", connections).await;
    let last = revoke(given, &aws, "latecomer", connections).await;

    lock(&aws, locks);
    let (sweeping, sweep) = run(given, &aws, &json!({"action": "sweep"})).await;
    let sleeper = aws.emulator.alive("sleeper@example.com");
    assert!(sleeper.is_empty(), "whoever is locked and connected is ended by the sweep");
    Row {
        connections,
        first_terminate: first.first_terminate,
        last_page: first.last_page,
        last_terminate: last.first_terminate,
        verified: first.verified,
        revoke_peak: first.peak.max(last.peak),
        locks,
        sweep,
        sweep_peak: sweeping.peak() as f64 / 1024.0,
    }
}

/// What one revocation came to, in milliseconds and MiB.
struct Revoked {
    first_terminate: f64,
    last_page: f64,
    verified: f64,
    peak: f64,
}

async fn revoke(given: &Programs, aws: &Aws, who: &str, connections: usize) -> Revoked {
    let subject = format!("{who}@example.com");
    aws.forget_calls();
    let begun = now_millis();
    let (function, verified) =
        run(given, aws, &json!({"action": "revoke", "subjects": [subject], "reason": "bench"})).await;
    let requests = aws.emulator.requests();
    let at = |found: &client_vpn_emulator::RequestRecord| (found.at_millis - begun) as f64;
    let first = requests.iter().find(|request| request.action == "TerminateClientVpnConnections").expect("one");
    let pages = || requests.iter().filter(|request| request.action == "DescribeClientVpnConnections");
    let last_page = pages().take(connections.div_ceil(1_000)).last().expect("pages");
    let peak = function.peak() as f64 / 1024.0;
    Revoked { first_terminate: at(first), last_page: at(last_page), verified, peak }
}

/// Starts the function for this one event; how many milliseconds it took in all.
async fn run(given: &Programs, aws: &Aws, event: &Value) -> (Lambda, f64) {
    let variables = aws.variables(&[("VPN_REVOKER_SETTLE_SECONDS", "0")]);
    let mut lambda = Lambda::start(command(std::slice::from_ref(&given.revoker), &variables), event).await;
    let answer = lambda.first_answer().await;
    assert_eq!(answer.body["outcome"], "completed", "{}", answer.body);
    (lambda, answer.took.as_secs_f64() * 1e3)
}

/// Locks so many people as the function itself locked one, and one more who is connected.
fn lock(aws: &Aws, locks: usize) {
    let key = json!({"TableName": LOCKS, "Key": {"subject": {"S": "leaver@example.com"}}});
    let found = aws.database.get_item(serde_json::from_value(key).expect("a request")).expect("an answer");
    let found = serde_json::to_value(found).expect("JSON");
    let model: &Map<String, Value> = found["Item"].as_object().expect("the function locked her");
    let others = (1..locks).map(|number| format!("locked-{number}@example.com"));
    for name in others.chain(["sleeper@example.com".to_owned()]) {
        let mut item = model.clone();
        item.insert("subject".to_owned(), json!({"S": name}));
        let put = json!({"TableName": LOCKS, "Item": item});
        aws.database.put_item(serde_json::from_value(put).expect("a request")).expect("an answer");
    }
}
