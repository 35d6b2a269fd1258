//! What would come of events is shown without a trace, and what shadow mode recorded is done when somebody says so.

use std::time::Duration;

use revocation::ports::Clock;
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
async fn a_word_that_came_after_the_days_that_were_asked_for_is_not_missed() {
    let world = world().await;
    let connection = world.user(DANA);
    let app = world.app(&[SHADOW, AT_ONCE]);
    let day = vpn_revoker::SystemClock.now().day();
    world.invoke(&app, &okta("deactivate", "1", DANA)).await.unwrap();
    world.clock.advance(Duration::from_secs(24 * 60 * 60));
    let mut back = okta("unsuspend", "2", DANA);
    back["detail"]["published"] = json!(world.clock.now().to_string());
    world.invoke(&app, &back).await.unwrap();
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let apply = ["replay", "--shadowed", "--from", &day, "--to", &day, "--apply", "--yes"];
    deployed(&world, &aws, &apply).await;
    assert_eq!(world.lock(DANA).await.unwrap()["state"], "released");
    assert_eq!(world.alive(), [connection]);
}

#[tokio::test]
async fn whom_a_command_let_in_since_is_left_in() {
    let world = shadowed().await;
    let back = json!({"action": "restore", "subjects": [DANA], "reason": "it was a mistake", "id": "INC-9"});
    world.invoke(&world.app(&[AT_ONCE]), &back).await.unwrap();
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let said = deployed(&world, &aws, &["replay", "--shadowed", "--apply", "--yes"]).await;
    assert!(said.err.contains("lifted since by a command"), "{said:?}");
    assert_eq!(world.alive().len(), 2, "{said:?}");
}

#[tokio::test]
async fn a_name_that_is_somebody_elses_by_now_is_left_alone_and_told() {
    let world = world().await;
    let alias = |action: &str, subject: &str| {
        let id = format!("{action} {subject}");
        json!({"action": action, "subjects": [subject], "names": ["laptop-7"], "reason": "machines", "id": id})
    };
    let app = world.app(&[AT_ONCE]);
    world.invoke(&app, &alias("alias", DANA)).await.unwrap();
    world.invoke(&world.app(&[SHADOW, AT_ONCE]), &okta("deactivate", "1", DANA)).await.unwrap();
    world.invoke(&app, &alias("unalias", DANA)).await.unwrap();
    world.invoke(&app, &alias("alias", "lee.park@example.com")).await.unwrap();
    let (gone, lees) = (world.user(DANA), world.user("laptop-7"));
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let said = deployed(&world, &aws, &["replay", "--shadowed", "--apply", "--yes"]).await;
    assert_eq!((said.code, world.alive()), (1, vec![lees]), "{gone} {said:?}");
    assert!(
        said.err.contains("was also sought as laptop-7 then") && said.err.contains("revoke it by name"),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_newcomer_whom_shadow_mode_recorded_is_let_in_by_the_user_name_alone() {
    let world = world().await;
    let app = world.app(&[AT_ONCE]);
    let alias =
        json!({"action": "alias", "subjects": [DANA], "names": ["laptop-7"], "reason": "machines", "id": "a-1"});
    world.invoke(&app, &alias).await.unwrap();
    world.invoke(&app, &okta("deactivate", "1", DANA)).await.unwrap();
    let mut hired = okta("unsuspend", "2", DANA);
    hired["detail"]["target"][0]["id"] = json!("00u-somebody-else");
    hired["detail"]["published"] = json!("2026-03-01T09:29:59.500Z");
    world.invoke(&world.app(&[SHADOW, AT_ONCE]), &hired).await.unwrap();
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let said = deployed(&world, &aws, &["replay", "--shadowed", "--apply", "--yes"]).await;
    let mut states = Vec::new();
    for name in [DANA, "laptop-7"] {
        states.push(world.lock(name).await.unwrap()["state"].clone());
    }
    assert_eq!(states, ["released", "locked"], "{said:?}");
}

#[tokio::test]
async fn catching_up_does_not_come_near_a_breaker() {
    let world = world().await;
    let app = world.app(&[SHADOW, AT_ONCE, ("VPN_REVOKER_ALIASES", "example.com: {subject} vpn-{local}@example.com")]);
    for number in 0..3 {
        let event = okta("deactivate", &number.to_string(), &format!("leaver-{number}@example.com"));
        world.invoke(&app, &event).await.unwrap();
    }
    let apply = ["replay", "--shadowed", "--apply", "--yes"];
    let aws = Deployed::start(&world, &[AT_ONCE, ("VPN_REVOKER_MAX_SUBJECTS", "5")]).await;
    assert_eq!(
        deployed(&world, &aws, &apply).await.code,
        1,
        "three subjects are half of five, whatever they are called"
    );
    let fresh = shadowed().await;
    let aws = Deployed::start(&fresh, &[AT_ONCE, ("VPN_REVOKER_MAX_SUBJECTS", "2")]).await;
    let said = deployed(&fresh, &aws, &apply).await;
    assert!(said.code == 3 && said.err.contains("this would be 2 new locks"), "{said:?}");
    assert!(fresh.lock(DANA).await.is_none());
    assert_eq!(deployed(&fresh, &aws, &["breaker", "status"]).await.code, 0);
}

#[tokio::test]
async fn a_second_time_goes_on_where_the_first_one_ended() {
    let world = world().await;
    let shadow = world.app(&[SHADOW, AT_ONCE]);
    let restore = json!({"action": "restore", "subjects": [DANA], "reason": "back", "id": "INC-2"});
    world.invoke(&shadow, &okta("deactivate", "1", DANA)).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    world.invoke(&shadow, &restore).await.unwrap();
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let apply = ["replay", "--shadowed", "--apply", "--yes"];
    deployed(&world, &aws, &apply).await;
    assert_eq!(world.lock(DANA).await.unwrap()["state"], "released");
    // What came after that restore was not there to be lifted by it, though the restore stands later in the chain.
    world.clock.advance(Duration::from_secs(1));
    let mut again = okta("deactivate", "3", DANA);
    again["detail"]["published"] = json!(world.clock.now().to_string());
    world.invoke(&shadow, &again).await.unwrap();
    let said = deployed(&world, &aws, &apply).await;
    assert_eq!(world.lock(DANA).await.unwrap()["state"], "locked", "{said:?}");
    assert!(said.err.contains("INC-2 of dana.reyes@example.com is left alone: it was done since"), "{said:?}");
}

#[tokio::test]
async fn a_command_that_may_not_come_as_an_event_is_not_done_later_either() {
    let world = world().await;
    world.invoke(&world.app(&[AT_ONCE]), &okta("deactivate", "1", DANA)).await.unwrap();
    let restore = json!({"source": "vpn-revoker", "detail-type": "VPN Revoker Command", "id": "eb-1",
        "detail": {"action": "restore", "subjects": [DANA], "reason": "let me in"}});
    world.invoke(&world.app(&[SHADOW, AT_ONCE]), &restore).await.unwrap();
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let said = deployed(&world, &aws, &["replay", "--shadowed", "--apply", "--yes"]).await;
    assert!(said.err.contains("may not come as an event"), "{said:?}");
    assert_eq!(world.lock(DANA).await.unwrap()["state"], "locked");
}

#[tokio::test]
async fn what_a_sweep_learned_from_the_directory_is_left_to_the_sweeps() {
    let world = world().await;
    let store = ("VPN_REVOKER_IDENTITY_STORE_ID", "d-1234567890");
    let connection = world.user(DANA);
    world.directory.put("u-1", DANA, DANA, "DISABLED");
    let shadow = world.app(&[SHADOW, AT_ONCE, store, ("VPN_REVOKER_SWEEP_DIRECTORY", "10")]);
    world.invoke(&shadow, &sample("wrapped/schedule.json")).await.unwrap();
    assert_eq!(world.kinds(DANA).await, ["shadowed"]);
    let aws = Deployed::start(&world, &[AT_ONCE, store]).await;
    let said = deployed(&world, &aws, &["replay", "--shadowed", "--apply", "--yes"]).await;
    assert!(said.err.contains("the next sweep asks it") && world.alive() == [connection], "{said:?}");
}

#[tokio::test]
async fn whom_the_directory_named_is_asked_for_again() {
    let world = world().await;
    let store = ("VPN_REVOKER_IDENTITY_STORE_ID", "d-1234567890");
    let event = sample("identity-center/disable-user-eventbridge.json");
    let id = event["detail"]["requestParameters"]["userId"].as_str().unwrap();
    world.directory.put(id, "dana.reyes", DANA, "DISABLED");
    world.invoke(&world.app(&[SHADOW, AT_ONCE, store]), &event).await.unwrap();
    // The user name went to somebody else since.
    world.directory.put(id, "dana.reyes-smith", DANA, "DISABLED");
    world.directory.put("another", "dana.reyes", "dana.reyes.2@example.com", "ENABLED");
    let (gone, other) = (world.user(DANA), world.user("dana.reyes"));
    let aws = Deployed::start(&world, &[AT_ONCE, store]).await;
    let mut command = crate::deployed_command(&world, &aws, &["replay", "--shadowed", "--apply", "--yes"]);
    command.env("AWS_ENDPOINT_URL_IDENTITYSTORE", &world.directory.url);
    let said = tokio::task::spawn_blocking(move || crate::said(command)).await.unwrap();
    assert_eq!(world.alive(), [other], "{gone} {said:?}");
}

#[tokio::test]
async fn a_bare_command_in_a_message_is_as_little_as_it_would_be_there() {
    let world = world().await;
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    let file = scratch("bare.json");
    std::fs::write(&file, json!({"action": "revoke", "subjects": [DANA], "reason": "x"}).to_string()).unwrap();
    let path = file.to_str().unwrap();
    let said = deployed(&world, &aws, &["replay", path, "--output", "json"]).await;
    assert_eq!((said.code, &said.json()[0]["outcome"]), (0, &json!("planned")), "{said:?}");
    let said = deployed(&world, &aws, &["replay", "--by", "event", path, "--output", "json"]).await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!((said.code, said.json()), (1, json!([])), "{said:?}");
}

#[tokio::test]
async fn a_rehearsal_keeps_no_answer_of_the_directory() {
    let world = world().await;
    let store = ("VPN_REVOKER_IDENTITY_STORE_ID", "d-1234567890");
    let file = scratch("identity.json");
    let event = sample("identity-center/disable-user-eventbridge.json");
    let id = event["detail"]["requestParameters"]["userId"].as_str().unwrap();
    world.directory.put(id, "dana.reyes", DANA, "DISABLED");
    std::fs::write(&file, event.to_string()).unwrap();
    let aws = Deployed::start(&world, &[AT_ONCE, store]).await;
    let before = world.locks_table().await;
    let mut command = crate::deployed_command(&world, &aws, &["replay", file.to_str().unwrap(), "--output", "json"]);
    command.env("AWS_ENDPOINT_URL_IDENTITYSTORE", &world.directory.url);
    let said = tokio::task::spawn_blocking(move || crate::said(command)).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!((said.code, &said.json()[0]["outcome"]), (0, &json!("planned")), "{said:?}");
    assert_eq!(world.locks_table().await, before);
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
    assert_eq!(said.code, 1, "a chain that somebody was at is nothing to pass over");
    let said = deployed(&world, &aws, &["replay", "--shadowed", "--apply", "--yes"]).await;
    assert!(said.code == 1 && said.err.contains("ceo@example.com is left alone"), "{said:?}");
    assert!(world.alive().contains(&connection));
}
