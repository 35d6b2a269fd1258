//! The largest endpoint that there can be: 126,000 connections
//! (<https://docs.aws.amazon.com/vpn/latest/clientvpn-admin/limits.html>), in pages of 1,000.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::Programs;
use crate::aws::{Aws, LOCKS, now_millis};
use crate::lambda::{Lambda, command};
use crate::picture::{Line, picture};

/// Connections on the endpoint.
const SIZES: [usize; 3] = [1_000, 12_600, 126_000];

/// Locks in the table for the sweep, nobody of whom is connected, beside one who is.
const LOCKED: [usize; 3] = [100, 1_000, 10_000];

/// How much memory a function may have, in MiB.
const LIMIT: f64 = 64.0;

/// What one size came to.
struct Row {
    connections: usize,
    first_terminate: f64,
    last_page: f64,
    verified: f64,
    revoke_peak: f64,
    locks: usize,
    sweep: f64,
    sweep_peak: f64,
}

/// Prints the table, and draws it.
pub async fn table(given: &Programs) {
    println!(
        "| connections | first terminate | last page of that listing | verified | peak memory | locks | sweep | peak memory |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut rows = Vec::new();
    for (connections, locks) in SIZES.into_iter().zip(LOCKED) {
        let row = measure(given, connections, locks).await;
        println!(
            "| {} | {:.0} ms | {:.0} ms | {:.0} ms | {:.1} MiB | {} | {:.0} ms | {:.1} MiB |",
            row.connections,
            row.first_terminate,
            row.last_page,
            row.verified,
            row.revoke_peak,
            row.locks,
            row.sweep,
            row.sweep_peak
        );
        rows.push(row);
    }
    let under = rows.iter().all(|row| row.revoke_peak < LIMIT && row.sweep_peak < LIMIT);
    let verdict = if under { "stays" } else { "does not stay" };
    println!("\nPeak memory {verdict} under {LIMIT} MiB.");
    let line = |name, y: fn(&Row) -> f64| Line {
        name,
        points: rows.iter().map(|row| (row.connections as f64, y(row))).collect(),
    };
    picture(
        "largest.svg",
        ("connections on the endpoint", "peak memory, MiB"),
        &[line("one person revoked", |row| row.revoke_peak), line("sweep with locks", |row| row.sweep_peak)],
    );
}

async fn measure(given: &Programs, connections: usize, locks: usize) -> Row {
    let aws = Aws::start(1, Duration::ZERO, |emulator| emulator).await;
    aws.connect(0, "leaver@example.com");
    aws.crowd(connections - 2);
    aws.connect(0, "sleeper@example.com");
    aws.forget_calls();
    let begun = now_millis();
    let (revoking, verified) =
        run(given, &aws, &json!({"action": "revoke", "subjects": ["leaver@example.com"], "reason": "bench"})).await;
    let requests = aws.emulator.requests();
    let at = |found: &client_vpn_emulator::RequestRecord| (found.at_millis - begun) as f64;
    let first = requests.iter().find(|request| request.action == "TerminateClientVpnConnections").expect("one");
    let pages = || requests.iter().filter(|request| request.action == "DescribeClientVpnConnections");
    let last_page = pages().take(connections.div_ceil(1_000)).last().expect("pages");
    let (first_terminate, last_page) = (at(first), at(last_page));
    let revoke_peak = revoking.peak() as f64 / 1024.0;
    drop(revoking);

    lock(&aws, locks);
    let (sweeping, sweep) = run(given, &aws, &json!({"action": "sweep"})).await;
    let sleeper = aws.emulator.alive("sleeper@example.com");
    assert!(sleeper.is_empty(), "whoever is locked and connected is ended by the sweep");
    Row {
        connections,
        first_terminate,
        last_page,
        verified,
        revoke_peak,
        locks,
        sweep,
        sweep_peak: sweeping.peak() as f64 / 1024.0,
    }
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
