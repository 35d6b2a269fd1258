//! Somebody sends the id of an earlier command with another action. Nothing is done, and nobody is told that it was.

use std::time::Duration;

use super::*;
use crate::audit::{Draft, Kind, append};
use crate::lock::Transition;
use crate::reconcile::tests::identity::REVOKE;

const ID: &str = "INC-42";

impl World {
    /// What is answered to a command under an id that was used before; it does nothing, and says what to do.
    async fn is_told_of_the_id(&self, signal: Signal) {
        let (written, alive) = (self.calls.count("audit.commit"), self.vpn.alive(None));
        let receipt = self.one(signal).await;
        let error = receipt.subjects[0].error.as_deref().unwrap_or_default();
        assert_eq!(receipt.outcome, Outcome::Superseded, "{receipt:?}");
        assert!(error.contains("nothing was done now") && error.contains("an id of its own"), "{error}");
        assert_eq!((self.calls.count("audit.commit"), self.vpn.alive(None)), (written, alive));
    }
}

#[tokio::test]
async fn an_alias_under_the_id_of_a_revocation_is_not_said_to_be_given() {
    let world = World::new();
    let laptop = world.on(1, None, Some("laptop-7"));
    assert_eq!(world.one(world.command(REVOKE, "alice", ID)).await.outcome, Outcome::Completed);
    let alias = |id: &str| {
        let names = vec![Name::new("laptop-7").unwrap()];
        world.command(Action::Alias { names, remove: false }, "alice", id)
    };
    world.is_told_of_the_id(alias(ID)).await;
    assert_eq!(world.vpn.alive(None), [laptop]);
    assert_eq!(world.one(alias("INC-42-laptop")).await.outcome, Outcome::Completed);
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn other_names_under_the_id_of_an_alias_are_not_said_to_be_given() {
    let world = World::new();
    let alias = |name: &str, remove: bool, id: &str| {
        world.command(Action::Alias { names: vec![Name::new(name).unwrap()], remove }, "alice", id)
    };
    for _ in 0..2 {
        assert_eq!(world.one(alias("laptop-7", false, ID)).await.outcome, Outcome::Aliased);
    }
    world.is_told_of_the_id(alias("phone-9", false, ID)).await;
    assert_eq!(world.one(alias("laptop-7", true, "INC-43")).await.outcome, Outcome::Aliased);
    world.is_told_of_the_id(alias("laptop-7", false, ID)).await;
    assert_eq!(world.one(alias("laptop-7", true, "INC-43")).await.outcome, Outcome::Aliased, "the same is the same");
}

#[tokio::test]
async fn a_lock_for_good_is_not_completed_under_an_id_whose_lock_lapses() {
    let mut world = World::new();
    world.policy.max_connections = 0;
    world.user("alice");
    let until = Some(world.now().plus(Duration::from_secs(3_600)));
    let for_an_hour = world.command(Action::Revoke { expires_at: until }, "alice", ID);
    assert_eq!(world.one(for_an_hour.clone()).await.outcome, Outcome::Refused);
    let for_good = Signal { force: true, ..world.command(REVOKE, "alice", ID) };
    let receipt = world.one(for_good).await;
    assert_eq!(receipt.outcome, Outcome::Superseded);
    assert!(receipt.subjects[0].error.as_deref().unwrap().contains("an id of its own"), "{receipt:?}");
    assert_eq!(world.one(Signal { force: true, ..for_an_hour }).await.outcome, Outcome::Completed, "as it was begun");
}

#[tokio::test]
async fn a_disconnect_under_the_id_of_a_revocation_is_not_said_to_be_done() {
    let world = World::new();
    world.one(world.command(REVOKE, "alice", ID)).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.command(Action::Restore { authorities: None }, "alice", "INC-42-over")).await;
    world.user("alice");
    world.is_told_of_the_id(world.command(Action::Disconnect, "alice", ID)).await;
}

#[tokio::test]
async fn a_lock_that_lapses_is_not_one_for_good() {
    let world = World::new();
    let until = Some(world.now().plus(Duration::from_secs(3_600)));
    let for_an_hour = |world: &World| world.command(Action::Revoke { expires_at: until }, "alice", ID);
    assert_eq!(world.one(for_an_hour(&world)).await.outcome, Outcome::Completed);
    world.is_told_of_the_id(world.command(REVOKE, "alice", ID)).await;
    assert_eq!(world.one(for_an_hour(&world)).await.outcome, Outcome::Completed, "the same again is the same");
    assert_eq!(world.one(world.command(REVOKE, "alice", "INC-43")).await.outcome, Outcome::Completed);
    assert_eq!(world.one(for_an_hour(&world)).await.outcome, Outcome::Completed, "and it is held for longer now");
}

#[tokio::test]
async fn a_longer_lock_is_not_completed_under_an_id_whose_lock_lapses_earlier() {
    let world = World::new();
    let for_hours = |hours: u64| {
        let until = Some(world.now().plus(Duration::from_secs(hours * 3_600)));
        world.command(Action::Revoke { expires_at: until }, "alice", ID)
    };
    assert_eq!(world.one(for_hours(2)).await.outcome, Outcome::Completed);
    world.clock.advance(Duration::from_secs(60));
    world.is_told_of_the_id(for_hours(168)).await;
    world.is_told_of_the_id(for_hours(3)).await;
    for shorter in [2, 1] {
        assert_eq!(world.one(for_hours(shorter)).await.outcome, Outcome::Completed, "the same again, a minute later");
    }
}

#[tokio::test]
async fn an_alias_by_which_a_name_by_rule_is_held_is_completed_again() {
    let mut world = World::new();
    world.policy.aliases = crate::alias::Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.one(world.revoke("alice@corp.example")).await;
    let names = vec![Name::new("laptop-7").unwrap()];
    for _ in 0..2 {
        let alias = world.command(Action::Alias { names: names.clone(), remove: false }, "alice", ID);
        assert_eq!(world.one(alias).await.outcome, Outcome::Completed);
    }
}

#[tokio::test]
async fn a_longer_lock_is_not_taken_for_the_shorter_one_that_was_begun() {
    let mut world = World::new();
    world.policy.max_connections = 0;
    world.user("alice");
    let for_hours = |world: &World, hours: u64| {
        let until = Some(world.now().plus(Duration::from_secs(hours * 3_600)));
        world.command(Action::Revoke { expires_at: until }, "alice", ID)
    };
    assert_eq!(world.one(for_hours(&world, 8)).await.outcome, Outcome::Refused);
    // A colleague's shorter one moves the hold's age, and not its end.
    let other = Signal { id: SignalId::new("INC-43"), ..for_hours(&world, 1) };
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.one(other).await.outcome, Outcome::Refused);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(
        world.one(for_hours(&world, 8)).await.outcome,
        Outcome::Refused,
        "the same, tried again, is no longer one"
    );

    let mut world = World::new();
    world.policy.max_connections = 0;
    world.user("alice");
    assert_eq!(world.one(for_hours(&world, 8)).await.outcome, Outcome::Refused);
    let receipt = world.one(Signal { force: true, ..for_hours(&world, 9) }).await;
    assert_eq!(receipt.outcome, Outcome::Superseded);
    assert!(receipt.subjects[0].error.as_deref().unwrap().contains("an id of its own"), "{receipt:?}");
    let receipt = world.one(Signal { force: true, ..for_hours(&world, 8) }).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Completed, 0), "what was begun is finished");
}

#[tokio::test]
async fn what_was_begun_under_an_id_as_something_else_is_not_taken_for_a_lock_of_another_command() {
    // Let in by an earlier command; locked by one, for an hour; locked as a name of somebody else's.
    for history in 0..3 {
        let world = World::new();
        let until = Some(world.now().plus(Duration::from_secs(3_600)));
        match history {
            0 => {
                world.one(world.command(REVOKE, "alice", "c-1")).await;
                world.clock.advance(Duration::from_secs(60));
                world.one(world.command(Action::Restore { authorities: None }, "alice", "c-2")).await;
            }
            1 => drop(world.one(world.command(Action::Revoke { expires_at: until }, "alice", "c-1")).await),
            _ => {
                world.one(world.alias("bob", &["alice"], false)).await;
                world.one(world.command(REVOKE, "bob", "c-1")).await;
            }
        }
        world.clock.advance(Duration::from_secs(60));
        world.user("alice");
        world.calls.plan("vpn.terminate", 1000, crate::memory::Mishap::Fails);
        assert_eq!(world.one(world.command(Action::Disconnect, "alice", ID)).await.outcome, Outcome::Incomplete);
        world.calls.forget();
        world.clock.advance(Duration::from_secs(60));
        assert_eq!(world.one(world.command(REVOKE, "alice", ID)).await.outcome, Outcome::Completed, "{history}");
        world.clock.advance(Duration::from_secs(7_200));
        world.one(world.alias("bob", &["alice"], true)).await;
        world.one(world.command(Action::Restore { authorities: None }, "bob", "c-3")).await;
        assert_eq!((world.is_locked("alice"), world.alive()), (true, 0), "{history}");
    }
}

#[tokio::test]
async fn an_alias_of_somebody_let_in_since_is_not_said_to_be_completed_again() {
    let world = World::new();
    world.one(world.revoke("alice")).await;
    let alias = || {
        let names = vec![Name::new("laptop-7").unwrap()];
        world.command(Action::Alias { names, remove: false }, "alice", ID)
    };
    for _ in 0..2 {
        assert_eq!(world.one(alias()).await.outcome, Outcome::Completed);
    }
    world.clock.advance(Duration::from_secs(60));
    world.one(world.command(Action::Restore { authorities: None }, "alice", "INC-42-over")).await;
    world.is_told_of_the_id(alias()).await;
}

#[tokio::test]
async fn who_was_locked_again_is_not_said_to_be_let_in() {
    let world = World::new();
    let restore = || world.command(Action::Restore { authorities: None }, "alice", ID);
    world.one(world.revoke("alice")).await;
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.one(restore()).await.outcome, Outcome::Restored);
    let written = world.calls.count("audit.commit");
    assert_eq!(world.one(restore()).await.outcome, Outcome::Restored, "the same again is the same");
    assert_eq!(world.calls.count("audit.commit"), written, "and nothing is written about it");
    world.clock.advance(Duration::from_secs(60));
    world.one(Signal { id: SignalId::new("okta:again"), ..world.revoke("alice") }).await;
    world.is_told_of_the_id(restore()).await;
}

#[tokio::test]
async fn a_restore_that_was_cut_off_is_finished_though_an_older_copy_of_it_was_recorded_meanwhile() {
    let mut world = World::new();
    let restore = cut_off(&mut world, ID).await;
    let older = Draft::new(&restore, "dana@corp.example", Kind::Restored, world.now(), serde_json::Map::new());
    append(&world.audit, &older).await.unwrap();
    for _ in 0..2 {
        assert_eq!(world.one(restore.clone()).await.outcome, Outcome::Restored);
        assert!(!world.is_locked("dana"));
    }
    let written = world.calls.count("locks.write");
    assert_eq!(world.one(restore).await.outcome, Outcome::Restored);
    assert_eq!(world.calls.count("locks.write"), written, "there is nothing left of it");
}

/// A restore under `id` that lifted the own name of `dana@corp.example` and was cut off; the further name stays locked.
async fn cut_off(world: &mut World, id: &str) -> Signal {
    world.policy.aliases = crate::alias::Aliases::parse("corp.example: {subject} {local}").unwrap();
    let dana = "dana@corp.example";
    world.one(world.command(REVOKE, dana, "c-1")).await;
    world.clock.advance(Duration::from_secs(60));
    let restore = world.command(Action::Restore { authorities: None }, dana, id);
    let own = world.locks.stored(&Name::new(dana).unwrap()).unwrap();
    let Transition::Changed(lifted) = own.apply(&restore, dana, &[]) else { panic!() };
    world.locks.put(lifted);
    assert!(!world.is_locked(dana) && world.is_locked("dana"));
    restore
}

#[tokio::test]
async fn a_restore_that_was_cut_off_is_finished_though_something_else_was_settled_under_its_id() {
    let mut world = World::new();
    let as_of = world.now();
    let restore = cut_off(&mut world, ID).await;
    let late = Signal { as_of, ..world.command(REVOKE, "dana@corp.example", ID) };
    assert_eq!(world.one(late).await.outcome, Outcome::Superseded);
    assert_eq!(world.one(restore).await.outcome, Outcome::Restored);
    assert!(!world.is_locked("dana"));
}

#[tokio::test]
async fn a_restore_that_was_overruled_is_not_begun_again_for_what_another_lifted() {
    let world = World::new();
    world.one(world.command(REVOKE, "alice", "c-1")).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.command(Action::Restore { authorities: None }, "alice", "c-2")).await;
    let late = world.restore("alice");
    world.clock.advance(Duration::from_secs(60));
    world.one(world.revoke("alice")).await;
    assert_eq!(world.one(late.clone()).await.outcome, Outcome::Superseded);
    let receipt = world.one(late).await;
    assert!(receipt.subjects[0].error.as_deref().unwrap().contains("a repeated delivery"), "{receipt:?}");
}

#[tokio::test]
async fn a_restore_that_was_finished_is_not_begun_again_for_what_was_locked_since() {
    for (about, earlier) in [("dana@corp.example", 0), ("erin", 30)] {
        let mut world = World::new();
        let restore = cut_off(&mut world, ID).await;
        assert_eq!(world.one(restore.clone()).await.outcome, Outcome::Restored);
        let as_of = restore.as_of.minus(Duration::from_secs(earlier));
        let since = Signal { as_of, ..world.command(REVOKE, about, "c-2") };
        let Transition::Changed(locked) = Lock::none(Name::new("dana").unwrap()).apply(&since, about, &[]) else {
            panic!()
        };
        world.locks.put(locked);
        assert!(world.is_locked("dana"));
        let written = world.calls.count("locks.write");
        let receipt = world.one(restore).await;
        assert!(receipt.subjects[0].error.as_deref().unwrap().contains("a repeated delivery"), "{about}: {receipt:?}");
        assert_eq!(world.calls.count("locks.write"), written);
    }
}

#[tokio::test]
async fn another_authoritys_lock_is_not_what_a_restore_was_about() {
    let world = World::new();
    world.one(world.revoke("alice")).await;
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.one(world.restore("alice")).await.outcome, Outcome::Restored);
    world.one(world.command(REVOKE, "alice", ID)).await;
    assert_eq!(world.one(world.restore("alice")).await.outcome, Outcome::Restored, "Okta's word came twice");
}

#[tokio::test]
async fn a_breaker_that_opened_again_is_not_said_to_be_closed() {
    let mut world = World::new();
    world.policy.max_subjects = 1;
    let okta = Authority::producer("okta", Some("acme"));
    let close = |world: &World| {
        let about = vec![About::Breaker(okta.clone())];
        Signal { about, ..world.command(Action::CloseBreaker, "nobody-yet", ID) }
    };
    let opens = async |world: &World, names: [&str; 2]| {
        world.one(world.revoke(names[0])).await;
        assert_eq!(world.one(world.revoke(names[1])).await.outcome, Outcome::Refused);
    };
    opens(&world, ["a", "b"]).await;
    for _ in 0..2 {
        assert_eq!(world.one(close(&world)).await.outcome, Outcome::Restored);
    }
    opens(&world, ["c", "d"]).await;
    world.is_told_of_the_id(close(&world)).await;
}

#[tokio::test]
async fn a_breaker_that_opened_after_it_was_said_is_not_closed_by_a_late_copy_of_the_command() {
    let mut world = World::new();
    world.policy.max_subjects = 1;
    let about = vec![About::Breaker(Authority::producer("okta", Some("acme")))];
    let close = Signal { about, ..world.command(Action::CloseBreaker, "nobody-yet", ID) };
    world.clock.advance(Duration::from_secs(60));
    world.one(world.revoke("a")).await;
    assert_eq!(world.one(world.revoke("b")).await.outcome, Outcome::Refused);
    assert_eq!(world.one(close).await.outcome, Outcome::Superseded);
    assert_eq!(world.one(world.revoke("b")).await.outcome, Outcome::Refused, "it is open still");
}

#[tokio::test]
async fn a_rehearsal_closes_no_breaker_and_does_not_say_so() {
    let world = World::new();
    let about = vec![About::Breaker(Authority::producer("okta", Some("acme")))];
    let close = Signal { about, dry_run: true, ..world.command(Action::CloseBreaker, "nobody-yet", ID) };
    let receipt = world.one(close).await;
    assert!(receipt.subjects[0].error.as_deref().unwrap().contains("would be closed"), "{receipt:?}");
}

#[tokio::test]
async fn an_old_id_never_makes_a_new_command_look_completed() {
    let world = World::new();
    let command = |action: Action| Signal {
        authority: Authority::command(),
        via: Via::Direct,
        id: SignalId::new("INC-42"),
        as_of: world.now(),
        ..world.signal(action, "alice", "INC-42")
    };
    world.user("alice");
    assert_eq!(world.one(command(Action::Disconnect)).await.outcome, Outcome::Completed);
    world.user("alice");
    let receipt = world.one(command(Action::Revoke { expires_at: None })).await;
    assert_eq!(receipt.outcome, Outcome::Superseded);
    assert!(receipt.subjects[0].error.as_ref().unwrap().contains("an id of its own"));
    assert_eq!(world.kinds("alice"), ["requested", "completed"], "and leaves no entry");
}

#[tokio::test]
async fn another_authoritys_lock_does_not_complete_a_new_command_under_an_old_id() {
    let world = World::new();
    let command = |action: Action| world.command(action, "alice", "INC-42");
    assert_eq!(world.one(command(Action::Disconnect)).await.outcome, Outcome::Completed);
    world.one(world.revoke("alice")).await;
    let receipt = world.one(command(Action::Revoke { expires_at: None })).await;
    assert_eq!(receipt.outcome, Outcome::Superseded, "Okta may let alice in again");
}

#[tokio::test]
async fn what_was_begun_under_an_id_as_something_else_is_not_taken_for_a_lock_that_was_lifted() {
    let world = World::new();
    let stuck = world.user("alice");
    world.vpn.stick(&stuck);
    let command = |action: Action| world.command(action, "alice", "INC-42");
    assert_eq!(world.one(command(Action::Disconnect)).await.outcome, Outcome::Incomplete);
    assert_eq!(world.one(command(Action::Revoke { expires_at: None })).await.outcome, Outcome::Incomplete);
    assert!(world.is_locked("alice"));
}
