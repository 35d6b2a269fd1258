//! Terminate calls that can't all be made at once: whose turn comes first, and what waiting does to them.

use super::*;
use crate::memory::Mishap;
use crate::reconcile::pass::SIDE_BY_SIDE;

/// More people than calls are made to one target at the same time, each with a connection.
const MANY: usize = 20;

fn everybody() -> Vec<String> {
    (0..MANY).map(|number| format!("user-{number:02}")).collect()
}

#[tokio::test]
async fn a_target_whose_terminate_calls_hang_keeps_nobody_connected_elsewhere() {
    let world = World::new();
    let calls = Calls::new();
    calls.plan("vpn.terminate", 100, Mishap::Hangs);
    let stuck = MemoryVpn::new("us-east-1", &world.clock, &calls, 1000, Duration::from_secs(3));
    let there = stuck.endpoint("cvpn-endpoint-x");
    for name in everybody() {
        stuck.connect(&there, (Some(&name), None), Duration::ZERO, None);
        world.user(&name);
    }
    let mut revoker = world.revoker();
    revoker.vpn.insert(0, Arc::new(stuck));
    let (run, signals) = (world.run(), everybody().iter().map(|name| world.revoke(name)).collect());
    let working = tokio::spawn(async move { revoker.handle(signals, &run).await });
    until(|| world.calls.count("vpn.terminate") == MANY).await;
    working.abort();
}

#[tokio::test]
async fn an_order_that_waited_long_is_not_carried_out() {
    let world = World::new();
    for name in everybody() {
        world.user(&name);
    }
    world.calls.plan("vpn.terminate", 100, Mishap::Slow);
    let (revoker, run) = (world.revoker(), world.run());
    let signals = everybody().iter().map(|name| world.revoke(name)).collect();
    let working = tokio::spawn(async move { revoker.handle(signals, &run).await });
    until(|| world.calls.count("vpn.terminate") == SIDE_BY_SIDE).await;
    let before = world.calls.count("vpn.list");
    world.clock.advance(Duration::from_secs(11));
    until(|| world.calls.count("vpn.terminate") > SIDE_BY_SIDE).await;
    assert!(world.calls.count("vpn.list") > before, "somebody may have been restored: it is looked at anew");
    working.abort();
}

/// Lets a run over everybody get as far as there are calls that this happens to, as many as are made side by side.
async fn with_calls_that_meet(mishap: Mishap, world: &World) -> tokio::task::JoinHandle<Vec<Receipt>> {
    for name in everybody() {
        world.user(&name);
    }
    world.calls.plan("vpn.terminate", u32::try_from(SIDE_BY_SIDE).unwrap(), mishap);
    let (revoker, run) = (world.revoker(), world.run());
    let signals = everybody().iter().map(|name| world.revoke(name)).collect();
    let working = tokio::spawn(async move { revoker.handle(signals, &run).await });
    until(|| world.calls.count("vpn.terminate") == SIDE_BY_SIDE).await;
    working
}

fn asked(world: &World) -> Vec<String> {
    world.calls.made().into_iter().filter(|call| call.starts_with("vpn.terminate")).collect()
}

#[tokio::test]
async fn calls_that_hang_keep_nobody_waiting_for_long() {
    let world = World::new();
    let working = with_calls_that_meet(Mishap::Hangs, &world).await;
    world.clock.advance(Duration::from_secs(16));
    until(|| working.is_finished()).await;
    assert_eq!(outcomes(&working.await.unwrap()), [Outcome::Completed; MANY]);
}

#[tokio::test]
async fn who_had_no_turn_comes_first_the_next_time() {
    let world = World::new();
    let working = with_calls_that_meet(Mishap::Hangs, &world).await;
    let before = asked(&world);
    world.clock.advance(Duration::from_secs(16));
    until(|| working.is_finished()).await;
    let next = &asked(&world)[SIDE_BY_SIDE..MANY];
    assert!(next.iter().all(|call| !before.contains(call)), "{next:?} were asked for before others");
}

#[tokio::test]
async fn one_person_does_not_wait_for_everybody_of_another_signal() {
    let world = World::new();
    for name in everybody() {
        world.user(&name);
    }
    let zoe = world.user("zoe");
    let about = |name: &String| About::Subject(Subject::new(name).unwrap());
    let reorganisation = Signal { about: everybody().iter().map(about).collect(), ..world.revoke("reorganisation") };
    world.handle(vec![reorganisation, world.revoke("zoe")]).await;
    assert_eq!(asked(&world)[0], format!("vpn.terminate {}", zoe.as_str()));
}

#[tokio::test]
async fn an_order_that_waited_is_not_carried_out_for_somebody_who_was_let_in_meanwhile() {
    let world = World::new();
    let last = everybody().remove(MANY - 1);
    let working = with_calls_that_meet(Mishap::Slow, &world).await;
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(world.one(world.restore(&last)).await.outcome, Outcome::Restored);
    let mut outcomes = outcomes(&working.await.unwrap());
    assert_eq!(outcomes.pop(), Some(Outcome::Superseded));
    assert_eq!(outcomes, [Outcome::Completed; MANY - 1]);
    assert_eq!(world.vpn.alive(None).len(), 1, "and stays connected");
}

#[tokio::test]
async fn an_order_that_waited_is_not_carried_out_where_the_lock_cannot_be_read() {
    let world = World::new();
    let working = with_calls_that_meet(Mishap::Slow, &world).await;
    world.clock.advance(Duration::from_secs(3));
    let (lists, waiting) = (world.calls.count("vpn.list"), u32::try_from(MANY - SIDE_BY_SIDE).unwrap());
    world.calls.plan("locks.read", waiting, Mishap::Fails);
    until(|| world.calls.count("vpn.terminate") > SIDE_BY_SIDE).await;
    assert!(world.calls.count("vpn.list") > lists, "it is looked at anew");
    assert_eq!(outcomes(&working.await.unwrap()), [Outcome::Completed; MANY]);
}

/// Somebody with three connections, who are ended by user name.
fn with_three(world: &World) -> String {
    (0..3).for_each(|_| drop(world.user("alice")));
    "vpn.terminate user alice".to_owned()
}

#[tokio::test]
async fn a_call_by_user_name_that_hangs_is_made_by_id_the_next_time() {
    let world = World::new();
    let by_user = with_three(&world);
    world.calls.plan(&by_user, 10, Mishap::Hangs);
    let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice"));
    let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
    until(|| world.calls.count(&by_user) == 1).await;
    world.clock.advance(Duration::from_secs(16));
    until(|| working.is_finished()).await;
    assert_eq!(outcomes(&working.await.unwrap()), [Outcome::Completed]);
    assert_eq!((world.calls.count(&by_user), asked(&world).len()), (1, 4));
}

#[tokio::test]
async fn what_came_too_soon_is_asked_for_neither_one_by_one_nor_by_id_the_next_time() {
    for mishap in [Mishap::Throttled, Mishap::NoTurn] {
        let world = World::new();
        let by_user = with_three(&world);
        world.calls.plan(&by_user, 1, mishap);
        assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
        assert_eq!(asked(&world), vec![by_user.clone(), by_user]);
    }
}

#[tokio::test]
async fn one_by_one_ends_where_it_comes_too_soon_and_what_was_made_before_counts() {
    let world = World::new();
    let by_user = with_three(&world);
    world.calls.plan(&by_user, 1, Mishap::AnswerLost);
    world.calls.plan("vpn.terminate", 1, Mishap::NoTurn);
    let begun_at = world.now();
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(asked(&world).len(), 2, "the call whose answer was lost, and one that was not made");
    assert_eq!((receipt.outcome, receipt.timings.first_terminate_at), (Outcome::Completed, Some(begun_at)));
}

#[tokio::test]
async fn the_first_call_is_told_of_where_the_invoke_ended_before_it_was_answered() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("vpn.terminate", 1, Mishap::Hangs);
    let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice"));
    let (begun_at, stop_at) = (world.now(), run.stop_at);
    let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
    until(|| world.calls.count("vpn.terminate") == 1).await;
    world.calls.plan("vpn.list", 1, Mishap::Hangs);
    world.clock.advance(Duration::from_secs(16));
    until(|| world.calls.count("vpn.list") > 2).await;
    world.clock.advance(stop_at.since(world.now()));
    let receipt = working.await.unwrap().remove(0);
    assert_eq!((receipt.outcome, receipt.timings.first_terminate_at), (Outcome::Incomplete, Some(begun_at)));
}

#[tokio::test]
async fn whoever_is_gone_is_not_given_up_because_the_proof_is_due_late() {
    let mut world = World::new();
    world.policy.settle = world.policy.verify;
    world.user("alice");
    // Its call is answered a while after the lock.
    world.calls.plan("vpn.terminate", 1, Mishap::Slow);
    let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice"));
    let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
    until(|| world.calls.count("vpn.terminate") == 1).await;
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(outcomes(&working.await.unwrap()), [Outcome::Completed]);
}

#[tokio::test]
async fn whoever_waits_for_a_turn_is_not_given_up_before_the_invoke_ends() {
    let world = World::new();
    world.user("alice");
    let (clock, over_at) = (Arc::clone(&world.clock), world.now().plus(world.policy.verify * 2));
    world.calls.chaos(Some(Box::new(move |call: &str| {
        let is_soon = crate::ports::Clock::now(&*clock) < over_at;
        (call.starts_with("vpn.terminate") && is_soon).then_some(Mishap::Throttled)
    })));
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Completed, "{receipt:?}");
    assert!(world.now() > over_at);
}

#[tokio::test]
async fn nobody_waits_for_a_turn_on_an_endpoint_that_is_not_shown() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("vpn.terminate", 1, Mishap::NoTurn);
    let mut lists = 0;
    world.calls.chaos(Some(Box::new(move |call: &str| {
        lists += usize::from(call.starts_with("vpn.list"));
        (call.starts_with("vpn.list") && lists > 2).then_some(Mishap::Fails)
    })));
    let begun_at = world.now();
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Incomplete);
    let took = world.now().since(begun_at);
    assert!(took >= world.policy.verify && took < world.policy.verify * 2, "{took:?}");
}
