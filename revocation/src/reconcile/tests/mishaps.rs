use super::*;
use crate::memory::Mishap;

#[tokio::test]
async fn nothing_is_terminated_while_the_lock_cannot_be_written() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("locks.write", 1, Mishap::Fails);
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Incomplete);
    assert_eq!(world.alive(), 1);
    assert_eq!(world.kinds("alice"), ["incomplete"]);
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn nothing_is_terminated_while_requested_cannot_be_recorded() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("audit.commit alice requested", 1, Mishap::Fails);
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Incomplete);
    assert_eq!(world.alive(), 1);
    assert!(world.is_locked("alice"), "the lock stands, so that the person is kept out meanwhile");
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn what_is_not_recorded_is_not_completed() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("audit.commit alice completed", 1, Mishap::Fails);
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Incomplete);
    let why = receipt.subjects[0].error.as_deref().unwrap();
    assert!(why.starts_with("completed but not recorded: "), "{why}");
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
    assert_eq!(world.kinds("alice"), ["requested", "completed"]);
}

#[tokio::test]
async fn what_is_left_is_said_also_where_it_could_not_be_recorded() {
    let world = World::new();
    let stuck = world.user("alice");
    world.vpn.stick(&stuck);
    world.calls.plan("audit.commit alice incomplete", 1, Mishap::Fails);
    let receipt = world.one(world.revoke("alice")).await;
    let why = receipt.subjects[0].error.as_deref().unwrap();
    assert!(why.starts_with("still alive: 1;") && why.contains("; nor could that be recorded: "), "{why}");
}

#[tokio::test]
async fn what_was_decided_is_said_also_where_it_could_not_be_recorded() {
    let mut world = World::new();
    world.policy.protected = crate::policy::Protected::parse("alice").unwrap();
    world.calls.plan("audit.commit alice refused", 1, Mishap::Fails);
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Incomplete, "it comes again");
    let why = receipt.subjects[0].error.as_deref().unwrap();
    assert!(why.starts_with("refused but not recorded: "), "{why}");
}

#[tokio::test]
async fn a_lost_answer_of_any_call_converges_on_the_next_delivery() {
    for call in ["locks.write", "audit.commit alice requested", "vpn.terminate", "audit.commit alice completed"] {
        let world = World::new();
        world.user("alice");
        world.user("bob");
        world.calls.plan(call, 1, Mishap::AnswerLost);
        world.one(world.revoke("alice")).await;
        assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed, "{call}");
        assert!(world.vpn.alive(Some("alice")).is_empty(), "{call}");
        assert_eq!(world.vpn.alive(Some("bob")).len(), 1, "{call}");
        let kinds = world.kinds("alice");
        assert_eq!(kinds.iter().filter(|kind| *kind == "completed").count(), 1, "{call}");
    }
}

#[tokio::test]
async fn a_crash_before_any_call_converges_on_the_next_delivery() {
    let calls = {
        let world = World::new();
        world.user("alice");
        world.user("alice");
        world.one(world.revoke("alice")).await;
        world.calls.made()
    };
    for crash in 0..calls.len() {
        let world = World::new();
        world.user("alice");
        world.user("alice");
        let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice"));
        let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
        while world.calls.made().len() <= crash && !working.is_finished() {
            tokio::task::yield_now().await;
        }
        working.abort();
        let _ = working.await;
        assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed, "crashed after call {crash}");
        assert_eq!(world.alive(), 0);
        assert_eq!(world.kinds("alice"), ["requested", "completed"], "crashed after call {crash}");
    }
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_listed_means_incomplete_and_the_others_are_done() {
    let world = World::new();
    world.user("alice");
    world.on(1, Some("alice"), None);
    world.calls.plan("vpn.list cvpn-endpoint-b", 100, Mishap::Fails);
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Incomplete);
    assert_eq!(world.alive(), 1);
    assert!(receipt.subjects[0].error.as_ref().unwrap().contains("cvpn-endpoint-b"));
    assert!(receipt.timings.verified_at.is_none());
}

#[tokio::test]
async fn a_failure_that_passes_is_waited_out() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("vpn.list", 3, Mishap::Fails);
    world.calls.plan("vpn.terminate", 2, Mishap::Fails);
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn failed_to_terminate_is_reported_and_alive() {
    let world = World::new();
    let stuck = world.user("alice");
    world.vpn.stick(&stuck);
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Incomplete);
    let connection = &receipt.subjects[0].connections[0];
    assert_eq!(connection.current_status.code(), "failed-to-terminate");
    assert!(connection.error.as_ref().unwrap().contains("failed to terminate"));
    assert_eq!(receipt.terminated(), 0);
}

#[tokio::test]
async fn a_denied_call_is_given_up_at_once_and_says_what_to_allow() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("vpn.terminate", 100, Mishap::Denied);
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Incomplete);
    assert_eq!(world.calls.count("vpn.terminate"), 1);
    assert!(receipt.subjects[0].connections[0].error.as_ref().unwrap().contains("allow the action"));
}

#[tokio::test]
async fn a_call_by_user_name_that_fails_falls_back_to_ids() {
    let world = World::new();
    for _ in 0..3 {
        world.user("alice");
    }
    world.calls.plan("vpn.terminate user", 1, Mishap::Fails);
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
    assert_eq!(world.calls.count("vpn.terminate cvpn-connection"), 3);
}

#[tokio::test]
async fn a_client_that_keeps_coming_back_is_ended_again_and_never_called_completed() {
    for seconds in [1, 2, 4, 5, 6] {
        let world = World::new();
        let back = Some(Duration::from_secs(seconds));
        world.vpn.connect(&world.endpoints[0], (None, Some("alice")), Duration::ZERO, back);
        let receipt = world.one(world.revoke("alice")).await;
        assert_eq!(receipt.outcome, Outcome::Incomplete, "back after {seconds} s");
        let reconnected = receipt.subjects[0].reconnected;
        assert!(reconnected >= 2, "back after {seconds} s");
        assert!(world.is_locked("alice"));
        let entries = &world.audit.chains()["alice"];
        assert_eq!(entries.last().unwrap().attributes()["detail"]["reconnected"], reconnected);
    }
}

#[tokio::test]
async fn a_certificate_is_not_judged_by_half_a_listing() {
    let world = World::new();
    let both = [world.on(0, Some("alice"), Some("fleet")), world.on(1, Some("bob"), Some("fleet"))];
    world.calls.plan("vpn.list cvpn-endpoint-b", 1, Mishap::Fails);
    assert_eq!(world.one(world.revoke("fleet")).await.outcome, Outcome::Refused);
    assert_eq!(world.vpn.alive(None), both);
}

#[tokio::test]
async fn one_that_hangs_in_terminating_holds_nobody_else_up() {
    let mut world = World::new();
    world.vpn = MemoryVpn::new("eu-west-1", &world.clock, &world.calls, 1000, Duration::from_secs(3600));
    world.endpoints = vec![world.vpn.endpoint("cvpn-endpoint-a")];
    world.user("stuck");
    let begun = world.now();
    let receipts = world.handle(vec![world.revoke("stuck"), world.revoke("bob")]).await;
    assert_eq!(outcomes(&receipts), [Outcome::Incomplete, Outcome::Completed]);
    assert!(receipts[1].timings.verified_at.unwrap().since(begun) < Duration::from_secs(20));
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_holds_no_others_people_connected() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("vpn.list cvpn-endpoint-b", 1, Mishap::Hangs);
    let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice"));
    let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
    until(|| world.calls.count("vpn.list") >= 2).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.calls.count("vpn.terminate"), 0, "for a moment the listing is judged whole");
    world.clock.advance(Duration::from_secs(5));
    until(|| world.calls.count("vpn.terminate") != 0).await;
    working.abort();
}

impl World {
    /// Locks Alice under these names, and begins to list both endpoints for her.
    async fn listing_for_alice(&self, names: &[&str]) -> tokio::task::JoinHandle<()> {
        let revoker = self.revoker();
        let mut case = case(self.revoke("alice"), names);
        revoker.apply_to_all(&mut case, None).await.unwrap();
        let goal = pursuit::Goal::Locked { names: case.named() };
        let mut pursuits = [pursuit::Pursuit::new(0, goal, &case, false, self.now())];
        let stop_at = self.run().stop_at;
        let working = tokio::spawn(async move {
            let scope = revoker.scope().await;
            revoker.pass(&mut pursuits, &scope, stop_at).await;
        });
        until(|| self.calls.count("vpn.list") == 2).await;
        working
    }
}

#[tokio::test]
async fn who_is_let_in_while_a_listing_goes_on_is_not_ended_by_what_it_shows_later() {
    for names in [vec!["alice"], vec!["alice", "laptop-7"]] {
        let world = World::new();
        world.user(names[names.len() - 1]);
        world.calls.plan("vpn.list", 2, Mishap::Slow);
        let working = world.listing_for_alice(&names).await;
        world.clock.advance(Duration::from_secs(5));
        world.one(world.restore(names[names.len() - 1])).await;
        working.await.unwrap();
        assert_eq!(world.calls.count("vpn.terminate"), 0, "{names:?}");
    }
}

#[tokio::test]
async fn whose_name_was_let_in_is_not_ended_for_a_certificate_that_others_use() {
    let world = World::new();
    world.on(0, Some("alice"), Some("laptop-7"));
    world.on(0, Some("bob"), Some("laptop-7"));
    world.calls.plan("vpn.list cvpn-endpoint-b", 1, Mishap::Slow);
    let working = world.listing_for_alice(&["alice", "laptop-7"]).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    // She was seen by now, and is let in under her own name alone.
    let lock = world.locks.stored(&Name::new("alice").unwrap()).unwrap();
    world.locks.put(Lock { version: lock.version + 1, holds: std::collections::BTreeMap::new(), ..lock });
    world.clock.advance(Duration::from_secs(5));
    working.await.unwrap();
    assert_eq!(world.calls.count("vpn.terminate"), 0);
}

#[tokio::test]
async fn what_is_on_its_way_out_does_not_count_against_the_limit() {
    let mut world = World::new();
    world.policy.max_connections = 1;
    let going = world.user("alice");
    world.vpn.terminate(&world.endpoints[0], &crate::ports::Which::Id(going)).await.unwrap();
    world.user("alice");
    let dry = Signal { dry_run: true, via: Via::Direct, ..world.revoke("alice") };
    assert_eq!(world.one(dry).await.outcome, Outcome::Planned);
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Completed, 0));
}

#[tokio::test]
async fn locks_that_cannot_be_read_again_hold_up_no_rehearsal() {
    let world = World::new();
    world.user("alice");
    let (mut requested, mut failed) = (false, false);
    world.calls.chaos(Some(Box::new(move |call: &str| {
        requested |= call == "audit.commit alice requested";
        let fails = requested && !failed && call.starts_with("locks.read");
        failed |= fails;
        fails.then_some(Mishap::Fails)
    })));
    let rehearsed = Signal { replay: Some("last-week".to_owned()), ..world.revoke("bob") };
    let receipts = world.handle(vec![rehearsed, world.revoke("alice")]).await;
    assert_eq!(outcomes(&receipts), [Outcome::Shadowed, Outcome::Completed]);
}

#[tokio::test]
async fn a_target_that_does_not_answer_holds_no_other_up() {
    let world = World::new();
    world.user("alice");
    let calls = Calls::new();
    calls.plan("vpn.endpoints", 100, Mishap::Hangs);
    let silent = MemoryVpn::new("us-east-1", &world.clock, &calls, 1000, Duration::from_secs(3));
    let mut revoker = world.revoker();
    revoker.vpn.push(Arc::new(silent));
    let (run, signal) = (world.run(), world.revoke("alice"));
    let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
    while !working.is_finished() {
        // Every time that somebody waits for the silent target, its time runs out.
        let before = calls.count("vpn.endpoints");
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        if calls.count("vpn.endpoints") == before {
            world.clock.advance(Duration::from_secs(8));
        }
    }
    let receipt = working.await.unwrap().remove(0);
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Incomplete, 0));
    assert!(receipt.subjects[0].error.as_ref().unwrap().contains("us-east-1"), "{receipt:?}");
}

#[tokio::test]
async fn an_admission_that_hangs_holds_nobody_else_up() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("locks.write boom", 1, Mishap::Hangs);
    let (revoker, run) = (world.revoker(), world.run());
    let batch = vec![world.revoke("boom"), world.revoke("alice")];
    let working = tokio::spawn(async move { revoker.handle(batch, &run).await });
    until(|| world.calls.count("audit.commit alice requested") != 0).await;
    world.clock.advance(Duration::from_secs(15));
    assert_eq!(outcomes(&working.await.unwrap()), [Outcome::Incomplete, Outcome::Completed]);
}

#[tokio::test]
async fn a_panic_in_what_all_share_still_leaves_an_answer_and_an_entry() {
    std::panic::set_hook(Box::new(|_| {}));
    let world = World::new();
    world.user("alice");
    let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice"));
    let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
    until(|| world.calls.count("audit.commit alice requested") != 0).await;
    world.calls.plan("locks.read", 1, Mishap::Panics);
    assert_eq!(outcomes(&working.await.unwrap()), [Outcome::Incomplete]);
    assert_eq!(world.kinds("alice"), ["requested", "incomplete"]);
    let _ = std::panic::take_hook();
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn while_the_locks_cannot_be_read_again_nothing_is_ended() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("audit.commit alice requested", 1, Mishap::Fails);
    world.one(world.revoke("alice")).await;
    let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice"));
    let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
    until(|| world.calls.count("audit.commit alice requested") >= 2).await;
    world.calls.plan("locks.read", 3, Mishap::Fails);
    assert_eq!(outcomes(&working.await.unwrap()), [Outcome::Completed]);
    let made = world.calls.made();
    let requested = made.iter().rposition(|call| call.starts_with("audit.commit alice requested")).unwrap();
    let terminated = made.iter().position(|call| call.starts_with("vpn.terminate")).unwrap();
    let reads = made[requested..terminated].iter().filter(|call| call.starts_with("locks.read")).count();
    assert!(reads >= 4, "three reads failed before the first call: {reads}");
}

#[tokio::test]
async fn while_the_locks_cannot_be_read_again_nobody_is_asked_without_a_pause() {
    let world = World::new();
    let begun_at = world.now();
    let mut reads = 0;
    world.calls.chaos(Some(Box::new(move |call: &str| {
        reads += usize::from(call.starts_with("locks.read"));
        // The lock is set; after that the table is away, and comes back only if it is asked far too often.
        (call.starts_with("locks.read") && (3..2_000).contains(&reads)).then_some(Mishap::Fails)
    })));
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Incomplete);
    assert!(world.now().since(begun_at) >= world.policy.verify, "it was not given up before its time");
    assert!(world.calls.count("vpn.list") < 100, "{} listings in a minute", world.calls.count("vpn.list"));
}

#[tokio::test]
async fn the_end_of_the_invoke_is_kept_even_where_a_call_hangs() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("vpn.list", 1, Mishap::Hangs);
    let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice"));
    let stop_at = run.stop_at;
    let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
    until(|| world.calls.count("vpn.list") != 0).await;
    world.clock.advance(stop_at.since(world.now()));
    let receipts = working.await.unwrap();
    assert_eq!(outcomes(&receipts), [Outcome::Incomplete]);
    assert!(receipts[0].subjects[0].error.as_ref().unwrap().contains("ran out"));
    assert_eq!(world.kinds("alice"), ["requested", "incomplete"]);
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_table_that_hangs_ends_in_incomplete_too() {
    for call in ["audit.standing", "locks.read", "locks.write", "audit.head"] {
        let world = World::new();
        world.user("alice");
        world.calls.plan(call, 1, Mishap::Hangs);
        let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice"));
        let stop_at = run.stop_at;
        let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
        until(|| world.calls.count(call) != 0).await;
        world.clock.advance(stop_at.since(world.now()));
        assert_eq!(outcomes(&working.await.unwrap()), [Outcome::Incomplete], "{call}");
    }
}

#[tokio::test]
async fn a_panic_fails_its_own_signal_and_no_neighbour() {
    std::panic::set_hook(Box::new(|_| {}));
    for call in ["locks.write boom", "audit.commit boom requested", "audit.commit boom completed"] {
        let world = World::new();
        world.user("alice");
        world.user("boom");
        world.calls.plan(call, 1, Mishap::Panics);
        let receipts = world.handle(vec![world.revoke("boom"), world.revoke("alice")]).await;
        assert_eq!(outcomes(&receipts), [Outcome::Incomplete, Outcome::Completed], "{call}");
        assert!(world.vpn.alive(Some("alice")).is_empty());
    }
    let _ = std::panic::take_hook();
}

#[tokio::test]
async fn an_attempt_that_left_something_is_recorded_each_time() {
    let world = World::new();
    let stuck = world.user("alice");
    world.vpn.stick(&stuck);
    for _ in 0..2 {
        world.one(world.revoke("alice")).await;
        world.clock.advance(Duration::from_secs(30));
    }
    assert_eq!(world.kinds("alice"), ["requested", "incomplete", "incomplete"]);
}

#[tokio::test]
async fn up_to_five_thousand_rows_are_judged_whole() {
    for (page, rows) in [(2, 4), (5_000, 5_001)] {
        let mut world = World::new();
        world.policy.max_connections = 3;
        world.vpn = MemoryVpn::new("eu-west-1", &world.clock, &world.calls, page, Duration::from_secs(3));
        world.endpoints = vec![world.vpn.endpoint("cvpn-endpoint-a")];
        for i in 0..rows {
            world.user(if i < 2 || i >= rows - 2 { "shared" } else { "someone" });
        }
        assert_eq!(world.one(world.revoke("shared")).await.outcome, Outcome::Refused);
        assert_eq!(world.calls.count("vpn.terminate"), 0, "none before the second page, in pages of {page}");
    }
}

#[tokio::test]
async fn a_long_listing_is_acted_on_as_it_arrives_and_never_beyond_the_limit() {
    let mut world = World::new();
    world.policy.max_connections = 3;
    for i in 0..12_000 {
        match i % 2_000 {
            0 => world.user("shared"),
            1 if i > 8_000 => world.user("alice"),
            _ => world.user("someone"),
        };
    }
    let receipts = world.handle(vec![world.revoke("alice"), world.revoke("shared")]).await;
    assert_eq!(outcomes(&receipts), [Outcome::Completed, Outcome::Refused]);
    assert!(world.vpn.alive(Some("shared")).len() >= 3, "at most the limit was ended before it was known to be passed");
    let made = world.calls.made();
    let first_call = made.iter().position(|call| call.starts_with("vpn.terminate")).unwrap();
    let pages_before = made[..first_call].iter().filter(|call| call.starts_with("vpn.list")).count();
    assert!(pages_before < 13, "the first call waited for the last page: {pages_before}");
}

#[tokio::test]
async fn an_endpoint_may_be_in_a_target_that_could_not_be_asked() {
    let world = World::new();
    let there = world.user("alice");
    world.calls.plan("vpn.endpoints", 1, Mishap::Fails);
    let about = vec![About::Connection(world.endpoints[0].clone(), there)];
    let signal = || Signal { about: about.clone(), ..world.disconnect("nobody") };
    let receipt = world.one(signal()).await;
    assert_eq!(receipt.outcome, Outcome::Incomplete, "no refusal, which would not be tried again");
    assert!(receipt.subjects[0].error.as_ref().unwrap().contains("as planned"));
    assert_eq!((world.one(signal()).await.outcome, world.alive()), (Outcome::Completed, 0));
}

#[tokio::test]
async fn of_each_target_it_is_said_what_is_wrong_with_it() {
    let world = World::new();
    let [away, empty] = ["us-east-1", "ap-south-1"].map(|region| {
        let calls = Calls::new();
        (calls.clone(), MemoryVpn::new(region, &world.clock, &calls, 1000, Duration::from_secs(3)))
    });
    away.0.plan("vpn.endpoints", 1000, Mishap::Fails);
    let mut revoker = world.revoker();
    revoker.vpn.extend([Arc::new(away.1) as Arc<dyn crate::ports::ClientVpn>, Arc::new(empty.1)]);
    let receipt = revoker.handle(vec![world.revoke("alice")], &world.run()).await.remove(0);
    assert_eq!(receipt.outcome, Outcome::Incomplete);
    let wrong: Vec<_> = receipt.endpoints.iter().filter(|one| one.error.is_some()).collect();
    let said = |n: usize| (wrong[n].region.as_str(), wrong[n].error.as_deref().unwrap());
    assert_eq!((wrong.len(), receipt.endpoints.len()), (2, 4), "each once, beside those that are well");
    assert!(matches!(said(0), ("us-east-1", why) if why.contains("as planned")), "{wrong:?}");
    assert!(matches!(said(1), ("ap-south-1", why) if why.contains("no Client VPN endpoint was found")), "{wrong:?}");
}
