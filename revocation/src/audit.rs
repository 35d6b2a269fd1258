//! The audit trail: an append-only chain of entries per subject, each holding the hash of the one before it.
//!
//! An entry is kept as JSON, exactly the attributes that stand in the table, because its hash is taken over all of
//! them ([RFC 8785](https://www.rfc-editor.org/rfc/rfc8785) form, `hash` left out). Whoever reads a table or an export
//! can check it without this program.

mod story;
mod verify;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::ports::{AuditTrail, Commit, StoreError};
use crate::signal::{Authority, Signal, SignalId};
use crate::time::Timestamp;

pub use story::{GOAL, Story, Times, stories};
pub use verify::{Finding, Walk, verify};

/// What the first entry of a chain has in the place of its predecessor's hash.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How often an append is tried while others write to the same chain.
const MAX_RACES: usize = 16;

/// What an entry says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Written before acting.
    Requested,
    /// Nothing of the subject is alive; shown by a full listing.
    Completed,
    /// Something is left, or could not be looked at.
    Incomplete,
    /// Shadow mode: what would have been done.
    Shadowed,
    /// Policy forbids it.
    Refused,
    /// A newer statement stands against it.
    Superseded,
    /// Nobody could say who is meant.
    Unresolved,
    /// Holds were lifted, or a circuit breaker was closed.
    Restored,
    /// What else a subject is called was changed, and nothing was to be ended for it.
    Aliased,
    /// The connect handler refused a connection.
    Denied,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 10] = [
        Self::Requested,
        Self::Completed,
        Self::Incomplete,
        Self::Shadowed,
        Self::Refused,
        Self::Superseded,
        Self::Unresolved,
        Self::Restored,
        Self::Aliased,
        Self::Denied,
    ];

    /// The word in the table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Shadowed => "shadowed",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
            Self::Unresolved => "unresolved",
            Self::Restored => "restored",
            Self::Aliased => "aliased",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What makes an entry unique: at most one stands for each of these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker {
    signal: SignalId,
    chain: String,
    kind: Kind,
    attempt: Option<String>,
    /// What the signal asked for. Not part of the key: an id that is used again for something else finds this marker.
    action: Option<&'static str>,
    /// Of a refusal, why. Not part of the key either.
    refusal: Option<&'static str>,
}

/// What is known of a marker that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What its signal asked for; `None` on markers written before this was kept.
    pub action: Option<String>,
    /// Of a refusal, why.
    pub refusal: Option<String>,
}

impl Marker {
    /// The marker of an entry that may stand once per signal and subject.
    #[must_use]
    pub fn new(signal: &SignalId, chain: &str, kind: Kind) -> Self {
        Self { signal: signal.clone(), chain: chain.to_owned(), kind, attempt: None, action: None, refusal: None }
    }

    /// What the signal asked for, where a signal is the cause.
    #[must_use]
    pub fn action(&self) -> Option<&'static str> {
        self.action
    }

    /// Of a refusal, why.
    #[must_use]
    pub fn refusal(&self) -> Option<&'static str> {
        self.refusal
    }

    /// The key under which it is stored.
    #[must_use]
    pub fn key(&self) -> String {
        let key = format!("#done/{}/{}/{}", self.signal, self.chain, self.kind);
        match &self.attempt {
            Some(attempt) => format!("{key}/{attempt}"),
            None => key,
        }
    }
}

/// The last entry of a chain, kept apart from it so that a chain cut at its end is found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The sequence number of the last entry; zero where there is none.
    pub seq: u64,
    /// Its hash; [`GENESIS`] where there is none.
    pub hash: String,
}

impl Head {
    /// The head of a chain without entries.
    #[must_use]
    pub fn genesis() -> Self {
        Self { seq: 0, hash: GENESIS.to_owned() }
    }
}

/// What an entry goes back to.
#[derive(Debug, Clone, Copy)]
pub struct Cause<'a> {
    /// What the entry is unique by, with its subject and kind: a signal's id, or whatever else happens once.
    pub signal_id: &'a SignalId,
    /// On whose word.
    pub authority: &'a Authority,
    /// Where that came from.
    pub source: &'a str,
    /// Who caused it, as claimed.
    pub actor: Option<&'a str>,
    /// Why.
    pub reason: Option<&'a str>,
}

impl<'a> From<&'a Signal> for Cause<'a> {
    fn from(signal: &'a Signal) -> Self {
        Self {
            signal_id: &signal.id,
            authority: &signal.authority,
            source: &signal.source,
            actor: signal.actor.as_deref(),
            reason: signal.reason.as_deref(),
        }
    }
}

/// An entry before its place in the chain is known.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What makes it unique.
    pub marker: Marker,
    attributes: Map<String, Value>,
}

impl Draft {
    /// What `kind` of thing happened to `chain` because of `signal`, at `at`.
    #[must_use]
    pub fn new(signal: &Signal, chain: &str, kind: Kind, at: Timestamp, detail: Map<String, Value>) -> Self {
        let mut draft = Self::because(&Cause::from(signal), chain, kind, at, detail);
        draft.marker.action = Some(signal.action.word());
        draft
    }

    /// What `kind` of thing happened to `chain`, at `at`, and what it goes back to.
    #[must_use]
    pub fn because(cause: &Cause<'_>, chain: &str, kind: Kind, at: Timestamp, detail: Map<String, Value>) -> Self {
        let mut attributes = Map::new();
        let mut put = |key: &str, value: String| attributes.insert(key.to_owned(), Value::String(value));
        put("subject", chain.to_owned());
        put("at", at.to_string());
        put("day", at.day());
        put("kind", kind.word().to_owned());
        put("signal_id", cause.signal_id.to_string());
        put("authority", cause.authority.to_string());
        put("source", cause.source.to_owned());
        if let Some(actor) = cause.actor {
            put("actor", actor.to_owned());
        }
        if let Some(reason) = cause.reason {
            put("reason", reason.to_owned());
        }
        attributes.insert("detail".to_owned(), Value::Object(detail));
        Self { marker: Marker::new(cause.signal_id, chain, kind), attributes }
    }

    /// Lets the entry stand once for each attempt instead of once for all.
    #[must_use]
    pub fn once_per_attempt(mut self, attempt: &str) -> Self {
        self.marker.attempt = Some(attempt.to_owned());
        self
    }

    /// Says of a refusal why it was, which another one of the same signal can be told apart by.
    #[must_use]
    pub(crate) fn refused_because(mut self, word: Option<&'static str>) -> Self {
        self.marker.refusal = word;
        self
    }

    /// The entry that this becomes right after `head`.
    ///
    /// # Errors
    /// Where the entry has no canonical form, which no entry made here lacks.
    pub fn seal(&self, head: &Head) -> Result<Entry, Unhashable> {
        let mut attributes = self.attributes.clone();
        attributes.insert("seq".to_owned(), Value::from(head.seq.saturating_add(1)));
        attributes.insert("prev_hash".to_owned(), Value::String(head.hash.clone()));
        let hash = hash_of(&attributes)?;
        attributes.insert("hash".to_owned(), Value::String(hash));
        Ok(Entry(attributes))
    }
}

/// An entry can't be brought into RFC 8785 form.
#[derive(Debug, Error)]
#[error("an audit entry has no RFC 8785 form: {0}; report this as a fault of vpn-revoker")]
pub struct Unhashable(#[from] serde_json::Error);

/// One entry, with all its attributes as they stand in the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Entry(Map<String, Value>);

impl Entry {
    /// An entry as read from a table or an export. It may be anything: [`verify`] tells.
    #[must_use]
    pub fn from_attributes(attributes: Map<String, Value>) -> Self {
        Self(attributes)
    }

    /// All attributes.
    #[must_use]
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.0
    }

    /// A text attribute.
    #[must_use]
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.0.get(attribute).and_then(Value::as_str)
    }

    /// What the entry's detail says under a name.
    #[must_use]
    pub fn detail(&self, name: &str) -> Option<&Value> {
        self.0.get("detail")?.get(name)
    }

    /// An instant in its detail.
    #[must_use]
    pub fn instant(&self, name: &str) -> Option<Timestamp> {
        self.detail(name).and_then(Value::as_str).and_then(Timestamp::parse)
    }

    /// The place in the chain.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.0.get("seq").and_then(Value::as_u64)
    }

    /// The chain.
    #[must_use]
    pub fn chain(&self) -> &str {
        self.text("subject").unwrap_or_default()
    }

    /// Where the chain's head stands after this entry.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { seq: self.seq().unwrap_or_default(), hash: self.text("hash").unwrap_or_default().to_owned() }
    }
}

/// The hash of an entry: lower-case hex SHA-256 over the RFC 8785 form of all attributes but `hash`.
fn hash_of(attributes: &Map<String, Value>) -> Result<String, Unhashable> {
    let hashed: BTreeMap<_, _> = attributes.iter().filter(|(attribute, _)| *attribute != "hash").collect();
    Ok(hex_digest(&serde_json_canonicalizer::to_vec(&hashed)?))
}

/// Lower-case hex SHA-256.
pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        use fmt::Write;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What came of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// The entry stands.
    Written,
    /// One of its kind for this signal and subject stood already.
    AlreadyThere,
}

/// Writes `draft` at the end of its chain, once.
///
/// When this returns `Ok`, the entry is durable, or one of its kind was before. Two writers can't fork the chain: the
/// one that finds the head moved reads it again.
///
/// # Errors
/// Where the store is away, or others wrote to the same chain faster than this one for a long time.
pub async fn append(trail: &dyn AuditTrail, draft: &Draft) -> Result<Appended, StoreError> {
    append_after(trail, draft, None).await.map(|(appended, _)| appended)
}

/// The same, where the chain's head is known already; one that has moved since is read again. Says which the head is
/// now, where this entry is the last.
pub(crate) async fn append_after(
    trail: &dyn AuditTrail,
    draft: &Draft,
    mut known: Option<Head>,
) -> Result<(Appended, Option<Head>), StoreError> {
    let chain = draft.marker.chain.as_str();
    for _ in 0..MAX_RACES {
        let head = match known.take() {
            Some(head) => head,
            None => trail.head(chain).await?,
        };
        let entry = draft.seal(&head).map_err(|error| StoreError::unusable(chain, &error))?;
        match trail.commit(&entry, &draft.marker).await? {
            Commit::Written => return Ok((Appended::Written, Some(entry.head()))),
            Commit::AlreadyThere => return Ok((Appended::AlreadyThere, None)),
            Commit::HeadMoved => {}
        }
    }
    Err(StoreError::busy(chain))
}

#[cfg(test)]
mod tests;
