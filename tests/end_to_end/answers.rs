//! What each kind of invoke is answered.

use serde_json::json;

use crate::world::World;
use crate::world::reading::sample;

#[tokio::test]
async fn an_event_gets_receipts_and_a_command_its_own() {
    let world = World::new().await;
    let app = world.app(&[]);
    let event = world.invoke(&app, &sample("okta/deactivate-eventbridge.json")).await.unwrap();
    assert_eq!(event["receipts"].as_array().unwrap().len(), 1);
    let bare = world.invoke(&app, &sample("okta/deactivate-log-event.json")).await.unwrap();
    assert_eq!(bare["receipts"].as_array().unwrap().len(), 1);
    let command = world.invoke(&app, &sample("command/revoke.json")).await.unwrap();
    for key in ["signal_id", "action", "mode", "outcome", "subjects", "endpoints", "timings"] {
        assert!(command.get(key).is_some(), "{key}");
    }
}

#[tokio::test]
async fn an_event_that_names_nobody_is_an_error_that_is_tried_again() {
    let world = World::new().await;
    let failure = world.invoke(&world.app(&[]), &sample("okta/deactivate-nobody-eventbridge.json")).await.unwrap_err();
    assert_eq!(failure.error_type, "Unresolved");
    assert_eq!(world.metric("Failures", Some("unresolved")), 1);
    assert_eq!(world.kinds("#id/okta/event 5f0c2a1e-0d51-11f1-8c1e-demo00000007/0").await, ["unresolved"]);
}

#[tokio::test]
async fn a_bad_command_in_an_event_is_acknowledged() {
    let world = World::new().await;
    let mut event = sample("command/revoke-eventbridge.json");
    event["detail"]["urgency"] = json!("high");
    assert_eq!(world.invoke(&world.app(&[]), &event).await.unwrap(), json!({"receipts": []}));
    assert_eq!(world.metric("Failures", Some("InvalidCommand")), 1);
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let world = World::new().await;
    world.user("dana.reyes@example.com");
    world.invoke(&world.app(&[]), &sample("okta/deactivate-eventbridge.json")).await.unwrap();
    let lines = world.metrics.lock().unwrap().clone();
    insta::assert_json_snapshot!(lines);
}
