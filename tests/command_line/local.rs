//! The function's code runs here as well, with the function's own configuration or not at all.

use std::time::Duration;

use serde_json::json;

use crate::world::deployed::{Deployed, FUNCTION};
use crate::world::{AUDIT, LOCKS, World};
use crate::{Said, deployed, online, scratch};

const DANA: &str = "dana.reyes@example.com";

/// Connections end at once, and nothing is waited for.
async fn world() -> World {
    let world = World::with(|emulator| emulator.terminate_delay(Duration::ZERO)).await;
    world.now();
    world
}

const AT_ONCE: (&str, &str) = ("VPN_REVOKER_SETTLE_SECONDS", "0");

#[tokio::test]
async fn with_the_functions_own_configuration_it_is_the_same_code() {
    let world = world().await;
    let connection = world.user("break-glass");
    world.user(DANA);
    let aws = Deployed::start(&world, &[AT_ONCE, ("VPN_REVOKER_PROTECTED", "break-*")]).await;
    let said = deployed(&world, &aws, &["revoke", DANA, "--reason", "INC-1", "--local", "--yes"]).await;
    assert_eq!((said.code, aws.invokes()), (0, 0), "{said:?}");
    assert!(said.out.contains("completed"), "{said:?}");
    assert_eq!(world.alive(), [connection]);
    assert_eq!(world.kinds(DANA).await, ["requested", "completed"]);
    let said = deployed(&world, &aws, &["revoke", "break-glass", "--reason", "INC-1", "--local", "--yes"]).await;
    assert!(said.code == 1 && said.out.contains("is protected"), "what protects there protects here: {said:?}");
}

fn is_refused(said: &Said, parts: &[&str]) {
    assert!(said.code != 0 && said.out.is_empty(), "{said:?}");
    for part in parts {
        assert!(said.err.contains(part), "no `{part}` in {said:?}");
    }
}

#[tokio::test]
async fn without_a_configuration_it_refuses() {
    let world = world().await;
    let connection = world.user(DANA);
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    aws.without(FUNCTION);
    let local = ["revoke", DANA, "--reason", "INC-1", "--local", "--yes"];
    is_refused(&deployed(&world, &aws, &local).await, &["no function of vpn-revoker"]);
    // The tables alone do not say who is protected.
    is_refused(&online(&world, &[&local[..], &["--function", "gone"]].concat()).await, &["function gone"]);
    assert_eq!(world.alive(), [connection]);
}

#[tokio::test]
async fn a_configuration_with_files_of_the_functions_own_is_refused_and_a_file_takes_its_place() {
    let world = world().await;
    world.user(DANA);
    let aws = Deployed::start(&world, &[AT_ONCE]).await;
    // A file of that name is here as well, and another one.
    let here = scratch("protected.txt");
    std::fs::write(&here, "somebody@example.com").unwrap();
    let local = ["revoke", DANA, "--reason", "INC-1", "--local", "--yes"];
    for (name, value) in [("PROTECTED", format!("@{}", here.display())), ("RULES", "/opt/rules.json".to_owned())] {
        let mut with_file = json!({"VPN_REVOKER_LOCKS_TABLE": LOCKS, "VPN_REVOKER_AUDIT_TABLE": AUDIT});
        with_file[format!("VPN_REVOKER_{name}")] = json!(value);
        aws.also(FUNCTION, with_file);
        is_refused(&deployed(&world, &aws, &local).await, &["has values in files of its own", "--config FILE"]);
    }
    std::fs::remove_file(here).unwrap();
    let config = scratch("config.json");
    let whole = json!({
        "VPN_REVOKER_LOCKS_TABLE": LOCKS,
        "VPN_REVOKER_AUDIT_TABLE": AUDIT,
        "VPN_REVOKER_MODE": "enforce",
        "VPN_REVOKER_TARGETS": "",
        "VPN_REVOKER_ENDPOINTS": "",
        "VPN_REVOKER_PROTECTED": "break-glass",
        "VPN_REVOKER_ALIASES": "",
        "VPN_REVOKER_SETTLE_SECONDS": 0,
    });
    let write = |content: &serde_json::Value| std::fs::write(&config, content.to_string()).unwrap();
    let with_file = [&local[..], &["--config", config.to_str().unwrap()]].concat();
    for (content, part) in [("[]", "is no JSON object"), ("{", "is no JSON"), (r#"{"A": []}"#, "no text for A")] {
        std::fs::write(&config, content).unwrap();
        is_refused(&online(&world, &with_file).await, &[part, "get-function-configuration"]);
    }
    for left_out in ["MODE", "PROTECTED", "TARGETS", "AUDIT_TABLE"] {
        let mut part = whole.clone();
        part.as_object_mut().unwrap().remove(&format!("VPN_REVOKER_{left_out}"));
        write(&part);
        is_refused(&online(&world, &with_file).await, &[&format!("says nothing of VPN_REVOKER_{left_out}")]);
    }
    let mut elsewhere = whole.clone();
    for table in ["LOCKS", "AUDIT"] {
        elsewhere[format!("VPN_REVOKER_{table}_TABLE")] =
            json!(format!("arn:aws:dynamodb:us-east-1:111122223333:table/{table}"));
    }
    write(&elsewhere);
    is_refused(&online(&world, &with_file).await, &["has its tables in us-east-1", "would look in eu-west-1"]);
    let mut misspelt = whole.clone();
    misspelt["VPN_REVOKER_PROTECTD"] = json!("y");
    write(&misspelt);
    is_refused(&online(&world, &with_file).await, &["VPN_REVOKER_PROTECTD is not known"]);
    assert_eq!(world.alive().len(), 1, "nobody was touched so far");
    write(&whole);
    let said = online(&world, &with_file).await;
    assert_eq!((said.code, world.alive().len()), (0, 0), "{said:?}");
    std::fs::remove_file(config).unwrap();
}
