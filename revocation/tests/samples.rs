//! Every sample in `events/` becomes exactly the signals that stand beside it, and names nobody else.
//!
//! `UPDATE_SAMPLES=1 cargo test -p revocation --test samples` writes what they become; `git diff` shows what changed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs
)]

use std::path::{Path, PathBuf};

use revocation::intake::{Delivery, Intake};
use revocation::signal::{About, Action, Signal, Via};
use revocation::time::Timestamp;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What one payload becomes: its signals, or why it is none.
fn becomes(intake: &Intake, payload: &[u8], via: Via) -> Value {
    let received_at = Timestamp::parse("2026-03-01T10:00:00Z").unwrap();
    let delivery = Delivery { via, received_at, id: "the-delivery".to_owned() };
    match intake.read(payload, &delivery) {
        Ok(reading) => reading.into_signals().iter().map(signal).collect(),
        Err(rejected) => json!({"none": rejected.error_type(), "why": rejected.to_string()}),
    }
}

fn signal(signal: &Signal) -> Value {
    let about: Vec<Value> = (signal.about.iter())
        .map(|about| match about {
            About::Subject(subject) => json!({"subject": subject.received(), "name": subject.name()}),
            About::Connection(endpoint, connection) => json!({"endpoint_id": endpoint, "connection_id": connection}),
            About::Unresolved { producer, id } => json!({"unresolved": id, "producer": producer}),
        })
        .collect();
    let mut read = json!({
        "id": signal.id,
        "action": signal.action,
        "about": about,
        "authority": signal.authority,
        "as_of": signal.as_of,
        "occurred_at": signal.occurred_at,
        "source": signal.source,
        "actor": signal.actor,
        "reason": signal.reason,
    });
    match &signal.action {
        Action::Revoke { expires_at: Some(at) } => read["expires_at"] = json!(at),
        Action::Restore { authorities } => read["authorities"] = json!(authorities),
        _ => {}
    }
    if signal.dry_run {
        read["dry_run"] = json!(true);
    }
    read
}

/// A sample with what it becomes; a batch record by record.
fn sample_becomes(intake: &Intake, path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let body = |record: &Value| record["body"].as_str().or(record["Sns"]["Message"].as_str()).unwrap().to_owned();
    match document.get("Records").and_then(Value::as_array) {
        Some(records) => records.iter().map(|record| becomes(intake, body(record).as_bytes(), Via::Event)).collect(),
        None => {
            let in_a_queue = path.file_stem().is_some_and(|name| name == "bare-in-queue");
            becomes(intake, &bytes, if in_a_queue { Via::Event } else { Via::Direct })
        }
    }
}

fn samples() -> Vec<PathBuf> {
    let mut samples = Vec::new();
    for folder in std::fs::read_dir(root().join("events")).unwrap().map(|entry| entry.unwrap().path()) {
        if folder.is_dir() {
            samples.extend(std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    samples.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
    samples.retain(|path| !path.to_string_lossy().ends_with(".expected.json"));
    samples.sort();
    samples
}

#[test]
fn every_sample_becomes_exactly_its_signals() {
    let intake = Intake::built_in().unwrap();
    let samples = samples();
    assert!(samples.len() > 15, "{samples:?}");
    for path in samples {
        let expected = path.with_extension("expected.json");
        let found = sample_becomes(&intake, &path);
        if std::env::var_os("UPDATE_SAMPLES").is_some() {
            std::fs::write(&expected, format!("{}\n", serde_json::to_string_pretty(&found).unwrap())).unwrap();
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_else(|_| panic!("{} is missing", expected.display()));
        assert_eq!(found, serde_json::from_str::<Value>(&wanted).unwrap(), "{}", path.display());
    }
}

#[test]
fn no_sample_makes_an_administrator_the_subject() {
    let intake = Intake::built_in().unwrap();
    for path in samples() {
        let text = sample_becomes(&intake, &path).to_string();
        for bystander in ["it.admin@example.com", "someone.else@example.com", "vpn-portal@example.com"] {
            assert!(!text.contains(&format!("\"subject\":\"{bystander}\"")), "{}", path.display());
        }
    }
}

/// Where reference payloads of real producers lie beside the project, Okta's become what is expected of them, and
/// those of producers that are not known yet become nothing.
#[test]
fn reference_payloads_become_what_is_expected() {
    let folder = root().parent().unwrap().join("shared/events");
    let Ok(table) = std::fs::read_to_string(folder.join("EXPECTED.tsv")) else { return };
    let intake = Intake::built_in().unwrap();
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (file, decision, name) = (columns[0], columns[1], columns[2]);
        if file.starts_with("wrap-") {
            continue;
        }
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let found = becomes(&intake, &bytes, Via::Direct);
        match (file.split('-').next().unwrap(), decision) {
            ("okta", "TERMINATE" | "REENABLE") if !file.contains("universal-logout") => {
                assert_eq!(found[0]["about"][0]["subject"], name, "{file}: {found}");
                let action = if decision == "TERMINATE" { "revoke" } else { "restore" };
                assert_eq!(found[0]["action"], action, "{file}");
            }
            _ => assert!(found.get("none").is_some(), "{file} became {found}"),
        }
    }
}

#[test]
fn reference_wraps_act_on_what_is_in_them_and_on_nothing_else() {
    let folder = root().parent().unwrap().join("shared/events");
    if !folder.is_dir() {
        return;
    }
    let intake = Intake::built_in().unwrap();
    let wrap = |file: &str| sample_becomes(&intake, &folder.join(file));
    let batch = wrap("wrap-eventbridge-batch-in-sqs.json");
    assert_eq!(batch[0][0]["about"][0]["name"], "john.doe@example.com");
    assert!((1..5).all(|number| batch[number].get("none").is_some()), "{batch}");
    assert_eq!(wrap("wrap-eventbridge-in-sqs.json")[0][0]["about"][0]["name"], "john.doe@example.com");
    for file in ["wrap-sns-in-sqs.json", "wrap-sqs-plain.json"] {
        assert!(wrap(file).as_array().unwrap().iter().all(|record| record.get("none").is_some()), "{file}");
    }
}
