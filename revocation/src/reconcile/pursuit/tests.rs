use std::sync::Arc;

use super::super::orders::Answer;
use super::*;
use crate::connection::Target;
use crate::name::Subject;
use crate::plan::Call;
use crate::ports::Which;
use crate::receipt::EndpointReceipt;
use crate::signal::{About, Action, Authority, Signal, SignalId, Via};

const SETTLE: Duration = Duration::from_secs(10);

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + second * 1000)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn case(dry_run: bool, force: bool) -> Case {
    let about = About::Subject(Subject::new("alice").unwrap());
    let signal = Signal {
        id: SignalId::new("s-1"),
        action: Action::Revoke { expires_at: None },
        about: vec![about.clone()],
        authority: Authority::command(),
        as_of: at(0),
        occurred_at: None,
        received_at: at(0),
        source: "test".to_owned(),
        actor: None,
        reason: None,
        dry_run,
        force,
        replay: None,
        via: Via::Direct,
    };
    Case::new(Arc::new(signal), 0, about)
}

fn locked() -> Goal {
    Goal::Locked { names: vec![name("alice")] }
}

/// After alice, whose lock is durable since the first second.
pub(crate) fn pursuit() -> Pursuit {
    Pursuit::new(0, locked(), &case(false, false), false, at(0))
}

pub(crate) fn endpoint(id: &str) -> Endpoint {
    let target = Target { region: "eu-west-1".to_owned(), account: Some("111122223333".to_owned()) };
    Endpoint { target: Arc::new(target), id: EndpointId::new(id) }
}

pub(crate) fn connection(id: &str, made: i64) -> Connection {
    Connection {
        id: ConnectionId::new(id),
        username: Some("alice".to_owned()),
        common_name: None,
        status: Status::Active,
        established_at: Some(at(made)),
    }
}

fn listed(begun: i64) -> Pass {
    Pass { begun_at: at(begun), listed_at: at(begun + 1), endpoints: Vec::new(), trouble: None }
}

fn policy() -> Policy {
    Policy { max_connections: 2, settle: SETTLE, ..Policy::default() }
}

/// One listing, begun at this second, that shows these and nothing else.
fn listing(pursuit: &mut Pursuit, begun: i64, rows: &[Connection]) {
    pursuit.begin_listing();
    rows.iter().for_each(|row| pursuit.sees(0, &endpoint("e"), row, None));
    for (target, endpoint, id) in pursuit.unseen() {
        pursuit.hears(target, &endpoint, &id, None);
    }
    pursuit.judge(&listed(begun), &policy());
}

fn ended(id: &str, previous: Status, current: Status, message: Option<&str>) -> Ended {
    Ended {
        id: ConnectionId::new(id),
        previous: Some(previous),
        current: Some(current),
        message: message.map(str::to_owned),
        request_id: Some("r-1".to_owned()),
    }
}

fn told(pursuit: &mut Pursuit, ids: &[&str], answer: Result<Vec<Ended>, VpnErrorKind>) {
    told_at(pursuit, 0, ids, answer);
}

/// The answer, at this second, to a call for these.
fn told_at(pursuit: &mut Pursuit, second: i64, ids: &[&str], answer: Result<Vec<Ended>, VpnErrorKind>) {
    let ids: Vec<ConnectionId> = ids.iter().map(|id| ConnectionId::new(id)).collect();
    let call = Call { which: Which::User("alice".to_owned()), ids: ids.clone() };
    let rows: Vec<Connection> = ids.iter().map(|id| connection(id.as_str(), 0)).collect();
    let order = Order::new(pursuit, (0, 0, &endpoint("e")), call, &rows);
    let ended = answer.map_err(|kind| VpnError { kind, code: None, message: "no".to_owned(), request_id: None });
    pursuit.told(&order, &[Answer { ids, at: at(second), ended }]);
}

#[test]
fn only_those_who_want_the_same_are_pursued_together() {
    let other_goal = Goal::Existing { names: vec![name("alice")], cutoff: at(0) };
    let one = pursuit();
    assert!(one.is_same_as(&Pursuit::new(7, locked(), &case(false, false), false, at(9))));
    for other in [
        Pursuit::new(1, other_goal, &case(false, false), false, at(0)),
        Pursuit::new(1, locked(), &case(false, false), true, at(0)),
        Pursuit::new(1, locked(), &case(true, false), false, at(0)),
        Pursuit::new(1, locked(), &case(false, true), false, at(0)),
    ] {
        assert!(!one.is_same_as(&other), "{other:?}");
    }
    for (first, second) in [(0, 9), (9, 0)] {
        let mut joined = Pursuit { durable_at: at(first), ..pursuit() };
        joined.join(Pursuit::new(7, locked(), &case(false, false), false, at(second)));
        assert_eq!((joined.cases, joined.durable_at), (vec![0, 7], at(9)), "the later lock counts");
    }
    for (first, second) in [(1, 300), (300, 1)] {
        let mut joined = Pursuit { subjects_in_signal: first, ..pursuit() };
        joined.join(Pursuit { subjects_in_signal: second, ..pursuit() });
        assert_eq!(joined.subjects_in_signal, 1, "somebody is meant");
    }
}

#[test]
fn locks_are_read_again_only_for_those_who_act_under_them() {
    assert_eq!(pursuit().names_to_hold(), [name("alice")]);
    assert!(Pursuit { rehearsed: true, ..pursuit() }.names_to_hold().is_empty());
    assert!(Pursuit { state: State::Verified(at(1)), ..pursuit() }.names_to_hold().is_empty());
    let existing = Goal::Existing { names: vec![name("alice")], cutoff: at(0) };
    assert!(Pursuit { goal: existing, ..pursuit() }.names_to_hold().is_empty(), "a disconnect locks nothing");
}

#[test]
fn a_disconnect_covers_what_existed_by_then_and_what_says_nothing_of_its_beginning() {
    let goal = Goal::Existing { names: vec![name("alice")], cutoff: at(5) };
    let covers = |made: Option<i64>| goal.covers(&Connection { established_at: made.map(at), ..connection("c", 0) });
    assert!(covers(Some(4)) && covers(Some(5)) && covers(None) && !covers(Some(6)));
    assert!(!goal.may_go_by_user() && locked().may_go_by_user());
    assert!(locked().covers(&connection("c", 6)));
}

#[test]
fn who_was_made_after_the_lock_and_is_new_in_a_later_listing_came_back() {
    let mut alice = pursuit();
    listing(&mut alice, 1, &[connection("first", 0)]);
    assert_eq!(alice.reconnected, 0, "what the first listing shows may have been there before");
    listing(&mut alice, 2, &[connection("first", 0), connection("older", -1)]);
    assert_eq!(alice.reconnected, 0, "known already, and made a whole second before the lock");
    listing(&mut alice, 3, &[connection("again", 0), connection("later", 2)]);
    assert_eq!((alice.reconnected, alice.alive_in_listing), (2, 2));
}

#[test]
fn nothing_alive_in_a_full_listing_is_proof_once_the_settle_time_is_over() {
    let mut alice = pursuit();
    listing(&mut alice, 9, &[]);
    assert!(alice.is_open() && alice.verified_at().is_none());
    listing(&mut alice, 10, &[]);
    assert_eq!((alice.state.clone(), alice.verified_at()), (State::Verified(at(11)), Some(at(11))));

    let mut alive = pursuit();
    listing(&mut alive, 10, &[connection("c", 0)]);
    assert!(alive.is_open());
    let mut troubled = pursuit();
    troubled.judge(&Pass { trouble: Some("e could not be listed".to_owned()), ..listed(10) }, &policy());
    assert!(troubled.is_open(), "it was no full listing");
}

#[test]
fn who_came_back_has_to_stay_away_for_the_settle_time() {
    let mut alice = pursuit();
    listing(&mut alice, 20, &[connection("c", 0)]);
    assert_eq!(alice.provable_from(SETTLE), at(10), "who never came back may be gone any moment");
    listing(&mut alice, 30, &[connection("back", 25)]);
    assert_eq!(alice.provable_from(SETTLE), at(40));
    listing(&mut alice, 39, &[]);
    assert_eq!(alice.provable_from(SETTLE), at(40), "counted from when it was last seen");
    assert!(alice.is_open());
    listing(&mut alice, 40, &[]);
    assert_eq!(alice.state, State::Verified(at(41)));
}

#[test]
fn who_was_cut_off_late_has_to_stay_away_for_the_settle_time() {
    let mut alice = pursuit();
    listing(&mut alice, 1, &[connection("c", 0)]);
    told_at(&mut alice, 14, &["c"], Ok(vec![ended("c", Status::Active, Status::Terminating, None)]));
    assert_eq!(alice.provable_from(SETTLE), at(24), "the call had to wait");
    told_at(&mut alice, 15, &["c"], Err(VpnErrorKind::Unavailable));
    assert_eq!(alice.provable_from(SETTLE), at(25), "it may have been accepted all the same");
    told_at(&mut alice, 20, &["c"], Err(VpnErrorKind::NoTurn));
    listing(&mut alice, 24, &[]);
    assert!(alice.is_open());
    listing(&mut alice, 25, &[]);
    assert_eq!(alice.state, State::Verified(at(26)));
}

#[test]
fn a_call_that_was_not_made_is_none() {
    let mut alice = pursuit();
    listing(&mut alice, 1, &[connection("a", 0), connection("b", 0)]);
    let asked_at = |alice: &Pursuit, ids: &[&str]| {
        let ids: Vec<ConnectionId> = ids.iter().map(|id| ConnectionId::new(id)).collect();
        alice.asked_at(0, &endpoint("e"), &ids)
    };
    told_at(&mut alice, 2, &["a"], Err(VpnErrorKind::NoTurn));
    assert_eq!(asked_at(&alice, &["a"]), None);
    told_at(&mut alice, 3, &["a"], Err(VpnErrorKind::Throttled));
    assert_eq!(asked_at(&alice, &["a"]), Some(at(3)));
    assert_eq!(asked_at(&alice, &["a", "b"]), None, "of several, the one that was asked for longest ago counts");
    told_at(&mut alice, 5, &["b"], Err(VpnErrorKind::Throttled));
    assert_eq!(asked_at(&alice, &["b", "a"]), Some(at(3)));
}

#[test]
fn a_call_that_came_too_soon_has_not_failed() {
    let mut alice = pursuit();
    listing(&mut alice, 1, &[connection("a", 0)]);
    for (answer, failed) in [
        (Err(VpnErrorKind::Unavailable), true),
        (Err(VpnErrorKind::Throttled), false),
        (Err(VpnErrorKind::TooManyConnections), true),
        (Err(VpnErrorKind::NoTurn), false),
        (Err(VpnErrorKind::NoConnection), true),
        (Ok(Vec::new()), false),
    ] {
        told(&mut alice, &["a"], answer.clone());
        assert_eq!(alice.failed(0, &endpoint("e"), &ConnectionId::new("a")), failed, "{answer:?}");
    }
    assert!(!alice.failed(0, &endpoint("e"), &ConnectionId::new("b")));
}

#[test]
fn the_first_call_is_the_earliest_in_whatever_order_answers_come() {
    let mut alice = pursuit();
    assert_eq!(alice.first_terminate_at(), None);
    for second in [None, Some(9), Some(2), Some(5)] {
        let begun = Begun::default();
        begun.set(second.map(at));
        alice.orders.push(begun);
    }
    assert_eq!(alice.first_terminate_at(), Some(at(2)));
}

#[test]
fn a_rehearsal_is_refused_only_beyond_the_limit_and_unforced() {
    let rehearse = |rows: usize, force: bool| {
        let mut alice = Pursuit { force, rehearsed: true, ..pursuit() };
        let rows: Vec<Connection> = (0..rows).map(|n| connection(&format!("c-{n}"), 0)).collect();
        listing(&mut alice, 1, &rows);
        alice.state
    };
    assert_eq!((rehearse(2, false), rehearse(3, true)), (State::Rehearsed, State::Rehearsed));
    assert_eq!(rehearse(3, false), State::Refused(Refusal::TooManyConnections { found: 3, limit: 2, locked: false }));
}

#[test]
fn trying_on_is_of_no_use_where_every_call_was_denied() {
    let mut alice = pursuit();
    let rows = [connection("a", 0), connection("b", 0)];
    listing(&mut alice, 1, &rows);
    told(&mut alice, &["a"], Err(VpnErrorKind::Denied));
    told(&mut alice, &["b"], Err(VpnErrorKind::Throttled));
    listing(&mut alice, 2, &rows);
    assert!(alice.is_open(), "one of the two may still be ended");
    told(&mut alice, &["b"], Err(VpnErrorKind::Denied));
    listing(&mut alice, 3, &rows);
    assert_eq!(alice.state, State::Incomplete("still alive: 2; it is tried again".to_owned()));
}

#[test]
fn an_answer_is_taken_for_its_own_connection_and_what_came_before_from_the_first() {
    let mut alice = pursuit();
    listing(&mut alice, 1, &[connection("a", 0), connection("b", 0)]);
    let first = vec![ended("a", Status::Other("new".to_owned()), Status::Terminating, None)];
    told(&mut alice, &["a", "b"], Ok(first));
    told(&mut alice, &["a"], Ok(vec![ended("a", Status::Terminating, Status::Terminating, None)]));
    let receipts = alice.connections();
    let of = |n: usize| (receipts[n].previous_status.code(), receipts[n].current_status.code());
    assert_eq!((of(0), of(1)), (("new", "terminating"), ("active", "active")));
    assert_eq!((receipts[0].request_id.as_deref(), receipts[1].request_id.as_deref()), (Some("r-1"), None));
    assert!(alice.needs_a_call(), "the other is not on its way out");
    told(&mut alice, &["b"], Ok(vec![ended("b", Status::Active, Status::Terminating, None)]));
    assert!(!alice.needs_a_call() && alice.left() == 2, "patience, not a call");
    assert!(Pursuit { blocked: Some("away".to_owned()), ..alice }.needs_a_call());
}

#[test]
fn what_went_wrong_with_a_connection_is_told_until_it_is_over() {
    let mut alice = pursuit();
    listing(&mut alice, 1, &[connection("a", 0)]);
    let error = |alice: &Pursuit| alice.connections()[0].error.clone();
    told(&mut alice, &["a"], Ok(vec![ended("a", Status::Active, Status::FailedToTerminate, Some("busy"))]));
    assert_eq!(error(&alice).as_deref(), Some("Client VPN failed to terminate it: busy"));
    told(&mut alice, &["a"], Ok(vec![ended("a", Status::Active, Status::FailedToTerminate, None)]));
    assert_eq!(error(&alice).as_deref(), Some("Client VPN failed to terminate it: no reason given"));
    told(&mut alice, &["a"], Err(VpnErrorKind::Other));
    alice.hears(0, &endpoint("e"), &ConnectionId::new("a"), Some(&Status::Terminating));
    assert_eq!(error(&alice).as_deref(), Some("no"), "it is alive");
    alice.hears(0, &endpoint("e"), &ConnectionId::new("a"), Some(&Status::Terminated));
    assert_eq!((error(&alice), alice.left()), (None, 0));
}

#[test]
fn who_was_spared_and_lives_on_is_owed_a_refusal() {
    let sees = |spared: &[(&str, Spared)]| {
        let mut alice = pursuit();
        for (id, why) in spared {
            alice.sees(0, &endpoint("e"), &connection(id, 0), Some(why.clone()));
        }
        alice
    };
    let protected = |id| (id, Spared::Protected(name("ceo")));
    let shared = |id| (id, Spared::SharedCertificate);
    assert_eq!(sees(&[]).spared_refusal(), None);
    assert_eq!(sees(&[protected("a"), protected("b")]).spared_refusal(), Some(Refusal::ProtectedConnections(2)));
    assert_eq!(sees(&[protected("a"), shared("b")]).spared_refusal(), Some(Refusal::SharedCertificate(1)));
    let mut alice = sees(&[protected("a"), protected("b"), protected("c")]);
    assert_eq!((alice.left(), alice.alive_in_listing, alice.needs_a_call()), (0, 0, false), "nothing of it is to end");
    assert_eq!(alice.connections()[0].error.as_deref(), Some("left alone: `ceo` is protected"));
    alice.hears(0, &endpoint("e"), &ConnectionId::new("a"), Some(&Status::Terminated));
    alice.hears(0, &endpoint("e"), &ConnectionId::new("b"), None);
    assert_eq!(alice.spared_refusal(), Some(Refusal::ProtectedConnections(1)), "one is over and one is gone");
    alice.begin_listing();
    alice.judge(&listed(10), &policy());
    assert_eq!(alice.state, State::Refused(Refusal::ProtectedConnections(1)));
}

#[test]
fn what_a_full_listing_no_longer_shows_is_not_left() {
    let mut alice = pursuit();
    listing(&mut alice, 1, &[connection("a", 0), connection("b", 0)]);
    listing(&mut alice, 2, &[connection("a", 0)]);
    let left: Vec<ConnectionId> = alice.ids_to_end().into_iter().map(|(_, _, id)| id).collect();
    assert_eq!((left, alice.left()), (vec![ConnectionId::new("a")], 1));
    listing(&mut alice, 3, &[connection("a", 0), connection("b", 0)]);
    assert_eq!(alice.left(), 2, "a listing may lag behind");
}

#[test]
fn a_connection_is_asked_about_on_its_own_endpoint() {
    let mut alice = pursuit();
    alice.sees(0, &endpoint("here"), &connection("a", 0), None);
    alice.sees(0, &endpoint("there"), &connection("b", 0), None);
    let on = |id: &str| alice.some_connection_on(&EndpointId::new(id));
    assert_eq!((on("here"), on("there")), (Some(ConnectionId::new("a")), Some(ConnectionId::new("b"))));
    assert_eq!(on("elsewhere"), None);
}

#[test]
fn giving_up_says_what_is_left_and_why() {
    let with = |rows: usize, trouble: Option<&str>| {
        let mut alice = pursuit();
        for n in 0..rows {
            alice.sees(0, &endpoint("e"), &connection(&format!("c-{n}"), 0), None);
        }
        alice.judge(&Pass { trouble: trouble.map(str::to_owned), ..listed(1) }, &policy());
        alice.what_is_left()
    };
    assert_eq!(with(0, Some("e could not be listed")), "e could not be listed");
    assert_eq!(with(2, Some("e could not be listed")), "still alive: 2; e could not be listed");
    assert_eq!(with(2, None), "still alive: 2; it is tried again");
    assert!(with(0, None).starts_with("the listing that would prove it could not begin in time"));
}

#[test]
fn one_connection_is_judged_by_its_own_endpoint() {
    let seen = |endpoint: &Endpoint, error: Option<&str>| EndpointReceipt {
        region: endpoint.target.region.clone(),
        account: endpoint.target.account.clone(),
        endpoint_id: endpoint.id.clone(),
        permitted: None,
        error: error.map(str::to_owned),
    };
    let at_home = endpoint("here");
    let elsewhere = |region: &str, account: &str| {
        let target = Target { region: region.to_owned(), account: Some(account.to_owned()) };
        Endpoint { target: Arc::new(target), ..endpoint("here") }
    };
    let pass = |endpoints: Vec<EndpointReceipt>| Pass { endpoints, trouble: Some("all".to_owned()), ..listed(10) };
    let others = [endpoint("there"), elsewhere("us-east-1", "111122223333"), elsewhere("eu-west-1", "444455556666")];
    for other in &others {
        let beside = pass(vec![seen(other, Some("denied")), seen(&at_home, None)]);
        assert_eq!(beside.trouble_on(&at_home), None, "{other:?}");
    }
    assert_eq!(pass(vec![seen(&at_home, Some("denied"))]).trouble_on(&at_home).as_deref(), Some("denied"));
    assert_eq!(pass(vec![seen(&others[0], None)]).trouble_on(&at_home).as_deref(), Some("all"), "it was not looked at");

    let goal = Goal::One { endpoint: at_home.clone(), connection: ConnectionId::new("c") };
    let mut one = Pursuit { goal, ..pursuit() };
    one.judge(&pass(vec![seen(&at_home, None)]), &policy());
    assert_eq!(one.state, State::Verified(at(11)), "what is wrong elsewhere says nothing of it");
}
