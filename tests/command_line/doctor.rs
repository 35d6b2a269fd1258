//! What stands as it has to is told apart from what does not, and the next step is said.

use std::time::Duration;

use client_vpn_emulator::{Action, NewConnection, NewEndpoint};
use serde_json::{Value, json};

use crate::deployed;
use crate::world::deployed::{DEAD_LETTERS, Deployed, FUNCTION, HANDLER, QUEUE, arn};
use crate::world::{ENDPOINTS, World};

/// A world in which everything stands as it has to.
async fn sound() -> (World, Deployed) {
    let world = World::with(|emulator| emulator.terminate_delay(Duration::ZERO)).await;
    world.now();
    for endpoint in ENDPOINTS {
        world.emulator.remove_endpoint(endpoint);
        world.emulator.add_endpoint(NewEndpoint::new(endpoint).connect_handler(arn(HANDLER)));
    }
    world.invoke(&world.app(&[]), &crate::world::reading::sample("wrapped/schedule.json")).await.unwrap();
    let aws = Deployed::start(&world, &[]).await;
    (world, aws)
}

async fn findings(world: &World, aws: &Deployed) -> (i32, Vec<Value>) {
    let said = deployed(world, aws, &["doctor", "--output", "json"]).await;
    (said.code, said.json().as_array().unwrap().clone())
}

/// The only finding that is not fine.
async fn trouble(world: &World, aws: &Deployed, state: &str, parts: &[&str]) {
    let (code, findings) = findings(world, aws).await;
    let bad: Vec<&Value> = findings.iter().filter(|finding| finding["state"] != "fine").collect();
    assert_eq!((bad.len(), code), (1, i32::from(state == "wrong")), "{findings:#?}");
    assert_eq!(bad[0]["state"], state, "{}", bad[0]);
    for part in parts {
        assert!(bad[0].to_string().contains(part), "no `{part}` in {}", bad[0]);
    }
}

#[tokio::test]
async fn where_all_is_well_nothing_is_wrong() {
    let (world, aws) = sound().await;
    let said = deployed(&world, &aws, &["doctor"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    assert!(said.out.ends_with("Nothing is wrong.\n"), "{said:?}");
    let (_, findings) = findings(&world, &aws).await;
    let told: Vec<&str> = findings.iter().map(|finding| finding["what"].as_str().unwrap()).collect();
    let endpoints = ENDPOINTS.map(|endpoint| format!("endpoint {endpoint}"));
    let mut expected = vec![
        "credentials",
        "function",
        "mode",
        "last scheduled sweep",
        "circuit breakers",
        "locks table",
        "audit table",
    ];
    expected.extend(endpoints.iter().map(String::as_str));
    expected.extend(["permission to end connections", "queue", "dead-letter queue"]);
    assert_eq!(told, expected);
    assert!(findings[0]["found"].as_str().unwrap().contains("security-on-call/jane"));
}

#[tokio::test]
async fn it_changes_nothing() {
    let (world, aws) = sound().await;
    world.user("vpn-revoker-doctor");
    let before = (world.alive(), world.locks_table().await);
    deployed(&world, &aws, &["doctor"]).await;
    assert_eq!((world.alive(), world.locks_table().await), before);
    assert!(world.chains().await.is_empty());
}

#[tokio::test]
async fn signals_that_could_not_be_worked_off_are_wrong() {
    let (world, aws) = sound().await;
    aws.holds(DEAD_LETTERS, 3);
    trouble(&world, &aws, "wrong", &["3 signals could not be worked off", "docs/operations.md, dead letters"]).await;
}

#[tokio::test]
async fn a_function_that_no_queue_feeds_is_wrong() {
    let (world, aws) = sound().await;
    aws.holds(QUEUE, 7);
    trouble(&world, &aws, "look", &["7 signals wait", "oldest message"]).await;
    aws.holds(QUEUE, 0);
    aws.feeding("Disabled");
    trouble(&world, &aws, "wrong", &["its mapping to the function is Disabled", "update-event-source-mapping"]).await;
    aws.starves();
    trouble(&world, &aws, "wrong", &["none feeds the function", "deploy the stack again"]).await;
}

#[tokio::test]
async fn a_sweep_that_does_not_come_any_more_is_wrong() {
    let (world, aws) = sound().await;
    let set = |at: &str| {
        let key = aws_sdk_dynamodb::types::AttributeValue::S("#sweep".to_owned());
        let at = aws_sdk_dynamodb::types::AttributeValue::S(at.to_owned());
        let update = world.clients.tables.update_item().table_name(crate::world::LOCKS).key("subject", key);
        update.update_expression("SET begun_at = :at").expression_attribute_values(":at", at).send()
    };
    set("2026-03-01T09:30:00.000Z").await.unwrap();
    trouble(&world, &aws, "wrong", &["last scheduled sweep", "2026-03-01", "docs/operations.md, sweep silent"]).await;
}

#[tokio::test]
async fn a_sweep_that_left_somebody_connected_is_looked_at() {
    let (world, aws) = sound().await;
    let set = async |outcome: &str| {
        let [key, outcome] =
            ["#sweep", outcome].map(|text| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned()));
        let update = world.clients.tables.update_item().table_name(crate::world::LOCKS).key("subject", key);
        let update = update.update_expression("SET outcome = :outcome");
        update.expression_attribute_values(":outcome", outcome).send().await.unwrap();
    };
    set("refused").await;
    trouble(&world, &aws, "look", &["refused", "still connected", "vpn-revoker sessions"]).await;
    for outcome in ["incomplete", "unresolved"] {
        set(outcome).await;
        trouble(&world, &aws, "wrong", &[outcome, "sweep incomplete"]).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_asks_nobody_is_wrong_and_another_function_is_looked_at() {
    let (world, aws) = sound().await;
    world.emulator.remove_endpoint(ENDPOINTS[0]);
    world.emulator.add_endpoint(NewEndpoint::new(ENDPOINTS[0]));
    trouble(&world, &aws, "wrong", &["comes back until a sweep", &format!("handler attach {}", ENDPOINTS[0])]).await;
    world.emulator.remove_endpoint(ENDPOINTS[0]);
    world.emulator.add_endpoint(NewEndpoint::new(ENDPOINTS[0]).connect_handler(arn("AWSClientVPN-posture")));
    trouble(&world, &aws, "look", &["connect handler: another", "AWSClientVPN-posture"]).await;
}

#[tokio::test]
async fn a_connect_handler_that_only_watches_is_wrong_where_the_function_acts() {
    let (world, aws) = sound().await;
    let tables =
        json!({"VPN_REVOKER_LOCKS_TABLE": crate::world::LOCKS, "VPN_REVOKER_AUDIT_TABLE": crate::world::AUDIT});
    let mut watching = tables;
    watching["VPN_REVOKER_MODE"] = json!("shadow");
    aws.also(HANDLER, watching.clone());
    let (code, findings) = findings(&world, &aws).await;
    let wrong: Vec<&Value> = findings.iter().filter(|finding| finding["state"] == "wrong").collect();
    assert_eq!((code, wrong.len()), (1, ENDPOINTS.len()), "{findings:#?}");
    for part in ["in shadow mode", "lets in whoever is locked", "Mode=enforce"] {
        assert!(wrong[0].to_string().contains(part), "no `{part}` in {}", wrong[0]);
    }
    let both = Deployed::start(&world, &[("VPN_REVOKER_MODE", "shadow")]).await;
    both.also(HANDLER, watching);
    trouble(&world, &both, "look", &["shadow", "Mode=enforce"]).await;
}

#[tokio::test]
async fn another_account_is_for_the_function_to_look_at() {
    let (world, _) = sound().await;
    let targets = json!([{"region": "eu-west-1"},
        {"region": "us-east-1", "role_arn": "arn:aws:iam::444455556666:role/vpn-revoker-target"}]);
    let aws = Deployed::start(&world, &[("VPN_REVOKER_TARGETS", &targets.to_string())]).await;
    trouble(&world, &aws, "look", &["vpn-revoker-target could not be assumed", "with a profile of that account"]).await;
}

#[tokio::test]
async fn a_role_that_may_not_end_connections_is_wrong() {
    let (world, aws) = sound().await;
    world.emulator.deny(Action::Terminate);
    let (code, findings) = findings(&world, &aws).await;
    let denied: Vec<&Value> = findings.iter().filter(|finding| finding["state"] == "wrong").collect();
    assert_eq!((code, denied.len()), (1, 3), "{findings:#?}");
    for (finding, endpoint) in denied.iter().zip(ENDPOINTS) {
        let text = finding.to_string();
        assert!(
            text.contains(endpoint) && text.contains("UnauthorizedOperation") && text.contains("ec2:Terminate"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn shadow_mode_and_files_are_looked_at() {
    let (world, _) = sound().await;
    let aws = Deployed::start(&world, &[("VPN_REVOKER_MODE", "shadow")]).await;
    trouble(&world, &aws, "look", &["shadow", "Mode=enforce"]).await;
    let aws = Deployed::start(&world, &[]).await;
    let tables =
        json!({"VPN_REVOKER_LOCKS_TABLE": crate::world::LOCKS, "VPN_REVOKER_AUDIT_TABLE": crate::world::AUDIT});
    let with = |name: &str, value: &str| {
        let mut variables = tables.clone();
        variables[name] = json!(value);
        aws.also(FUNCTION, variables);
    };
    with("VPN_REVOKER_PROTECTED", "@/opt/protected.txt");
    trouble(&world, &aws, "look", &["/opt/protected.txt", "its log says"]).await;
    let mut both = tables.clone();
    both["VPN_REVOKER_PROTECTED"] = json!("@/opt/protected.txt");
    both["VPN_REVOKER_MODE"] = json!("shadow");
    aws.also(FUNCTION, both);
    let (code, found) = findings(&world, &aws).await;
    let mode = found.iter().find(|finding| finding["what"] == "mode").unwrap();
    assert_eq!((code, mode["state"].as_str()), (0, Some("look")), "{found:#?}");
    with("VPN_REVOKER_TARGETS", "@/opt/targets.json");
    let (code, found) = findings(&world, &aws).await;
    let of = |what: &str| found.iter().find(|finding| finding["what"] == what).unwrap();
    assert_eq!((code, of("endpoints")["state"].as_str()), (1, Some("wrong")), "{found:#?}");
    assert!(of("endpoints").to_string().contains("give --config FILE"), "{found:#?}");
    assert_eq!(of("dead-letter queue")["state"], "fine", "the rest is looked at all the same");
    with("VPN_REVOKER_PROTECTD", "alice");
    trouble(&world, &aws, "wrong", &["VPN_REVOKER_PROTECTD is not known", "deploy again"]).await;
}

/// A table with these keys, and an index by-day with those.
async fn table(world: &World, name: &str, keys: [&str; 2], by_day: Option<[&str; 2]>) {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
        ScalarAttributeType,
    };
    let schema = |keys: [&str; 2]| {
        let kinds = [KeyType::Hash, KeyType::Range];
        let named = keys.into_iter().zip(kinds).filter(|(name, _)| !name.is_empty());
        Some(
            named
                .map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap())
                .collect::<Vec<_>>(),
        )
    };
    let mut names: Vec<&str> =
        keys.into_iter().chain(by_day.into_iter().flatten()).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    let attribute = |name: &str| {
        let kind = if name == "seq" { ScalarAttributeType::N } else { ScalarAttributeType::S };
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let all = Projection::builder().projection_type(ProjectionType::All).build();
    let index = by_day.map(|keys| {
        vec![
            GlobalSecondaryIndex::builder()
                .index_name("by-day")
                .set_key_schema(schema(keys))
                .projection(all)
                .build()
                .unwrap(),
        ]
    });
    let _ = world.clients.tables.delete_table().table_name(name).send().await;
    let create = world.clients.tables.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    let create = create.set_attribute_definitions(Some(names.into_iter().map(attribute).collect()));
    create.set_key_schema(schema(keys)).set_global_secondary_indexes(index).send().await.unwrap();
}

#[tokio::test]
async fn tables_with_other_keys_are_wrong() {
    use crate::world::{AUDIT, LOCKS};
    let (world, aws) = sound().await;
    table(&world, AUDIT, ["subject", ""], None).await;
    trouble(&world, &aws, "wrong", &["other keys than `subject` and `seq`", "has no index by-day", "template.yaml"])
        .await;
    table(&world, AUDIT, ["subject", "seq"], Some(["day", "seq"])).await;
    trouble(&world, &aws, "wrong", &["other keys in its index by-day"]).await;
    table(&world, AUDIT, ["subject", "seq"], Some(["day", "at"])).await;
    assert_eq!(findings(&world, &aws).await.0, 0);
    table(&world, LOCKS, ["name", ""], None).await;
    let (code, findings) = findings(&world, &aws).await;
    assert!(
        code == 1 && findings.iter().any(|finding| finding["found"].to_string().contains("other keys than `subject`"))
    );
}

#[tokio::test]
async fn a_table_that_is_gone_is_named() {
    let (world, aws) = sound().await;
    world.clients.tables.delete_table().table_name(crate::world::AUDIT).send().await.unwrap();
    trouble(&world, &aws, "wrong", &["audit table", "ResourceNotFoundException"]).await;
}

#[tokio::test]
async fn a_sweep_that_somebody_asked_for_says_nothing_of_the_schedule() {
    let (world, aws) = sound().await;
    let before = world.locks_table().await["#sweep"].clone();
    world.clock.advance(Duration::from_secs(60));
    world.invoke(&world.app(&[]), &json!({"action": "sweep"})).await.unwrap();
    assert_eq!(world.locks_table().await["#sweep"], before);
    assert_eq!(findings(&world, &aws).await.0, 0);
}

#[tokio::test]
async fn what_the_function_could_not_look_at_is_no_missing_permission() {
    let (world, _) = sound().await;
    let endpoints = format!("{},{},{},cvpn-endpoint-0gone0000000009", ENDPOINTS[0], ENDPOINTS[1], ENDPOINTS[2]);
    let variables = [("VPN_REVOKER_ENDPOINTS", endpoints.as_str()), ("VPN_REVOKER_VERIFY_SECONDS", "0")];
    let aws = Deployed::start(&world, &variables).await;
    let (code, findings) = findings(&world, &aws).await;
    let text = json!(findings).to_string();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("cvpn-endpoint-0gone0000000009") && !text.contains("needs ec2:Terminate"), "{text}");
    assert_eq!(text.matches("was not asked").count(), 3, "{text}");
}

#[tokio::test]
async fn without_a_deployment_it_says_what_it_could_not_look_at() {
    let (world, aws) = sound().await;
    aws.without(FUNCTION);
    let (code, findings) = findings(&world, &aws).await;
    assert_eq!((code, &findings[0]["state"]), (1, &json!("fine")), "who this is can still be said");
    assert!(findings.iter().any(|finding| finding["found"].as_str().unwrap().contains("no function of vpn-revoker")));
}

fn answers(said: &crate::Said) -> Vec<(String, String)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    said.json().as_array().unwrap().iter().map(|row| (text(row, "question"), text(row, "answer"))).collect()
}

#[tokio::test]
async fn a_probe_learns_what_aws_does_not_document_and_touches_nothing() {
    let (world, aws) = sound().await;
    world.user("Dana.Reyes@example.com");
    world.connect(2, NewConnection::certificate("laptop-7"));
    let before = world.alive();
    let said = deployed(&world, &aws, &["doctor", "--probe", ENDPOINTS[2], "--output", "json"]).await;
    let answers = answers(&said);
    let answer = |question: &str| answers.iter().find(|(asked, _)| asked == question).unwrap().1.as_str();
    assert_eq!(answer("How many are connected?"), "2");
    assert_eq!(answer("Is the user name listed?"), "of 1 of 2");
    assert_eq!(answer("Is the common name listed?"), "of 2 of 2");
    assert!(answer("Does the filter `username` find somebody?").starts_with("yes, `Dana.Reyes@example.com` finds"));
    assert!(answer("In another letter case?").starts_with("no, `DANA.REYES@EXAMPLE.COM` does not find"));
    assert_eq!((said.code, world.alive()), (0, before));
    let said = deployed(&world, &aws, &["doctor", "--probe", ENDPOINTS[0]]).await;
    assert!(said.code == 0 && said.out.contains("nobody with a user name is connected"), "{said:?}");
    let said = deployed(&world, &aws, &["doctor", "--probe", "cvpn-endpoint-0none"]).await;
    assert!(said.code == 2 && said.err.contains("is not there"), "{said:?}");
}

#[tokio::test]
async fn a_probe_ends_the_connection_that_it_is_told_and_no_other() {
    let (world, aws) = sound().await;
    let (trial, other) = (world.user("probe@example.com"), world.user("probe@example.com"));
    let probe = ["doctor", "--probe", ENDPOINTS[2], "--end", &trial, "--wait", "0", "--output", "json"];
    let said = deployed(&world, &aws, &probe).await;
    assert!(said.code == 2 && said.err.contains("add --yes"), "{said:?}");
    assert_eq!(world.alive().len(), 2);
    let said = deployed(&world, &aws, &[&probe[..], &["--yes"]].concat()).await;
    assert_eq!((said.code, world.alive()), (0, vec![other]), "{said:?}");
    let answers = answers(&said);
    assert!(
        answers.contains(&("What does ending a connection answer?".to_owned(), "terminating".to_owned())),
        "{answers:?}"
    );
    assert!(
        answers.contains(&("Does its client come back?".to_owned(), "not seen within 0 seconds".to_owned())),
        "{answers:?}"
    );
    let said = deployed(&world, &aws, &[&probe[..], &["--yes"]].concat()).await;
    assert!(said.code == 2 && said.err.contains("is not connected to"), "{said:?}");
}

#[tokio::test]
async fn a_probe_tells_a_name_from_what_stands_in_its_place() {
    let (world, aws) = sound().await;
    for _ in 0..2 {
        world.connect(2, NewConnection::user("N/A").common_name("laptop-7"));
    }
    let said = deployed(&world, &aws, &["doctor", "--probe", ENDPOINTS[2], "--output", "json"]).await;
    let answers = answers(&said);
    let answer = |question: &str| answers.iter().find(|(asked, _)| asked == question).unwrap().1.clone();
    assert!(answer("Is the user name listed?").starts_with("of 0 of 2; elsewhere `N/A` may stand"), "{answers:?}");
    assert!(answer("Does the filter `username` find somebody?").starts_with("nobody with a user name"));
}

#[tokio::test]
async fn what_a_probe_may_not_do_is_said_with_what_it_learned_before() {
    let (world, aws) = sound().await;
    let trial = world.user("probe@example.com");
    world.emulator.deny(Action::Terminate);
    let probe = ["doctor", "--probe", ENDPOINTS[2], "--end", &trial, "--yes"];
    let said = deployed(&world, &aws, &probe).await;
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.out.contains("How many are connected?"), "{said:?}");
    assert!(said.err.contains(&format!("{trial} could not be ended: UnauthorizedOperation")), "{said:?}");
    world.emulator.deny(Action::DescribeEndpoints);
    let said = deployed(&world, &aws, &probe).await;
    assert!(said.code == 3 && said.err.contains("could not be looked at: UnauthorizedOperation"), "{said:?}");
}
