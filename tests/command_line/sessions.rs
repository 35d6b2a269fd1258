//! Who is connected can be seen, and who of them should not be.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use client_vpn_emulator::{Action, NewConnection};
use serde_json::{Value, json};

use crate::world::{ENDPOINTS, World};
use crate::{command, online, online_with, with_world};

const DANA: &str = "dana.reyes@example.com";

/// Dana and Lee are connected by name, a laptop by its certificate, and somebody who wants to write on the terminal.
async fn busy() -> World {
    let world = World::with(|emulator| emulator.terminate_delay(std::time::Duration::ZERO)).await;
    world.user(DANA);
    world.connect(1, NewConnection::user("lee.park@example.com").common_name("corp-client"));
    world.connect(0, NewConnection::certificate("laptop-7"));
    world.user("\u{202e}red");
    world
}

async fn lock(world: &World, subject: &str) {
    let command = json!({"action": "revoke", "subjects": [subject], "reason": "INC-1", "id": "INC-1"});
    world.invoke(&world.app(&[("VPN_REVOKER_SETTLE_SECONDS", "0")]), &command).await.unwrap();
}

fn column(rows: &Value, name: &str) -> Vec<Value> {
    rows.as_array().unwrap().iter().map(|row| row[name].clone()).collect()
}

#[tokio::test]
async fn everybody_who_is_connected_is_shown() {
    let world = busy().await;
    let said = online(&world, &["sessions"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    insta::assert_snapshot!(said.out);
}

#[tokio::test]
async fn whoever_is_connected_under_a_locked_name_stands_out() {
    let world = busy().await;
    lock(&world, DANA).await;
    world.user(DANA);
    let said = online(&world, &["sessions", "--output", "json"]).await;
    let rows = said.json();
    let locked: Vec<&Value> = rows.as_array().unwrap().iter().filter(|row| row["locked"] != json!([])).collect();
    assert_eq!((said.code, locked.len(), &locked[0]["locked"]), (1, 1, &json!([DANA])), "{said:?}");
    assert!(online(&world, &["sessions"]).await.out.contains("1 of them under a locked name"));
    let said = online(&world, &["sessions", "--endpoint", ENDPOINTS[0]]).await;
    assert_eq!(said.code, 0, "nobody locked is there: {said:?}");
}

#[tokio::test]
async fn one_person_or_one_endpoint_is_picked_out() {
    let world = busy().await;
    let said = online(&world, &["sessions", "--user", "DANA.Reyes@example.com", "--output", "json"]).await;
    assert_eq!(column(&said.json(), "username"), [json!(DANA)]);
    let said = online(&world, &["sessions", "--user", "laptop-7", "--output", "json"]).await;
    assert_eq!(column(&said.json(), "common_name"), [json!("laptop-7")]);
    let said = online(&world, &["sessions", "--endpoint", ENDPOINTS[1], "--output", "json"]).await;
    assert_eq!(column(&said.json(), "username"), [json!("lee.park@example.com")]);
    let said = online(&world, &["sessions", "--endpoint", "cvpn-endpoint-0none"]).await;
    assert!(said.code == 2 && said.err.contains("cvpn-endpoint-0none is not there"), "{said:?}");
}

#[tokio::test]
async fn a_name_is_not_a_part_of_a_name() {
    let world = busy().await;
    let said = online(&world, &["sessions", "--user", "dana.reyes", "--output", "json"]).await;
    assert_eq!(said.json(), json!([]));
}

#[tokio::test]
async fn what_can_not_be_looked_at_is_said_and_no_success() {
    let world = busy().await;
    world.emulator.deny(Action::DescribeConnections);
    let said = online(&world, &["sessions"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    for endpoint in ENDPOINTS {
        assert!(said.err.contains(&format!("{endpoint} in eu-west-1 could not be looked at: UnauthorizedOperation")));
    }
    assert!(!said.err.contains(" { "), "{said:?}");
    assert!(said.err.contains("to whoever is to do this") && !said.err.contains("function's role"), "{said:?}");
}

#[tokio::test]
async fn only_endpoints_in_scope_are_looked_at() {
    let world = busy().await;
    let config = crate::scratch("scope.json");
    let variables = json!({
        "VPN_REVOKER_LOCKS_TABLE": crate::world::LOCKS,
        "VPN_REVOKER_AUDIT_TABLE": crate::world::AUDIT,
        "VPN_REVOKER_ENDPOINTS": ENDPOINTS[0],
    });
    std::fs::write(&config, variables.to_string()).unwrap();
    let said = online(&world, &["sessions", "--config", config.to_str().unwrap(), "--output", "json"]).await;
    std::fs::remove_file(config).unwrap();
    assert_eq!(column(&said.json(), "endpoint_id"), [json!(ENDPOINTS[0])]);
}

#[tokio::test]
async fn watching_shows_it_again_and_ends_well_with_ctrl_c() {
    let world = busy().await;
    let mut watch = command(&["sessions", "--watch", "--every", "1"]);
    with_world(&mut watch, &world);
    let mut child = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let (look, mut looks) = tokio::sync::mpsc::unbounded_channel();
    // The last line of each look.
    let last = lines.filter(|line| line.contains("under a locked name"));
    std::thread::spawn(move || last.take_while(|line| look.send(line.clone()).is_ok()).count());
    assert_eq!(looks.recv().await.unwrap(), "4 connections, 0 of them under a locked name");
    world.user("newcomer@example.com");
    let mut next = looks.recv().await.unwrap();
    if next.starts_with('4') {
        // This look had begun before.
        next = looks.recv().await.unwrap();
    }
    assert_eq!(next, "5 connections, 0 of them under a locked name");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let code = tokio::task::spawn_blocking(move || child.wait().unwrap().code()).await.unwrap();
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn watching_ends_when_nobody_reads_on() {
    let world = busy().await;
    let mut watch = command(&["sessions", "--watch", "--every", "1"]);
    with_world(&mut watch, &world);
    let code = tokio::task::spawn_blocking(move || {
        let mut child = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        drop(child.stdout.take());
        child.wait().unwrap().code()
    });
    assert_eq!(code.await.unwrap(), Some(0));
}

#[tokio::test]
async fn colours_are_for_terminals_only() {
    let world = busy().await;
    lock(&world, DANA).await;
    world.user(DANA);
    assert!(!online(&world, &["sessions"]).await.out.contains('\u{1b}'), "no terminal, no colour");
    let forced = online_with(&world, &["sessions"], &[("CLICOLOR_FORCE", "1")]).await.out;
    assert!(forced.contains("\u{1b}["), "{forced:?}");
    assert!(forced.contains(r"\u{202e}red"), "a name that turns the writing is shown, and not obeyed: {forced:?}");
    let refused = online_with(&world, &["sessions"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).await.out;
    assert!(!refused.contains('\u{1b}'), "{refused:?}");
}

#[tokio::test]
async fn a_client_that_is_called_like_an_item_of_ours_blinds_nobody() {
    let world = busy().await;
    world.now();
    world.invoke(&world.app(&[]), &crate::world::reading::sample("wrapped/schedule.json")).await.unwrap();
    lock(&world, DANA).await;
    world.user(DANA);
    for name in ["#sweep", "#head/dana.reyes@example.com"] {
        world.user(name);
    }
    let said = online(&world, &["sessions", "--output", "json"]).await;
    assert_eq!((said.code, said.err.as_str()), (1, ""), "{said:?}");
    let locked = column(&said.json(), "locked").into_iter().filter(|locked| *locked != json!([])).count();
    assert_eq!(locked, 1);
}

#[tokio::test]
async fn who_is_connected_is_shown_also_while_the_locks_can_not_be_read() {
    let world = busy().await;
    world.clients.tables.delete_table().table_name(crate::world::LOCKS).send().await.unwrap();
    let said = online(&world, &["sessions", "--output", "json"]).await;
    assert_eq!((said.code, column(&said.json(), "locked")), (3, vec![Value::Null; 4]), "{said:?}");
    assert!(said.err.contains("which of them are locked could not be looked up"), "{said:?}");
}
