//! Who is kept out can be seen.

use serde_json::json;

use crate::{online, storied};

#[tokio::test]
async fn everybody_who_is_locked_is_listed() {
    let world = storied().await;
    let said = online(&world, &["locks", "list"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    insta::assert_snapshot!(said.out);
}

#[tokio::test]
async fn every_word_about_somebody_is_shown() {
    let world = storied().await;
    let app = world.app(&[]);
    let restore = json!({"action": "restore", "subjects": ["lee.park@example.com"], "reason": "back", "id": "INC-8"});
    world.invoke(&app, &restore).await.unwrap();
    let said = online(&world, &["locks", "show", "LEE.PARK@example.com", "--output", "json"]).await;
    assert_eq!(said.code, 1, "nothing keeps the name out");
    assert_eq!((&said.json()[0]["state"], &said.json()[0]["authority"]), (&json!("released"), &json!("command")));
    let said = online(&world, &["locks", "show", "dana.reyes@example.com"]).await;
    assert_eq!(said.code, 0);
    let said = online(&world, &["locks", "show", "nobody@example.com"]).await;
    assert_eq!((said.code, said.out.as_str()), (1, ""));
}

#[tokio::test]
async fn a_hold_that_lapsed_is_no_lock() {
    let world = storied().await;
    let app = world.app(&[]);
    let brief = json!({"action": "revoke", "subjects": ["kim@example.com"], "reason": "an hour", "id": "INC-9", "expires_in": "PT1H"});
    world.invoke(&app, &brief).await.unwrap();
    let said = online(&world, &["locks", "show", "kim@example.com", "--output", "jsonl"]).await;
    assert_eq!((said.code, &said.json()["state"]), (1, &json!("lapsed")), "the world's clock stands long ago");
    assert!(!online(&world, &["locks", "list"]).await.out.contains("kim@example.com"));
}

#[tokio::test]
async fn aliases_are_shown() {
    let world = storied().await;
    let app = world.app(&[]);
    let alias = json!({"action": "alias", "subjects": ["dana.reyes@example.com"], "names": ["laptop-7"], "id": "INC-10", "reason": "hers"});
    world.invoke(&app, &alias).await.unwrap();
    let said = online(&world, &["locks", "alias", "dana.reyes@example.com", "--output", "json"]).await;
    assert_eq!((said.code, said.json()), (0, json!(["laptop-7"])));
}
