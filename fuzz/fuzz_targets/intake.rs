//! Any bytes get an answer, and nobody is ever meant whose name does not stand in them as a text.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use revocation::intake::{Delivery, Intake};
use revocation::signal::{About, Via};
use revocation::time::Timestamp;
use serde_json::{Value, json};

/// The built-in rules, each of them on.
static INTAKE: LazyLock<Intake> = LazyLock::new(|| {
    let built_in = Intake::built_in().expect("the built-in rules compile");
    let off: Vec<&str> = built_in.rules().filter(|rule| !rule.on).map(|rule| rule.name).collect();
    let all_on = json!({ "on": off }).to_string();
    Intake::with_rules(Some(("all on", &all_on))).expect("every rule can be switched on")
});

fuzz_target!(|bytes: &[u8]| {
    let payload: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let mut texts = Vec::new();
    collect(&payload, &mut texts);
    for via in [Via::Direct, Via::Event] {
        let delivery = Delivery { via, received_at: Timestamp::from_millis(1_772_357_400_000), id: "m".to_owned() };
        let explained = INTAKE.explain(bytes, &delivery);
        let Ok(reading) = INTAKE.read(bytes, &delivery) else { continue };
        assert!(explained.is_ok(), "what can be read can be explained");
        for signal in reading.into_signals() {
            assert!(!signal.about.is_empty(), "a signal is about somebody");
            for about in &signal.about {
                let About::Subject(subject) = about else { continue };
                assert!(!subject.name().as_str().starts_with('#'), "reserved keys are nobody's name");
                let stands = texts.iter().any(|text| text.contains(subject.received()));
                assert!(stands || is_packed(&payload), "`{}` stands nowhere", subject.received());
            }
        }
    }
});

/// Every text and number in a document, also in documents inside its texts.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if let Ok(inner) = serde_json::from_str::<Value>(text)
                && !inner.is_string()
            {
                collect(&inner, texts);
            }
            texts.push(text.clone());
        }
        Value::Number(number) => texts.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(fields) => fields.values().for_each(|item| collect(item, texts)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Whether texts may be hidden from a plain look: compressed log lines, or XML with its escapes.
fn is_packed(payload: &Value) -> bool {
    let text = payload.to_string();
    text.contains("awslogs") || text.contains("logEvents")
}
