//! What the function would make of an event can be asked before it happens, and without AWS.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::{command, offline, scratch};

fn event(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(path).display().to_string()
}

#[test]
fn an_event_is_explained_rule_by_rule() {
    let said = offline(&["explain", &event("wrapped/sqs-sns-okta-suspend.json")]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    insta::assert_snapshot!(said.out);
}

#[test]
fn an_event_that_does_nothing_says_why_and_exits_with_1() {
    let said = offline(&["explain", &event("okta/group-member-removed-eventbridge.json")]);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    assert!(said.out.contains("switch the rule on by name"), "{said:?}");
}

#[test]
fn several_events_that_do_nothing_exit_with_1_as_well() {
    let one = std::fs::read_to_string(event("okta/session-end-eventbridge.json")).unwrap();
    let file = scratch("two-that-do-nothing.json");
    std::fs::write(&file, format!("[{one},{one}]")).unwrap();
    assert_eq!(offline(&["explain", file.to_str().unwrap()]).code, 1);
    let counts = std::fs::read_to_string(event("okta/deactivate-eventbridge.json")).unwrap();
    std::fs::write(&file, format!("[{one},{counts}]")).unwrap();
    assert_eq!(offline(&["explain", file.to_str().unwrap()]).code, 0);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_bare_command_counts_by_invoke_only() {
    assert_eq!(offline(&["explain", &event("command/revoke.json")]).code, 0);
    let said = offline(&["explain", &event("command/revoke.json"), "--by", "event"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("a bare command is not taken from a queue"), "{said:?}");
}

#[test]
fn an_event_comes_by_standard_input_too() {
    let mut child =
        command(&["explain", "-", "--output", "json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(br#"{"source":"x","detail-type":"y","detail":{}}"#).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["events"][0]["event"], "source `x`, detail-type `y`");
}

#[test]
fn a_users_rules_are_checked_and_listed() {
    let file = scratch("rules.json");
    let path = file.to_str().unwrap();
    std::fs::write(&file, r#"{"on": ["okta-account-locked"]}"#).unwrap();
    let said = offline(&["rules", "check", path]);
    let is_on = |said: &crate::Said| {
        let rules = said.json();
        let rules = rules.as_array().unwrap();
        rules.iter().find(|rule| rule["rule"] == "okta-account-locked").unwrap()["on"] == true
    };
    assert_eq!((said.code, said.out), (0, format!("{path}: the rules are right\n")));
    assert!(is_on(&offline(&["rules", "list", "--rules", path, "--output", "json"])));
    assert!(!is_on(&offline(&["rules", "list", "--output", "json"])));

    std::fs::write(&file, r#"{"on": ["okta-acount-locked"], "off": ["okta-user-owt"]}"#).unwrap();
    let said = offline(&["rules", "check", path, "--output", "json"]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!((said.code, said.json().as_array().unwrap().len()), (1, 2), "{said:?}");
}
