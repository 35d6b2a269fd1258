//! How a request is judged: pure functions of identity, locks and time.

use thiserror::Error;

use super::answer::{ConnectAnswer, DenyMessage};
use super::request::{ConnectRequest, Identity, Unreadable};
use crate::lock::{Hold, Lock};
use crate::name::Name;
use crate::policy::{Mode, Protected};
use crate::signal::Authority;
use crate::time::Timestamp;

/// The answer where nobody can say whether somebody is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Keep everybody out, the revoked with the others.
    #[default]
    Deny,
    /// Let everybody in, the revoked with the others.
    Allow,
}

/// What the connect handler may do.
#[derive(Debug, Clone, Default)]
pub struct ConnectPolicy {
    /// In shadow mode everybody is let in.
    pub mode: Mode,
    /// Whom nothing keeps out.
    pub protected: Protected,
    /// What to answer where nobody can say.
    pub on_error: OnError,
    /// What whoever is refused gets to read.
    pub message: DenyMessage,
}

/// A lock that keeps somebody out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The name that is locked.
    pub name: Name,
    /// Whose word keeps it out.
    pub authority: Authority,
    /// That word.
    pub hold: Hold,
}

/// Why nobody can say whether somebody is locked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unknown {
    /// Who knocks can't be read.
    #[error(transparent)]
    Request(#[from] Unreadable),
    /// The locks can't be read.
    #[error("the locks of whoever asks can't be read: {0}")]
    Locks(String),
}

impl Unknown {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Request(_) => "ConnectRequestUnreadable",
            Self::Locks(_) => "LocksUnreadable",
        }
    }
}

/// What the locks say of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Neither name is locked. A request without any name is clear too: there is nobody who could have been revoked.
    Clear,
    /// One of the names is protected, and that ends the matter, whatever the locks say.
    Protected(Name),
    /// One of the names is locked.
    Locked(Box<Denial>),
    /// Nobody can say.
    Unknown(Unknown),
}

impl ConnectPolicy {
    /// The protected one of the names, if either is.
    #[must_use]
    pub fn protected(&self, who: &Identity) -> Option<Name> {
        who.names().into_iter().find(|name| self.protected.covers(name))
    }

    /// Whether the connection may be made.
    #[must_use]
    pub fn admits(&self, verdict: &Verdict) -> bool {
        match verdict {
            _ if self.mode == Mode::Shadow => true,
            Verdict::Clear | Verdict::Protected(_) => true,
            Verdict::Locked(_) => false,
            Verdict::Unknown(_) => self.on_error == OnError::Allow,
        }
    }

    /// The answer, in the form that the request wants.
    #[must_use]
    pub fn answer(&self, request: &ConnectRequest, verdict: &Verdict) -> ConnectAnswer {
        let version = request.version.clone();
        match self.admits(verdict) {
            true => ConnectAnswer::allow(version),
            false => ConnectAnswer::deny(version, self.message.clone()),
        }
    }
}

/// The names that a lock can stand on: no other can have been revoked.
pub(super) fn lockable(who: &Identity) -> Vec<Name> {
    who.names().into_iter().filter(Name::is_lockable).collect()
}

/// What the locks, in their order, say now: the first in force keeps out.
pub(super) fn judge(locks: &[Lock], now: Timestamp) -> Verdict {
    match locks.iter().find_map(|lock| denial(lock, now)) {
        Some(denial) => Verdict::Locked(Box::new(denial)),
        None => Verdict::Clear,
    }
}

fn denial(lock: &Lock, now: Timestamp) -> Option<Denial> {
    let (authority, hold) = lock.held(now)?;
    Some(Denial { name: lock.name.clone(), authority: authority.clone(), hold: hold.clone() })
}
