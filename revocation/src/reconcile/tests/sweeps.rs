//! The sweep.

mod directory;

use super::*;
use crate::alias::Aliases;
use crate::memory::Mishap;

impl World {
    fn order(&self) -> Sweep {
        Sweep {
            id: SignalId::new(&format!("schedule-{}", self.now())),
            received_at: self.now(),
            via: Via::Event,
            commanded: false,
            endpoints: Vec::new(),
            targets: Vec::new(),
            dry_run: false,
            actor: None,
            reason: None,
        }
    }

    pub(super) async fn sweep(&self) -> Receipt {
        let receipt = self.revoker().sweep(&self.order(), &self.run()).await;
        self.the_trail_is_whole().await;
        receipt
    }

    /// A world in which `alice` is locked, by a signal with a reason.
    async fn with_alice_locked() -> Self {
        let world = Self::new();
        assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
        world.clock.advance(Duration::from_secs(300));
        world
    }

    fn entries(&self, chain: &str) -> Vec<Entry> {
        self.audit.chains().remove(chain).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_sweep_ends_who_came_back_and_the_trail_gives_the_locks_reason() {
    let world = World::with_alice_locked().await;
    world.user("alice");
    world.on(1, None, Some("Alice"));
    let bob = world.user("bob");
    let receipt = world.sweep().await;
    assert_eq!((receipt.outcome, receipt.action.word(), receipt.terminated()), (Outcome::Completed, "sweep", 2));
    assert_eq!(world.vpn.alive(None), [bob]);
    assert_eq!(world.kinds("alice"), ["requested", "completed", "requested", "completed"]);
    let entry = world.entries("alice").pop().unwrap();
    assert_eq!(entry.text("reason"), Some("user.lifecycle.deactivate"));
    assert_eq!(entry.text("authority"), Some("okta:acme"));
    assert!(entry.text("source").unwrap().starts_with("sweep schedule-"));
}

#[tokio::test]
async fn a_sweep_that_ends_nothing_writes_nothing() {
    let world = World::with_alice_locked().await;
    world.user("bob");
    let written = world.calls.count("audit.commit");
    let receipt = world.sweep().await;
    assert_eq!((receipt.outcome, receipt.subjects.len(), receipt.endpoints.len()), (Outcome::Completed, 0, 2));
    assert!(receipt.timings.verified_at.is_some());
    assert_eq!((world.calls.count("audit.commit"), world.calls.count("vpn.terminate")), (written, 0));
}

#[tokio::test]
async fn an_alias_is_swept_into_the_story_of_its_subject() {
    let mut world = World::new();
    world.policy.aliases = crate::alias::Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.one(world.revoke("alice@corp.example")).await;
    world.clock.advance(Duration::from_secs(300));
    world.user("alice");
    world.user("alice@corp.example");
    let receipt = world.sweep().await;
    assert_eq!((receipt.outcome, receipt.subjects.len(), world.alive()), (Outcome::Completed, 1, 0));
    assert_eq!(world.kinds("alice@corp.example").len(), 4);
    assert!(world.kinds("alice").is_empty());
}

#[tokio::test]
async fn two_sweeps_and_an_event_at_once_do_no_harm() {
    for steps in -60..60 {
        let world = World::with_alice_locked().await;
        world.user("alice");
        let bob = world.user("bob");
        let [first, second] = [world.revoker(), world.revoker()];
        let (one, other, run) = (world.order(), world.order(), world.run());
        let again = Signal { id: SignalId::new("okta:again"), ..world.revoke("alice") };
        let third = (world.revoker(), world.run());
        let beside = tokio::spawn(async move {
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
            tokio::join!(second.sweep(&other, &run), third.0.handle(vec![again], &third.1))
        });
        for _ in 0..-steps {
            tokio::task::yield_now().await;
        }
        first.sweep(&one, &world.run()).await;
        beside.await.unwrap();
        world.the_trail_is_whole().await;
        assert_eq!(world.vpn.alive(None), std::slice::from_ref(&bob));
        let swept: Vec<Entry> =
            world.entries("alice").into_iter().filter(|e| e.text("signal_id").unwrap().starts_with("sweep:")).collect();
        for kind in ["requested", "completed"] {
            let times = swept.iter().filter(|entry| entry.text("kind") == Some(kind)).count();
            assert!(times <= 1, "{kind} {times} times, {steps} steps");
        }
    }
}

#[tokio::test]
async fn a_lock_that_was_lifted_since_it_was_read_ends_nobody() {
    let world = World::with_alice_locked().await;
    let back = world.user("alice");
    world.calls.plan("vpn.list", 1, Mishap::Slow);
    let before = world.calls.count("vpn.list");
    let (revoker, run, order) = (world.revoker(), world.run(), world.order());
    let sweeping = tokio::spawn(async move { revoker.sweep(&order, &run).await });
    until(|| world.calls.count("vpn.list") != before).await;
    let written = world.kinds("alice").len();
    assert_eq!(world.one(world.restore("alice")).await.outcome, Outcome::Restored);
    assert_eq!(sweeping.await.unwrap().outcome, Outcome::Completed);
    assert_eq!((world.vpn.alive(None), world.kinds("alice").len()), (vec![back], written + 1));
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_listed_is_said_and_holds_nothing_up() {
    let world = World::with_alice_locked().await;
    world.user("alice");
    world.calls.plan("vpn.list cvpn-endpoint-b", 1, Mishap::Fails);
    let receipt = world.sweep().await;
    assert_eq!(receipt.outcome, Outcome::Incomplete);
    assert!(receipt.endpoints[1].error.is_some() && receipt.endpoints[0].error.is_none());
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn a_sweep_that_runs_out_of_time_says_how_far_it_came_and_ends_what_it_found() {
    let world = World::with_alice_locked().await;
    world.user("alice");
    world.calls.plan("vpn.list cvpn-endpoint-b", 1, Mishap::Hangs);
    let (revoker, run, order) = (world.revoker(), world.run(), world.order());
    let (stop_at, before) = (run.stop_at, world.calls.count("vpn.list"));
    let sweeping = tokio::spawn(async move { revoker.sweep(&order, &run).await });
    until(|| world.calls.count("vpn.list") >= before + 2).await;
    world.clock.advance(stop_at.since(world.now()) / 2);
    let receipt = sweeping.await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Incomplete);
    assert!(receipt.endpoints[1].error.as_ref().unwrap().contains("next sweep begins with another"));
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn every_endpoint_has_its_turn_to_be_the_first_whatever_the_period() {
    for period in [60, 120, 300] {
        let world = World::new();
        let mut first = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let before = world.calls.made().len();
            world.sweep().await;
            first.extend(world.calls.made()[before..].iter().find(|call| call.starts_with("vpn.list")).cloned());
            world.clock.advance(Duration::from_secs(period));
        }
        assert_eq!(first.len(), 2, "{first:?}");
    }
}

#[tokio::test]
async fn locks_that_cannot_be_read_make_a_sweep_incomplete() {
    let world = World::with_alice_locked().await;
    let back = world.user("alice");
    world.calls.plan("locks.locked", 1, Mishap::Fails);
    let receipt = world.sweep().await;
    assert_eq!((receipt.outcome, world.vpn.alive(None)), (Outcome::Incomplete, vec![back]));
    assert!(receipt.subjects[0].error.is_some());
}

#[tokio::test]
async fn a_sweep_may_be_told_where_to_look_and_ends_whom_it_finds_everywhere() {
    let world = World::with_alice_locked().await;
    world.one(Signal { id: SignalId::new("okta:bob"), ..world.revoke("bob") }).await;
    world.user("alice");
    world.on(1, Some("alice"), None);
    let bob = world.on(1, Some("bob"), None);
    let narrow = |endpoints: &[&str], targets: &[&str]| Sweep {
        endpoints: endpoints.iter().map(|id| EndpointId::new(id)).collect(),
        targets: targets.iter().map(|&target| target.to_owned()).collect(),
        ..world.order()
    };
    let receipt = world.revoker().sweep(&narrow(&["cvpn-endpoint-a"], &[]), &world.run()).await;
    assert_eq!((receipt.outcome, receipt.endpoints.len()), (Outcome::Completed, 1));
    assert_eq!(world.vpn.alive(None), std::slice::from_ref(&bob), "completed means everywhere");
    for nowhere in [narrow(&[], &["us-east-1"]), narrow(&["cvpn-endpoint-a", "cvpn-endpoint-typo"], &[])] {
        let receipt = world.revoker().sweep(&nowhere, &world.run()).await;
        assert_eq!(receipt.outcome, Outcome::Incomplete);
        assert!(receipt.endpoints.iter().any(|one| one.error.as_ref().is_some_and(|e| e.contains("`targets`"))));
    }
    assert_eq!(world.vpn.alive(None), [bob]);
    for whole in ["111122223333", "eu-west-1"] {
        let order = narrow(&[], &[whole]);
        let receipt = world.revoker().sweep(&order, &world.run()).await;
        assert_eq!((receipt.outcome, receipt.endpoints.len(), world.alive()), (Outcome::Completed, 2, 0), "{whole}");
        assert_eq!(receipt.timings.received_at, Some(order.received_at));
    }
}

#[tokio::test]
async fn a_certificate_is_judged_over_every_endpoint_wherever_the_sweep_looks() {
    let world = World::new();
    world.one(world.revoke("fleet")).await;
    world.clock.advance(Duration::from_secs(300));
    let both = [world.on(0, Some("bob"), Some("fleet")), world.on(1, Some("carol"), Some("fleet"))];
    let narrow = Sweep { endpoints: vec![world.endpoints[0].clone()], ..world.order() };
    assert_eq!(world.revoker().sweep(&narrow, &world.run()).await.outcome, Outcome::Refused);
    assert_eq!(world.vpn.alive(None), both);
}

#[tokio::test]
async fn who_is_on_the_way_out_already_is_no_news() {
    let world = World::with_alice_locked().await;
    let going = world.user("alice");
    world.vpn.terminate(&world.endpoints[0], &crate::ports::Which::Id(going)).await.unwrap();
    let written = world.calls.count("audit.commit");
    let receipt = world.sweep().await;
    assert_eq!((receipt.outcome, receipt.timings.verified_at), (Outcome::Completed, None), "and not gone yet");
    assert_eq!(world.calls.count("audit.commit"), written);
    let asked_for = Sweep { commanded: true, via: Via::Direct, ..world.order() };
    let receipt = world.revoker().sweep(&asked_for, &world.run()).await;
    assert_eq!(receipt.outcome, Outcome::Incomplete, "whoever asked is not told that nobody is there");
    assert!(receipt.subjects[0].error.as_deref().unwrap().contains("on the way out"), "{receipt:?}");
    world.clock.advance(Duration::from_secs(60));
    assert!(world.sweep().await.timings.verified_at.is_some());
    assert_eq!(world.revoker().sweep(&asked_for, &world.run()).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn one_who_is_ended_proves_nothing_of_another_who_is_still_on_the_way_out() {
    let world = World::with_alice_locked().await;
    world.one(Signal { id: SignalId::new("okta:bob"), ..world.revoke("bob") }).await;
    world.user("alice");
    let going = world.user("bob");
    world.vpn.terminate(&world.endpoints[0], &crate::ports::Which::Id(going)).await.unwrap();
    let receipt = world.sweep().await;
    assert_eq!((receipt.subjects.len(), receipt.timings.verified_at), (1, None));
}

#[tokio::test]
async fn a_sweep_as_a_command_by_event_has_to_be_allowed() {
    let world = World::new();
    let order = Sweep { commanded: true, ..world.order() };
    let receipt = world.revoker().sweep(&order, &world.run()).await;
    assert_eq!((receipt.outcome, receipt.subjects[0].refusal), (Outcome::Refused, Some("not-by-event")));
    let direct = Sweep { via: Via::Direct, ..order };
    assert_eq!(world.revoker().sweep(&direct, &world.run()).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_dry_sweep_and_shadow_mode_report_and_end_nobody() {
    let mut world = World::with_alice_locked().await;
    let back = world.user("alice");
    let dry = Sweep { dry_run: true, ..world.order() };
    let receipt = world.revoker().sweep(&dry, &world.run()).await;
    assert_eq!((receipt.outcome, receipt.subjects[0].connections.len()), (Outcome::Planned, 1));
    world.policy.mode = Mode::Shadow;
    for _ in 0..2 {
        assert_eq!(world.sweep().await.outcome, Outcome::Shadowed);
        world.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(
        (world.vpn.alive(None), world.kinds("alice")),
        (vec![back], vec!["requested".to_owned(), "completed".to_owned(), "shadowed".to_owned()])
    );
}

#[tokio::test]
async fn a_dry_sweep_says_whether_ec2_would_permit_what_it_plans() {
    let world = World::with_alice_locked().await;
    world.user("alice");
    world.calls.plan("vpn.may-terminate cvpn-endpoint-b", 1, Mishap::Denied);
    let receipt = world.revoker().sweep(&Sweep { dry_run: true, ..world.order() }, &world.run()).await;
    let permitted: Vec<_> = receipt.endpoints.iter().map(|endpoint| endpoint.permitted).collect();
    assert_eq!(permitted, [Some(true), Some(false)]);
    assert!(receipt.endpoints[1].error.as_deref().unwrap().contains("allow the action"));
}

#[tokio::test]
async fn what_a_sweep_by_command_ends_says_who_asked_for_it_and_why() {
    let world = World::with_alice_locked().await;
    let (actor, reason) = (Some("jane@example.com".to_owned()), Some("INC-42".to_owned()));
    for (actor, reason, expected) in [(actor, reason, "INC-42"), (None, None, "user.lifecycle.deactivate")] {
        world.user("alice");
        let order = Sweep { actor: actor.clone(), reason, commanded: true, via: Via::Direct, ..world.order() };
        assert_eq!(world.revoker().sweep(&order, &world.run()).await.outcome, Outcome::Completed);
        let entry = world.entries("alice").pop().unwrap();
        assert_eq!((entry.text("actor"), entry.text("reason")), (actor.as_deref(), Some(expected)));
        world.clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn who_is_protected_since_is_not_swept() {
    let mut world = World::with_alice_locked().await;
    let back = world.user("alice");
    world.policy.protected = Protected::parse("alice").unwrap();
    for _ in 0..2 {
        assert_eq!(world.sweep().await.outcome, Outcome::Refused);
        world.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(world.vpn.alive(None), [back]);
    assert_eq!(world.kinds("alice"), ["requested", "completed", "refused"], "said once, not every minute");
}

#[tokio::test]
async fn who_is_protected_under_one_name_is_swept_under_none() {
    let mut world = World::new();
    world.policy.aliases = crate::alias::Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.one(world.revoke("alice@corp.example")).await;
    world.clock.advance(Duration::from_secs(300));
    let back = world.user("alice");
    world.policy.protected = Protected::parse("*@corp.example").unwrap();
    assert_eq!(world.sweep().await.outcome, Outcome::Refused);
    assert_eq!(world.vpn.alive(None), [back]);
}

#[tokio::test]
async fn who_shares_a_name_with_somebody_protected_since_is_swept_all_the_same() {
    // Protected by their own name, and by one that follows from it.
    for boss in ["boss", "boss@corp.example"] {
        let mut world = World::new();
        world.policy.aliases = crate::alias::Aliases::parse("corp.example: {subject} {local}").unwrap();
        world.one(world.alias(boss, &["laptop-7"], false)).await;
        world.one(world.command(Action::Revoke { expires_at: None }, boss, "c-1")).await;
        world.one(world.revoke("laptop-7")).await;
        world.clock.advance(Duration::from_secs(300));
        world.user("laptop-7");
        world.policy.protected = Protected::parse("boss").unwrap();
        assert_eq!(world.sweep().await.outcome, Outcome::Completed, "{boss}");
        assert_eq!(world.alive(), 0, "{boss}");
    }
}

#[tokio::test]
async fn who_is_protected_since_is_swept_under_no_name_whichever_is_connected() {
    for protected in ["vip-1", "alice"] {
        let mut world = World::new();
        world.policy.aliases = crate::alias::Aliases::parse("corp.example: {subject} {local}").unwrap();
        world.one(world.alias("alice@corp.example", &["laptop-7", "vip-1"], false)).await;
        world.one(world.revoke("alice@corp.example")).await;
        world.clock.advance(Duration::from_secs(60));
        world.one(world.restore("alice")).await;
        world.clock.advance(Duration::from_secs(300));
        let back = world.user("laptop-7");
        world.policy.protected = Protected::parse(protected).unwrap();
        assert_eq!(world.sweep().await.outcome, Outcome::Refused);
        assert_eq!(world.vpn.alive(None), [back], "{protected}");
    }
}

#[tokio::test]
async fn a_name_by_rule_that_was_never_the_persons_keeps_nobody_from_being_swept() {
    let mut world = World::new();
    world.policy.aliases = crate::alias::Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.policy.protected = Protected::parse("alice").unwrap();
    let alice = Subject::new("alice@corp.example").unwrap().not_called(vec![Name::new("alice").unwrap()]);
    let revoke = Signal { about: vec![About::Subject(alice)], ..world.revoke("alice@corp.example") };
    assert_eq!(world.one(revoke).await.outcome, Outcome::Completed);
    world.clock.advance(Duration::from_secs(300));
    world.user("alice@corp.example");
    assert_eq!(world.sweep().await.outcome, Outcome::Completed);
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn a_name_that_is_anothers_and_protected_now_keeps_nobody_from_being_swept() {
    let mut world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.alias("alice", &["laptop-7"], true)).await;
    world.one(world.restore("laptop-7")).await;
    world.one(world.alias("bob", &["laptop-7"], false)).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.revoke("bob")).await;
    world.clock.advance(Duration::from_secs(300));
    world.user("alice");
    world.policy.protected = Protected::parse("laptop-*").unwrap();
    assert_eq!(world.sweep().await.outcome, Outcome::Completed);
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn a_name_of_before_that_is_protected_now_keeps_nobody_from_being_swept() {
    let mut world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.alias("alice", &["laptop-7"], true)).await;
    world.one(world.restore("laptop-7")).await;
    world.clock.advance(Duration::from_secs(300));
    world.user("alice");
    world.policy.protected = Protected::parse("laptop-*").unwrap();
    assert_eq!(world.sweep().await.outcome, Outcome::Completed);
    assert_eq!(world.alive(), 0);
}
