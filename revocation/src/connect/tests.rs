use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::audit::{Appended, verify};
use crate::lock::{Hold, HoldState, Lock};
use crate::memory::{Calls, ManualClock, MemoryAudit, MemoryLocks, Mishap};
use crate::name::Name;
use crate::policy::{Mode, Protected};
use crate::ports::Clock;
use crate::signal::{Authority, SignalId};
use crate::time::Timestamp;

const DANA: &str = "dana.reyes@example.com";
const LAPTOP: &str = "laptop-7.example.com";

fn now() -> Timestamp {
    Timestamp::parse("2026-03-01T09:30:00Z").unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn asked(fields: &Value) -> ConnectRequest {
    let mut request = json!({
        "connection-id": "cvpn-connection-1", "endpoint-id": "cvpn-endpoint-1", "username": DANA, "common-name": LAPTOP,
        "platform": "win", "platform-version": "", "public-ip": "203.0.113.7", "client-openvpn-version": "2.6.12",
        "groups": "", "schema-version": "v2",
    });
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    ConnectRequest::read(request.to_string().as_bytes())
}

fn hold(state: HoldState, expires_at: Option<Timestamp>) -> Hold {
    Hold {
        state,
        as_of: now(),
        expires_at,
        reason: Some("INC-42".to_owned()),
        signal_id: SignalId::new("command:INC-42"),
        subject: DANA.to_owned(),
        person: None,
        own_lifted_at: None,
        names: Vec::new(),
    }
}

fn locked(text: &str) -> Lock {
    let holds = [(Authority::command(), hold(HoldState::Locked, None))];
    Lock { holds: holds.into(), version: 1, ..Lock::none(name(text)) }
}

struct World {
    calls: Calls,
    locks: MemoryLocks,
    trail: MemoryAudit,
    clock: Arc<ManualClock>,
}

impl World {
    fn new(lock: Option<Lock>) -> Self {
        let calls = Calls::new();
        let locks = MemoryLocks::new(&calls);
        lock.into_iter().for_each(|lock| locks.put(lock));
        Self { locks, trail: MemoryAudit::new(&calls), clock: Arc::new(ManualClock::at(now())), calls }
    }

    fn handler(&self, policy: ConnectPolicy) -> ConnectHandler {
        ConnectHandler {
            locks: Arc::new(self.locks.clone()),
            trail: Arc::new(self.trail.clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            policy: Arc::new(policy),
        }
    }

    async fn decides(&self, request: &ConnectRequest) -> Verdict {
        self.handler(ConnectPolicy::default()).decide(request).await
    }

    /// Lets everything run until it waits.
    async fn idle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

/// What AWS requires of an answer.
fn assert_valid(answer: &Value, version: &Value) {
    let message = match version == "v1" {
        true => "error-msg-on-failed-posture-compliance",
        false => "error-msg-on-denied-connection",
    };
    let mut fields: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let mut required = ["allow", message, "posture-compliance-statuses", "schema-version"];
    required.sort_unstable();
    assert_eq!(fields, required);
    assert!(answer["allow"].is_boolean());
    assert!(answer[message].as_str().unwrap().chars().count() <= 255);
    assert_eq!(answer["posture-compliance-statuses"], json!([]));
    assert_eq!(&answer["schema-version"], version);
}

#[test]
fn a_refusal_is_answered_in_the_version_that_came_in() {
    let refusal = |version: &str| {
        let request = asked(&json!({"schema-version": version}));
        json!(ConnectPolicy::default().answer(&request, &judge_one(&locked(DANA))))
    };
    insta::assert_json_snapshot!(refusal("v1"), @r#"
    {
      "allow": false,
      "error-msg-on-failed-posture-compliance": "Your VPN access is suspended. Please contact your IT department.",
      "posture-compliance-statuses": [],
      "schema-version": "v1"
    }
    "#);
    insta::assert_json_snapshot!(refusal("v2"), @r#"
    {
      "allow": false,
      "error-msg-on-denied-connection": "Your VPN access is suspended. Please contact your IT department.",
      "posture-compliance-statuses": [],
      "schema-version": "v2"
    }
    "#);
    insta::assert_json_snapshot!(refusal("v3"), @r#"
    {
      "allow": false,
      "error-msg-on-denied-connection": "Your VPN access is suspended. Please contact your IT department.",
      "posture-compliance-statuses": [],
      "schema-version": "v3"
    }
    "#);
}

fn judge_one(lock: &Lock) -> Verdict {
    super::policy::judge(std::slice::from_ref(lock), now())
}

#[test]
fn groups_may_be_a_text_a_list_or_absent() {
    let plain = asked(&json!({}));
    for groups in [json!("S-1-5-21"), json!(["staff", "admins"]), json!(null), json!({"new": [1]})] {
        assert_eq!(asked(&json!({ "groups": groups })), plain);
    }
    let v1 = br#"{"connection-id":"c","endpoint-id":"e","common-name":"","username":"alice","platform":"",
        "platform-version":"","public-ip":"203.0.113.7","client-openvpn-version":"","schema-version":"v1"}"#;
    let request = ConnectRequest::read(v1);
    assert_eq!((request.who.unwrap().names(), request.platform), (vec![name("alice")], None));
}

#[test]
fn placeholders_are_nobodys_name() {
    for placeholder in [json!(""), json!("-"), json!("N/A"), json!(null)] {
        let request = asked(&json!({"username": placeholder, "common-name": "Laptop-7.example.com "}));
        assert_eq!(request.who.unwrap().names(), [name(LAPTOP)], "{placeholder}");
    }
    let same = asked(&json!({"username": "alice", "common-name": "ALICE"}));
    assert_eq!(same.who.unwrap().names(), [name("alice")]);
}

#[test]
fn a_name_that_is_no_text_is_somebody_whom_nobody_can_name() {
    for wrong in [json!(7), json!([DANA]), json!({"name": DANA}), json!(true)] {
        let request = asked(&json!({"username": wrong, "schema-version": "v1"}));
        let unknown = Unknown::from(request.who.clone().unwrap_err());
        assert_eq!(unknown.error_type(), "ConnectRequestUnreadable");
        assert!(request.who.clone().unwrap_err().to_string().contains("`username`"));
        assert_eq!(request.version, SchemaVersion::new("v1"), "the answer still has the right form");
    }
    assert!(ConnectRequest::read(b"[]").who.is_err());
    assert!(ConnectRequest::read(b"").who.is_err());
}

#[test]
fn a_message_that_client_vpn_would_not_take_is_none() {
    assert!(DenyMessage::new(&"é".repeat(255)).is_ok());
    assert_eq!(DenyMessage::new(&"é".repeat(256)), Err(MessageError::TooLong(256)));
    assert_eq!(DenyMessage::new(&"🔒".repeat(128)), Err(MessageError::TooLong(256)));
    assert_eq!(DenyMessage::new(" "), Err(MessageError::Empty));
    assert_eq!(DenyMessage::new("two\nlines"), Err(MessageError::Control));
}

#[tokio::test]
async fn either_locked_name_keeps_the_connection_out() {
    for who in [DANA, LAPTOP] {
        let world = World::new(Some(locked(who)));
        let Verdict::Locked(denial) = world.decides(&asked(&json!({}))).await else { panic!("{who} was let in") };
        assert_eq!(denial.name, name(who));
        assert_eq!(world.calls.count("locks.read"), 1, "both names in one read");
        let other = asked(&json!({"username": "malice@example.com", "common-name": "laptop-70.example.com"}));
        assert_eq!(world.decides(&other).await, Verdict::Clear);
    }
}

#[tokio::test]
async fn a_hold_that_has_expired_or_was_lifted_keeps_nobody_out() {
    for over in [hold(HoldState::Locked, Some(now())), hold(HoldState::Released, None)] {
        let lock = Lock { holds: [(Authority::command(), over)].into(), ..locked(DANA) };
        assert_eq!(World::new(Some(lock)).decides(&asked(&json!({}))).await, Verdict::Clear);
    }
}

#[tokio::test]
async fn a_name_on_which_no_lock_can_stand_is_not_read() {
    let world = World::new(None);
    let long = "a".repeat(3_000);
    for (username, common_name) in [("", "-"), ("#head/dana", ""), (long.as_str(), "al\u{7}ice")] {
        let request = asked(&json!({"username": username, "common-name": common_name}));
        assert_eq!(world.decides(&request).await, Verdict::Clear);
    }
    assert_eq!(world.calls.made(), Vec::<String>::new());
}

#[tokio::test]
async fn protected_is_let_in_whatever_the_locks_say_and_when_they_say_nothing() {
    for (covered, protected) in [(DANA, "dana.*"), (LAPTOP, "laptop-*")] {
        let world = World::new(Some(locked(DANA)));
        world.calls.plan("locks.read", 1, Mishap::Fails);
        let policy = ConnectPolicy { protected: Protected::parse(protected).unwrap(), ..ConnectPolicy::default() };
        let verdict = world.handler(policy.clone()).decide(&asked(&json!({}))).await;
        assert_eq!(verdict, Verdict::Protected(name(covered)));
        assert!(policy.admits(&verdict));
    }
}

#[tokio::test]
async fn locks_that_cannot_be_read_are_an_answer_of_their_own() {
    for mishap in [Mishap::Fails, Mishap::Panics] {
        let world = World::new(None);
        world.calls.plan("locks.read", 1, mishap);
        let verdict = world.decides(&asked(&json!({}))).await;
        let Verdict::Unknown(unknown @ Unknown::Locks(_)) = &verdict else { panic!("{verdict:?}") };
        assert_eq!(unknown.error_type(), "LocksUnreadable");
        let policy = |on_error| ConnectPolicy { on_error, ..ConnectPolicy::default() };
        assert!(!policy(OnError::Deny).admits(&verdict));
        assert!(policy(OnError::Allow).admits(&verdict));
    }
}

#[tokio::test]
async fn one_lock_that_can_be_read_and_is_in_force_keeps_out_whatever_is_wrong_with_the_other() {
    for (locked_name, broken, keeps_out) in
        [(DANA, LAPTOP, true), (LAPTOP, DANA, true), ("somebody", LAPTOP, false), (DANA, DANA, false)]
    {
        let world = World::new(Some(locked(locked_name)));
        let broken = format!("{:?}", name(broken));
        world.calls.chaos(Some(Box::new(move |call: &str| call.contains(&broken).then_some(Mishap::Spoilt))));
        let verdict = world.decides(&asked(&json!({}))).await;
        assert_eq!(matches!(verdict, Verdict::Locked(_)), keeps_out, "{locked_name}: {verdict:?}");
        assert_eq!(matches!(verdict, Verdict::Unknown(_)), !keeps_out);
    }
}

#[tokio::test]
async fn a_table_that_hangs_is_waited_for_two_seconds_and_no_longer() {
    let world = World::new(Some(locked(DANA)));
    world.calls.plan("locks.read", 1, Mishap::Hangs);
    let handler = world.handler(ConnectPolicy::default());
    let deciding = tokio::spawn(async move { handler.decide(&asked(&json!({}))).await });
    world.idle().await;
    world.clock.advance(READ_WITHIN - Duration::from_millis(1));
    world.idle().await;
    assert!(!deciding.is_finished());
    world.clock.advance(Duration::from_millis(1));
    assert!(matches!(deciding.await.unwrap(), Verdict::Unknown(Unknown::Locks(_))));
    assert_eq!(READ_WITHIN, Duration::from_secs(2));
}

/// A lock that keeps Dana out, a handler, and the verdict.
async fn refused() -> (World, ConnectHandler, Box<Denial>) {
    let world = World::new(Some(locked(DANA)));
    let handler = world.handler(ConnectPolicy::default());
    let Verdict::Locked(denial) = handler.decide(&asked(&json!({}))).await else { panic!("Dana was let in") };
    (world, handler, denial)
}

#[tokio::test]
async fn a_refusal_stands_once_for_each_name_endpoint_and_hour() {
    let (world, handler, denial) = refused().await;
    let (here, there) = (asked(&json!({})), asked(&json!({"endpoint-id": "cvpn-endpoint-2"})));
    assert_eq!(handler.record(&here, &denial).await, Ok(Appended::Written));
    assert_eq!(handler.record(&here, &denial).await, Ok(Appended::AlreadyThere));
    assert_eq!(handler.record(&there, &denial).await, Ok(Appended::Written));
    world.clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(handler.record(&here, &denial).await, Ok(Appended::Written));

    let chains = world.trail.chains();
    let entries = &chains[DANA];
    assert_eq!((entries.len(), verify(DANA, entries, &entries[2].head())), (3, Vec::new()));
    insta::assert_json_snapshot!(entries[0], @r#"
    {
      "at": "2026-03-01T09:30:00.000Z",
      "authority": "command",
      "day": "2026-03-01",
      "detail": {
        "common_name": "laptop-7.example.com",
        "connection_id": "cvpn-connection-1",
        "endpoint_id": "cvpn-endpoint-1",
        "platform": "win",
        "public_ip": "203.0.113.7",
        "signal_id": "command:INC-42",
        "username": "dana.reyes@example.com"
      },
      "hash": "44e8c4e2fecad437c2f7b215dc7f97e8b25c0c8fda1db69dc11fabb0a02bfc82",
      "kind": "denied",
      "prev_hash": "0000000000000000000000000000000000000000000000000000000000000000",
      "reason": "INC-42",
      "seq": 1,
      "signal_id": "denied:cvpn-endpoint-1:2026-03-01T09",
      "source": "connect-handler",
      "subject": "dana.reyes@example.com"
    }
    "#);
}

#[tokio::test]
async fn a_trail_that_hangs_or_fails_holds_nothing_up() {
    for mishap in [Mishap::Fails, Mishap::Panics] {
        let (world, handler, denial) = refused().await;
        world.calls.plan("audit.commit", 1, mishap);
        assert!(handler.record(&asked(&json!({})), &denial).await.unwrap_err().to_string().contains(DANA));
    }
    let (world, handler, denial) = refused().await;
    world.calls.plan("audit.head", 1, Mishap::Hangs);
    let recording = tokio::spawn(async move { handler.record(&asked(&json!({})), &denial).await });
    world.idle().await;
    assert!(!recording.is_finished());
    world.clock.advance(Duration::from_secs(1));
    assert!(recording.await.unwrap().is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::from))
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let keys = prop::sample::select(vec![
        "schema-version",
        "username",
        "common-name",
        "groups",
        "platform",
        "public-ip",
        "endpoint-id",
        "connection-id",
        "new",
    ]);
    let fields = prop::collection::btree_map(keys, prop_oneof![any_json(), Just(json!("v1")), Just(json!(DANA))], 0..9);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        fields.prop_map(|fields| json!(fields).to_string().into_bytes()),
        any::<usize>().prop_map(|depth| "{\"a\":".repeat(depth % 5_000).into_bytes()),
        any::<usize>().prop_map(|n| {
            let deep = format!("{}{}", "[".repeat(n % 5_000), "]".repeat(n % 5_000));
            format!(r#"{{"schema-version":"v1","groups":{}}}"#, if deep.is_empty() { "1" } else { &deep }).into_bytes()
        }),
    ]
}

proptest! {
    /// No request and no configuration leads to an answer that Client VPN rejects.
    #[test]
    fn any_bytes_get_an_answer_that_client_vpn_takes(
        payload in any_request(), message in any::<String>(), shadow in any::<bool>(), allow in any::<bool>(),
    ) {
        let request = ConnectRequest::read(&payload);
        let policy = ConnectPolicy {
            mode: if shadow { Mode::Shadow } else { Mode::Enforce },
            on_error: if allow { OnError::Allow } else { OnError::Deny },
            message: DenyMessage::new(&message).unwrap_or_default(),
            ..ConnectPolicy::default()
        };
        // A reader without bounds on depth, unlike the one that a test would use first.
        let fields: std::collections::HashMap<String, Box<serde_json::value::RawValue>> =
            serde_json::from_slice(&payload).unwrap_or_default();
        let version: Option<Value> = fields.get("schema-version").and_then(|raw| serde_json::from_str(raw.get()).ok());
        let version = version.filter(Value::is_string).unwrap_or(json!("v2"));
        let unknown = Verdict::Unknown(Unknown::Locks("away".to_owned()));
        for verdict in [Verdict::Clear, judge_one(&locked(DANA)), unknown] {
            assert_valid(&json!(policy.answer(&request, &verdict)), &version);
        }
    }

    /// Whoever is let in is not locked, or protected, or it is shadow mode; whoever is kept out is locked.
    #[test]
    fn in_force_and_not_protected_is_exactly_what_is_kept_out(
        holds in prop::collection::vec((any::<bool>(), any::<bool>(), prop::option::of(-5_i64..5)), 0..6),
        protected in prop::sample::select(vec!["", DANA, "laptop*", "somebody.else"]), shadow in any::<bool>(),
    ) {
        let mut locks = [DANA, LAPTOP].map(|text| Lock::none(name(text)));
        for (number, (on_laptop, locked, expires)) in holds.iter().enumerate() {
            let state = if *locked { HoldState::Locked } else { HoldState::Released };
            let expires_at = expires.map(|seconds| Timestamp::from_millis(now().as_millis() + seconds * 1_000));
            let lock = &mut locks[usize::from(*on_laptop)];
            lock.holds.insert(Authority::named(&format!("okta:{number}")), hold(state, expires_at));
        }
        let policy = ConnectPolicy {
            mode: if shadow { Mode::Shadow } else { Mode::Enforce },
            protected: Protected::parse(protected).unwrap(),
            ..ConnectPolicy::default()
        };
        let world = World::new(None);
        locks.into_iter().for_each(|lock| world.locks.put(lock));
        let request = asked(&json!({}));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let verdict = runtime.block_on(world.handler(policy.clone()).decide(&request));

        let in_force = holds.iter().any(|(_, locked, expires)| *locked && expires.is_none_or(|seconds| seconds > 0));
        let spared = shadow || protected == DANA || protected == "laptop*";
        prop_assert_eq!(policy.admits(&verdict), spared || !in_force);
        prop_assert_eq!(policy.answer(&request, &verdict).allows(), spared || !in_force);
    }
}
