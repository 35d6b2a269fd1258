//! Many people who are off-boarded at the same instant, and how long EC2's limits alone take for them.

use std::time::Duration;

use client_vpn_emulator::RequestRecord;

use crate::queue::{BATCH, DEACTIVATED, Queue, okta};

/// How many environments take from the queue, as `template.yaml` has it.
pub const CONCURRENCY: usize = 5;

/// How long a message is theirs, as `template.yaml` has it.
const VISIBILITY: Duration = Duration::from_secs(150);

pub const ENDPOINTS: usize = 3;

/// EC2's buckets: how many calls they let pass at once, and how many a second after that
/// (<https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>).
const TERMINATE: (f64, f64) = (50.0, 5.0);
const LIST: (f64, f64) = (100.0, 20.0);

/// Rows in a page of a listing.
const PAGE: usize = 1_000;

/// It should be within this of what the limits alone take.
const AT_MOST: f64 = 1.1;

/// Of the calls of a kind, at most this part may be refused: more would be a storm.
const A_STORM: f64 = 0.5;

/// Who is off-boarded, on endpoints of their own or among others.
#[derive(Clone, Copy)]
pub struct Size {
    pub people: usize,
    /// Connections of each of them.
    pub each: usize,
    /// Others on each endpoint, who stay.
    pub others: usize,
}

impl Size {
    /// So many people with so many connections each.
    pub const fn of((people, each): (usize, usize)) -> Self {
        Self { people, each, others: 0 }
    }

    /// How many seconds EC2's limits alone take: those for terminate calls, or those for listings where each batch lists
    /// every endpoint once to find and once to verify, whichever are longer.
    pub fn alone(self) -> f64 {
        // What has ended stays in the listing for an hour.
        let rows = self.others + (self.people * self.each).div_ceil(ENDPOINTS);
        let listings = self.people.div_ceil(BATCH) * ENDPOINTS * rows.div_ceil(PAGE) * 2;
        let takes = |calls: usize, (at_once, a_second): (f64, f64)| (calls as f64 - at_once).max(0.0) / a_second;
        takes(self.people * self.each, TERMINATE).max(takes(listings, LIST))
    }

    /// Each connection's endpoint and user.
    pub fn connections(self) -> impl Iterator<Item = (usize, String)> {
        let Self { people, each, others } = self;
        let leavers = (0..people).flat_map(move |number| (0..each).map(move |more| (number + more, name(number))));
        let stay = (0..others * ENDPOINTS).map(|number| (number, format!("colleague-{number}@example.com")));
        stay.chain(leavers).map(|(place, user)| (place % ENDPOINTS, user))
    }

    /// Okta's word about everybody who leaves.
    pub fn queue(self) -> Queue {
        let mut queue = Queue::new(VISIBILITY);
        for number in 0..self.people {
            queue.send(okta(DEACTIVATED, number, &name(number), "2026-03-01T09:29:57.250Z"));
        }
        queue
    }
}

/// Whether a connection is of somebody who leaves.
pub fn leaves(user: Option<&str>) -> bool {
    user.is_some_and(|user| user.starts_with("leaver-"))
}

/// What stands over the rows.
pub const HEAD: &str = "| people | connections of each | others on each endpoint | the limits alone | nobody connected | beside | all verified | terminate calls | refused | listings | refused | delivered again | at most 1.1 ×, no storm |
|---|---|---|---|---|---|---|---|---|---|---|---|---|";

/// What it came to: until nobody was connected, until all of it was verified, in seconds; what EC2 was asked, and how many
/// messages were delivered again.
pub fn row(size: Size, [out, verified]: [f64; 2], requests: &[RequestRecord], again: usize) -> String {
    let calls = |action: &str| {
        let all = || requests.iter().filter(|request| request.action == action);
        let refused = all().filter(|request| request.code.as_deref() == Some("RequestLimitExceeded")).count();
        (all().count(), refused)
    };
    let [terminate, list] = ["TerminateClientVpnConnections", "DescribeClientVpnConnections"].map(calls);
    let (Size { people, each, others }, alone) = (size, size.alone());
    let calm = [terminate, list].iter().all(|(all, refused)| *refused as f64 <= *all as f64 * A_STORM);
    let verdict = if out <= alone * AT_MOST && calm { "reached" } else { "**missed**" };
    format!(
        "| {people} | {each} | {others} | {alone:.0} s | {out:.0} s | {:.2} × | {verified:.0} s | {} | {} | {} | {} | {again} | {verdict} |",
        out / alone,
        terminate.0,
        terminate.1,
        list.0,
        list.1,
    )
}

fn name(number: usize) -> String {
    format!("leaver-{number}@example.com")
}
