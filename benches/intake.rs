//! What the intake costs: once at the start, and for each event.
//!
//! `cargo bench -p revocation --bench intake` prints it.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use revocation::intake::{Delivery, Intake};
use revocation::signal::Via;
use revocation::time::Timestamp;

fn sample(path: &str) -> Vec<u8> {
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace around it").join("events");
    std::fs::read(events.join(path)).expect("a sample")
}

fn delivery() -> Delivery {
    Delivery { via: Via::Event, received_at: Timestamp::from_millis(1_772_357_400_000), id: "a-message".to_owned() }
}

fn start(c: &mut Criterion) {
    c.bench_function("start: compile every built-in rule", |b| b.iter(|| Intake::built_in().unwrap()));
}

fn event(c: &mut Criterion) {
    let intake = Intake::built_in().unwrap();
    let mut group = c.benchmark_group("event");
    for (name, path) in [
        ("okta, deactivated", "okta/deactivate-eventbridge.json"),
        ("okta, an ordinary logout", "okta/session-end-eventbridge.json"),
        ("okta event hook, two people", "okta/event-hook-two-users.json"),
        ("an event that means nothing", "iam/delete-access-key-eventbridge.json"),
        ("cloudwatch logs, gzip", "wrapped/cloudwatch-logs.json"),
    ] {
        let payload = sample(path);
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function(name, |b| b.iter(|| black_box(intake.read(black_box(&payload), &delivery()))));
    }
}

criterion_group!(benches, start, event);
criterion_main!(benches);
