//! `replay`: what would come of events, by the function's own code, here; and acting on what shadow mode recorded.

mod shadowed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use revocation::intake::{Delivery, Intake, Reading};
use revocation::ports::Clock;
use revocation::signal::{About, Signal, Via};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::act::{AT_ONCE, new_id, receipts};
use super::aws::Aws;
use super::deployment::Deployment;
use super::explain::{By, read};
use super::local::LocalFunction;
use super::output::{Printer, Progress, note};
use super::{CliError, Outcome};
use crate::SystemClock;

/// Show what would come of events, without changing anything; or act on what shadow mode recorded
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vpn-revoker replay event.json                     the plan, and whether EC2 would permit it
  aws sqs receive-message --queue-url … --query 'Messages[].Body | [0]' --output text | vpn-revoker replay --by event -
  vpn-revoker replay --shadowed --from 2026-03-01   what shadow mode recorded since, and would be done now
  vpn-revoker replay --shadowed --from 2026-03-01 --apply

It runs the function's code on this machine, with its configuration (or that of --config) and your own permissions.
Events leave no trace in the tables. --apply does: each signal keeps its id, authority and time, so that what the same
authority said since still wins, and so does a restore of every hold.")]
pub(super) struct Replay {
    /// Files with events as JSON, one or several in each; `-` for standard input
    #[arg(required_unless_present = "shadowed")]
    files: Vec<PathBuf>,
    /// How they would come: a bare command counts only in a direct invoke
    #[arg(long, value_enum, default_value = "invoke", conflicts_with = "shadowed")]
    by: By,
    /// What shadow mode recorded, instead of events
    #[arg(long, conflicts_with = "files")]
    shadowed: bool,
    #[command(flatten)]
    of: shadowed::Of,
    /// Do it
    #[arg(long, requires = "shadowed")]
    apply: bool,
    /// Who asks for it, for the audit trail, as claimed
    #[arg(long, value_name = "WHO", env = "USER")]
    requested_by: Option<String>,
    /// Don't ask
    #[arg(long, short, requires = "apply")]
    yes: bool,
}

impl Replay {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        match self.shadowed {
            true => shadowed::run(&self, deployment, aws, printer).await,
            false => self.rehearse(deployment, aws, printer).await,
        }
    }

    /// Shows what would come of the events.
    async fn rehearse(&self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let here = LocalFunction::new(deployment, aws).await?;
        let mut signals = Vec::new();
        for path in &self.files {
            let name = path.display().to_string();
            for (number, event) in (1..).zip(documents(&name, &read(path)?)?) {
                let (found, problems) = signals_of(&here.settings.intake, event.get(), self.by.via());
                problems.iter().for_each(|problem| note(&format!("{name}, event {number}: {problem}")));
                signals.extend(found);
            }
        }
        signals.iter_mut().for_each(|signal| signal.dry_run = true);
        let any = !signals.is_empty();
        let receipts = settle(&here, signals.into_iter().map(|signal| (signal, None)).collect()).await;
        receipts::show(&receipts, printer)?;
        Ok(if any { receipts::outcome(&receipts) } else { Outcome::Wrong })
    }
}

/// What comes of signals, some at a time, in their order; each with what it is about beside its own words. All that is
/// about one subject goes in one run: only there a later word stands beside an earlier one.
async fn settle(here: &LocalFunction, signals: Vec<(Signal, Option<String>)>) -> Vec<Value> {
    let progress = Progress::new("signals done");
    let about: Vec<BTreeSet<String>> = signals
        .iter()
        .map(|(signal, chain)| signal.about.iter().map(About::chain).chain(chain.clone()).collect())
        .collect();
    let mut receipts: BTreeMap<usize, Value> = BTreeMap::new();
    for run in runs(&about) {
        let some: Vec<Signal> = run.iter().filter_map(|number| Some(signals.get(*number)?.0.clone())).collect();
        let settled = here.settle(some).await;
        receipts.extend(run.iter().copied().zip(settled.iter().map(|receipt| json!(receipt))));
        progress.more(run.len());
    }
    receipts.into_values().collect()
}

/// Which go together: those that have something in common always do, and otherwise some at a time.
fn runs(about: &[BTreeSet<String>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(BTreeSet<String>, Vec<usize>)> = Vec::new();
    for (number, about) in about.iter().enumerate() {
        let mut group = (about.clone(), vec![number]);
        let (same, others): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|(chains, _)| chains.intersection(&group.0).next().is_some());
        for (chains, numbers) in same {
            group.0.extend(chains);
            group.1.extend(numbers);
        }
        groups = others;
        groups.push(group);
    }
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for (_, numbers) in groups {
        match runs.last_mut() {
            Some(run) if run.len().saturating_add(numbers.len()) <= AT_ONCE => run.extend(numbers),
            _ => runs.push(numbers),
        }
    }
    runs.iter_mut().for_each(|run| run.sort_unstable());
    runs
}

/// The JSON documents of a file, one after another.
fn documents(path: &str, text: &str) -> Result<Vec<Box<RawValue>>, CliError> {
    let documents =
        serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>().collect::<Result<Vec<_>, _>>();
    let documents = documents.map_err(|error| CliError::Unfit(format!("{path} is no JSON: {error}")))?;
    match documents.is_empty() {
        true => Err(CliError::Unfit(format!("{path} is empty"))),
        false => Ok(documents),
    }
}

/// The signals in an event, and why what else is in it says nothing.
fn signals_of(intake: &Intake, event: &str, via: Via) -> (Vec<Signal>, Vec<String>) {
    let delivery = Delivery { via, received_at: SystemClock.now(), id: new_id() };
    match intake.read(event.as_bytes(), &delivery) {
        Err(rejected) => (Vec::new(), vec![rejected.to_string()]),
        Ok(Reading::Sweep(_) | Reading::SyncDirectory) => {
            (Vec::new(), vec!["a command that is about nobody is not replayed".to_owned()])
        }
        Ok(reading) => {
            let problems = match &reading {
                Reading::Events { put_aside, .. } => put_aside.iter().map(ToString::to_string).collect(),
                _ => Vec::new(),
            };
            (reading.into_signals(), problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_subject_is_never_in_two_runs_and_nothing_is_lost(
            about in prop::collection::vec(prop::collection::btree_set("[a-h][0-9]", 1..4), 0..200),
        ) {
            let runs = runs(&about);
            prop_assert!(runs.iter().all(|run| run.is_sorted() && !run.is_empty()));
            let mut all: Vec<usize> = runs.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..about.len()).collect::<Vec<_>>());
            let run_of = |number: usize| runs.iter().position(|run| run.contains(&number));
            for (one, names) in about.iter().enumerate() {
                for (other, others) in about.iter().enumerate().filter(|(_, others)| !names.is_disjoint(others)) {
                    prop_assert_eq!(run_of(one), run_of(other), "{:?} and {:?}", names, others);
                }
            }
        }
    }

    #[test]
    fn strangers_go_some_at_a_time() {
        let about: Vec<BTreeSet<String>> = (0..120).map(|number| BTreeSet::from([format!("u{number}")])).collect();
        let sizes: Vec<usize> = runs(&about).iter().map(Vec::len).collect();
        assert_eq!(sizes, [50, 50, 20]);
    }
}
