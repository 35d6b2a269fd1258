//! Evidence on one page: true to the trail, and harmless whatever the trail holds.
//!
//! `REPORT_PAGES=<folder>` keeps the pages, for `.ci/report` to look at them in a browser.

use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use client_vpn_emulator::Action;
use serde_json::{Value, json};

use crate::world::door::ask;
use crate::world::{AUDIT, World};
use crate::{Said, online, scratch};

const DANA: &str = "dana.reyes@example.com";
/// A user name that wants to be a program.
const SCRIPT: &str = "<script>document.title='taken'</script>@example.com";

/// Dana was revoked and refused at the door twice, Lee could not be ended, and two names mean harm.
async fn eventful() -> World {
    let world = World::new().await;
    let app = world.app(&[]);
    for name in [DANA, DANA, "lee.park@example.com", SCRIPT] {
        world.user(name);
    }
    let revoke = |subject: &str, id: &str, reason: &str| json!({"action": "revoke", "subjects": [subject], "id": id, "reason": reason, "requested_by": "jane"});
    let mut event = crate::world::reading::sample("okta/deactivate-eventbridge.json");
    event["detail"]["displayMessage"] = json!("left <b>today</b>");
    world.invoke(&app, &event).await.unwrap();
    for minutes in [3, 70] {
        world.clock.advance(Duration::from_secs(minutes * 60));
        let knock = json!({"username": DANA, "endpoint-id": "cvpn-endpoint-0saml000000000003", "schema-version": "v3"});
        assert_eq!(ask(&world.door(&[]), &knock).await["allow"], false);
    }
    world.invoke(&app, &revoke(SCRIPT, "INC-2", "\"><img src=x onerror=alert(1)> \u{202e}neve")).await.unwrap();
    world.emulator.deny(Action::Terminate);
    world.invoke(&app, &revoke("lee.park@example.com", "INC-3", "stuck & left")).await.unwrap();
    let back = json!({"action": "restore", "subjects": [DANA], "id": "INC-4", "reason": "a mistake"});
    world.invoke(&app, &back).await.unwrap();
    world
}

/// Where a page goes.
fn page(name: &str) -> PathBuf {
    match std::env::var_os("REPORT_PAGES") {
        Some(folder) => PathBuf::from(folder).join(name),
        None => scratch(name),
    }
}

/// Writes a report; what was said, and the page.
async fn report(world: &World, name: &str, arguments: &[&str]) -> (Said, String) {
    let path = page(name);
    let html = path.to_str().unwrap();
    let said = online(world, &[&["report", "--html", html, "--output", "json"], arguments].concat()).await;
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("REPORT_PAGES").is_none() {
        let _ = std::fs::remove_file(&path);
    }
    (said, text)
}

const PERIOD: [&str; 4] = ["--from", "2026-03-01", "--to", "2026-03-01"];

/// Every hash that stands in the table.
async fn hashes(world: &World) -> Vec<String> {
    let chains = world.chains().await;
    chains.values().flatten().map(|entry| entry["hash"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_period_is_told_with_every_entry_and_whether_it_holds() {
    let world = eventful().await;
    let (said, page) = report(&world, "period.html", &PERIOD).await;
    let short = said.json();
    assert_eq!((said.code, &short["whole"], &short["chains"]), (0, &json!(true), &json!(3)), "{said:?}");
    assert_eq!((&short["revocations_verified"], &short["revocations_unverified"]), (&json!(2), &json!(1)));
    for hash in hashes(&world).await {
        assert!(page.contains(&hash), "{hash} is missing");
    }
    assert!(page.contains("These chains are whole.") && page.contains("2026-03-01"));
    assert_eq!(page.matches("<article").count(), 3, "a picture for each revocation");
    assert!(page.contains(">2 ×, first "), "both refusals are told");
    assert!(page.contains("unauthorizedoperation") || page.contains("UnauthorizedOperation"), "why it is incomplete");
}

#[tokio::test]
async fn the_times_are_those_of_the_trail() {
    let world = eventful().await;
    let (said, page) = report(&world, "dana.html", &["--subject", "Dana.Reyes@example.com"]).await;
    let short = said.json();
    assert_eq!(said.code, 0, "{said:?}");
    let entries = &world.chains().await[DANA];
    let completed = entries.iter().find(|entry| entry["kind"] == "completed").unwrap();
    let story = &short["stories"][0];
    for time in ["occurred_at", "received_at", "locked_at", "first_terminate_at", "verified_at"] {
        assert_eq!(story[time], completed["detail"][time], "{time}");
        assert!(page.contains(story[time].as_str().unwrap()), "{time} stands on the page");
    }
    assert_eq!(story["refused_at"].as_array().unwrap().len(), 2);
    assert!(!page.contains("lee.park"), "nobody else is told of");
}

#[tokio::test]
async fn no_value_from_an_event_is_more_than_text() {
    let world = eventful().await;
    let (_, page) = report(&world, "hostile.html", &PERIOD).await;
    for harm in ["<script", "<img", "onerror=alert(1)>", "\u{202e}", "<b>today"] {
        assert!(!page.contains(harm), "{harm}");
    }
    assert!(page.contains("&#60;script&#62;") && page.contains(r"\u{202e}neve"), "it is shown as it is");
    assert!(page.contains("default-src 'none'"), "and could do nothing if it were not");
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let world = eventful().await;
    let (_, page) = report(&world, "alone.html", &PERIOD).await;
    for elsewhere in ["src=", "url(", "<link", "@import", "href=\"http"] {
        // The reason that holds such a text is escaped, so that its quotes are none.
        assert!(!page.replace("&#34;&#62;&#60;img src=x", "").contains(elsewhere), "{elsewhere}");
    }
}

#[tokio::test]
async fn a_trail_that_somebody_was_at_is_told_to_be_so() {
    let world = eventful().await;
    let change = world.clients.tables.update_item().table_name(AUDIT);
    let change = change
        .key("subject", AttributeValue::S(DANA.to_owned()))
        .key("seq", AttributeValue::N("2".to_owned()))
        .update_expression("SET reason = :reason")
        .expression_attribute_values(":reason", AttributeValue::S("never mind".to_owned()));
    change.send().await.unwrap();
    let (said, page) = report(&world, "tampered.html", &PERIOD).await;
    assert_eq!((said.code, &said.json()["whole"]), (1, &json!(false)), "{said:?}");
    assert!(page.contains("Not every chain is whole.") && page.contains("✗ changed"), "{}", page.len());
    let spared = page.split("lee.park@example.com</strong>").nth(1).unwrap();
    assert!(spared.trim_start_matches(": <span class=\"").starts_with("fine"), "nobody else's chain is accused");
}

#[tokio::test]
async fn a_period_in_which_nothing_was_is_said_to_be_so() {
    let world = eventful().await;
    let (said, page) = report(&world, "empty.html", &["--from", "2026-02-01", "--to", "2026-02-02"]).await;
    let short: Value = said.json();
    assert_eq!((said.code, &short["entries"], &short["whole"]), (0, &json!(0), &json!(null)), "{said:?}");
    assert!(page.contains("No revocation in this report is verified") && page.contains("There is none in this report"));
    assert!(page.contains("Nothing was recorded.") && !page.contains("chains are whole"), "nothing proves nothing");
    let (said, page) = report(&world, "nobody.html", &["--subject", "nobody@example.com"]).await;
    assert!(said.code == 3 && said.err.contains("nothing is recorded of `nobody@example.com`") && page.is_empty());
}

#[tokio::test]
async fn wrong_usage_is_said() {
    let world = World::new().await;
    for wrong in [&["report"][..], &["report", "--html", "x"], &["report", "--subject", "a"]] {
        assert_eq!(online(&world, wrong).await.code, 2, "{wrong:?}");
    }
    let said = online(&world, &["report", "--from", "2026-03-01", "--html", "/nonexistent/page.html"]).await;
    assert!(said.code == 3 && said.err.contains("/nonexistent/page.html"), "{said:?}");
}
