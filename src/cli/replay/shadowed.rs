//! What shadow mode recorded, made signals again: each with its own id, authority and time, so that it counts as it would
//! have counted then, and what that authority said since still wins.
//!
//! Entries are taken from chains that were just verified, never from the index, which only says which chains are meant.
//! Of each chain everything is taken from the first entry that is meant to the end: a word that came after the days that
//! were asked for must not be missed. Names are found anew: those on record may be somebody else's by now, or those of a
//! mistake that shadow mode was there to find.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clap::Args;
use revocation::audit::{Entry, Kind};
use revocation::breaker::{Brake, Counted};
use revocation::name::{Name, PersonId, Subject};
use revocation::policy::{Mode, NOT_BY_EVENT};
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
use crate::cli::local::LocalFunction;
use crate::cli::output::{Printer, Progress, note, shown, word};
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
    fn new(one: &Shadowed) -> Self {
        let text = |name: &str| word(one.entry.attributes().get(name));
        let detail = |name: &str| word(one.entry.detail(name));
        Self {
            subject: one.entry.chain().to_owned(),
            action: detail("action"),
            authority: text("authority"),
            as_of: detail("as_of"),
            would_be: detail("would_be"),
            reason: text("reason"),
            signal_id: text("signal_id"),
            left_alone: one.signal.as_ref().err().copied(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let all = [&self.subject, &self.action, &self.authority, &self.as_of, &self.would_be, &self.reason];
        let left_alone = self.left_alone.unwrap_or_default().to_owned();
        all.into_iter().cloned().chain([left_alone]).collect()
    }
}

/// A shadowed entry, and the signal behind it or why it is left alone.
struct Shadowed {
    entry: Entry,
    signal: Result<Signal, &'static str>,
}

/// Why an entry is left alone that somebody may have been at.
const NOT_WHOLE: &str = "its chain is not whole; see vpn-revoker audit verify";

pub(super) async fn run(
    replay: &Replay,
    deployment: &Deployment,
    aws: &Aws,
    printer: &Printer,
) -> Result<Outcome, CliError> {
    // Before anything is read: it makes sure that the tables are those of the function that would act.
    let here = match replay.apply {
        true => Some(LocalFunction::new(deployment, aws).await?),
        false => None,
    };
    let trail = deployment.audit(aws).await?;
    let found = find(&trail, &replay.of.selection(), replay.requested_by.as_deref()).await?;
    let outcome = match here {
        Some(here) => return apply(here, found, replay.yes, deployment, aws, printer).await,
        None if found.iter().any(is_suspect) => Outcome::Wrong,
        None => Outcome::Fine,
    };
    let rows: Vec<Row> = found.iter().map(Row::new).collect();
    printer.rows(&TITLES, &rows, Row::cells)?;
    note(&format!("{} shadowed entries; --apply acts on those that are not left alone", rows.len()));
    Ok(outcome)
}

fn is_suspect(one: &Shadowed) -> bool {
    one.signal.as_ref().err() == Some(&NOT_WHOLE)
}

/// What is meant, chain by chain.
async fn find(trail: &DynamoAudit, selection: &Selection, who: Option<&str>) -> Result<Vec<Shadowed>, CliError> {
    let mut first: BTreeMap<String, u64> = BTreeMap::new();
    let take = |entries: Vec<Entry>| {
        for entry in entries {
            let seq = entry.seq().unwrap_or_default();
            first.entry(entry.chain().to_owned()).and_modify(|known| *known = seq.min(*known)).or_insert(seq);
        }
        Ok(())
    };
    selection.read(trail, take).await?;
    let progress = Progress::new("chains verified");
    let mut found = Vec::new();
    for (chain, first) in first {
        let (entries, findings) = chain_findings(trail, &chain).await?;
        found.extend(of_chain(entries, first, findings.is_empty(), who, SystemClock.now()));
        progress.more(1);
    }
    Ok(found)
}

/// The shadowed entries of a chain from one on, and words before it that let the person in again by then: what came in
/// another order than it happened counts as it happened.
fn of_chain(entries: Vec<Entry>, first: u64, is_whole: bool, who: Option<&str>, now: Timestamp) -> Vec<Shadowed> {
    let is_late = |entry: &Entry| entry.seq().is_none_or(|seq| seq >= first);
    let since = entries.iter().filter(|entry| is_shadowed(entry) && is_late(entry)).filter_map(as_of).min();
    let lets_in_later = |entry: &Entry| action(entry) == Some("restore") && as_of(entry) >= since;
    // Somebody let the person in since, by a command that lifts every hold: these were not there to be lifted.
    let let_in = entries.iter().filter(|entry| lifts_all(entry)).filter_map(as_of).max();
    let done: BTreeSet<(String, String)> = entries.iter().filter(|entry| is_done(entry)).filter_map(deed).collect();
    let read = |entry: Entry| {
        let received_at = entry.instant("received_at").or_else(|| entry.text("at").and_then(Timestamp::parse));
        let signal = match is_whole {
            false => Err(NOT_WHOLE),
            true if deed(&entry).is_some_and(|deed| done.contains(&deed)) => Err("it was done since"),
            true if let_in.is_some() && received_at <= let_in => {
                Err("everybody's holds were lifted since by a command")
            }
            true => signal_of(&entry, who, now),
        };
        Shadowed { entry, signal }
    };
    let meant = |entry: &Entry| is_shadowed(entry) && (is_late(entry) || lets_in_later(entry));
    entries.into_iter().filter(meant).map(read).collect()
}

fn is_shadowed(entry: &Entry) -> bool {
    entry.text("kind") == Some(Kind::Shadowed.word())
}

/// Whether an entry says that its signal was carried out to its end.
fn is_done(entry: &Entry) -> bool {
    [Kind::Completed, Kind::Restored, Kind::Superseded]
        .map(Kind::word)
        .contains(&entry.text("kind").unwrap_or_default())
}

/// A signal and what it asked for: one id may stand for a revocation and for its restore.
fn deed(entry: &Entry) -> Option<(String, String)> {
    Some((signal_id(entry)?, action(entry)?.to_owned()))
}

fn signal_id(entry: &Entry) -> Option<String> {
    entry.text("signal_id").map(str::to_owned)
}

fn as_of(entry: &Entry) -> Option<Timestamp> {
    entry.instant("as_of")
}

fn action(entry: &Entry) -> Option<&str> {
    entry.detail("action").and_then(Value::as_str)
}

/// Whether an entry tells of a command that lifted every hold there was.
fn lifts_all(entry: &Entry) -> bool {
    let restored = entry.text("kind") == Some(Kind::Restored.word());
    restored && action(entry) == Some("restore") && entry.detail("authorities").is_none()
}

async fn apply(
    here: LocalFunction,
    found: Vec<Shadowed>,
    yes: bool,
    deployment: &Deployment,
    aws: &Aws,
    printer: &Printer,
) -> Result<Outcome, CliError> {
    if here.settings.policy.mode == Mode::Shadow {
        return Err(CliError::Unfit(
            "the function is in shadow mode, in which nothing is changed; deploy it with Mode=enforce first".to_owned(),
        ));
    }
    let suspect = found.iter().any(is_suspect);
    let left_alone = found.iter().filter_map(|one| Some((&one.entry, one.signal.as_ref().err()?)));
    for (entry, why) in left_alone {
        note(&format!("{} of {} is left alone: {why}", signal_id(entry).unwrap_or_default(), entry.chain()));
    }
    let recorded: Vec<(Signal, Entry)> =
        found.into_iter().filter_map(|one| Some((one.signal.ok()?, one.entry))).collect();
    if recorded.is_empty() {
        note("nothing was recorded in that time that could be applied");
        return Ok(if suspect { Outcome::Wrong } else { Outcome::Fine });
    }
    within_limits(&recorded, &here, deployment, aws).await?;
    let whom: Vec<String> =
        recorded.iter().map(|(signal, entry)| format!("{} {}", signal.action.word(), entry.chain())).collect();
    confirm(yes, "do what shadow mode recorded:", &whom, &here.whose)?;
    let _kept =
        interrupt::tells("what was done so far stands; the same again goes on, and does nothing twice".to_owned());
    let names: Vec<Vec<String>> = recorded.iter().map(|(_, entry)| names_on_record(entry)).collect();
    let signals = recorded.into_iter().map(|(signal, entry)| (signal, Some(entry.chain().to_owned()))).collect();
    let receipts = settle(&here, signals).await;
    receipts::show(&receipts, printer)?;
    let left_out = names_left_out(&receipts, &names);
    for (subject, names) in &left_out {
        note(&format!(
            "{subject} was also sought as {} then, and is not now: an alias was taken away, or somebody let that name in. Look, and revoke it by name if it is theirs",
            names.join(", ")
        ));
    }
    match suspect || !left_out.is_empty() {
        true => Ok(Outcome::Wrong),
        false => Ok(receipts::outcome(&receipts)),
    }
}

/// Catching up must not open a producer's breaker, nor bring it so near that the next leaver does: from then on nobody
/// would believe what it says today. So it may take half of what the breaker allows.
async fn within_limits(
    recorded: &[(Signal, Entry)],
    here: &LocalFunction,
    deployment: &Deployment,
    aws: &Aws,
) -> Result<(), CliError> {
    let mut wanted: BTreeMap<&Authority, BTreeSet<Counted>> = BTreeMap::new();
    for (signal, entry) in recorded.iter().filter(|(signal, _)| matches!(signal.action, Action::Revoke { .. })) {
        // As the breaker counts: one for each signal and subject.
        let name = Name::new(entry.chain()).map_err(|error| CliError::Unfit(error.to_string()))?;
        wanted.entry(&signal.authority).or_default().insert(Counted::new(&signal.id, &name));
    }
    let half = here.settings.policy.max_subjects.div_ceil(2);
    let brake = Brake::new(Arc::new(deployment.locks(aws).await?), Arc::new(SystemClock));
    for (authority, wanted) in wanted.into_iter().filter(|(authority, _)| **authority != Authority::command()) {
        let standing = brake.standing(authority).await?;
        let authority = shown(authority.as_str());
        if standing.opened_at.is_some() {
            return Err(CliError::Unfit(format!(
                "the circuit breaker of {authority} is open; find out why, and close it first: vpn-revoker breaker close"
            )));
        }
        let total = wanted.union(&standing.counted).count();
        if total > half {
            return Err(CliError::Unfit(format!(
                "this would be {total} new locks on the word of {authority} within ten minutes, more than half ({half}) of what its circuit breaker allows, and would leave too little room for its signals of today; take fewer days at a time, wait ten minutes, or raise MaxSubjects first"
            )));
        }
    }
    Ok(())
}

fn names_on_record(entry: &Entry) -> Vec<String> {
    let names = entry.detail("names").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The names that were sought then and not now, by subject. Receipts stand in the order of the signals.
fn names_left_out(receipts: &[Value], on_record: &[Vec<String>]) -> Vec<(String, Vec<String>)> {
    let mut left_out = Vec::new();
    for (receipt, then) in receipts.iter().zip(on_record) {
        let Some(subject) = receipt.get("subjects").and_then(|subjects| subjects.get(0)) else { continue };
        let now = subject.get("names").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let now: BTreeSet<&str> = now.collect();
        let missing: Vec<String> = then.iter().filter(|name| !now.contains(name.as_str())).cloned().collect();
        let ended = ["completed", "incomplete"].contains(&word(subject.get("outcome")).as_str());
        if !missing.is_empty() && ended && receipt.get("action").and_then(Value::as_str) == Some("revoke") {
            left_out.push((word(subject.get("subject")), missing));
        }
    }
    left_out
}

/// The signal behind a shadowed entry, or why it is left alone.
fn signal_of(entry: &Entry, who: Option<&str>, now: Timestamp) -> Result<Signal, &'static str> {
    if entry.detail("replay").is_some() {
        return Err("a replay from an archive, which is only audited");
    }
    let authority = entry.text("authority").ok_or("its authority is not on record")?;
    if authority == Authority::directory().as_str() {
        return Err("a sweep's own word about the directory; the next sweep asks it, and goes by what it says then");
    }
    if entry.detail("refusal").and_then(Value::as_str) == Some(NOT_BY_EVENT) {
        return Err("a command that may not come as an event; invoke the function if it is right");
    }
    let action = action_of(entry, now)?;
    let as_of = as_of(entry).ok_or("its time is not on record")?;
    let source = entry.text("source").unwrap_or_default();
    Ok(Signal {
        id: SignalId::new(entry.text("signal_id").ok_or("its id is not on record")?),
        action,
        about: vec![about(entry)?],
        authority: Authority::named(authority),
        as_of,
        occurred_at: entry.instant("occurred_at"),
        received_at: entry.instant("received_at").unwrap_or(as_of),
        source: match who.filter(|who| !who.is_empty()) {
            Some(who) => format!("{source}, recorded in shadow mode and applied by {who}"),
            None => format!("{source}, recorded in shadow mode and applied later"),
        },
        actor: entry.text("actor").map(str::to_owned),
        reason: entry.text("reason").map(str::to_owned),
        dry_run: false,
        force: entry.detail("force") == Some(&Value::Bool(true)),
        replay: None,
        via: Via::Direct,
    })
}

/// Whom it is about. Where the directory was asked then, it is asked again, or what it answered then is recalled.
fn about(entry: &Entry) -> Result<About, &'static str> {
    match entry.detail("directory_id").and_then(Value::as_str) {
        Some(id) => Ok(About::unresolved("identity-center", id, true)),
        None => {
            let subject = Subject::new(entry.chain()).map_err(|_| "it names nobody")?;
            let person = entry.detail("person").and_then(Value::as_str).map(PersonId::new);
            Ok(About::Subject(match person {
                Some(person) => subject.who_is(person),
                None => subject,
            }))
        }
    }
}

fn action_of(entry: &Entry, now: Timestamp) -> Result<Action, &'static str> {
    match action(entry) {
        Some("revoke") => {
            let text = entry.detail("expires_at").and_then(Value::as_str);
            let expires_at = text.map(|text| Timestamp::parse(text).ok_or("its end can't be read")).transpose()?;
            match expires_at {
                Some(until) if until <= now => Err("its lock would have lapsed by now"),
                _ => Ok(Action::Revoke { expires_at }),
            }
        }
        Some("restore") => {
            let named = entry.detail("authorities").and_then(Value::as_array);
            let authorities = named.map(|names| names.iter().filter_map(Value::as_str).map(Authority::named).collect());
            Ok(Action::Restore { authorities })
        }
        Some("disconnect") => Ok(Action::Disconnect),
        _ => Err("this action is not applied later; send the command again"),
    }
}
