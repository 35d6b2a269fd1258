//! The ten invariants of ARCHITECTURE.md, and what a run says of itself.

use super::*;

#[tokio::test]
async fn a_whole_run_reads_as_the_contract_says() {
    let world = World::new();
    world.user("alice@example.com");
    world.on(1, None, Some("Alice@example.com"));
    world.user("bob@example.com");

    let receipt = world.one(world.revoke("alice@example.com")).await;

    insta::assert_json_snapshot!("receipt", receipt);
    insta::assert_json_snapshot!("entries", world.audit.chains());
    assert_eq!(world.vpn.alive(Some("bob@example.com")).len(), 1);
}

#[tokio::test]
async fn a_receipt_tells_the_producers_word_beside_ours() {
    let world = World::new();
    let (received_at, occurred_at) = (world.now(), world.now().minus(Duration::from_secs(90)));
    let timings = world.one(Signal { occurred_at: Some(occurred_at), ..world.revoke("alice") }).await.timings;
    assert_eq!((timings.occurred_at, timings.received_at), (Some(occurred_at), Some(received_at)));
    assert!(timings.first_terminate_at.is_none() && timings.locked_at < timings.verified_at);
}

#[tokio::test]
async fn no_bystander_is_cut_off() {
    let world = World::new();
    world.user("alice");
    let bystanders = [
        world.user("malice"),
        world.user("alice@example.com.evil"),
        world.user("al*"),
        world.user("аlice"),
        world.on(0, Some("bob"), Some("alice-laptop")),
        world.on(1, None, Some("alice.example.com")),
        world.on(1, Some("N/A"), Some("-")),
    ];
    let receipt = world.one(world.revoke("ALICE")).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert_eq!(world.vpn.alive(None), bystanders);
}

#[tokio::test]
async fn a_shared_certificate_ends_only_those_without_anothers_user_name() {
    let world = World::new();
    let anonymous = world.on(0, None, Some("fleet"));
    let others = [world.on(0, Some("alice"), Some("fleet")), world.on(1, Some("bob"), Some("fleet"))];
    let receipt = world.one(world.revoke("fleet")).await;
    assert_eq!(receipt.outcome, Outcome::Refused);
    assert_eq!(world.vpn.alive(None), others);
    assert!(!world.vpn.alive(None).contains(&anonymous));
    assert!(receipt.subjects[0].connections.iter().filter(|c| c.error.is_some()).count() == 2);
}

#[tokio::test]
async fn a_certificate_of_one_person_is_that_persons() {
    let world = World::new();
    world.on(0, Some("alice@example.com"), Some("alice"));
    world.on(1, Some("ALICE@example.com"), Some("alice"));
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Completed, 0));
}

#[tokio::test]
async fn a_certificate_that_is_not_shared_is_acted_on_after_a_long_listing_too() {
    let world = World::new();
    world.on(0, Some("alice@example.com"), Some("alice"));
    world.calls.plan("vpn.list", 2, crate::memory::Mishap::Slow);
    let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice"));
    let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
    until(|| world.calls.count("vpn.list") == 2).await;
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(outcomes(&working.await.unwrap()), [Outcome::Completed]);
    let made = world.calls.made();
    let before = made.iter().take_while(|call| !call.starts_with("vpn.terminate"));
    assert_eq!(before.filter(|call| call.starts_with("vpn.list")).count(), 2, "by the first listing");
}

#[tokio::test]
async fn no_survivor_on_the_last_page_or_another_endpoint() {
    let mut world = World::new();
    world.vpn = MemoryVpn::new("eu-west-1", &world.clock, &world.calls, 5, Duration::from_secs(3));
    world.endpoints = vec![world.vpn.endpoint("cvpn-endpoint-a"), world.vpn.endpoint("cvpn-endpoint-b")];
    for i in 0..14 {
        world.user(&format!("user-{i}"));
    }
    world.user("alice");
    world.on(1, Some("alice"), None);
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
    assert!(world.vpn.alive(Some("alice")).is_empty());
    assert_eq!(world.alive(), 14);
}

#[tokio::test]
async fn completed_needs_a_listing_begun_after_the_settle_time() {
    let world = World::new();
    let before = world.now();
    let late = world.vpn.connect(&world.endpoints[1], (Some("alice"), None), Duration::from_secs(8), None);
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert!(!world.vpn.alive(None).contains(&late), "listed only after eight seconds, and found all the same");
    assert!(receipt.timings.verified_at.unwrap().since(before) >= Duration::from_secs(10));
}

#[tokio::test]
async fn a_listing_that_lags_behind_is_asked_with_pauses_and_not_without_end() {
    let mut world = World::new();
    world.vpn = MemoryVpn::new("eu-west-1", &world.clock, &world.calls, 1000, Duration::ZERO);
    world.endpoints = vec![world.vpn.endpoint("cvpn-endpoint-a")];
    let alice = world.user("alice");
    world.vpn.lag(&alice, Duration::from_secs(30));
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert!(world.calls.count("vpn.list") < 15, "{}", world.calls.count("vpn.list"));
}

#[tokio::test]
async fn more_than_five_connections_are_an_ordinary_case() {
    let world = World::new();
    for _ in 0..7 {
        world.user("alice");
    }
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!((receipt.outcome, receipt.terminated()), (Outcome::Completed, 7));
    assert_eq!(world.calls.count("vpn.terminate cvpn-connection"), 7);
}

#[tokio::test]
async fn two_to_five_alike_take_one_call() {
    let world = World::new();
    for _ in 0..4 {
        world.user("alice");
    }
    world.one(world.revoke("alice")).await;
    assert_eq!(world.calls.count("vpn.terminate"), 1);
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn where_an_endpoint_has_several_pages_nothing_is_ended_by_user_name() {
    let mut world = World::new();
    world.vpn = MemoryVpn::new("eu-west-1", &world.clock, &world.calls, 3, Duration::from_secs(3));
    world.endpoints = vec![world.vpn.endpoint("cvpn-endpoint-a")];
    for name in ["alice", "alice", "bob", "alice", "alice"] {
        world.user(name);
    }
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
    assert_eq!((world.alive(), world.calls.count("vpn.terminate user")), (1, 0));
}

#[tokio::test]
async fn the_lock_and_requested_come_before_the_first_terminate() {
    let world = World::new();
    world.user("alice");
    world.one(world.revoke("alice")).await;
    let made = world.calls.made();
    let position = |call: &str| made.iter().position(|made| made.starts_with(call)).unwrap();
    assert!(position("locks.write alice") < position("audit.commit alice requested"));
    assert!(position("audit.commit alice requested") < position("vpn.terminate"));
    // And the lock is read again before the round of terminate calls.
    let reads: Vec<usize> = (0..made.len()).filter(|i| made[*i].starts_with("locks.read")).collect();
    assert!(reads.iter().any(|read| *read > position("locks.write alice") && *read < position("vpn.terminate")));
}

#[tokio::test]
async fn a_lock_lifted_meanwhile_stops_the_next_round() {
    let world = World::new();
    world.vpn.connect(&world.endpoints[0], (Some("alice"), None), Duration::ZERO, Some(Duration::from_secs(1)));
    let revoke = world.revoke("alice");
    let revoker = world.revoker();
    let run = world.run();
    let working = tokio::spawn(async move { revoker.handle(vec![revoke], &run).await });
    until(|| world.calls.count("vpn.terminate") != 0).await;
    let name = Name::new("alice").unwrap();
    let lock = world.locks.stored(&name).unwrap();
    let mut restore = world.restore("alice");
    restore.as_of = restore.as_of.plus(Duration::from_secs(1));
    let crate::lock::Transition::Changed(lifted) = lock.apply(&restore, "alice", &[]) else { panic!("not lifted") };
    world.locks.put(lifted);
    let receipts = working.await.unwrap();
    assert_eq!(outcomes(&receipts), [Outcome::Superseded]);
    assert_eq!(world.calls.count("vpn.terminate"), 1);
    assert_eq!(world.kinds("alice"), ["requested", "superseded"]);
}

#[tokio::test]
async fn the_signals_of_a_batch_apply_in_the_order_of_their_facts() {
    let world = World::new();
    world.user("alice");
    world.user("bob");
    let (mut early, mut late) = (world.revoke("alice"), world.restore("alice"));
    early.as_of = world.now().minus(Duration::from_secs(20));
    late.as_of = world.now().minus(Duration::from_secs(10));
    let (mut off, mut on) = (world.revoke("bob"), world.restore("bob"));
    off.as_of = world.now();
    on.as_of = world.now();

    let receipts = world.handle(vec![late, early, off, on]).await;

    assert_eq!(outcomes(&receipts), [Outcome::Restored, Outcome::Superseded, Outcome::Completed, Outcome::Restored]);
    assert_eq!(world.vpn.alive(Some("alice")).len(), 1, "restored last");
    assert!(world.vpn.alive(Some("bob")).is_empty(), "on a tie the revocation wins");
    assert!(world.is_locked("bob") && !world.is_locked("alice"));
}

#[tokio::test]
async fn one_listing_pass_serves_a_whole_batch() {
    let world = World::new();
    let names: Vec<String> = (0..10).map(|i| format!("user-{i}")).collect();
    for name in &names {
        world.user(name);
    }
    let batch = names.iter().map(|name| world.revoke(name)).collect();
    let receipts = world.handle(batch).await;
    assert!(outcomes(&receipts).iter().all(|outcome| *outcome == Outcome::Completed));
    // The first, and the last that proves it, on each of two endpoints.
    assert_eq!(world.calls.count("vpn.list"), 4);
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn a_repeated_delivery_changes_nothing() {
    let world = World::new();
    world.user("alice");
    world.one(world.revoke("alice")).await;
    let (lock, entries) = (world.locks.stored(&Name::new("alice").unwrap()), world.audit.chains());
    let again = world.one(world.revoke("alice")).await;
    assert_eq!(again.outcome, Outcome::Completed);
    assert_eq!(world.locks.stored(&Name::new("alice").unwrap()), lock);
    assert_eq!(world.audit.chains(), entries);
}

#[tokio::test]
async fn concurrent_deliveries_leave_one_entry_of_each_kind() {
    let world = World::new();
    world.user("alice");
    let (a, b) = (world.revoker(), world.revoker());
    let (run_a, mut run_b) = (world.run(), world.run());
    run_b.attempt = "another".to_owned();
    let (first, second) =
        tokio::join!(a.handle(vec![world.revoke("alice")], &run_a), b.handle(vec![world.revoke("alice")], &run_b),);
    assert_eq!(outcomes(&[first, second].concat()), [Outcome::Completed, Outcome::Completed]);
    assert_eq!(world.kinds("alice"), ["requested", "completed"]);
    world.the_trail_is_whole().await;
}

#[tokio::test]
async fn protected_means_protected() {
    let mut world = World::new();
    world.policy.protected = Protected::parse("break-glass,ceo*").unwrap();
    world.user("break-glass");
    let receipt = world.one(world.revoke("Break-Glass")).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Refused, 1));
    assert_eq!(world.kinds("break-glass"), ["refused"]);
    assert!(!world.is_locked("break-glass"));

    world.on(1, Some("alice"), Some("ceo-laptop"));
    world.user("alice");
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!((receipt.outcome, world.vpn.alive(Some("alice")).len()), (Outcome::Refused, 1));
    assert_eq!(world.kinds("alice"), ["requested", "refused"]);
}

#[tokio::test]
async fn too_many_connections_end_none_unless_forced() {
    let mut world = World::new();
    world.policy.max_connections = 3;
    for _ in 0..4 {
        world.user("everybody");
    }
    let receipt = world.one(world.revoke("everybody")).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Refused, 4));
    let mut forced = world.revoke("everybody");
    forced.id = SignalId::new("forced");
    forced.force = true;
    let receipt = world.one(forced).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Completed, 0));
    for _ in 0..3 {
        world.user("within-the-limit");
    }
    let receipt = world.one(world.revoke("within-the-limit")).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Completed, 0));
}

#[tokio::test]
async fn a_disconnect_ends_what_existed_and_locks_nothing() {
    let world = World::new();
    let old = [world.user("alice"), world.user("alice")];
    world.clock.advance(Duration::from_secs(60));
    let signal = world.disconnect("alice");
    world.clock.advance(Duration::from_secs(5));
    let new = world.user("alice");
    let receipt = world.one(signal).await;
    assert_eq!((receipt.outcome, receipt.terminated()), (Outcome::Completed, old.len()));
    assert_eq!(world.vpn.alive(None), [new], "a call by user name would have reached it");
    assert!(world.locks.stored(&Name::new("alice").unwrap()).is_none());
}

#[tokio::test]
async fn a_disconnect_by_id_ends_that_connection_alone() {
    let world = World::new();
    let (one, other) = (world.user("alice"), world.user("alice"));
    let about = About::Connection(world.endpoints[0].clone(), one.clone());
    let signal = Signal { about: vec![about], ..world.disconnect("nobody") };
    assert_eq!(world.one(signal).await.outcome, Outcome::Completed);
    assert_eq!(world.vpn.alive(None), [other]);
    assert_eq!(world.kinds(&format!("#connection/{one}")), ["requested", "completed"]);
    assert_eq!(world.calls.count("vpn.list"), 0, "one connection is looked up by its id");
    assert_eq!(world.calls.count("vpn.poll cvpn-endpoint-b"), 0, "on its own endpoint and no other");
    assert_eq!(world.calls.count("locks.read"), 0, "no lock has a say in it");
}

#[tokio::test]
async fn a_connection_is_ended_only_on_the_endpoint_that_was_named() {
    let world = World::new();
    let there = world.user("alice");
    let on = |endpoint: usize, id: &str| Signal {
        about: vec![About::Connection(world.endpoints[endpoint].clone(), there.clone())],
        id: SignalId::new(id),
        ..world.disconnect("nobody")
    };
    let receipts = world.handle(vec![on(0, "right"), on(1, "wrong")]).await;
    assert_eq!(outcomes(&receipts), [Outcome::Completed, Outcome::Completed]);
    let seen = |n: usize| receipts[n].subjects[0].connections.len();
    assert_eq!((seen(0), seen(1), world.alive()), (1, 0, 0));
    let told = |n: usize| receipts[n].subjects[0].error.clone().unwrap_or_default();
    assert_eq!((told(0).as_str(), told(1).contains("lists no connection of this id")), ("", true));
    assert_eq!(world.one(on(0, "again")).await.subjects[0].error, None, "it is over, and still listed");
}

#[tokio::test]
async fn a_disconnect_on_an_unknown_endpoint_is_refused() {
    let world = World::new();
    let about = About::Connection(EndpointId::new("cvpn-endpoint-x"), ConnectionId::new("cvpn-connection-1"));
    let signal = Signal { about: vec![about], ..world.disconnect("nobody") };
    let receipt = world.one(signal).await;
    assert_eq!(receipt.outcome, Outcome::Refused);
    assert!(receipt.subjects[0].error.as_ref().unwrap().contains("cvpn-endpoint-x"));
}

#[tokio::test]
async fn only_endpoints_in_scope_are_touched_and_a_missing_one_is_said() {
    let mut world = World::new();
    world.policy.endpoints = vec![EndpointId::new("cvpn-endpoint-a")];
    world.user("alice");
    world.on(1, Some("alice"), None);
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
    assert_eq!(world.alive(), 1);

    world.policy.endpoints.push(EndpointId::new("cvpn-endpoint-typo"));
    world.user("bob");
    let receipt = world.one(world.revoke("bob")).await;
    assert_eq!(receipt.outcome, Outcome::Incomplete);
    assert!(world.vpn.alive(Some("bob")).is_empty(), "what can be done is done");
    assert!(receipt.subjects[0].error.as_ref().unwrap().contains("cvpn-endpoint-typo"));
}

#[tokio::test]
async fn a_command_that_may_not_come_as_an_event_is_refused() {
    let world = World::new();
    world.one(world.revoke("alice")).await;
    let restore = Signal { authority: Authority::command(), via: Via::Event, ..world.restore("alice") };
    assert_eq!(world.one(restore.clone()).await.outcome, Outcome::Refused);
    assert!(world.is_locked("alice"));
    world.clock.advance(Duration::from_secs(1));
    let restore = Signal { via: Via::Direct, id: SignalId::new("direct"), as_of: world.now(), ..restore };
    assert_eq!(world.one(restore).await.outcome, Outcome::Restored);
    assert!(!world.is_locked("alice"));
}

#[tokio::test]
async fn somebody_without_a_name_is_unresolved_and_tried_again() {
    let world = World::new();
    let about = About::unresolved("okta", "00u1", false);
    let receipt = world.one(Signal { about: vec![about], ..world.revoke("x") }).await;
    assert_eq!(receipt.outcome, Outcome::Unresolved);
    assert!(receipt.outcome.is_retryable());
    assert_eq!(world.kinds("#id/okta/00u1"), ["unresolved"]);
}

#[tokio::test]
async fn a_hold_that_lapsed_is_no_reason_to_end_anything() {
    let world = World::new();
    let until = world.now().plus(Duration::from_secs(5));
    world.one(world.signal(Action::Revoke { expires_at: Some(until) }, "alice", "short")).await;
    world.clock.advance(Duration::from_secs(60));
    let alice = world.user("alice");
    assert_eq!(world.sweep().await.outcome, Outcome::Completed);
    assert_eq!(world.vpn.alive(None), [alice]);
}

#[tokio::test]
async fn several_subjects_of_one_signal_have_the_worst_outcome_of_them_all() {
    let mut world = World::new();
    world.policy.protected = Protected::parse("ceo").unwrap();
    world.user("alice");
    let mut signal = world.revoke("alice");
    signal.about.push(About::Subject(Subject::new("CEO").unwrap()));
    signal.about.push(About::Subject(Subject::new("ALICE").unwrap()));
    let receipt = world.one(signal).await;
    assert_eq!(receipt.outcome, Outcome::Refused);
    assert_eq!(receipt.subjects.len(), 2, "the same subject twice is one");
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn a_call_by_user_name_goes_by_the_subjects_own_name_only() {
    let world = World::new();
    world.on(0, Some("bob"), Some("laptop-7"));
    world.on(0, Some("bob"), Some("laptop-7"));
    let other = world.on(0, Some("bob"), Some("laptop-9"));
    let receipt = world.one(world.revoke("laptop-7")).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert_eq!(world.vpn.alive(None), [other], "bob's other laptop is nobody that was meant");
}

#[tokio::test]
async fn with_protected_names_nothing_is_ended_by_user_name() {
    let mut world = World::new();
    world.policy.protected = Protected::parse("ceo").unwrap();
    for _ in 0..3 {
        world.user("alice");
    }
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
    assert_eq!(world.calls.count("vpn.terminate user"), 0);
}

#[tokio::test]
async fn a_user_name_that_could_be_no_subject_is_somebody_all_the_same() {
    let world = World::new();
    let others = [
        world.on(0, Some("alice"), Some("fleet")),
        world.on(0, Some("bob"), Some("fleet")),
        world.on(0, Some("#carol"), Some("fleet")),
        world.on(0, Some("d\u{7}ave"), Some("fleet")),
    ];
    world.one(world.revoke("fleet")).await;
    assert_eq!(world.vpn.alive(None), others);
}

#[tokio::test]
async fn a_further_name_is_kept_out_for_as_long_as_its_subject() {
    let world = World::new();
    world.one(world.alias("alice", &["bob"], false)).await;
    world.one(world.command(Action::Revoke { expires_at: None }, "alice", "c-1")).await;
    world.one(world.alias("bob", &["laptop-7"], false)).await;
    assert!(!world.is_locked("laptop-7"), "what is said of alice goes no further than to bob");
    let until = world.now().plus(Duration::from_secs(600));
    world.one(world.command(Action::Revoke { expires_at: Some(until) }, "bob", "c-2")).await;
    for name in ["bob", "laptop-7"] {
        let lock = world.locks.stored(&Name::new(name).unwrap()).unwrap();
        let hold = lock.hold_of(&Authority::command()).unwrap();
        assert_eq!((hold.subject.as_str(), hold.expires_at), ("bob", None), "{name}");
    }
}

#[tokio::test]
async fn no_endpoint_at_all_proves_nothing() {
    let mut world = World::new();
    world.vpn = MemoryVpn::new("eu-west-1", &world.clock, &world.calls, 1000, Duration::from_secs(3));
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Incomplete);
    assert!(receipt.subjects[0].error.as_ref().unwrap().contains("eu-west-1"));
}

#[tokio::test]
async fn an_entry_names_the_endpoints_by_which_it_was_proven() {
    let world = World::new();
    world.user("alice");
    let stuck = world.on(1, Some("bob"), None);
    world.vpn.stick(&stuck);
    let about = vec![About::Connection(world.endpoints[1].clone(), stuck)];
    let end_one = Signal { about, ..world.command(Action::Disconnect, "nobody-yet", "c-1") };
    let receipts = world.handle(vec![world.revoke("alice"), end_one]).await;
    let outcomes: Vec<Outcome> = receipts.iter().map(|receipt| receipt.outcome).collect();
    assert_eq!(outcomes, [Outcome::Completed, Outcome::Incomplete]);
    assert_eq!(receipts[0].endpoints.len(), world.endpoints.len());
    let entry = world.audit.chains().remove("alice").unwrap().pop().unwrap();
    assert_eq!(entry.detail("endpoints").unwrap().as_array().unwrap().len(), world.endpoints.len(), "{entry:?}");
}

#[tokio::test]
async fn nobody_is_said_to_be_locked_who_was_to_be_disconnected_only() {
    let mut world = World::new();
    world.policy.max_connections = 1;
    world.user("alice");
    world.on(1, Some("alice"), None);
    for (signal, locks) in [(world.disconnect("alice"), false), (world.revoke("alice"), true)] {
        let receipt = world.one(signal).await;
        let error = receipt.subjects[0].error.as_deref().unwrap();
        assert_eq!(receipt.subjects[0].refusal, Some("too-many-connections"), "{receipt:?}");
        assert_eq!((error.contains("the lock stands"), world.is_locked("alice")), (locks, locks), "{error}");
    }
}
