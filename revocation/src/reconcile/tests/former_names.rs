//! Names that a subject had before: what was said of them stands, and whoever has them now has nothing to do with it.

use super::identity::{ID, REVOKE};
use super::*;
use crate::alias::Aliases;

#[tokio::test]
async fn a_restore_that_was_overruled_and_is_said_again_is_finished_where_it_was_cut_off() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    let restore = world.command(Action::Restore { authorities: None }, "alice", "c-1");
    let early = Signal { as_of: world.now().minus(Duration::from_secs(60)), ..restore.clone() };
    world.clock.advance(Duration::from_secs(60));
    let again = Signal { as_of: world.now(), ..restore };
    world.calls.plan("locks.write laptop-7", 1, crate::memory::Mishap::Fails);
    let both = world.handle(vec![early, again.clone()]).await;
    assert_eq!(outcomes(&both), [Outcome::Superseded, Outcome::Incomplete]);
    assert!(!world.is_locked("alice") && world.is_locked("laptop-7"));
    assert_eq!(world.one(again.clone()).await.outcome, Outcome::Restored);
    assert!(!world.is_locked("laptop-7"));
    assert_eq!(world.one(again).await.outcome, Outcome::Restored, "once more it is a repeated delivery");
}

#[tokio::test]
async fn a_name_that_was_taken_away_since_is_still_meant_by_the_word_that_was_said_of_it() {
    for authorities in [Some(vec![Authority::producer("okta", Some("acme"))]), None] {
        let world = World::new();
        world.one(world.alias("alice", &["laptop-7"], false)).await;
        world.on(1, None, Some("laptop-7"));
        world.calls.plan("vpn.terminate", 1000, crate::memory::Mishap::Fails);
        assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Incomplete);
        world.calls.forget();
        world.one(world.alias("alice", &["laptop-7"], true)).await;
        assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
        assert_eq!(world.alive(), 0, "tried again, it means the same names");

        let siem = Signal { authority: Authority::named("siem"), id: SignalId::new("s-1"), ..world.revoke("alice") };
        assert_eq!(world.one(siem).await.subjects[0].names.len(), 1, "another's word was not said of it");
        world.on(1, None, Some("laptop-7"));
        let again = Signal { id: SignalId::new("okta:again"), ..world.revoke("alice") };
        assert_eq!((world.one(again).await.subjects[0].names.len(), world.alive()), (2, 0));

        world.clock.advance(Duration::from_secs(60));
        let back = world.command(Action::Restore { authorities }, "alice", "c-back");
        assert_eq!(world.one(back).await.outcome, Outcome::Restored);
        assert!(!world.is_locked("laptop-7"), "and lifted, it is lifted under all of them");
    }
}

#[tokio::test]
async fn a_restore_lifts_nothing_under_a_name_that_is_somebody_elses_by_now() {
    for authorities in [Some(vec![Authority::producer("okta", Some("acme"))]), None] {
        let world = World::new();
        world.one(world.alias("alice", &["laptop-7"], false)).await;
        world.one(world.revoke("alice")).await;
        world.one(world.alias("alice", &["laptop-7"], true)).await;
        world.clock.advance(Duration::from_secs(60));
        world.one(world.restore("alice")).await;
        assert!(!world.is_locked("laptop-7"));
        world.one(world.alias("bob", &["laptop-7"], false)).await;
        world.one(world.revoke("bob")).await;
        world.clock.advance(Duration::from_secs(60));
        let again = world.signal(Action::Restore { authorities }, "alice", "okta:again");
        let receipt = world.one(again).await;
        assert_eq!((receipt.outcome, receipt.subjects[0].names.len()), (Outcome::Restored, 1));
        assert!(world.is_locked("bob") && world.is_locked("laptop-7"));
    }
}

#[tokio::test]
async fn a_revocation_keeps_nobody_out_under_a_name_that_was_the_subjects_before() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    world.one(world.alias("alice", &["laptop-7"], true)).await;
    world.one(world.restore("laptop-7")).await;
    world.one(world.alias("bob", &["laptop-7"], false)).await;
    let bobs = world.on(1, None, Some("laptop-7"));
    world.clock.advance(Duration::from_secs(60));
    let again = Signal { id: SignalId::new("okta:again"), ..world.revoke("alice") };
    let receipt = world.one(again).await;
    assert_eq!((receipt.outcome, receipt.subjects[0].names.len()), (Outcome::Completed, 1));
    assert_eq!(world.vpn.alive(None), [bobs]);
    assert!(!world.is_locked("laptop-7"));
    let chain = &world.audit.chains()["alice"];
    assert_eq!(chain.last().unwrap().attributes()["detail"]["others_names"], serde_json::json!(["laptop-7"]));
}

#[tokio::test]
async fn whoever_has_a_former_name_of_the_subjects_is_not_kept_out_by_further_names_of_theirs() {
    let world = World::new();
    world.one(world.alias("alice", &["asmith"], false)).await;
    world.one(world.revoke("alice")).await;
    world.one(world.alias("alice", &["asmith"], true)).await;
    world.one(world.restore("asmith")).await;
    world.one(world.alias("asmith", &["asmith-phone"], false)).await;
    let newcomers = world.on(1, None, Some("asmith-phone"));
    world.clock.advance(Duration::from_secs(60));
    let again = Signal { id: SignalId::new("okta:again"), ..world.revoke("alice") };
    assert_eq!(world.one(again).await.outcome, Outcome::Completed);
    assert_eq!(world.vpn.alive(None), [newcomers]);
    assert!(!world.is_locked("asmith-phone"));
}

#[tokio::test]
async fn a_name_from_before_that_is_given_again_meanwhile_is_locked() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    world.one(world.alias("alice", &["laptop-7"], true)).await;
    world.one(world.restore("laptop-7")).await;
    world.clock.advance(Duration::from_secs(60));
    let again = Signal { id: SignalId::new("okta:again"), ..world.revoke("alice") };
    let mut case = case(again, &["alice"]);
    // Given after the names were found, and before they are looked for once more.
    world.locks.give(&Name::new("alice").unwrap(), &[Name::new("laptop-7").unwrap()]).await.unwrap();
    world.revoker().apply_to_all(&mut case, None).await.unwrap();
    assert!(world.is_locked("laptop-7"));
    assert_eq!(case.named().len(), 2);
}

#[tokio::test]
async fn a_retry_does_not_begin_to_lock_a_name_that_was_taken_away_since() {
    let world = World::new();
    let revocation = world.revoke("alice");
    let (alice, laptop) = (Name::new("alice").unwrap(), Name::new("laptop-7").unwrap());
    // An attempt that got no further than the own name's lock, which tells of the other.
    match Lock::none(alice).apply(&revocation, "alice", &[laptop]) {
        crate::lock::Transition::Changed(told) => world.locks.put(told),
        other => panic!("{other:?}"),
    }
    for requested in [false, true] {
        let mut case = case(revocation.clone(), &["alice"]);
        assert!(world.revoker().lock_once(&mut case, requested, None).await.unwrap().stopped.is_none());
        assert_eq!(case.named().len(), 1, "requested: {requested}");
        assert!(!world.is_locked("laptop-7"), "requested: {requested}");
    }
}

#[tokio::test]
async fn what_was_lifted_of_who_had_a_name_before_keeps_nobody_in_who_has_it_now() {
    for is_locked_first in [true, false] {
        let world = World::new();
        world.one(world.alias("alice", &["laptop-7"], false)).await;
        world.one(world.revoke("alice")).await;
        world.one(world.alias("alice", &["laptop-7"], true)).await;
        let revoke = Signal { as_of: world.now(), id: SignalId::new("okta:bob"), ..world.revoke("bob") };
        if is_locked_first {
            world.one(revoke.clone()).await;
        }
        world.clock.advance(Duration::from_secs(60));
        world.one(world.restore("alice")).await;
        assert!(!world.is_locked("laptop-7"));
        world.on(1, None, Some("laptop-7"));
        let given = world.one(world.alias("bob", &["laptop-7"], false)).await;
        // The word about bob is older than the one that lifted what had been said of alice.
        match is_locked_first {
            true => assert_eq!(given.outcome, Outcome::Completed),
            false => assert_eq!(world.one(revoke).await.outcome, Outcome::Completed),
        }
        assert!(world.is_locked("laptop-7"), "locked first: {is_locked_first}");
        assert_eq!(world.alive(), 0);
    }
}

#[tokio::test]
async fn what_was_said_later_of_a_name_by_itself_stands_whoever_it_is_given_to() {
    let world = World::new();
    let revoke = world.revoke("bob");
    world.one(revoke.clone()).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.restore("laptop-7")).await;
    let spared = world.on(1, None, Some("laptop-7"));
    world.one(world.alias("bob", &["laptop-7"], false)).await;
    assert!(!world.is_locked("laptop-7"));
    assert_eq!(world.vpn.alive(None), [spared]);
}

#[tokio::test]
async fn what_was_said_of_a_name_by_itself_is_not_lifted_with_whom_it_was_given_to_for_a_while() {
    for is_given_first in [true, false] {
        let world = World::new();
        world.one(world.revoke("bob")).await;
        if is_given_first {
            world.one(world.alias("alice", &["bob"], false)).await;
        }
        world.one(world.revoke("alice")).await;
        if !is_given_first {
            world.one(world.alias("alice", &["bob"], false)).await;
        }
        world.one(world.alias("alice", &["bob"], true)).await;
        world.clock.advance(Duration::from_secs(60));
        assert_eq!(world.one(world.restore("alice")).await.outcome, Outcome::Restored);
        assert!(!world.is_locked("alice") && world.is_locked("bob"), "given first: {is_given_first}");
        // And what bob is given is bob's.
        world.one(world.alias("bob", &["laptop-7"], false)).await;
        assert!(world.is_locked("laptop-7"));
    }
}

#[tokio::test]
async fn a_lapsing_word_about_a_name_by_itself_is_outlasted_by_anothers_and_lifted_with_it() {
    let world = World::new();
    let until = world.now().plus(Duration::from_secs(600));
    world.one(world.command(Action::Revoke { expires_at: Some(until) }, "bob", "c-1")).await;
    world.one(world.alias("alice", &["bob"], false)).await;
    world.one(world.command(Action::Revoke { expires_at: None }, "alice", "c-2")).await;
    world.one(world.alias("alice", &["bob"], true)).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.command(Action::Restore { authorities: None }, "alice", "c-3")).await;
    assert!(!world.is_locked("bob"), "nobody is kept out for ever by a word that was to lapse");
}

#[tokio::test]
async fn words_about_a_name_by_itself_are_as_old_as_they_were_said_whoever_it_was_given_to() {
    let world = World::new();
    let at = |seconds: u64| world.now().plus(Duration::from_secs(seconds));
    let said = |action: Action, of: &str, seconds: u64| Signal {
        as_of: at(seconds),
        ..world.signal(action, of, &format!("okta:{of}-{seconds}"))
    };
    let revoke = |of: &str, seconds| said(Action::Revoke { expires_at: None }, of, seconds);
    let okta = || Some(vec![Authority::producer("okta", Some("acme"))]);
    let restore = |of: &str, seconds| said(Action::Restore { authorities: okta() }, of, seconds);
    world.one(world.alias("alice", &["bob"], false)).await;
    world.one(revoke("bob", 1)).await;
    world.one(revoke("alice", 6)).await;
    assert_eq!(world.one(restore("bob", 4)).await.outcome, Outcome::Restored);
    assert!(!world.is_locked("bob"));
    // And a word that let bob in stands, though alice was let in later.
    world.one(restore("alice", 8)).await;
    assert_eq!(world.one(revoke("bob", 3)).await.outcome, Outcome::Superseded);
    assert_eq!(world.one(revoke("bob", 5)).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn what_is_lifted_of_who_still_has_a_name_stands_in_whichever_order_it_comes() {
    for is_restored_first in [false, true] {
        let world = World::new();
        world.one(world.alias("alice", &["laptop-7"], false)).await;
        let revoke = world.revoke("laptop-7");
        world.clock.advance(Duration::from_secs(60));
        let restore = world.restore("alice");
        let both = if is_restored_first { [restore, revoke] } else { [revoke, restore] };
        for signal in both {
            world.one(signal).await;
        }
        assert!(!world.is_locked("laptop-7"), "restored first: {is_restored_first}");
    }
}

#[tokio::test]
async fn a_retry_locks_nothing_again_that_was_lifted_since_under_a_name_by_rule() {
    let mut world = World::new();
    world.policy.aliases = crate::alias::Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    let stuck = world.user("alice@corp.example");
    world.vpn.stick(&stuck);
    let revoke = world.revoke("alice@corp.example");
    assert_eq!(world.one(revoke.clone()).await.outcome, Outcome::Incomplete);
    world.clock.advance(Duration::from_secs(60));
    world.one(world.restore("alice")).await;
    assert!(!world.is_locked("laptop-7"));
    world.one(revoke).await;
    assert!(!world.is_locked("laptop-7") && world.is_locked("alice@corp.example"));
}

#[tokio::test]
async fn an_alias_locks_also_what_an_earlier_one_that_was_cut_off_had_given() {
    let world = World::new();
    world.one(world.revoke("alice")).await;
    world.on(1, None, Some("laptop-7"));
    world.calls.plan("locks.write alice", 1, crate::memory::Mishap::Fails);
    assert_eq!(world.one(world.alias("alice", &["laptop-7"], false)).await.outcome, Outcome::Incomplete);
    let another = Signal { id: SignalId::new("c-2"), ..world.alias("alice", &["laptop-8"], false) };
    assert_eq!(world.one(another).await.outcome, Outcome::Completed);
    assert!(world.is_locked("laptop-7") && world.is_locked("laptop-8") && world.alive() == 0);
}

#[tokio::test]
async fn what_follows_another_of_a_persons_names_is_lifted_with_the_own_one_whenever_it_was_given() {
    let world = World::new();
    world.directory.put(ID, &["frank", "lane@example.com"], Some(false));
    world.one(world.by_id(REVOKE)).await;
    world.clock.advance(Duration::from_secs(60));
    let alias =
        |name: &str, id: &str| Signal { id: SignalId::new(id), ..world.alias("lane@example.com", &[name], false) };
    world.calls.plan("locks.read", 1, crate::memory::Mishap::Fails);
    world.calls.plan("locks.write frank", 1, crate::memory::Mishap::Fails);
    assert_eq!(world.one(alias("laptop-7", "c-1")).await.outcome, Outcome::Incomplete);
    world.calls.forget();
    assert_eq!(world.one(alias("laptop-8", "c-2")).await.outcome, Outcome::Completed);
    assert!(world.is_locked("laptop-7") && world.is_locked("laptop-8"));
    world.clock.advance(Duration::from_secs(60));
    world.one(world.command(Action::Restore { authorities: None }, "frank", "c-3")).await;
    for name in ["frank", "lane@example.com", "laptop-7", "laptop-8"] {
        assert!(!world.is_locked(name), "{name}");
    }
}

#[tokio::test]
async fn a_restore_that_lifts_a_former_owners_hold_does_not_supersede_the_new_owners_revocation() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    world.one(world.alias("alice", &["laptop-7"], true)).await;
    let revoke = world.revoke("bob");
    world.clock.advance(Duration::from_secs(60));
    world.one(world.alias("bob", &["laptop-7"], false)).await;
    world.one(world.command(Action::Restore { authorities: None }, "bob", "c-1")).await;
    assert!(!world.is_locked("laptop-7"), "it is bob's now");
    assert_eq!(world.one(revoke).await.outcome, Outcome::Completed, "on its way while bob was let in");
    assert!(world.is_locked("bob") && world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_name_does_not_follow_what_was_lifted_since_it_was_looked_at() {
    let world = World::new();
    let [alice, laptop] = ["alice", "laptop-7"].map(|name| Name::new(name).unwrap());
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    let before = world.locks.stored(&alice).unwrap();
    world.clock.advance(Duration::from_secs(60));
    world.one(world.restore("alice")).await;
    world.revoker().follow(&before, &laptop, true).await.unwrap();
    assert!(!world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_retry_locks_a_name_that_was_given_since_whatever_lapsed_there_before() {
    let world = World::new();
    let until = world.now().plus(Duration::from_secs(60));
    world.one(world.command(Action::Revoke { expires_at: Some(until) }, "laptop-7", "c-0")).await;
    world.clock.advance(Duration::from_secs(120));
    world.vpn.stick(&world.user("alice"));
    let revoke = world.command(Action::Revoke { expires_at: None }, "alice", "c-1");
    assert_eq!(world.one(revoke.clone()).await.outcome, Outcome::Incomplete);
    world.calls.plan("locks.write alice", 1, crate::memory::Mishap::Fails);
    assert_eq!(world.one(world.alias("alice", &["laptop-7"], false)).await.outcome, Outcome::Incomplete);
    world.one(revoke).await;
    assert!(world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_name_whose_former_owner_has_no_name_left_is_locked() {
    let world = World::new();
    world.directory.put("u-1", &["alice"], Some(true));
    world.people().find("u-1", &Aliases::default(), true).await.unwrap();
    let revoke = world.revoke("bob");
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.restore("alice")).await;
    world.one(world.alias("alice", &["laptop-7"], true)).await;
    world.one(world.alias("bob", &["laptop-7"], false)).await;
    world.directory.delete("u-1");
    world.directory.put("u-2", &["alice"], Some(true));
    assert_eq!(world.one(revoke).await.outcome, Outcome::Completed);
    assert!(world.is_locked("bob") && world.is_locked("laptop-7"));
}

#[tokio::test]
async fn an_alias_locks_no_other_name_again_that_was_let_in_since() {
    let mut world = World::new();
    world.policy.aliases = crate::alias::Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice@corp.example")).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.restore("alice")).await;
    assert!(!world.is_locked("laptop-7"));
    world.one(world.alias("alice@corp.example", &["laptop-8"], false)).await;
    assert!(world.is_locked("laptop-8") && !world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_restore_that_was_cut_off_is_made_good_by_a_later_one_whatever_was_said_between() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    world.one(world.alias("alice", &["laptop-7"], true)).await;
    world.clock.advance(Duration::from_secs(60));
    world.calls.plan("locks.write laptop-7", 1, crate::memory::Mishap::Fails);
    assert_eq!(world.one(world.restore("alice")).await.outcome, Outcome::Incomplete);
    world.clock.advance(Duration::from_secs(60));
    world.one(Signal { id: SignalId::new("okta:again"), ..world.revoke("alice") }).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.command(Action::Restore { authorities: None }, "alice", "c-1")).await;
    assert!(!world.is_locked("alice") && !world.is_locked("laptop-7"));
}

#[tokio::test]
async fn what_a_command_lifts_of_a_restore_that_was_cut_off_is_as_old_as_that() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    world.clock.advance(Duration::from_secs(10));
    world.calls.plan("locks.write laptop-7", 1, crate::memory::Mishap::Fails);
    assert_eq!(world.one(world.restore("alice")).await.outcome, Outcome::Incomplete);
    assert!(!world.is_locked("alice") && world.is_locked("laptop-7"));
    world.clock.advance(Duration::from_secs(10));
    let late = Signal { id: SignalId::new("okta:late"), ..world.revoke("alice") };
    world.clock.advance(Duration::from_secs(10));
    let everything = world.command(Action::Restore { authorities: None }, "alice", "c-all");
    assert_eq!(world.one(everything).await.outcome, Outcome::Restored);
    assert!(!world.is_locked("alice") && !world.is_locked("laptop-7"));
    assert_eq!(world.one(late).await.outcome, Outcome::Completed);
    assert!(world.is_locked("alice") && world.is_locked("laptop-7"), "under all names or none");
}

#[tokio::test]
async fn what_a_restore_that_was_cut_off_has_left_does_not_outlast_what_is_said_next() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.command(Action::Revoke { expires_at: None }, "alice", "c-1")).await;
    world.clock.advance(Duration::from_secs(60));
    world.calls.plan("locks.write laptop-7", 1, crate::memory::Mishap::Fails);
    let restore = world.command(Action::Restore { authorities: None }, "alice", "c-2");
    assert_eq!(world.one(restore.clone()).await.outcome, Outcome::Incomplete);
    world.clock.advance(Duration::from_secs(60));
    let until = world.now().plus(Duration::from_secs(600));
    world.one(world.command(Action::Revoke { expires_at: Some(until) }, "alice", "c-3")).await;
    assert_eq!(world.one(restore).await.outcome, Outcome::Superseded);
    assert!(world.is_locked("laptop-7"));
    world.clock.advance(Duration::from_secs(700));
    assert!(!world.is_locked("alice") && !world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_revocation_names_what_it_left_open_and_a_restore_names_nothing() {
    let let_in = |world: &World| {
        let entries = world.audit.chains().remove("alice").unwrap();
        entries.last().unwrap().attributes()["detail"].get("let_in").cloned()
    };
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    let revoke = world.revoke("alice");
    world.clock.advance(Duration::from_secs(60));
    world.one(world.restore("laptop-7")).await;
    assert_eq!(world.one(revoke).await.outcome, Outcome::Completed);
    assert_eq!(let_in(&world), Some(serde_json::json!(["laptop-7"])));
    let restore = world.restore("alice");
    world.clock.advance(Duration::from_secs(60));
    world.one(world.revoke("laptop-7")).await;
    assert_eq!(world.one(restore).await.outcome, Outcome::Restored);
    assert!(world.is_locked("laptop-7"));
    assert_eq!(let_in(&world), None);
}

/// `bob` is a name of Frank's, and has a laptop of its own.
async fn bob_is_frank() -> World {
    let world = World::new();
    world.one(world.alias("bob", &["laptop-8"], false)).await;
    world.one(world.alias("frank", &["bob"], false)).await;
    world
}

impl World {
    /// A word later than all before it.
    async fn then(&self, word: Signal) -> Outcome {
        self.clock.advance(Duration::from_secs(10));
        self.one(Signal { as_of: self.now(), ..word }).await.outcome
    }

    /// A revocation that ends nothing at first.
    async fn begins(&self, revocation: &Signal) {
        self.calls.plan("vpn.terminate", 1000, crate::memory::Mishap::Fails);
        assert_eq!(self.one(revocation.clone()).await.outcome, Outcome::Incomplete);
        self.calls.forget();
    }
}

#[tokio::test]
async fn a_restore_stands_against_an_older_revocation_also_where_the_name_was_locked_as_another_subjects_since() {
    for (is_frank_restored, is_taken_away) in [(false, false), (false, true), (true, true)] {
        let world = bob_is_frank().await;
        let late = world.revoke("bob");
        assert_eq!(world.then(world.restore("bob")).await, Outcome::Restored);
        assert_eq!(world.then(world.revoke("frank")).await, Outcome::Completed);
        if is_frank_restored {
            assert_eq!(world.then(world.restore("frank")).await, Outcome::Restored);
        }
        if is_taken_away {
            world.one(world.alias("frank", &["bob"], true)).await;
        }
        assert_eq!(world.one(late).await.outcome, Outcome::Superseded, "taken away: {is_taken_away}");
        assert_eq!((world.is_locked("bob"), world.is_locked("laptop-8")), (!is_frank_restored, false));
        let newer = Signal { id: SignalId::new("okta:newer"), ..world.revoke("bob") };
        assert_eq!(world.then(newer).await, Outcome::Completed);
        assert!(world.is_locked("bob") && world.is_locked("laptop-8"));
    }
}

#[tokio::test]
async fn a_revocation_that_was_lifted_before_a_retry_is_not_locked_again_because_of_another_subject() {
    for (is_completed, is_received_later) in [(false, false), (false, true), (true, false), (true, true)] {
        let world = bob_is_frank().await;
        let revocation = world.revoke("bob");
        world.on(1, Some("bob"), None);
        match is_completed {
            true => assert_eq!(world.one(revocation.clone()).await.outcome, Outcome::Completed),
            false => world.begins(&revocation).await,
        }
        world.then(world.restore("bob")).await;
        world.then(world.revoke("frank")).await;
        let again = if is_received_later { world.then(revocation).await } else { world.one(revocation).await.outcome };
        assert_eq!(again, Outcome::Superseded, "completed: {is_completed}, received later: {is_received_later}");
        assert!(!world.is_locked("laptop-8"));
    }
}

#[tokio::test]
async fn the_restore_of_whoever_has_a_name_as_well_is_no_restore_of_the_name_by_itself() {
    let world = bob_is_frank().await;
    let revocation = world.revoke("bob");
    world.on(1, None, Some("laptop-8"));
    world.begins(&revocation).await;
    world.then(world.revoke("frank")).await;
    world.then(world.restore("frank")).await;
    world.then(Signal { id: SignalId::new("okta:again"), ..world.revoke("frank") }).await;
    assert_eq!((world.one(revocation).await.outcome, world.alive()), (Outcome::Completed, 0));
}

#[tokio::test]
async fn a_restore_that_was_cut_off_is_finished_also_where_the_name_was_locked_as_another_subjects_since() {
    let world = bob_is_frank().await;
    world.one(world.revoke("bob")).await;
    world.clock.advance(Duration::from_secs(10));
    let restore = world.restore("bob");
    world.calls.plan("locks.write laptop-8", 1000, crate::memory::Mishap::Fails);
    assert_eq!(world.one(restore.clone()).await.outcome, Outcome::Incomplete);
    world.calls.forget();
    world.then(world.revoke("frank")).await;
    assert_eq!(world.one(restore).await.outcome, Outcome::Restored);
    assert!(world.is_locked("bob") && !world.is_locked("laptop-8"));
}

#[tokio::test]
async fn what_a_cut_off_restore_has_left_ends_also_where_the_name_was_locked_as_another_subjects_since() {
    let world = bob_is_frank().await;
    world.one(world.revoke("bob")).await;
    world.calls.plan("locks.write laptop-8", 1000, crate::memory::Mishap::Fails);
    assert_eq!(world.then(world.restore("bob")).await, Outcome::Incomplete);
    world.calls.forget();
    let until = Action::Revoke { expires_at: Some(world.now().plus(Duration::from_secs(600))) };
    world.then(world.signal(until.clone(), "frank", "okta:frank")).await;
    assert_eq!(world.then(world.signal(until, "bob", "okta:bob")).await, Outcome::Completed);
    assert!(world.is_locked("laptop-8"));
    world.clock.advance(Duration::from_secs(700));
    assert!(!world.is_locked("laptop-8"));
}

#[tokio::test]
async fn a_restore_is_not_taken_for_done_by_a_later_one_that_was_revoked_since() {
    let world = World::new();
    world.one(world.revoke("laptop-8")).await;
    world.clock.advance(Duration::from_secs(10));
    let late = world.command(Action::Restore { authorities: None }, "bob", "c-late");
    assert_eq!(world.then(world.command(Action::Restore { authorities: None }, "bob", "c-1")).await, Outcome::Restored);
    assert_eq!(world.then(world.revoke("bob")).await, Outcome::Completed);
    world.one(world.alias("bob", &["laptop-8"], false)).await;
    assert_eq!(world.one(late).await.outcome, Outcome::Superseded);
    assert!(world.is_locked("bob") && world.is_locked("laptop-8"));
}

#[tokio::test]
async fn that_one_authoritys_word_was_lifted_since_does_not_stand_for_anothers() {
    let siem = |id: &str, word: Signal| Signal { authority: Authority::named("siem"), id: SignalId::new(id), ..word };
    let world = World::new();
    world.one(world.alias("bob", &["laptop-8"], false)).await;
    world.one(siem("s-1", world.revoke("laptop-8"))).await;
    world.clock.advance(Duration::from_secs(10));
    let both = vec![Authority::producer("okta", Some("acme")), Authority::named("siem")];
    let late = world.command(Action::Restore { authorities: Some(both) }, "bob", "c-late");
    assert_eq!(world.then(world.restore("bob")).await, Outcome::Restored);
    assert_eq!(world.then(siem("s-2", world.revoke("bob"))).await, Outcome::Completed);
    assert_eq!(world.one(late).await.outcome, Outcome::Superseded);
    assert!(world.is_locked("bob") && world.is_locked("laptop-8"));
}

#[tokio::test]
async fn a_retry_lets_in_what_it_locked_while_the_own_name_was_let_in() {
    let world = World::new();
    let address = "alice@example.com";
    world.directory.put(ID, &["alice"], Some(false));
    let revocation = world.by_id(REVOKE);
    world.user("alice");
    world.begins(&revocation).await;
    world.directory.put(ID, &["alice", address], Some(false));
    world.clock.advance(Duration::from_secs(60));
    let writing = format!("locks.write {address}");
    world.calls.plan(&writing, 1, crate::memory::Mishap::Slow);
    let (revoker, run) = (world.revoker(), world.run());
    let working = tokio::spawn(async move { revoker.handle(vec![revocation], &run).await });
    until(|| world.calls.count(&writing) >= 1).await;
    let restore = world.command(Action::Restore { authorities: None }, "alice", "c-1");
    let own = world.locks.stored(&Name::new("alice").unwrap()).unwrap();
    let crate::lock::Transition::Changed(lifted) = own.apply(&restore, "alice", &[]) else { panic!() };
    world.locks.put(lifted);
    working.await.unwrap();
    assert!(!world.is_locked("alice") && !world.is_locked(address));
}

#[tokio::test]
async fn a_retry_pursues_nobody_who_has_a_name_of_the_subjects_by_now() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    world.one(world.alias("alice", &["laptop-7"], true)).await;
    world.one(world.alias("bob", &["laptop-7"], false)).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.revoke("bob")).await;
    let again = Signal { id: SignalId::new("okta:again"), ..world.revoke("alice") };
    world.user("alice");
    world.begins(&again).await;
    let bobs = world.on(1, Some("bob"), Some("laptop-7"));
    world.vpn.stick(&bobs);
    let receipt = world.one(again).await;
    assert_eq!((receipt.outcome, receipt.subjects[0].connections.len()), (Outcome::Completed, 1), "{receipt:?}");
    assert_eq!(receipt.subjects[0].names, [Name::new("alice").unwrap()]);
}

#[tokio::test]
async fn a_retry_takes_no_lock_of_anothers_for_its_own_that_was_lifted_after_it_had_looked() {
    let world = bob_is_frank().await;
    let revocation = world.revoke("bob");
    world.on(1, Some("bob"), None);
    world.begins(&revocation).await;
    world.clock.advance(Duration::from_secs(10));
    let restore = world.restore("bob");
    world.clock.advance(Duration::from_secs(10));
    let franks = world.revoke("frank");
    // The marker and what is read ahead, the lock, and that lock again before it is written.
    let reading = r#"locks.read ["bob"]"#;
    let before = world.calls.count(reading);
    let (revoker, run) = (world.revoker(), world.run());
    let working = tokio::spawn(async move { revoker.handle(vec![revocation], &run).await });
    until(|| world.calls.count(reading) >= before + 2).await;
    world.calls.plan(reading, 1, crate::memory::Mishap::Slow);
    until(|| world.calls.count(reading) >= before + 3).await;
    let says = |name: &str, signal: &Signal, of: &str| {
        let lock = world.locks.stored(&Name::new(name).unwrap()).unwrap();
        match lock.apply(signal, of, &[]) {
            crate::lock::Transition::Changed(next) => world.locks.put(next),
            other => panic!("{other:?}"),
        }
    };
    says("bob", &restore, "bob");
    says("laptop-8", &restore, "bob");
    says("bob", &franks, "frank");
    working.await.unwrap();
    assert!(world.is_locked("bob") && !world.is_locked("laptop-8"));
}
