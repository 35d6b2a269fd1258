//! A seeded simulation: random schedules of events, repeats, faults, crashes and sweeps over ports in memory, in virtual
//! time. One seed is one run, to the letter. Whatever happens, the invariants hold; and for each of nine planted
//! faults there is a run that finds it.
//!
//! `VPN_REVOKER_SEEDS=1000000 cargo test --release -p revocation simulation -- --nocapture` runs more of them;
//! `VPN_REVOKER_SEED=7` runs one and prints its story.

#![allow(clippy::print_stdout)]

mod checks;
mod story;

use std::collections::BTreeMap;

use story::{Story, run};

use crate::planted::{Fault, plant};

/// How many schedules a plain test run goes through; `.ci/run` goes through ten thousand.
const SEEDS: u64 = 500;

/// From so many on, every mishap has to have met every call a hundred times.
const SEEDS_TO_PROVE: u64 = 10_000;

/// How many it may take to find a planted fault.
const SEEDS_TO_FIND: u64 = 6_000;

/// The calls that the schedules make.
const CALLS: [&str; 14] = [
    "aliases.names",
    "audit.commit",
    "audit.head",
    "audit.standing",
    "breaker.count",
    "breaker.open",
    "breaker.standing",
    "locks.locked",
    "locks.read",
    "locks.write",
    "vpn.endpoints",
    "vpn.list",
    "vpn.poll",
    "vpn.terminate",
];

/// What goes wrong with them.
const MISHAPS: [&str; 5] = ["answer lost", "fails", "hangs", "panics", "slow"];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn silence_planned_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

#[test]
fn no_schedule_breaks_an_invariant() {
    silence_planned_panics();
    let mut met: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
    let seeds = match number("VPN_REVOKER_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("VPN_REVOKER_SEEDS").unwrap_or(SEEDS),
    };
    let (one, proves) = (seeds.start() == seeds.end(), *seeds.end() >= SEEDS_TO_PROVE);
    let mut broken = None;
    for seed in seeds {
        let Story { lines, violations, mishaps } = run(seed);
        for (what, times) in mishaps {
            *met.entry(what).or_default() += times;
        }
        if one || !violations.is_empty() {
            broken = Some((seed, lines, violations));
            break;
        }
    }
    let _ = std::panic::take_hook();
    let mut calls: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((mishap, call), times) in &met {
        calls.entry(call).or_default().push(format!("{mishap} {times}"));
    }
    for (call, mishaps) in &calls {
        println!("{call:18} {}", mishaps.join(", "));
    }
    if let Some((seed, lines, violations)) = broken {
        let told = lines.join("\n");
        println!("the story of seed {seed}:\n{told}");
        assert!(violations.is_empty(), "seed {seed} broke: {violations:#?}");
        return;
    }
    let pairs = CALLS.iter().flat_map(|call| MISHAPS.map(|mishap| (mishap, (*call).to_owned())));
    let times = |pair: &(&'static str, String)| met.get(pair).copied().unwrap_or_default();
    let rare: Vec<_> = pairs.filter(|pair| times(pair) < 100).collect();
    assert!(rare.is_empty() || !proves, "too seldom to prove anything: {rare:?}");
}

#[test]
fn one_seed_is_one_run() {
    silence_planned_panics();
    let (first, second) = (run(42), run(42));
    let _ = std::panic::take_hook();
    assert_eq!(first.lines, second.lines);
    assert!(first.lines.len() > 20, "{:?}", first.lines);
}

#[test]
fn every_planted_fault_is_found() {
    silence_planned_panics();
    let faults = [
        Fault::SkipLaterPages,
        Fault::UnlockOnTie,
        Fault::DropLock,
        Fault::MatchBySubstring,
        Fault::CompleteEarly,
        Fault::LoseConditionalWrite,
        Fault::CountTwice,
        Fault::NeverCount,
        Fault::IgnoreRestore,
    ];
    let mut missed = Vec::new();
    for fault in faults {
        plant(Some(fault));
        let found = (1..=SEEDS_TO_FIND).find_map(|seed| Some((seed, run(seed).violations.into_iter().next()?)));
        plant(None);
        match found {
            Some((seed, violation)) => println!("{fault:?}: seed {seed}: {violation}"),
            None => missed.push(fault),
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "nobody noticed {missed:?}");
}
