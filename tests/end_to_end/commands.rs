//! What a person or a playbook asks for.

use std::time::Duration;

use client_vpn_emulator::NewConnection;
use serde_json::{Value, json};

use crate::world::World;
use crate::world::reading::sample;

/// Without what differs from run to run: which of two requests side by side got which id, and the hashes over that.
fn settled(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let same = fields.iter().filter(|(key, _)| !["request_id", "hash", "prev_hash"].contains(&key.as_str()));
            Value::Object(same.map(|(key, value)| (key.clone(), settled(value))).collect())
        }
        Value::Array(items) => items.iter().map(settled).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn a_revoke_command_gets_its_receipt() {
    let world = World::new().await;
    world.user("dana.reyes@example.com");
    world.connect(0, NewConnection::certificate("Lee.Park@example.com"));
    let answer = world.invoke(&world.app(&[]), &sample("command/revoke.json")).await.unwrap();
    insta::assert_json_snapshot!(settled(&answer));
    let lock = world.lock("lee.park@example.com").await.unwrap();
    assert_eq!((&lock["expires_at"], &lock["version"]), (&json!("2026-03-01T21:30:00.000Z"), &json!(1)));
    insta::assert_json_snapshot!("lock", lock);
    let entries = world.chains().await.remove("lee.park@example.com").unwrap();
    let entries: Vec<_> = entries.iter().map(settled).collect();
    insta::assert_json_snapshot!("entries", entries);
}

#[tokio::test]
async fn the_id_of_an_earlier_command_is_no_answer_to_another_wish() {
    let world = World::new().await;
    let app = world.app(&[]);
    let laptop = world.connect(0, NewConnection::certificate("laptop-7"));
    let of = |action: &str| json!({"action": action, "subjects": ["alice"], "reason": "INC-42", "id": "INC-42"});
    assert_eq!(world.invoke(&app, &of("revoke")).await.unwrap()["outcome"], "completed");
    let mut alias = of("alias");
    alias["names"] = json!(["laptop-7"]);
    let answer = world.invoke(&app, &alias).await.unwrap();
    assert_eq!(answer["outcome"], "superseded", "{answer}");
    assert!(answer["subjects"][0]["error"].as_str().unwrap().contains("an id of its own"), "{answer}");
    assert_eq!(world.alive(), [laptop]);
    alias["id"] = json!("INC-42-laptop");
    assert_eq!(world.invoke(&app, &alias).await.unwrap()["outcome"], "completed");
    assert_eq!(world.alive(), [""; 0]);
}

#[tokio::test]
async fn a_command_wrapped_in_eventbridge_is_taken_and_a_restore_is_not() {
    let world = World::new().await;
    world.user("dana.reyes@example.com");
    let app = world.app(&[]);
    let answer = world.invoke(&app, &sample("command/revoke-eventbridge.json")).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
    assert_eq!(answer["receipts"][0]["signal_id"], "INC-1042-2");

    let mut restore = sample("command/revoke-eventbridge.json");
    restore["detail"] = json!({"action": "restore", "subjects": ["dana.reyes@example.com"], "id": "INC-1042-3"});
    let answer = world.invoke(&app, &restore).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "refused");
    assert_eq!(world.lock("dana.reyes@example.com").await.unwrap()["state"], "locked");

    world.clock.advance(Duration::from_secs(1));
    let answer = world
        .invoke(&app, &json!({"action": "restore", "username": "dana.reyes@example.com", "id": "INC-1042-4"}))
        .await
        .unwrap();
    assert_eq!(answer["outcome"], "restored");
    let lock = world.lock("dana.reyes@example.com").await.unwrap();
    assert_eq!((&lock["state"], &lock["holds"]["command"]["state"]), (&json!("released"), &json!("released")));
}

#[tokio::test]
async fn a_producers_re_enable_lifts_its_own_hold_only() {
    let world = World::new().await;
    let app = world.app(&[]);
    world.invoke(&app, &sample("okta/deactivate-eventbridge.json")).await.unwrap();
    let command = json!({"action": "revoke", "username": "dana.reyes@example.com", "reason": "INC-9", "id": "INC-9"});
    world.invoke(&app, &command).await.unwrap();
    world.clock.advance(Duration::from_secs(3600));
    let answer = world.invoke(&app, &sample("okta/unsuspend-eventbridge.json")).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "restored");
    let lock = world.lock("dana.reyes@example.com").await.unwrap();
    assert_eq!((&lock["state"], &lock["holds"]["okta:example-corp"]["state"]), (&json!("locked"), &json!("released")));
}

#[tokio::test]
async fn an_older_revocation_arriving_after_the_re_enable_is_superseded() {
    let world = World::new().await;
    let app = world.app(&[]);
    let dana = world.user("dana.reyes@example.com");
    world.clock.advance(Duration::from_secs(3600));
    world.invoke(&app, &sample("okta/unsuspend-eventbridge.json")).await.unwrap();
    let answer = world.invoke(&app, &sample("okta/deactivate-eventbridge.json")).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "superseded");
    assert_eq!(world.alive(), [dana]);
}

#[tokio::test]
async fn a_disconnect_by_id_ends_that_connection_and_locks_nothing() {
    let world = World::new().await;
    let (one, other) = (world.user("alice@example.com"), world.user("alice@example.com"));
    let command = json!({"action": "disconnect", "endpoint_id": crate::world::ENDPOINTS[2], "connection_id": one});
    let answer = world.invoke(&world.app(&[]), &command).await.unwrap();
    assert_eq!(answer["outcome"], "completed");
    assert_eq!(world.alive(), [other]);
    assert_eq!(world.kinds(&format!("#connection/{one}")).await, ["requested", "completed"]);
    assert!(world.locks_table().await.keys().all(|key| key.starts_with('#')));
}

#[tokio::test]
async fn a_disconnect_by_name_leaves_what_came_after_it() {
    let world = World::new().await;
    world.connect(2, NewConnection::user("alice@example.com").established_ago(Duration::from_secs(600)));
    let command = json!({"action": "disconnect", "username": "alice@example.com"});
    let app = world.app(&[]);
    let call = world.call();
    world.clock.advance(Duration::from_secs(5));
    let answer = app.invoke(command.to_string().as_bytes(), &call).await.unwrap();
    assert_eq!((&answer["outcome"], world.alive().len()), (&json!("completed"), 0));
    let after = world.user("alice@example.com");
    assert_eq!(world.alive(), [after], "and a new one is let be, for nothing is locked");
    assert!(world.lock("alice@example.com").await.is_none());
}

#[tokio::test]
async fn a_mistake_in_a_command_is_an_error_that_names_the_field() {
    let world = World::new().await;
    let app = world.app(&[]);
    for (command, field) in [
        (sample("command/unknown-field.json"), "urgency"),
        (sample("command/no-action.json"), "action"),
        (json!({"action": "revoke", "subjects": [""]}), "subjects[0]"),
        (json!({"action": "revoke", "reason": "whom?"}), "subjects"),
    ] {
        let failure = world.invoke(&app, &command).await.unwrap_err();
        assert_eq!(failure.error_type, "InvalidCommand");
        assert!(failure.message.contains(&format!("`{field}`")), "{failure}");
    }
    assert_eq!(world.metric("Failures", Some("InvalidCommand")), 4);
    assert_eq!(world.requests("TerminateClientVpnConnections"), 0);
}
