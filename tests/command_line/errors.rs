//! What goes wrong ends in one clear sentence and the next step, never in a debug dump.

use crate::world::World;
use crate::{Said, command, offline, online, said};

fn is_one_sentence(said: &Said, code: i32, parts: &[&str]) {
    assert_eq!((said.code, said.out.as_str(), said.err.lines().count()), (code, "", 1), "{said:?}");
    assert!(said.err.starts_with("vpn-revoker: ") && !said.err.contains(" { "), "{said:?}");
    for part in parts {
        assert!(said.err.contains(part), "no `{part}` in {said:?}");
    }
}

#[test]
fn half_of_the_tables_is_too_few() {
    let half = &["audit", "verify", "--locks-table", "locks", "--region", "eu-west-1"];
    is_one_sentence(&offline(half), 2, &["both --locks-table and --audit-table"]);
}

#[test]
fn a_missing_region_is_asked_for() {
    let said = offline(&["locks", "list", "--locks-table", "locks"]);
    is_one_sentence(&said, 2, &["no AWS Region is set", "--region"]);
}

#[test]
fn missing_credentials_are_asked_for() {
    let mut command = command(&["locks", "list", "--locks-table", "locks", "--region", "eu-west-1"]);
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    is_one_sentence(&said(command), 3, &["table locks", "--profile"]);
}

#[tokio::test]
async fn a_table_that_is_not_there_is_named() {
    let world = World::new().await;
    let said = online(&world, &["audit", "verify", "--audit-table", "another"]).await;
    is_one_sentence(&said, 3, &["table another", "ResourceNotFoundException", "--region"]);
}

#[tokio::test]
async fn an_address_where_nobody_answers_is_said() {
    let mut command = command(&["locks", "list", "--locks-table", "locks", "--region", "eu-west-1"]);
    command
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .args(["--endpoint-url", "http://127.0.0.1:9"]);
    let said = tokio::task::spawn_blocking(move || said(command)).await.unwrap();
    is_one_sentence(&said, 3, &["table locks", "--endpoint-url and the network"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    is_one_sentence(&offline(&["explain", "/nonexistent.json"]), 3, &["/nonexistent.json", "No such file"]);
    is_one_sentence(&offline(&["audit", "verify", "--export", "/nonexistent.jsonl"]), 3, &["/nonexistent.jsonl"]);
}

#[test]
fn wrong_usage_is_exit_code_2_with_help() {
    for wrong in [
        &["audit", "list", "--from", "yesterday"][..],
        &["audit", "list", "--kind", "done"],
        &["locks", "list", "--endpoint-url", "bad url"],
        &["audit", "lst"],
        &[],
    ] {
        let said = offline(wrong);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
        assert!(said.err.contains("--help") || said.err.contains("Usage:"), "{said:?}");
    }
}

#[test]
fn every_command_has_an_example() {
    for command in [
        &["sessions"][..],
        &["doctor"],
        &["replay"],
        &["report"],
        &["handler", "status"],
        &["handler", "attach"],
        &["handler", "detach"],
        &["breaker", "status"],
        &["revoke"],
        &["alias"],
        &["unalias"],
        &["sweep"],
        &["directory", "sync"],
        &["disconnect"],
        &["restore"],
        &["breaker", "close"],
        &["audit", "list"],
        &["audit", "show"],
        &["audit", "export"],
        &["audit", "verify"],
        &["locks", "list"],
        &["locks", "show"],
        &["locks", "alias"],
        &["explain"],
        &["rules", "check"],
        &["rules", "list"],
    ] {
        let help = offline(&[command, &["--help"]].concat());
        let example = format!("  vpn-revoker {}", command.join(" "));
        let one_line = format!("Example: vpn-revoker {}", command.join(" "));
        assert!(
            help.code == 0 && (help.out.contains(&example) || help.out.contains(&one_line)),
            "{command:?}: {}",
            help.out
        );
    }
}

#[test]
fn shells_get_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = offline(&["completions", shell]);
        assert!(said.code == 0 && said.out.contains("verify"), "{shell}");
    }
}

#[tokio::test]
async fn days_that_are_none_end_in_a_sentence_and_not_in_a_loop() {
    let world = World::new().await;
    let said = online(&world, &["audit", "list", "--from", "9999-12-29", "--to", "9999-12-30"]).await;
    is_one_sentence(&said, 2, &["--from is in the future"]);
    let said = online(&world, &["audit", "list", "--from", "2026-03-02", "--to", "2026-03-01"]).await;
    is_one_sentence(&said, 2, &["--to is a day before --from"]);
}

#[test]
fn a_rules_file_can_not_drive_the_terminal() {
    let file = crate::scratch("escape.json");
    std::fs::write(&file, r#"{"on": ["\u001b[2Jx"]}"#).unwrap();
    let said = offline(&["rules", "list", "--rules", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
    assert!(said.code == 3 && said.err.contains(r"\u{1b}") && !said.err.contains('\u{1b}'), "{said:?}");
}
