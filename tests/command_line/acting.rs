//! What is asked for here is done by the deployed function, and its receipt is shown.

use serde_json::{Value, json};

use crate::world::World;
use crate::world::deployed::Deployed;
use crate::{Said, deployed, scratch};

const DANA: &str = "dana.reyes@example.com";

#[tokio::test]
async fn a_revocation_ends_every_connection_and_shows_the_receipt() {
    let world = World::new().await;
    for _ in 0..7 {
        world.user(DANA);
    }
    let other = world.user("lee.park@example.com");
    let function = Deployed::start(&world, &[]).await;
    let said = deployed(
        &world,
        &function,
        &["revoke", DANA, "--reason", "INC-1", "--id", "INC-1-1", "--requested-by", "jane", "--yes"],
    )
    .await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    insta::assert_snapshot!(said.out);
    assert_eq!(world.alive(), [other]);
    assert_eq!(world.kinds(DANA).await, ["requested", "completed"]);
    let entry = &world.chains().await[DANA][0];
    assert_eq!(
        (&entry["actor"], &entry["reason"], &entry["signal_id"]),
        (&json!("jane"), &json!("INC-1"), &json!("INC-1-1"))
    );
}

#[tokio::test]
async fn a_function_that_was_cut_off_may_have_done_a_part_of_it() {
    let world = World::new().await;
    world.user(DANA);
    let function = Deployed::start(&world, &[]).await;
    function.cuts_off();
    let said = deployed(&world, &function, &["revoke", DANA, "--reason", "INC-1", "--id", "INC-1-1", "--yes"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    for part in ["may have done a part of it", "timed out", "the same command with --id INC-1-1 goes on"] {
        assert!(said.err.contains(part), "no `{part}` in {said:?}");
    }
    assert!(!said.err.contains("did not take it"), "{said:?}");
}

#[tokio::test]
async fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let world = World::new().await;
    let connection = world.user(DANA);
    let function = Deployed::start(&world, &[]).await;
    let said =
        deployed(&world, &function, &["revoke", DANA, "--reason", "INC-1", "--dry-run", "--output", "json"]).await;
    let receipt = &said.json()[0];
    assert_eq!((said.code, &receipt["outcome"]), (0, &json!("planned")), "{said:?}");
    let told = deployed(&world, &function, &["revoke", DANA, "--reason", "INC-1", "--dry-run"]).await;
    assert!(told.out.contains("EC2 would permit it on 3"), "{told:?}");
    assert!(receipt["endpoints"].as_array().unwrap().iter().all(|endpoint| endpoint["permitted"] == true), "{receipt}");
    assert_eq!(world.alive(), [connection]);
    assert!(world.chains().await.is_empty());
}

#[tokio::test]
async fn a_dry_run_says_where_ec2_would_not_permit_it() {
    let world = World::new().await;
    let function = Deployed::start(&world, &[]).await;
    world.emulator.deny(client_vpn_emulator::Action::Terminate);
    let said = deployed(&world, &function, &["revoke", DANA, "--reason", "INC-1", "--dry-run"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    for endpoint in crate::world::ENDPOINTS {
        let told = format!("{endpoint}: EC2 would not permit it: UnauthorizedOperation");
        assert!(said.out.contains(&told), "{said:?}");
    }
}

#[tokio::test]
async fn what_is_refused_or_left_exits_with_1_and_says_why() {
    let world = World::new().await;
    world.user(DANA);
    let function = Deployed::start(&world, &[("VPN_REVOKER_PROTECTED", "dana.*")]).await;
    let said = deployed(&world, &function, &["revoke", DANA, "--reason", "INC-1", "--yes"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("refused") && said.out.contains("is protected"), "{said:?}");
    let shadow = Deployed::start(&world, &[("VPN_REVOKER_MODE", "shadow")]).await;
    let said = deployed(&world, &shadow, &["revoke", DANA, "--reason", "INC-1", "--yes"]).await;
    assert!(said.code == 1 && said.out.contains("mode shadow"), "nobody was locked: {said:?}");
}

#[tokio::test]
async fn nothing_is_done_that_nobody_confirmed() {
    let world = World::new().await;
    let connection = world.user(DANA);
    let function = Deployed::start(&world, &[]).await;
    let said = deployed(&world, &function, &["revoke", DANA, "--reason", "INC-1"]).await;
    assert_eq!((said.code, said.out.as_str(), function.invokes()), (2, "", 0));
    assert!(said.err.contains("add --yes, or --dry-run"), "{said:?}");
    assert_eq!(world.alive(), [connection]);
}

#[tokio::test]
async fn many_come_from_a_file_fifty_at_a_time_and_again_is_the_same() {
    let world = World::new().await;
    let function = Deployed::start(&world, &[]).await;
    let file = scratch("leavers.txt");
    let names: Vec<String> = (0..70).map(|number| format!("leaver-{number}@example.com")).collect();
    let (first, others) = names.split_first().unwrap();
    std::fs::write(&file, format!("\u{feff}{first}\n# March\n\n{}\n", others.join("\r\n"))).unwrap();
    let arguments =
        ["revoke", "--file", file.to_str().unwrap(), "--reason", "HR", "--id", "HR-3", "--yes", "--output", "jsonl"];
    let said = deployed(&world, &function, &arguments).await;
    assert_eq!((said.code, said.out.lines().count(), function.invokes()), (0, 2, 2), "{}", said.err);
    let chains = world.chains().await;
    assert_eq!(chains.len(), 70);
    assert!(chains.contains_key("leaver-0@example.com"), "without the mark that a spreadsheet puts before it");
    assert_eq!(chains["leaver-69@example.com"][0]["signal_id"], "HR-3-2");
    assert_eq!(deployed(&world, &function, &arguments).await.code, 0);
    std::fs::remove_file(file).unwrap();
    assert_eq!(world.chains().await, chains, "nothing twice");
}

#[tokio::test]
async fn nobody_is_left_over_for_a_line_that_names_nobody() {
    let world = World::new().await;
    let function = Deployed::start(&world, &[]).await;
    let file = scratch("leavers-with-a-mistake.txt");
    let names: Vec<String> = (0..60).map(|number| format!("leaver-{number}@example.com")).collect();
    std::fs::write(&file, format!("{}\nn/a\n", names.join("\n"))).unwrap();
    let said =
        deployed(&world, &function, &["revoke", "--file", file.to_str().unwrap(), "--reason", "HR", "--yes"]).await;
    assert_eq!((said.code, function.invokes()), (3, 0), "{said:?}");
    assert!(said.err.contains("line 61: ") && said.err.contains("Nothing was done"), "{said:?}");
    std::fs::write(&file, b"l\0e\0\xff").unwrap();
    let said =
        deployed(&world, &function, &["revoke", "--file", file.to_str().unwrap(), "--reason", "HR", "--yes"]).await;
    assert!(said.code == 3 && said.err.contains("save it as UTF-8"), "{said:?}");
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_restore_lifts_what_it_names() {
    let world = World::new().await;
    let function = Deployed::start(&world, &[]).await;
    assert_eq!(deployed(&world, &function, &["revoke", DANA, "--reason", "INC-1", "--yes"]).await.code, 0);
    let said =
        deployed(&world, &function, &["restore", DANA, "--authority", "okta:acme", "--reason", "INC-1", "--yes"]).await;
    assert_eq!(world.lock(DANA).await.unwrap()["state"], "locked", "{said:?}");
    let said = deployed(&world, &function, &["restore", DANA, "--reason", "INC-1 closed", "--yes"]).await;
    assert_eq!((said.code, world.lock(DANA).await.unwrap()["state"].clone()), (0, json!("released")), "{said:?}");
}

#[tokio::test]
async fn one_connection_is_ended_by_its_id() {
    let world = World::new().await;
    let (one, other) = (world.user(DANA), world.user(DANA));
    let function = Deployed::start(&world, &[]).await;
    let endpoint = crate::world::ENDPOINTS[2];
    let said = deployed(
        &world,
        &function,
        &["disconnect", "--endpoint", endpoint, "--connection", &one, "--reason", "stuck", "--yes"],
    )
    .await;
    assert_eq!((said.code, world.alive()), (0, vec![other]), "{said:?}");
    assert!(world.lock(DANA).await.is_none());
}

#[tokio::test]
async fn a_further_name_is_given_and_taken_away() {
    let world = World::new().await;
    let function = Deployed::start(&world, &[]).await;
    let reason = ["--reason", "her machine", "--yes"];
    let said = deployed(&world, &function, &[&["alias", DANA, "laptop-7"][..], &reason].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    let names = || async { deployed(&world, &function, &["locks", "alias", DANA, "--output", "json"]).await.json() };
    assert_eq!(names().await, json!(["laptop-7"]));
    let said = deployed(&world, &function, &[&["unalias", DANA, "laptop-7"][..], &reason].concat()).await;
    assert_eq!((said.code, names().await), (0, json!([])), "{said:?}");
}

#[tokio::test]
async fn a_sweep_ends_whoever_is_connected_under_a_locked_name() {
    let world = World::new().await;
    let function = Deployed::start(&world, &[]).await;
    assert_eq!(deployed(&world, &function, &["revoke", DANA, "--reason", "INC-1", "--yes"]).await.code, 0);
    let (back, other) = (world.user(DANA), world.user("lee.park@example.com"));
    let sweep = ["sweep"];
    let said = deployed(&world, &function, &[&sweep[..], &["--dry-run"]].concat()).await;
    assert_eq!((said.code, world.alive()), (0, vec![back, other.clone()]), "{said:?}");
    assert!(said.out.contains(&format!("{DANA}  planned")), "{said:?}");
    let elsewhere = [&sweep[..], &["--endpoint", crate::world::ENDPOINTS[0], "--yes"]].concat();
    assert_eq!((deployed(&world, &function, &elsewhere).await.code, world.alive().len()), (0, 2));
    let said = deployed(&world, &function, &[&sweep[..], &["--yes"]].concat()).await;
    assert_eq!((said.code, world.alive()), (0, vec![other]), "{said:?}");
}

#[tokio::test]
async fn the_directory_is_copied() {
    let world = World::new().await;
    for (id, name) in [("1", DANA), ("2", "lee.park@example.com"), ("3", "alice@example.com")] {
        world.directory.put(id, name, name, "ENABLED");
    }
    let function = Deployed::start(&world, &[("VPN_REVOKER_IDENTITY_STORE_ID", "d-1234567890")]).await;
    let said = deployed(&world, &function, &["directory", "sync"]).await;
    assert!(said.code == 0 && said.out.ends_with("3 people copied\n"), "{said:?}");
    let without = Deployed::start(&world, &[]).await;
    let said = deployed(&world, &without, &["directory", "sync"]).await;
    assert!(said.code == 3 && said.err.contains("VPN_REVOKER_IDENTITY_STORE_ID"), "{said:?}");
}

#[tokio::test]
async fn what_the_function_does_not_take_is_said_in_one_sentence() {
    let world = World::new().await;
    let function = Deployed::start(&world, &[]).await;
    let sentence = |said: &Said, part: &str| {
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{said:?}");
        let last = said.err.lines().last().unwrap();
        assert!(last.starts_with("vpn-revoker: ") && last.contains(part) && !last.contains(" { "), "{said:?}");
    };
    let wrong = ["revoke", DANA, "--reason", "INC-1", "--expires-in", "soon", "--yes"];
    sentence(&deployed(&world, &function, &wrong).await, "`expires_in`");
    let another = ["revoke", DANA, "--reason", "INC-1", "--function", "another", "--yes"];
    sentence(&deployed(&world, &function, &another).await, "function another: ResourceNotFoundException");
    let reasonless = deployed(&world, &function, &["revoke", DANA, "--yes"]).await;
    assert!(reasonless.code == 2 && reasonless.err.contains("--reason"), "{reasonless:?}");
}

#[tokio::test]
async fn a_name_that_is_an_escape_is_shown_and_not_obeyed() {
    let world = World::new().await;
    let function = Deployed::start(&world, &[]).await;
    let said = deployed(&world, &function, &["revoke", "a\u{202e}b@example.com", "--reason", "INC-1", "--yes"]).await;
    assert!(!said.out.contains('\u{202e}') && !said.err.contains('\u{202e}'), "{said:?}");
    let value: Value = json!(said.out + &said.err);
    assert!(value.as_str().unwrap().contains(r"\u{202e}"), "{value}");
}
