//! Which connections are a subject's, and which calls end them. Pure: from what is listed to what is to be asked.

use std::collections::{BTreeMap, BTreeSet};

use crate::connection::{Connection, ConnectionId, Status};
use crate::name::Name;
use crate::planted::{self, Fault};
use crate::ports::Which;

/// The most connections that a call by user name may end
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateClientVpnConnections.html>).
const MAX_BY_USER: usize = 5;

/// Why a connection is a subject's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// Its user name equals one of the subject's names.
    User,
    /// Its common name does, and no other user's name stands on it.
    Certificate,
    /// Its common name does, under another's user name: the subject's only where the certificate is not shared.
    CertificateUnderOtherUser,
}

/// Whether, and why, a connection belongs to whoever has these names: equality of normal forms, nothing else.
#[must_use]
pub fn matches(connection: &Connection, names: &[Name]) -> Option<Match> {
    if planted::is(Fault::MatchBySubstring) {
        let part =
            |found: Option<Name>| found.is_some_and(|f| names.iter().any(|name| f.as_str().contains(name.as_str())));
        return part(connection.user()).then_some(Match::User);
    }
    let user = connection.user();
    if user.as_ref().is_some_and(|user| names.contains(user)) {
        return Some(Match::User);
    }
    match connection.certificate() {
        Some(certificate) if names.contains(&certificate) => Some(match user {
            None => Match::Certificate,
            Some(_) => Match::CertificateUnderOtherUser,
        }),
        _ => None,
    }
}

/// Under which user names each common name was seen. One that stands under two or more is a shared certificate.
#[derive(Debug, Default)]
pub struct Certificates(BTreeMap<Name, BTreeSet<Name>>);

impl Certificates {
    /// Takes a row into account.
    pub fn note(&mut self, connection: &Connection) {
        if let (Some(certificate), Some(user)) = (connection.certificate(), connection.user()) {
            let users = self.0.entry(certificate).or_default();
            // Two are enough to know, and keep a common name on a hundred thousand rows small.
            if users.len() < 2 {
                users.insert(user);
            }
        }
    }

    /// Whether the connection's certificate is shared.
    #[must_use]
    pub fn is_shared(&self, connection: &Connection) -> bool {
        connection.certificate().and_then(|certificate| self.0.get(&certificate)).is_some_and(|users| users.len() >= 2)
    }
}

/// One terminate call, and the connections it is meant to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What to ask for.
    pub which: Which,
    /// The connections meant.
    pub ids: Vec<ConnectionId>,
}

impl Call {
    fn by_id(id: &ConnectionId) -> Self {
        Self { which: Which::Id(id.clone()), ids: vec![id.clone()] }
    }
}

/// The connections of one subject on one endpoint that are alive.
#[derive(Debug)]
pub struct OnEndpoint<'a> {
    /// Those to end.
    pub to_end: Vec<&'a Connection>,
    /// Those left as they are: protected, or ending already.
    pub others: Vec<&'a Connection>,
    /// The user names that a call may go by: the subject's own, where the whole endpoint stood on one page; else none.
    pub by_user: &'a [Name],
}

/// The calls that end them: by connection id, and by user name where that saves calls and can hit nobody else.
///
/// A call by user name reaches every connection that Client VPN finds under that spelling, so it is used only where
/// what it will find is known: two to five alive, all of them to be ended, all spelled alike, in characters that no
/// filter could take for a pattern.
#[must_use]
pub fn calls(on: &OnEndpoint<'_>) -> Vec<Call> {
    let mut by_user: BTreeMap<Name, Vec<&Connection>> = BTreeMap::new();
    let mut calls = Vec::new();
    for connection in &on.to_end {
        match connection.user() {
            Some(user) if on.by_user.contains(&user) => by_user.entry(user).or_default().push(connection),
            _ => calls.push(Call::by_id(&connection.id)),
        }
    }
    for (user, connections) in by_user {
        let spelling = connections.first().and_then(|first| first.username.as_deref()).unwrap_or_default();
        let alike = connections.iter().all(|connection| connection.username.as_deref() == Some(spelling));
        let reaches_others = on.others.iter().any(|other| other.user().as_ref() == Some(&user));
        let saves = (2..=MAX_BY_USER).contains(&connections.len());
        let ids: Vec<ConnectionId> = connections.iter().map(|connection| connection.id.clone()).collect();
        if saves && alike && !reaches_others && is_plain(spelling) {
            calls.push(Call { which: Which::User(spelling.to_owned()), ids });
        } else {
            calls.extend(ids.iter().map(Call::by_id));
        }
    }
    calls
}

/// The calls to fall back to where one by user name failed.
#[must_use]
pub fn one_by_one(call: &Call) -> Vec<Call> {
    call.ids.iter().map(Call::by_id).collect()
}

fn is_plain(spelling: &str) -> bool {
    spelling.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '@' | '.' | '_' | '-' | '+'))
}

/// Whether asking for this connection's end can help: one that is ending already needs patience, not a call.
#[must_use]
pub fn needs_a_call(connection: &Connection) -> bool {
    connection.status.is_alive() && connection.status != Status::Terminating
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connection(id: &str, username: Option<&str>, common_name: Option<&str>) -> Connection {
        Connection {
            id: ConnectionId::new(id),
            username: username.map(str::to_owned),
            common_name: common_name.map(str::to_owned),
            status: Status::Active,
            established_at: None,
        }
    }

    fn names(all: &[&str]) -> Vec<Name> {
        all.iter().map(|name| Name::new(name).unwrap()).collect()
    }

    #[test]
    fn a_connection_matches_by_either_name_and_only_by_equality() {
        let alice = names(&["alice"]);
        let cases = [
            (Some("ALICE"), None, Some(Match::User)),
            (Some("alice"), Some("laptop-7"), Some(Match::User)),
            (None, Some("Alice"), Some(Match::Certificate)),
            (Some("N/A"), Some("alice"), Some(Match::Certificate)),
            (Some("-"), Some("alice"), Some(Match::Certificate)),
            (Some("bob"), Some("alice"), Some(Match::CertificateUnderOtherUser)),
            (Some("malice"), Some("alice.example.com"), None),
            (Some("alice@example.com"), None, None),
            (None, None, None),
        ];
        for (username, common_name, expected) in cases {
            assert_eq!(
                matches(&connection("c", username, common_name), &alice),
                expected,
                "{username:?} {common_name:?}"
            );
        }
    }

    #[test]
    fn a_common_name_under_two_user_names_is_a_shared_certificate() {
        let mut certificates = Certificates::default();
        let [a, b] = [connection("1", Some("alice"), Some("fleet")), connection("2", Some("bob"), Some("FLEET"))];
        certificates.note(&a);
        certificates.note(&connection("3", Some("ALICE"), Some("fleet")));
        certificates.note(&connection("4", None, Some("fleet")));
        assert!(!certificates.is_shared(&a), "one person in two spellings, and nobody, are not two people");
        certificates.note(&b);
        assert!(certificates.is_shared(&a) && certificates.is_shared(&b));
    }

    #[test]
    fn of_a_certificate_on_many_rows_two_users_are_kept() {
        let mut certificates = Certificates::default();
        for user in ["alice", "bob", "carol"] {
            certificates.note(&connection("c", Some(user), Some("fleet")));
        }
        assert_eq!(certificates.0.values().map(BTreeSet::len).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn what_is_ending_or_has_ended_needs_no_call() {
        let with = |status| needs_a_call(&Connection { status, ..connection("c", Some("alice"), None) });
        assert!(with(Status::Active) && with(Status::FailedToTerminate) && with(Status::Other("new".to_owned())));
        assert!(!with(Status::Terminating) && !with(Status::Terminated));
    }

    fn on<'a>(to_end: &'a [Connection], others: &'a [Connection], by_user: &'a [Name]) -> OnEndpoint<'a> {
        OnEndpoint { to_end: to_end.iter().collect(), others: others.iter().collect(), by_user }
    }

    fn several(n: usize, username: &str) -> Vec<Connection> {
        (0..n).map(|i| connection(&format!("c-{i}"), Some(username), None)).collect()
    }

    #[test]
    fn two_to_five_under_one_spelling_take_one_call() {
        for n in 2..=5 {
            let calls = calls(&on(&several(n, "alice@example.com"), &[], &names(&["alice@example.com"])));
            assert_eq!(calls.len(), 1);
            assert_eq!(calls[0].which, Which::User("alice@example.com".to_owned()));
            assert_eq!(calls[0].ids.len(), n);
            assert_eq!(one_by_one(&calls[0]).len(), n);
        }
    }

    #[test]
    fn anything_else_is_ended_by_id() {
        let hers = names(&["alice", "al*", "ex\\alice"]);
        let by_id = |to_end: &[Connection], others: &[Connection]| {
            calls(&on(to_end, others, &hers)).iter().all(|call| matches!(call.which, Which::Id(_)))
        };
        assert!(by_id(&several(1, "alice"), &[]), "saves nothing");
        assert!(by_id(&several(6, "alice"), &[]), "over the limit");
        assert!(by_id(&several(3, "al*"), &[]), "could be a pattern");
        assert!(by_id(&several(3, "EX\\alice"), &[]), "could be an escape");
        assert!(by_id(&several(3, "alice"), &several(1, "Alice")), "would reach one that is to stay");
        let mixed = [connection("1", Some("alice"), None), connection("2", Some("Alice"), None)];
        assert!(by_id(&mixed, &[]), "two spellings");
        let certificates = [connection("1", None, Some("alice")), connection("2", None, Some("alice"))];
        assert!(by_id(&certificates, &[]), "no user name");
        assert!(by_id(&several(3, "bob"), &[]), "not the subject's own name");
        let unsure = several(3, "alice");
        assert!(calls(&on(&unsure, &[], &[])).iter().all(|call| matches!(call.which, Which::Id(_))), "not on one page");
    }

    fn any_connection() -> impl Strategy<Value = Connection> {
        let name = prop::option::of(prop::sample::select(vec!["alice", "Alice", "bob", "malice", "al*", "-", "fleet"]));
        ("[0-9a-f]{8}", name.clone(), name)
            .prop_map(|(id, username, common_name)| connection(&id, username, common_name))
    }

    proptest! {
        /// Every connection to end is in exactly one call, and a call by user name means every alive connection of it.
        #[test]
        fn the_calls_cover_what_is_to_end_and_nothing_else(
            to_end in proptest::collection::vec(any_connection(), 0..12),
            others in proptest::collection::vec(any_connection(), 0..4),
            hers in proptest::collection::vec(prop::sample::select(vec!["alice", "bob", "al*"]), 0..2),
        ) {
            let hers = names(&hers);
            let calls = calls(&on(&to_end, &others, &hers));
            let mut planned: Vec<&ConnectionId> = calls.iter().flat_map(|call| &call.ids).collect();
            let mut wanted: Vec<&ConnectionId> = to_end.iter().map(|connection| &connection.id).collect();
            planned.sort();
            wanted.sort();
            prop_assert_eq!(planned, wanted);
            for call in &calls {
                if let Which::User(user) = &call.which {
                    prop_assert!(others.iter().all(|other| other.username.as_ref() != Some(user)));
                    prop_assert!(hers.contains(&Name::new(user).unwrap()), "only by a name of the subject's own");
                    prop_assert!((2..=5).contains(&call.ids.len()));
                }
            }
        }
    }
}
