//! What shadow mode recorded, made signals again: each with its own id, authority and time, so that it counts as it would
//! have counted then, and what was said since still wins.

use std::collections::BTreeSet;

use clap::Args;
use revocation::audit::{Entry, Kind};
use revocation::name::{Name, Subject};
use revocation::policy::Mode;
use revocation::ports::Clock;
use revocation::signal::{About, Action, Authority, Signal, SignalId, Via};
use revocation::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Replay, settle};
use crate::cli::act::{confirm, receipts};
use crate::cli::audit::{Selection, day};
use crate::cli::aws::Aws;
use crate::cli::deployment::Deployment;
use crate::cli::here::Here;
use crate::cli::output::{Printer, note, word};
use crate::cli::verify::chain_findings;
use crate::cli::{CliError, Outcome, interrupt};
use crate::{DynamoAudit, SystemClock};

/// Which of it.
#[derive(Debug, Args)]
pub(super) struct Of {
    /// Only of this subject
    #[arg(long, value_name = "NAME", requires = "shadowed", conflicts_with_all = ["from", "to"])]
    subject: Option<String>,
    /// The first day, such as 2026-03-01 (UTC); without it, today
    #[arg(long, value_name = "DAY", value_parser = day, requires = "shadowed")]
    from: Option<Timestamp>,
    /// The last day; without it, today
    #[arg(long, value_name = "DAY", value_parser = day, requires = "from")]
    to: Option<Timestamp>,
}

impl Of {
    fn selection(&self) -> Selection {
        Selection {
            subject: self.subject.clone(),
            from: self.from,
            to: self.to,
            kinds: vec![Kind::Shadowed.word().to_owned()],
            signal: None,
        }
    }
}

/// A shadowed entry, for people and programs.
#[derive(Debug, Serialize)]
struct Row {
    subject: String,
    action: String,
    authority: String,
    as_of: String,
    would_be: String,
    reason: String,
    signal_id: String,
    /// Why it is left alone, if it is.
    left_alone: Option<&'static str>,
}

const TITLES: [&str; 7] = ["subject", "action", "authority", "as of", "would be", "reason", "left alone"];

impl Row {
    fn new(entry: &Entry, signal: Result<&Signal, &'static str>) -> Self {
        let text = |name: &str| word(entry.attributes().get(name));
        let detail = |name: &str| word(entry.attributes().get("detail").and_then(|detail| detail.get(name)));
        Self {
            subject: entry.chain().to_owned(),
            action: detail("action"),
            authority: text("authority"),
            as_of: detail("as_of"),
            would_be: detail("would_be"),
            reason: text("reason"),
            signal_id: text("signal_id"),
            left_alone: signal.err(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let all = [&self.subject, &self.action, &self.authority, &self.as_of, &self.would_be, &self.reason];
        let left_alone = self.left_alone.unwrap_or_default().to_owned();
        all.into_iter().cloned().chain([left_alone]).collect()
    }
}

pub(super) async fn run(
    replay: &Replay,
    deployment: &Deployment,
    aws: &Aws,
    printer: &Printer,
) -> Result<Outcome, CliError> {
    let mut entries = Vec::new();
    let trail = deployment.audit(aws).await?;
    let take = |some| {
        entries.extend(some);
        Ok(())
    };
    replay.of.selection().read(&trail, take).await?;
    let broken = broken(&trail, &entries).await?;
    let now = SystemClock.now();
    let read_one = |entry: &Entry| match broken.contains(entry.chain()) {
        true => Err("its chain is not whole; see vpn-revoker audit verify"),
        false => signal_of(entry, replay.requested_by.as_deref(), now),
    };
    let read: Vec<_> = entries.iter().map(read_one).collect();
    if !replay.apply {
        let rows: Vec<Row> = entries
            .iter()
            .zip(&read)
            .map(|(entry, signal)| Row::new(entry, signal.as_ref().map_err(|why| *why)))
            .collect();
        printer.rows(&TITLES, &rows, Row::cells)?;
        note(&format!("{} shadowed entries; --apply acts on those that are not left alone", rows.len()));
        return Ok(Outcome::Fine);
    }
    let left_alone = read.iter().filter(|signal| signal.is_err()).count();
    let signals: Vec<Signal> = read.into_iter().flatten().collect();
    if left_alone > 0 {
        note(&format!("{left_alone} entries are left alone; without --apply it is said why"));
    }
    apply(signals, replay.yes, deployment, aws, printer).await
}

async fn apply(
    signals: Vec<Signal>,
    yes: bool,
    deployment: &Deployment,
    aws: &Aws,
    printer: &Printer,
) -> Result<Outcome, CliError> {
    let here = Here::new(deployment, aws).await?;
    if here.settings.policy.mode == Mode::Shadow {
        return Err(CliError::Unfit(
            "the function is in shadow mode, in which nothing is changed; deploy it with Mode=enforce first".to_owned(),
        ));
    }
    if signals.is_empty() {
        return Err(CliError::Unfit("nothing was recorded in that time that could be applied".to_owned()));
    }
    let whom: Vec<String> = signals
        .iter()
        .map(|signal| {
            let about: Vec<String> = signal.about.iter().map(About::label).collect();
            format!("{} {}", signal.action.word(), about.join(", "))
        })
        .collect();
    confirm(yes, "do what shadow mode recorded:", &whom)?;
    let _kept =
        interrupt::tells("what was done so far stands; the same again goes on, and does nothing twice".to_owned());
    let receipts = settle(&here, signals).await;
    receipts::show(&receipts, printer)?;
    Ok(receipts::outcome(&receipts))
}

/// The chains that are not whole: who could write to them could have somebody cut off by what was never recorded.
async fn broken(trail: &DynamoAudit, entries: &[Entry]) -> Result<BTreeSet<String>, CliError> {
    let chains: BTreeSet<&str> = entries.iter().map(Entry::chain).collect();
    let mut broken = BTreeSet::new();
    for chain in chains {
        if !chain_findings(trail, chain).await?.1.is_empty() {
            broken.insert(chain.to_owned());
        }
    }
    Ok(broken)
}

/// The signal behind a shadowed entry, or why it is left alone.
fn signal_of(entry: &Entry, who: Option<&str>, now: Timestamp) -> Result<Signal, &'static str> {
    let detail = |name: &str| entry.attributes().get("detail").and_then(|detail| detail.get(name));
    let instant = |name: &str| detail(name).and_then(Value::as_str).and_then(Timestamp::parse);
    if detail("replay").is_some() {
        return Err("a replay from an archive, which is only audited");
    }
    let action = action_of(entry, now)?;
    let as_of = instant("as_of").ok_or("its time is not on record")?;
    let source = entry.text("source").unwrap_or_default();
    Ok(Signal {
        id: SignalId::new(entry.text("signal_id").ok_or("its id is not on record")?),
        action,
        about: vec![About::Subject(subject_of(entry)?)],
        authority: Authority::named(entry.text("authority").ok_or("its authority is not on record")?),
        as_of,
        occurred_at: instant("occurred_at"),
        received_at: instant("received_at").unwrap_or(as_of),
        source: match who.filter(|who| !who.is_empty()) {
            Some(who) => format!("{source}, recorded in shadow mode and applied by {who}"),
            None => format!("{source}, recorded in shadow mode and applied later"),
        },
        actor: entry.text("actor").map(str::to_owned),
        reason: entry.text("reason").map(str::to_owned),
        dry_run: false,
        force: detail("force") == Some(&Value::Bool(true)),
        replay: None,
        via: Via::Direct,
    })
}

fn action_of(entry: &Entry, now: Timestamp) -> Result<Action, &'static str> {
    let detail = |name: &str| entry.attributes().get("detail").and_then(|detail| detail.get(name));
    match detail("action").and_then(Value::as_str) {
        Some("revoke") => {
            let text = detail("expires_at").and_then(Value::as_str);
            let expires_at = text.map(|text| Timestamp::parse(text).ok_or("its end can't be read")).transpose()?;
            match expires_at {
                Some(until) if until <= now => Err("its lock would have lapsed by now"),
                _ => Ok(Action::Revoke { expires_at }),
            }
        }
        Some("restore") => {
            let named = detail("authorities").and_then(Value::as_array);
            let authorities = named.map(|names| names.iter().filter_map(Value::as_str).map(Authority::named).collect());
            Ok(Action::Restore { authorities })
        }
        Some("disconnect") => Ok(Action::Disconnect),
        _ => Err("this action is not applied later; send the command again"),
    }
}

/// The subject, with the further names that were known then: a directory may not know them any more.
fn subject_of(entry: &Entry) -> Result<Subject, &'static str> {
    let subject = Subject::new(entry.chain()).map_err(|_| "it names nobody")?;
    let names = entry.attributes().get("detail").and_then(|detail| detail.get("names")).and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str).filter_map(|name| Name::new(name).ok());
    Ok(subject.also_called(names))
}
