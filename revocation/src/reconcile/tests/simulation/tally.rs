//! How often what happened, so that what never happens is noticed.

use std::collections::BTreeMap;

use super::troubles::{CALLS, mishaps_of};

/// What has to happen, beside every mishap with every call.
const EVENTS: [(&str, &str); 44] = [
    ("down: fails", "target 0"),
    ("down: fails", "target 1"),
    ("down: fails", "locks"),
    ("down: fails", "audit"),
    ("down: hangs", "target 0"),
    ("down: hangs", "target 1"),
    ("down: hangs", "locks"),
    ("down: hangs", "audit"),
    ("down: fails", "directory"),
    ("down: hangs", "directory"),
    ("down: denied", "target 0"),
    ("down: denied", "target 1"),
    ("down: throttled", "target 0"),
    ("down: throttled", "target 1"),
    ("queue", "delivered again"),
    ("queue", "delivered twice at once"),
    ("queue", "dead letter"),
    ("queue", "redriven"),
    ("queue", "settled after a redrive"),
    ("environments", "two at work"),
    ("environments", "three at work"),
    ("environments", "crash in a batch"),
    ("environments", "crash beside"),
    ("runs", "with skewed clocks"),
    ("runs", "with the connect handler"),
    ("runs", "with shadow mode"),
    ("neighbours", "unreadable in the message"),
    ("neighbours", "unreadable in the batch"),
    ("sweeps", "by schedule"),
    ("sweeps", "dry"),
    ("sweeps", "of one target"),
    ("signals", "about two"),
    ("signals", "asked directly"),
    ("signals", "said again"),
    ("targets", "cut where one was healthy"),
    ("targets", "incomplete while one was down"),
    ("listings", "older"),
    ("breaker", "closed"),
    ("directory", "off"),
    ("directory", "on"),
    ("directory", "gone"),
    ("directory", "renamed"),
    ("directory", "hired"),
    ("directory", "told of"),
];

/// So often each has to happen in ten thousand runs.
const ENOUGH: u64 = 100;

/// And what happens seldom: of the directory's answers only news is kept.
const ENOUGH_OF_NEWS: u64 = 25;

/// Counts by what happened, and to what.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(BTreeMap<(&'static str, &'static str), u64>);

impl Tally {
    pub(super) fn count(&mut self, what: &'static str, of: &'static str) {
        *self.0.entry((what, of)).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(*what).or_default() += times;
        }
    }

    /// What happened too seldom to prove anything.
    pub(super) fn rare(&self) -> Vec<(&'static str, &'static str)> {
        let pairs = CALLS.iter().flat_map(|call| mishaps_of(call).iter().map(|(mishap, _)| (*mishap, *call)));
        let enough = |(_, of): &(&str, &str)| if *of == "people.keep" { ENOUGH_OF_NEWS } else { ENOUGH };
        pairs.chain(EVENTS).filter(|pair| self.0.get(pair).is_none_or(|times| *times < enough(pair))).collect()
    }

    /// A table for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut by_part: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((what, of), times) in &self.0 {
            let (row, cell) = if CALLS.contains(of) || what.starts_with("down") { (*of, *what) } else { (*what, *of) };
            by_part.entry(row).or_default().push(format!("{cell} {times}"));
        }
        by_part.into_iter().map(|(row, cells)| format!("{row:18} {}", cells.join(", "))).collect()
    }
}
