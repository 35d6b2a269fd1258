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
fn keys_are_in_the_order_of_utf_16_and_only_what_json_must_escape_is_escaped() {
    let mut attributes = Map::new();
    attributes.insert("\u{e000}".to_owned(), json!(1.0));
    attributes.insert("\u{1f600}".to_owned(), json!("a\u{2028}\u{e9}\u{1f}\n\"\\/"));
    attributes.insert("B".to_owned(), json!([null, true, -0.0, 1e21]));
    attributes.insert("hash".to_owned(), json!("left out"));
    let form = "{\"B\":[null,true,0,1e+21],\"\u{1f600}\":\"a\u{2028}\u{e9}\\u001f\\n\\\"\\\\/\",\"\u{e000}\":1}";
    assert_eq!(hash_of(&attributes).unwrap(), hex_digest(form.as_bytes()));
}

#[test]
fn a_marker_is_one_per_signal_subject_and_kind() {
    let id = SignalId::of_producer("okta", "e-1");
    assert_eq!(Marker::new(&id, "alice", Kind::Completed).key(), "#done/okta:e-1/alice/completed");
    let of_attempt = Marker { attempt: Some("r-1".to_owned()), ..Marker::new(&id, "alice", Kind::Incomplete) };
    assert_eq!(of_attempt.key(), "#done/okta:e-1/alice/incomplete/r-1");
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

#[test]
fn a_finding_says_which_entry_and_why() {
    let (entries, head) = chain(&reasons(5));
    let alice = || "alice".to_owned();
    let without: Vec<Entry> = [0, 3, 4].iter().map(|&n: &usize| entries[n].clone()).collect();
    assert_eq!(verify("alice", &without, &head), vec![Finding::Missing { chain: alice(), from: 2, to: 3 }]);
    let again: Vec<Entry> = [0, 1, 1, 2, 3, 4].iter().map(|&n: &usize| entries[n].clone()).collect();
    assert_eq!(verify("alice", &again, &head), vec![Finding::OutOfOrder { chain: alice(), seq: 2, last: 2 }]);
    let swapped: Vec<Entry> = [0, 2, 1, 3, 4].iter().map(|&n: &usize| entries[n].clone()).collect();
    let words: Vec<&str> = verify("alice", &swapped, &head).iter().map(Finding::word).collect();
    assert_eq!(words, ["missing", "out-of-order"]);
}

/// A walk over these entries, with what it found on the way.
fn walk(mut walk: Walk, entries: &[Entry]) -> (Walk, Vec<Finding>) {
    let findings = entries.iter().flat_map(|entry| walk.entry(entry)).collect();
    (walk, findings)
}

#[test]
fn a_walk_finds_what_a_chain_and_head_rewritten_together_hide() {
    let (before, _) = chain(&reasons(3));
    let earlier = || walk(Walk::default(), &before).0.standing();
    let (longer, head) = chain(&reasons(5));
    let (mut whole, findings) = walk(Walk::against(earlier()), &longer);
    assert_eq!((findings, whole.head("alice", Some(&head)), whole.end(true)), (vec![], None, vec![]));

    let told_anew: Vec<String> = (0..5).map(|n| format!("another reason {n}")).collect();
    let (rewritten, head) = chain(&told_anew);
    let (mut walked, findings) = walk(Walk::against(earlier()), &rewritten);
    assert_eq!(walked.head("alice", Some(&head)), None, "chain and head agree with each other");
    assert_eq!(findings, vec![Finding::Rewritten { chain: "alice".into(), seq: 3 }]);

    let (walked, findings) = walk(Walk::against(earlier()), &before[..2]);
    assert_eq!(findings, vec![]);
    assert_eq!(walked.end(false), vec![Finding::Removed { chain: "alice".into(), seq: 3 }]);
    let (nothing, _) = walk(Walk::against(earlier()), &[]);
    assert_eq!(nothing.end(false), vec![Finding::Removed { chain: "alice".into(), seq: 3 }], "the whole chain is gone");
}

#[test]
fn a_selection_may_leave_entries_out_and_what_is_there_is_held_against_itself() {
    let (entries, _) = chain(&reasons(5));
    let (others, _) = chain(&(0..5).map(|n| format!("another reason {n}")).collect::<Vec<_>>());
    let found_in = |selected: &[&Entry]| {
        let mut selection = Walk::default();
        selection.of_selection();
        let selected: Vec<Entry> = selected.iter().map(|entry| (*entry).clone()).collect();
        walk(selection, &selected).1.iter().map(Finding::word).collect::<Vec<_>>()
    };
    assert_eq!(found_in(&[&entries[1], &entries[3], &entries[4]]), [""; 0]);
    assert_eq!(found_in(&[&entries[4], &entries[1], &entries[2]]), [""; 0], "days and kinds stand in no order");
    assert_eq!(found_in(&[&entries[1], &entries[1]]), ["out-of-order"]);
    assert_eq!(found_in(&[&entries[1], &others[2]]), ["unlinked"], "the one before it is there");
    let mut changed = entries[3].attributes().clone();
    changed.insert("reason".to_owned(), "none".into());
    assert_eq!(found_in(&[&entries[1], &Entry::from_attributes(changed)]), ["changed"]);
    let mut numberless = entries[3].attributes().clone();
    numberless.remove("seq");
    assert_eq!(found_in(&[&entries[1], &Entry::from_attributes(numberless)]), ["out-of-order", "changed"]);
}

#[test]
fn a_finding_says_in_words_what_is_wrong_and_where() {
    let chain = || "alice".to_owned();
    let findings = [
        (Finding::Changed { chain: chain(), seq: 2 }, "changed", 2),
        (Finding::Missing { chain: chain(), from: 3, to: 4 }, "missing", 3),
        (Finding::OutOfOrder { chain: chain(), seq: 4, last: 5 }, "out-of-order", 4),
        (Finding::Unlinked { chain: chain(), seq: 5 }, "unlinked", 5),
        (Finding::Foreign { chain: chain(), seq: 6, found: "bob".to_owned() }, "foreign", 6),
        (Finding::CutOff { chain: chain(), last: 6, head: 9 }, "cut-off", 7),
        (Finding::Replaced { chain: chain(), seq: 8 }, "replaced", 8),
        (Finding::Added { chain: chain(), seq: 9 }, "added", 9),
        (Finding::BadHead { chain: chain() }, "bad-head", 0),
        (Finding::Headless { chain: chain(), last: 10 }, "headless", 11),
        (Finding::Rewritten { chain: chain(), seq: 12 }, "rewritten", 12),
        (Finding::Removed { chain: chain(), seq: 13 }, "removed", 13),
    ];
    for (finding, word, seq) in findings {
        assert_eq!((finding.word(), finding.chain(), finding.seq()), (word, "alice", seq), "{finding}");
    }
    let missing = |from, to| Finding::Missing { chain: chain(), from, to }.to_string();
    assert_eq!(missing(2, 2), "entry 2 of alice should stand here, before a later one");
    assert_eq!(missing(2, 4), "entries 2 to 4 of alice should stand here, before a later one");
}

#[test]
fn an_entry_of_another_chain_is_foreign() {
    let (entries, head) = chain(&reasons(2));
    let findings = verify("bob", &entries, &head);
    let foreign = |seq| Finding::Foreign { chain: "bob".into(), seq, found: "alice".into() };
    assert_eq!(findings, [foreign(1), foreign(2)]);
}

#[test]
fn a_kind_is_written_as_its_word() {
    let words = Kind::ALL.map(|kind| json!(kind));
    assert_eq!(words, Kind::ALL.map(|kind| json!(kind.to_string())));
    assert_eq!(words[..3], [json!("requested"), json!("completed"), json!("incomplete")]);
    let all: std::collections::BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
    assert_eq!(all.len(), Kind::ALL.len(), "no two kinds have one word");
}

#[tokio::test]
async fn an_entry_stands_once_and_one_of_an_attempt_once_for_each() {
    let trail = crate::memory::MemoryAudit::new(&crate::memory::Calls::new());
    let draft = || Draft::new(&signal("x"), "alice", Kind::Incomplete, signal("x").received_at, Map::new());
    assert_eq!(append(&trail, &draft()).await, Ok(Appended::Written));
    assert_eq!(append(&trail, &draft()).await, Ok(Appended::AlreadyThere));
    for (attempt, came_to) in [("r-1", Appended::Written), ("r-2", Appended::Written), ("r-2", Appended::AlreadyThere)]
    {
        assert_eq!(append(&trail, &draft().once_per_attempt(attempt)).await, Ok(came_to), "{attempt}");
    }
    let entries = &trail.chains()["alice"];
    assert_eq!((entries.len(), verify("alice", entries, &entries[2].head())), (3, vec![]));
}

#[test]
fn a_head_that_disagrees_says_how() {
    let (entries, head) = chain(&reasons(3));
    let alice = || "alice".to_owned();
    let other = Head { hash: GENESIS.to_owned(), ..head.clone() };
    assert_eq!(verify("alice", &entries, &other), vec![Finding::Replaced { chain: alice(), seq: 3 }]);
    let behind = entries[1].head();
    assert_eq!(verify("alice", &entries, &behind), vec![Finding::Added { chain: alice(), seq: 3 }]);
    for unusable in [None, Some(&Head::genesis())] {
        let found = Walk::default().head("alice", unusable);
        assert_eq!(
            found,
            Some(Finding::BadHead { chain: alice() }),
            "a removed chain must not pass with a head of zero"
        );
    }
}

#[test]
fn a_number_that_the_hash_does_not_cover_is_a_change() {
    let with = |number: u64| {
        let Value::Object(detail) = json!({ "list": [number] }) else { unreachable!() };
        let draft = Draft::new(&signal("x"), "alice", Kind::Incomplete, signal("x").received_at, detail);
        draft.seal(&Head::genesis()).unwrap()
    };
    let (exact, beyond) = (with(1 << 53), with((1 << 53) + 1));
    assert_eq!(verify("alice", [&exact], &exact.head()), vec![]);
    assert_eq!(verify("alice", [&beyond], &beyond.head()), vec![Finding::Changed { chain: "alice".into(), seq: 1 }]);
}

#[test]
fn a_walk_misses_heads_and_chains_of_heads() {
    let (entries, head) = chain(&reasons(2));
    let (mut walked, _) = walk(Walk::default(), &entries);
    assert_eq!(walked.end(true), vec![Finding::Headless { chain: "alice".into(), last: 2 }]);
    assert_eq!(walked.end(false), vec![], "where heads are not known, none is missed");
    assert_eq!(walked.head("bob", Some(&head)), Some(Finding::CutOff { chain: "bob".into(), last: 0, head: 2 }));
    assert_eq!((walked.entries(), walked.chains()), (2, 2));
}

proptest! {
    #[test]
    fn a_walk_over_mingled_chains_finds_what_each_alone_would(
        lengths in proptest::collection::vec(1_usize..5, 1..4),
        order in any::<u64>(),
        damaged in any::<prop::sample::Index>(),
    ) {
        let chains: Vec<Vec<Entry>> = lengths.iter().enumerate().map(|(n, &length)| {
            let name = format!("subject {n}");
            let mut head = Head::genesis();
            (0..length).map(|step| {
                let at = signal("").received_at;
                let entry = Draft::new(&signal(&step.to_string()), &name, Kind::Incomplete, at, Map::new()).seal(&head).unwrap();
                head = entry.head();
                entry
            }).collect()
        }).collect();
        // Mingles them, each in its own order.
        let mut queues: Vec<std::collections::VecDeque<Entry>> = chains.iter().cloned().map(Into::into).collect();
        let (mut mingled, mut chance) = (Vec::new(), order);
        while queues.iter().any(|queue| !queue.is_empty()) {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let pick = usize::try_from(chance >> 33).unwrap() % queues.len();
            mingled.extend(queues[pick].pop_front());
        }
        let (mut walked, findings) = walk(Walk::default(), &mingled);
        prop_assert_eq!(&findings, &vec![]);
        for chain in &chains {
            prop_assert_eq!(walked.head(chain[0].chain(), Some(&chain.last().unwrap().head())), None);
        }
        prop_assert_eq!(walked.end(true), vec![]);

        let at = damaged.index(mingled.len());
        let mut attributes = mingled[at].attributes().clone();
        attributes.insert("reason".to_owned(), json!("another"));
        let owner = mingled[at].chain().to_owned();
        mingled[at] = Entry::from_attributes(attributes);
        let (_, findings) = walk(Walk::default(), &mingled);
        prop_assert!(findings.iter().any(|found| found.word() == "changed" && found.chain() == owner));
        prop_assert!(findings.iter().all(|found| found.chain() == owner), "{:?}", findings);
    }

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
