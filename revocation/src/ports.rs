//! What the domain needs from outside: Client VPN, the tables, the directory and a clock, each behind a trait.
//!
//! Each says what is **durable** when a call returns, since recovery rests on it: a run may be cut off between any
//! two calls, and the next one has to converge from what the calls before left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::audit::{Entry, Head, Mark, Marker};
use crate::breaker::{Counted, Minute, Standing};
use crate::connection::{Connection, ConnectionId, EndpointId, Status, Target};
use crate::lock::Lock;
use crate::name::Name;
use crate::signal::Authority;
use crate::time::Timestamp;

/// AWS Client VPN in one account and Region.
///
/// Calls are tried again inside the port while that can help; an error is what remained.
#[async_trait]
pub trait ClientVpn: Send + Sync {
    /// The account and Region.
    fn target(&self) -> &Target;

    /// Every endpoint there is, all pages. Endpoints that are deleted are left out: they hold no session.
    async fn endpoints(&self) -> Result<Vec<EndpointId>, VpnError>;

    /// One page of an endpoint's connections; with `only`, at most 200 ids, no others.
    ///
    /// A page shows what EC2 knew at some moment after the call began, or **shortly before**: EC2 is eventually
    /// consistent, so a connection made seconds ago may be missing. Rows of connections that ended in the last 60
    /// minutes are among them.
    async fn connections(
        &self,
        endpoint: &EndpointId,
        only: &[ConnectionId],
        after: Option<&PageToken>,
    ) -> Result<Page, VpnError>;

    /// Asks Client VPN to end connections.
    ///
    /// When this returns `Ok`, the request was accepted and nothing more: `terminating` is not `terminated`. When it
    /// returns an error but [`NoTurn`](VpnErrorKind::NoTurn), the request may have been accepted all the same (the answer
    /// may have been lost), so only a listing tells. Asking twice does no harm.
    async fn terminate(&self, endpoint: &EndpointId, which: &Which) -> Result<Vec<Ended>, VpnError>;

    /// Asks EC2 whether `terminate` would be permitted, and ends nothing.
    async fn may_terminate(&self, endpoint: &EndpointId, which: &Which) -> Result<(), VpnError>;
}

/// Where the next page begins; opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PageToken(pub String);

/// One page of connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The rows, alive or not.
    pub connections: Vec<Connection>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<PageToken>,
}

/// Which connections a terminate call is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// One, by its id.
    Id(ConnectionId),
    /// All of one user name, spelled exactly so; Client VPN takes at most five connections that way.
    User(String),
}

/// What a terminate call said of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The connection.
    pub id: ConnectionId,
    /// Its status before.
    pub previous: Option<Status>,
    /// Its status now.
    pub current: Option<Status>,
    /// What AWS added to the current status, such as why ending it failed.
    pub message: Option<String>,
    /// AWS's id of the request, by which CloudTrail and AWS Support know it.
    pub request_id: Option<String>,
}

/// What kind of failure an AWS call ended in, as far as it changes what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VpnErrorKind {
    /// The endpoint does not exist (any more).
    NoEndpoint,
    /// The endpoint has no target network, so it has no sessions.
    NoAssociation,
    /// The connection, or any of the user's, is not there.
    NoConnection,
    /// More connections than a call by user name may end.
    TooManyConnections,
    /// The role lacks the permission. Trying again doesn't help.
    Denied,
    /// AWS asked to slow down, and did so until the attempts, or the time for them, ran out.
    Throttled,
    /// A call that was not made: AWS had asked to slow down, and others of our calls came first.
    NoTurn,
    /// No answer, a lost one, or a server error.
    Unavailable,
    /// A listing named the same page twice, so its end can't be reached.
    EndlessListing,
    /// Anything else.
    Other,
}

impl VpnErrorKind {
    /// Whether to ask for something else at once would be to ask too often.
    #[must_use]
    pub fn is_too_soon(self) -> bool {
        matches!(self, Self::Throttled | Self::NoTurn)
    }
}

/// An AWS call that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct VpnError {
    /// What it means for us.
    pub kind: VpnErrorKind,
    /// AWS's error code, where there was an answer.
    pub code: Option<String>,
    /// AWS's message or the transport's.
    pub message: String,
    /// AWS's id of the request.
    pub request_id: Option<String>,
}

impl VpnError {
    fn ours(kind: VpnErrorKind, message: String) -> Self {
        Self { kind, code: None, message, request_id: None }
    }

    /// A target gave no answer in time.
    #[must_use]
    pub fn late(target: &Target) -> Self {
        let account = target.account.as_deref().unwrap_or("the function's account");
        let message = format!("the endpoints in {} of {account} could not be listed in time", target.region);
        Self::ours(VpnErrorKind::Unavailable, message)
    }

    /// A terminate call that was not answered in time.
    #[must_use]
    pub fn unanswered(endpoint: &EndpointId) -> Self {
        let message = format!("the terminate call on {endpoint} was not answered in time; the next listing tells");
        Self::ours(VpnErrorKind::Unavailable, message)
    }

    /// The configuration names an endpoint that is nowhere.
    #[must_use]
    pub fn no_such_endpoint(id: &EndpointId) -> Self {
        Self::ours(
            VpnErrorKind::NoEndpoint,
            format!("endpoint {id} is named in VPN_REVOKER_ENDPOINTS and not found; correct or remove it"),
        )
    }

    /// An order names endpoints or targets, and none of those in scope is among them.
    #[must_use]
    pub fn nothing_named(name: &str) -> Self {
        let message = format!(
            "`{name}` is named by the command and nothing in scope is called so; correct its `endpoints` or `targets`"
        );
        Self::ours(VpnErrorKind::NoEndpoint, message)
    }

    /// There is no endpoint at all to look at.
    #[must_use]
    pub fn no_endpoints(region: &str) -> Self {
        Self::ours(
            VpnErrorKind::NoEndpoint,
            format!("no Client VPN endpoint was found in {region}, so nothing can be shown; check Region and account"),
        )
    }

    /// A listing came back to a page that it had named before.
    #[must_use]
    pub fn endless_listing(id: &EndpointId) -> Self {
        Self::ours(
            VpnErrorKind::EndlessListing,
            format!("the listing of {id} named the same page twice, so its end can't be reached; it is tried again"),
        )
    }
}

impl fmt::Display for VpnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = &self.code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        let next = match self.kind {
            VpnErrorKind::Denied => "; allow the action to the function's role",
            kind if kind.is_too_soon() => "; AWS asked to slow down, it is tried again",
            VpnErrorKind::Unavailable => "; it is tried again",
            _ => "",
        };
        f.write_str(next)
    }
}

/// One page of locks, each with its own failure: an item that can't be read stands in no other's way.
pub type LockedPage = (Vec<Result<Lock, StoreError>>, Option<PageToken>);

/// The stored locks, for whoever only looks, such as the connect handler: what holds only this can't write, and its role
/// needs no permission to.
#[async_trait]
pub trait ReadLocks: Send + Sync {
    /// The locks of `names`, in their order; [`Lock::none`] for a name without one.
    ///
    /// The read is strongly consistent: it shows every write that returned before it began.
    async fn read(&self, names: &[Name]) -> Result<Vec<Lock>, StoreError>;
}

/// The stored locks, one item per name.
#[async_trait]
pub trait Locks: ReadLocks {
    /// One page of the locks that hold somebody out; holds that lapsed meanwhile may be among them.
    ///
    /// The read may lag behind: whoever acts on it reads the lock again.
    async fn locked(&self, after: Option<&PageToken>) -> Result<LockedPage, StoreError>;

    /// Stores `lock` if the stored version is one below its own.
    ///
    /// When this returns [`Write::Stored`], the lock is durable, and every strongly consistent read, the connect
    /// handler's included, sees it. With [`Write::Conflict`] somebody else wrote first and nothing changed. An error
    /// may stand for either: read again.
    async fn write(&self, lock: &Lock) -> Result<Write, StoreError>;
}

/// What else subjects are called, by explicit decision.
#[async_trait]
pub trait AliasBook: Send + Sync {
    /// The further names of each of `names`, in their order; each for itself, so that one item that can't be read
    /// stands in nobody else's way. The read is strongly consistent.
    async fn names(&self, names: &[Name]) -> Vec<Result<Vec<Name>, StoreError>>;

    /// Gives a subject names.
    ///
    /// When this returns [`Given::Stored`], all of them are durable. Doing it twice does no harm; two at once both
    /// take effect.
    async fn give(&self, subject: &Name, names: &[Name]) -> Result<Given, StoreError>;

    /// Takes names away from a subject. When this returns, that is durable.
    async fn take(&self, subject: &Name, names: &[Name]) -> Result<(), StoreError>;
}

/// What came of giving a subject names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// They are the subject's.
    Stored,
    /// One of them is another subject's: two people can't share a name. None of them is given.
    Taken {
        /// The name.
        name: Name,
        /// Whose it is.
        by: String,
    },
}

/// Somebody whom a directory knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The directory's id.
    pub id: String,
    /// What the person is called: the user name first, then the e-mail addresses.
    pub names: Vec<String>,
    /// What the person was called before, as far as that is kept.
    pub former: Vec<String>,
    /// Whether the account is enabled, where the directory says so.
    pub enabled: Option<bool>,
}

/// A directory of people: who is behind an id.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Who has this id now; `None` where nobody has, or nobody any more.
    async fn find(&self, id: &str) -> Result<Option<Person>, DirectoryError>;

    /// The id of whoever has this name now.
    async fn holder(&self, name: &str, kind: NameKind) -> Result<Option<String>, DirectoryError>;

    /// One page of everybody.
    async fn people(&self, after: Option<&PageToken>) -> Result<(Vec<Person>, Option<PageToken>), DirectoryError>;
}

/// What a directory calls a person by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// The user name.
    UserName,
    /// An e-mail address.
    Email,
}

/// A directory could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct DirectoryError(pub String);

/// A directory's answers, kept: once a person is deleted, the directory itself can't say any more who it was.
#[async_trait]
pub trait KnownPeople: Send + Sync {
    /// Who had these ids when they were last asked for, by id; those that nobody has asked for are missing.
    async fn recall_all(&self, ids: &[&str]) -> Result<BTreeMap<String, Person>, StoreError>;

    /// Who had this id when it was last asked for.
    async fn recall(&self, id: &str) -> Result<Option<Person>, StoreError> {
        Ok(self.recall_all(&[id]).await?.remove(id))
    }

    /// The id of whoever was last known to be called so, by normal form. That may have been before: what a name says
    /// stands until somebody else is known by it.
    async fn by_name(&self, name: &Name) -> Result<Option<String>, StoreError>;

    /// Keeps answers over earlier ones. When this returns, all of them are durable.
    async fn keep(&self, people: &[Person]) -> Result<(), StoreError>;
}

/// The counts behind the circuit breaker ([`breaker`](crate::breaker)), shared by all running environments.
#[async_trait]
pub trait Breaker: Send + Sync {
    /// How the breaker of an authority stands, with what was counted in these minutes. The read is strongly consistent.
    async fn standing(&self, authority: &Authority, minutes: &[Minute]) -> Result<Standing, StoreError>;

    /// Counts holds in a round and minute, and says which were counted there until then, whoever counted them. When this
    /// returns, that is durable; doing it twice counts once, and of two at once one comes after the other.
    async fn count(
        &self,
        authority: &Authority,
        round: u64,
        minute: Minute,
        holds: &[Counted],
    ) -> Result<BTreeSet<Counted>, StoreError>;

    /// Opens the breaker, unless it was closed since `round`. When this returns, that is durable.
    async fn open(&self, authority: &Authority, round: u64, at: Timestamp) -> Result<(), StoreError>;

    /// Closes it, and begins another round. When this returns, it is closed, durably.
    async fn close(&self, authority: &Authority) -> Result<(), StoreError>;
}

/// What came of a guarded write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// It is durable.
    Stored,
    /// Somebody else wrote first.
    Conflict,
}

/// The stored audit trail.
#[async_trait]
pub trait AuditTrail: Send + Sync {
    /// The head of a chain; [`Head::genesis`] where it has no entry.
    async fn head(&self, chain: &str) -> Result<Head, StoreError>;

    /// The heads of several chains, in their order.
    async fn heads_of(&self, chains: &[String]) -> Result<Vec<Head>, StoreError>;

    /// Writes the entry, moves the head and sets the marker: all three or none.
    ///
    /// When this returns [`Commit::Written`], all three are durable. An entry that stands is never written over. An
    /// error may stand for either outcome: the marker tells which.
    async fn commit(&self, entry: &Entry, marker: &Marker) -> Result<Commit, StoreError>;

    /// Which of `markers` stand, in their order, with what is known of them.
    async fn standing(&self, markers: &[Marker]) -> Result<Vec<Option<Mark>>, StoreError>;
}

/// The stored audit trail, for whoever verifies it. The functions only add to it.
#[async_trait]
pub trait ReadTrail: Send + Sync {
    /// All entries of a chain, in order.
    async fn entries(&self, chain: &str) -> Result<Vec<Entry>, StoreError>;
}

/// What came of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Entry, head and marker are durable.
    Written,
    /// The marker stood already; nothing changed.
    AlreadyThere,
    /// Another entry was written meanwhile; nothing changed.
    HeadMoved,
}

/// A table could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{cause}{next}")]
pub struct StoreError {
    cause: String,
    next: &'static str,
    /// The store is well, and an item in it is not.
    is_unusable: bool,
}

impl StoreError {
    /// The store is away, throttled, or refuses us.
    #[must_use]
    pub fn away(what: &str, why: &str) -> Self {
        Self {
            cause: format!("{what}: {why}"),
            next: "; nothing further was done, it is tried again",
            is_unusable: false,
        }
    }

    /// The store answered something that can't be used.
    #[must_use]
    pub fn unusable(what: &str, why: &dyn fmt::Display) -> Self {
        Self { cause: format!("{what}: {why}"), next: "", is_unusable: true }
    }

    /// Others were faster too often.
    #[must_use]
    pub fn busy(what: &str) -> Self {
        Self {
            cause: format!("`{what}` was being written by others all the time"),
            next: "; it is tried again",
            is_unusable: false,
        }
    }

    /// Whether the store is well, and only what it answered can't be used.
    pub(crate) fn is_unusable(&self) -> bool {
        self.is_unusable
    }

    /// What happened, without what the functions do about it.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

/// Time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// A pause that we choose to make.
    async fn sleep(&self, pause: Duration);

    /// Returns once `at` has come: an end that is set from outside, beside which work goes on.
    ///
    /// Kept apart from [`sleep`](Self::sleep) because time that is moved by hand may jump over a pause, but must not
    /// jump to an end merely because somebody watches for it.
    async fn reached(&self, at: Timestamp);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(account: Option<&str>) -> Target {
        Target { region: "eu-west-1".to_owned(), account: account.map(str::to_owned) }
    }

    #[test]
    fn a_failed_call_says_what_happened_to_what_and_what_comes_next() {
        let endpoint = EndpointId::new("cvpn-endpoint-1");
        let said = [
            (
                VpnError::late(&target(Some("111122223333"))),
                "the endpoints in eu-west-1 of 111122223333 could not be listed in time; it is tried again",
            ),
            (
                VpnError::late(&target(None)),
                "the endpoints in eu-west-1 of the function's account could not be listed in time; it is tried again",
            ),
            (
                VpnError::no_such_endpoint(&endpoint),
                "endpoint cvpn-endpoint-1 is named in VPN_REVOKER_ENDPOINTS and not found; correct or remove it",
            ),
            (
                VpnError::nothing_named("eu-west-9"),
                "`eu-west-9` is named by the command and nothing in scope is called so; correct its `endpoints` or `targets`",
            ),
            (
                VpnError::no_endpoints("eu-west-1"),
                "no Client VPN endpoint was found in eu-west-1, so nothing can be shown; check Region and account",
            ),
            (
                VpnError::endless_listing(&endpoint),
                "the listing of cvpn-endpoint-1 named the same page twice, so its end can't be reached; it is tried again",
            ),
        ];
        for (error, text) in said {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn what_aws_said_is_told_with_its_code_and_request() {
        let with = |kind| VpnError {
            kind,
            code: Some("Code".to_owned()),
            message: "why".to_owned(),
            request_id: Some("r-1".to_owned()),
        };
        let said = |kind| with(kind).to_string();
        assert_eq!(said(VpnErrorKind::Denied), "Code: why (request r-1); allow the action to the function's role");
        assert_eq!(said(VpnErrorKind::Throttled), "Code: why (request r-1); AWS asked to slow down, it is tried again");
        assert_eq!(said(VpnErrorKind::Unavailable), "Code: why (request r-1); it is tried again");
        assert_eq!(said(VpnErrorKind::Other), "Code: why (request r-1)");
    }

    #[test]
    fn a_table_that_failed_says_what_is_done_about_it() {
        let away = StoreError::away("the locks", "throttled");
        assert_eq!(
            (away.cause(), away.to_string().as_str()),
            ("the locks: throttled", "the locks: throttled; nothing further was done, it is tried again")
        );
        assert_eq!(StoreError::unusable("alice", &"no version").to_string(), "alice: no version");
        assert_eq!(
            StoreError::busy("alice").to_string(),
            "`alice` was being written by others all the time; it is tried again"
        );
    }
}
