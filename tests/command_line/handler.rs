//! The connect handler is attached where nobody else's stands, and can be taken away again.

use std::time::Duration;

use client_vpn_emulator::NewEndpoint;
use serde_json::json;

use crate::deployed;
use crate::world::deployed::{Deployed, HANDLER, arn};
use crate::world::{ENDPOINTS, World};

const OTHERS: &str = "arn:aws:lambda:eu-west-1:111122223333:function:AWSClientVPN-posture-check";

/// A world in which another function stands at a fourth endpoint.
async fn world() -> (World, Deployed) {
    let world = World::new().await;
    world.emulator.add_endpoint(NewEndpoint::new("cvpn-endpoint-0other00000000004").connect_handler(OTHERS));
    let aws = Deployed::start(&world, &[]).await;
    (world, aws)
}

/// The function that an endpoint asks.
fn asked(world: &World, endpoint: &str) -> Option<String> {
    world.emulator.endpoints().into_iter().find(|view| view.endpoint_id == endpoint).unwrap().connect_handler
}

#[tokio::test]
async fn ours_is_attached_and_detached_again() {
    let (world, aws) = world().await;
    let said = deployed(&world, &aws, &["handler", "attach", ENDPOINTS[2], "--yes"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let undo = format!("to undo it: vpn-revoker handler detach {}", ENDPOINTS[2]);
    assert!(said.err.contains(&undo), "{said:?}");
    assert_eq!(asked(&world, ENDPOINTS[2]), Some(arn(HANDLER)));
    let said = deployed(&world, &aws, &["handler", "status"]).await;
    assert_eq!(said.code, 1, "the others are open: {said:?}");
    insta::assert_snapshot!(said.out);
    let again = deployed(&world, &aws, &["handler", "attach", ENDPOINTS[2], "--yes"]).await;
    assert!(again.code == 0 && again.err.contains("asks it already"), "{again:?}");
    let said = deployed(&world, &aws, &["handler", "detach", ENDPOINTS[2], "--yes"]).await;
    assert_eq!((said.code, asked(&world, ENDPOINTS[2])), (0, None), "{said:?}");
    let said = deployed(&world, &aws, &["handler", "detach", ENDPOINTS[2], "--yes"]).await;
    assert!(said.code == 3 && said.err.contains("nothing to detach"), "{said:?}");
}

#[tokio::test]
async fn one_that_only_watches_is_attached_and_not_called_well() {
    let world = World::new().await;
    let aws = Deployed::start(&world, &[]).await;
    let watching = json!({
        "VPN_REVOKER_LOCKS_TABLE": crate::world::LOCKS, "VPN_REVOKER_AUDIT_TABLE": crate::world::AUDIT,
        "VPN_REVOKER_MODE": "shadow",
    });
    aws.also(HANDLER, watching);
    for endpoint in ENDPOINTS {
        let said = deployed(&world, &aws, &["handler", "attach", endpoint, "--yes"]).await;
        assert!(said.code == 0 && said.out.contains("in shadow mode"), "{said:?}");
    }
    let said = deployed(&world, &aws, &["handler", "status"]).await;
    assert!(said.code == 1 && said.out.contains("ours, in shadow mode"), "{said:?}");
}

#[tokio::test]
async fn anothers_is_left_where_it_stands() {
    let (world, aws) = world().await;
    let other = "cvpn-endpoint-0other00000000004";
    for change in ["attach", "detach"] {
        let said = deployed(&world, &aws, &["handler", change, other, "--yes"]).await;
        assert!(said.code == 3 && said.err.contains(OTHERS), "{said:?}");
        assert_eq!(asked(&world, other).as_deref(), Some(OTHERS));
    }
    let meant = deployed(&world, &aws, &["handler", "detach", other, "--handler", OTHERS, "--yes"]).await;
    assert_eq!((meant.code, asked(&world, other)), (0, None), "{meant:?}");
}

#[tokio::test]
async fn a_handler_that_keeps_everybody_out_is_not_attached() {
    let (world, aws) = world().await;
    let broken = arn("AWSClientVPN-broken");
    let said = deployed(&world, &aws, &["handler", "attach", ENDPOINTS[0], "--handler", &broken, "--yes"]).await;
    assert!(said.code == 3 && said.err.contains("AWSClientVPN-broken"), "{said:?}");
    assert_eq!(asked(&world, ENDPOINTS[0]), None);
    // The tables are away: it says no to everybody.
    world.clients.tables.delete_table().table_name(crate::world::LOCKS).send().await.unwrap();
    let ours = arn(HANDLER);
    let said = deployed(&world, &aws, &["handler", "attach", ENDPOINTS[0], "--handler", &ours, "--yes"]).await;
    assert!(said.code == 3 && said.err.contains("would keep out somebody who is not locked"), "{said:?}");
    assert_eq!(asked(&world, ENDPOINTS[0]), None);
    let unasked = ["handler", "attach", ENDPOINTS[0], "--handler", &ours, "--untested", "--yes"];
    assert_eq!((deployed(&world, &aws, &unasked).await.code, asked(&world, ENDPOINTS[0])), (0, Some(ours.clone())));
}

#[tokio::test]
async fn one_that_is_kept_warm_is_attached_by_its_alias() {
    let (world, aws) = world().await;
    aws.keeps_warm("live");
    let said = deployed(&world, &aws, &["handler", "attach", ENDPOINTS[1], "--yes"]).await;
    assert_eq!((said.code, asked(&world, ENDPOINTS[1])), (0, Some(format!("{}:live", arn(HANDLER)))), "{said:?}");
}

#[tokio::test]
async fn ours_by_another_alias_is_ours_and_is_changed_without_a_gap() {
    let (world, aws) = world().await;
    assert_eq!(deployed(&world, &aws, &["handler", "attach", ENDPOINTS[1], "--yes"]).await.code, 0);
    aws.keeps_warm("live");
    let said = deployed(&world, &aws, &["handler", "status", "--output", "json"]).await;
    assert_eq!(said.json()[1]["state"], json!("ours"), "{said:?}");
    let said = deployed(&world, &aws, &["handler", "attach", ENDPOINTS[1], "--yes"]).await;
    assert_eq!((said.code, asked(&world, ENDPOINTS[1])), (0, Some(format!("{}:live", arn(HANDLER)))), "{said:?}");
    assert!(said.err.contains(&format!("handler attach {} --handler {}", ENDPOINTS[1], arn(HANDLER))), "{said:?}");
}

#[tokio::test]
async fn a_handler_of_another_account_or_region_is_not_attached() {
    let (world, aws) = world().await;
    let elsewhere = arn(HANDLER).replace("eu-west-1", "us-east-1");
    let said = deployed(&world, &aws, &["handler", "attach", ENDPOINTS[0], "--handler", &elsewhere, "--yes"]).await;
    assert!(said.code == 2 && said.err.contains("none of another account or Region"), "{said:?}");
    let said = deployed(&world, &aws, &["handler", "attach", ENDPOINTS[0], "--handler", HANDLER, "--yes"]).await;
    assert!(said.code == 2 && said.err.contains("is no ARN of a function"), "{said:?}");
    let role = "arn:aws:iam::444455556666:role/vpn-revoker";
    let targets = json!([{"region": "eu-west-1", "role_arn": role}]).to_string();
    let sts = crate::world::sts::Sts::start().await;
    let abroad = Deployed::start(&world, &[("VPN_REVOKER_TARGETS", &targets)]).await;
    let mut attach = crate::deployed_command(&world, &abroad, &["handler", "attach", ENDPOINTS[0], "--yes"]);
    attach.env("AWS_ENDPOINT_URL_STS", &sts.url);
    let said = tokio::task::spawn_blocking(move || crate::said(attach)).await.unwrap();
    assert!(said.code == 2 && said.err.contains("eu-west-1 of 444455556666"), "{said:?}");
    assert_eq!(asked(&world, ENDPOINTS[0]), None);
}

#[tokio::test]
async fn a_region_without_endpoints_is_no_success() {
    let (world, aws) = world().await;
    for view in world.emulator.endpoints() {
        world.emulator.remove_endpoint(&view.endpoint_id);
    }
    for look in ["status", "sessions"] {
        let command = if look == "status" { vec!["handler", "status"] } else { vec!["sessions"] };
        let said = deployed(&world, &aws, &command).await;
        assert!(said.code == 3 && said.err.contains("no Client VPN endpoint was found in eu-west-1"), "{said:?}");
    }
}

#[tokio::test]
async fn a_change_that_is_not_in_force_yet_is_told_apart() {
    let world = World::with(|emulator| emulator.apply_delay(Duration::from_secs(60))).await;
    let ours = arn(HANDLER);
    let aws = Deployed::start(&world, &[]).await;
    world.clients.ec2[0]
        .client()
        .modify_client_vpn_endpoint()
        .client_vpn_endpoint_id(ENDPOINTS[0])
        .client_connect_options(
            aws_sdk_ec2::types::ClientConnectOptions::builder().enabled(true).lambda_function_arn(&ours).build(),
        )
        .send()
        .await
        .unwrap();
    let said = deployed(&world, &aws, &["handler", "status", "--output", "json"]).await;
    assert_eq!((said.code, &said.json()[0]["state"]), (1, &json!("applying")), "{said:?}");
    world.clock.advance(Duration::from_secs(61));
    let said = deployed(&world, &aws, &["handler", "status", "--output", "json"]).await;
    assert_eq!(said.json()[0]["state"], json!("ours"), "{said:?}");
}

#[tokio::test]
async fn nothing_is_changed_that_nobody_confirmed() {
    let (world, aws) = world().await;
    let said = deployed(&world, &aws, &["handler", "attach", ENDPOINTS[2]]).await;
    assert!(said.code == 2 && said.err.contains("add --yes"), "{said:?}");
    assert_eq!(asked(&world, ENDPOINTS[2]), None);
    let said = deployed(&world, &aws, &["handler", "attach", "cvpn-endpoint-0none", "--yes"]).await;
    assert!(said.code == 2 && said.err.contains("is not there"), "{said:?}");
}

#[tokio::test]
async fn where_ours_is_not_known_it_is_said_who_is_asked() {
    let (world, aws) = world().await;
    aws.without(crate::world::deployed::FUNCTION);
    let tables = ["--locks-table", crate::world::LOCKS, "--audit-table", crate::world::AUDIT];
    let said = deployed(&world, &aws, &[&["handler", "status", "--output", "json"][..], &tables].concat()).await;
    let states: Vec<String> =
        said.json().as_array().unwrap().iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!((said.code, states), (3, ["none", "none", "none", "unchecked"].map(str::to_owned).to_vec()), "{said:?}");
    assert!(said.err.contains("which handler is ours was not found out"), "{said:?}");
}
