use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::signal::{About, Action, Authority, Via};

fn signal(reason: &str) -> Signal {
    let at = Timestamp::from_millis(1_772_357_400_000);
    Signal {
        id: SignalId::of_producer("okta", "e-1"),
        action: Action::Disconnect,
        about: vec![About::unresolved("okta", "1", false)],
        authority: Authority::producer("okta", Some("acme")),
        as_of: at,
        occurred_at: None,
        received_at: at,
        source: "test".to_owned(),
        actor: Some("admin@example.com".to_owned()),
        reason: Some(reason.to_owned()),
        dry_run: false,
        force: false,
        replay: None,
        via: Via::Event,
    }
}

fn chain(reasons: &[String]) -> (Vec<Entry>, Head) {
    let mut head = Head::genesis();
    let entries = reasons
        .iter()
        .map(|reason| {
            let Value::Object(detail) = json!({"names": ["alice"], "n": 3}) else { unreachable!() };
            let draft = Draft::new(&signal(reason), "alice", Kind::Incomplete, signal(reason).received_at, detail);
            let entry = draft.seal(&head).unwrap();
            head = entry.head();
            entry
        })
        .collect();
    (entries, head)
}

fn reasons(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("reason {i}")).collect()
}

#[test]
fn an_entry_reads_as_the_contract_says() {
    let (entries, _) = chain(&reasons(1));
    insta::assert_json_snapshot!(entries[0], @r#"
    {
      "actor": "admin@example.com",
      "at": "2026-03-01T09:30:00.000Z",
      "authority": "okta:acme",
      "day": "2026-03-01",
      "detail": {
        "n": 3,
        "names": [
          "alice"
        ]
      },
      "hash": "8c5dea31bbdbbece56c26a69f34db54532d33eb31594a20e5fa05b3e4ffe2b41",
      "kind": "incomplete",
      "prev_hash": "0000000000000000000000000000000000000000000000000000000000000000",
      "reason": "reason 0",
      "seq": 1,
      "signal_id": "okta:e-1",
      "source": "test",
      "subject": "alice"
    }
    "#);
}

#[test]
fn the_hash_is_sha_256_over_the_canonical_form() {
    let (entries, _) = chain(&reasons(1));
    let mut attributes = entries[0].attributes().clone();
    let hash = attributes.remove("hash").unwrap();
    // Keys in order and no white space is all that RFC 8785 asks of these values, and serde_json's map sorts.
    assert_eq!(hash, hex_digest(serde_json::to_string(&attributes).unwrap().as_bytes()));
}

#[test]
fn a_marker_is_one_per_signal_subject_and_kind() {
    let id = SignalId::of_producer("okta", "e-1");
    assert_eq!(Marker::new(&id, "alice", Kind::Completed).key(), "#done/okta:e-1/alice/completed");
    assert_eq!(Marker::of_attempt(&id, "alice", Kind::Incomplete, "r-1").key(), "#done/okta:e-1/alice/incomplete/r-1");
}

#[test]
fn a_whole_chain_has_no_findings() {
    for length in 0..4 {
        let (entries, head) = chain(&reasons(length));
        assert_eq!(verify("alice", &entries, &head), vec![]);
    }
}

#[test]
fn a_chain_cut_at_its_end_is_found_out() {
    let (mut entries, head) = chain(&reasons(3));
    entries.pop();
    assert_eq!(verify("alice", &entries, &head), vec![Finding::CutOff { chain: "alice".into(), last: 2, head: 3 }]);
    assert_eq!(verify("alice", &[], &head), vec![Finding::CutOff { chain: "alice".into(), last: 0, head: 3 }]);
}

#[test]
fn a_fork_is_found_out() {
    let (mut entries, head) = chain(&reasons(2));
    let other = chain(&["another".to_owned(), "story".to_owned()]).0;
    entries[1] = other[1].clone();
    let findings = verify("alice", &entries, &head);
    assert!(findings.contains(&Finding::Unlinked { chain: "alice".into(), seq: 2 }), "{findings:?}");
}

proptest! {
    #[test]
    fn any_single_change_is_found(
        reasons in proptest::collection::vec("[a-z]{1,8}", 2..8),
        which in any::<prop::sample::Index>(),
        attribute in prop::sample::select(vec!["at", "day", "kind", "signal_id", "authority", "source", "actor", "reason", "subject", "prev_hash", "hash"]),
    ) {
        let (mut entries, head) = chain(&reasons);
        let which = which.index(entries.len());
        let mut attributes = entries[which].attributes().clone();
        attributes.insert(attribute.to_owned(), json!("forged"));
        entries[which] = Entry::from_attributes(attributes);
        prop_assert!(!verify("alice", &entries, &head).is_empty());
    }

    #[test]
    fn any_missing_or_swapped_entry_is_found(
        reasons in proptest::collection::vec("[a-z]{1,8}", 2..8),
        which in any::<prop::sample::Index>(),
    ) {
        let (entries, head) = chain(&reasons);
        let which = which.index(entries.len());
        let mut missing = entries.clone();
        missing.remove(which);
        prop_assert!(!verify("alice", &missing, &head).is_empty());
        let mut swapped = entries.clone();
        swapped.swap(which, (which + 1) % entries.len());
        prop_assert!(!verify("alice", &swapped, &head).is_empty());
    }
}
