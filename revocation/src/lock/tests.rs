use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::name::{PersonId, Subject};
use crate::signal::{About, Via};
use crate::signal::{Action, Signal};

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + second * 1000)
}

fn signal(authority: &str, action: Action, as_of: i64) -> Signal {
    Signal {
        id: SignalId::new(&format!("{authority}-{as_of}-{}", action.word())),
        action,
        about: vec![About::Subject(Subject::new("alice").unwrap())],
        authority: Authority::named(authority),
        as_of: at(as_of),
        occurred_at: None,
        received_at: at(as_of),
        source: "test".to_owned(),
        actor: None,
        reason: None,
        dry_run: false,
        force: false,
        replay: None,
        via: Via::Direct,
    }
}

fn revoke(authority: &str, as_of: i64) -> Signal {
    signal(authority, Action::Revoke { expires_at: None }, as_of)
}

fn revoke_until(authority: &str, as_of: i64, until: i64) -> Signal {
    signal(authority, Action::Revoke { expires_at: Some(at(until)) }, as_of)
}

fn restore(authority: &str, as_of: i64) -> Signal {
    signal(authority, Action::Restore { authorities: Some(vec![Authority::named(authority)]) }, as_of)
}

fn restore_all(as_of: i64) -> Signal {
    signal("command", Action::Restore { authorities: None }, as_of)
}

fn none() -> Lock {
    Lock::none(Name::new("alice").unwrap())
}

fn after(signals: &[Signal]) -> Lock {
    signals.iter().fold(none(), |lock, signal| match lock.apply(signal, "alice", &[]) {
        Transition::Changed(next) => next,
        Transition::Unchanged | Transition::Superseded { .. } => lock,
    })
}

#[test]
fn a_revocation_locks_and_its_authoritys_restore_unlocks() {
    assert!(after(&[revoke("okta:acme", 1)]).in_force(at(5)));
    let lock = after(&[revoke("okta:acme", 1), restore("okta:acme", 2)]);
    assert!(!lock.in_force(at(5)));
    assert_eq!(lock.version, 2);
    assert_eq!(lock.state(), HoldState::Released);
}

#[test]
fn what_is_lifted_without_an_id_is_of_whom_it_was_said_and_of_nobody_else() {
    let okta = Authority::named("okta:acme");
    let who = Subject::new("alice").unwrap().who_is(PersonId::new("00u1"));
    let lock = after(&[Signal { about: vec![About::Subject(who)], ..revoke("okta:acme", 1) }]);
    let person_after_restore = |lock: &Lock| {
        let Transition::Changed(next) = lock.apply(&restore("okta:acme", 2), "alice", &[]) else {
            panic!("it is locked")
        };
        next.holds[&okta].person.clone()
    };
    assert_eq!(person_after_restore(&lock), Some(PersonId::new("00u1")));
    let mut bobs = lock;
    bobs.holds.get_mut(&okta).unwrap().subject = "bob".to_owned();
    assert_eq!(person_after_restore(&bobs), None);
}

#[test]
fn a_late_revocation_is_told_since_when_the_name_is_let_in() {
    // The own name, and a name that she was given.
    for name in ["alice", "laptop-7"] {
        let told = [revoke("okta:acme", 1), restore("okta:acme", 3)];
        let lock = told.iter().fold(Lock::none(Name::new(name).unwrap()), |lock, signal| {
            let Transition::Changed(next) = lock.apply(signal, "alice", &[]) else { panic!("{signal:?}") };
            next
        });
        let late = lock.apply(&revoke("okta:acme", 2), "alice", &[]);
        assert_eq!(late, Transition::Superseded { by: Authority::named("okta:acme"), as_of: at(3) }, "{name}");
    }
}

#[test]
fn a_lock_is_written_again_only_where_it_was_made_good() {
    let stored = after(&[revoke("okta:acme", 1), restore("okta:acme", 2)]);
    assert_eq!(Transition::Unchanged.of_stored(&stored, stored.clone()), Transition::Unchanged);
    let made_good = Lock { holds: after(&[restore("okta:acme", 3)]).holds, ..stored.clone() };
    let Transition::Changed(next) = Transition::Unchanged.of_stored(&stored, made_good.clone()) else { panic!() };
    assert_eq!((next.holds, next.version), (made_good.holds, stored.version + 1));
}

#[test]
fn on_a_tie_the_revocation_wins_in_either_order() {
    for signals in
        [[revoke("okta:acme", 1), restore("okta:acme", 1)], [restore("okta:acme", 1), revoke("okta:acme", 1)]]
    {
        assert!(after(&signals).in_force(at(5)));
    }
}

#[test]
fn a_restore_lifts_only_its_own_hold() {
    let lock = after(&[revoke("okta:acme", 1), revoke("command", 1), restore("okta:acme", 2)]);
    assert_eq!(lock.held_by(at(5)), vec![Authority::command()]);
}

#[test]
fn a_command_lifts_every_hold_unless_it_names_some() {
    let held = [revoke("okta:acme", 1), revoke("entra:contoso", 2), revoke("command", 3)];
    let all = after(&[&held[..], &[restore_all(4)]].concat());
    assert!(!all.in_force(at(5)));
    let mut named = restore_all(4);
    named.action = Action::Restore { authorities: Some(vec![Authority::named("okta:acme")]) };
    let some = after(&[&held[..], &[named]].concat());
    assert_eq!(some.held_by(at(5)).len(), 2);
}

#[test]
fn lifting_everything_makes_nothing_younger_that_was_lifted_before() {
    let lifted = [revoke("okta:acme", 1), restore("okta:acme", 2), revoke("siem", 3), restore_all(10)];
    assert!(!after(&lifted).in_force(at(20)));
    let said_meanwhile = [&lifted[..], &[revoke("okta:acme", 5)]].concat();
    assert!(after(&said_meanwhile).in_force(at(20)), "what its authority said meanwhile arrives late and counts");
    let of_what_stood = [&lifted[..], &[revoke("siem", 5)]].concat();
    assert!(!after(&of_what_stood).in_force(at(20)), "what was lifted by this is lifted as of this");
}

#[test]
fn what_is_known_from_before_changes_only_what_is_about_the_same_subject() {
    let own = name("alice");
    let about = |subject: &str| changed(Lock::none(name("laptop-7")).apply(&revoke("okta:acme", 1), subject, &[]));
    for signal in [revoke("okta:acme", 5), restore("okta:acme", 5), restore_all(5)] {
        assert_eq!(about("bob").apply_where_about(&signal, "alice", &own, at(9)), None);
        assert_eq!(Lock::none(name("laptop-7")).apply_where_about(&signal, "alice", &own, at(9)), None);
    }
    let hers = about("Alice");
    let goes_on = changed(hers.apply_where_about(&revoke("okta:acme", 5), "alice", &own, at(9)).unwrap());
    assert_eq!(goes_on.hold_of(&Authority::named("okta:acme")).unwrap().as_of, at(5));
    for restore in [restore("okta:acme", 5), restore_all(5)] {
        let lifted = changed(hers.apply_where_about(&restore, "alice", &own, at(9)).unwrap());
        assert!(!lifted.in_force(at(9)));
        assert_eq!(
            lifted.apply_where_about(&revoke("okta:acme", 7), "alice", &own, at(9)),
            None,
            "and does not begin again"
        );
    }
    let unchanged = hers.apply_where_about(&restore("siem", 5), "alice", &own, at(9));
    assert_eq!(unchanged, Some(Transition::Unchanged), "it is hers, and held by another");
}

#[test]
fn lifting_everything_under_a_name_from_before_lifts_what_stands_and_leaves_its_word() {
    let own = name("alice");
    let lock = after(&[revoke("okta:acme", 1), restore("okta:acme", 2), revoke("siem", 3)]);
    let lifted = changed(lock.apply_where_about(&restore_all(10), "alice", &own, at(10)).unwrap());
    assert!(!lifted.in_force(at(20)));
    let as_of = |authority: &str| lifted.hold_of(&Authority::named(authority)).map(|hold| hold.as_of);
    assert_eq!(as_of("okta:acme"), Some(at(2)), "what was lifted before is not made younger");
    assert_eq!((as_of("siem"), as_of("command")), (Some(at(10)), Some(at(10))));

    let was_hers = after(&[revoke("okta:acme", 1), restore("okta:acme", 2)]);
    let nothing = was_hers.apply_where_about(&restore_all(10), "alice", &own, at(10));
    assert_eq!(nothing, Some(Transition::Unchanged), "where nothing stands nothing is said: others may have it by now");

    let bobs = changed(lock.apply(&revoke("command", 4), "bob", &[]));
    let lifted = changed(bobs.apply_where_about(&restore_all(10), "alice", &own, at(10)).unwrap());
    assert_eq!(lifted.held_by(at(20)), [Authority::named("command")], "what a command said of bob stands");
}

#[test]
fn a_name_from_before_is_not_locked_again_where_its_hold_lapsed() {
    let lapsed = after(&[revoke_until("okta:acme", 1, 5)]);
    let again = revoke("okta:acme", 6);
    assert!(lapsed.apply_where_about(&again, "alice", &name("alice"), at(4)).is_some());
    assert_eq!(lapsed.apply_where_about(&again, "alice", &name("alice"), at(6)), None);
}

#[test]
fn a_name_goes_with_whom_it_was_given_to_last() {
    let mine = changed(Lock::none(name("laptop-7")).apply(&revoke("okta:acme", 10), "alice", &[]));
    let bobs = changed(Lock::none(name("bob")).apply(&revoke("okta:acme", 5), "bob", &[]));
    let subject = |lock: Lock| lock.hold_of(&Authority::named("okta:acme")).unwrap().subject.clone();
    assert_eq!(subject(changed(mine.follow(&bobs, at(20)))), "bob");
    assert_eq!(subject(changed(mine.apply(&revoke("okta:acme", 5), "bob", &[]))), "bob");
}

#[test]
fn a_restore_without_a_hold_is_remembered_against_an_older_revocation() {
    let lock = after(&[restore("okta:acme", 5)]);
    assert_eq!(
        lock.apply(&revoke("okta:acme", 4), "alice", &[]),
        Transition::Superseded { by: Authority::named("okta:acme"), as_of: at(5) }
    );
    assert!(
        matches!(lock.apply(&revoke("okta:acme", 6), "alice", &[]), Transition::Changed(next) if next.in_force(at(7)))
    );
}

#[test]
fn an_older_restore_is_superseded_by_a_newer_hold() {
    let lock = after(&[revoke("okta:acme", 5)]);
    assert_eq!(
        lock.apply(&restore("okta:acme", 4), "alice", &[]),
        Transition::Superseded { by: Authority::named("okta:acme"), as_of: at(5) }
    );
}

#[test]
fn a_further_revocation_never_shortens_a_hold() {
    let lock = after(&[revoke("okta:acme", 1), revoke_until("okta:acme", 2, 100)]);
    assert_eq!(lock.expires_at(), None);
    assert!(lock.in_force(at(1000)));
    let lock = after(&[revoke_until("okta:acme", 1, 200), revoke_until("okta:acme", 2, 100)]);
    assert_eq!(lock.expires_at(), Some(at(200)));
}

#[test]
fn a_hold_lapses_at_its_expiry_and_not_before() {
    let lock = after(&[revoke_until("command", 1, 100)]);
    assert!(lock.in_force(at(100).minus(std::time::Duration::from_millis(1))));
    assert!(!lock.in_force(at(100)));
    assert_eq!(lock.state(), HoldState::Locked, "the stored state does not change by itself");
}

#[test]
fn the_same_statement_twice_changes_nothing() {
    let lock = after(&[revoke("okta:acme", 1)]);
    assert_eq!(lock.apply(&revoke("okta:acme", 1), "alice", &[]), Transition::Unchanged);
    let lock = after(&[restore("okta:acme", 1)]);
    assert_eq!(lock.apply(&restore("okta:acme", 1), "alice", &[]), Transition::Unchanged);
}

fn any_signal() -> impl Strategy<Value = Signal> {
    (0..3_usize, 0..3_u8, 0..12_i64, 0..30_i64).prop_map(|(authority, kind, as_of, until)| {
        let authority = ["okta:acme", "entra:contoso", "command"][authority];
        match kind {
            0 => revoke(authority, as_of),
            1 => revoke_until(authority, as_of, until),
            _ => restore(authority, as_of),
        }
    })
}

proptest! {
    /// Delivery is unordered. Whatever the order, each authority's last word decides whether its hold is locked.
    #[test]
    fn the_newest_fact_of_each_authority_decides_in_any_order(
        signals in proptest::collection::vec(any_signal(), 1..12).prop_shuffle(),
    ) {
        let lock = after(&signals);
        for authority in signals.iter().map(|signal| &signal.authority) {
            let newest = signals
                .iter()
                .filter(|signal| signal.authority == *authority)
                .max_by_key(|signal| (signal.as_of, matches!(signal.action, Action::Revoke { .. })))
                .unwrap();
            let hold = lock.hold_of(authority).unwrap();
            let expected = matches!(newest.action, Action::Revoke { .. });
            prop_assert_eq!(hold.state == HoldState::Locked, expected, "{}", authority);
            prop_assert_eq!(hold.as_of, newest.as_of);
        }
    }

    /// A repeated delivery changes nothing, wherever it falls.
    #[test]
    fn a_repeat_right_away_changes_nothing(signals in proptest::collection::vec(any_signal(), 1..8)) {
        let lock = after(&signals);
        let last = signals.last().unwrap();
        if let Transition::Changed(next) = lock.apply(last, "alice", &[]) {
            prop_assert!(false, "{last:?} changed {lock:?} to {next:?}");
        }
    }

    /// Each write is guarded: a change raises the version by one, and nothing else touches it.
    #[test]
    fn each_change_raises_the_version_by_one(signals in proptest::collection::vec(any_signal(), 1..8), next in any_signal()) {
        let lock = after(&signals);
        if let Transition::Changed(changed) = lock.apply(&next, "alice", &[]) {
            prop_assert_eq!(changed.version, lock.version + 1);
            prop_assert_ne!(changed.holds, lock.holds);
        }
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn changed(transition: Transition) -> Lock {
    match transition {
        Transition::Changed(next) => next,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hold_remembers_the_further_names_that_it_was_said_of() {
    let okta = Authority::named("okta:acme");
    let meant = |lock: &Lock| lock.further_names(|authority, _| *authority == okta);
    let locked = changed(none().apply(&revoke("okta:acme", 1), "alice", &[name("laptop-7")]));
    let tried_again = changed(locked.apply(&revoke("okta:acme", 1), "alice", &[name("laptop-8")]));
    assert_eq!(meant(&tried_again), [name("laptop-7"), name("laptop-8")], "under another name by then");
    assert_eq!(tried_again.apply(&revoke("okta:acme", 1), "alice", &[name("laptop-7")]), Transition::Unchanged);
    let lifted = changed(tried_again.apply(&restore("okta:acme", 2), "alice", &[]));
    assert_eq!(meant(&lifted), [name("laptop-7"), name("laptop-8")], "a restore that was cut off lifts the rest");
    let anew = changed(lifted.apply(&revoke("okta:acme", 3), "alice", &[name("laptop-9")]));
    let all = [name("laptop-7"), name("laptop-8"), name("laptop-9")];
    assert_eq!(meant(&anew), all, "the restore may have been cut off");
    let extended = changed(anew.extend(&[name("laptop-10")], &BTreeSet::new(), at(4)));
    assert_eq!(meant(&extended), [&[name("laptop-10")], &all[..]].concat());
    assert_eq!(
        lifted.extend(&[name("laptop-1")], &BTreeSet::new(), at(4)),
        Transition::Unchanged,
        "nothing is in force"
    );
}

#[test]
fn a_name_given_later_follows_the_subjects_own() {
    let laptop = Lock::none(name("laptop-7"));
    let own = after(&[revoke_until("okta:acme", 1, 100), revoke("siem", 2), restore("siem", 3)]);
    let followed = changed(laptop.follow(&own, at(4)));
    assert_eq!(followed.held_by(at(4)), [Authority::named("okta:acme")]);
    assert_eq!(followed.follow(&own, at(4)), Transition::Unchanged);
    let longer = changed(own.apply(&revoke("okta:acme", 5), "alice", &[]));
    assert_eq!(changed(followed.follow(&longer, at(6))).expires_at(), None, "lengthened");
    let lifted = changed(longer.apply(&restore("okta:acme", 7), "alice", &[]));
    assert!(!changed(followed.follow(&lifted, at(8))).in_force(at(8)), "lifted there, lifted here");
    let let_in = changed(followed.apply(&restore("okta:acme", 4), "laptop-7", &[]));
    assert_eq!(let_in.follow(&own, at(5)), Transition::Unchanged, "what was said later of this name stands");
}

#[test]
fn a_held_name_says_by_whom_and_a_lapsed_or_lifted_hold_holds_nobody() {
    let lock = after(&[revoke_until("entra:contoso", 1, 100), revoke("okta:acme", 2), restore("siem", 3)]);
    let (authority, hold) = lock.held(at(50)).unwrap();
    assert_eq!((authority.as_str(), hold.as_of), ("entra:contoso", at(1)), "the first");
    assert_eq!(lock.held(at(100)).unwrap().0.as_str(), "okta:acme", "the other has lapsed");
    assert_eq!(after(&[restore("okta:acme", 1)]).held(at(5)), None);
}

#[test]
fn the_words_in_the_table_read_back() {
    for state in [HoldState::Locked, HoldState::Released] {
        assert_eq!(HoldState::from_word(state.word()), Some(state));
    }
    assert_eq!((HoldState::Locked.word(), HoldState::Released.word()), ("locked", "released"));
    assert_eq!(HoldState::from_word("Locked"), None);
}

#[test]
fn a_hold_comes_into_force_newly_once() {
    let okta = Authority::named("okta:acme");
    let (open, held) = (none(), after(&[revoke_until("okta:acme", 1, 100)]));
    assert!(open.newly_held(&held, &okta, at(5)));
    assert!(!held.newly_held(&held, &okta, at(5)), "it was in force before");
    assert!(!open.newly_held(&held, &okta, at(100)), "it has lapsed");
    assert!(!open.newly_held(&held, &Authority::command(), at(5)), "another authority's");
    let longer = after(&[revoke("okta:acme", 1)]);
    assert!(held.newly_held(&longer, &okta, at(100)), "it lapsed and comes again");
}

#[test]
fn a_signal_tried_again_makes_its_hold_neither_younger_nor_longer() {
    let first = revoke_until("command", 1, 100);
    let lock = after(std::slice::from_ref(&first));
    let again = Signal { id: first.id.clone(), ..revoke_until("command", 50, 150) };
    assert_eq!(lock.apply(&again, "alice", &[]), Transition::Unchanged);
    // Under a further name it is as it is under the own one, which may have been lifted between the two.
    let laptop = changed(laptop("alice", &[first]).apply(&again, "alice", &[]));
    let hold = laptop.hold_of(&Authority::command()).unwrap();
    assert_eq!((hold.as_of, hold.expires_at), (at(50), Some(at(150))));
}

#[test]
fn of_two_revocations_of_one_instant_the_first_stands() {
    let [first, second] = ["first", "second"].map(|id| Signal { id: SignalId::new(id), ..revoke("okta:acme", 1) });
    assert_eq!(after(std::slice::from_ref(&first)).apply(&second, "alice", &[]), Transition::Unchanged);
}

#[test]
fn a_restore_of_everything_lifts_what_is_older_and_is_superseded_where_nothing_is() {
    let newer = after(&[revoke("okta:acme", 5)]);
    let superseded = Transition::Superseded { by: Authority::named("okta:acme"), as_of: at(5) };
    assert_eq!(newer.apply(&restore_all(4), "alice", &[]), superseded);
    let lifted = after(&[revoke("okta:acme", 5), revoke("entra:contoso", 2), restore_all(4)]);
    assert_eq!(lifted.held_by(at(6)), [Authority::named("okta:acme")]);
    let since = after(&[restore("entra:contoso", 2), revoke("okta:acme", 5)]);
    assert_eq!(since.apply(&restore_all(4), "alice", &[]), superseded, "what was lifted before is no help");
}

#[test]
fn what_says_nothing_of_a_lock_leaves_it_as_it_is() {
    let lock = after(&[revoke("okta:acme", 1)]);
    for action in [Action::Disconnect, Action::Ask, Action::CloseBreaker, Action::Sweep] {
        assert_eq!(lock.apply(&signal("okta:acme", action, 9), "alice", &[name("laptop-7")]), Transition::Unchanged);
    }
}

/// A further name's lock, of which this was said as one of the subject's.
fn laptop(subject: &str, said: &[Signal]) -> Lock {
    said.iter().fold(Lock::none(name("laptop-7")), |lock, signal| changed(lock.apply(signal, subject, &[])))
}

/// A further name's lock after following its subject's own; as it was where nothing changes.
fn following(own: &[Signal], laptop: Lock, now: i64) -> Lock {
    match laptop.follow(&after(own), at(now)) {
        Transition::Changed(next) => next,
        _ => laptop,
    }
}

#[test]
fn what_lapsed_or_was_lifted_at_the_same_instant_there_lifts_nothing_here() {
    let here = revoke("command", 5);
    for own in [vec![revoke_until("command", 6, 7)], vec![revoke("command", 1), restore("command", 5)]] {
        let lock = following(&own, laptop("alice", std::slice::from_ref(&here)), 9);
        assert_eq!(lock.held_by(at(1000)), [Authority::command()], "{own:?}");
    }
    let lifted_later = [revoke("command", 1), restore("command", 6)];
    assert!(!following(&lifted_later, laptop("alice", &[here]), 9).in_force(at(9)));
}

#[test]
fn what_was_lifted_as_somebody_elses_does_not_stand_where_the_name_follows_its_subject() {
    let laptop = changed(Lock::none(name("laptop-7")).apply(&revoke("okta:acme", 1), "alice", &[]));
    let alices = changed(none().apply(&revoke("okta:acme", 1), "alice", &[name("laptop-7")]));
    let of_bob = changed(laptop.apply(&restore_all(5), "bob", &[]));
    assert!(!of_bob.in_force(at(6)));
    assert!(changed(of_bob.follow(&alices, at(6))).in_force(at(6)), "alice is kept out still");
    let by_itself = changed(laptop.apply(&restore_all(5), "laptop-7", &[]));
    assert_eq!(by_itself.follow(&alices, at(6)), Transition::Unchanged);
}

#[test]
fn what_was_said_later_of_a_further_name_stands_and_on_a_tie_the_revocation_wins() {
    let held = |own: &[Signal], of_name: &[Signal]| following(own, laptop("laptop-7", of_name), 9).in_force(at(9));
    let (revoked, lifted) = (revoke("okta:acme", 5), [revoke("okta:acme", 1), restore("okta:acme", 5)]);
    assert!(held(std::slice::from_ref(&revoked), &[restore("okta:acme", 4)]));
    assert!(held(std::slice::from_ref(&revoked), &[restore("okta:acme", 5)]), "on a tie");
    assert!(!held(std::slice::from_ref(&revoked), &[restore("okta:acme", 6)]));
    assert!(held(&lifted, &[revoke("okta:acme", 4)]), "of the name by itself");
    let of_alice = |as_of| following(&lifted, laptop("alice", &[revoke("okta:acme", as_of)]), 9).in_force(at(9));
    assert!(!of_alice(4), "lifted there, lifted here");
    assert!(of_alice(6), "said later");
    let lapsed = [revoke_until("okta:acme", 1, 2)];
    assert_eq!(
        following(&lifted, laptop("laptop-7", &lapsed), 9),
        laptop("laptop-7", &lapsed),
        "nothing is in force that could be lifted"
    );
}

#[test]
fn following_never_shortens_a_hold_and_takes_the_newest_word() {
    let of = |own: &[Signal], of_name: &[Signal]| {
        let lock = following(own, laptop("alice", of_name), 9);
        let hold = lock.hold_of(&Authority::named("okta:acme")).unwrap();
        (hold.as_of, hold.expires_at)
    };
    let [without_end, until_50] = [revoke("okta:acme", 3), revoke_until("okta:acme", 3, 50)];
    for (as_of, newest) in [(2, 3), (4, 4)] {
        let of_name = [revoke("okta:acme", as_of)];
        assert_eq!(of(std::slice::from_ref(&until_50), &of_name), (at(newest), None));
        let of_name = [revoke_until("okta:acme", as_of, 70)];
        assert_eq!(of(std::slice::from_ref(&until_50), &of_name), (at(newest), Some(at(70))));
        assert_eq!(of(std::slice::from_ref(&without_end), &of_name), (at(newest), None));
    }
    let lapsed = [revoke_until("okta:acme", 4, 5)];
    assert_eq!(of(std::slice::from_ref(&until_50), &lapsed), (at(3), Some(at(50))), "what lapsed here is no word");
    let other_id = Signal { id: SignalId::new("other"), ..revoke("okta:acme", 3) };
    let own = std::slice::from_ref(&without_end);
    let other = laptop("alice", &[other_id]);
    assert_eq!(following(own, other.clone(), 9), other, "of one instant, its own");
}

#[test]
fn only_the_subjects_own_lock_keeps_further_names() {
    let own = changed(none().apply(&revoke("okta:acme", 1), "alice", &[name("laptop-7")]));
    let followed = changed(Lock::none(name("laptop-7")).follow(&own, at(2)));
    assert_eq!(followed.further_names(|_, _| true), []);
    assert_eq!(own.further_names(|_, _| true), [name("laptop-7")]);
    assert_eq!(own.further_names(|_, _| false), []);
}

#[test]
fn what_is_said_of_two_at_once_is_said_of_a_name_by_itself_where_it_is_one_of_them() {
    let both = revoke("okta:acme", 10);
    let okta = Authority::named("okta:acme");
    let subject = |lock: &Lock| lock.hold_of(&okta).unwrap().subject.clone();
    let as_alices = changed(Lock::none(name("bob")).apply(&both, "alice", &[]));
    let bobs = changed(as_alices.apply(&both, "bob", &[]));
    assert_eq!(subject(&bobs), "bob");
    assert_eq!(bobs.apply(&both, "alice", &[]), Transition::Unchanged);
}

#[test]
fn a_name_that_follows_another_keeps_the_names_it_was_told_of() {
    let okta = Authority::named("okta:acme");
    let bobs = changed(Lock::none(name("bob")).apply(&revoke_until("okta:acme", 1, 5), "bob", &[name("phone")]));
    let alices = changed(Lock::none(name("alice")).apply(&revoke("okta:acme", 2), "alice", &[]));
    let followed = changed(bobs.follow(&alices, at(3)));
    let hold = followed.hold_of(&okta).unwrap();
    assert_eq!((hold.names.clone(), hold.expires_at), (vec![name("phone")], None));
}

#[test]
fn a_lock_tells_whose_word_was_lifted_and_what_one_authority_says_of_whom() {
    let okta = Authority::named("okta:acme");
    let laptop = Lock::none(name("laptop-7"));
    let of = |subject: &str| {
        let locked = changed(laptop.apply(&revoke("okta:acme", 1), subject, &[]));
        changed(locked.apply(&restore("okta:acme", 2), subject, &[]))
    };
    assert_eq!(of("alice").lifted_of_another(&okta, &name("bob")), Some(name("alice")));
    assert_eq!(of("bob").lifted_of_another(&okta, &name("bob")), None, "the subject's own");
    assert_eq!(of("laptop-7").lifted_of_another(&okta, &name("bob")), None, "of the name by itself");
    let held = changed(laptop.apply(&revoke("okta:acme", 1), "alice", &[]));
    assert_eq!(held.lifted_of_another(&okta, &name("bob")), None, "nothing was lifted");
    let only = held.only_hold_of(&okta, "bob");
    assert_eq!(only.hold_of(&okta).map(|hold| hold.subject.as_str()), Some("bob"));
    assert!(held.only_hold_of(&Authority::command(), "bob").holds.is_empty());
}

#[test]
fn a_name_needs_no_others_word_where_its_own_lasts_as_long() {
    let okta = Authority::named("okta:acme");
    let own = |until: Option<i64>| {
        laptop("laptop-7", &[until.map_or(revoke("okta:acme", 1), |at| revoke_until("okta:acme", 1, at))])
    };
    let of = |own: Lock, word: Signal| {
        let next = own.apply(&word, "alice", &[]);
        let lock = if let Transition::Changed(next) = next { next } else { own };
        let hold = lock.hold_of(&okta).unwrap();
        (hold.subject.clone(), hold.expires_at)
    };
    let [by_itself, alices] = ["laptop-7", "alice"].map(str::to_owned);
    assert_eq!(of(own(Some(50)), revoke_until("okta:acme", 2, 30)), (by_itself.clone(), Some(at(50))));
    assert_eq!(of(own(Some(50)), revoke_until("okta:acme", 2, 50)), (by_itself.clone(), Some(at(50))));
    assert_eq!(of(own(Some(50)), revoke_until("okta:acme", 2, 51)), (alices.clone(), Some(at(51))));
    assert_eq!(of(own(Some(50)), revoke("okta:acme", 2)), (alices, None));
    assert_eq!(of(own(None), revoke("okta:acme", 2)), (by_itself, None));
}

#[test]
fn what_was_lifted_at_the_same_instant_was_not_lifted_since() {
    let okta = Authority::named("okta:acme");
    let own = after(&[revoke("okta:acme", 5)]);
    let lifted = |as_of| laptop("alice", &[revoke("okta:acme", 1), restore("okta:acme", as_of)]);
    assert_eq!([4, 5, 6].map(|as_of| lifted(as_of).was_lifted_since(&own, &okta)), [false, false, true]);
    assert!(!laptop("alice", &[revoke("okta:acme", 6)]).was_lifted_since(&own, &okta), "nothing was lifted");
    assert!(!lifted(6).was_lifted_since(&none(), &okta), "nothing is said there");
}

#[test]
fn a_release_says_of_whom_the_hold_was_until_it_is_released_again() {
    let okta = Authority::named("okta:acme");
    let about = |lock: &Lock| lock.hold_of(&okta).unwrap().subject.clone();
    let alices = laptop("alice", &[revoke("okta:acme", 1)]);
    let by_itself = changed(alices.apply(&restore("okta:acme", 2), "laptop-7", &[]));
    assert_eq!(about(&by_itself), "laptop-7");
    let as_bobs = changed(alices.apply(&restore("okta:acme", 2), "bob", &[]));
    assert_eq!(about(&as_bobs), "alice", "it was said of her");
    assert_eq!(about(&changed(as_bobs.apply(&restore("okta:acme", 3), "bob", &[]))), "bob");
}

#[test]
fn what_a_restore_has_left_is_a_leftover_unless_it_is_somebody_elses() {
    let own = Name::new("alice").unwrap();
    let id = |id: &str| Some(PersonId::new(id)).filter(|_| !id.is_empty());
    for (held_of, asked_of, is_left) in [
        ("", "", true),
        ("", "new", true),
        ("old", "OLD", true),
        ("old", "new", false),
        ("old", "", false),
        ("*", "old", false),
    ] {
        let locked = after(&[revoke("okta:acme", 1)]);
        let mut further = Lock { name: Name::new("laptop-7").unwrap(), ..locked };
        further.holds.values_mut().for_each(|hold| hold.person = id(held_of));
        let without = |lifted_at: i64| {
            further.without_leftover(&Authority::named("okta:acme"), (&own, id(asked_of).as_ref()), at(lifted_at))
        };
        assert_eq!(without(2).holds.is_empty(), is_left, "{held_of} {asked_of}");
        assert_eq!(without(1), further, "said at the same instant as it was lifted");
    }
}

#[test]
fn of_two_people_at_the_same_instant_the_own_name_stays_whose_it_was() {
    for (second, owner) in [(1, "old"), (2, "new")] {
        let said = |person: &str, as_of: i64| Signal {
            id: SignalId::new(person),
            about: vec![About::Subject(Subject::new("alice").unwrap().who_is(PersonId::new(person)))],
            ..revoke("okta:acme", as_of)
        };
        let lock = after(&[said("old", 1), said("new", second)]);
        let hold = lock.hold_of(&Authority::named("okta:acme")).unwrap();
        assert_eq!(hold.person, Some(PersonId::new(owner)));
    }
}

#[test]
fn a_further_name_that_follows_is_of_both_who_were_called_alike() {
    let of = |person: &str, as_of: i64| {
        let mut lock = after(&[revoke("okta:acme", as_of)]);
        lock.holds.values_mut().for_each(|hold| hold.person = Some(PersonId::new(person)));
        lock
    };
    for (stands, follows, whose) in [("old", "new", "*"), ("*", "new", "*"), ("new", "new", "new")] {
        let further = Lock { name: Name::new("laptop-7").unwrap(), ..of(stands, 1) };
        let Transition::Changed(next) = further.follow(&of(follows, 2), at(3)) else { panic!("{stands} {follows}") };
        let hold = next.hold_of(&Authority::named("okta:acme")).unwrap();
        assert_eq!(hold.person, Some(PersonId::new(whose)));
    }
}

/// A word of Okta's about `frank`, to whom `alice` was given.
fn of_frank(lock: &Lock, signal: &Signal) -> Lock {
    match lock.apply(signal, "frank", &[]) {
        Transition::Changed(next) => next,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_lifted_of_a_name_by_itself_stands_beneath_anothers_word() {
    let okta = Authority::named("okta:acme");
    let lifted = after(&[revoke("okta:acme", 1), restore("okta:acme", 3)]);
    assert_eq!(lifted.own_lifted_at(&okta), Some(at(3)));
    let mut lock = of_frank(&lifted, &revoke("okta:acme", 4));
    let old_news = Transition::Superseded { by: okta.clone(), as_of: at(3) };
    for next in [revoke("okta:acme", 5), restore("okta:acme", 6), revoke("okta:acme", 7)] {
        assert_eq!(
            (lock.own_lifted_at(&okta), lock.apply(&revoke("okta:acme", 2), "alice", &[])),
            (Some(at(3)), old_news.clone())
        );
        let alone = lock.without_holds_about_others(std::slice::from_ref(&okta));
        assert_eq!(alone.holds[&okta].about().as_ref(), Some(&alone.name));
        assert_eq!(alone.apply(&revoke("okta:acme", 2), "alice", &[]), old_news);
        assert!(
            !alone.in_force(at(9))
                && matches!(alone.apply(&revoke("okta:acme", 3), "alice", &[]), Transition::Changed(_))
        );
        lock = of_frank(&lock, &next);
    }
    let Transition::Changed(own) = lock.apply(&revoke("okta:acme", 3), "alice", &[]) else {
        panic!("on a tie it locks")
    };
    assert!(own.in_force(at(9)) && own.own_lifted_at(&okta).is_none());
    let never = of_frank(&none(), &revoke("okta:acme", 4));
    assert!(
        never.own_lifted_at(&okta).is_none()
            && matches!(never.apply(&revoke("okta:acme", 2), "alice", &[]), Transition::Changed(_))
    );
}

#[test]
fn what_was_let_in_on_the_own_name_says_nothing_of_another_that_follows_it() {
    let okta = Authority::named("okta:acme");
    let bobs = |name: &str, signals: &[Signal]| {
        let none = Lock::none(Name::new(name).unwrap());
        signals.iter().fold(none, |lock, signal| match lock.apply(signal, "bob", &[]) {
            Transition::Changed(next) => next,
            other => panic!("{other:?}"),
        })
    };
    let lifted = after(&[revoke("okta:acme", 1), restore("okta:acme", 3)]);
    let alice = [revoke("okta:acme", 4), restore("okta:acme", 5)].iter().fold(lifted, |lock, signal| {
        let Transition::Changed(next) = lock.apply(signal, "bob", &[]) else { panic!("{signal:?}") };
        next
    });
    let bob = bobs("bob", &[revoke("okta:acme", 2)]);
    let Transition::Changed(bob) = bob.follow(&alice, at(9)) else { panic!("it is lifted with the other") };
    assert!(!bob.in_force(at(9)) && alice.own_lifted_at(&okta).is_some() && bob.own_lifted_at(&okta).is_none());
}

#[test]
fn what_is_lifted_with_the_own_name_keeps_its_own_further_names() {
    let okta = Authority::named("okta:acme");
    let laptop = Name::new("laptop-7").unwrap();
    let own = [revoke("okta:acme", 1), restore("okta:acme", 3)].iter().fold(none(), |lock, signal| {
        let Transition::Changed(next) = lock.apply(signal, "alice", std::slice::from_ref(&laptop)) else {
            panic!("{signal:?}")
        };
        next
    });
    let Transition::Changed(further) = Lock::none(laptop).apply(&revoke("okta:acme", 1), "alice", &[]) else {
        panic!("it is locked")
    };
    let made_good = further.lifted_with(&own, None);
    assert!(!made_good.in_force(at(9)) && own.holds[&okta].names.len() == 1 && made_good.holds[&okta].names.is_empty());
    // What was said later stands, and so does what was lifted here by itself.
    let later = Hold { as_of: at(4), ..further.holds[&okta].clone() };
    let at_once = Hold { as_of: at(3), ..later.clone() };
    let lifted_before = Hold { state: HoldState::Released, ..further.holds[&okta].clone() };
    for hold in [later, at_once, lifted_before] {
        let further = Lock { holds: [(okta.clone(), hold)].into_iter().collect(), ..further.clone() };
        assert_eq!(further.lifted_with(&own, None), further);
    }
}

#[test]
fn a_restore_by_command_that_names_an_authority_makes_what_was_lifted_younger() {
    let named = signal("command", Action::Restore { authorities: Some(vec![Authority::named("okta:acme")]) }, 5);
    let lock = after(&[revoke("okta:acme", 1), restore("okta:acme", 2), named]);
    assert!(!lock.in_force(at(9)));
    assert!(matches!(lock.apply(&revoke("okta:acme", 4), "alice", &[]), Transition::Superseded { .. }));
}

#[test]
fn a_month_from_february_is_as_long_as_one_from_march() {
    let days = |days: u64| at(0).plus(Duration::from_secs(days * 24 * 3_600));
    let until = |ends| Signal { action: Action::Revoke { expires_at: Some(ends) }, ..revoke("command", 0) };
    let held = |ends| none().apply(&until(ends), "alice", &[]);
    let Transition::Changed(lock) = held(days(28)) else { panic!("it was not held") };
    let hold = lock.hold_of(&Authority::command()).unwrap();
    assert_eq!([28, 31, 32, 365].map(|longer| hold.ends_before(&until(days(longer)))), [false, false, true, true]);
    let another = Signal { id: SignalId::new("another"), ..until(days(365)) };
    assert!(!hold.ends_before(&another), "which judges by itself");
    let earlier = Signal { as_of: at(-3_600 * 24 * 7), ..until(days(28)) };
    assert!(!hold.ends_before(&earlier), "it ends no later, however long it lasts");
    let Transition::Changed(lock) = held(days(27)) else { panic!("it was not held") };
    assert!(lock.hold_of(&Authority::command()).unwrap().ends_before(&until(days(28))));
}

#[test]
fn lifting_for_a_former_owner_keeps_the_holds_age_and_spares_everybody_else() {
    let okta = Authority::named("okta:acme");
    let asmith =
        |hold: Hold| Lock { holds: [(okta.clone(), hold)].into_iter().collect(), ..Lock::none(name("asmith")) };
    let said = |subject: &str, person: Option<&str>| {
        let said = Lock::none(name("asmith")).apply(&revoke("okta:acme", 3), subject, &[]);
        let Transition::Changed(lock) = said else { panic!("{said:?}") };
        Hold { person: person.map(PersonId::new), ..lock.holds[&okta].clone() }
    };
    let of = |person: &str, signal: Signal| Signal {
        about: vec![About::Subject(Subject::new("ajones").unwrap().who_is(PersonId::new(person)))],
        ..signal
    };
    let let_go = |hold: Hold, signal: &Signal| asmith(hold).let_go(signal, "ajones", &name("ajones"));
    let lift = of("00u1", Signal { reason: Some("she is back".to_owned()), ..restore("okta:acme", 5) });
    for hold in [said("asmith@corp.example", Some("00u1")), said("ajones", Some("00u1")), said("ajones", None)] {
        let Some(Transition::Changed(next)) = let_go(hold, &lift) else { panic!("it is hers") };
        assert_eq!((next.in_force(at(9)), next.holds[&okta].as_of), (false, at(3)));
        // Whoever looks finds who let her in, and why.
        assert_eq!((&next.holds[&okta].signal_id, &next.holds[&okta].reason), (&lift.id, &lift.reason));
        assert_eq!(next.let_go(&of("00u1", restore_all(8)), "ajones", &name("ajones")), None, "once");
    }
    for hold in [
        said("asmith", Some("00u1")),
        said("asmith@corp.example", None),
        said("asmith@corp.example", Some("00u2")),
        said("ajones", Some("00u2")),
        Hold { as_of: at(5), ..said("ajones", Some("00u1")) },
    ] {
        assert_eq!(let_go(hold.clone(), &lift), None, "{hold:?}");
    }
    assert_eq!(let_go(said("ajones", Some("00u1")), &of("00u1", restore("siem", 5))), None);
    assert_eq!(let_go(said("ajones", Some("00u1")), &of("00u1", revoke("okta:acme", 5))), None);
}
