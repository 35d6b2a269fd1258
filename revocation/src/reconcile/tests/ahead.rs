//! What is read ahead of admission saves round trips, and nothing rests on it.

use super::*;
use crate::memory::Mishap;

#[tokio::test]
async fn what_was_read_ahead_is_not_believed_where_nothing_is_written() {
    let world = World::new();
    let revocation = world.revoke("alice");
    world.one(revocation.clone()).await;
    let read_ahead = world.locks.stored(&Name::new("alice").unwrap());
    world.clock.advance(Duration::from_secs(1));
    world.one(world.restore("alice")).await;
    // By what was read ahead, alice is locked by this very signal, and nothing is to be done.
    let locked = world.revoker().apply_to_all(&mut case(revocation, &["alice"]), read_ahead).await.unwrap();
    assert_eq!(locked.stopped.map(|verdict| verdict.outcome), Some(Outcome::Superseded));
    assert!(!world.is_locked("alice"));
}

#[tokio::test]
async fn a_restore_reaches_names_that_were_locked_since_it_read_ahead() {
    let world = World::new();
    let read_ahead = Some(Lock::none(Name::new("alice").unwrap()));
    let mut revocation = case(world.revoke("alice"), &["alice", "alice-old"]);
    world.revoker().apply_to_all(&mut revocation, None).await.unwrap();
    assert!(world.is_locked("alice") && world.is_locked("alice-old"));
    world.clock.advance(Duration::from_secs(1));
    let restore = world.signal(Action::Restore { authorities: None }, "alice", "command:r");
    world.revoker().apply_to_all(&mut case(restore, &["alice"]), read_ahead).await.unwrap();
    assert!(!world.is_locked("alice") && !world.is_locked("alice-old"));
}

#[tokio::test]
async fn a_retry_does_not_take_a_lock_for_lifted_that_was_written_after_it_read_ahead() {
    let world = World::new();
    let revocation = world.revoke("alice");
    world.one(revocation.clone()).await;
    let read_ahead = Some(Lock::none(Name::new("alice").unwrap()));
    let locked = world.revoker().lock_once(&mut case(revocation, &["alice"]), true, read_ahead).await.unwrap();
    assert!(locked.stopped.is_none());
}

#[tokio::test]
async fn nothing_rests_on_what_is_read_ahead() {
    for (call, mishap) in [
        ("audit.heads", Mishap::Fails),
        ("audit.heads", Mishap::Panics),
        ("audit.standing", Mishap::Fails),
        ("locks.read", Mishap::Fails),
    ] {
        let world = World::new();
        let connection = world.user("alice");
        world.calls.plan(call, 1, mishap);
        let receipt = world.one(world.revoke("alice")).await;
        assert_eq!(receipt.outcome, Outcome::Completed, "{call} {mishap:?}");
        assert!(!world.vpn.alive(None).contains(&connection));
        assert_eq!(world.kinds("alice"), ["requested", "completed"]);
    }
}

#[tokio::test]
async fn a_head_that_moved_since_it_was_read_ahead_is_read_again() {
    let world = World::new();
    world.one(world.revoke("alice")).await;
    // Both are about the same chain, and only the first of them is read ahead.
    let [first, second] = [world.disconnect("alice"), world.restore("alice")];
    let receipts = world.handle(vec![first, second]).await;
    assert_eq!(outcomes(&receipts), [Outcome::Completed, Outcome::Restored]);
    assert_eq!(world.kinds("alice").len(), 5, "{:?}", world.kinds("alice"));
}

#[tokio::test]
async fn what_depends_on_what_comes_before_it_is_not_read_ahead() {
    let world = World::new();
    let revoker = world.revoker();
    let stuck = Verdict::because(Outcome::Unresolved, "as planned");
    let cases = [
        case(world.revoke("alice"), &["alice"]),
        case(world.restore("alice"), &["alice"]),
        case(world.signal(Action::CloseBreaker, "bob", "command:close"), &["bob"]),
        case(world.disconnect("carol"), &["carol"]),
        Case { stuck: Some(stuck), ..case(world.revoke("dave"), &["dave"]) },
    ];
    let ahead = revoker.read_ahead(&cases).await;
    assert_eq!(ahead.keys().copied().collect::<Vec<_>>(), [0, 3]);
    assert!(ahead[&0].lock.is_some() && ahead[&3].lock.is_none(), "a lock is read where it is about to change");
}

#[tokio::test]
async fn nothing_is_asked_for_where_nothing_is_to_be_read_ahead() {
    let world = World::new();
    let close = case(world.signal(Action::CloseBreaker, "bob", "command:close"), &["bob"]);
    assert!(world.revoker().read_ahead(&[close]).await.is_empty());
    assert_eq!(world.calls.made(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rehearsal_of_what_was_begun_in_earnest_is_one_of_its_next_attempt() {
    let mut world = World::new();
    let revocation = world.revoke("alice");
    world.calls.plan("audit.commit", 2, Mishap::Fails);
    world.user("alice");
    assert_eq!(world.one(revocation.clone()).await.outcome, Outcome::Incomplete);
    world.clock.advance(Duration::from_secs(1));
    world.one(world.restore("alice")).await;
    world.policy.mode = Mode::Shadow;
    assert_eq!(world.one(revocation).await.outcome, Outcome::Shadowed);
    let chain = &world.audit.chains()["alice"];
    assert_eq!(chain.last().unwrap().attributes()["detail"]["would_be"], "superseded", "its lock was lifted since");
}
