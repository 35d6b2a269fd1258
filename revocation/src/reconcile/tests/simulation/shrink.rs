//! Makes a schedule that breaks an invariant shorter, as long as it breaks the same one.

use super::play::run;
use super::schedule::{Schedule, Step, What};
use super::troubles::Planned;
use super::watch::Invariant;

/// How many runs it may take.
const RUNS: usize = 600;

struct Shrinking {
    invariant: Invariant,
    runs: usize,
}

/// A shorter schedule that breaks the same invariant: no step, no item of a message, no mishap and no crash can be taken
/// away from it by itself, unless the runs were used up.
pub(super) fn shrink(schedule: &Schedule, invariant: Invariant) -> Schedule {
    let mut shrinking = Shrinking { invariant, runs: 0 };
    let mut least = only_what_met(schedule);
    if !shrinking.breaks(&least) {
        least = schedule.clone();
    }
    loop {
        let before = size(&least);
        least = shrinking.fewer_steps(&least);
        least = shrinking.fewer_items(&least);
        least = shrinking.fewer_mishaps(&least);
        least = shrinking.fewer_crashes(&least);
        least = shrinking.simpler_setup(least);
        if size(&least) == before || shrinking.runs >= RUNS {
            return least;
        }
    }
}

fn size(schedule: &Schedule) -> (usize, usize, usize, usize) {
    let mishaps = schedule.steps.iter().map(|step| step.mishaps.len()).sum();
    let crashes = schedule.steps.iter().filter(|step| step.crash.is_some()).count();
    (schedule.steps.len(), items(schedule).len(), mishaps, crashes)
}

/// Where an item of a message stands: in which step, in which of its messages, and as which of its items.
type Place = (u64, usize, usize);

fn items(schedule: &Schedule) -> Vec<Place> {
    let mut places = Vec::new();
    for step in &schedule.steps {
        let What::Send(parcels) = &step.what else { continue };
        for (parcel, items) in parcels.iter().map(|parcel| &parcel.items).enumerate() {
            places.extend((0..items.len()).map(|item| (step.number, parcel, item)));
        }
    }
    places
}

/// The same with these items of messages and no others.
fn with_items(schedule: &Schedule, left: &[Place]) -> Schedule {
    let mut schedule = schedule.clone();
    for step in &mut schedule.steps {
        let What::Send(parcels) = &mut step.what else { continue };
        for (number, parcel) in parcels.iter_mut().enumerate() {
            let mut item = 0..;
            parcel.items.retain(|_| left.contains(&(step.number, number, item.next().unwrap())));
        }
        parcels.retain(|parcel| !parcel.items.is_empty());
    }
    schedule
}

/// The same without the mishaps that met no call.
fn only_what_met(schedule: &Schedule) -> Schedule {
    let met = run(schedule).met;
    let mut schedule = schedule.clone();
    for step in &mut schedule.steps {
        step.mishaps.retain(|planned| met.contains(&(step.number, *planned)));
    }
    schedule
}

impl Shrinking {
    fn breaks(&mut self, schedule: &Schedule) -> bool {
        self.runs += 1;
        run(schedule).broken.iter().any(|broken| broken.invariant == self.invariant)
    }

    /// As few of the parts as still break it: halves are taken away, then quarters, down to single ones.
    fn fewer<T: Clone>(&mut self, parts: Vec<T>, with: impl Fn(&[T]) -> Schedule) -> Vec<T> {
        let mut parts = parts;
        let mut chunk = parts.len().div_ceil(2);
        while chunk > 0 && !parts.is_empty() {
            let mut at = 0;
            while at < parts.len() {
                let end = (at + chunk).min(parts.len());
                let fewer: Vec<T> = parts[..at].iter().chain(&parts[end..]).cloned().collect();
                if self.runs < RUNS && self.breaks(&with(&fewer)) {
                    parts = fewer;
                } else {
                    at = end;
                }
            }
            chunk /= 2;
        }
        parts
    }

    fn fewer_steps(&mut self, schedule: &Schedule) -> Schedule {
        let with = |steps: &[Step]| Schedule { setup: schedule.setup.clone(), steps: steps.to_vec() };
        let steps = self.fewer(schedule.steps.clone(), with);
        Schedule { setup: schedule.setup.clone(), steps }
    }

    fn fewer_items(&mut self, schedule: &Schedule) -> Schedule {
        let left = self.fewer(items(schedule), |left| with_items(schedule, left));
        with_items(schedule, &left)
    }

    fn fewer_mishaps(&mut self, schedule: &Schedule) -> Schedule {
        let all: Vec<(u64, Planned)> = (schedule.steps.iter())
            .flat_map(|step| step.mishaps.iter().map(|planned| (step.number, *planned)))
            .collect();
        let with = |left: &[(u64, Planned)]| {
            let mut schedule = schedule.clone();
            for step in &mut schedule.steps {
                step.mishaps.retain(|planned| left.contains(&(step.number, *planned)));
            }
            schedule
        };
        let left = self.fewer(all, with);
        with(&left)
    }

    fn fewer_crashes(&mut self, schedule: &Schedule) -> Schedule {
        let all: Vec<u64> = schedule.steps.iter().filter(|step| step.crash.is_some()).map(|step| step.number).collect();
        let with = |left: &[u64]| {
            let mut schedule = schedule.clone();
            for step in schedule.steps.iter_mut().filter(|step| !left.contains(&step.number)) {
                step.crash = None;
            }
            schedule
        };
        let left = self.fewer(all, with);
        with(&left)
    }

    /// Clocks that are right, a single environment, and no connect handler, where those will do.
    fn simpler_setup(&mut self, schedule: Schedule) -> Schedule {
        let mut least = schedule;
        let mut right = least.clone();
        right.setup.ahead.iter_mut().for_each(|ahead| *ahead = 0);
        let mut alone = right.clone();
        alone.setup.ahead.truncate(1);
        let mut open = alone.clone();
        open.setup.door = false;
        for simpler in [right, alone, open] {
            if self.runs < RUNS && self.breaks(&simpler) {
                least = simpler;
            }
        }
        least
    }
}
