//! What the brake counts, and with how many looks and writes.

use super::*;
use crate::memory::{Calls, ManualClock, MemoryBreaker, Mishap};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

#[test]
fn ten_whole_minutes_count_the_one_that_has_begun_and_the_next_where_a_clock_is_ahead() {
    let minutes = minutes_around(at("2026-03-01T09:30:59Z"));
    let minutes: Vec<Timestamp> = minutes.iter().map(|minute| minute.begins_at()).collect();
    assert_eq!((minutes.len(), minutes[0]), (12, at("2026-03-01T09:31:00Z")));
    assert_eq!(minutes[11], at("2026-03-01T09:20:00Z"));
}

#[test]
fn a_hold_is_the_same_however_often_it_is_tried_and_as_a_table_keeps_it() {
    let hold = |signal: &str, name: &str| Counted::new(&SignalId::new(signal), &Name::new(name).unwrap());
    let one = hold("okta:e-1", "alice");
    assert_eq!((one.as_str().len(), &Counted::kept(one.as_str())), (16, &one));
    assert_eq!(one, hold("okta:e-1", "Alice"));
    assert!(one != hold("okta:e-2", "alice") && one != hold("okta:e-1", "bob"));
}

#[tokio::test]
async fn a_brake_shows_what_it_counted_until_it_is_closed() {
    let clock = Arc::new(ManualClock::at(at("2026-03-01T09:30:00Z")));
    let brake = Brake::new(Arc::new(MemoryBreaker::new(&Calls::new())), clock.clone());
    let (okta, holds) = (Authority::named("okta:acme"), ["a", "b"].map(Counted::kept));
    for hold in [&holds[0], &holds[0], &holds[1]] {
        assert_eq!(brake.pass(&okta, hold, 2).await, Ok(Passage::Free));
    }
    let standing = brake.standing(&okta).await.unwrap();
    assert_eq!((standing.counted, standing.opened_at), (holds.clone().into(), None));
    let open = Ok(Passage::Open { since: clock.now() });
    assert_eq!(
        (brake.pass(&okta, &Counted::kept("c"), 2).await, brake.pass(&okta, &holds[0], 2).await),
        (open.clone(), open)
    );
    brake.close(&okta).await.unwrap();
    assert_eq!(brake.standing(&okta).await, Ok(Standing { round: 1, ..Standing::default() }));
    assert_eq!(brake.pass(&okta, &holds[0], 2).await, Ok(Passage::Free));
}

/// So many holds at once, where so many are the limit; whether each may pass, and how often the table was asked.
async fn at_once(holds: usize, limit: usize, calls: &Calls) -> (Vec<Result<Passage, StoreError>>, [usize; 2]) {
    let clock = Arc::new(ManualClock::at(at("2026-03-01T09:30:30Z")));
    let brake = Brake::new(Arc::new(MemoryBreaker::new(calls)), clock);
    let mut passing = tokio::task::JoinSet::new();
    for number in 0..holds {
        let (brake, hold) = (brake.clone(), Counted::kept(&number.to_string()));
        passing.spawn(async move { brake.pass(&Authority::named("okta:acme"), &hold, limit).await });
    }
    (passing.join_all().await, ["breaker.standing", "breaker.count"].map(|call| calls.count(call)))
}

fn free(passed: &[Result<Passage, StoreError>]) -> usize {
    passed.iter().filter(|passed| **passed == Ok(Passage::Free)).count()
}

#[tokio::test]
async fn a_batch_is_counted_at_once() {
    for (limit, passing) in [(80, 10), (10, 10), (7, 7), (0, 0)] {
        let (passed, asked) = at_once(10, limit, &Calls::new()).await;
        assert_eq!((free(&passed), asked), (passing, [1, usize::from(passing > 0)]), "{limit}");
        assert_eq!(
            passed.len() - free(&passed),
            passed.iter().filter(|p| matches!(p, Ok(Passage::Open { .. }))).count()
        );
    }
}

#[tokio::test]
async fn whoever_comes_at_the_same_moment_is_counted_along_although_the_look_is_made() {
    let (brake, _, calls) = brake();
    looked_ahead(&brake).await;
    let mut passing = tokio::task::JoinSet::new();
    for number in 0..10 {
        let (brake, hold) = (brake.clone(), Counted::kept(&number.to_string()));
        // As admission does it, in tasks of tasks.
        passing.spawn(async move { tokio::spawn(async move { brake.pass(&okta(), &hold, 50).await }).await });
    }
    assert!(passing.join_all().await.into_iter().all(|passed| passed.unwrap() == Ok(Passage::Free)));
    assert_eq!(["breaker.standing", "breaker.count"].map(|call| calls.count(call)), [1, 1]);
}

#[tokio::test]
async fn those_who_are_counted_together_hear_of_the_same_failure() {
    let calls = Calls::new();
    calls.plan("breaker.count", 1, Mishap::Fails);
    assert!(at_once(10, 50, &calls).await.0.iter().all(Result::is_err));
    calls.plan("breaker.standing", 1, Mishap::Fails);
    let (passed, _) = at_once(10, 50, &calls).await;
    assert_eq!(free(&passed), 9, "the next looks for itself");
}

/// Looks ahead, and lets the look be over.
async fn looked_ahead(brake: &Brake) {
    brake.look_ahead(&okta());
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

/// A brake, its clock and its log of calls.
fn brake() -> (Brake, Arc<ManualClock>, Calls) {
    let (calls, clock) = (Calls::new(), Arc::new(ManualClock::at(at("2026-03-01T09:30:30Z"))));
    (Brake::new(Arc::new(MemoryBreaker::new(&calls)), clock.clone()), clock, calls)
}

fn okta() -> Authority {
    Authority::named("okta:acme")
}

#[tokio::test]
async fn what_others_counted_since_the_look_counts() {
    let (brake, clock, _) = brake();
    let holds = ["a", "b", "c", "d"].map(Counted::kept);
    let [others, ours] = [(); 2].map(|()| Brake::new(Arc::clone(&brake.breaker), clock.clone()));
    looked_ahead(&ours).await;
    for hold in &holds[..2] {
        assert_eq!(others.pass(&okta(), hold, 3).await, Ok(Passage::Free));
    }
    let authority = okta();
    let (third, fourth) = tokio::join!(ours.pass(&authority, &holds[2], 3), ours.pass(&authority, &holds[3], 3));
    assert_eq!((third, fourth), (Ok(Passage::Free), Ok(Passage::Open { since: clock.now() })));
    assert_eq!(others.standing(&okta()).await.unwrap().opened_at, Some(clock.now()));
}

#[tokio::test]
async fn a_hold_that_others_count_at_the_same_moment_takes_no_room_of_a_new_one_and_makes_none() {
    let (brake, clock, _) = brake();
    let holds = ["a", "b", "c", "d", "e"].map(Counted::kept);
    // What others count after the look, the limit, and who may pass of `a`, `d` and `e`.
    for (others, limit, passing) in [
        (&holds[..3], 3, [true, false, false]),
        (&holds[..3], 4, [true, true, false]),
        (&holds[..3], 2, [false, false, false]),
        (&holds[1..3], 3, [true, false, false]),
    ] {
        brake.close(&okta()).await.unwrap();
        looked_ahead(&brake).await;
        let round = brake.standing(&okta()).await.unwrap().round;
        brake.breaker.count(&okta(), round, Minute::of(clock.now()), others).await.unwrap();
        let authority = okta();
        let (first, second, third) = tokio::join!(
            brake.pass(&authority, &holds[0], limit),
            brake.pass(&authority, &holds[3], limit),
            brake.pass(&authority, &holds[4], limit)
        );
        assert_eq!([first, second, third].map(|passed| passed == Ok(Passage::Free)), passing, "{limit}");
    }
}

#[tokio::test]
async fn what_others_counted_in_the_minute_beside_counts_where_it_turns() {
    for (second, passes) in [("45", false), ("44", true)] {
        let clock = Arc::new(ManualClock::at(at(&format!("2026-03-01T09:30:{second}Z"))));
        let breaker: Arc<dyn Breaker> = Arc::new(MemoryBreaker::new(&Calls::new()));
        let ours = Brake::new(Arc::clone(&breaker), clock.clone());
        looked_ahead(&ours).await;
        let next = Minute(Minute::of(clock.now()).0 + 1);
        breaker.count(&okta(), 0, next, &[Counted::kept("others")]).await.unwrap();
        let passed = ours.pass(&okta(), &Counted::kept("ours"), 1).await;
        assert_eq!(passed == Ok(Passage::Free), passes, "at {second}");
    }
}

#[tokio::test]
async fn what_was_counted_before_is_no_more_than_the_limit_either() {
    let (brake, clock, _) = brake();
    let holds = ["a", "b"].map(Counted::kept);
    brake.breaker.count(&okta(), 0, Minute::of(clock.now()), &holds[..1]).await.unwrap();
    looked_ahead(&brake).await;
    brake.breaker.count(&okta(), 0, Minute::of(clock.now()), &holds[1..]).await.unwrap();
    assert_eq!(brake.pass(&okta(), &holds[0], 1).await, Ok(Passage::Open { since: clock.now() }));
}

#[tokio::test]
async fn a_look_ahead_does_not_refuse_whoever_waits_either() {
    let (brake, clock, calls) = brake();
    let old = Minute(Minute::of(clock.now()).0 - MINUTES + 1);
    brake.breaker.count(&okta(), 0, old, &[Counted::kept("old")]).await.unwrap();
    looked_ahead(&brake).await;
    let holds = ["a", "b"].map(Counted::kept);
    clock.advance(Duration::from_secs(2));
    let authority = okta();
    let (first, second) = tokio::join!(brake.pass(&authority, &holds[0], 2), brake.pass(&authority, &holds[1], 2));
    assert_eq!([first.clone(), second].iter().filter(|passed| **passed == Ok(Passage::Free)).count(), 1);
    assert_eq!(calls.count("breaker.standing"), 2, "looked at again before anybody is refused");
}

#[tokio::test]
async fn without_knowing_what_others_counted_nothing_passes() {
    let (brake, clock, calls) = brake();
    clock.advance(Duration::from_secs(20));
    let mut looks = 0;
    calls.chaos(Some(Box::new(move |call: &str| {
        looks += usize::from(call.starts_with("breaker.standing"));
        (call.starts_with("breaker.standing") && looks == 2).then_some(Mishap::Fails)
    })));
    let hold = Counted::kept("a");
    assert!(brake.pass(&okta(), &hold, 3).await.is_err(), "where a minute turns, it is looked again");
    assert_eq!(brake.pass(&okta(), &hold, 3).await, Ok(Passage::Free));
}

#[tokio::test]
async fn a_look_ahead_is_used_once_and_while_it_is_fresh() {
    for (pause, looks) in [(0, 1), (2, 1), (3, 2)] {
        let (brake, clock, calls) = brake();
        looked_ahead(&brake).await;
        clock.advance(Duration::from_secs(pause));
        assert_eq!(brake.pass(&okta(), &Counted::kept("a"), 3).await, Ok(Passage::Free));
        assert_eq!(calls.count("breaker.standing"), looks, "{pause}");
        assert_eq!(brake.pass(&okta(), &Counted::kept("b"), 3).await, Ok(Passage::Free));
        assert_eq!(calls.count("breaker.standing"), looks + 1);
    }
}

#[tokio::test]
async fn nobody_is_refused_by_what_stood_a_moment_ago() {
    let (brake, clock, _) = brake();
    brake.breaker.open(&okta(), 0, clock.now()).await.unwrap();
    looked_ahead(&brake).await;
    brake.close(&okta()).await.unwrap();
    assert_eq!(brake.pass(&okta(), &Counted::kept("a"), 1).await, Ok(Passage::Free));
    assert_eq!(brake.standing(&okta()).await.unwrap().counted.len(), 1, "in the round that is");
}

#[tokio::test]
async fn a_look_ahead_that_hangs_or_fails_is_made_up_for() {
    let (brake, clock, calls) = brake();
    calls.plan("breaker.standing", 1, Mishap::Fails);
    brake.look_ahead(&okta());
    assert_eq!(brake.pass(&okta(), &Counted::kept("a"), 3).await, Ok(Passage::Free));
    calls.plan("breaker.standing", 1, Mishap::Hangs);
    brake.look_ahead(&okta());
    let passing = tokio::spawn(async move { brake.pass(&okta(), &Counted::kept("b"), 3).await });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(passing.await.unwrap(), Ok(Passage::Free));
}

#[tokio::test]
async fn whoever_counts_and_is_given_up_takes_nobody_along_for_good() {
    let (brake, clock, calls) = brake();
    calls.plan("breaker.count", 1, Mishap::Hangs);
    let mut passing = tokio::task::JoinSet::new();
    for number in 0..10 {
        let (brake, hold) = (brake.clone(), Counted::kept(&number.to_string()));
        passing.spawn(async move { brake.pass(&okta(), &hold, 50).await });
    }
    while calls.count("breaker.count") == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(ANSWER_IN);
    assert!(passing.join_all().await.iter().all(Result::is_err), "none is known to be counted");
    assert_eq!(brake.pass(&okta(), &Counted::kept("0"), 50).await, Ok(Passage::Free));
}

#[tokio::test]
async fn who_gave_up_waiting_is_not_counted() {
    let ((brake, ..), okta) = (brake(), okta());
    let [gone, first] = ["gone", "first"].map(Counted::kept);
    tokio::select! {
        biased;
        _ = brake.pass(&okta, &gone, 50) => panic!("a look takes a moment"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(brake.pass(&okta, &first, 50).await, Ok(Passage::Free));
    assert_eq!(brake.standing(&okta).await.unwrap().counted, [first].into());
}
