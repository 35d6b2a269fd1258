//! Which producer is not believed any further can be seen, and mended.

use serde_json::json;

use crate::world::World;
use crate::world::deployed::Deployed;
use crate::world::reading::sample;
use crate::{deployed, online};

#[tokio::test]
async fn a_breaker_that_opened_is_shown_and_closed() {
    let world = World::new().await;
    world.now();
    let said = online(&world, &["breaker", "status"]).await;
    assert!(said.code == 0 && said.err.contains("every breaker is closed"), "{said:?}");

    let app = world.app(&[("VPN_REVOKER_MAX_SUBJECTS", "1")]);
    for number in 0..3 {
        let mut event = sample("okta/deactivate-eventbridge.json");
        event["id"] = json!(format!("event-{number}"));
        event["detail"]["uuid"] = json!(format!("uuid-{number}"));
        event["detail"]["target"][0]["alternateId"] = json!(format!("leaver-{number}@example.com"));
        let _ = world.invoke(&app, &event).await;
    }
    let said = online(&world, &["breaker", "status", "--output", "json"]).await;
    let rows = said.json();
    assert_eq!((said.code, &rows[0]["state"]), (1, &json!("open")), "{said:?}");
    let authority = rows[0]["authority"].as_str().unwrap().to_owned();
    assert!(authority.starts_with("okta:"), "{rows}");
    assert!(online(&world, &["breaker", "status"]).await.out.contains(&format!("{authority}  open")));

    let function = Deployed::start(&world, &[]).await;
    let close = async |authority: &str| {
        deployed(&world, &function, &["breaker", "close", authority, "--reason", "they did leave", "--yes"]).await
    };
    let said = close("okta").await;
    assert_eq!(said.code, 2);
    assert!(said.err.contains(&format!("the breaker of okta is not open; open are: {authority}")), "{said:?}");
    assert_eq!(close(&authority.to_uppercase()).await.code, 0);
    assert_eq!(world.kinds(&format!("#breaker/{authority}")).await, ["restored"]);
    let said = close(&authority).await;
    assert!(said.code == 2 && said.err.contains("there is nothing to close"), "{said:?}");
    let said = online(&world, &["breaker", "status", "--output", "json"]).await;
    assert_eq!((said.code, &said.json()[0]["state"]), (0, &json!("closed")), "{said:?}");
}

#[tokio::test]
async fn what_was_newly_locked_is_counted() {
    let world = World::new().await;
    world.now();
    let app = world.app(&[]);
    world.invoke(&app, &sample("okta/deactivate-eventbridge.json")).await.unwrap();
    let said = online(&world, &["breaker", "status", "--output", "json"]).await;
    assert_eq!((said.code, &said.json()[0]["newly_locked"]), (0, &json!(1)), "{said:?}");
}
