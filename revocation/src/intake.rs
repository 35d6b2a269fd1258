//! From bytes to [`Signal`]s.
//!
//! A producer of events is data: a row in a table that says which events are meant (an EventBridge pattern), what they
//! ask for, and at which paths the person, the time, the id, the tenant and the actor stand. Nothing is ever taken
//! from anywhere but those paths: the first e-mail address in a payload is more often the administrator's.

mod command;
mod explain;
mod extract;
mod rules;
mod statement;
mod table;
mod unpack;
mod xml;

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::planted::{self, Fault};
use crate::reconcile::Sweep;
use crate::signal::{Signal, SignalId, Via};
use crate::time::Timestamp;

use table::Replays;
use unpack::Unpacked;

pub use explain::{Explained, Explanation};
pub use rules::{Intake, RuleSummary, RulesError};
pub use table::Evidence;

/// EventBridge's name for events that carry our commands.
const COMMAND_SOURCE: &str = "vpn-revoker";
/// And their detail-type.
const COMMAND_DETAIL_TYPE: &str = "VPN Revoker Command";

/// What EventBridge adds to an event that it replays from an archive.
const REPLAY_NAME: &str = "replay-name";

/// The names under which AWS sends what is due: EventBridge's rules with a schedule
/// (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-rule-schedule.html>), and EventBridge Scheduler,
/// where a schedule has no input of its own (seen in what functions received; AWS does not show it).
const SCHEDULE_SOURCES: [&str; 2] = ["aws.events", "aws.scheduler"];
/// And their detail-type.
const SCHEDULE_DETAIL_TYPE: &str = "Scheduled Event";

/// What is known of a delivery apart from its content.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// How it reached us.
    pub via: Via,
    /// When it was received: what SQS says, else our clock.
    pub received_at: Timestamp,
    /// The id to fall back to where the content has none: of the SQS message, else of the request.
    pub id: String,
}

/// What a delivery says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// A command that is the whole payload of a direct invoke. It gets its receipt as the answer.
    Command(Box<Signal>),
    /// A command, of a direct invoke, to copy the directory. It is about nobody.
    SyncDirectory,
    /// A command, of a direct invoke, to sweep. It gets its receipt as the answer.
    Sweep(Sweep),
    /// The signals of one or more events.
    Events {
        /// The signals.
        signals: Vec<Signal>,
        /// Orders to sweep: the schedule's, and commands.
        sweeps: Vec<Sweep>,
        /// Whether whoever invokes with such a delivery tries a failed invoke again: EventBridge, CloudWatch Logs, a pipe.
        retried: bool,
        /// Why other events of the same delivery say nothing to us.
        put_aside: Vec<Rejected>,
    },
}

impl Reading {
    /// The orders to sweep.
    #[must_use]
    pub fn sweeps(&self) -> &[Sweep] {
        match self {
            Self::Sweep(order) => std::slice::from_ref(order),
            Self::Events { sweeps, .. } => sweeps,
            Self::Command(_) | Self::SyncDirectory => &[],
        }
    }

    /// The signals.
    #[must_use]
    pub fn into_signals(self) -> Vec<Signal> {
        match self {
            Self::Command(signal) => vec![*signal],
            Self::SyncDirectory | Self::Sweep(_) => Vec::new(),
            Self::Events { signals, .. } => signals,
        }
    }
}

/// Why a delivery says nothing to us. Trying again does not help, unless the fault is ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejected {
    /// Not JSON, or JSON that nests too deeply.
    #[error("the event can't be read: {0}; check what sends it")]
    Unreadable(String),
    /// No rule knows it.
    #[error("no intake rule matches the event ({0}); nothing was done")]
    Unknown(String),
    /// Known, and means nothing here.
    #[error("rule `{rule}` knows the event and does nothing: {about}")]
    Ignored {
        /// The rule.
        rule: String,
        /// What the event says.
        about: String,
    },
    /// Known, and only counts where somebody wants it to.
    #[error("rule `{rule}` knows the event and is off; to act on it, switch the rule on by name in VPN_REVOKER_RULES")]
    SwitchedOff {
        /// The rule.
        rule: String,
    },
    /// A signed token instead of its claims.
    #[error(
        "a signed token (JWT) can't be checked here and proves nothing; verify it where it arrives and send its claims as JSON"
    )]
    SignedToken,
    /// A command that is wrapped in nothing, inside SQS or SNS.
    #[error(
        "a bare command is not taken from a queue or a topic; send it as an EventBridge event with source `{COMMAND_SOURCE}` and detail-type `{COMMAND_DETAIL_TYPE}`, or invoke the function directly"
    )]
    BareCommand,
    /// A fault of ours: the only one of these where trying again may help.
    #[error("the intake rules could not be applied: {0}; it is tried again")]
    Fault(String),
    /// A command with a mistake.
    #[error("the command's field `{field}` {problem}")]
    InvalidCommand {
        /// The field.
        field: String,
        /// What is wrong with it, and what would be right.
        problem: String,
        /// How the command came: somebody waits for the answer to a direct one.
        via: Via,
    },
}

impl Rejected {
    /// A stable word for logs, metrics and Lambda errors.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "UnreadableEvent",
            Self::Unknown(_) => "UnknownEvent",
            Self::Ignored { .. } => "IgnoredEvent",
            Self::SwitchedOff { .. } => "SwitchedOff",
            Self::SignedToken => "SignedToken",
            Self::BareCommand => "BareCommand",
            Self::Fault(_) => "IntakeFault",
            Self::InvalidCommand { .. } => "InvalidCommand",
        }
    }

    /// Whether the event is one that a rule knows: nothing is wrong with it, and nothing is to be done.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        matches!(self, Self::Ignored { .. } | Self::SwitchedOff { .. })
    }

    pub(crate) fn field(field: &str, problem: impl Into<String>) -> Self {
        Self::InvalidCommand { field: field.to_owned(), problem: problem.into(), via: Via::Direct }
    }

    fn in_an_event(self) -> Self {
        match self {
            Self::InvalidCommand { field, problem, .. } => Self::InvalidCommand { field, problem, via: Via::Event },
            other => other,
        }
    }
}

/// An event in the one form that patterns and paths are written for: EventBridge's. What comes bare stands in `detail`.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    document: Value,
    /// EventBridge's id of it.
    id: Option<String>,
    /// It stood in a log line, and is no envelope, neither EventBridge's nor a producer's: whoever can have a line logged
    /// could write one, and speak for anybody.
    is_log_line: bool,
}

impl Event {
    /// A payload as an event; `outer` is what stood around it in a batch of log lines.
    fn of(payload: Value, outer: Option<Value>) -> Self {
        let is_log_line = outer.is_some();
        let is_envelope = !is_log_line
            && payload.get("detail").is_some()
            && ["source", "detail-type"].iter().all(|key| payload.get(key).is_some_and(Value::is_string));
        let id = payload.get("id").and_then(Value::as_str).filter(|_| is_envelope).map(str::to_owned);
        let mut document = if is_envelope { payload } else { json!({ "detail": payload }) };
        if let (Some(outer), Value::Object(fields)) = (outer, &mut document) {
            fields.extend(outer.get(REPLAY_NAME).map(|replay| (REPLAY_NAME.to_owned(), replay.clone())));
            fields.insert("outer".to_owned(), outer);
        }
        Self { document, id, is_log_line }
    }

    /// What stands beside the events inside this one: its envelope and, as `outer`, what it says of all of them.
    fn around_the_inner(&self) -> Map<String, Value> {
        let mut document = Map::new();
        for key in ["source", "detail-type", "account", "region", "time", REPLAY_NAME] {
            if let Some(value) = self.document.get(key) {
                document.insert(key.to_owned(), value.clone());
            }
        }
        document.insert("outer".to_owned(), self.detail().map(without_lists).unwrap_or_default());
        document
    }

    /// An event from inside another.
    fn inside(&self, around: &Map<String, Value>, detail: Value) -> Self {
        let mut document = around.clone();
        document.insert("detail".to_owned(), detail);
        Self { document: Value::Object(document), id: self.id.clone(), is_log_line: self.is_log_line }
    }

    /// Whether EventBridge's envelope was around it.
    fn is_wrapped(&self) -> bool {
        self.text("source").is_some()
    }

    fn detail(&self) -> Option<&Value> {
        self.document.get("detail")
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.document.get(key).and_then(Value::as_str)
    }

    fn is_command(&self) -> bool {
        self.text("source") == Some(COMMAND_SOURCE) && self.text("detail-type") == Some(COMMAND_DETAIL_TYPE)
    }

    /// A few words that tell the reader of a log which event this was, none of them from its content.
    fn description(&self) -> String {
        match (self.text("source"), self.text("detail-type")) {
            (Some(source), Some(detail_type)) => {
                let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(80).collect::<String>();
                format!("source `{}`, detail-type `{}`", short(source), short(detail_type))
            }
            _ => "bare, without an EventBridge envelope".to_owned(),
        }
    }
}

/// A document without its lists: each event of a batch keeps what is said of the batch, and no copy of the batch.
fn without_lists(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_array());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_lists(value))).collect())
        }
        Value::Array(_) => Value::Null,
        plain => plain.clone(),
    }
}

impl Intake {
    /// Reads one delivery: the payload of an invoke, the body of an SQS message, or the message of an SNS record.
    ///
    /// # Errors
    /// Where all of it says nothing to us; trying again does not help, unless the fault is ours.
    pub fn read(&self, payload: &[u8], delivery: &Delivery) -> Result<Reading, Rejected> {
        let mut signals = Vec::new();
        let mut sweeps = Vec::new();
        let mut put_aside = Vec::new();
        let mut retried = false;
        let mut unpacked = unpack::unpack(parse(payload)?, delivery.via);
        if let [Ok(only)] = unpacked.as_slice()
            && only.via == Via::Direct
            && command::is_command(&only.payload)
        {
            if command::is_sync(&only.payload)? {
                return Ok(Reading::SyncDirectory);
            }
            if let Some(sweep) = command::sweep(&only.payload, delivery)? {
                return Ok(Reading::Sweep(sweep));
            }
            return command::read(&only.payload, delivery, None).map(|signal| Reading::Command(Box::new(signal)));
        }
        for item in unpacked.drain(..) {
            retried |= item.as_ref().is_ok_and(|item| !item.through.is_empty());
            match item.and_then(|item| self.read_one(item, delivery)) {
                // Only the whole payload of a direct invoke is read so, and it has no neighbours.
                Ok(whole @ (Reading::Command(_) | Reading::SyncDirectory | Reading::Sweep(_))) => return Ok(whole),
                Ok(Reading::Events { signals: more, sweeps: further, retried: wrapped, put_aside: aside }) => {
                    retried |= wrapped;
                    signals.extend(more);
                    sweeps.extend(further);
                    put_aside.extend(aside);
                }
                Err(rejected) if planted::is(Fault::SpoilNeighbours) => return Err(rejected),
                Err(rejected) => put_aside.push(rejected),
            }
        }
        if let Some(at) = put_aside.iter().position(|rejected| matches!(rejected, Rejected::Fault(_))) {
            return Err(put_aside.swap_remove(at));
        }
        match (signals.is_empty() && sweeps.is_empty(), put_aside.len()) {
            (true, 0) => Err(Rejected::Unknown("nothing was in it".to_owned())),
            (true, 1) => Err(put_aside.swap_remove(0)),
            _ => {
                number(&mut signals, delivery);
                Ok(Reading::Events { signals, sweeps, retried, put_aside })
            }
        }
    }

    /// Reads one payload that is out of its transports.
    fn read_one(&self, item: Unpacked, delivery: &Delivery) -> Result<Reading, Rejected> {
        let delivery = &item.delivery(delivery);
        let Unpacked { payload, outer, via, .. } = item;
        let event = Event::of(payload, outer);
        let (retried, replay) = (event.is_wrapped(), self.replay(&event));
        if let Some(sweep) = ordered_sweep(&event, delivery)? {
            // A schedule's past orders have nothing to say any more.
            let sweeps = if event.text(REPLAY_NAME).is_some() { Vec::new() } else { vec![sweep] };
            return Ok(Reading::Events { signals: Vec::new(), sweeps, retried, put_aside: Vec::new() });
        }
        if event.is_command() {
            let mut signal = wrapped_command(&event, delivery)?;
            signal.replay = replay;
            return Ok(Reading::Events { signals: vec![signal], sweeps: Vec::new(), retried, put_aside: Vec::new() });
        }
        let description = event.description();
        let detail = event.detail().cloned().unwrap_or_default();
        let mut signals = Vec::new();
        let mut put_aside = Vec::new();
        let visited = self.walk(event)?;
        let packed = visited.len() > 1;
        for visited in visited {
            if visited.rules.is_empty() && packed && !visited.unfolded {
                put_aside.push(Rejected::Unknown(format!("in {}, {description}", visited.through.join(" in "))));
            }
            for rule in visited.rules.iter().filter_map(|number| self.rule(*number)) {
                match rule.signal(&visited.event, delivery) {
                    None => put_aside.push(Rejected::Ignored { rule: rule.name.clone(), about: rule.about.clone() }),
                    Some(_) if !rule.on => put_aside.push(Rejected::SwitchedOff { rule: rule.name.clone() }),
                    Some(signal) => signals.push(Signal { replay: replay.clone(), ..signal }),
                }
            }
        }
        if !signals.is_empty() || packed {
            return Ok(Reading::Events { signals, sweeps: Vec::new(), retried, put_aside });
        }
        // A switch that somebody may have forgotten is of more use to a reader than what never counts.
        put_aside.sort_by_key(|rejected| matches!(rejected, Rejected::Ignored { .. }));
        Err(match put_aside.into_iter().next() {
            Some(expected) => expected,
            None if !retried && command::is_meant_as_command(&detail) => match via {
                Via::Direct => {
                    return command::read(&detail, delivery, None).map(|signal| Reading::Command(Box::new(signal)));
                }
                Via::Event => Rejected::BareCommand,
            },
            None if unpack::carries_token(&detail) => Rejected::SignedToken,
            None => Rejected::Unknown(description),
        })
    }

    /// The name of the replay that an event comes from, where replays are only audited.
    fn replay(&self, event: &Event) -> Option<String> {
        event.text(REPLAY_NAME).filter(|_| self.replays == Replays::Audit).map(str::to_owned)
    }
}

/// Whether AWS sends an event because it is time.
fn is_schedule(event: &Event) -> bool {
    event.text("source").is_some_and(|source| SCHEDULE_SOURCES.contains(&source))
        && event.text("detail-type") == Some(SCHEDULE_DETAIL_TYPE)
}

/// The sweep that an event orders: a schedule, or a command.
fn ordered_sweep(event: &Event, delivery: &Delivery) -> Result<Option<Sweep>, Rejected> {
    let id = event.id.clone().unwrap_or_else(|| delivery.id.clone());
    let delivery = Delivery { via: Via::Event, id, ..delivery.clone() };
    if is_schedule(event) {
        return Ok(Some(Sweep {
            id: SignalId::new(&delivery.id),
            received_at: delivery.received_at,
            via: Via::Event,
            commanded: false,
            endpoints: Vec::new(),
            targets: Vec::new(),
            dry_run: false,
            actor: None,
            reason: None,
        }));
    }
    match event.detail().filter(|_| event.is_command()) {
        Some(detail) => command::sweep(detail, &delivery).map_err(Rejected::in_an_event),
        None => Ok(None),
    }
}

fn wrapped_command(event: &Event, delivery: &Delivery) -> Result<Signal, Rejected> {
    let id = event.id.clone().unwrap_or_else(|| delivery.id.clone());
    let delivery = Delivery { via: Via::Event, id, ..delivery.clone() };
    let detail = event.detail().cloned().unwrap_or_default();
    command::read(&detail, &delivery, event.text("source")).map_err(Rejected::in_an_event)
}

/// What tells a statement from others in a delivery: its id, action, time, and whom it is about.
type Said = (SignalId, &'static str, Option<Timestamp>, Vec<String>);

/// Gives each signal of a delivery an id of its own, where neither the producer nor EventBridge did: always in the same
/// order, so that another delivery gives the same ids.
fn number(signals: &mut [Signal], delivery: &Delivery) {
    let mut times: HashMap<SignalId, usize> = HashMap::new();
    let mut said: HashMap<Said, SignalId> = HashMap::new();
    for signal in signals {
        let people = signal.about.iter().map(crate::signal::About::chain).collect();
        // An id of a transport's names all that came in it: there, another time is another statement.
        let at = signal.occurred_at.filter(|_| !signal.id.is_of_producer(&signal.authority));
        let what = (signal.id.clone(), signal.action.word(), at, people);
        // The same statement twice is one statement, unless nobody but us has named it.
        if let Some(id) = said.get(&what).filter(|_| signal.id.as_str() != delivery.id) {
            signal.id = id.clone();
            continue;
        }
        let times = times.entry(signal.id.clone()).or_insert(0);
        if *times > 0 {
            signal.id = SignalId::new(&format!("{}/{times}", signal.id));
        }
        *times += 1;
        said.insert(what, signal.id.clone());
    }
}

fn parse(bytes: &[u8]) -> Result<Value, Rejected> {
    // serde_json's message names a line and a column and quotes nothing of the content.
    serde_json::from_slice(bytes).map_err(|error| match std::str::from_utf8(bytes) {
        Ok(text) if unpack::is_token(text) => Rejected::SignedToken,
        _ => Rejected::Unreadable(error.to_string()),
    })
}

#[cfg(test)]
mod tests;
