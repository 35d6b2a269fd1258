//! A [`Signal`]: one normalised statement taken from an event. Who says what about whom, since when, and why.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::connection::{ConnectionId, EndpointId};
use crate::name::Subject;
use crate::time::Timestamp;

/// The longest signal id that goes into a key as it is; DynamoDB allows 2,048 bytes for a partition key, and a name
/// may need 1,020 of them.
const MAX_ID_BYTES: usize = 512;

/// What names a signal for good: the same over every transport and every delivery.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SignalId(String);

impl SignalId {
    /// A signal id. One that is too long for a key is replaced by its digest.
    #[must_use]
    pub fn new(id: &str) -> Self {
        if id.len() <= MAX_ID_BYTES {
            return Self(id.to_owned());
        }
        Self(format!("sha256:{}", crate::audit::hex_digest(id.as_bytes())))
    }

    /// The id of a producer's event: the producer, a colon, and the producer's own event id.
    #[must_use]
    pub fn of_producer(producer: &str, event_id: &str) -> Self {
        Self::new(&format!("{producer}:{event_id}"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SignalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who may speak about a subject: `command`, or a producer with its tenant (`okta:acme`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Authority(String);

impl Authority {
    /// The authority of every command.
    #[must_use]
    pub fn command() -> Self {
        Self("command".to_owned())
    }

    /// A producer, with the tenant where the event names one.
    #[must_use]
    pub fn producer(producer: &str, tenant: Option<&str>) -> Self {
        match tenant {
            Some(tenant) => Self(format!("{producer}:{tenant}")),
            None => Self(producer.to_owned()),
        }
    }

    /// An authority by its text, as a lock or a command holds it.
    #[must_use]
    pub fn named(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The authority as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Lock the subject, then end its connections.
    Revoke {
        /// When the hold lapses; without it, never.
        expires_at: Option<Timestamp>,
    },
    /// End the connections that existed when the signal was given; lock nothing.
    Disconnect,
    /// Lift holds.
    Restore {
        /// The authorities whose holds are meant; `None`: every hold there is.
        authorities: Option<Vec<Authority>>,
    },
}

impl Action {
    /// The word for it in commands, answers and entries.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Revoke { .. } => "revoke",
            Self::Disconnect => "disconnect",
            Self::Restore { .. } => "restore",
        }
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// Whom or what a signal is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A person or device by name.
    Subject(Subject),
    /// One connection by its id.
    Connection(EndpointId, ConnectionId),
    /// Somebody of whom the event gives only the producer's own id.
    Unresolved {
        /// The producer whose id it is.
        producer: String,
        /// The id.
        id: String,
    },
}

impl About {
    /// The audit chain that tells this one's story, and the key that locks and markers are kept under.
    #[must_use]
    pub fn chain(&self) -> String {
        match self {
            Self::Subject(subject) => subject.name().to_string(),
            Self::Connection(_, connection) => format!("#connection/{connection}"),
            Self::Unresolved { producer, id } => format!("#id/{producer}/{id}"),
        }
    }

    /// How an answer calls it: the subject as received, or else the chain.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Subject(subject) => subject.received().to_owned(),
            _ => self.chain(),
        }
    }
}

/// How a statement reached us; an event may command less than a person who may invoke the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The whole payload of an invoke.
    Direct,
    /// An event: EventBridge, SQS or SNS.
    Event,
}

/// One normalised statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Its id over every transport.
    pub id: SignalId,
    /// What it asks for.
    pub action: Action,
    /// Whom it is about; never empty.
    pub about: Vec<About>,
    /// Who says so.
    pub authority: Authority,
    /// The instant from which it counts.
    pub as_of: Timestamp,
    /// The producer's own word about when it happened.
    pub occurred_at: Option<Timestamp>,
    /// When it was received.
    pub received_at: Timestamp,
    /// Where it came from, such as an EventBridge source.
    pub source: String,
    /// Who caused it, as claimed: the administrator, never the subject.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Report the plan and write nothing.
    pub dry_run: bool,
    /// End more connections than the limit allows.
    pub force: bool,
    /// How it reached us.
    pub via: Via,
}
