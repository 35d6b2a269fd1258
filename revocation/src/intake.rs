//! From bytes to [`Signal`]s.
//!
//! A producer of events is data: a row in a table that says which events are meant (an EventBridge pattern), what they
//! ask for, and at which paths the person, the time, the id, the tenant and the actor stand. Nothing is ever taken
//! from anywhere but those paths: the first e-mail address in a payload is more often the administrator's.

mod command;
mod extract;
mod rules;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::signal::{Signal, Via};
use crate::time::Timestamp;

pub use rules::{Intake, RulesError};

/// EventBridge's name for events that carry our commands.
const COMMAND_SOURCE: &str = "vpn-revoker";
/// And their detail-type.
const COMMAND_DETAIL_TYPE: &str = "VPN Revoker Command";

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
    /// The signals of one or more events.
    Events {
        /// The signals.
        signals: Vec<Signal>,
        /// Whether EventBridge's envelope was around them: EventBridge tries a failed invoke again.
        from_eventbridge: bool,
    },
}

impl Reading {
    /// The signals.
    #[must_use]
    pub fn into_signals(self) -> Vec<Signal> {
        match self {
            Self::Command(signal) => vec![*signal],
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
            Self::BareCommand => "BareCommand",
            Self::Fault(_) => "IntakeFault",
            Self::InvalidCommand { .. } => "InvalidCommand",
        }
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
}

impl Event {
    fn of(payload: Value) -> Self {
        let is_envelope = payload.get("detail").is_some()
            && ["source", "detail-type"].iter().all(|key| payload.get(key).is_some_and(Value::is_string));
        if is_envelope {
            let id = payload.get("id").and_then(Value::as_str).map(str::to_owned);
            return Self { document: payload, id };
        }
        Self { document: json!({ "detail": payload }), id: None }
    }

    /// An event from inside another, which stands beside it as `outer`.
    fn inside(&self, detail: Value) -> Self {
        let mut document = Map::new();
        for key in ["source", "detail-type", "account", "region", "time"] {
            if let Some(value) = self.document.get(key) {
                document.insert(key.to_owned(), value.clone());
            }
        }
        document.insert("outer".to_owned(), self.detail().cloned().unwrap_or_default());
        document.insert("detail".to_owned(), detail);
        Self { document: Value::Object(document), id: self.id.clone() }
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

impl Intake {
    /// Reads one delivery: the payload of an invoke, the body of an SQS message, or the message of an SNS record.
    ///
    /// # Errors
    /// Where it says nothing to us; trying again does not help.
    pub fn read(&self, payload: &[u8], delivery: &Delivery) -> Result<Reading, Rejected> {
        let (payload, via) = match notified(parse(payload)?)? {
            Notified::Message(message) => (message, Via::Event),
            Notified::Otherwise(payload) => (payload, delivery.via),
        };
        let delivery = &Delivery { via, ..delivery.clone() };
        if command::is_command(&payload) && via == Via::Direct {
            return command::read(&payload, delivery, None).map(|signal| Reading::Command(Box::new(signal)));
        }
        let event = Event::of(payload);
        if event.is_command() {
            let delivery = Delivery {
                via: Via::Event,
                id: event.id.clone().unwrap_or_else(|| delivery.id.clone()),
                ..delivery.clone()
            };
            let detail = event.detail().cloned().unwrap_or_default();
            let signal = command::read(&detail, &delivery, event.text("source")).map_err(Rejected::in_an_event)?;
            return Ok(Reading::Events { signals: vec![signal], from_eventbridge: true });
        }
        let signals = self.match_event(&event, delivery)?;
        match event.detail() {
            _ if !signals.is_empty() => Ok(Reading::Events { signals, from_eventbridge: event.is_wrapped() }),
            Some(detail) if !event.is_wrapped() && command::is_meant_as_command(detail) => match via {
                Via::Direct => command::read(detail, delivery, None).map(|signal| Reading::Command(Box::new(signal))),
                Via::Event => Err(Rejected::BareCommand),
            },
            _ => Err(Rejected::Unknown(event.description())),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Value, Rejected> {
    // serde_json's message names a line and a column and quotes nothing of the content.
    serde_json::from_slice(bytes).map_err(|error| Rejected::Unreadable(error.to_string()))
}

/// An SNS notification's message, or a payload that is no notification.
enum Notified {
    Message(Value),
    Otherwise(Value),
}

/// Takes the message out of an SNS notification, as SQS delivers it without raw delivery
/// (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>).
fn notified(payload: Value) -> Result<Notified, Rejected> {
    let is_notification =
        payload.get("Type").and_then(Value::as_str) == Some("Notification") && payload.get("TopicArn").is_some();
    match payload.get("Message").and_then(Value::as_str) {
        Some(message) if is_notification => parse(message.as_bytes()).map(Notified::Message),
        _ => Ok(Notified::Otherwise(payload)),
    }
}

#[cfg(test)]
mod tests;
