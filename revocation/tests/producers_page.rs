//! `docs/producers.md` says what the tables say, its EventBridge patterns match what they should, and its examples do
//! what it says of them.
//!
//! `UPDATE_SAMPLES=1 cargo test -p revocation --test producers_page` writes the tables of rules into the page.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, missing_docs)]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use quamina::Quamina;
use revocation::intake::{Delivery, Evidence, Intake, Reading, Rejected, RuleSummary};
use revocation::signal::{Signal, Via};
use revocation::time::Timestamp;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/producers.md")).unwrap()
}

fn table(rules: &[RuleSummary<'_>]) -> String {
    let mut table = "| rule | the event says | does | default | shape known from |\n|---|---|---|---|---|\n".to_owned();
    for rule in rules {
        let default = match (rule.action, rule.on) {
            ("ignore", _) => "–",
            (_, true) => "**on**",
            (_, false) => "off",
        };
        let evidence = match rule.evidence {
            Evidence::Capture => "a capture",
            Evidence::Documentation => "documentation",
        };
        let action = if rule.action == "ignore" { "nothing" } else { rule.action };
        writeln!(table, "| `{}` | {} | {action} | {default} | {evidence} |", rule.name, rule.about.replace('|', "\\|"))
            .unwrap();
    }
    table
}

/// The page with every table of rules as it should be.
fn with_tables(page: &str, intake: &Intake) -> (String, Vec<String>) {
    let mut written = String::new();
    let mut seen = Vec::new();
    let mut skipping = false;
    for line in page.lines() {
        if let Some(producer) = line.strip_prefix("<!-- rules ").and_then(|rest| rest.strip_suffix(" -->")) {
            let rules: Vec<RuleSummary<'_>> = intake.rules().filter(|rule| rule.producer == producer).collect();
            assert!(!rules.is_empty(), "{producer} is no producer");
            write!(written, "{line}\n{}<!-- end -->\n", table(&rules)).unwrap();
            seen.push(producer.to_owned());
            skipping = page.contains("<!-- end -->");
        } else if skipping && (line.starts_with('|') || line == "<!-- end -->") {
            skipping = line != "<!-- end -->";
        } else {
            skipping = false;
            writeln!(written, "{line}").unwrap();
        }
    }
    (written, seen)
}

#[test]
fn the_page_shows_every_rule_as_it_is() {
    let intake = Intake::built_in().unwrap();
    let (written, seen) = with_tables(&page(), &intake);
    if std::env::var_os("UPDATE_SAMPLES").is_some() {
        std::fs::write(root().join("docs/producers.md"), &written).unwrap();
    }
    assert!(page() == written, "UPDATE_SAMPLES=1 writes the tables");
    let missing: Vec<&str> =
        intake.rules().map(|rule| rule.producer).filter(|producer| !seen.iter().any(|seen| seen == producer)).collect();
    assert!(missing.is_empty(), "the page is silent about {missing:?}");
}

#[test]
fn the_patterns_match_the_samples_that_they_name() {
    let page = page();
    let mut checked = 0;
    for part in page.split("<!-- pattern: ").skip(1) {
        let (claim, rest) = part.split_once("-->").unwrap();
        let pattern = rest.split_once("```json").unwrap().1.split_once("```").unwrap().0;
        let mut rule = Quamina::new();
        rule.add_pattern((), pattern).unwrap_or_else(|error| panic!("{error} in {pattern}"));
        let (yes, no) = claim.split_once(';').unwrap_or((claim, ""));
        let samples = |text: &str| {
            text.split_whitespace().filter(|word| word.starts_with("events/")).map(str::to_owned).collect::<Vec<_>>()
        };
        let matches = |path: &str| {
            let event = std::fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            !rule.matches_for_event(&event).unwrap().is_empty()
        };
        assert!(yes.trim_start().starts_with("matches ") && !samples(yes).is_empty(), "{claim}");
        for path in samples(yes) {
            assert!(matches(&path), "{path} should match {pattern}");
        }
        for path in samples(no) {
            assert!(!matches(&path), "{path} should not match {pattern}");
        }
        checked += 1;
    }
    assert!(checked >= 5, "only {checked} patterns on the page");
}

/// The block of JSON that stands after a mark.
fn block<'a>(page: &'a str, mark: &str) -> &'a str {
    let after = page.split_once(mark).unwrap_or_else(|| panic!("no {mark} on the page")).1;
    after.split_once("```json").unwrap().1.split_once("```").unwrap().0
}

fn read(intake: &Intake, via: Via, payload: &Value) -> Result<Vec<Signal>, Rejected> {
    let received_at = Timestamp::parse("2026-03-01T10:00:00Z").unwrap();
    let delivery = Delivery { via, received_at, id: "the-delivery".to_owned() };
    intake.read(payload.to_string().as_bytes(), &delivery).map(Reading::into_signals)
}

#[test]
fn the_rules_file_on_the_page_switches_rules_and_knows_an_event_of_its_own() {
    let page = page();
    let text = block(&page, "<!-- rules-file -->");
    let intake = Intake::with_rules(Some(("docs/producers.md", text))).unwrap();
    let file: Value = serde_json::from_str(text).unwrap();
    for (list, on) in [("on", true), ("off", false)] {
        for name in file[list].as_array().unwrap() {
            assert!(intake.rules().any(|rule| name == rule.name && rule.on == on), "{name} is not {list}");
        }
    }

    let mut event = json!({
        "source": "example.hr-portal", "detail-type": "Employment", "id": "eb-1", "time": "2026-03-01T09:25:02Z",
        "detail": {
            "status": "left", "case": "C-7", "clerk": "someone.else@example.com", "note": "INC-42, see the file",
            "employee": {"login": "alice@example.com", "number": 7, "contract": "staff"},
        },
    });
    let signals = read(&intake, Via::Event, &event).unwrap();
    let [signal] = signals.as_slice() else { panic!("{signals:?}") };
    assert_eq!((signal.action.word(), signal.about[0].label().as_str()), ("revoke", "alice@example.com"));
    assert_eq!((signal.id.as_str(), signal.authority.as_str()), ("hr-portal:C-7", "hr-portal"));
    assert_eq!(signal.as_of, Timestamp::parse("2026-03-01T09:25:02Z").unwrap());
    assert_eq!((signal.actor.as_deref(), signal.reason.as_deref()), (Some("someone.else@example.com"), Some("INC-42")));

    event["detail"]["employee"]["contract"] = json!("supplier");
    assert!(matches!(read(&intake, Via::Event, &event), Err(Rejected::Unknown(_))));
}

#[test]
fn the_command_on_the_page_is_one_by_event_and_bare_only_where_it_is_invoked() {
    let intake = Intake::built_in().unwrap();
    let page = page();
    let filled = [("<id>", "eb-1"), ("<user>", "alice@example.com"), ("<reason>", "C-7")]
        .into_iter()
        .fold(block(&page, "<!-- command -->").to_owned(), |text, (name, value)| text.replace(name, value));
    let event: Value = serde_json::from_str(&filled).unwrap();
    for via in [Via::Event, Via::Direct] {
        let signals = read(&intake, via, &event).unwrap();
        let [signal] = signals.as_slice() else { panic!("{signals:?}") };
        assert_eq!((signal.action.word(), signal.about[0].label().as_str()), ("revoke", "alice@example.com"));
        assert_eq!((signal.id.as_str(), signal.via), ("eb-1", Via::Event));
    }
    let bare = &event["detail"];
    assert_eq!(read(&intake, Via::Direct, bare).unwrap()[0].via, Via::Direct);
    assert_eq!(read(&intake, Via::Event, bare), Err(Rejected::BareCommand));
}
