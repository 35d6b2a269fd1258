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
    let expected = [("unlinked", 2), ("changed", 2), ("unlinked", 3), ("changed", 3), ("unlinked", 4)];
    assert_eq!((findings, code), (expected.map(|(word, seq)| (word.to_owned(), seq)).to_vec(), 1));
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
    assert_eq!((findings, code), one("rewritten", 5));

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
    assert_eq!((verify().code, verify().json()["whole"].clone()), (0, json!(true)));
    assert!(verify().json()["not_shown"].as_str().unwrap().contains("--against"));

    let whole = std::fs::read_to_string(&export).unwrap();
    let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    let of_dana: Vec<String> =
        lines.iter().filter(|line| line.contains(&format!("\"subject\":\"{DANA}\""))).cloned().collect();
    let found_in = |lines: &[String]| {
        std::fs::write(&export, lines.join("\n")).unwrap();
        let said = verify();
        assert_eq!(said.code, 1, "{said:?}");
        let report = said.json();
        let findings = report["findings"].as_array().unwrap().iter();
        findings.map(|found| found["finding"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let without = |gone: &str| lines.iter().filter(|line| *line != gone).cloned().collect::<Vec<_>>();
    let with = |from: &str, to: &str| {
        let change = |line: &String| if line == from { to.to_owned() } else { line.clone() };
        lines.iter().map(change).collect::<Vec<_>>()
    };
    assert_eq!(found_in(&without(&of_dana[1])), ["missing", "truncated"]);
    assert_eq!(found_in(&without(&of_dana[4])), ["cut-off", "truncated"]);
    assert_eq!(found_in(&with(&of_dana[2], &of_dana[2].replace("INC-2", "INC-X"))), ["changed"]);
    let twice = with(&of_dana[1], &format!("{}\n{}", of_dana[1], of_dana[0]));
    assert_eq!(found_in(&twice), ["out-of-order", "truncated"]);
    let head = lines.iter().find(|line| line.contains(&format!("\"#head\":\"{DANA}\""))).unwrap();
    assert_eq!(found_in(&without(head)), ["headless", "truncated"]);
    let cut_off = found_in(&lines[..4]);
    assert_eq!(
        (cut_off[0].as_str(), cut_off.last().unwrap().as_str()),
        ("headless", "truncated"),
        "after three entries"
    );
    assert_eq!(found_in(&lines[..lines.len() - 1]), ["truncated"], "cut off before its end");
    let nothing = [r##"{"#export":{"of":"all"}}"##, r##"{"#end":{"entries":0,"heads":0}}"##].map(str::to_owned);
    assert_eq!(found_in(&nothing), ["empty"], "everything was removed before");
    let is_refused = |content: String, why: &str| {
        std::fs::write(&export, content).unwrap();
        for option in ["--export", "--against"] {
            let said = offline(&["audit", "verify", option, path, "--locks-table", "x", "--audit-table", "y"]);
            assert_eq!((said.code, said.out.as_str(), said.err.lines().count()), (3, "", 1), "{said:?}");
            assert!(said.err.contains(why), "{said:?}");
        }
    };
    is_refused(String::new(), "no export");
    let forged = of_dana[2].replacen('{', "{\"reason\":\"what a reader that takes the first one sees\",", 1);
    is_refused(with(&of_dana[2], &forged).join("\n"), "a key stands twice");
    is_refused(of_dana.join("\n"), "line 1: is not where an export has it");
    is_refused("no json".to_owned(), "line 1: is no JSON object");
    std::fs::remove_file(export).unwrap();
}

#[tokio::test]
async fn what_a_selection_leaves_out_is_not_missed_and_what_is_in_it_is_held_to_its_hash() {
    let world = storied().await;
    let export = scratch("selection.jsonl");
    let path = export.to_str().unwrap();
    assert_eq!(online(&world, &["audit", "export", "--kind", "completed", "--to-file", path]).await.code, 0);
    let said = offline(&["audit", "verify", "--export", path]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("left out of a selection") || said.err.contains("left out of a selection"), "{said:?}");
    let whole = scratch("whole.jsonl");
    assert_eq!(online(&world, &["audit", "export", "--to-file", whole.to_str().unwrap()]).await.code, 0);
    let said = offline(&["audit", "verify", "--export", path, "--against", whole.to_str().unwrap()]);
    assert!(said.code == 3 && said.err.contains("without --against"), "{said:?}");
    std::fs::remove_file(whole).unwrap();
    let changed =
        std::fs::read_to_string(&export).unwrap().replacen("\"kind\":\"completed\"", "\"kind\":\"restored\"", 1);
    std::fs::write(&export, changed).unwrap();
    let said = offline(&["audit", "verify", "--export", path]);
    assert!(said.code == 1 && said.out.contains("was changed"), "{said:?}");
    std::fs::remove_file(export).unwrap();
}

#[tokio::test]
async fn only_a_whole_export_of_everything_proves_that_nothing_was_rewritten() {
    let world = storied().await;
    let export = scratch("part.jsonl");
    let path = export.to_str().unwrap();
    let against = |path: &str| {
        let path = path.to_owned();
        let world = &world;
        async move { online(world, &["audit", "verify", "--against", &path]).await }
    };
    assert_eq!(online(&world, &["audit", "export", DANA, "--to-file", path]).await.code, 0);
    let said = against(path).await;
    assert!(said.code == 3 && said.err.contains("it is of a selection"), "{said:?}");
    assert_eq!(online(&world, &["audit", "export", "--to-file", path]).await.code, 0);
    let whole = std::fs::read_to_string(&export).unwrap();
    std::fs::write(&export, whole.lines().take(4).collect::<Vec<_>>().join("\n")).unwrap();
    let said = against(path).await;
    assert!(said.code == 3 && said.err.contains("proves nothing"), "{said:?}");
    std::fs::remove_file(export).unwrap();
}

async fn put_head(world: &World, seq: AttributeValue, hash: AttributeValue) {
    let put = world.clients.tables.put_item().table_name(LOCKS).item("subject", text(&format!("#head/{DANA}")));
    put.item("seq", seq).item("hash", hash).send().await.unwrap();
}

#[tokio::test]
async fn a_removed_chain_does_not_pass_with_a_head_of_zero() {
    let world = storied().await;
    for seq in 1..=5 {
        remove(&world, seq).await;
    }
    put_head(&world, digits(0), text(&"0".repeat(64))).await;
    assert_eq!(found(&world, &[]).await, one("bad-head", 0));
}

#[tokio::test]
async fn one_bad_head_keeps_nobody_from_verifying_and_exporting() {
    let world = storied().await;
    put_head(&world, text("five"), AttributeValue::Null(true)).await;
    assert_eq!(found(&world, &[]).await, one("bad-head", 0));
    let export = scratch("bad-head.jsonl");
    let path = export.to_str().unwrap();
    assert_eq!(online(&world, &["audit", "export", "--to-file", path]).await.code, 0);
    let said = offline(&["audit", "verify", "--export", path]);
    std::fs::remove_file(export).unwrap();
    assert!(said.code == 1 && said.out.starts_with("bad-head: "), "{said:?}");
}

#[tokio::test]
async fn the_last_entry_replaced_and_entries_added_are_told_apart() {
    let world = storied().await;
    let other = another_story().await;
    let mut last = other[4].clone();
    last.insert("prev_hash".to_owned(), entry(&world, 4).await["hash"].clone());
    put(&world, last).await;
    let (findings, code) = found(&world, &[]).await;
    assert_eq!((findings, code), (vec![("changed".to_owned(), 5), ("replaced".to_owned(), 5)], 1));

    let world = storied().await;
    put(&world, other[5].clone()).await;
    let (findings, code) = found(&world, &[]).await;
    assert_eq!((findings, code), (vec![("unlinked".to_owned(), 6), ("added".to_owned(), 6)], 1));
}

#[tokio::test]
async fn a_name_that_nobody_has_and_a_table_without_a_trail_are_not_whole() {
    let world = storied().await;
    let said = online(&world, &["audit", "verify", "dana.rayes@example.com"]).await;
    assert!(said.code == 1 && said.out.contains("is that the name?"), "{said:?}");
    let world = World::new().await;
    let said = online(&world, &["audit", "verify"]).await;
    assert!(said.code == 1 && said.out.contains("is it the right table"), "{said:?}");
}

#[tokio::test]
async fn findings_are_told_to_people_too_and_nobody_reading_on_changes_nothing() {
    let world = storied().await;
    remove(&world, 2).await;
    let said = online(&world, &["audit", "verify"]).await;
    assert_eq!(said.code, 1);
    insta::assert_snapshot!(said.out);
    let mut command = crate::command(&["audit", "verify"]);
    crate::with_world(&mut command, &world);
    command.stdout(std::process::Stdio::piped());
    let code = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        child.wait().unwrap().code()
    });
    assert_eq!(code.await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_trail_of_many_pages_is_read_to_its_end() {
    let world = World::new().await;
    let app = world.app(&[]);
    // DynamoDB ends a page after a megabyte.
    let reason = "x".repeat(990);
    for number in 0..30 {
        let subjects: Vec<String> = (0..50).map(|n| format!("subject-{number}-{n}@example.com")).collect();
        let command = json!({"action": "restore", "subjects": subjects, "reason": reason, "id": format!("R-{number}")});
        world.invoke(&app, &command).await.unwrap();
    }
    let said = online(&world, &["audit", "verify", "--output", "json"]).await;
    assert_eq!((said.code, &said.json()["entries"], &said.json()["chains"]), (0, &json!(1500), &json!(1500)));
    let listed =
        online(&world, &["audit", "list", "--from", "2026-03-01", "--to", "2026-03-01", "--output", "jsonl"]).await;
    assert_eq!(listed.out.lines().count(), 1500);
}
