//! A trail that somebody was at is found out, and said of which entry and why.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;

use crate::world::tables::scan;
use crate::world::{AUDIT, LOCKS, World};
use crate::{offline, online, scratch, storied};

const DANA: &str = "dana.reyes@example.com";

type Item = HashMap<String, AttributeValue>;

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn digits(number: usize) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

async fn entry(world: &World, seq: usize) -> Item {
    let key = HashMap::from([("subject".to_owned(), text(DANA)), ("seq".to_owned(), digits(seq))]);
    world.clients.tables.get_item().table_name(AUDIT).set_key(Some(key)).send().await.unwrap().item.unwrap()
}

async fn put(world: &World, item: Item) {
    world.clients.tables.put_item().table_name(AUDIT).set_item(Some(item)).send().await.unwrap();
}

async fn remove(world: &World, seq: usize) {
    let delete = world.clients.tables.delete_item().table_name(AUDIT);
    delete.key("subject", text(DANA)).key("seq", digits(seq)).send().await.unwrap();
}

async fn remove_head(world: &World) {
    let delete = world.clients.tables.delete_item().table_name(LOCKS);
    delete.key("subject", text(&format!("#head/{DANA}"))).send().await.unwrap();
}

/// What is found, as (finding, entry), and the exit code.
async fn found(world: &World, arguments: &[&str]) -> (Vec<(String, u64)>, i32) {
    let said = online(world, &[&["audit", "verify", "--output", "json"], arguments].concat()).await;
    let report = said.json();
    let findings = report["findings"].as_array().unwrap().iter();
    let findings = findings.map(|found| {
        assert_eq!(found["subject"], json!(DANA), "nobody else's chain is accused");
        (found["finding"].as_str().unwrap().to_owned(), found["seq"].as_u64().unwrap())
    });
    (findings.collect(), said.code)
}

fn one(word: &str, seq: u64) -> (Vec<(String, u64)>, i32) {
    (vec![(word.to_owned(), seq)], 1)
}

#[tokio::test]
async fn a_trail_that_nobody_touched_is_whole() {
    let world = storied().await;
    assert_eq!(found(&world, &[]).await, (vec![], 0));
    let said = online(&world, &["audit", "verify"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(
        said.out.starts_with("8 entries of 3 subjects: every one follows from the one before.\nNot shown: "),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_changed_entry_is_found() {
    let world = storied().await;
    let mut changed = entry(&world, 2).await;
    changed.insert("reason".to_owned(), text("nothing to see here"));
    put(&world, changed).await;
    assert_eq!(found(&world, &[]).await, one("changed", 2));
    assert_eq!(found(&world, &[DANA]).await, one("changed", 2));
    let said = online(&world, &["audit", "show", DANA, "2"]).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("was changed"), "{said:?}");
}

#[tokio::test]
async fn an_attribute_that_no_entry_has_is_found() {
    let world = storied().await;
    let mut changed = entry(&world, 1).await;
    changed.insert("note".to_owned(), AttributeValue::Ss(vec!["a set".to_owned()]));
    put(&world, changed).await;
    assert_eq!(found(&world, &[]).await, one("changed", 1));
}

#[tokio::test]
async fn a_missing_entry_is_found() {
    let world = storied().await;
    remove(&world, 2).await;
    assert_eq!(found(&world, &[]).await, one("missing", 2));
}

#[tokio::test]
async fn a_chain_that_was_cut_off_is_found() {
    let world = storied().await;
    remove(&world, 5).await;
    assert_eq!(found(&world, &[]).await, one("cut-off", 5));
    for seq in 1..5 {
        remove(&world, seq).await;
    }
    assert_eq!(found(&world, &[]).await, one("cut-off", 1), "all of it");
}

#[tokio::test]
async fn a_head_that_is_gone_is_found() {
    let world = storied().await;
    remove_head(&world).await;
    assert_eq!(found(&world, &[]).await, one("headless", 6));
}

#[tokio::test]
async fn entries_in_another_order_are_found() {
    let world = storied().await;
    let (mut two, mut three) = (entry(&world, 2).await, entry(&world, 3).await);
    two.insert("seq".to_owned(), digits(3));
    three.insert("seq".to_owned(), digits(2));
    put(&world, two).await;
    put(&world, three).await;
    let (findings, code) = found(&world, &[]).await;
    assert_eq!(code, 1);
    assert!(
        findings.contains(&("changed".to_owned(), 2)) && findings.contains(&("changed".to_owned(), 3)),
        "{findings:?}"
    );
}

/// Another story about Dana, which is whole in itself, hashes and all.
async fn another_story() -> Vec<Item> {
    let world = World::new().await;
    let app = world.app(&[]);
    for id in ["INC-7", "INC-8", "INC-9"] {
        let command = json!({"action": "revoke", "subjects": [DANA], "reason": "another", "id": id});
        world.invoke(&app, &command).await.unwrap();
    }
    let mut items = scan(&world.clients.tables, AUDIT).await;
    items.sort_by_key(|item| item["seq"].as_n().unwrap().parse::<u64>().unwrap());
    items
}

#[tokio::test]
async fn a_forked_chain_is_found() {
    let world = storied().await;
    let other = another_story().await;
    put(&world, other[2].clone()).await;
    let (findings, code) = found(&world, &[]).await;
    assert_eq!(code, 1);
    assert_eq!(findings, vec![("unlinked".to_owned(), 3), ("unlinked".to_owned(), 4)]);
}

#[tokio::test]
async fn a_chain_rewritten_with_its_head_is_found_by_an_earlier_export() {
    let world = storied().await;
    let export = scratch("before.jsonl");
    let path = export.to_str().unwrap();
    assert_eq!(online(&world, &["audit", "export", "--to-file", path]).await.code, 0);
    assert_eq!(found(&world, &["--against", path]).await, (vec![], 0));

    for seq in 1..=5 {
        remove(&world, seq).await;
    }
    let other = another_story().await;
    let last = other.last().unwrap().clone();
    for item in other {
        put(&world, item).await;
    }
    let head = world.clients.tables.put_item().table_name(LOCKS).item("subject", text(&format!("#head/{DANA}")));
    head.item("seq", last["seq"].clone()).item("hash", last["hash"].clone()).send().await.unwrap();
    assert_eq!(found(&world, &[]).await, (vec![], 0), "the tables agree with each other");
    let (findings, code) = found(&world, &["--against", path]).await;
    assert_eq!((findings.len(), code), (1, 1), "{findings:?}");
    assert!(["rewritten", "removed"].contains(&findings[0].0.as_str()), "{findings:?}");

    for seq in 1..=6 {
        remove(&world, seq).await;
    }
    remove_head(&world).await;
    assert_eq!(found(&world, &["--against", path]).await, one("removed", 5), "chain and head are gone");
    std::fs::remove_file(export).unwrap();
}

#[tokio::test]
async fn an_export_is_verified_without_aws() {
    let world = storied().await;
    let export = scratch("export.jsonl");
    let path = export.to_str().unwrap();
    let said = online(&world, &["audit", "export", "--to-file", path]).await;
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    assert!(said.err.starts_with("8 entries are in "), "{said:?}");
    let verify = || offline(&["audit", "verify", "--export", path, "--output", "json"]);
    assert_eq!((verify().code, verify().json()["heads"].clone()), (0, json!(true)));

    let whole = std::fs::read_to_string(&export).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let is_of_dana = |line: &&&str| line.contains(&format!("\"subject\":\"{DANA}\""));
    let of_dana: Vec<&str> = lines.iter().filter(is_of_dana).copied().collect();
    let findings_with = |lines: Vec<&str>| {
        std::fs::write(&export, lines.join("\n")).unwrap();
        let said = verify();
        assert_eq!(said.code, 1, "{said:?}");
        said.json()["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["finding"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let without = |gone: &str| lines.iter().filter(|line| **line != gone).copied().collect::<Vec<_>>();
    assert_eq!(findings_with(without(of_dana[1])), ["missing"]);
    assert_eq!(findings_with(without(of_dana[4])), ["cut-off"]);
    let changed = of_dana[2].replace("INC-2", "INC-X");
    let swap = |from: &str, to: &str| {
        lines.iter().map(|line| if *line == from { to.to_owned() } else { (*line).to_owned() }).collect::<Vec<_>>()
    };
    assert_eq!(findings_with(swap(of_dana[2], &changed).iter().map(String::as_str).collect()), ["changed"]);
    let twice = [lines.clone(), vec![of_dana[0]]].concat();
    assert_eq!(findings_with(twice), ["out-of-order"]);
    std::fs::write(&export, "no json").unwrap();
    let said = offline(&["audit", "verify", "--export", path]);
    assert_eq!((said.code, said.err.lines().count()), (3, 1));
    assert!(said.err.contains("line 1: is no JSON object"), "{said:?}");
    std::fs::remove_file(export).unwrap();
}
