//! No bystander: a connection is ended only if one of its two names equals the subject's.

use std::time::Duration;

use client_vpn_emulator::{NewConnection, Status};
use serde_json::json;

use crate::world::World;
use crate::world::reading::sample;

fn revoke(subject: &str) -> serde_json::Value {
    json!({"action": "revoke", "subjects": [subject], "reason": "test"})
}

#[tokio::test]
async fn look_alikes_are_untouched_and_capitals_are_matched() {
    let world = World::new().await;
    let hers = [world.user("alice@example.com"), world.user("ALICE@example.com"), world.user("Alice@Example.Com")];
    let others = [
        world.user("malice@example.com"),
        world.user("alice@example.com.evil"),
        world.user("al*"),
        world.user("alice@example.co?"),
        world.user("аlice@example.com"),
        world.user("alice"),
        world.connect(0, NewConnection::certificate("alice")),
        world.connect(0, NewConnection::certificate("alice@example.com.client")),
        world.connect(1, NewConnection::user("N/A").common_name("-")),
    ];
    let answer = world.invoke(&world.app(&[]), &revoke("alice@example.com")).await.unwrap();
    assert_eq!(answer["outcome"], "completed");
    assert_eq!(world.alive(), others);
    let ended: Vec<&str> = answer["subjects"][0]["connections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["connection_id"].as_str().unwrap())
        .collect();
    assert!(hers.iter().all(|id| ended.contains(&id.as_str())) && ended.len() == 3);
}

#[tokio::test]
async fn a_name_that_looks_like_a_pattern_ends_nobody_elses() {
    let world = World::new().await;
    for _ in 0..3 {
        world.user("al*");
    }
    let alice = world.user("alice");
    let answer = world.invoke(&world.app(&[]), &revoke("al*")).await.unwrap();
    assert_eq!(answer["outcome"], "completed");
    assert_eq!(world.alive(), [alice]);
    assert!(
        world.emulator.requests().iter().all(|request| request.parameter("Username").is_none()),
        "never sent as a filter"
    );
}

#[tokio::test]
async fn a_certificate_shared_by_many_ends_only_those_without_anothers_user_name() {
    let world = World::new().await;
    let anonymous = world.connect(0, NewConnection::certificate("fleet"));
    let others = [
        world.connect(1, NewConnection::user("alice@example.com").common_name("fleet")),
        world.connect(2, NewConnection::user("bob@example.com").common_name("Fleet")),
    ];
    let answer = world.invoke(&world.app(&[]), &revoke("fleet")).await.unwrap();
    assert_eq!(answer["outcome"], "refused");
    assert!(answer["subjects"][0]["error"].as_str().unwrap().contains("shared certificate"));
    assert_eq!(world.alive(), others);
    assert!(!world.alive().contains(&anonymous));
    assert_eq!(world.kinds("fleet").await, ["requested", "refused"]);
}

#[tokio::test]
async fn revoking_one_user_of_a_shared_certificate_leaves_the_others() {
    let world = World::new().await;
    world.connect(1, NewConnection::user("alice@example.com").common_name("fleet"));
    let bob = world.connect(1, NewConnection::user("bob@example.com").common_name("fleet"));
    let answer = world.invoke(&world.app(&[]), &revoke("alice@example.com")).await.unwrap();
    assert_eq!((&answer["outcome"], world.alive()), (&json!("completed"), vec![bob]));
}

#[tokio::test]
async fn protected_means_protected() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_PROTECTED", "break-glass@example.com, *-oncall")]);
    let glass = world.user("Break-Glass@example.com");
    let oncall = world.connect(1, NewConnection::user("alice@example.com").common_name("net-oncall"));
    world.user("alice@example.com");

    let answer = world.invoke(&app, &revoke("break-glass@example.com")).await.unwrap();
    assert_eq!(answer["outcome"], "refused");
    assert!(world.lock("break-glass@example.com").await.is_none());
    assert_eq!(world.kinds("break-glass@example.com").await, ["refused"]);

    let answer = world.invoke(&app, &revoke("alice@example.com")).await.unwrap();
    assert_eq!(answer["outcome"], "refused");
    assert_eq!(world.alive(), [glass, oncall]);
}

#[tokio::test]
async fn a_subject_with_too_many_connections_is_refused_whole() {
    let world = World::with(|emulator| emulator.max_page_size(5)).await;
    for _ in 0..26 {
        world.user("shared@example.com");
    }
    let app = world.app(&[]);
    let answer = world.invoke(&app, &revoke("shared@example.com")).await.unwrap();
    assert_eq!((&answer["outcome"], world.alive().len()), (&json!("refused"), 26));
    assert_eq!(world.requests("TerminateClientVpnConnections"), 0);

    let forced = json!({"action": "revoke", "subjects": ["shared@example.com"], "reason": "INC-7", "force": true});
    world.clock.advance(Duration::from_secs(1));
    let answer = world.invoke(&app, &forced).await.unwrap();
    assert_eq!((&answer["outcome"], world.alive().len()), (&json!("completed"), 0));
}

#[tokio::test]
async fn nobody_is_called_about_what_would_be_refused() {
    let world = World::new().await;
    let protected = ("VPN_REVOKER_PROTECTED", "break-glass");
    let mut command = json!({"action": "revoke", "subjects": ["break-glass"], "reason": "INC-42", "id": "c-1"});
    let shadow = world.invoke(&world.app(&[protected, ("VPN_REVOKER_MODE", "shadow")]), &command).await.unwrap();
    assert_eq!((&shadow["outcome"], &shadow["subjects"][0]["refusal"]), (&json!("shadowed"), &json!("protected")));
    command["dry_run"] = json!(true);
    command["id"] = json!("c-2");
    let app = world.app(&[protected]);
    assert_eq!(world.invoke(&app, &command).await.unwrap()["outcome"], "refused");
    assert_eq!((world.metric("Refused", None), world.metric("Signals", Some("refused"))), (0, 1));
    command["dry_run"] = json!(false);
    command["id"] = json!("c-3");
    assert_eq!(world.invoke(&app, &command).await.unwrap()["outcome"], "refused");
    assert_eq!(world.metric("Refused", Some("protected")), 1);
}

#[tokio::test]
async fn shadow_mode_decides_and_records_and_changes_nothing() {
    let world = World::new().await;
    let dana = world.user("dana.reyes@example.com");
    let app = world.app(&[("VPN_REVOKER_MODE", "shadow")]);
    let answer = world.invoke(&app, &sample("okta/deactivate-eventbridge.json")).await.unwrap();
    let receipt = &answer["receipts"][0];
    assert_eq!((&receipt["outcome"], &receipt["mode"]), (&json!("shadowed"), &json!("shadow")));
    assert_eq!(receipt["subjects"][0]["connections"][0]["connection_id"], json!(dana));
    assert_eq!(world.alive(), [dana]);
    assert!(world.lock("dana.reyes@example.com").await.is_none());
    assert_eq!(world.kinds("dana.reyes@example.com").await, ["shadowed"]);
    assert_eq!(world.metric("Signals", Some("shadowed")), 1);
}

#[tokio::test]
async fn a_dry_run_reports_the_plan_checks_permission_and_writes_nothing() {
    let world = World::new().await;
    let dana = world.user("dana.reyes@example.com");
    let app = world.app(&[]);
    let answer = world.invoke(&app, &sample("command/revoke-dry-run.json")).await.unwrap();
    assert_eq!(answer["outcome"], "planned");
    assert_eq!(answer["subjects"][0]["connections"][0]["connection_id"], json!(dana));
    assert!(answer["endpoints"].as_array().unwrap().iter().all(|endpoint| endpoint["permitted"] == true));
    let dry = world.emulator.requests();
    let dry: Vec<_> = dry.iter().filter(|request| request.action == "TerminateClientVpnConnections").collect();
    assert!(dry.len() == 3 && dry.iter().all(|request| request.parameter("DryRun") == Some("true")));
    assert!(world.locks_table().await.is_empty() && world.chains().await.is_empty());
    assert!(world.emulator.connections().iter().all(|row| row.status == Status::Active));

    world.emulator.deny(client_vpn_emulator::Action::Terminate);
    let answer = world.invoke(&app, &sample("command/revoke-dry-run.json")).await.unwrap();
    assert!(answer["endpoints"].as_array().unwrap().iter().all(|endpoint| endpoint["permitted"] == false));
    assert!(answer["endpoints"][0]["error"].as_str().unwrap().contains("UnauthorizedOperation"));
}
