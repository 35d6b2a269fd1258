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

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use revocation::intake::{Delivery, Intake, Reading, Rejected};
use revocation::reconcile::Sweep;
use revocation::signal::{About, Action, Signal, Via};
use revocation::time::Timestamp;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The intake as it comes, and with everything switched on.
struct Intakes {
    as_it_comes: Intake,
    all_on: Intake,
}

impl Intakes {
    fn new() -> Self {
        let as_it_comes = Intake::built_in().unwrap();
        let off = as_it_comes.rules().filter(|rule| !rule.on && rule.action != "ignore").map(|rule| rule.name);
        let all = json!({"on": off.collect::<Vec<_>>()}).to_string();
        let all_on = Intake::with_rules(Some(("all on", &all))).unwrap();
        Self { as_it_comes, all_on }
    }

    /// What one payload becomes: its signals, or why it is none, and what it would be were its rule on.
    fn becomes(&self, payload: &[u8], via: Via) -> Value {
        let received_at = Timestamp::parse("2026-03-01T10:00:00Z").unwrap();
        let delivery = Delivery { via, received_at, id: "the-delivery".to_owned() };
        let signals = |intake: &Intake| {
            intake.read(payload, &delivery).map(|reading| match reading {
                Reading::Events { signals, put_aside, .. } if !put_aside.is_empty() => {
                    let aside: Vec<String> = put_aside.iter().map(ToString::to_string).collect();
                    json!({"signals": signals.iter().map(signal).collect::<Vec<_>>(), "put_aside": aside})
                }
                reading if !reading.sweeps().is_empty() => {
                    json!({"sweep": reading.sweeps().iter().map(sweep).collect::<Vec<_>>()})
                }
                reading => reading.into_signals().iter().map(signal).collect(),
            })
        };
        match signals(&self.as_it_comes) {
            Ok(signals) => signals,
            Err(rejected @ Rejected::SwitchedOff { .. }) => {
                json!({"none": rejected.error_type(), "why": rejected.to_string(), "if_on": signals(&self.all_on).unwrap()})
            }
            Err(rejected) => json!({"none": rejected.error_type(), "why": rejected.to_string()}),
        }
    }
}

fn sweep(order: &Sweep) -> Value {
    json!({"id": order.id, "commanded": order.commanded, "endpoints": order.endpoints, "targets": order.targets})
}

fn signal(signal: &Signal) -> Value {
    let about: Vec<Value> = (signal.about.iter())
        .map(|about| match about {
            About::Subject(subject) if subject.also().is_empty() => {
                json!({"subject": subject.received(), "name": subject.name()})
            }
            About::Subject(subject) => {
                json!({"subject": subject.received(), "name": subject.name(), "also": subject.also()})
            }
            About::Breaker(authority) => json!({"breaker": authority}),
            About::Connection(endpoint, connection) => json!({"endpoint_id": endpoint, "connection_id": connection}),
            About::Unresolved { producer, id, in_directory } => {
                json!({"unresolved": id, "producer": producer, "in_directory": in_directory})
            }
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
    if let Some(replay) = &signal.replay {
        read["replay"] = json!(replay);
    }
    if signal.dry_run {
        read["dry_run"] = json!(true);
    }
    read
}

/// A sample with what it becomes; a batch record by record, as the function takes it.
fn sample_becomes(intakes: &Intakes, path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let body = |record: &Value| record["body"].as_str().or(record["Sns"]["Message"].as_str()).unwrap().to_owned();
    let records = document.get("Records").and_then(Value::as_array);
    match records.filter(|records| records.iter().any(|record| record.get("body").or(record.get("Sns")).is_some())) {
        Some(records) => records.iter().map(|record| intakes.becomes(body(record).as_bytes(), Via::Event)).collect(),
        None => {
            let in_a_queue = path.file_stem().is_some_and(|name| name == "bare-in-queue");
            intakes.becomes(&bytes, if in_a_queue { Via::Event } else { Via::Direct })
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
    let intakes = Intakes::new();
    let samples = samples();
    assert!(samples.len() > 100, "{samples:?}");
    let mut wrong = Vec::new();
    for path in samples {
        let expected = path.with_extension("expected.json");
        let found = sample_becomes(&intakes, &path);
        if std::env::var_os("UPDATE_SAMPLES").is_some() {
            std::fs::write(&expected, format!("{}\n", serde_json::to_string_pretty(&found).unwrap())).unwrap();
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        if serde_json::from_str::<Value>(&wanted).ok().as_ref() != Some(&found) {
            wrong.push(format!("{} became {found:#}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Everybody in the samples but those whom they are about.
const BYSTANDERS: [&str; 4] = ["it.admin@example.com", "someone.else@example.com", "it.admin", "someone.else"];

#[test]
fn no_sample_makes_a_bystander_the_subject() {
    let intakes = Intakes::new();
    for path in samples() {
        let text = sample_becomes(&intakes, &path).to_string();
        for bystander in BYSTANDERS {
            assert!(!text.contains(&format!("\"subject\":\"{bystander}\"")), "{}", path.display());
        }
    }
}

/// Every rule is shown by a sample: what it makes of an event is written down somewhere.
#[test]
fn every_rule_has_a_sample() {
    let intakes = Intakes::new();
    let delivery = Delivery {
        via: Via::Event,
        received_at: Timestamp::parse("2026-03-01T10:00:00Z").unwrap(),
        id: "the-delivery".to_owned(),
    };
    let mut shown = BTreeSet::new();
    for path in samples() {
        let explained = intakes.as_it_comes.explain(&std::fs::read(&path).unwrap(), &delivery).unwrap();
        shown.extend(explained.events.into_iter().flat_map(|event| event.rules).map(|rule| rule.rule));
    }
    let missing: Vec<&str> =
        intakes.as_it_comes.rules().map(|rule| rule.name).filter(|name| !shown.contains(*name)).collect();
    assert!(missing.is_empty(), "no sample shows {missing:?}");
}

/// A restore lifts its own authority's hold only: where a producer's rows for "out" and "back" arrive at different ones,
/// whoever is enabled again stays locked.
#[test]
fn what_brings_a_person_back_speaks_with_the_authority_that_locked() {
    let intakes = Intakes::new();
    let mut by_producer: BTreeMap<PathBuf, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for path in samples().into_iter().filter(|path| !path.parent().unwrap().ends_with("command")) {
        let folder = by_producer.entry(path.parent().unwrap().to_owned()).or_default();
        for signal in signals(&sample_becomes(&intakes, &path)) {
            let action = if signal["action"] == "restore" { "back" } else { "out" };
            folder.entry(action.to_owned()).or_default().insert(signal["authority"].as_str().unwrap().to_owned());
        }
    }
    assert!(by_producer.values().filter(|actions| actions.contains_key("back")).count() >= 9);
    for (producer, actions) in by_producer {
        let of = |action: &str| actions.get(action).cloned().unwrap_or_default();
        assert!(of("back").is_subset(&of("out")), "{}: {actions:?}", producer.display());
    }
}

/// Every signal in what a sample became.
fn signals(found: &Value) -> Vec<&Value> {
    match found {
        Value::Object(fields) if fields.contains_key("authority") => vec![found],
        Value::Object(fields) => fields.values().flat_map(signals).collect(),
        Value::Array(items) => items.iter().flat_map(signals).collect(),
        _ => Vec::new(),
    }
}

fn people(found: &Value) -> Vec<String> {
    let signals = found.as_array().or_else(|| found["signals"].as_array()).or_else(|| found["if_on"].as_array());
    let about = signals.into_iter().flatten().flat_map(|signal| signal["about"].as_array().unwrap());
    about
        .map(|about| about["subject"].as_str().or(about["unresolved"].as_str()).unwrap_or_default().to_owned())
        .collect()
}

fn actions(found: &Value) -> Vec<&str> {
    let signals = found.as_array().or_else(|| found["signals"].as_array()).or_else(|| found["if_on"].as_array());
    signals.into_iter().flatten().map(|signal| signal["action"].as_str().unwrap()).collect()
}

#[test]
fn every_producers_shape_means_the_same_bare_and_in_a_relays_event() {
    let intakes = Intakes::new();
    let means = |document: &Value| {
        let found = intakes.becomes(document.to_string().as_bytes(), Via::Event);
        let none = found.get("none").cloned();
        // Of whom only the event is known, it is called by the event's id.
        let people: Vec<String> = people(&found).into_iter().filter(|name| !name.starts_with("event ")).collect();
        (none, people, actions(&found).into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, document) in documents().into_iter().filter(|(_, document)| document.is_object()) {
        // A schedule is nobody's event, and what the new Security Hub says is known by its detail-type only.
        if ["schedule.json", "imported-v2-eventbridge.json"].iter().any(|name| path.ends_with(name)) {
            continue;
        }
        let is_wrapped = document.get("detail-type").is_some();
        let bare = document.get("detail").filter(|_| is_wrapped).unwrap_or(&document);
        let relayed = json!({"id": "eb-7", "source": "example.relay", "detail-type": "relayed", "detail": bare});
        let forms = [means(&document), means(bare), means(&relayed)];
        seen += 1;
        if forms.iter().any(|form| *form != forms[0]) {
            wrong.push(format!("{}: {forms:?}", path.display()));
        }
    }
    assert!(seen > 100 && wrong.is_empty(), "{seen}, {}", wrong.join("\n"));
}

/// Where reference payloads of real producers lie beside the project, they become what is expected of them.
#[test]
fn reference_payloads_become_what_is_expected() {
    let folder = root().parent().unwrap().join("shared/events");
    let Ok(table) = std::fs::read_to_string(folder.join("EXPECTED.tsv")) else { return };
    let intakes = Intakes::new();
    let mut wrong = Vec::new();
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (file, decision, name, note) = (columns[0], columns[1], columns[2], columns[3]);
        if file.starts_with("wrap-") {
            continue;
        }
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let found = intakes.becomes(&bytes, Via::Direct);
        let disconnects = note.contains("disconnect, no lock");
        let right = match decision {
            "TERMINATE" => {
                let action = if disconnects { "disconnect" } else { "revoke" };
                found.get("none").is_none() && actions(&found) == [action] && people(&found) == [name]
            }
            "REENABLE" => found.get("none").is_none() && actions(&found) == ["restore"] && people(&found) == [name],
            "RESOLVE" => {
                let unresolved = found[0]["about"][0].get("unresolved").is_some();
                unresolved && actions(&found) != ["restore"] && (name.is_empty() || people(&found) == [name])
            }
            "OPTIONAL" if file.starts_with("guardduty") => found["none"] == "IgnoredEvent",
            "OPTIONAL" => {
                let right = if disconnects { actions(&found) == ["disconnect"] } else { !actions(&found).is_empty() };
                found["none"] == "SwitchedOff" && people(&found) == [name] && right
            }
            "IGNORE" => matches!(found["none"].as_str(), Some("IgnoredEvent" | "UnknownEvent")),
            other => panic!("{file} expects {other}"),
        };
        if !right {
            wrong.push(format!("{file} should {decision} {name} ({note}) and became {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn reference_wraps_act_on_what_is_in_them_and_on_nothing_else() {
    let folder = root().parent().unwrap().join("shared/events");
    if !folder.is_dir() {
        return;
    }
    let intakes = Intakes::new();
    let wrap = |file: &str| sample_becomes(&intakes, &folder.join(file));
    let batch = wrap("wrap-eventbridge-batch-in-sqs.json");
    let became: Vec<Vec<String>> = batch.as_array().unwrap().iter().map(people).collect();
    assert_eq!(became[0], ["john.doe@example.com"]);
    assert!(batch[1][0]["about"][0].get("unresolved").is_some() && became[1].len() == 1);
    assert_eq!(became[2].len(), 1);
    assert_eq!([&batch[3]["none"], &batch[4]["none"]], ["UnreadableEvent", "BareCommand"]);
    assert_eq!(people(&wrap("wrap-eventbridge-in-sqs.json")[0]), ["john.doe@example.com"]);
    let in_sns = wrap("wrap-eventbridge-in-sns-in-sqs.json");
    assert_eq!(people(&in_sns[0]), ["93670dc30f-6d321996-eab8-4d2e-9f41-0db53b051a5b"]);
    for file in ["wrap-sns-in-sqs.json", "wrap-sqs-plain.json", "wrap-eventbridge-replay.json"] {
        let found = wrap(file);
        let records = found.as_array().cloned().unwrap_or_else(|| vec![found.clone()]);
        assert!(records.iter().all(|record| record.get("none").is_some()), "{file} became {found}");
    }
}

/// Every text in a document, by its JSON pointer.
fn texts(document: &Value) -> Vec<(String, String)> {
    fn walk(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
        match value {
            Value::String(text) => found.push((at.to_owned(), text.clone())),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| walk(item, &format!("{at}/{i}"), found));
            }
            Value::Object(fields) => fields.iter().for_each(|(key, item)| {
                walk(item, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(document, "", &mut found);
    found
}

/// Samples that are one JSON document of a producer's.
fn documents() -> Vec<(PathBuf, Value)> {
    let read = |path: PathBuf| {
        let document: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let is_command = path.parent().is_some_and(|folder| folder.ends_with("command"));
        (!is_command && document.get("Records").is_none()).then_some((path, document))
    };
    samples().into_iter().filter_map(read).collect()
}

/// Everybody named in the signals of a document.
fn named(intake: &Intake, document: &Value) -> Vec<String> {
    let delivery = Delivery {
        via: Via::Event,
        received_at: Timestamp::parse("2026-03-01T10:00:00Z").unwrap(),
        id: "the-delivery".to_owned(),
    };
    let signals =
        intake.read(document.to_string().as_bytes(), &delivery).map(Reading::into_signals).unwrap_or_default();
    let about = signals.into_iter().flat_map(|signal| signal.about);
    about
        .filter_map(|about| match about {
            About::Subject(subject) => Some(subject.received().to_owned()),
            _ => None,
        })
        .collect()
}

/// Whether a sample's text, by its JSON pointer, stands where its producer names the person. This is written down apart
/// from the rules, so that a rule that looks anywhere else is found out.
fn may_name(sample: &Path, document: &Value, at: &str) -> bool {
    let folder = sample.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let file = sample.file_name().unwrap().to_str().unwrap();
    let (parent, leaf) = at.rsplit_once('/').unwrap();
    let beside = |key: &str, value: &str| document.pointer(&format!("{parent}/{key}")) == Some(&json!(value));
    let under = |place: &str| parent.ends_with(place);
    match (folder, leaf) {
        ("okta", "alternateId") if parent.contains("/target/") => beside("type", "User"),
        ("okta", "alternateId") => {
            let locked =
                ["account-lock-no-target", "account-lock-other-targets"].iter().any(|lock| file.starts_with(lock));
            under("/actor") && locked
        }
        ("okta", "email" | "sub") => parent == "/sub_id",
        ("entra" | "wrapped", "userPrincipalName") if parent.contains("/targetResources/") => beside("type", "User"),
        ("entra", "userPrincipalName") => under("/properties") && file.starts_with("risk"),
        ("entra", "ObjectId") => file.starts_with("o365"),
        ("google", "value") => beside("name", "USER_EMAIL") || beside("name", "affected_email_address"),
        ("active-directory", "sAMAccountName" | "SAMAccountName" | "memberName") => under("/requestParameters"),
        ("auth0", "email" | "username") => under("/details/response/body") || under("/data/object"),
        ("cognito", "username") | ("iam", "userName") => under("/requestParameters"),
        ("duo", "object") | ("scim", "userName") => true,
        ("duo", "name") => under("/user"),
        ("guardduty", "userName") => under("/accessKeyDetails") && file.starts_with("iam-user"),
        ("guardduty", "principalId") => under("/accessKeyDetails"),
        ("jumpcloud", "username") => under("/resource"),
        ("pingone", "name") => parent.contains("/resources/") && beside("type", "USER"),
        ("security-hub", "UserName") => under("/AwsIamAccessKey") || under("/AwsIamUser"),
        ("security-hub", "PrincipalId") => under("/AwsIamAccessKey"),
        ("shared-signals", _) => parent.contains("/sub_id") || parent.contains("/subject"),
        _ => false,
    }
}

/// A name, a name with a domain before it, and the form in which AWS writes a role session.
const PLANTS: [&str; 3] = ["mallory@example.com", "CORP\\mallory", "AROADEMOROLE0000001:mallory@example.com"];

#[test]
fn a_name_planted_anywhere_else_is_never_the_subject() {
    let intakes = Intakes::new();
    let (mut planted, mut named_there) = (0, 0);
    for (path, document) in documents() {
        for (at, _) in texts(&document) {
            for plant in PLANTS {
                let mut changed = document.clone();
                *changed.pointer_mut(&at).unwrap() = json!(plant);
                let found = named(&intakes.all_on, &changed);
                let meant = found.iter().any(|name| name.contains("mallory"));
                let allowed = may_name(&path, &document, &at);
                assert!(allowed || !meant, "{} at {at}: {found:?}", path.display());
                planted += usize::from(!allowed);
                named_there += usize::from(meant);
            }
        }
    }
    assert!(planted > 5_000 && named_there > 100, "{planted} {named_there}");
}

/// The words of a Windows event in a log line, and where in it they stand.
fn words(line: &str) -> Vec<(usize, &str)> {
    let breaks = |c: char| c.is_whitespace() || "<>\"'[]".contains(c);
    let words = line.split(breaks).filter(|word| !word.is_empty());
    words.map(|word| (word.as_ptr() as usize - line.as_ptr() as usize, word)).collect()
}

#[test]
fn a_name_planted_in_a_log_line_is_never_the_subject() {
    let intakes = Intakes::new();
    let (mut planted, mut named_there) = (0, 0);
    for (path, document) in documents() {
        let lines = document["logEvents"].as_array().cloned().unwrap_or_default();
        for (number, line) in lines.iter().enumerate() {
            let line = line["message"].as_str().unwrap();
            for (at, word) in words(line) {
                let before = &line[..at];
                let in_xml = before.ends_with("<Data Name=\"TargetUserName\">");
                let in_text = before.trim_end().ends_with("Account Name:") && before.contains("Target Account:");
                let mut changed = document.clone();
                changed["logEvents"][number]["message"] = json!(format!("{before}mallory{}", &line[at + word.len()..]));
                let meant = named(&intakes.all_on, &changed).iter().any(|name| name.contains("mallory"));
                assert!(in_xml || in_text || !meant, "{}: {before}", path.display());
                planted += 1;
                named_there += usize::from(meant);
            }
        }
    }
    assert!(planted > 500 && named_there >= 10, "{planted} {named_there}");
}

mod properties {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static INTAKES: LazyLock<Intakes> = LazyLock::new(Intakes::new);
    static DOCUMENTS: LazyLock<Vec<(PathBuf, Value)>> = LazyLock::new(documents);

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn names_planted_in_many_places_at_once_are_never_subjects(
            which in any::<prop::sample::Index>(),
            places in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
            plant in "mallory-[a-z]{3}@example\\.(com|org)",
        ) {
            let (path, document) = which.get(&DOCUMENTS);
            let everywhere = texts(document).into_iter().map(|(at, _)| at);
            let free: Vec<String> = everywhere.filter(|at| !may_name(path, document, at)).collect();
            prop_assume!(!free.is_empty());
            let mut changed = document.clone();
            for place in places {
                *changed.pointer_mut(place.get::<String>(&free)).unwrap() = json!(plant);
            }
            let found = named(&INTAKES.all_on, &changed);
            prop_assert!(!found.contains(&plant), "{} became {found:?}", path.display());
        }

        /// A byte here and there changed, cut off or put in: an answer, and nobody but whoever stands in the bytes.
        #[test]
        fn a_mangled_sample_gets_an_answer_and_names_no_bystander(
            which in any::<prop::sample::Index>(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
        ) {
            let (path, document) = which.get(&DOCUMENTS);
            let mut bytes = document.to_string().into_bytes();
            for (at, byte, how) in edits {
                let at = at.index(bytes.len().max(1));
                match how {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let delivery = Delivery {
                via: Via::Event,
                received_at: Timestamp::parse("2026-03-01T10:00:00Z").unwrap(),
                id: "the-delivery".to_owned(),
            };
            let _ = INTAKES.all_on.explain(&bytes, &delivery);
            let signals = INTAKES.all_on.read(&bytes, &delivery).map(Reading::into_signals).unwrap_or_default();
            for about in signals.iter().flat_map(|signal| &signal.about) {
                prop_assert!(!BYSTANDERS.contains(&about.label().as_str()), "{} named {}", path.display(), about.label());
            }
        }
    }
}
