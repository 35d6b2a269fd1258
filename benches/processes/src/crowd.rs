//! Many people who are off-boarded at the same instant, and how long EC2's limits alone take for them.

use std::time::Duration;

use client_vpn_emulator::RequestRecord;

use crate::queue::{DEACTIVATED, Queue, okta};

/// How many environments take from the queue, as `template.yaml` has it.
pub const CONCURRENCY: usize = 5;

/// How long a message is theirs, as `template.yaml` has it.
const VISIBILITY: Duration = Duration::from_secs(150);

pub const ENDPOINTS: usize = 3;

/// EC2's bucket for terminate calls (<https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>).
const AT_ONCE: f64 = 50.0;
const A_SECOND: f64 = 5.0;

/// So many people, with so many connections each, on endpoints of their own.
pub type Size = (usize, usize);

/// What stands over the rows.
pub const HEAD: &str = "| people | connections of each | the limits alone | nobody connected | beside | all verified | terminate calls | refused | listings | refused | delivered again |
|---|---|---|---|---|---|---|---|---|---|---|";

/// Each connection's endpoint and user.
pub fn connections((people, each): Size) -> impl Iterator<Item = (usize, String)> {
    (0..people).flat_map(move |number| (0..each).map(move |more| ((number + more) % ENDPOINTS, name(number))))
}

/// Okta's word about everybody.
pub fn queue((people, _): Size) -> Queue {
    let mut queue = Queue::new(VISIBILITY);
    for number in 0..people {
        queue.send(okta(DEACTIVATED, number, &name(number), "2026-03-01T09:29:57.250Z"));
    }
    queue
}

/// How many seconds the bucket for terminate calls takes for so many.
pub fn alone((people, each): Size) -> f64 {
    ((people * each) as f64 - AT_ONCE).max(0.0) / A_SECOND
}

/// What it came to: until nobody was connected, until all of it was verified, in seconds; what EC2 was asked, and how many
/// messages were delivered again.
pub fn row(size: Size, [out, verified]: [f64; 2], requests: &[RequestRecord], again: usize) -> String {
    let calls = |action: &str| {
        let all = || requests.iter().filter(|request| request.action == action);
        let refused = all().filter(|request| request.code.as_deref() == Some("RequestLimitExceeded")).count();
        format!("{} | {refused}", all().count())
    };
    let ((people, each), alone) = (size, alone(size));
    format!(
        "| {people} | {each} | {alone:.0} s | {out:.0} s | {:.2} × | {verified:.0} s | {} | {} | {again} |",
        out / alone,
        calls("TerminateClientVpnConnections"),
        calls("DescribeClientVpnConnections"),
    )
}

fn name(number: usize) -> String {
    format!("leaver-{number}@example.com")
}
