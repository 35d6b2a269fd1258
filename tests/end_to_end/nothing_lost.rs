//! Nothing lost, nothing twice: each message fails or succeeds by itself, and a repeated delivery changes nothing.

use client_vpn_emulator::NewConnection;
use serde_json::{Value, json};

use crate::world::World;
use crate::world::reading::sample;

const DANA: &str = "dana.reyes@example.com";

#[tokio::test]
async fn bad_messages_among_good_ones_take_nobody_down() {
    let world = World::new().await;
    world.user(DANA);
    world.user("Lee.Park@Example.com");
    let answer = world.invoke(&world.app(&[]), &sample("wrapped/sqs-mixed-batch.json")).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}), "what can't be understood is acknowledged");
    assert!(world.alive().is_empty());
    assert_eq!(world.kinds(DANA).await, ["requested", "completed"]);
    assert_eq!(world.kinds("lee.park@example.com").await, ["requested", "completed"]);
    for kind in ["UnreadableEvent", "UnknownEvent", "BareCommand"] {
        assert_eq!(world.metric("Failures", Some(kind)), 1, "{kind} is counted");
    }
    assert_eq!(world.metric("Signals", Some("completed")), 2);
}

#[tokio::test]
async fn a_whole_batch_shares_its_listings() {
    let world = World::new().await;
    let mut records = Vec::new();
    for i in 0..10 {
        let name = format!("user-{i}@example.com");
        world.user(&name);
        let mut event = sample("okta/deactivate-eventbridge.json");
        event["detail"]["uuid"] = json!(format!("uuid-{i}"));
        event["detail"]["target"][0]["alternateId"] = json!(name);
        let mut record = sample("wrapped/sqs-okta-deactivate.json")["Records"][0].clone();
        record["messageId"] = json!(format!("message-{i}"));
        record["body"] = json!(event.to_string());
        records.push(record);
    }
    let answer = world.invoke(&world.app(&[]), &json!({ "Records": records })).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert!(world.alive().is_empty());
    let full_listings = world.emulator.requests().into_iter().filter(|request| {
        request.action == "DescribeClientVpnConnections" && request.parameter("Filter.1.Name").is_none()
    });
    assert_eq!(full_listings.count(), 2 * 3, "the first and the last, on three endpoints");
}

#[tokio::test]
async fn a_repeated_delivery_changes_nothing() {
    let world = World::new().await;
    world.user(DANA);
    let app = world.app(&[]);
    let event = sample("okta/deactivate-eventbridge.json");
    world.invoke(&app, &event).await.unwrap();
    let (chains, table) = (world.chains().await, world.locks_table().await);
    // Once more as it was, and once more over another transport.
    for again in [&event, &sample("wrapped/sqs-okta-deactivate.json"), &sample("okta/deactivate-log-event.json")] {
        world.invoke(&app, again).await.unwrap();
    }
    assert_eq!(world.chains().await, chains);
    assert_eq!(world.locks_table().await, table);
}

#[tokio::test]
async fn concurrent_deliveries_leave_one_entry_of_each_kind_and_a_whole_chain() {
    let world = World::new().await;
    for _ in 0..3 {
        world.user(DANA);
    }
    let event = sample("okta/deactivate-eventbridge.json").to_string();
    let mut deliveries = tokio::task::JoinSet::new();
    for i in 0..4 {
        let (app, event) = (world.app(&[]), event.clone());
        let call = vpn_revoker::Call { request_id: format!("request-{i}"), ..world.call() };
        deliveries.spawn(async move { app.invoke(event.as_bytes(), &call).await });
    }
    for answer in deliveries.join_all().await {
        assert_eq!(answer.unwrap()["receipts"][0]["outcome"], "completed");
    }
    assert_eq!(world.kinds(DANA).await, ["requested", "completed"]);
    assert!(world.alive().is_empty());
}

#[tokio::test]
async fn an_event_hook_with_two_users_becomes_two_signals_and_fails_for_the_nameless() {
    let world = World::new().await;
    world.user("lee.park@example.com");
    let mut batch = sample("wrapped/sqs-okta-deactivate.json");
    batch["Records"][0]["body"] = json!(sample("okta/event-hook-two-users.json").to_string());
    let answer = world.invoke(&world.app(&[]), &batch).await.unwrap();
    assert_eq!(answer["batchItemFailures"][0]["itemIdentifier"], batch["Records"][0]["messageId"]);
    assert!(world.alive().is_empty(), "the one with a name is out all the same");
    assert_eq!(world.kinds("lee.park@example.com").await, ["requested", "completed"]);
    assert_eq!(world.kinds("#id/okta/00u9demo4gone0001x7").await, ["unresolved"]);
}

#[tokio::test]
async fn what_says_nothing_to_us_is_acknowledged_and_nothing_is_terminated() {
    let world = World::new().await;
    world.user(DANA);
    let app = world.app(&[]);
    let big = json!({"detail": {"blob": "x".repeat(1 << 20)}});
    let deep: Value = {
        let mut value = json!(DANA);
        for _ in 0..100 {
            value = json!({ "nested": value });
        }
        value
    };
    let odd = json!({"source": "\u{202e}\u{0}\u{feff}", "detail-type": "💥", "detail": {"username": DANA}});
    for event in [
        sample("okta/session-end-eventbridge.json"),
        sample("okta/deactivate-failed-eventbridge.json"),
        big,
        deep,
        odd,
        json!([]),
        json!(null),
    ] {
        assert_eq!(world.invoke(&app, &event).await.unwrap(), json!({"receipts": []}));
    }
    for raw in ["", "{", &format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000))] {
        assert_eq!(app.invoke(raw.as_bytes(), &world.call()).await.unwrap(), json!({"receipts": []}));
    }
    assert_eq!(world.requests("TerminateClientVpnConnections"), 0);
    let answer = world.invoke(&app, &sample("okta/deactivate-eventbridge.json")).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed", "and the next event is served");
}

#[tokio::test]
async fn an_sns_record_is_read_like_the_event_in_it() {
    let world = World::new().await;
    world.user("lee.park@example.com");
    let answer = world.invoke(&world.app(&[]), &sample("wrapped/sns-okta-suspend.json")).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
    assert!(world.alive().is_empty());
}

#[tokio::test]
async fn an_sns_invoke_that_leaves_something_undone_is_an_error_and_so_comes_again() {
    let world = World::new().await;
    let mut record = sample("wrapped/sns-okta-suspend.json");
    let by_id = sample("identity-center/disable-user-eventbridge.json");
    record["Records"][0]["Sns"]["Message"] = json!(by_id.to_string());
    let failure = world.invoke(&world.app(&[]), &record).await.unwrap_err();
    assert_eq!(failure.error_type, "Unresolved");
    assert!(failure.message.ends_with("is unresolved; it is to be tried again"), "{}", failure.message);
}

#[tokio::test]
async fn signals_of_one_batch_for_one_subject_apply_in_the_order_of_their_facts() {
    let world = World::new().await;
    let dana = world.connect(2, NewConnection::user(DANA));
    world.clock.advance(std::time::Duration::from_secs(3600));
    let record = |id: &str, event: Value| {
        let mut record = sample("wrapped/sqs-okta-deactivate.json")["Records"][0].clone();
        record["messageId"] = json!(id);
        record["body"] = json!(event.to_string());
        record["attributes"]["SentTimestamp"] = json!("1772359200000");
        record
    };
    // The re-enable is fifteen minutes younger and comes first in the batch.
    let batch = json!({"Records": [
        record("young", sample("okta/unsuspend-eventbridge.json")),
        record("old", sample("okta/deactivate-eventbridge.json")),
    ]});
    let answer = world.invoke(&world.app(&[]), &batch).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert_eq!(world.alive(), [dana]);
    assert_eq!(world.lock(DANA).await.unwrap()["state"], "released");
}
