//! What is recorded can be seen, and taken away.

use crate::{online, scratch, storied};

const DANA: &str = "dana.reyes@example.com";

#[tokio::test]
async fn a_subjects_entries_are_listed_oldest_first() {
    let world = storied().await;
    let said = online(&world, &["audit", "list", "Dana.Reyes@Example.com"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    insta::assert_snapshot!(said.out);
}

#[tokio::test]
async fn entries_of_days_are_selected_by_kind_and_signal() {
    let world = storied().await;
    let days = ["audit", "list", "--from", "2026-03-01", "--to", "2026-03-02", "--output", "jsonl"];
    let lines = |more: &'static [&'static str]| {
        let world = &world;
        async move { online(world, &[&days, more].concat()).await.out.lines().count() }
    };
    assert_eq!(lines(&[]).await, 8);
    assert_eq!(lines(&["--kind", "completed"]).await, 3);
    assert_eq!(lines(&["--kind", "completed", "--kind", "refused"]).await, 4);
    assert_eq!(lines(&["--signal", "INC-4"]).await, 2);
    let said = online(&world, &["audit", "list", "--from", "2026-03-02", "--to", "2026-03-03"]).await;
    assert_eq!((said.code, said.out.as_str()), (0, ""));
}

#[tokio::test]
async fn an_entry_is_shown_with_all_that_it_holds() {
    let world = storied().await;
    let said = online(&world, &["audit", "show", DANA, "2"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let entry = said.json();
    assert_eq!((&entry["kind"], &entry["seq"]), (&"completed".into(), &2.into()));
    assert_eq!(entry["reason"], "INC-1: \u{1b}[2Jred", "as it is, to a program");
    assert!(!said.out.contains('\u{1b}'), "and not to a terminal");
    let said = online(&world, &["audit", "show", DANA, "6"]).await;
    assert_eq!((said.code, said.out.as_str()), (1, "the chain has no entry 6; its head stands at 5\n"));
}

#[tokio::test]
async fn a_spreadsheet_gets_no_formulas() {
    let world = storied().await;
    let app = world.app(&[]);
    let command =
        serde_json::json!({"action": "revoke", "subjects": ["=cmd|calc@example.com"], "reason": "=1+1", "id": "INC-6"});
    world.invoke(&app, &command).await.unwrap();
    let file = scratch("export.csv");
    let arguments = ["audit", "export", "=cmd|calc@example.com", "--csv", "--to-file", file.to_str().unwrap()];
    assert_eq!(online(&world, &arguments).await.code, 0);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(text.starts_with("at,kind,subject,seq,authority,actor,reason,"), "{text}");
    assert!(text.contains(",'=cmd|calc@example.com,") && text.contains(",'=1+1,"), "{text}");
}

#[tokio::test]
async fn an_export_that_fails_leaves_no_half_of_a_file() {
    let world = storied().await;
    let file = scratch("half.jsonl");
    let arguments = ["audit", "export", "--audit-table", "another", "--to-file", file.to_str().unwrap()];
    assert_eq!(online(&world, &arguments).await.code, 3);
    let part = format!("{}.part", file.display());
    assert!(!file.exists() && !std::path::Path::new(&part).exists());
}
