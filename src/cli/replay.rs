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
use super::here::Here;
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
        let here = Here::new(deployment, aws).await?;
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
        let receipts = settle(&here, signals).await;
        receipts::show(&receipts, printer)?;
        Ok(if any { receipts::outcome(&receipts) } else { Outcome::Wrong })
    }
}

/// What comes of signals, some at a time, in their order. All that is about one subject goes in one run: only there a
/// later word stands beside an earlier one.
async fn settle(here: &Here, signals: Vec<Signal>) -> Vec<Value> {
    let progress = Progress::new("signals done");
    let mut receipts: BTreeMap<usize, Value> = BTreeMap::new();
    for run in runs(&signals) {
        let some: Vec<Signal> = run.iter().filter_map(|number| signals.get(*number).cloned()).collect();
        let settled = here.settle(some).await;
        receipts.extend(run.iter().copied().zip(settled.iter().map(|receipt| json!(receipt))));
        progress.more(run.len());
    }
    receipts.into_values().collect()
}

/// Which signals go together: those with a subject in common always do, and otherwise some at a time.
fn runs(signals: &[Signal]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(BTreeSet<String>, Vec<usize>)> = Vec::new();
    for (number, signal) in signals.iter().enumerate() {
        let mut group = (signal.about.iter().map(About::chain).collect::<BTreeSet<_>>(), vec![number]);
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
    use revocation::name::Subject;
    use revocation::signal::{Action, Authority, SignalId};
    use revocation::time::Timestamp;

    use super::*;

    fn signal(subjects: &[&str]) -> Signal {
        Signal {
            id: SignalId::new("1"),
            action: Action::Disconnect,
            about: subjects.iter().map(|name| About::Subject(Subject::new(name).unwrap())).collect(),
            authority: Authority::command(),
            as_of: Timestamp::from_millis(0),
            occurred_at: None,
            received_at: Timestamp::from_millis(0),
            source: String::new(),
            actor: None,
            reason: None,
            dry_run: false,
            force: false,
            replay: None,
            via: Via::Direct,
        }
    }

    #[test]
    fn a_subject_is_never_in_two_runs() {
        let names: Vec<String> = (0..120).map(|number| format!("u{}@example.com", number % 70)).collect();
        let mut signals: Vec<Signal> = names.iter().map(|name| signal(&[name])).collect();
        signals.push(signal(&["u0@example.com", "u69@example.com"]));
        let runs = runs(&signals);
        assert!(runs.len() > 1 && runs.iter().all(|run| run.is_sorted()));
        let mut all: Vec<usize> = runs.concat();
        all.sort_unstable();
        assert_eq!(all, (0..signals.len()).collect::<Vec<_>>(), "each signal once");
        for name in &names {
            let holds = |run: &&Vec<usize>| {
                run.iter().any(|number| signals[*number].about.iter().any(|about| about.chain() == *name))
            };
            assert_eq!(runs.iter().filter(holds).count(), 1, "{name}");
        }
    }
}
