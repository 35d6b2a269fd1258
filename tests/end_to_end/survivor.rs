//! No survivor: `completed` means that a full listing showed nothing of the subject alive.

use std::time::Duration;

use client_vpn_emulator::{Action, Fault, NewConnection};
use serde_json::json;

use crate::world::reading::sample;
use crate::world::{ENDPOINTS, World};

const DANA: &str = "dana.reyes@example.com";

fn deactivate() -> serde_json::Value {
    sample("okta/deactivate-eventbridge.json")
}

#[tokio::test]
async fn an_okta_event_ends_every_connection_on_every_endpoint_and_the_trail_says_so() {
    let world = World::new().await;
    for _ in 0..7 {
        world.user(DANA);
    }
    world.user("Dana.Reyes@EXAMPLE.com");
    world.connect(0, NewConnection::certificate(DANA));
    world.connect(1, NewConnection::user(DANA));
    let bystander = world.user("lee.park@example.com");

    let answer = world.invoke(&world.app(&[]), &deactivate()).await.unwrap();

    assert_eq!(world.alive(), [bystander]);
    let receipt = &answer["receipts"][0];
    assert_eq!(receipt["outcome"], "completed");
    assert_eq!(receipt["subjects"][0]["connections"].as_array().unwrap().len(), 10);
    assert!(
        receipt["subjects"][0]["connections"].as_array().unwrap().iter().all(|c| c["current_status"] == "terminated")
    );
    assert_eq!(receipt["endpoints"].as_array().unwrap().len(), 3);
    let by_request = |c: &serde_json::Value| c["request_id"].as_str().is_some_and(|id| !id.is_empty());
    assert!(
        receipt["subjects"][0]["connections"].as_array().unwrap().iter().all(by_request),
        "CloudTrail's id is kept"
    );
    assert_eq!(world.kinds(DANA).await, ["requested", "completed"]);
    let lock = world.lock(DANA).await.unwrap();
    assert_eq!((&lock["state"], &lock["holds"]["okta:example-corp"]["state"]), (&json!("locked"), &json!("locked")));
    assert_eq!(lock["holds"]["okta:example-corp"]["as_of"], "2026-03-01T09:29:57.250Z");
}

#[tokio::test]
async fn the_same_event_inside_sqs_does_the_same() {
    let world = World::new().await;
    world.user(DANA);
    let answer = world.invoke(&world.app(&[]), &sample("wrapped/sqs-okta-deactivate.json")).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert!(world.alive().is_empty());
    assert_eq!(world.kinds(DANA).await, ["requested", "completed"]);
}

#[tokio::test]
async fn the_user_on_the_last_of_three_pages_is_found() {
    let world = World::with(|emulator| emulator.max_page_size(5)).await;
    for i in 0..13 {
        world.user(&format!("user-{i}@example.com"));
    }
    world.user(DANA);
    world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
    assert_eq!(world.alive().len(), 13);
    assert!(world.emulator.alive(DANA).is_empty());
}

#[tokio::test]
async fn a_connection_listed_only_after_a_lag_is_found() {
    let world = World::with(|emulator| emulator.listing_lag(Duration::from_secs(6))).await;
    world.user(DANA);
    let answer = world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
    assert!(world.alive().is_empty());
}

#[tokio::test]
async fn completed_needs_a_listing_begun_after_the_settle_time() {
    let world = World::new().await;
    let answer = world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
    let timings = &answer["receipts"][0]["timings"];
    let at = |key: &str| revocation::time::Timestamp::parse(timings[key].as_str().unwrap()).unwrap();
    assert!(at("verified_at").since(at("locked_at")) >= Duration::from_secs(10), "{timings}");
    assert_eq!(answer["receipts"][0]["outcome"], "completed", "also where the first listing found nothing");
}

#[tokio::test]
async fn a_client_that_keeps_coming_back_is_ended_again_and_never_called_completed() {
    let world = World::new().await;
    // Back four seconds after each cut; nothing here keeps it out but being ended again.
    world.connect(0, NewConnection::certificate(DANA).reconnects_after(Duration::from_secs(4)));
    let command = json!({"action": "revoke", "username": DANA, "reason": "INC-5"});
    let answer = world.invoke(&world.app(&[]), &command).await.unwrap();
    assert_eq!(answer["outcome"], "incomplete");
    assert!(answer["subjects"][0]["reconnected"].as_u64().unwrap() >= 3, "{answer}");
    assert!(world.requests("TerminateClientVpnConnections") >= 4);
}

#[tokio::test]
async fn an_unknown_status_is_alive() {
    let world = World::new().await;
    world.user(DANA);
    let paused = Fault::on(Action::DescribeConnections).endpoint(ENDPOINTS[2]).times(1).unknown_status("paused");
    world.emulator.inject(paused);
    let answer = world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
    let connection = &answer["receipts"][0]["subjects"][0]["connections"][0];
    assert_eq!(
        (&connection["previous_status"], &connection["current_status"]),
        (&json!("active"), &json!("terminated"))
    );
    assert!(world.alive().is_empty());
}

#[tokio::test]
async fn a_repeated_page_token_is_no_end_of_a_listing() {
    let world = World::with(|emulator| emulator.max_page_size(5)).await;
    for i in 0..12 {
        world.user(&format!("user-{i}@example.com"));
    }
    world.user(DANA);
    world.emulator.inject(Fault::on(Action::DescribeConnections).endpoint(ENDPOINTS[2]).always().repeated_token());
    let failure = world.invoke(&world.app(&[]), &deactivate()).await.unwrap_err();
    assert_eq!(failure.error_type, "Incomplete");
    let entries = world.chains().await.remove(DANA).unwrap();
    assert!(entries[1]["detail"]["why"].as_str().unwrap().contains("named the same page twice"), "{entries:?}");

    world.emulator.clear_faults();
    let answer = world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
    assert!(world.emulator.alive(DANA).is_empty());
}

#[tokio::test]
async fn an_endpoint_without_a_network_has_no_sessions_and_holds_nothing_up() {
    let world = World::new().await;
    world.emulator.add_endpoint(client_vpn_emulator::NewEndpoint::new("cvpn-endpoint-0new").without_association());
    world.user(DANA);
    let answer = world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
}
