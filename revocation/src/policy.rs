//! What may be done: the [`Mode`], who is [`Protected`], and the limits.

use std::time::Duration;

use serde::{Serialize, Serializer};
use thiserror::Error;
use wildmatch::WildMatchPattern;

use crate::alias::Aliases;
use crate::connection::{Connection, EndpointId};
use crate::name::{Name, normal_form};
use crate::signal::{Action, Authority, Signal, Via};
use crate::time::Timestamp;

/// Whether to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Act.
    #[default]
    Enforce,
    /// Decide and audit, change nothing.
    Shadow,
}

impl Mode {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// A pattern that would protect everybody, or nobody.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtectedError {
    /// Only stars: nobody could ever be revoked.
    #[error("`{0}` would protect everybody; name whom to protect")]
    Everybody(String),
    /// It holds a control character: no name can, and the matcher would take NUL for any character.
    #[error("{0:?} holds a control character, which no name can; write it again")]
    Control(String),
}

/// Names never to touch.
#[derive(Debug, Clone, Default)]
pub struct Protected(Vec<WildMatchPattern<'*', '\0'>>);

impl Protected {
    /// Reads a comma-separated list of names, each of which may hold `*`.
    ///
    /// # Errors
    /// One for each pattern that is nothing but stars, or holds a character that no name can: one of them stands for any
    /// character to whoever compares.
    pub fn parse(list: &str) -> Result<Self, Vec<ProtectedError>> {
        let patterns: Vec<String> = list.split(',').map(normal_form).filter(|pattern| !pattern.is_empty()).collect();
        let wrong: Vec<ProtectedError> = patterns.iter().filter_map(|pattern| mistake(pattern)).collect();
        if wrong.is_empty() {
            Ok(Self(patterns.iter().map(|pattern| WildMatchPattern::new(pattern)).collect()))
        } else {
            Err(wrong)
        }
    }

    /// Whether nobody is protected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a name is protected.
    #[must_use]
    pub fn covers(&self, name: &Name) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name.as_str()))
    }

    /// The protected one of a connection's two names, if either is.
    #[must_use]
    pub fn on(&self, connection: &Connection) -> Option<Name> {
        [connection.user(), connection.certificate()].into_iter().flatten().find(|name| self.covers(name))
    }
}

fn mistake(pattern: &str) -> Option<ProtectedError> {
    if pattern.chars().all(|c| c == '*') {
        return Some(ProtectedError::Everybody(pattern.to_owned()));
    }
    pattern.chars().any(char::is_control).then(|| ProtectedError::Control(pattern.to_owned()))
}

/// What may be done, and how long it may take.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether to act.
    pub mode: Mode,
    /// Names never to touch.
    pub protected: Protected,
    /// The endpoints to act on; empty: all.
    pub endpoints: Vec<EndpointId>,
    /// A subject matching more connections than this is refused unless the command forces it.
    pub max_connections: usize,
    /// Circuit breaker: how many holds one authority may newly bring into force in any ten minutes.
    pub max_subjects: usize,
    /// `completed` needs a listing begun at least this long after the lock was durable, and after the latest terminate call
    /// was answered: EC2's listings lag behind, and a client may come back.
    pub settle: Duration,
    /// How long to wait for zero before saying `incomplete`. It is counted from when no call had to wait for its turn any
    /// more.
    pub verify: Duration,
    /// How many connected users a sweep asks the directory about; zero: none.
    pub sweep_directory: usize,
    /// The words of the commands that may come as an event.
    pub event_commands: Vec<String>,
    /// What subjects are called by rule.
    pub aliases: Aliases,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            protected: Protected::default(),
            endpoints: Vec::new(),
            max_connections: 25,
            max_subjects: 50,
            settle: Duration::from_secs(10),
            verify: Duration::from_secs(60),
            sweep_directory: 0,
            event_commands: vec!["revoke".to_owned(), "disconnect".to_owned()],
            aliases: Aliases::default(),
        }
    }
}

/// Why policy forbids something. Trying again doesn't help, but for [`Refusal::BreakerOpen`].
///
/// What is refused before the lock changes nothing. What is refused for what the listing showed leaves the lock in
/// force: the person is kept out, and somebody has to decide about the connections.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The subject, or one of its names, is protected.
    #[error("`{0}` is protected; take it out of VPN_REVOKER_PROTECTED first")]
    Protected(Name),
    /// This command may not come as an event.
    #[error("`{0}` may not come as an event; invoke the function directly, or allow it in VPN_REVOKER_EVENT_COMMANDS")]
    NotByEvent(&'static str),
    /// The endpoint of a `disconnect` is none that this function acts on.
    #[error("this function does not act on endpoint {0}; check the id and VPN_REVOKER_ENDPOINTS")]
    EndpointOutOfScope(EndpointId),
    /// The circuit breaker of the authority is open. Once it is closed, trying again helps.
    #[error(
        "the circuit breaker of {authority} has been open since {since}: it would have locked more than VPN_REVOKER_MAX_SUBJECTS ({limit}) in ten minutes; find out whether so many people did leave; if they did, send `close_breaker` with the authority: what still waits is tried again, and dead letters have to be redriven"
    )]
    BreakerOpen {
        /// Whose.
        authority: Authority,
        /// Since when.
        since: Timestamp,
        /// How many are plausible.
        limit: usize,
    },
    /// A name that was to be given is another subject's.
    #[error("`{name}` is another name of `{by}`, and two people can't share one; take it away there first (`unalias`)")]
    AnothersName {
        /// The name.
        name: Name,
        /// Whose it is.
        by: String,
    },
    /// More connections than the limit.
    #[error(
        "{found} connections match, more than VPN_REVOKER_MAX_CONNECTIONS ({limit}), so no more of them are ended{}; if all of them are meant, send the command with `force` and a reason",
        if *.locked { ", and the lock stands" } else { "" }
    )]
    TooManyConnections {
        /// How many match.
        found: usize,
        /// How many may.
        limit: usize,
        /// Whether the name is locked all the same.
        locked: bool,
    },
    /// Connections were spared because a protected name stands on them.
    #[error(
        "connections that carry a protected name beside this one were left alone ({0}); if they are meant, take that name out of VPN_REVOKER_PROTECTED first"
    )]
    ProtectedConnections(usize),
    /// Connections were spared because their certificate is shared.
    #[error(
        "connections that use this common name as a shared certificate under another's user name were left alone ({0}); revoke those users by name"
    )]
    SharedCertificate(usize),
}

/// The word for [`Refusal::NotByEvent`].
pub const NOT_BY_EVENT: &str = "not-by-event";

/// The word for [`Refusal::BreakerOpen`].
pub(crate) const BREAKER_OPEN: &str = "breaker-open";

impl Refusal {
    /// A stable word for entries and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Protected(_) | Self::ProtectedConnections(_) => "protected",
            Self::NotByEvent(_) => NOT_BY_EVENT,
            Self::BreakerOpen { .. } => BREAKER_OPEN,
            Self::EndpointOutOfScope(_) => "endpoint-out-of-scope",
            Self::AnothersName { .. } => "anothers-name",
            Self::TooManyConnections { .. } => "too-many-connections",
            Self::SharedCertificate(_) => "shared-certificate",
        }
    }
}

impl Policy {
    /// Whether a signal about `names` may be acted on at all; what its connections say comes later.
    ///
    /// A protected name can still be restored: protection is from being cut off.
    ///
    /// # Errors
    /// The refusal.
    pub fn admit(&self, signal: &Signal, names: &[Name]) -> Result<(), Refusal> {
        let word = signal.action.word();
        if signal.authority == Authority::command() {
            self.admit_command(word, signal.via)?;
        }
        // Whoever had a protected name given could not be revoked any more.
        let given = match &signal.action {
            Action::Alias { names, remove: false } => names.as_slice(),
            _ => &[],
        };
        match names.iter().chain(given).find(|name| self.protected.covers(name)) {
            Some(name) if !matches!(signal.action, Action::Restore { .. } | Action::Alias { remove: true, .. }) => {
                Err(Refusal::Protected(name.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a command may come that way.
    ///
    /// # Errors
    /// The refusal.
    pub fn admit_command(&self, word: &'static str, via: Via) -> Result<(), Refusal> {
        match via == Via::Event && !self.event_commands.iter().any(|allowed| allowed == word) {
            true => Err(Refusal::NotByEvent(word)),
            false => Ok(()),
        }
    }

    /// Whether an endpoint is in scope.
    #[must_use]
    pub fn in_scope(&self, endpoint: &EndpointId) -> bool {
        self.endpoints.is_empty() || self.endpoints.contains(endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_pattern_of_control_characters_protects_nobody() {
        let alice = Name::new("alice").unwrap();
        for list in ["\0\0\0\0\0", "ali\0e", "bob,al\u{7}*"] {
            assert!(matches!(Protected::parse(list).unwrap_err()[..], [ProtectedError::Control(_)]), "{list:?}");
        }
        assert!(!Protected::parse("al?ce").unwrap().covers(&alice), "a question mark is one");
    }

    #[test]
    fn protected_names_fold_and_may_hold_stars() {
        let protected = Protected::parse("Break-Glass@example.com, svc-*@example.com ,,*-oncall").unwrap();
        for covered in ["break-glass@EXAMPLE.com", "svc-backup@example.com", "dba-oncall"] {
            assert!(protected.covers(&name(covered)), "{covered}");
        }
        for other in
            ["break-glass@example.com.evil", "mysvc-backup@example.com", "oncall", "alice", "break-glass?example.com"]
        {
            assert!(!protected.covers(&name(other)), "{other}");
        }
    }

    #[test]
    fn a_question_mark_is_an_ordinary_character() {
        let protected = Protected::parse("a?b").unwrap();
        assert!(protected.covers(&name("a?b")));
        assert!(!protected.covers(&name("acb")));
    }

    #[test]
    fn nothing_but_stars_is_an_error() {
        assert_eq!(Protected::parse("alice,*,**").unwrap_err().len(), 2);
        assert!(Protected::parse("").unwrap().0.is_empty());
    }

    #[test]
    fn no_name_protects_nobody() {
        assert!(Protected::parse(" , ").unwrap().is_empty());
        assert!(!Protected::parse("ceo").unwrap().is_empty());
        assert!(!Protected::default().covers(&name("ceo")));
    }

    fn signal(authority: Authority, action: Action, via: Via) -> Signal {
        let at = Timestamp::from_millis(1_700_000_000_000);
        Signal {
            id: crate::signal::SignalId::new("s-1"),
            action,
            about: vec![crate::signal::About::Subject(crate::name::Subject::new("ceo").unwrap())],
            authority,
            as_of: at,
            occurred_at: None,
            received_at: at,
            source: "test".to_owned(),
            actor: None,
            reason: None,
            dry_run: false,
            force: false,
            replay: None,
            via,
        }
    }

    #[test]
    fn protected_names_can_only_be_given_back() {
        let policy = Policy { protected: Protected::parse("ceo").unwrap(), ..Policy::default() };
        let okta = |action| signal(Authority::producer("okta", None), action, Via::Event);
        let alias = |remove| okta(Action::Alias { names: vec![name("ceo")], remove });
        let hers = [name("alice"), name("ceo")];
        for taken in [okta(Action::Revoke { expires_at: None }), okta(Action::Disconnect)] {
            assert_eq!(policy.admit(&taken, &hers), Err(Refusal::Protected(name("ceo"))), "{:?}", taken.action);
            assert_eq!(policy.admit(&taken, &hers[..1]), Ok(()), "{:?}", taken.action);
        }
        assert_eq!(policy.admit(&alias(false), &hers[..1]), Err(Refusal::Protected(name("ceo"))), "hers from then on");
        let harmless = okta(Action::Alias { names: vec![name("laptop-7")], remove: false });
        assert_eq!(policy.admit(&harmless, &hers[..1]), Ok(()));
        for given_back in [okta(Action::Restore { authorities: None }), alias(true)] {
            assert_eq!(policy.admit(&given_back, &hers), Ok(()), "{:?}", given_back.action);
        }
    }

    #[test]
    fn an_event_commands_only_what_it_may() {
        let policy = Policy::default();
        let restore = |authority, via| signal(authority, Action::Restore { authorities: None }, via);
        let refused = Err(Refusal::NotByEvent("restore"));
        assert_eq!(policy.admit(&restore(Authority::command(), Via::Event), &[]), refused);
        assert_eq!(policy.admit(&restore(Authority::command(), Via::Direct), &[]), Ok(()));
        assert_eq!(policy.admit(&restore(Authority::producer("okta", None), Via::Event), &[]), Ok(()), "no command");
        assert_eq!(policy.admit_command("revoke", Via::Event), Ok(()));
        assert_eq!(policy.admit_command("disconnect", Via::Event), Ok(()));
    }

    #[test]
    fn every_endpoint_is_in_scope_unless_some_are_named() {
        let [here, there] = ["cvpn-endpoint-1", "cvpn-endpoint-2"].map(EndpointId::new);
        let named = Policy { endpoints: vec![here.clone()], ..Policy::default() };
        assert!(Policy::default().in_scope(&here) && named.in_scope(&here) && !named.in_scope(&there));
    }

    #[test]
    fn words_stay() {
        assert_eq!(serde_json::json!([Mode::Enforce, Mode::Shadow]), serde_json::json!(["enforce", "shadow"]));
        let (authority, since) = (Authority::command(), Timestamp::from_millis(0));
        let refusals = [
            (Refusal::Protected(name("ceo")), "protected"),
            (Refusal::ProtectedConnections(1), "protected"),
            (Refusal::NotByEvent("sweep"), "not-by-event"),
            (Refusal::BreakerOpen { authority, since, limit: 50 }, "breaker-open"),
            (Refusal::EndpointOutOfScope(EndpointId::new("e")), "endpoint-out-of-scope"),
            (Refusal::AnothersName { name: name("alice"), by: "bob".to_owned() }, "anothers-name"),
            (Refusal::TooManyConnections { found: 26, limit: 25, locked: true }, "too-many-connections"),
            (Refusal::SharedCertificate(2), "shared-certificate"),
        ];
        for (refusal, word) in refusals {
            assert_eq!(refusal.word(), word, "{refusal}");
        }
    }

    #[test]
    fn either_name_of_a_connection_protects_it() {
        let protected = Protected::parse("ceo").unwrap();
        let connection = |username: Option<&str>, common_name: Option<&str>| Connection {
            id: crate::connection::ConnectionId::new("c"),
            username: username.map(str::to_owned),
            common_name: common_name.map(str::to_owned),
            status: crate::connection::Status::Active,
            established_at: None,
        };
        assert_eq!(protected.on(&connection(Some("CEO"), Some("laptop"))), Some(name("ceo")));
        assert_eq!(protected.on(&connection(Some("alice"), Some("ceo"))), Some(name("ceo")));
        assert_eq!(protected.on(&connection(Some("alice"), None)), None);
    }
}
