//! Who is meant: ids that a directory resolves, aliases, the user's own rules, replays.

use serde_json::{Value, json};

use crate::world::World;
use crate::world::directory::STORE;

const ALICE: &str = "0a1b2c3d-0000-4000-8000-00000000a11c";

fn call(event: &str, id: &str) -> Value {
    json!({
        "version": "0", "id": format!("eb-{id}"), "source": "aws.sso-directory", "detail-type": "AWS API Call via CloudTrail",
        "account": "111122223333", "region": "eu-west-1", "time": "2026-03-01T09:29:30Z", "resources": [],
        "detail": {
            "eventSource": "sso-directory.amazonaws.com", "eventName": event, "eventID": id, "eventTime": "2026-03-01T09:29:30Z",
            "recipientAccountId": "111122223333", "userIdentity": {"type": "Unknown", "userName": "it.admin@example.com"},
            "requestParameters": {"userId": ALICE, "identityStoreId": STORE},
        },
    })
}

fn rules(name: &str, content: &Value) -> String {
    let path = std::env::temp_dir().join(format!("vpn-revoker-{name}-{}.json", std::process::id()));
    std::fs::write(&path, content.to_string()).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_user_known_by_id_only_is_ended_by_name_even_after_deletion() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_IDENTITY_STORE_ID", STORE)]);
    world.directory.put(ALICE, "alice", "alice@example.com", "DISABLED");
    world.user("alice@example.com");
    world.user("someone.else@example.com");

    let answer = world.invoke(&app, &call("DisableUser", "e-1")).await.unwrap();
    let receipt = &answer["receipts"][0];
    assert_eq!((&receipt["outcome"], &receipt["subjects"][0]["subject"]), (&json!("completed"), &json!("alice")));
    assert_eq!(receipt["subjects"][0]["names"], json!(["alice", "alice@example.com"]));
    assert_eq!(world.alive().len(), 1);

    world.directory.delete(ALICE);
    let answer = world.invoke(&app, &call("DeleteUser", "e-2")).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
}

#[tokio::test]
async fn a_copy_of_the_directory_resolves_whoever_is_deleted_later() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_IDENTITY_STORE_ID", STORE)]);
    for (id, name) in [(ALICE, "alice"), ("1", "bob"), ("2", "carol"), ("3", "dan"), ("4", "eve")] {
        world.directory.put(id, name, &format!("{name}@example.com"), "ENABLED");
    }
    let synced = world.invoke(&app, &json!({"action": "sync_directory"})).await.unwrap();
    assert_eq!(synced, json!({"action": "sync_directory", "outcome": "completed", "people": 5}));

    world.directory.delete(ALICE);
    world.user("alice");
    let answer = world.invoke(&app, &call("DeleteUser", "e-1")).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
    assert!(world.alive().is_empty());
}

#[tokio::test]
async fn what_cannot_be_resolved_is_audited_counted_and_tried_again() {
    let world = World::new().await;
    for (variables, hint) in [
        (&[][..], "VPN_REVOKER_IDENTITY_STORE_ID"),
        (&[("VPN_REVOKER_IDENTITY_STORE_ID", STORE)][..], "sync_directory"),
    ] {
        let app = world.app(variables);
        let failure = world.invoke(&app, &call("DeleteUser", "e-1")).await.unwrap_err();
        assert_eq!(failure.error_type, "Unresolved");
        let bare = call("DeleteUser", "e-1")["detail"].clone();
        let receipt = world.invoke(&app, &bare).await.unwrap()["receipts"][0].clone();
        assert!(receipt["subjects"][0]["error"].as_str().unwrap().contains(hint), "{receipt}");
    }
    assert_eq!(world.kinds(&format!("#id/identity-center/{ALICE}")).await, ["unresolved"]);
    assert!(world.metric("Failures", Some("unresolved")) > 0);
}

#[tokio::test]
async fn a_copy_without_a_directory_says_what_to_configure() {
    let world = World::new().await;
    let failure = world.invoke(&world.app(&[]), &json!({"action": "sync_directory"})).await.unwrap_err();
    assert!(failure.message.contains("VPN_REVOKER_IDENTITY_STORE_ID"));
}

#[tokio::test]
async fn each_name_by_rule_or_decision_has_a_lock_of_its_own() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_ALIASES", r"corp.example: {subject} {local} CORP\{local}; *: {subject}")]);
    world.user("alice@corp.example");
    world.user(r"CORP\Alice");
    world.user("alice@other.example");
    let alias =
        json!({"action": "alias", "username": "alice@corp.example", "names": ["Laptop-7"], "reason": "her machine"});
    assert_eq!(world.invoke(&app, &alias).await.unwrap()["outcome"], "aliased");
    let revoke = json!({"action": "revoke", "username": "alice@corp.example", "reason": "INC-1", "id": "c-1"});
    let receipt = world.invoke(&app, &revoke).await.unwrap();
    assert_eq!(receipt["outcome"], "completed");
    assert_eq!(receipt["subjects"][0]["names"], json!(["alice@corp.example", "alice", r"corp\alice", "laptop-7"]));
    assert_eq!(world.alive().len(), 1);
    for name in ["alice@corp.example", "alice", r"corp\alice", "laptop-7"] {
        let lock = world.lock(name).await.unwrap_or_else(|| panic!("{name} has no lock"));
        assert_eq!(lock["state"], "locked");
    }
    let more = json!({"action": "alias", "username": "alice@corp.example", "names": ["laptop-8"], "id": "c-2"});
    assert_eq!(world.invoke(&app, &more).await.unwrap()["outcome"], "completed");
    assert!(world.lock("laptop-8").await.is_some(), "adding a name to a locked subject extends the lock");

    let other = json!({"action": "alias", "username": "bob@corp.example", "names": ["laptop-8"], "id": "c-3"});
    let receipt = world.invoke(&app, &other).await.unwrap();
    assert_eq!(receipt["outcome"], "refused");
    assert!(receipt["subjects"][0]["error"].as_str().unwrap().contains("alice@corp.example"), "{receipt}");

    world.clock.advance(std::time::Duration::from_secs(1));
    let unalias = json!({"action": "unalias", "username": "alice@corp.example", "names": ["laptop-8"], "id": "c-4"});
    assert_eq!(world.invoke(&app, &unalias).await.unwrap()["outcome"], "aliased");
    let restore = json!({"action": "restore", "username": "alice@corp.example", "reason": "she is back", "id": "c-5"});
    assert_eq!(world.invoke(&app, &restore).await.unwrap()["outcome"], "restored");
    for name in ["alice@corp.example", "laptop-7", "laptop-8"] {
        assert_eq!(world.lock(name).await.unwrap()["state"], "released", "{name}");
    }
    let other = json!({"action": "alias", "username": "bob@corp.example", "names": ["laptop-8"], "id": "c-6"});
    assert_eq!(world.invoke(&app, &other).await.unwrap()["outcome"], "aliased");
}

#[tokio::test]
async fn a_refused_alias_gives_nobody_any_of_its_names() {
    let world = World::new().await;
    let app = world.app(&[]);
    let alias = async |of: &str, names: &[&str], id: &str| {
        let command = json!({"action": "alias", "username": of, "names": names, "id": id});
        world.invoke(&app, &command).await.unwrap()["outcome"].clone()
    };
    assert_eq!(alias("alice", &["laptop-1"], "c-1").await, "aliased");
    assert_eq!(alias("bob", &["laptop-2"], "c-2").await, "aliased");
    assert_eq!(alias("alice", &["laptop-1", "laptop-3", "laptop-2"], "c-3").await, "refused");
    assert_eq!(alias("carol", &["laptop-3"], "c-4").await, "aliased", "it was free, and still is");
    assert_eq!(alias("carol", &["laptop-1"], "c-5").await, "refused", "it was hers before");
}

#[tokio::test]
async fn a_store_that_cannot_be_found_makes_nobody_a_deleted_user() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_IDENTITY_STORE_ID", STORE)]);
    world.directory.put(ALICE, "alice", "alice@example.com", "ENABLED");
    world.invoke(&app, &json!({"action": "sync_directory"})).await.unwrap();
    world.user("alice");
    world.directory.lose_store();
    let put = call("PutUser", "e-1")["detail"].clone();
    let mut put = put;
    put["eventSource"] = json!("identitystore-scim.amazonaws.com");
    put["requestParameters"] = json!({"id": ALICE});
    let receipt = world.invoke(&app, &put).await.unwrap()["receipts"][0].clone();
    assert_eq!((&receipt["outcome"], world.alive().len()), (&json!("unresolved"), 1), "{receipt}");
    assert!(receipt["subjects"][0]["error"].as_str().unwrap().contains("VPN_REVOKER_IDENTITY_STORE_REGION"));
}

#[tokio::test]
async fn an_address_that_is_anothers_user_name_is_left_alone() {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_IDENTITY_STORE_ID", STORE)]);
    world.directory.put(ALICE, "alice", "Bob@example.com", "DISABLED");
    world.directory.put("1", "bob@example.com", "robert@example.com", "ENABLED");
    world.user("alice");
    let bob = world.user("bob@example.com");
    let answer = world.invoke(&app, &call("DisableUser", "e-1")).await.unwrap();
    assert_eq!(answer["receipts"][0]["subjects"][0]["names"], json!(["alice"]));
    assert_eq!(world.alive(), [bob]);
    assert!(world.lock("bob@example.com").await.is_none());
}

#[tokio::test]
async fn a_rule_that_is_off_acts_once_it_is_switched_on_by_name() {
    let world = World::new().await;
    world.user("alice@example.com");
    let event: Value = json!({
        "uuid": "u-1", "eventType": "user.account.lock", "published": "2026-03-01T09:29:00Z",
        "outcome": {"result": "FAILURE", "reason": "LOCKED_OUT"}, "actor": {"type": "SystemPrincipal", "alternateId": "system@okta.com"},
        "target": [{"type": "User", "id": "00u1", "alternateId": "alice@example.com"}],
    });
    let answer = world.invoke(&world.app(&[]), &event).await.unwrap();
    assert_eq!((answer, world.alive().len()), (json!({"receipts": []}), 1));
    assert_eq!(world.metric("EventsPutAside", Some("SwitchedOff")), 1);
    assert_eq!(world.metric("Failures", None), 0);

    let path = rules("on", &json!({"on": ["okta-account-locked"]}));
    let answer = world.invoke(&world.app(&[("VPN_REVOKER_RULES", &path)]), &event).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
    assert!(world.alive().is_empty());
}

#[tokio::test]
async fn an_archive_replay_is_only_audited_unless_the_rules_say_otherwise() {
    let world = World::new().await;
    world.user("dana.reyes@example.com");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/events/okta/deactivate-eventbridge.json");
    let mut replay: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    replay["replay-name"] = json!("after-the-outage");
    let answer = world.invoke(&world.app(&[]), &replay).await.unwrap();
    assert_eq!((&answer["receipts"][0]["outcome"], world.alive().len()), (&json!("shadowed"), 1));
    assert!(world.lock("dana.reyes@example.com").await.is_none());

    let path = rules("replays", &json!({"replays": "act"}));
    let answer = world.invoke(&world.app(&[("VPN_REVOKER_RULES", &path)]), &replay).await.unwrap();
    assert_eq!((&answer["receipts"][0]["outcome"], world.alive().len()), (&json!("completed"), 0));
}
