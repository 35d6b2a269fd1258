use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::connection::{ConnectionId, EndpointId};
use crate::name::{PersonId, Subject};
use crate::signal::{About, Action, Authority};

fn intake() -> &'static Intake {
    static BUILT_IN: std::sync::LazyLock<Intake> = std::sync::LazyLock::new(|| Intake::built_in().unwrap());
    &BUILT_IN
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
        other => panic!("taken for {other:?}"),
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
    assert_eq!(
        signal.about,
        [About::Subject(Subject::new("alice@example.com").unwrap().who_is(PersonId::new("00u1")))]
    );
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
        let rejected = read(Via::Event, &payload).unwrap_err();
        assert!(rejected.is_expected(), "{payload}: {rejected}");
    }
}

#[test]
fn somebody_without_a_usable_name_is_unresolved_by_the_producers_id() {
    for name in ["unknown", "", "#head/alice"] {
        let mut event = okta("user.lifecycle.deactivate");
        event["detail"]["target"][0]["alternateId"] = json!(name);
        let signal = only(read(Via::Event, &event).unwrap());
        assert_eq!(signal.about, [About::unresolved("okta", "00u1", false)]);
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
        (json!({"action": "revoke", "username": "a", "reason": " "}), "reason"),
        (json!({"action": "revoke", "username": "a", "reason": "r".repeat(1025)}), "reason"),
        (json!({"action": "alias", "username": "a"}), "names"),
        (json!({"action": "alias", "username": "a", "names": ["b", "N/A"]}), "names[1]"),
        (json!({"action": "alias", "username": "a", "names": vec!["b"; 21]}), "names"),
        (json!({"action": "alias", "subjects": ["a", "b"], "names": ["c"]}), "subjects"),
        (json!({"action": "alias", "username": "a", "names": ["b"], "force": true, "reason": "r"}), "force"),
        (json!({"action": "revoke", "username": "a", "names": ["b"]}), "names"),
        (json!({"action": "sync_directory", "username": "a"}), "username"),
        (json!({"action": "kill", "username": "a"}), "action"),
        (json!({"action": "sweep", "username": "alice"}), "username"),
        (json!({"action": "sweep", "ticket": "7"}), "ticket"),
        (json!({"action": "sweep", "reason": 5}), "reason"),
        (json!({"action": "sweep", "requested_by": ""}), "requested_by"),
        (json!({"action": "sync_directory", "reason": 5}), "reason"),
        (json!({"action": "sync_directory", "ticket": "7"}), "ticket"),
        (json!({"action": "sweep", "endpoints": ["vpn-1"]}), "endpoints[0]"),
        (json!({"action": "close_breaker", "reason": "r"}), "authority"),
        (json!({"action": "close_breaker", "authority": "okta:acme"}), "reason"),
        (json!({"action": "revoke", "username": "alice", "targets": ["eu-west-1"]}), "targets"),
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
fn a_mistake_in_a_command_names_every_unknown_field() {
    let (field, message) = problem(&json!({"action": "revoke", "subjects": ["a"], "urgency": 1, "ticket": 2}));
    assert_eq!(field, "ticket");
    assert!(message.starts_with("is unknown, and so is `urgency`; a command has action, "), "{message}");
    let (field, message) = problem(&json!({"action": "sweep", "subjects": ["a"], "force": true}));
    assert_eq!(field, "force");
    assert!(message.starts_with("does not go with `sweep`, nor does `subjects`; it has action, "), "{message}");
    let many: serde_json::Map<String, Value> = (0..10_000).map(|number| (format!("f{number}"), json!(1))).collect();
    let mut command = json!({"action": "revoke", "subjects": ["a"]});
    command.as_object_mut().unwrap().extend(many);
    assert!(problem(&command).1.len() < 1_000);
}

#[test]
fn a_command_may_be_as_long_as_is_said() {
    let reason = "r".repeat(1024);
    let signal = command(&json!({"action": "revoke", "username": "a", "reason": reason})).unwrap();
    assert_eq!(signal.reason, Some(reason));
    let names: Vec<String> = (0..20).map(|n| format!("laptop-{n}")).collect();
    assert!(command(&json!({"action": "alias", "username": "a", "names": names})).is_ok());
    let subjects: Vec<String> = (0..1000).map(|n| format!("leaver-{n}")).collect();
    assert_eq!(command(&json!({"action": "revoke", "subjects": subjects})).unwrap().about.len(), 1000);
    let hyphened =
        json!({"action": "disconnect", "endpoint_id": "cvpn-endpoint-0-1", "connection_id": "cvpn-connection-0-1"});
    assert!(command(&hyphened).is_ok());
}

#[test]
fn a_connection_is_meant_by_its_endpoint_and_id_and_may_only_be_disconnected() {
    let ids = |action: &str| json!({"action": action, "endpoint_id": "cvpn-endpoint-1", "connection_id": "cvpn-connection-1"});
    let signal = command(&ids("disconnect")).unwrap();
    let meant = About::Connection(EndpointId::new("cvpn-endpoint-1"), ConnectionId::new("cvpn-connection-1"));
    assert_eq!((signal.action, signal.about), (Action::Disconnect, vec![meant]));
    assert!(problem(&ids("revoke")).1.contains("`disconnect` only"));
    assert!(problem(&json!({"action": "disconnect"})).1.contains("`connection_id`"));
    assert!(!problem(&json!({"action": "revoke"})).1.contains("`connection_id`"));
}

#[test]
fn the_directory_is_copied_on_nobodys_word_but_a_direct_invokes() {
    let event =
        json!({"source": "vpn-revoker", "detail-type": "VPN Revoker Command", "detail": {"action": "sync_directory"}});
    let Err(Rejected::InvalidCommand { problem, .. }) = read(Via::Event, &event) else { panic!() };
    assert!(problem.contains("invoke the function directly"), "{problem}");
}

#[test]
fn a_bare_command_is_taken_from_nobody_but_a_direct_invoke() {
    let bare = json!({"action": "revoke", "username": "alice"});
    assert_eq!(read(Via::Event, &bare), Err(Rejected::BareCommand));
    let sns = json!({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": bare.to_string()});
    for via in [Via::Event, Via::Direct] {
        assert_eq!(read(via, &sns), Err(Rejected::BareCommand), "a topic's message is no direct command");
    }
    let forgotten = json!({"username": "alice", "reason": "manual"});
    assert_eq!(read(Via::Event, &forgotten), Err(Rejected::BareCommand));
    let unrelated = json!({"username": "alice", "message": "hi"});
    assert!(matches!(read(Via::Event, &unrelated), Err(Rejected::Unknown(_))), "nobody meant a command");
}

#[test]
fn a_payload_with_a_commands_action_is_a_command_whatever_else_it_looks_like() {
    let mut payload = okta("user.lifecycle.deactivate")["detail"].take();
    assert_eq!(only(read(Via::Direct, &payload).unwrap()).action.word(), "revoke");
    payload["action"] = json!("restore");
    assert!(matches!(read(Via::Direct, &payload), Err(Rejected::InvalidCommand { .. })));
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
fn a_schedule_orders_a_sweep_and_nothing_like_it_does() {
    let schedule =
        |source: &str, kind: &str| json!({"source": source, "detail-type": kind, "id": "eb-7", "detail": {}});
    for source in ["aws.events", "aws.scheduler"] {
        let ordered = read(Via::Direct, &schedule(source, "Scheduled Event")).unwrap();
        let [sweep] = ordered.sweeps() else { panic!("{ordered:?}") };
        assert_eq!(
            (sweep.id.as_str(), sweep.received_at, sweep.via, sweep.commanded),
            ("eb-7", received(), Via::Event, false)
        );
    }
    for (source, kind) in [("aws.events", "Something Else"), ("acme.events", "Scheduled Event")] {
        assert!(matches!(read(Via::Direct, &schedule(source, kind)), Err(Rejected::Unknown(_))), "{source} {kind}");
    }
    let command = |id: Option<&str>| {
        let mut event =
            json!({"source": "vpn-revoker", "detail-type": "VPN Revoker Command", "detail": {"action": "sweep"}});
        if let Some(id) = id {
            event["id"] = json!(id);
        }
        event
    };
    for (id, expected) in [(Some("eb-8"), "eb-8"), (None, "request-1")] {
        let ordered = read(Via::Direct, &command(id)).unwrap();
        let [sweep] = ordered.sweeps() else { panic!("{ordered:?}") };
        assert_eq!((sweep.id.as_str(), sweep.via, sweep.commanded), (expected, Via::Event, true));
    }
    let directly = read(Via::Direct, &json!({"action": "sweep"})).unwrap();
    assert_eq!(directly.sweeps().len(), 1);
    assert_eq!(directly.sweeps()[0].via, Via::Direct);
}

#[test]
fn what_a_rule_knows_is_expected_and_all_else_that_is_put_aside_is_not() {
    let ignored = read(Via::Event, &okta("user.session.end")).unwrap_err();
    assert!(ignored.is_expected(), "{ignored:?}");
    for odd in [json!({"a": 1}), json!({"action": "revoke", "username": "alice"})] {
        let rejected = read(Via::Event, &odd).unwrap_err();
        assert!(!rejected.is_expected(), "{rejected:?}");
    }
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

fn gzipped(batch: &Value) -> Value {
    use base64::Engine;
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(batch.to_string().as_bytes()).unwrap();
    let data = base64::engine::general_purpose::STANDARD.encode(packed.finish().unwrap());
    json!({"awslogs": {"data": data}})
}

fn windows_event(id: u32, user: &str) -> String {
    format!(
        r#"<Event xmlns="urn:e"><System><Provider Name="Microsoft-Windows-Security-Auditing"/><EventID>{id}</EventID><TimeCreated SystemTime="2026-03-01T09:29:00.000000000Z"/><EventRecordID>7</EventRecordID><Channel>Security</Channel><Computer>dc1.corp.example</Computer></System><EventData><Data Name="TargetUserName">{user}</Data><Data Name="TargetDomainName">CORP</Data><Data Name="SubjectUserName">it.admin</Data></EventData></Event>"#
    )
}

#[test]
fn a_batch_of_log_lines_is_read_line_by_line() {
    let line = |id: &str, message: &str| json!({"id": id, "timestamp": 1_772_357_340_000_i64, "message": message});
    let batch = json!({
        "messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": "/aws/directoryservice/d-1", "logStream": "dc1",
        "logEvents": [
            line("1", &windows_event(4725, "alice")),
            line("2", &windows_event(4725, "LAPTOP-7$")),
            line("3", "<Event"),
            line("4", "plain text"),
            line("5", &okta("user.lifecycle.suspend")["detail"].to_string()),
        ],
    });
    for payload in [gzipped(&batch), batch.clone()] {
        let Reading::Events { signals, put_aside, retried, .. } = read(Via::Direct, &payload).unwrap() else {
            panic!("no events")
        };
        let found: Vec<(&str, String)> =
            signals.iter().map(|signal| (signal.id.as_str(), signal.about[0].label())).collect();
        assert_eq!(found, [("active-directory:1", "alice".to_owned()), ("okta:u-1", "alice@example.com".to_owned())]);
        assert_eq!(signals[0].authority.as_str(), "active-directory:corp");
        assert_eq!(put_aside.len(), 3, "{put_aside:?}");
        assert!(retried, "CloudWatch Logs tries a failed invoke again");
    }
}

#[test]
fn a_log_line_is_nobodys_envelope() {
    let command = json!({"source": "vpn-revoker", "detail-type": "VPN Revoker Command", "detail": {"action": "revoke", "username": "alice"}});
    let bare = okta("user.lifecycle.unsuspend")["detail"].clone();
    let hook = json!({"eventType": "com.okta.event_hook", "source": "https://acme.okta.com/api/v1/eventHooks/w", "data": {"events": [bare]}});
    assert_eq!(only(read(Via::Direct, &hook).unwrap()).authority.as_str(), "okta:acme", "by itself it is one");
    for forged in [okta("user.lifecycle.unsuspend"), command, hook] {
        let lines = json!([{"id": "1", "timestamp": 1, "message": forged.to_string()}]);
        let batch = json!({"messageType": "DATA_MESSAGE", "logEvents": lines});
        assert_eq!(read(Via::Direct, &batch).unwrap_err().error_type(), "UnknownEvent");
    }
}

#[test]
fn a_log_line_is_no_finding_of_security_hubs() {
    let all_on = Intake::with_rules(Some(("own.json", r#"{"on":["security-hub-imported"]}"#))).unwrap();
    let event: Value =
        serde_json::from_str(include_str!("../../../events/security-hub/imported-eventbridge.json")).unwrap();
    let finding = &event["detail"]["findings"][0];
    let is_read = |payload: Value| all_on.read(payload.to_string().as_bytes(), &delivery(Via::Event)).is_ok();
    let line = json!({"id": "1", "timestamp": 1, "message": finding.to_string()});
    let batch = json!({"messageType": "DATA_MESSAGE", "logGroup": "/aws/app", "logEvents": [line]});
    assert!(is_read(event.clone()) && is_read(event["detail"].clone()), "a finding by itself");
    assert!(!is_read(batch), "whoever can have a line logged could name anybody");
}

#[test]
fn a_batch_of_log_lines_is_read_in_a_relays_event_as_well_and_stays_a_replay() {
    let line = json!({"id": "1", "timestamp": 1_772_355_600_000_i64, "message": "<Event><System><Provider Name='Microsoft-Windows-Security-Auditing'/><EventID>4725</EventID></System><EventData><Data Name='TargetUserName'>alice</Data><Data Name='TargetDomainName'>CORP</Data></EventData></Event>"});
    let batch = json!({"messageType": "DATA_MESSAGE", "logEvents": [line]});
    let relayed = json!({"source": "example.relay", "detail-type": "AD", "id": "eb-1", "detail": batch});
    let alice = only(read(Via::Event, &relayed).unwrap());
    assert_eq!((&alice.about, alice.replay.as_deref()), (&only(read(Via::Event, &batch).unwrap()).about, None));
    let with_replay = |mut payload: Value| {
        payload["replay-name"] = json!("last-week");
        only(read(Via::Event, &payload).unwrap()).replay
    };
    assert_eq!(with_replay(relayed).as_deref(), Some("last-week"));
    assert_eq!(with_replay(batch), None, "there is no envelope");
}

#[test]
fn an_event_inside_anothers_envelope_that_nobody_knows_is_told() {
    let record = |name: &str| {
        let event = json!({"category": "AuditLogs", "operationName": name, "properties": {"id": name, "result": "success",
            "targetResources": [{"type": "User", "userPrincipalName": "alice@example.com"}]}});
        event
    };
    let mut unreadable = record("Disable account");
    unreadable["properties"].as_object_mut().unwrap().remove("result");
    for (first, signals) in [("Add user", 0), ("Disable account", 1)] {
        let batch = json!({"records": [record(first), unreadable.clone()]});
        let Reading::Events { signals: found, put_aside, .. } = read(Via::Event, &batch).unwrap() else { panic!() };
        assert_eq!(found.len(), signals);
        let unknown = put_aside.iter().filter(|aside| aside.error_type() == "UnknownEvent").count();
        assert_eq!(unknown, 1, "the record, and not the batch around it: {put_aside:?}");
    }
}

#[test]
fn every_event_of_a_batch_keeps_no_copy_of_the_batch() {
    let record = json!({"eventSource": "ec2.amazonaws.com", "eventName": "RunInstances", "eventID": "x".repeat(1000)});
    let batch = Event::of(json!({"Records": vec![record.clone(); 1000], "said": {"of": "all", "list": [1]}}), None);
    let around = batch.around_the_inner();
    assert_eq!(around["outer"], json!({"said": {"of": "all"}}));
    assert!(batch.inside(&around, record).document.to_string().len() < 2000);
}

#[test]
fn a_message_that_a_pipe_brings_whole_keeps_its_id_and_its_time() {
    let body = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "alice", "active": true});
    let record = json!({"eventSource": "aws:sqs", "messageId": "m-1", "attributes": {"SentTimestamp": "1772357000000"}, "body": body.to_string()});
    let signal = only(read(Via::Direct, &json!([record])).unwrap());
    assert_eq!((signal.id.as_str(), signal.as_of.as_millis()), ("m-1", 1_772_357_000_000));
}

#[test]
fn what_only_looks_like_a_batch_of_log_lines_is_an_error() {
    for data in ["no base64!", "aGVsbG8="] {
        let error = read(Via::Direct, &json!({"awslogs": {"data": data}})).unwrap_err();
        assert_eq!(error.error_type(), "UnreadableEvent", "{error}");
    }
    let bomb = gzipped(&json!({"messageType": "DATA_MESSAGE", "logEvents": [{"message": "x".repeat(20 << 20)}]}));
    assert!(read(Via::Direct, &bomb).unwrap_err().to_string().contains("16 MB"));
    let empty = json!({"messageType": "CONTROL_MESSAGE", "logEvents": []});
    assert_eq!(read(Via::Direct, &empty).unwrap_err().error_type(), "UnknownEvent");
}

#[test]
fn transports_may_be_packed_into_one_another_and_no_command_comes_out_of_them() {
    let sns = |message: &Value| json!({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": message.to_string()});
    let sqs = |body: &Value| json!({"eventSource": "aws:sqs", "messageId": "m", "body": body.to_string()});
    let event = okta("user.lifecycle.suspend");
    let bare = json!({"action": "revoke", "username": "bob"});
    for payload in [
        json!([event]),
        sns(&event),
        sns(&sns(&event)),
        json!({"Records": [sqs(&sns(&event)), sqs(&bare)]}),
        json!([sqs(&event), bare, [bare]]),
    ] {
        let signal = only(read(Via::Direct, &payload).unwrap());
        assert_eq!((signal.about[0].label().as_str(), signal.via), ("alice@example.com", Via::Event), "{payload}");
    }
    let mut deep = event;
    for _ in 0..10 {
        deep = sns(&deep);
    }
    assert_eq!(read(Via::Event, &deep).unwrap_err().error_type(), "UnreadableEvent");
    assert_eq!(read(Via::Direct, &json!([bare])).unwrap_err(), Rejected::BareCommand);
}

#[test]
fn a_signed_token_proves_nothing_here() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";
    for payload in [token.to_owned(), json!(token).to_string(), json!({"body": token, "headers": {}}).to_string()] {
        assert_eq!(intake().read(payload.as_bytes(), &delivery(Via::Event)).unwrap_err(), Rejected::SignedToken);
    }
}

#[test]
fn statements_of_one_event_get_an_id_each_and_always_the_same() {
    let two = |first: &str, second: &str| {
        let person = |name: &str| json!({"type": "USER_SETTINGS", "name": "SUSPEND_USER", "parameters": [{"name": "USER_EMAIL", "value": name}]});
        json!({"kind": "admin#reports#activity", "id": {"time": "2026-03-01T09:29:00Z", "uniqueQualifier": "q", "applicationName": "admin", "customerId": "C1"},
            "actor": {"email": "it.admin@example.com"}, "events": [person(first), person(second)]})
    };
    let ids = |payload: &Value| -> Vec<String> {
        read(Via::Event, payload).unwrap().into_signals().iter().map(|signal| signal.id.to_string()).collect()
    };
    assert_eq!(ids(&two("alice@example.com", "bob@example.com")), ["google:q", "google:q/1"]);
    assert_eq!(ids(&two("alice@example.com", "bob@example.com")), ["google:q", "google:q/1"]);
    assert_eq!(ids(&two("alice@example.com", "alice@example.com")), ["google:q", "google:q"]);
}

#[test]
fn under_a_transports_id_another_time_is_another_statement() {
    let entry = |status: &str, at: &str| {
        json!({"category": "AuditLogs", "operationName": status, "time": at, "properties": {"result": "success",
            "activityDateTime": at, "targetResources": [{"type": "User", "userPrincipalName": "alice@example.com"}]}})
    };
    let times = ["2026-03-01T09:01:00Z", "2026-03-01T09:02:00Z", "2026-03-01T09:03:00Z"];
    let words = ["Disable account", "Enable account", "Disable account"];
    let records: Vec<Value> = words.iter().zip(times).map(|(word, at)| entry(word, at)).collect();
    let batch = json!({"source": "acme.relay", "detail-type": "Entra", "id": "eb-5", "detail": {"records": records}});
    let ids = |payload: &Value| -> Vec<String> {
        let signals = read(Via::Event, payload).unwrap().into_signals();
        signals.iter().map(|signal| signal.id.as_str().to_owned()).collect()
    };
    assert_eq!(ids(&batch), ["eb-5", "eb-5/1", "eb-5/2"]);
    assert_eq!(ids(&batch), ids(&batch), "the same in another delivery");
}

#[test]
fn a_replay_is_known_by_its_name_and_only_in_eventbridges_envelope() {
    let mut event = okta("user.lifecycle.deactivate");
    event["replay-name"] = json!("last-week");
    assert_eq!(only(read(Via::Event, &event).unwrap()).replay.as_deref(), Some("last-week"));
    let act = Intake::with_rules(Some(("own.json", r#"{"replays":"act"}"#))).unwrap();
    let acting = act.read(event.to_string().as_bytes(), &delivery(Via::Event)).unwrap();
    assert_eq!(only(acting).replay, None);
    let command = json!({"source": "vpn-revoker", "detail-type": "VPN Revoker Command", "id": "eb-9", "replay-name": "last-week",
        "detail": {"action": "revoke", "username": "alice"}});
    assert_eq!(only(read(Via::Event, &command).unwrap()).replay.as_deref(), Some("last-week"));
    let mut bare = okta("user.lifecycle.deactivate")["detail"].clone();
    bare["replay-name"] = json!("no envelope");
    assert_eq!(only(read(Via::Event, &bare).unwrap()).replay, None);
}

#[test]
fn an_alias_command_gives_one_subject_names() {
    let signal =
        command(&json!({"action": "alias", "username": "alice", "names": ["Laptop-7", "laptop-7"], "reason": "hers"}))
            .unwrap();
    assert_eq!(
        signal.action,
        Action::Alias { names: vec![crate::name::Name::new("laptop-7").unwrap()], remove: false }
    );
    assert_eq!(
        command(&json!({"action": "unalias", "username": "alice", "names": ["x"]})).unwrap().action.word(),
        "unalias"
    );
    assert!(matches!(read(Via::Direct, &json!({"action": "sync_directory"})), Ok(Reading::SyncDirectory)));
    let by_event =
        json!({"source": "vpn-revoker", "detail-type": "VPN Revoker Command", "detail": {"action": "sync_directory"}});
    assert_eq!(read(Via::Event, &by_event).unwrap_err().error_type(), "InvalidCommand");
}

fn explain(payload: &Value) -> Value {
    json!(intake().explain(payload.to_string().as_bytes(), &delivery(Via::Direct)).unwrap())
}

#[test]
fn an_explanation_says_which_rule_found_whom_and_where() {
    insta::assert_json_snapshot!(explain(&okta("user.lifecycle.deactivate")));
}

#[test]
fn an_explanation_says_what_did_not_fit() {
    let mut event = okta("user.lifecycle.deactivate");
    event["detail"]["eventType"] = json!("user.lifecycle.deactivated");
    let explained = explain(&event);
    let near = &explained["events"][0]["near"][0];
    assert_eq!(near["rule"], "okta-user-out", "{explained:#}");
    assert_eq!(near["misfits"][0]["field"], "detail.eventType");
    assert_eq!(near["misfits"][0]["found"], json!(["user.lifecycle.deactivated"]));
}

#[test]
fn an_explanation_follows_an_event_through_everything_around_it() {
    let hook = json!({"eventType": "com.okta.event_hook", "source": "https://acme.okta.com/api/v1/eventHooks/1",
        "data": {"events": [okta("user.lifecycle.suspend")["detail"], okta("user.session.end")["detail"]]}});
    let sns = json!({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": hook.to_string()});
    let record = |body: &str| json!({"eventSource": "aws:sqs", "messageId": "m", "body": body});
    let batch = json!({"Records": [
        record(&sns.to_string()),
        record("not json {"),
        record(&json!({"action": "revoke", "username": "bob"}).to_string()),
        record(&json!({"hello": "world"}).to_string()),
    ]});
    insta::assert_json_snapshot!(explain(&batch));
}

#[test]
fn an_explanation_of_a_command_says_what_it_asks() {
    let explained = explain(&json!({"action": "revoke", "subjects": ["alice", "bob"]}));
    assert_eq!(explained["events"][0]["result"], "revoke alice, bob");
    let explained = explain(&json!({"action": "revoke", "subjects": []}));
    assert!(explained["events"][0]["result"].as_str().unwrap().contains("`subjects`"));
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

#[test]
fn a_person_is_known_by_all_addresses_of_a_subject_and_a_crowd_is_no_person() {
    let about = |many: usize| {
        let identifiers: Vec<Value> =
            (0..many).map(|number| json!({"format": "email", "email": format!("a{number}@example.com")})).collect();
        let token = json!({
            "iss": "https://idp.example.com/", "jti": "j-1", "iat": 1_772_357_102,
            "sub_id": {"format": "aliases", "identifiers": identifiers},
            "events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {}},
        });
        only(read(Via::Event, &token).unwrap()).about.remove(0)
    };
    let About::Subject(person) = about(10) else { panic!("ten addresses are one person's") };
    assert_eq!((person.received(), person.also().len()), ("a0@example.com", 9));
    assert!(matches!(about(11), About::Unresolved { .. }));
}
