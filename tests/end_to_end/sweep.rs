//! What slipped through is found, and an authority that locks too many is braked.

use std::time::Duration;

use client_vpn_emulator::NewConnection;
use revocation::breaker::Minute;
use revocation::ports::{Breaker, Clock};
use revocation::signal::Authority;
use serde_json::{Value, json};
use vpn_revoker::DynamoLocks;

use crate::world::directory::STORE;
use crate::world::{LOCKS, World};

/// What EventBridge's schedule sends.
fn schedule() -> Value {
    json!({
        "version": "0", "id": "5c0ed01e-0000-4000-8000-000000000001", "detail-type": "Scheduled Event", "source": "aws.events",
        "account": "111122223333", "time": "2026-03-01T09:30:00Z", "region": "eu-west-1",
        "resources": ["arn:aws:events:eu-west-1:111122223333:rule/sweep"], "detail": {},
    })
}

fn revoke(name: &str) -> Value {
    json!({"action": "revoke", "username": name, "reason": "INC-7", "id": format!("c-{name}")})
}

fn deactivated(name: &str) -> Value {
    json!({
        "uuid": format!("u-{name}"), "eventType": "user.lifecycle.deactivate", "published": "2026-03-01T09:29:00Z",
        "outcome": {"result": "SUCCESS"}, "actor": {"type": "User", "alternateId": "it.admin@example.com"},
        "target": [{"type": "User", "id": "00u1", "alternateId": name}],
    })
}

fn batch(bodies: &[Value]) -> Value {
    let record = |(number, body): (usize, &Value)| {
        json!({
            "messageId": format!("m-{number}"), "receiptHandle": "r", "body": body.to_string(), "eventSource": "aws:sqs",
            "attributes": {"SentTimestamp": "1772357400000"}, "messageAttributes": {}, "awsRegion": "eu-west-1",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:111122223333:signals",
        })
    };
    json!({"Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>()})
}

#[tokio::test]
async fn without_a_handler_the_sweep_ends_each_return_and_the_trail_tells_of_it() {
    let world = World::new().await;
    let app = world.app(&[]);
    world.connect(0, NewConnection::certificate("alice").reconnects_after(Duration::from_secs(90)));
    let bob = world.user("bob");
    assert_eq!(world.invoke(&app, &revoke("alice")).await.unwrap()["outcome"], "completed");
    for returns in 1..=3 {
        world.clock.advance(Duration::from_secs(100));
        assert_eq!(world.alive().len(), 2, "she is back for the {returns}. time");
        let answer = world.invoke(&app, &schedule()).await.unwrap();
        assert_eq!(answer["receipts"][0]["outcome"], "completed", "{answer}");
        assert_eq!(world.alive(), std::slice::from_ref(&bob));
    }
    let kinds = world.kinds("alice").await;
    assert_eq!(kinds, ["requested", "completed"].repeat(4));
    world.clock.advance(Duration::from_secs(20));
    let quiet = world.invoke(&app, &schedule()).await.unwrap();
    assert_eq!(
        (&quiet["receipts"][0]["outcome"], &quiet["receipts"][0]["subjects"]),
        (&json!("completed"), &json!([]))
    );
    assert_eq!(world.kinds("alice").await.len(), kinds.len(), "a sweep that ends nothing writes nothing");
    assert_eq!(world.metric("Sweeps", Some("completed")), 4);
}

#[tokio::test]
async fn a_direct_sweep_gets_its_receipt_and_one_by_event_has_to_be_allowed() {
    let world = World::new().await;
    let answer = world.invoke(&world.app(&[]), &json!({"action": "sweep", "id": "c-1"})).await.unwrap();
    assert_eq!(
        (&answer["signal_id"], &answer["action"], &answer["outcome"]),
        (&json!("c-1"), &json!("sweep"), &json!("completed"))
    );
    assert_eq!(answer["endpoints"].as_array().unwrap().len(), 3);

    let event = json!({"source": "vpn-revoker", "detail-type": "VPN Revoker Command", "id": "e-1", "detail": {"action": "sweep"}});
    let answer = world.invoke(&world.app(&[]), &event).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "refused");
    let allowed = world.app(&[("VPN_REVOKER_EVENT_COMMANDS", "revoke,sweep")]);
    assert_eq!(world.invoke(&allowed, &event).await.unwrap()["receipts"][0]["outcome"], "completed");
}

#[tokio::test]
async fn what_the_schedule_orders_several_times_in_one_delivery_is_one_sweep() {
    let world = World::new().await;
    let orders: Vec<Value> = (0..3)
        .map(|number| {
            let mut order = schedule();
            order["id"] = json!(format!("5c0ed01e-0000-4000-8000-00000000000{number}"));
            order
        })
        .collect();
    let answer = world.invoke(&world.app(&[]), &batch(&orders)).await.unwrap();
    assert_eq!((answer, world.metric("Sweeps", Some("completed"))), (json!({"batchItemFailures": []}), 1));
}

#[tokio::test]
async fn what_a_sweep_refuses_and_what_it_leaves_is_counted() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_MAX_CONNECTIONS", "1")]);
    world.invoke(&app, &revoke("shared")).await.unwrap();
    world.user("shared");
    world.user("shared");
    world.invoke(&app, &schedule()).await.unwrap();
    assert_eq!((world.metric("Refused", Some("too-many-connections")), world.alive().len()), (1, 2));

    let trouble = client_vpn_emulator::Fault::on(client_vpn_emulator::Action::DescribeConnections);
    world.emulator.inject(trouble.always().error(503, "Unavailable", "The service is unavailable."));
    let answer = world.invoke(&app, &schedule()).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "incomplete", "{answer}");
    assert_eq!(world.metric("Failures", Some("SweepIncomplete")), 1);
}

#[tokio::test]
async fn what_a_schedule_left_is_for_the_next_sweep_and_what_somebody_asked_for_comes_again() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_EVENT_COMMANDS", "sweep")]);
    let trouble = client_vpn_emulator::Fault::on(client_vpn_emulator::Action::DescribeConnections);
    world.emulator.inject(trouble.always().error(503, "Unavailable", "The service is unavailable."));
    let asked_for = json!({"source": "vpn-revoker", "detail-type": "VPN Revoker Command", "id": "e-1", "detail": {"action": "sweep"}});
    let answer = world.invoke(&app, &batch(&[schedule(), asked_for])).await.unwrap();
    assert_eq!(answer["batchItemFailures"], json!([{"itemIdentifier": "m-1"}]));
}

#[tokio::test]
async fn a_sweep_that_somebody_asked_for_does_not_pass_for_the_schedule() {
    let world = World::new().await;
    world.invoke(&world.app(&[]), &json!({"action": "sweep"})).await.unwrap();
    let of = |name: &str| world.metric(name, Some("completed"));
    assert_eq!((of("Sweeps"), of("CommandedSweeps")), (0, 1));
}

#[tokio::test]
async fn every_lock_is_swept_however_many_there_are() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_SETTLE_SECONDS", "0")]);
    let names: Vec<String> = (0..150).map(|n| format!("user-{n:03}@example.com")).collect();
    let command =
        json!({"action": "revoke", "subjects": names, "reason": "a contractor's contract ended", "id": "c-1"});
    assert_eq!(world.invoke(&app, &command).await.unwrap()["outcome"], "completed");
    for name in &names {
        world.user(name);
    }
    let bystander = world.user("user-1@example.com");
    let receipt = world.invoke(&app, &json!({"action": "sweep"})).await.unwrap();
    assert_eq!((&receipt["outcome"], receipt["subjects"].as_array().unwrap().len()), (&json!("completed"), 150));
    assert_eq!(world.alive(), [bystander]);
}

#[tokio::test]
async fn a_lock_that_cannot_be_read_stands_in_no_others_way() {
    use aws_sdk_dynamodb::types::AttributeValue;
    let world = World::new().await;
    let app = world.app(&[]);
    for name in ["alice", "bob"] {
        world.invoke(&app, &revoke(name)).await.unwrap();
    }
    let edit = world.clients.tables.update_item().table_name(LOCKS).key("subject", AttributeValue::S("bob".to_owned()));
    let edit = edit.update_expression("SET holds = :text");
    edit.expression_attribute_values(":text", AttributeValue::S("by hand".to_owned())).send().await.unwrap();
    world.user("alice");
    let receipt = world.invoke(&app, &json!({"action": "sweep"})).await.unwrap();
    assert_eq!((&receipt["outcome"], world.alive().len()), (&json!("incomplete"), 0), "{receipt}");
    let subjects = receipt["subjects"].as_array().unwrap();
    assert!(
        subjects.iter().any(|subject| subject["error"].as_str().unwrap_or_default().contains("`bob`")),
        "{receipt}"
    );
}

#[tokio::test]
async fn a_sweep_makes_good_an_event_that_never_came() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_IDENTITY_STORE_ID", STORE), ("VPN_REVOKER_SWEEP_DIRECTORY", "25")]);
    world.directory.put("1", "alice", "alice@example.com", "DISABLED");
    world.directory.put("2", "bob", "bob@example.com", "ENABLED");
    world.directory.put("3", "carol", "carol@example.com", "ENABLED");
    world.invoke(&app, &json!({"action": "sync_directory"})).await.unwrap();
    world.directory.delete("3");
    for name in ["alice@example.com", "carol"] {
        world.user(name);
    }
    let others = [world.user("bob"), world.user("a-machine")];
    let answer = world.invoke(&app, &schedule()).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed", "{answer}");
    assert_eq!(world.alive(), others);
    assert_eq!(world.lock("alice").await.unwrap()["holds"]["directory"]["state"], "locked");
    assert!(world.lock("bob").await.is_none());
}

#[tokio::test]
async fn past_the_limit_the_breaker_opens_and_nothing_that_it_refuses_is_lost() {
    let world = World::new().await;
    let limit = [("VPN_REVOKER_MAX_SUBJECTS", "2")];
    let names = ["a@example.com", "b@example.com", "c@example.com", "d@example.com"];
    names.iter().for_each(|name| drop(world.user(name)));
    let bodies: Vec<Value> = names.iter().map(|name| deactivated(name)).collect();
    let answer = world.invoke(&world.app(&limit), &batch(&bodies)).await.unwrap();
    assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 2, "{answer}");
    assert_eq!((world.alive().len(), world.metric("Refused", Some("breaker-open"))), (2, 2));

    // Another environment, an hour later: it is open for all of them, and stays so.
    world.clock.advance(Duration::from_secs(3600));
    let answer = world.invoke(&world.app(&limit), &batch(&bodies[2..])).await.unwrap();
    assert_eq!((answer["batchItemFailures"].as_array().unwrap().len(), world.alive().len()), (2, 2));
    let command = world.invoke(&world.app(&limit), &revoke("d@example.com")).await.unwrap();
    assert_eq!(
        (&command["outcome"], world.alive().len()),
        (&json!("completed"), 1),
        "a person's command is not braked"
    );

    let close = json!({"action": "close_breaker", "authority": "okta", "reason": "they did leave", "id": "c-close"});
    let receipt = world.invoke(&world.app(&limit), &close).await.unwrap();
    assert_eq!(
        (&receipt["outcome"], &receipt["subjects"][0]["subject"]),
        (&json!("restored"), &json!("#breaker/okta"))
    );
    let answer = world.invoke(&world.app(&limit), &batch(&bodies[2..])).await.unwrap();
    assert_eq!((answer, world.alive().len()), (json!({"batchItemFailures": []}), 0));
    assert_eq!(world.kinds("c@example.com").await, ["refused", "requested", "completed"]);
}

#[tokio::test]
async fn a_breaker_that_was_just_closed_counts_from_zero() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_MAX_SUBJECTS", "1")]);
    let names = ["a@example.com", "b@example.com", "c@example.com"];
    names.iter().for_each(|name| drop(world.user(name)));
    let [a, b, c] = names.map(|name| batch(&[deactivated(name)]));
    let close = json!({"action": "close_breaker", "authority": "okta", "reason": "they did leave", "id": "c-close"});
    let mut alive = Vec::new();
    for payload in [&a, &b, &close, &b, &c] {
        world.invoke(&app, payload).await.unwrap();
        alive.push(world.alive().len());
    }
    assert_eq!(alive, [2, 2, 2, 1, 1], "in each round one passes, and no more");
    let minute = Minute(world.clock.now().as_millis() / 60_000);
    let locks = DynamoLocks::new(world.clients.tables.clone(), LOCKS);
    let standing = locks.standing(&Authority::named("okta"), &[minute]).await.unwrap();
    assert!(standing.opened_at.is_some() && standing.counted.len() == 1, "an open one still says what is counted");
}

#[tokio::test]
async fn a_refusal_of_the_breaker_is_an_error_for_eventbridge() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_MAX_SUBJECTS", "1")]);
    let event = |name: &str| json!({"source": "aws.partner/okta.com/acme/s", "detail-type": "SystemLog", "id": format!("e-{name}"), "detail": deactivated(name)});
    assert!(world.invoke(&app, &event("a@example.com")).await.is_ok());
    let failure = world.invoke(&app, &event("b@example.com")).await.unwrap_err();
    assert_eq!(failure.error_type, "BreakerOpen");
}

#[tokio::test]
async fn the_schedules_sweep_leaves_word_and_one_that_was_asked_for_does_not() {
    let world = World::new().await;
    let app = world.app(&[]);
    for command in [json!({"action": "sweep", "dry_run": true}), json!({"action": "sweep"})] {
        world.invoke(&app, &command).await.unwrap();
        assert_eq!(world.locks_table().await.get("#sweep"), None, "{command}");
    }
    let schedule = crate::world::reading::sample("wrapped/schedule.json");
    world.invoke(&app, &schedule).await.unwrap();
    let first = world.locks_table().await["#sweep"].clone();
    assert_eq!((&first["begun_at"], &first["outcome"]), (&json!("2026-03-01T09:30:00.000Z"), &json!("completed")));
    world.clock.advance(std::time::Duration::from_secs(60));
    world.invoke(&app, &schedule).await.unwrap();
    assert_eq!(world.locks_table().await["#sweep"]["begun_at"], json!("2026-03-01T09:31:00.000Z"));
}
