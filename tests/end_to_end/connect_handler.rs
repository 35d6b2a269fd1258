//! At the door: who is locked does not come in again, and whoever is not is not kept waiting.

use std::time::Duration;

use client_vpn_emulator::{Action, Fault, NewConnection};
use revocation::ports::Clock;
use serde_json::{Value, json};

use crate::world::door::{Detour, ask, nowhere};
use crate::world::reading::sample;
use crate::world::{ENDPOINTS, World};

const DANA: &str = "dana.reyes@example.com";
const LAPTOP: &str = "laptop-7.example.com";

/// What Client VPN asks when Dana knocks with her laptop.
fn knock() -> Value {
    sample("connect-handler/v3.json")
}

async fn revoke(world: &World, name: &str, more: Value) {
    let mut command = json!({"action": "revoke", "username": name, "reason": "INC-42", "id": "INC-42"});
    command.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.invoke(&world.app(&[]), &command).await.unwrap();
}

#[tokio::test]
async fn a_locked_name_is_refused_in_every_version_and_under_either_name() {
    for (locked, refused) in [(DANA, ["v2", "v3"]), (LAPTOP, ["v1", "v3"])] {
        let world = World::new().await;
        revoke(&world, locked, json!({})).await;
        for version in ["v1", "v2", "v3"] {
            let request = sample(&format!("connect-handler/{version}.json"));
            let answer = ask(&world.door(&[("VPN_REVOKER_DENY_MESSAGE", "Call the help desk.")]), &request).await;
            let refused = refused.contains(&version);
            let message = if refused { "Call the help desk." } else { "" };
            let field = match version {
                "v1" => "error-msg-on-failed-posture-compliance",
                _ => "error-msg-on-denied-connection",
            };
            let expected = json!({
                "allow": !refused, field: message, "posture-compliance-statuses": [], "schema-version": version,
            });
            assert_eq!(answer, expected, "{locked}");
        }
        assert_eq!(world.metric("ConnectionsDenied", None), 2);
    }
}

#[tokio::test]
async fn whoever_merely_looks_like_a_locked_name_comes_in() {
    let world = World::new().await;
    revoke(&world, DANA, json!({})).await;
    let door = world.door(&[]);
    for other in ["dana.reyes@example.com.evil", "xdana.reyes@example.com", "dana.reyes", "dana*", "", "n/a"] {
        let request = json!({"username": other, "common-name": "", "schema-version": "v2"});
        assert_eq!(ask(&door, &request).await["allow"], true, "{other}");
    }
    assert_eq!(ask(&door, &json!({"username": " Dana.Reyes@EXAMPLE.com"})).await["allow"], false);
}

#[tokio::test]
async fn a_hold_that_has_expired_or_was_lifted_keeps_nobody_out() {
    let world = World::new().await;
    let door = world.door(&[]);
    revoke(&world, DANA, json!({"expires_in": "PT1H"})).await;
    assert_eq!(ask(&door, &knock()).await["allow"], false);
    world.clock.advance(Duration::from_secs(60 * 60));
    assert_eq!(ask(&door, &knock()).await["allow"], true);

    revoke(&world, DANA, json!({"id": "INC-43"})).await;
    assert_eq!(ask(&door, &knock()).await["allow"], false);
    let restore = json!({"action": "restore", "subjects": [DANA], "reason": "cleared"});
    world.invoke(&world.app(&[]), &restore).await.unwrap();
    assert_eq!(ask(&door, &knock()).await["allow"], true);
}

#[tokio::test]
async fn in_shadow_mode_everybody_comes_in_earlier_locks_or_not() {
    let world = World::new().await;
    revoke(&world, DANA, json!({})).await;
    let shadow = ("VPN_REVOKER_MODE", "shadow");
    assert_eq!(ask(&world.door(&[shadow]), &knock()).await["allow"], true);
    assert_eq!(ask(&world.door_at(&nowhere().await, &[shadow]), &knock()).await["allow"], true);
    assert_eq!(world.metric("ConnectionsDenied", None), 0);
    assert_eq!(world.kinds(DANA).await, ["requested", "completed"]);
}

#[tokio::test]
async fn protected_comes_in_whatever_the_locks_say_and_when_they_say_nothing() {
    let world = World::new().await;
    revoke(&world, DANA, json!({})).await;
    for protected in [DANA, "laptop-*"] {
        let variables = [("VPN_REVOKER_PROTECTED", protected)];
        assert_eq!(ask(&world.door(&variables), &knock()).await["allow"], true, "{protected}");
        assert_eq!(ask(&world.door_at(&nowhere().await, &variables), &knock()).await["allow"], true, "{protected}");
    }
}

#[tokio::test]
async fn with_the_table_away_the_configuration_answers() {
    for (variables, allow) in [(vec![], false), (vec![("VPN_REVOKER_ON_ERROR", "allow")], true)] {
        let world = World::new().await;
        let door = world.door_at(&nowhere().await, &variables);
        let answer = ask(&door, &knock()).await;
        assert_eq!((&answer["allow"], &answer["schema-version"]), (&json!(allow), &json!("v3")));
        assert_eq!(world.metric("Failures", Some("LocksUnreadable")), 1);
        assert_eq!(world.metric("ConnectionsDenied", Some(ENDPOINTS[2])), usize::from(!allow));
    }
}

#[tokio::test]
async fn a_table_that_hangs_is_asked_three_times_and_answered_for_within_two_seconds() {
    for (on_error, allow) in [("deny", false), ("allow", true)] {
        let world = World::new().await;
        let mut detour = Detour::start(&world, usize::MAX).await;
        let door = world.door_at(&detour.url, &[("VPN_REVOKER_ON_ERROR", on_error)]);
        let begun = world.clock.now();
        let asking = tokio::spawn(async move { ask(&door, &knock()).await });
        for attempt in 1..=3 {
            detour.asked(attempt).await;
            world.clock.advance(Duration::from_millis(600));
        }
        assert_eq!(asking.await.unwrap()["allow"], allow);
        assert!(world.clock.now().since(begun) <= Duration::from_secs(2));
        assert_eq!(world.metric("Failures", Some("LocksUnreadable")), 1);
    }
}

#[tokio::test]
async fn one_attempt_that_hangs_is_made_again() {
    let world = World::new().await;
    let mut detour = Detour::start(&world, 1).await;
    let door = world.door_at(&detour.url, &[]);
    let asking = tokio::spawn(async move { ask(&door, &knock()).await });
    detour.asked(1).await;
    world.clock.advance(Duration::from_millis(600));
    assert_eq!(asking.await.unwrap()["allow"], true, "nobody is locked, and that could be read");
    assert_eq!(world.metric("Failures", None), 0);
}

#[tokio::test]
async fn what_is_no_request_is_answered_by_the_configuration() {
    let world = World::new().await;
    for payload in ["", "[1]", "{\"username\":7}", &"{\"a\":".repeat(5_000)] {
        for (on_error, allow) in [("deny", false), ("allow", true)] {
            let answer = world.door(&[("VPN_REVOKER_ON_ERROR", on_error)]).invoke(payload.as_bytes()).await;
            assert_eq!((answer.allows(), &json!(answer)["schema-version"]), (allow, &json!("v2")), "{payload}");
        }
    }
    assert_eq!(world.metric("Failures", Some("ConnectRequestUnreadable")), 8);
}

#[tokio::test]
async fn a_refusal_is_recorded_once_for_each_name_endpoint_and_hour() {
    let world = World::new().await;
    revoke(&world, DANA, json!({})).await;
    let door = world.door(&[]);
    for _ in 0..3 {
        ask(&door, &knock()).await;
    }
    let mut elsewhere = knock();
    elsewhere["endpoint-id"] = json!(ENDPOINTS[1]);
    ask(&door, &elsewhere).await;
    world.clock.advance(Duration::from_secs(60 * 60));
    ask(&door, &knock()).await;

    assert_eq!(world.metric("ConnectionsDenied", None), 5, "each is counted");
    let entries = world.chains().await.remove(DANA).unwrap();
    let denied: Vec<&Value> = entries.iter().filter(|entry| entry["kind"] == "denied").collect();
    let ids: Vec<&str> = denied.iter().map(|entry| entry["signal_id"].as_str().unwrap()).collect();
    let hour = |endpoint: &str, hour: u8| format!("denied:{endpoint}:2026-03-01T{hour:02}");
    assert_eq!(ids, [hour(ENDPOINTS[2], 9), hour(ENDPOINTS[1], 9), hour(ENDPOINTS[2], 10)]);
    assert_eq!(
        denied[0]["detail"],
        json!({
            "endpoint_id": ENDPOINTS[2], "connection_id": "cvpn-connection-0a1b2c3d4e5f60003", "platform": "linux",
            "public_ip": "203.0.113.7", "username": DANA, "common_name": LAPTOP, "signal_id": "INC-42",
        })
    );
    assert_eq!((&denied[0]["authority"], &denied[0]["reason"]), (&json!("command"), &json!("INC-42")));
}

#[tokio::test]
async fn a_refusal_that_cannot_be_recorded_is_a_refusal() {
    let world = World::new().await;
    revoke(&world, DANA, json!({})).await;
    let door = world.door(&[]);
    let recorded = ask(&door, &knock()).await;
    world.clients.tables.delete_table().table_name(crate::world::AUDIT).send().await.unwrap();
    world.clock.advance(Duration::from_secs(60 * 60));
    assert_eq!(ask(&door, &knock()).await, recorded);
    assert_eq!(world.metric("ConnectionsDenied", None), 2);
    assert_eq!(world.metric("Failures", Some("RefusalUnrecorded")), 1);
}

/// With the table away the handler would let everybody in: whoever is refused here is refused by a lock.
const BY_LOCK_ALONE: [(&str, &str); 1] = [("VPN_REVOKER_ON_ERROR", "allow")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_user_never_gets_a_second_connection() {
    let world = World::new().await;
    world.guard(&BY_LOCK_ALONE);
    let soon = Duration::from_secs(5);
    for endpoint in 1..3 {
        world.connect(endpoint, NewConnection::user(DANA).reconnects_after(soon));
    }
    world.connect(0, NewConnection::certificate(DANA).reconnects_after(soon));
    let bystander = world.connect(2, NewConnection::user("lee.park@example.com").reconnects_after(soon));

    let answer = world.invoke(&world.app(&[]), &sample("okta/deactivate-eventbridge.json")).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
    world.clock.advance(Duration::from_secs(60));

    assert_eq!(world.alive(), [bystander]);
    let knocks = world.emulator.handler_requests();
    let came_back: Vec<_> = knocks.iter().skip(4).collect();
    assert!(came_back.len() >= 3, "each client knocked again: {came_back:?}");
    assert!(came_back.iter().all(|knock| !knock.allowed && !knock.message.is_empty()), "{came_back:?}");
    assert_eq!(world.emulator.connections().len(), 4, "nobody has a second connection");
    let kinds = world.kinds(DANA).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "denied").count(), 3, "one for each endpoint: {kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_is_shut_before_the_first_terminate_call() {
    let world = World::new().await;
    world.guard(&BY_LOCK_ALONE);
    world.user(DANA);
    world.emulator.inject(Fault::on(Action::Terminate).always().hang());
    let (app, call, event) = (world.app(&[]), world.call(), sample("okta/deactivate-eventbridge.json").to_string());
    let working = tokio::spawn(async move { app.invoke(event.as_bytes(), &call).await });
    world.emulator.seen("TerminateClientVpnConnections", 1).await;
    let refused = world.emulator.connect(ENDPOINTS[2], NewConnection::user(DANA));
    assert!(refused.is_err(), "{refused:?}");
    working.abort();
}
