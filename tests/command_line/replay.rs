//! What would come of events is shown without a trace, and what shadow mode recorded is done when somebody says so.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::deployed::Deployed;
use crate::world::reading::sample;
use crate::world::{AUDIT, World};
use crate::{deployed, scratch};

const DANA: &str = "dana.reyes@example.com";
const AT_ONCE: (&str, &str) = ("VPN_REVOKER_SETTLE_SECONDS", "0");
const SHADOW: (&str, &str) = ("VPN_REVOKER_MODE", "shadow");

async fn world() -> World {
    let world = World::with(|emulator| emulator.terminate_delay(Duration::ZERO)).await;
    world.now();
    world
}

/// Okta's word about somebody.
fn okta(action: &str, id: &str, subject: &str) -> Value {
    let mut event = sample(&format!("okta/{action}-eventbridge.json"));
    event["id"] = json!(id);
    event["detail"]["uuid"] = json!(id);
    event["detail"]["target"][0]["alternateId"] = json!(subject);
    event
}

#[tokio::test]
async fn what_would_come_of_events_is_shown_and_leaves_no_trace() {
    let world = world().await;
    world.user(DANA);
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let file = scratch("events.jsonl");
    let events = format!("{}\n{}\n", okta("deactivate", "1", DANA), json!({"source": "my.app", "detail": {}}));
    std::fs::write(&file, events).unwrap();
    let said = deployed(&world, &aws, &["replay", file.to_str().unwrap(), "--output", "json"]).await;
    std::fs::remove_file(&file).unwrap();
    let receipts = said.json();
    assert_eq!((receipts.as_array().unwrap().len(), &receipts[0]["outcome"]), (1, &json!("planned")), "{said:?}");
    assert_eq!(receipts[0]["subjects"][0]["connections"].as_array().unwrap().len(), 1);
    assert_eq!(receipts[0]["endpoints"][0]["permitted"], json!(true));
    assert!(said.err.contains("event 2: no intake rule matches"), "what says nothing is named: {said:?}");
    assert_eq!((world.alive().len(), world.chains().await.len(), aws.invokes()), (1, 0, 0));
    assert!(world.lock(DANA).await.is_none());
}

#[tokio::test]
async fn a_file_without_events_is_said_to_be_so() {
    let world = world().await;
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let file = scratch("none.json");
    for (content, code, part) in
        [("", 3, "is empty"), ("{", 3, "is no JSON"), (r#"{"action":"sweep"}"#, 1, "about nobody")]
    {
        std::fs::write(&file, content).unwrap();
        let said = deployed(&world, &aws, &["replay", file.to_str().unwrap()]).await;
        assert!(said.code == code && said.err.contains(part), "{content}: {said:?}");
    }
    std::fs::remove_file(&file).unwrap();
}

/// Shadow mode recorded that Dana is out, and that Lee is and is not.
async fn shadowed() -> World {
    let world = world().await;
    world.user(DANA);
    world.user("lee.park@example.com");
    let app = world.app(&[SHADOW, AT_ONCE]);
    for event in [okta("deactivate", "1", DANA), okta("deactivate", "2", "lee.park@example.com"), {
        let mut back = okta("unsuspend", "3", "lee.park@example.com");
        back["detail"]["published"] = json!("2026-03-01T09:29:59.500Z");
        back
    }] {
        world.invoke(&app, &event).await.unwrap();
    }
    assert_eq!(world.alive().len(), 2);
    world
}

#[tokio::test]
async fn what_shadow_mode_recorded_is_shown() {
    let world = shadowed().await;
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let said = deployed(&world, &aws, &["replay", "--shadowed", "--output", "json"]).await;
    let rows = said.json();
    let told: Vec<(&str, &str)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["action"].as_str().unwrap(), row["would_be"].as_str().unwrap()))
        .collect();
    assert_eq!(
        (said.code, told),
        (0, vec![("revoke", "completed"), ("revoke", "completed"), ("restore", "restored")]),
        "{said:?}"
    );
    assert_eq!(world.alive().len(), 2);
}

#[tokio::test]
async fn what_shadow_mode_recorded_is_done_as_it_would_have_been() {
    let world = shadowed().await;
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let apply = ["replay", "--shadowed", "--apply", "--requested-by", "jane", "--yes"];
    let said = deployed(&world, &aws, &apply).await;
    assert!(said.out.contains("completed"), "{said:?}");
    let lock = world.lock(DANA).await.unwrap();
    assert_eq!(lock["state"], "locked");
    assert!(lock["holds"].as_object().unwrap().keys().all(|authority| authority.starts_with("okta:")), "{lock}");
    assert_eq!(world.lock("lee.park@example.com").await.unwrap()["state"], "released", "who came back is left in");
    assert_eq!(world.alive().len(), 1);
    let chain = &world.chains().await[DANA];
    let kinds: Vec<&str> = chain.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["shadowed", "requested", "completed"]);
    assert_eq!(chain[0]["signal_id"], chain[2]["signal_id"]);
    assert!(chain[2]["source"].as_str().unwrap().ends_with("recorded in shadow mode and applied by jane"));
    let before = world.chains().await;
    deployed(&world, &aws, &apply).await;
    assert_eq!(world.chains().await, before, "nothing twice");
}

#[tokio::test]
async fn a_later_word_still_wins_over_what_was_recorded() {
    let world = shadowed().await;
    let mut back = okta("unsuspend", "9", DANA);
    back["detail"]["published"] = json!("2026-03-01T09:30:30.000Z");
    world.invoke(&world.app(&[AT_ONCE]), &back).await.unwrap();
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let said = deployed(&world, &aws, &["replay", "--shadowed", "--subject", DANA, "--apply", "--yes"]).await;
    assert!(said.code == 1 && said.out.contains("superseded"), "{said:?}");
    assert_eq!(world.alive().len(), 2);
}

#[tokio::test]
async fn nothing_is_applied_in_shadow_mode_nor_unasked() {
    let world = shadowed().await;
    let shadow = Deployed::start(&world, &[SHADOW]).await;
    let said = deployed(&world, &shadow, &["replay", "--shadowed", "--apply", "--yes"]).await;
    assert!(said.code == 3 && said.err.contains("deploy it with Mode=enforce first"), "{said:?}");
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let said = deployed(&world, &aws, &["replay", "--shadowed", "--apply"]).await;
    assert!(said.code == 2 && said.err.contains("add --yes"), "{said:?}");
    assert_eq!(world.alive().len(), 2);
}

#[tokio::test]
async fn an_entry_that_somebody_planted_cuts_nobody_off() {
    let world = shadowed().await;
    let table = &world.clients.tables;
    let mut items = crate::world::tables::scan(table, AUDIT).await;
    let mut forged = items.swap_remove(0);
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    forged.insert("subject".to_owned(), text("ceo@example.com"));
    table.put_item().table_name(AUDIT).set_item(Some(forged)).send().await.unwrap();
    let connection = world.user("ceo@example.com");
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let said = deployed(&world, &aws, &["replay", "--shadowed", "--output", "json"]).await;
    let row = said.json().as_array().unwrap().iter().find(|row| row["subject"] == "ceo@example.com").unwrap().clone();
    assert!(row["left_alone"].as_str().unwrap().contains("not whole"), "{row}");
    deployed(&world, &aws, &["replay", "--shadowed", "--apply", "--yes"]).await;
    assert!(world.alive().contains(&connection));
}
