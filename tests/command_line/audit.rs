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
    let missing = (said.code, said.out.as_str(), said.err.as_str());
    assert_eq!(missing, (1, "", "the chain has no entry 6; its last one is 5\n"));
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
    assert!(text.starts_with("\"at\",\"kind\",\"subject\",\"seq\","), "{text}");
    assert!(text.contains(",\"'=cmd|calc@example.com\",") && text.contains(",\"'=1+1\","), "{text}");
}

#[tokio::test]
async fn an_export_that_fails_leaves_no_half_of_a_file() {
    let world = storied().await;
    let file = scratch("half.jsonl");
    let arguments = ["audit", "export", "--audit-table", "another", "--to-file", file.to_str().unwrap()];
    assert_eq!(online(&world, &arguments).await.code, 3);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let left = std::fs::read_dir(file.parent().unwrap()).unwrap().filter_map(Result::ok);
    let left: Vec<_> = left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn an_export_can_not_drive_the_terminal_either() {
    let world = storied().await;
    for arguments in [&["audit", "export"][..], &["audit", "export", "--csv"], &["audit", "export", DANA, "--csv"]] {
        let said = online(&world, arguments).await;
        assert!(said.code == 0 && said.out.contains("INC-1") && !said.out.contains('\u{1b}'), "{arguments:?}");
    }
}

#[tokio::test]
async fn kinds_alone_mean_all_days_in_an_export() {
    let world = storied().await;
    let said = online(&world, &["audit", "export", "--kind", "refused"]).await;
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, r##"{"#export":{"of":"selection"}}"##), "{said:?}");
    assert!(
        lines[1].contains("\"kind\":\"refused\"") && lines[2] == r##"{"#end":{"entries":1,"heads":0}}"##,
        "{said:?}"
    );
}

#[tokio::test]
async fn what_grows_while_it_is_exported_is_whole_all_the_same() {
    let world = std::sync::Arc::new(storied().await);
    let file = scratch("growing.jsonl");
    let path = file.to_str().unwrap().to_owned();
    let all_exported = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = tokio::spawn({
        let (world, all_exported) = (std::sync::Arc::clone(&world), std::sync::Arc::clone(&all_exported));
        async move {
            let app = world.app(&[]);
            for number in (0..).take_while(|_| !all_exported.load(std::sync::atomic::Ordering::SeqCst)) {
                let command = serde_json::json!({"action": "restore", "subjects": [DANA], "reason": "x", "id": format!("G-{number}")});
                world.invoke(&app, &command).await.unwrap();
            }
        }
    });
    for _ in 0..3 {
        assert_eq!(online(&world, &["audit", "export", "--to-file", &path]).await.code, 0);
        let verified = crate::offline(&["audit", "verify", "--export", &path]);
        assert_eq!(verified.code, 0, "{verified:?}");
        let verified = online(&world, &["audit", "verify"]).await;
        assert_eq!(verified.code, 0, "{verified:?}");
    }
    all_exported.store(true, std::sync::atomic::Ordering::SeqCst);
    writer.await.unwrap();
    std::fs::remove_file(file).unwrap();
}
