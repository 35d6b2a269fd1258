//! What goes wrong: single calls, and whole parts of AWS for a while.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::company::Lines;
use super::die::Die;
use super::tally::Tally;
use crate::memory::{Chaos, Mishap};
use crate::time::Timestamp;

/// The calls that the schedules make.
pub(super) const CALLS: [&str; 22] = [
    "aliases.give",
    "aliases.names",
    "aliases.take",
    "audit.commit",
    "audit.head",
    "audit.heads",
    "audit.standing",
    "breaker.count",
    "breaker.open",
    "breaker.standing",
    "directory.find",
    "directory.holder",
    "locks.locked",
    "locks.read",
    "locks.write",
    "people.by-name",
    "people.keep",
    "people.recall",
    "vpn.endpoints",
    "vpn.list",
    "vpn.poll",
    "vpn.terminate",
];

/// What goes wrong with them: with calls to EC2 all but the last, with terminate calls that too, and with the others what
/// comes before.
const MISHAPS: [(&str, Mishap); 7] = [
    ("answer lost", Mishap::AnswerLost),
    ("fails", Mishap::Fails),
    ("hangs", Mishap::Hangs),
    ("panics", Mishap::Panics),
    ("slow", Mishap::Slow),
    ("throttled", Mishap::Throttled),
    ("has no turn", Mishap::NoTurn),
];

/// What goes wrong with a call.
pub(super) fn mishaps_of(call: &str) -> &'static [(&'static str, Mishap)] {
    match call {
        "vpn.terminate" => &MISHAPS,
        _ if call.starts_with("vpn.") => &MISHAPS[..6],
        _ => &MISHAPS[..5],
    }
}

/// More calls than this at one instant are no work but a loop that does not pause.
const AT_ONCE: u64 = 3_000;

/// So many calls of a kind are looked ahead within a step.
const AHEAD: u64 = 60;

/// One call that goes wrong: the `nth` of its kind since the step began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Planned {
    pub(super) call: usize,
    pub(super) nth: u64,
    pub(super) mishap: usize,
}

/// Which calls of a step go wrong, about one in `rate`.
pub(super) fn planned(die: &mut Die, rate: u64) -> Vec<Planned> {
    let mut planned = Vec::new();
    if rate == 0 {
        return planned;
    }
    for (call, name) in CALLS.iter().enumerate() {
        // What is seldom called goes wrong more often, to have gone wrong often enough.
        let rate = match *name {
            "aliases.give" | "aliases.take" | "breaker.open" | "people.keep" | "people.recall" => rate / 12,
            "directory.find" | "directory.holder" | "people.by-name" => rate / 12,
            "breaker.count" | "locks.locked" => rate / 6,
            "aliases.names" | "breaker.standing" | "locks.write" | "vpn.poll" | "vpn.terminate" => rate / 3,
            _ => rate,
        };
        let mut nth = 0;
        loop {
            nth += 1 + die.below((2 * rate).saturating_sub(1));
            if nth > AHEAD {
                break;
            }
            planned.push(Planned { call, nth, mishap: die.place(mishaps_of(name).len()) });
        }
    }
    planned
}

/// A part of AWS that can be down by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Client VPN in one account and Region.
    Target(usize),
    /// The locks table, with aliases and the circuit breaker's counts.
    Locks,
    /// The audit table.
    Audit,
    /// The directory behind ids.
    Directory,
}

/// How it is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Fails,
    Hangs,
    Denied,
    /// Somebody else in the account makes all the calls that EC2 lets pass.
    Throttled,
}

impl How {
    fn mishap(self) -> Mishap {
        match self {
            Self::Fails => Mishap::Fails,
            Self::Hangs => Mishap::Hangs,
            Self::Denied => Mishap::Denied,
            Self::Throttled => Mishap::Throttled,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Fails => "down: fails",
            Self::Hangs => "down: hangs",
            Self::Denied => "down: denied",
            Self::Throttled => "down: throttled",
        }
    }
}

impl Part {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Target(0) => "target 0",
            Self::Target(_) => "target 1",
            Self::Locks => "locks",
            Self::Audit => "audit",
            Self::Directory => "directory",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Outage {
    pub(super) part: Part,
    pub(super) how: How,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// A planned mishap that met its call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met {
    pub(super) step: u64,
    pub(super) planned: Planned,
    pub(super) at: Timestamp,
}

/// What goes wrong now, and what went wrong.
#[derive(Default)]
pub(super) struct Troubles {
    step: u64,
    planned: Vec<Planned>,
    made: [u64; CALLS.len()],
    pub(super) outages: Vec<Outage>,
    pub(super) met: Vec<Met>,
    /// The instant of the latest call, and how many there were in it.
    instant: Option<Timestamp>,
    at_once: u64,
    /// A call that was one too many at one instant.
    pub(super) too_many: Option<String>,
}

impl Troubles {
    /// From here on these calls go wrong, and those planned before do not any more.
    pub(super) fn plan(&mut self, step: u64, planned: &[Planned]) {
        self.step = step;
        self.planned = planned.to_vec();
        self.made = Default::default();
    }

    pub(super) fn begin(&mut self, part: Part, how: How, now: Timestamp, lasts: Duration) {
        self.outages.push(Outage { part, how, from: now, until: now.plus(lasts) });
    }

    /// Nothing is down any more.
    pub(super) fn end_all(&mut self, now: Timestamp) {
        self.outages.iter_mut().for_each(|outage| outage.until = outage.until.min(now));
    }

    fn meets(&mut self, part: Part, call: &str, lines: &Lines, tally: &Mutex<Tally>) -> Option<Mishap> {
        let now = lines.now();
        self.at_once = if self.instant == Some(now) { self.at_once + 1 } else { 1 };
        self.instant = Some(now);
        if self.at_once > AT_ONCE {
            // It would never end: in a loop without a pause no time passes here.
            self.too_many = Some(call.to_owned());
            return Some(Mishap::Hangs);
        }
        let down = self.outages.iter().find(|outage| outage.part == part && outage.from <= now && now < outage.until);
        if let Some(outage) = down {
            tally.lock().unwrap().count(outage.how.word(), part.word());
            return Some(outage.how.mishap());
        }
        let whole = call;
        let kind = call.split(' ').next().unwrap_or_default();
        let call = CALLS.iter().position(|known| *known == kind)?;
        self.made[call] += 1;
        let nth = self.made[call];
        let planned = *self.planned.iter().find(|planned| planned.call == call && planned.nth == nth)?;
        self.met.push(Met { step: self.step, planned, at: now });
        let (word, mishap) = MISHAPS[planned.mishap];
        tally.lock().unwrap().count(word, CALLS[call]);
        lines.tell(|| format!("{whole}: {word}"));
        Some(mishap)
    }
}

/// What goes wrong with the calls to one part.
pub(super) fn chaos(troubles: &Arc<Mutex<Troubles>>, part: Part, lines: &Lines, tally: &Arc<Mutex<Tally>>) -> Chaos {
    let (troubles, lines, tally) = (Arc::clone(troubles), lines.clone(), Arc::clone(tally));
    Box::new(move |call: &str| troubles.lock().unwrap().meets(part, call, &lines, &tally))
}
