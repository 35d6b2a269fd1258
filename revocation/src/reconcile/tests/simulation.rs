//! A seeded simulation of the whole way: bytes in a queue, several environments of the function that read them and act
//! on two accounts, tables and Client VPN in memory, in virtual time; and whatever can go wrong with any of it.
//!
//! A seed gives a schedule (`schedule`), which is data; a run (`play`) is a function of its schedule, to the letter.
//! Whatever happens, the invariants hold (`watch`, `checks`); and for each planted fault there is a run that finds it. A
//! schedule that breaks an invariant is made as short as it can be and still break it (`shrink`), and its story is told.
//!
//! `VPN_REVOKER_SEEDS=1000000 cargo test --release -p revocation --lib no_schedule -- --nocapture` plays more of them, on
//! all cores; `VPN_REVOKER_FROM=500001` begins there; `VPN_REVOKER_SEED=7` plays one and tells its story.

#![allow(clippy::print_stdout)]

mod checks;
mod clock;
mod company;
mod die;
mod directory;
mod events;
mod function;
mod names;
mod play;
mod queue;
mod schedule;
mod shrink;
mod tally;
mod troubles;
mod watch;

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use play::{Story, run, told};
use schedule::Schedule;
use shrink::shrink;
use tally::Tally;
use watch::Invariant;

use crate::planted::{Fault, plant};

/// How many schedules a plain test run goes through; `.ci/run` goes through ten thousand.
const SEEDS: u64 = 500;

/// From so many on, everything has to have happened often enough.
const SEEDS_TO_PROVE: u64 = 10_000;

/// How many it may take to find a planted fault.
const SEEDS_TO_FIND: u64 = 6_000;

/// How many steps the shortest story of a planted fault may have.
const SHORT: usize = 6;

/// What can be planted, the invariant that it breaks, and the seed at which the search for it begins: shortly before the
/// first that finds it, so that a plain test run is quick.
const FAULTS: [(Fault, Invariant, u64); 21] = [
    (Fault::SkipLaterPages, Invariant::Survivor, 1),
    (Fault::UnlockOnTie, Invariant::NewestFact, 1),
    (Fault::DropLock, Invariant::NewestFact, 1),
    (Fault::MatchBySubstring, Invariant::Bystander, 1),
    (Fault::CompleteEarly, Invariant::Survivor, 1),
    (Fault::LoseConditionalWrite, Invariant::NewestFact, 1),
    (Fault::CountTwice, Invariant::Breaker, 71),
    (Fault::NeverCount, Invariant::Breaker, 1),
    (Fault::IgnoreRestore, Invariant::NewestFact, 921),
    (Fault::SpoilNeighbours, Invariant::Lost, 1),
    (Fault::AcknowledgeUnfinished, Invariant::Lost, 1),
    (Fault::WaitForEveryTarget, Invariant::GoesOn, 1),
    (Fault::ForgetSilentTarget, Invariant::Survivor, 1),
    (Fault::AskWithoutPause, Invariant::Pause, 391),
    (Fault::TrustOwnMinute, Invariant::Breaker, 401),
    (Fault::KeepFormerNames, Invariant::Bystander, 21),
    (Fault::ForgetFurtherNames, Invariant::NewestFact, 441),
    (Fault::GiveWithoutLocking, Invariant::Survivor, 11),
    (Fault::MeanWhoeverWas, Invariant::Bystander, 501),
    (Fault::IgnoreDirectory, Invariant::Survivor, 161),
    (Fault::ActInShadow, Invariant::Shadow, 1),
];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Planned panics are no news; any other is told as ever.
fn silence_planned_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let planned =
                panic.payload().downcast_ref::<String>().is_some_and(|what| what.starts_with("planned panic"));
            if !planned {
                tell(panic);
            }
        }));
    });
}

/// What came of many runs.
struct Played {
    tally: Tally,
    /// The first seed whose run broke what was looked for.
    broken: Option<u64>,
}

/// Plays seeds on all cores, until one breaks an invariant, and that which is `sought` if one is.
fn play_all(seeds: std::ops::RangeInclusive<u64>, fault: Option<Fault>, sought: Option<Invariant>) -> Played {
    silence_planned_panics();
    let next = AtomicU64::new(*seeds.start());
    let first_broken = AtomicU64::new(u64::MAX);
    let work = || {
        plant(fault);
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > *seeds.end() || seed > first_broken.load(Ordering::Relaxed) {
                plant(None);
                return tally;
            }
            let story = run(&Schedule::of(seed));
            tally.add(&story.tally);
            if story.broken.iter().any(|broken| sought.is_none_or(|sought| broken.invariant == sought)) {
                first_broken.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| tally.add(&thread.join().unwrap()));
    });
    let broken = Some(first_broken.into_inner()).filter(|seed| *seed != u64::MAX);
    Played { tally, broken }
}

fn tell(story: &Story) {
    println!("{}", story.lines.join("\n"));
    for broken in &story.broken {
        println!("{broken}");
    }
}

/// Tells the shortest story that breaks the same invariant as a seed does, and returns what is broken.
fn tell_shortest(seed: u64) -> String {
    let whole = Schedule::of(seed);
    let Some(first) = run(&whole).broken.into_iter().next() else { return String::new() };
    let least = shrink(&whole, first.invariant);
    println!("seed {seed}, {} of its {} steps, {:?}:", least.steps.len(), whole.steps.len(), least.setup);
    for step in &least.steps {
        println!("  {step:?}");
    }
    tell(&told(&least));
    first.to_string()
}

#[test]
fn no_schedule_breaks_an_invariant() {
    if let Some(seed) = number("VPN_REVOKER_SEED") {
        silence_planned_panics();
        let story = told(&Schedule::of(seed));
        println!("the story of seed {seed}:");
        tell(&story);
        assert!(story.broken.is_empty(), "seed {seed} broke {}", tell_shortest(seed));
        return;
    }
    let from = number("VPN_REVOKER_FROM").unwrap_or(1);
    let seeds = number("VPN_REVOKER_SEEDS").unwrap_or(SEEDS);
    let Played { tally, broken } = play_all(from..=from + seeds - 1, None, None);
    tally.lines().iter().for_each(|line| println!("{line}"));
    if let Some(seed) = broken {
        panic!("seed {seed} broke {}", tell_shortest(seed));
    }
    assert!(tally.rare().is_empty() || seeds < SEEDS_TO_PROVE, "too seldom to prove anything: {:?}", tally.rare());
}

#[test]
fn one_seed_is_one_run() {
    silence_planned_panics();
    for seed in [42, 43] {
        let (first, second) = (told(&Schedule::of(seed)), told(&Schedule::of(seed)));
        assert_eq!(first.lines, second.lines);
        assert!(first.lines.len() > 20, "{:?}", first.lines);
    }
}

#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    let only = std::env::var("VPN_REVOKER_FAULT").ok();
    for (fault, invariant, from) in FAULTS {
        if only.as_ref().is_some_and(|only| *only != format!("{fault:?}")) {
            continue;
        }
        let from = number("VPN_REVOKER_FROM").unwrap_or(from);
        match play_all(from..=from + SEEDS_TO_FIND, Some(fault), Some(invariant)).broken {
            Some(seed) => println!("{fault:?}: {invariant:?}, seed {seed}"),
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "nobody noticed {missed:?}");
}

#[test]
fn a_story_is_made_as_short_as_it_can_be() {
    for fault in [Fault::UnlockOnTie, Fault::AskWithoutPause, Fault::TrustOwnMinute] {
        let (_, invariant, from) = FAULTS.into_iter().find(|(planted, ..)| *planted == fault).unwrap();
        let seed = play_all(from..=from + SEEDS_TO_FIND, Some(fault), Some(invariant)).broken.unwrap();
        plant(Some(fault));
        let whole = Schedule::of(seed);
        let least = shrink(&whole, invariant);
        let story = told(&least);
        plant(None);
        println!("{fault:?}: seed {seed}, {} of its {} steps:", least.steps.len(), whole.steps.len());
        tell(&story);
        assert!(least.steps.len() <= SHORT, "{least:#?}");
        assert!(story.broken.iter().any(|broken| broken.invariant == invariant), "{:?}", story.broken);
    }
}
