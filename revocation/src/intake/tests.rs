use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::name::Subject;
use crate::signal::{About, Action, Authority};

fn intake() -> Intake {
    Intake::built_in().unwrap()
}

fn received() -> Timestamp {
    Timestamp::parse("2026-03-01T09:30:00Z").unwrap()
}

fn delivery(via: Via) -> Delivery {
    Delivery { via, received_at: received(), id: "request-1".to_owned() }
}

fn read(via: Via, payload: &Value) -> Result<Reading, Rejected> {
    intake().read(payload.to_string().as_bytes(), &delivery(via))
}

fn command(payload: &Value) -> Result<Signal, Rejected> {
    match read(Via::Direct, payload)? {
        Reading::Command(signal) => Ok(*signal),
        Reading::Events { .. } => panic!("taken for an event"),
    }
}

fn problem(payload: &Value) -> (String, String) {
    match read(Via::Direct, payload) {
        Err(Rejected::InvalidCommand { field, problem, via: Via::Direct }) => (field, problem),
        other => panic!("{payload} gave {other:?}"),
    }
}

fn okta(kind: &str) -> Value {
    json!({
        "source": "aws.partner/okta.com/acme/stream", "detail-type": "SystemLog", "id": "eb-1",
        "detail": {
            "uuid": "u-1", "eventType": kind, "published": "2026-03-01T09:29:00.500Z",
            "outcome": {"result": "SUCCESS"},
            "actor": {"type": "User", "alternateId": "admin@example.com"},
            "target": [{"type": "User", "id": "00u1", "alternateId": "alice@example.com"}],
        },
    })
}

fn only(reading: Reading) -> Signal {
    let mut signals = reading.into_signals();
    assert_eq!(signals.len(), 1);
    signals.remove(0)
}

#[test]
fn the_actor_is_the_administrator_and_never_the_subject() {
    let signal = only(read(Via::Event, &okta("user.lifecycle.deactivate")).unwrap());
    assert_eq!(signal.about, [About::Subject(Subject::new("alice@example.com").unwrap())]);
    assert_eq!(signal.actor.as_deref(), Some("admin@example.com"));
    assert_eq!(signal.authority.as_str(), "okta:acme");
    assert_eq!(signal.id.as_str(), "okta:u-1");
    assert_eq!(signal.as_of, Timestamp::parse("2026-03-01T09:29:00.500Z").unwrap());
    assert_eq!(signal.source, "aws.partner/okta.com/acme/stream");
}

#[test]
fn the_same_event_has_the_same_id_over_every_transport() {
    let wrapped = okta("user.lifecycle.suspend");
    let bare = wrapped["detail"].clone();
    let hook = json!({"eventType": "com.okta.event_hook", "source": "https://acme.okta.com/api/v1/eventHooks/1", "data": {"events": [bare]}});
    let sns = json!({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:t", "Message": wrapped.to_string()});
    let ids: Vec<(String, Via)> =
        [(&wrapped, Via::Event), (&bare, Via::Direct), (&hook, Via::Event), (&sns, Via::Event)]
            .into_iter()
            .map(|(payload, via)| (only(read(via, payload).unwrap()).id.to_string(), via))
            .collect();
    assert!(ids.iter().all(|(id, _)| id == "okta:u-1"), "{ids:?}");
    let authority = |payload: &Value| only(read(Via::Event, payload).unwrap()).authority.to_string();
    assert_eq!(
        [authority(&wrapped), authority(&hook), authority(&sns), authority(&bare)],
        ["okta:acme", "okta:acme", "okta:acme", "okta"]
    );
}

#[test]
fn a_preview_tenant_is_not_its_production_namesake() {
    let hook = |host: &str| json!({"eventType": "com.okta.event_hook", "source": format!("https://{host}/api/v1/eventHooks/1"), "data": {"events": [okta("user.lifecycle.suspend")["detail"]]}});
    let authority = |host: &str| only(read(Via::Event, &hook(host)).unwrap()).authority.to_string();
    assert_eq!(authority("acme.oktapreview.com"), "okta:acme.oktapreview.com");
    assert_eq!(authority("login.example.com"), "okta:login.example.com");
}

#[test]
fn a_restore_lifts_the_producers_own_hold_only() {
    let signal = only(read(Via::Event, &okta("user.lifecycle.unsuspend")).unwrap());
    assert_eq!(signal.action, Action::Restore { authorities: Some(vec![Authority::named("okta:acme")]) });
}

#[test]
fn logouts_failures_and_sign_ins_say_nothing() {
    let mut failed = okta("user.lifecycle.deactivate");
    failed["detail"]["outcome"]["result"] = json!("FAILURE");
    for payload in [okta("user.session.end"), okta("user.session.start"), okta("user.account.lock"), failed] {
        assert!(matches!(read(Via::Event, &payload), Err(Rejected::Unknown(_))), "{payload}");
    }
}

#[test]
fn somebody_without_a_usable_name_is_unresolved_by_the_producers_id() {
    for name in ["unknown", "", "#head/alice"] {
        let mut event = okta("user.lifecycle.deactivate");
        event["detail"]["target"][0]["alternateId"] = json!(name);
        let signal = only(read(Via::Event, &event).unwrap());
        assert_eq!(signal.about, [About::Unresolved { producer: "okta".to_owned(), id: "00u1".to_owned() }]);
    }
    let mut nobody = okta("user.lifecycle.deactivate");
    nobody["detail"]["target"] = json!([]);
    let signal = only(read(Via::Event, &nobody).unwrap());
    assert_eq!(signal.about[0].chain(), "#id/okta/event u-1/0");
}

#[test]
fn a_producers_clock_is_believed_only_about_the_past() {
    let mut event = okta("user.lifecycle.deactivate");
    event["detail"]["published"] = json!("2027-01-01T00:00:00Z");
    let signal = only(read(Via::Event, &event).unwrap());
    assert_eq!(signal.as_of, received());
    assert_eq!(signal.occurred_at, Timestamp::parse("2027-01-01T00:00:00Z"));
    event["detail"]["published"] = json!("soon");
    let signal = only(read(Via::Event, &event).unwrap());
    assert_eq!((signal.as_of, signal.occurred_at), (received(), None));
}

#[test]
fn a_command_with_everything_is_read() {
    let signal = command(&json!({
        "action": "revoke", "subjects": ["Alice@example.com", "bob"], "reason": "INC-1", "requested_by": "jane",
        "id": "c-1", "expires_in": "PT12H", "dry_run": true, "force": true,
    }))
    .unwrap();
    assert_eq!(signal.action, Action::Revoke { expires_at: Timestamp::parse("2026-03-01T21:30:00Z") });
    assert_eq!((signal.id.as_str(), signal.authority.as_str(), signal.about.len()), ("c-1", "command", 2));
    assert_eq!(
        (signal.actor.as_deref(), signal.as_of, signal.dry_run, signal.force),
        (Some("jane"), received(), true, true)
    );
    assert_eq!(command(&json!({"action": "restore", "username": "alice"})).unwrap().id.as_str(), "request-1");
}

#[test]
fn a_mistake_in_a_command_names_the_field() {
    let cases = [
        (json!({"action": "revoke", "subjects": ["alice"], "urgency": 1}), "urgency"),
        (json!({"action": "revoke", "subjects": ["alice", " "]}), "subjects[1]"),
        (json!({"action": "revoke", "subjects": ["N/A"]}), "subjects[0]"),
        (json!({"action": "revoke", "subjects": []}), "subjects"),
        (json!({"action": "revoke", "subjects": "alice"}), "subjects"),
        (json!({"action": "revoke", "subjects": [1]}), "subjects"),
        (json!({"action": "revoke"}), "subjects"),
        (json!({"action": "disconnect"}), "subjects"),
        (json!({"action": "revoke", "username": ""}), "username"),
        (json!({"action": "revoke", "username": "a", "subjects": ["b"]}), "username"),
        (
            json!({"action": "revoke", "endpoint_id": "cvpn-endpoint-1", "connection_id": "cvpn-connection-1"}),
            "connection_id",
        ),
        (json!({"action": "disconnect", "endpoint_id": "cvpn-endpoint-1"}), "connection_id"),
        (json!({"action": "disconnect", "connection_id": "cvpn-connection-1"}), "endpoint_id"),
        (json!({"action": "disconnect", "connection_id": "i-1", "endpoint_id": "cvpn-endpoint-1"}), "connection_id"),
        (json!({"action": "disconnect", "username": "a", "connection_id": "cvpn-connection-1"}), "connection_id"),
        (json!({"action": "revoke", "username": "a", "expires_in": "12h"}), "expires_in"),
        (json!({"action": "disconnect", "username": "a", "expires_in": "PT1H"}), "expires_in"),
        (json!({"action": "revoke", "username": "a", "authorities": ["okta"]}), "authorities"),
        (json!({"action": "restore", "username": "a", "authorities": []}), "authorities"),
        (json!({"action": "revoke", "username": "a", "force": true}), "force"),
        (json!({"action": "revoke", "username": "a", "dry_run": "yes"}), "dry_run"),
        (json!({"action": "revoke", "username": "a", "reason": 7}), "reason"),
        (json!({"action": "kill", "username": "a"}), "action"),
        (json!({"action": "sweep"}), "action"),
        (json!({"action": 3, "username": "a"}), "action"),
        (json!({"username": "a", "reason": "forgot"}), "action"),
        (json!({"subjects": ["a"], "ticket": "7"}), "ticket"),
        (json!({"action": "Revoke", "subjects": ["a"]}), "action"),
        (json!({"action": "REVOKE", "subjects": ["a"], "ticket": "7"}), "ticket"),
        (json!({"action": "revoke", "subjects": vec!["a"; 1001]}), "subjects"),
    ];
    for (payload, field) in cases {
        let (found, message) = problem(&payload);
        assert_eq!(found, field, "{payload}: {message}");
    }
}

#[test]
fn a_bare_command_is_taken_from_nobody_but_a_direct_invoke() {
    let bare = json!({"action": "revoke", "username": "alice"});
    assert_eq!(read(Via::Event, &bare), Err(Rejected::BareCommand));
    let sns = json!({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": bare.to_string()});
    for via in [Via::Event, Via::Direct] {
        assert_eq!(read(via, &sns), Err(Rejected::BareCommand), "a topic's message is no direct command");
    }
    for unrelated in [json!({"username": "alice", "message": "hi"}), json!({"username": "alice", "reason": "manual"})] {
        assert!(read(Via::Event, &unrelated).is_err());
    }
}

#[test]
fn a_wrapped_command_is_an_event_even_in_a_direct_invoke() {
    let event = |source: &str| json!({"source": source, "detail-type": "VPN Revoker Command", "id": "eb-9", "detail": {"action": "revoke", "username": "alice"}});
    let signal = only(read(Via::Direct, &event("vpn-revoker")).unwrap());
    assert_eq!((signal.via, signal.id.as_str(), signal.source.as_str()), (Via::Event, "eb-9", "vpn-revoker"));
    assert!(
        matches!(read(Via::Event, &event("vpn-revoker.audit")), Err(Rejected::Unknown(_))),
        "our own entries are no commands"
    );
}

#[test]
fn what_cannot_be_read_gets_an_answer() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let wide = json!({"detail": "x".repeat(1 << 20)}).to_string();
    for payload in ["", "not json {", "null", "[]", "\"text\"", "7", &deep, &wide, "{\"detail\":{}}", "\u{0}"] {
        assert!(intake().read(payload.as_bytes(), &delivery(Via::Event)).is_err());
    }
    assert_eq!(intake().read(&[0xff, 0xfe], &delivery(Via::Event)).unwrap_err().error_type(), "UnreadableEvent");
}

#[test]
fn a_rejection_quotes_nothing_of_the_content() {
    let secret = r#"{"token":"s3cr3t", oops"#;
    let error = intake().read(secret.as_bytes(), &delivery(Via::Event)).unwrap_err().to_string();
    assert!(!error.contains("s3cr3t"), "{error}");
}

/// Replaces the text at every place of a document, one after another.
fn planted(document: &Value, plant: &str) -> Vec<Value> {
    fn walk(value: &Value, path: &mut Vec<String>, found: &mut Vec<String>) {
        match value {
            Value::String(_) => {
                found.push(path.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect());
            }
            Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| {
                path.push(i.to_string());
                walk(item, path, found);
                path.pop();
            }),
            Value::Object(fields) => fields.iter().for_each(|(key, item)| {
                path.push(key.clone());
                walk(item, path, found);
                path.pop();
            }),
            _ => {}
        }
    }
    let mut places = Vec::new();
    walk(document, &mut Vec::new(), &mut places);
    let plant_at = |place: &String| {
        let mut changed = document.clone();
        *changed.pointer_mut(place).unwrap() = json!(plant);
        (place.clone(), changed)
    };
    places
        .iter()
        .map(plant_at)
        .filter(|(place, _)| place != "/detail/target/0/alternateId")
        .map(|(_, changed)| changed)
        .collect()
}

#[test]
fn an_address_anywhere_else_in_an_event_is_never_the_subject() {
    for document in planted(&okta("user.lifecycle.deactivate"), "mallory@example.com") {
        for signal in read(Via::Event, &document).map(Reading::into_signals).unwrap_or_default() {
            assert!(signal.about.iter().all(|about| about.label() != "mallory@example.com"), "{document}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = intake().read(&bytes, &delivery(Via::Event));
    }

    #[test]
    fn a_cut_event_never_names_anybody_else(cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = okta("user.lifecycle.deactivate").to_string().into_bytes();
        let at = cut.index(bytes.len());
        bytes[at] = byte;
        if let Ok(reading) = intake().read(&bytes, &delivery(Via::Event)) {
            for signal in reading.into_signals() {
                prop_assert!(signal.about.iter().all(|about| about.label() != "admin@example.com"));
            }
        }
    }
}
