//! Whatever somebody writes into a rules file, it is taken or refused with every mistake named; and rules that are taken
//! make nobody's name out of nothing.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use revocation::intake::{Delivery, Intake};
use revocation::signal::{About, Via};
use revocation::time::Timestamp;

/// Events to try rules on that are taken.
static EVENTS: LazyLock<Vec<&[u8]>> = LazyLock::new(|| {
    vec![
        include_bytes!("../../events/okta/deactivate-eventbridge.json"),
        include_bytes!("../../events/entra/disable-account.json"),
        include_bytes!("../../events/scim/patch-false-as-text.json"),
        include_bytes!("../../events/wrapped/sqs-many-producers.json"),
    ]
});

fuzz_target!(|text: &str| {
    let intake = match Intake::with_rules(Some(("fuzz", text))) {
        Ok(intake) => intake,
        Err(error) => {
            assert!(!error.mistakes().is_empty(), "a refusal says why");
            return;
        }
    };
    let delivery =
        Delivery { via: Via::Event, received_at: Timestamp::from_millis(1_772_357_400_000), id: "m".to_owned() };
    for event in EVENTS.iter() {
        let Ok(reading) = intake.read(event, &delivery) else { continue };
        let text = String::from_utf8_lossy(event);
        for about in reading.into_signals().iter().flat_map(|signal| &signal.about) {
            let About::Subject(subject) = about else { continue };
            let plain = subject.received().chars().all(|c| c.is_ascii_alphanumeric() || "@._-".contains(c));
            assert!(!plain || text.contains(subject.received()), "`{}` stands nowhere", subject.received());
        }
    }
});
