//! A [`Signal`]: one normalised statement taken from an event. Who says what about whom, since when, and why.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::connection::{ConnectionId, EndpointId};
use crate::name::{Name, PersonId, Subject};
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

    /// Whether it is the own id of an event of this authority's producer, and not a transport's.
    #[must_use]
    pub fn is_of_producer(&self, authority: &Authority) -> bool {
        let producer = authority.as_str().split([':', '/']).next().unwrap_or_default();
        self.0.strip_prefix(producer).is_some_and(|rest| rest.starts_with(':'))
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

/// The producer of what a sweep learns from the directory.
pub(crate) const DIRECTORY: &str = "directory";

impl Authority {
    /// The authority of every command.
    #[must_use]
    pub fn command() -> Self {
        Self("command".to_owned())
    }

    /// The authority of what a sweep learns from the directory.
    #[must_use]
    pub fn directory() -> Self {
        Self(DIRECTORY.to_owned())
    }

    /// A producer, with the tenant where the event names one.
    #[must_use]
    pub fn producer(producer: &str, tenant: Option<&str>) -> Self {
        match tenant {
            Some(tenant) => Self(format!("{producer}:{tenant}")),
            None => Self(producer.to_owned()),
        }
    }

    /// The same authority in one of several matters, whose holds are apart (`okta:acme/lock-out`).
    #[must_use]
    pub fn apart(self, hold: Option<&str>) -> Self {
        match hold {
            Some(hold) => Self(format!("{self}/{hold}")),
            None => self,
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
    /// Give the subject further names, or take them away again. Where the subject is locked, so are the new names.
    Alias {
        /// The names.
        names: Vec<Name>,
        /// Take them away.
        remove: bool,
    },
    /// Revoke or restore, as the directory says of the person: the event hides which of the two it was.
    Ask,
    /// End what is connected under names that are locked.
    Sweep,
    /// Close an authority's circuit breaker.
    CloseBreaker,
    /// Lift holds.
    Restore {
        /// The authorities whose holds are meant; `None`: every hold there is.
        authorities: Option<Vec<Authority>>,
    },
}

/// The commands that may come as an event, where the configuration allows them: all but the copy of the directory.
pub const EVENT_COMMANDS: [&str; 7] = ["revoke", "disconnect", "restore", "alias", "unalias", "sweep", "close_breaker"];

impl Action {
    /// The word for it in commands, answers and entries.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Revoke { .. } => "revoke",
            Self::Disconnect => "disconnect",
            Self::Restore { .. } => "restore",
            Self::Alias { remove: false, .. } => "alias",
            Self::Alias { remove: true, .. } => "unalias",
            Self::Ask => "ask",
            Self::Sweep => "sweep",
            Self::CloseBreaker => "close_breaker",
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
    /// The circuit breaker of an authority.
    Breaker(Authority),
    /// Somebody of whom the event gives only the producer's own id.
    Unresolved {
        /// The producer whose id it is.
        producer: String,
        /// The id.
        id: String,
        /// The directory knows ids of this kind.
        in_directory: bool,
    },
}

impl About {
    /// Somebody of whom only a producer's id is known.
    #[must_use]
    pub fn unresolved(producer: &str, id: &str, in_directory: bool) -> Self {
        Self::Unresolved { producer: producer.to_owned(), id: id.to_owned(), in_directory }
    }

    /// The audit chain that tells this one's story, and the key that locks and markers are kept under.
    #[must_use]
    pub fn chain(&self) -> String {
        match self {
            Self::Subject(subject) => subject.name().to_string(),
            Self::Connection(_, connection) => format!("#connection/{connection}"),
            Self::Breaker(authority) => format!("#breaker/{authority}"),
            Self::Unresolved { producer, id, .. } => format!("#id/{producer}/{id}"),
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
    /// EventBridge replayed the event from an archive, by this name: it is audited and changes nothing.
    pub replay: Option<String>,
    /// How it reached us.
    pub via: Via,
}

impl Signal {
    /// The producer's own id of one of the people that it is about, by the subject as received.
    pub(crate) fn person(&self, subject: &str) -> Option<&PersonId> {
        self.about.iter().find_map(|about| match about {
            About::Subject(known) if known.received() == subject => known.person(),
            _ => None,
        })
    }

    /// The same of whoever has the name: the producer's ids are left out.
    pub(crate) fn whoever_it_is(&self) -> Self {
        let named = |about: &About| match about {
            About::Subject(subject) => About::Subject(subject.clone().whoever_it_is()),
            other => other.clone(),
        };
        Self { about: self.about.iter().map(named).collect(), ..self.clone() }
    }

    /// The same restore of what other authorities said. One of everything names none, and stays what it is.
    pub(crate) fn sparing(&self, is_spared: impl Fn(&Authority) -> bool) -> Self {
        let action = match &self.action {
            Action::Restore { authorities: Some(meant) } => {
                let others = meant.iter().filter(|authority| !is_spared(authority));
                Action::Restore { authorities: Some(others.cloned().collect()) }
            }
            action => action.clone(),
        };
        Self { action, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_that_is_too_long_for_a_key_is_its_digest() {
        let longest = "i".repeat(512);
        assert_eq!(SignalId::new(&longest).as_str(), longest);
        let [one, other] = ["a", "b"].map(|end| SignalId::new(&format!("{longest}{end}")));
        assert!(one.as_str().starts_with("sha256:") && one.as_str().len() == 71 && one != other);
        assert_eq!(SignalId::of_producer("okta", "e-1").to_string(), "okta:e-1");
    }

    #[test]
    fn an_authority_is_a_producer_with_its_tenant_and_matter() {
        let okta = Authority::producer("okta", Some("acme"));
        let apart = okta.clone().apart(Some("lock-out"));
        assert_eq!(apart.as_str(), "okta:acme/lock-out");
        assert_eq!((okta.clone().apart(None), Authority::named("okta:acme")), (okta.clone(), okta));
        assert_eq!(
            (Authority::producer("siem", None).to_string(), Authority::command().as_str()),
            ("siem".to_owned(), "command")
        );
    }

    #[test]
    fn every_action_is_written_as_its_command() {
        let alias = |remove| Action::Alias { names: Vec::new(), remove };
        let all = [
            (Action::Revoke { expires_at: None }, "revoke"),
            (Action::Disconnect, "disconnect"),
            (Action::Restore { authorities: None }, "restore"),
            (alias(false), "alias"),
            (alias(true), "unalias"),
            (Action::Ask, "ask"),
            (Action::Sweep, "sweep"),
            (Action::CloseBreaker, "close_breaker"),
        ];
        for (action, word) in all {
            assert_eq!((action.word(), json!(action)), (word, json!(word)));
        }
    }

    #[test]
    fn a_chain_is_a_name_or_the_projects_own_key_and_an_answer_says_what_was_received() {
        let subject = About::Subject(Subject::new("Alice").unwrap());
        assert_eq!((subject.chain(), subject.label()), ("alice".to_owned(), "Alice".to_owned()));
        let others = [
            (About::Connection(EndpointId::new("e"), ConnectionId::new("c")), "#connection/c"),
            (About::Breaker(Authority::named("okta:acme")), "#breaker/okta:acme"),
            (About::unresolved("identitystore", "9067", true), "#id/identitystore/9067"),
        ];
        for (about, chain) in others {
            assert_eq!((about.chain().as_str(), about.label().as_str()), (chain, chain));
        }
    }
}
