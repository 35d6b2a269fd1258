//! Dry runs and shadow mode: they say what would be done, and change nothing.

use super::*;

#[tokio::test]
async fn shadow_mode_changes_nothing_and_says_what_it_would_have_done() {
    let mut world = World::new();
    world.policy.mode = Mode::Shadow;
    world.user("alice");
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Shadowed, 1));
    assert!(!world.is_locked("alice"));
    assert_eq!(world.kinds("alice"), ["shadowed"]);
    assert_eq!(receipt.subjects[0].connections.len(), 1);
    assert_eq!(world.calls.count("locks.write") + world.calls.count("vpn.terminate"), 0);
    assert_eq!(world.calls.count("vpn.may-terminate"), 0, "nobody waits to hear what would be permitted");
}

#[tokio::test]
async fn what_could_not_be_looked_at_in_shadow_mode_comes_again() {
    let mut world = World::new();
    world.policy.mode = Mode::Shadow;
    world.user("alice");
    world.calls.plan("vpn.list", 1000, crate::memory::Mishap::Fails);
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Incomplete);
    world.calls.forget();
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Shadowed);
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Shadowed, "an earlier delivery was");
    assert_eq!(world.kinds("alice"), ["incomplete", "shadowed"]);
}

#[tokio::test]
async fn only_what_was_locked_in_earnest_says_since_when() {
    let mut world = World::new();
    world.one(world.disconnect("alice")).await;
    world.one(world.revoke("alice")).await;
    world.policy.mode = Mode::Shadow;
    world.one(world.revoke("bob")).await;
    let since = |chain: &str| -> Vec<bool> {
        let entries = &world.audit.chains()[chain];
        entries.iter().map(|entry| entry.attributes()["detail"].get("locked_at").is_some()).collect()
    };
    assert_eq!(world.kinds("alice"), ["requested", "completed", "requested", "completed"]);
    assert_eq!((since("alice"), since("bob")), (vec![false, false, false, true], vec![false]));
}

#[tokio::test]
async fn a_dry_run_asks_for_permission_on_every_endpoint_and_writes_nothing() {
    let world = World::new();
    world.user("alice");
    let dry = Signal { dry_run: true, via: Via::Direct, ..world.revoke("alice") };
    let receipt = world.one(dry.clone()).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Planned, 1));
    assert_eq!(receipt.endpoints.iter().filter(|endpoint| endpoint.permitted == Some(true)).count(), 2);
    assert_eq!(
        world.calls.count("locks.write") + world.calls.count("audit.commit") + world.calls.count("vpn.terminate"),
        0
    );

    world.calls.plan("vpn.may-terminate cvpn-endpoint-b", 1, crate::memory::Mishap::Denied);
    let receipt = world.one(dry).await;
    let denied: Vec<_> = receipt.endpoints.iter().filter(|endpoint| endpoint.permitted == Some(false)).collect();
    assert_eq!(denied.len(), 1);
    assert!(denied[0].error.as_ref().unwrap().contains("allow the action"));
}

#[tokio::test]
async fn a_dry_disconnect_asks_for_permission_where_its_connection_would_be() {
    let world = World::new();
    let about = vec![About::Connection(world.endpoints[1].clone(), ConnectionId::new("cvpn-connection-gone"))];
    let dry = Signal { about, dry_run: true, via: Via::Direct, ..world.disconnect("alice") };
    let receipt = world.one(dry).await;
    let permitted: Vec<_> = receipt.endpoints.iter().filter_map(|endpoint| endpoint.permitted).collect();
    assert_eq!((permitted, world.calls.count("vpn.may-terminate cvpn-endpoint-b")), (vec![true], 1));
}

#[tokio::test]
async fn a_rehearsal_beside_a_real_one_is_no_less_a_rehearsal() {
    let world = World::new();
    let spared = [world.user("alice"), world.user("alice")];
    world.user("bob");
    let dry = Signal { dry_run: true, via: Via::Direct, ..world.revoke("alice") };
    let receipts = world.handle(vec![dry, world.revoke("bob")]).await;
    assert_eq!(outcomes(&receipts), [Outcome::Planned, Outcome::Completed]);
    assert_eq!(world.vpn.alive(None), spared);
}

#[tokio::test]
async fn each_target_is_asked_for_permission_on_its_own_endpoints() {
    let world = World::new();
    world.user("alice");
    let calls = Calls::new();
    let other = MemoryVpn::new("us-east-1", &world.clock, &calls, 1000, Duration::from_secs(3));
    other.endpoint("cvpn-endpoint-c");
    let mut revoker = world.revoker();
    revoker.vpn.push(Arc::new(other));
    let dry = Signal { dry_run: true, via: Via::Direct, ..world.revoke("alice") };
    assert_eq!(outcomes(&revoker.handle(vec![dry], &world.run()).await), [Outcome::Planned]);
    assert_eq!((world.calls.count("vpn.may-terminate"), calls.count("vpn.may-terminate")), (2, 1));
}

#[tokio::test]
async fn a_rehearsal_says_what_would_be_refused() {
    let mut world = World::new();
    world.policy.max_connections = 1;
    world.user("alice");
    world.user("alice");
    let dry = Signal { dry_run: true, via: Via::Direct, ..world.revoke("alice") };
    assert_eq!(world.one(dry).await.outcome, Outcome::Refused);
    world.policy.mode = Mode::Shadow;
    let receipt = world.one(world.revoke("alice")).await;
    assert_eq!(receipt.outcome, Outcome::Shadowed);
    assert_eq!(world.audit.chains()["alice"][0].attributes()["detail"]["would_be"], "refused");
}
