//! The circuit breaker.

use super::*;
use crate::memory::Mishap;

fn okta() -> Authority {
    Authority::producer("okta", Some("acme"))
}

impl World {
    /// A world whose authorities may lock three people in ten minutes.
    fn braked() -> Self {
        let mut world = Self::new();
        world.policy.max_subjects = 3;
        world
    }

    fn close(&self, id: &str) -> Signal {
        let about = vec![About::Breaker(okta())];
        Signal { about, ..self.command(Action::CloseBreaker, "nobody-yet", id) }
    }
}

#[tokio::test]
async fn an_authority_that_locks_too_many_is_not_believed_until_somebody_closes_its_breaker() {
    let world = World::braked();
    for name in ["a", "b", "c"] {
        assert_eq!(world.one(world.revoke(name)).await.outcome, Outcome::Completed);
    }
    let fourth = world.user("d");
    for _ in 0..2 {
        let receipt = world.one(world.revoke("d")).await;
        assert_eq!((receipt.outcome, receipt.subjects[0].refusal), (Outcome::Refused, Some("breaker-open")));
        assert!(receipt.is_retryable(), "it is left for retries and the dead-letter queue");
        assert!(receipt.subjects[0].error.as_deref().unwrap().contains("close_breaker"));
    }
    assert_eq!((world.vpn.alive(None), world.is_locked("d")), (vec![fourth], false));
    assert_eq!(world.kinds("d"), ["refused"], "audited once");

    world.clock.advance(Duration::from_secs(24 * 60 * 60));
    assert_eq!(world.one(world.revoke("d")).await.outcome, Outcome::Refused, "it stays open");
    for (id, said) in [("c-1", "the breaker is closed"), ("c-2", "no breaker was open")] {
        let receipt = world.one(world.close(id)).await;
        assert_eq!(receipt.outcome, Outcome::Restored);
        assert!(receipt.subjects[0].error.as_deref().unwrap().starts_with(said), "{receipt:?}");
    }
    assert_eq!(world.kinds("#breaker/okta:acme"), ["restored"; 2]);
    assert_eq!(world.one(world.revoke("d")).await.outcome, Outcome::Completed);
    assert!(world.is_locked("d"));
}

#[tokio::test]
async fn what_an_environment_whose_clock_is_ahead_counted_counts() {
    let world = World::braked();
    world.clock.advance(Duration::from_secs(59));
    // The world begins with a minute, so this clock shows the next one.
    let ahead = Arc::new(ManualClock::at(world.now().plus(Duration::from_secs(3))));
    let brake = crate::breaker::Brake::new(Arc::new(world.breaker.clone()), ahead as Arc<dyn crate::ports::Clock>);
    for name in ["a", "b", "c"] {
        let hold = crate::breaker::Counted::new(&SignalId::new(name), &Name::new(name).unwrap());
        assert_eq!(brake.pass(&okta(), &hold, 3).await.unwrap(), crate::breaker::Passage::Free);
    }
    assert_eq!(world.one(world.revoke("d")).await.subjects[0].refusal, Some("breaker-open"));
}

#[tokio::test]
async fn a_hold_counts_from_when_it_comes_into_force() {
    let world = World::braked();
    world.calls.plan("locks.write", 3, Mishap::Fails);
    for name in ["a", "b", "c"] {
        assert_eq!(world.one(world.revoke(name)).await.outcome, Outcome::Incomplete);
    }
    world.clock.advance(Duration::from_secs(10 * 60 + 25));
    for name in ["a", "b", "c"] {
        assert_eq!(world.one(world.revoke(name)).await.outcome, Outcome::Completed);
    }
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.one(world.revoke("d")).await.subjects[0].refusal, Some("breaker-open"));
}

#[tokio::test]
async fn after_closing_the_count_begins_at_zero() {
    let world = World::braked();
    for name in ["a", "b", "c", "d"] {
        world.one(world.revoke(name)).await;
    }
    world.one(world.close("c-1")).await;
    for name in ["d", "e", "f"] {
        assert_eq!(world.one(world.revoke(name)).await.outcome, Outcome::Completed, "{name}");
    }
    assert_eq!(world.one(world.revoke("g")).await.outcome, Outcome::Refused);
}

#[tokio::test]
async fn what_was_counted_ten_minutes_ago_is_of_no_account() {
    let world = World::braked();
    for name in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(world.one(world.revoke(name)).await.outcome, Outcome::Completed, "{name}");
        world.clock.advance(Duration::from_secs(250));
    }
}

#[tokio::test]
async fn another_authority_and_a_persons_command_are_not_braked() {
    let world = World::braked();
    for name in ["a", "b", "c", "d"] {
        world.one(world.revoke(name)).await;
    }
    let siem = Signal { authority: Authority::named("siem"), id: SignalId::new("s-1"), ..world.revoke("d") };
    assert_eq!(world.one(siem).await.outcome, Outcome::Completed);
    for name in ["e", "f", "g", "h"] {
        let command = world.command(Action::Revoke { expires_at: None }, name, &format!("c-{name}"));
        assert_eq!(world.one(command).await.outcome, Outcome::Completed, "{name}");
    }
}

#[tokio::test]
async fn one_hold_counts_once_however_often_it_is_tried() {
    let world = World::braked();
    for name in ["a", "b", "c"] {
        for call in ["breaker.count", "locks.write", "audit.commit"] {
            world.calls.plan(call, 1, Mishap::AnswerLost);
            world.one(world.revoke(name)).await;
        }
        assert_eq!(world.one(world.revoke(name)).await.outcome, Outcome::Completed);
        let another = Signal { id: SignalId::new(&format!("another-{name}")), ..world.revoke(name) };
        assert_eq!(world.one(another).await.outcome, Outcome::Completed, "in force already: nothing new");
    }
    assert_eq!(world.breaker.opened_at(&okta()), None);
}

#[tokio::test]
async fn without_a_count_nothing_passes() {
    let world = World::braked();
    world.user("a");
    for (call, times) in [("breaker.standing", 2), ("breaker.count", 1)] {
        world.calls.plan(call, times, Mishap::Fails);
        assert_eq!(world.one(world.revoke("a")).await.outcome, Outcome::Incomplete, "{call}");
        assert!(!world.is_locked("a"));
    }
    assert_eq!(world.one(world.revoke("a")).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_count_that_hangs_holds_no_other_authority_up() {
    let world = World::braked();
    world.calls.plan("breaker.standing okta:acme", 2, Mishap::Hangs);
    let siem = Signal { authority: Authority::named("siem"), id: SignalId::new("s-1"), ..world.revoke("b") };
    let batch = vec![world.revoke("a"), siem, world.revoke("c")];
    let (revoker, run) = (world.revoker(), world.run());
    let working = tokio::spawn(async move { revoker.handle(batch, &run).await });
    until(|| world.calls.count("locks.write b") != 0).await;
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(outcomes(&working.await.unwrap()), [Outcome::Incomplete, Outcome::Completed, Outcome::Completed]);
}

#[tokio::test]
async fn a_batch_is_braked_within_itself() {
    let world = World::braked();
    let batch: Vec<Signal> = (0..20).map(|n| world.revoke(&format!("user-{n:02}"))).collect();
    let receipts = world.handle(batch).await;
    let locked = (0..20).filter(|n| world.is_locked(&format!("user-{n:02}"))).count();
    let refused = receipts.iter().filter(|receipt| receipt.outcome == Outcome::Refused).count();
    assert_eq!((locked, refused), (3, 17));
}

#[tokio::test]
async fn runs_side_by_side_do_not_overshoot() {
    let world = World::braked();
    // Not where a minute turns: there, each would take back its own.
    world.clock.advance(Duration::from_secs(30));
    let mut runs = Vec::new();
    for environment in 0..4 {
        let batch: Vec<Signal> = (0..5).map(|n| world.revoke(&format!("user-{environment}-{n}"))).collect();
        let (revoker, run) = (world.revoker(), world.run());
        runs.push(tokio::spawn(async move { revoker.handle(batch, &run).await }));
    }
    let mut done = 0;
    for run in runs {
        done += run.await.unwrap().iter().filter(|receipt| receipt.outcome == Outcome::Completed).count();
    }
    assert_eq!(done, 3);
}

#[tokio::test]
async fn what_is_superseded_and_what_is_only_rehearsed_does_not_count() {
    let mut world = World::braked();
    world.policy.mode = Mode::Shadow;
    for n in 0..9 {
        assert_eq!(world.one(world.revoke(&format!("user-{n}"))).await.outcome, Outcome::Shadowed);
    }
    assert_eq!(world.calls.count("breaker."), 0);
    world.policy.mode = Mode::Enforce;
    for n in 0..9 {
        let subject = format!("former-{n}");
        let old = world.revoke(&subject);
        world.clock.advance(Duration::from_secs(1));
        world.one(world.restore(&subject)).await;
        assert_eq!(world.one(old).await.outcome, Outcome::Superseded);
    }
    assert_eq!(world.calls.count("breaker.count"), 0);
}

#[tokio::test]
async fn a_second_refusal_for_another_reason_is_in_the_trail() {
    let mut world = World::braked();
    world.policy.max_subjects = 1;
    world.policy.max_connections = 1;
    world.one(world.revoke("a")).await;
    world.user("b");
    world.on(1, Some("b"), None);
    for _ in 0..2 {
        assert_eq!(world.one(world.revoke("b")).await.subjects[0].refusal, Some("breaker-open"));
    }
    assert_eq!(world.kinds("b"), ["refused"]);
    world.one(world.close("c-1")).await;
    for _ in 0..2 {
        assert_eq!(world.one(world.revoke("b")).await.subjects[0].refusal, Some("too-many-connections"));
        world.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(world.kinds("b"), ["refused", "requested", "incomplete"]);
    let last = world.audit.chains().remove("b").unwrap().pop().unwrap();
    assert_eq!(last.detail("refusal"), Some(&serde_json::json!("too-many-connections")));
    assert!(last.detail("why").unwrap().as_str().unwrap().contains("MAX_CONNECTIONS"), "{last:?}");
}
