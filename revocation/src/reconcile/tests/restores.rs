//! Restores, and revocations that are tried again after one: whichever is newer stands, under every name.

use super::*;

#[tokio::test]
async fn an_older_revocation_after_a_restore_is_superseded_and_ends_nothing() {
    let world = World::new();
    world.user("alice");
    let old = world.revoke("alice");
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(world.one(world.restore("alice")).await.outcome, Outcome::Restored);
    assert_eq!(world.one(old).await.outcome, Outcome::Superseded);
    assert_eq!(world.alive(), 1);
    assert_eq!(world.kinds("alice"), ["restored", "superseded"]);
}

#[tokio::test]
async fn a_restore_says_who_still_holds_the_lock() {
    let world = World::new();
    let command =
        Signal { authority: Authority::command(), via: Via::Direct, id: SignalId::new("c-1"), ..world.revoke("alice") };
    world.handle(vec![command, world.revoke("alice")]).await;
    world.clock.advance(Duration::from_secs(5));
    let receipt = world.one(world.restore("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Restored);
    assert_eq!(receipt.subjects[0].error.as_deref(), Some("still locked by command"));
    assert!(world.is_locked("alice"));
    world.one(world.revoke("bob")).await;
    let older = Signal { as_of: world.now().minus(Duration::from_secs(60)), ..world.restore("bob") };
    let said = world.one(older).await.subjects.remove(0).error.unwrap();
    assert!(said.contains("which is newer"), "{said}");
    world.clock.advance(Duration::from_secs(5));
    let freed = Signal { id: SignalId::new("later"), ..world.restore("bob") };
    assert_eq!(world.one(freed).await.subjects[0].error, None, "nobody does");
}

#[tokio::test]
async fn a_retry_whose_own_word_was_lifted_completes_nothing_on_anothers() {
    let world = World::new();
    let stuck = world.user("alice");
    world.vpn.stick(&stuck);
    let command = |action: Action, id: &str| world.command(action, "alice", id);
    let revoke = command(Action::Revoke { expires_at: None }, "c-1");
    assert_eq!(world.one(revoke.clone()).await.outcome, Outcome::Incomplete);
    world.one(world.revoke("alice")).await;
    world.clock.advance(Duration::from_secs(60));
    let restore = Action::Restore { authorities: Some(vec![Authority::command()]) };
    assert_eq!(world.one(command(restore, "c-2")).await.outcome, Outcome::Restored);
    assert!(world.is_locked("alice"), "by Okta");
    assert_eq!(world.one(revoke).await.outcome, Outcome::Superseded);
}

#[tokio::test]
async fn what_was_restored_since_it_was_requested_is_not_locked_again_by_a_retry() {
    let world = World::new();
    let stuck = world.user("alice");
    world.vpn.stick(&stuck);
    let command = |action: Action, id: &str| Signal {
        authority: Authority::command(),
        via: Via::Direct,
        as_of: world.now(),
        ..world.signal(action, "alice", id)
    };
    assert_eq!(world.one(command(Action::Revoke { expires_at: None }, "c-1")).await.outcome, Outcome::Incomplete);
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(world.one(command(Action::Restore { authorities: None }, "c-2")).await.outcome, Outcome::Restored);
    world.clock.advance(Duration::from_secs(5));
    let retry = world.one(command(Action::Revoke { expires_at: None }, "c-1")).await;
    assert_eq!(retry.outcome, Outcome::Superseded);
    assert!(!world.is_locked("alice"));
    assert_eq!(world.kinds("alice"), ["requested", "incomplete", "restored", "superseded"]);
}

#[tokio::test]
async fn a_retry_makes_nothing_longer_that_was_said_since_its_own_word_was_lifted() {
    let world = World::new();
    let stuck = world.user("alice");
    world.vpn.stick(&stuck);
    let forever = world.command(Action::Revoke { expires_at: None }, "alice", "c-1");
    assert_eq!(world.one(forever.clone()).await.outcome, Outcome::Incomplete);
    world.clock.advance(Duration::from_secs(60));
    let restore = Action::Restore { authorities: Some(vec![Authority::command()]) };
    assert_eq!(world.one(world.command(restore, "alice", "c-2")).await.outcome, Outcome::Restored);
    let until = world.now().plus(Duration::from_secs(600));
    world.one(world.command(Action::Revoke { expires_at: Some(until) }, "alice", "c-3")).await;
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    assert_eq!(world.one(forever).await.outcome, Outcome::Superseded, "what it asked for is not so");
    for name in ["alice", "laptop-7"] {
        let lock = world.locks.stored(&Name::new(name).unwrap()).unwrap();
        assert_eq!(lock.hold_of(&Authority::command()).unwrap().expires_at, Some(until), "{name}");
    }
}

#[tokio::test]
async fn a_command_that_comes_again_is_as_old_under_every_name_as_under_the_first() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.calls.plan("locks.write laptop-7", 1, crate::memory::Mishap::Fails);
    let until = world.now().plus(Duration::from_secs(600));
    let revoke = world.command(Action::Revoke { expires_at: Some(until) }, "alice", "c-1");
    assert_eq!(world.one(revoke.clone()).await.outcome, Outcome::Incomplete);
    world.clock.advance(Duration::from_secs(60));
    // Out of the dead-letter queue, both at once: a command counts from its receipt.
    let action = Action::Revoke { expires_at: Some(until.plus(Duration::from_secs(60))) };
    assert_eq!(world.one(Signal { as_of: world.now(), action, ..revoke }).await.outcome, Outcome::Completed);
    let hold = |name: &str| {
        let lock = world.locks.stored(&Name::new(name).unwrap()).unwrap();
        let hold = lock.hold_of(&Authority::command()).unwrap();
        (hold.as_of, hold.expires_at)
    };
    assert_eq!(hold("alice"), hold("laptop-7"));
    assert_eq!(hold("alice").1, Some(until));
    let restore = Action::Restore { authorities: Some(vec![Authority::command()]) };
    assert_eq!(world.one(world.command(restore, "alice", "c-2")).await.outcome, Outcome::Restored);
    assert!(!world.is_locked("alice") && !world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_restore_that_was_cut_off_is_finished_whatever_was_said_since() {
    let world = World::new();
    let okta = Authority::producer("okta", Some("acme"));
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    world.clock.advance(Duration::from_secs(60));
    world.calls.plan("locks.write laptop-7", 1, crate::memory::Mishap::Fails);
    let restore = world.command(Action::Restore { authorities: None }, "alice", "c-1");
    assert_eq!(world.one(restore.clone()).await.outcome, Outcome::Incomplete);
    world.one(world.command(Action::Revoke { expires_at: None }, "alice", "c-2")).await;
    assert_eq!(world.one(restore).await.outcome, Outcome::Restored);
    for name in ["alice", "laptop-7"] {
        let lock = world.locks.stored(&Name::new(name).unwrap()).unwrap();
        assert_eq!(lock.held_by(world.now()), [Authority::command()], "{name}: no more by {okta}");
    }
}

#[tokio::test]
async fn a_restore_that_was_sent_twice_lifts_under_every_name_what_either_lifted_under_the_first() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    let authorities = Some(vec![Authority::command()]);
    let first = world.command(Action::Restore { authorities }, "alice", "c-1");
    world.clock.advance(Duration::from_secs(60));
    world.one(world.command(Action::Revoke { expires_at: None }, "alice", "c-2")).await;
    world.clock.advance(Duration::from_secs(60));
    world.calls.plan("locks.write laptop-7", 1, crate::memory::Mishap::Fails);
    let second = Signal { as_of: world.now(), ..first.clone() };
    assert_eq!(world.one(second).await.outcome, Outcome::Incomplete);
    assert_eq!(world.one(first).await.outcome, Outcome::Restored);
    assert!(!world.is_locked("alice") && !world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_restore_that_was_sent_twice_lifts_under_the_first_name_what_it_lifts_under_the_others() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    let first = world.command(Action::Restore { authorities: None }, "alice", "c-1");
    world.clock.advance(Duration::from_secs(60));
    let revoke = world.revoke("alice");
    world.clock.advance(Duration::from_secs(60));
    world.calls.plan("locks.write laptop-7", 1, crate::memory::Mishap::Fails);
    let second = Signal { as_of: world.now(), ..first.clone() };
    assert_eq!(world.one(second).await.outcome, Outcome::Incomplete);
    assert_eq!(world.one(revoke).await.outcome, Outcome::Completed);
    assert_eq!(world.one(first).await.outcome, Outcome::Restored);
    assert!(!world.is_locked("alice") && !world.is_locked("laptop-7"));
}
