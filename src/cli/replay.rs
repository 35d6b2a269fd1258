//! `replay`: what would come of events, by the function's own code, here; and acting on what shadow mode recorded.

mod shadowed;

use std::path::PathBuf;

use clap::Args;
use revocation::intake::{Delivery, Intake, Reading};
use revocation::ports::Clock;
use revocation::signal::{Signal, Via};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::act::{AT_ONCE, new_id, receipts};
use super::aws::Aws;
use super::deployment::Deployment;
use super::explain::read;
use super::here::Here;
use super::output::{Printer, Progress, note};
use super::{CliError, Outcome};
use crate::SystemClock;

/// Show what would come of events, without changing anything; or act on what shadow mode recorded
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vpn-revoker replay event.json                     the plan, and whether EC2 would permit it
  aws sqs receive-message --queue-url … --query 'Messages[].Body | [0]' --output text | vpn-revoker replay -
  vpn-revoker replay --shadowed --from 2026-03-01   what shadow mode recorded since, and would be done now
  vpn-revoker replay --shadowed --from 2026-03-01 --apply

It runs the function's code on this machine, with its configuration (or that of --config) and your own permissions.
Events leave no trace in the tables. --apply does: each signal keeps its id, authority and time, so that what was said
since still wins.")]
pub(super) struct Replay {
    /// Files with events as JSON, one or several in each; `-` for standard input
    #[arg(required_unless_present = "shadowed")]
    files: Vec<PathBuf>,
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
                let (found, problems) = signals_of(&here.settings.intake, event.get());
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

/// What comes of signals, some at a time.
async fn settle(here: &Here, signals: Vec<Signal>) -> Vec<Value> {
    let progress = Progress::new("signals done");
    let mut receipts = Vec::new();
    let mut left = signals.into_iter().peekable();
    while left.peek().is_some() {
        let some: Vec<Signal> = left.by_ref().take(AT_ONCE).collect();
        let count = some.len();
        receipts.extend(here.settle(some).await.iter().map(|receipt| json!(receipt)));
        progress.more(count);
    }
    receipts
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
fn signals_of(intake: &Intake, event: &str) -> (Vec<Signal>, Vec<String>) {
    let delivery = Delivery { via: Via::Direct, received_at: SystemClock.now(), id: new_id() };
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
