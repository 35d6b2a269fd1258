//! The deployment is found by its stack, by its function, or by being the only one there.

use serde_json::json;

use crate::world::deployed::{Deployed, FUNCTION, HANDLER};
use crate::world::{AUDIT, LOCKS};
use crate::{deployed, online, storied};

#[tokio::test]
async fn the_only_one_there_needs_no_name() {
    let world = storied().await;
    let aws = Deployed::start(&world, &[]).await;
    let said = deployed(&world, &aws, &["locks", "list"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out, online(&world, &["locks", "list"]).await.out);
    assert_eq!(deployed(&world, &aws, &["audit", "verify"]).await.code, 0);
    let said = deployed(&world, &aws, &["revoke", "a@example.com", "--reason", "x", "--dry-run"]).await;
    assert_eq!((said.code, aws.invokes()), (0, 1), "{said:?}");
}

#[tokio::test]
async fn what_is_deployed_is_looked_up_once() {
    let world = storied().await;
    for (command, looks) in [
        (&["sessions"][..], 2),
        (&["sessions", "--function", FUNCTION], 1),
        (&["revoke", "a@example.com", "--reason", "x", "--dry-run"], 1),
        // The connect handlers are functions too, and are listed for themselves.
        (&["doctor"], 3),
    ] {
        let aws = Deployed::start(&world, &[]).await;
        deployed(&world, &aws, command).await;
        assert_eq!(aws.looks(), looks, "{command:?}");
    }
}

#[tokio::test]
async fn of_several_one_has_to_be_named() {
    let world = storied().await;
    let aws = Deployed::start(&world, &[]).await;
    aws.also("staging-revoker", json!({"VPN_REVOKER_LOCKS_TABLE": "x", "VPN_REVOKER_AUDIT_TABLE": "y"}));
    let said = deployed(&world, &aws, &["locks", "list"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("staging-revoker, vpn-revoker-revoker") && said.err.contains("--stack"), "{said:?}");
    for named in [["--stack", "vpn-revoker"], ["--function", FUNCTION]] {
        let said = deployed(&world, &aws, &[&["locks", "list"][..], &named].concat()).await;
        assert!(said.code == 0 && said.out.contains("lee.park"), "{said:?}");
    }
    let said = deployed(&world, &aws, &["locks", "list", "--stack", "staging"]).await;
    assert!(said.code == 3 && said.err.contains("table x"), "its own tables, and not those of another: {said:?}");
}

#[tokio::test]
async fn where_there_is_none_that_is_said() {
    let world = storied().await;
    let aws = Deployed::start(&world, &[]).await;
    aws.without(FUNCTION);
    let said = deployed(&world, &aws, &["locks", "list"]).await;
    assert!(
        said.code == 2 && said.err.contains("no function of vpn-revoker is in this account and Region"),
        "{said:?}"
    );
    let said = deployed(&world, &aws, &["locks", "list", "--stack", "vpn-revoker"]).await;
    assert!(said.code == 3 && said.err.contains("function vpn-revoker-revoker: ResourceNotFoundException"), "{said:?}");
    let said = deployed(&world, &aws, &["locks", "list", "--function", "somebody-elses"]).await;
    assert!(said.code == 3 && said.err.contains("somebody-elses is no function of vpn-revoker"), "{said:?}");
}

#[tokio::test]
async fn a_connect_handler_is_not_taken_for_the_function() {
    let world = storied().await;
    let aws = Deployed::start(&world, &[]).await;
    aws.also("AWSClientVPN-another", json!({"VPN_REVOKER_LOCKS_TABLE": LOCKS, "VPN_REVOKER_AUDIT_TABLE": AUDIT}));
    assert_eq!(deployed(&world, &aws, &["locks", "list"]).await.code, 0);
    assert!(HANDLER.starts_with("AWSClientVPN-"));
}

#[tokio::test]
async fn a_stack_counts_for_more_than_what_the_shell_exports() {
    let world = storied().await;
    let aws = Deployed::start(&world, &[]).await;
    let mut command = crate::deployed_command(&world, &aws, &["locks", "list", "--stack", "vpn-revoker"]);
    command.env("VPN_REVOKER_LOCKS_TABLE", "another").env("VPN_REVOKER_FUNCTION", "another");
    let said = tokio::task::spawn_blocking(move || crate::said(command)).await.unwrap();
    assert!(said.code == 0 && said.out.contains("lee.park"), "{said:?}");
}

#[tokio::test]
async fn tables_of_one_deployment_and_the_function_of_another_are_not_mixed() {
    let world = storied().await;
    let aws = Deployed::start(&world, &[]).await;
    let others = ["--locks-table", "staging-locks", "--audit-table", "staging-audit"];
    for command in [
        &["revoke", "a@example.com", "--reason", "x", "--yes"][..],
        &["revoke", "a@example.com", "--reason", "x", "--yes", "--local"],
        &["sessions", "--function", FUNCTION],
        &["replay", "--shadowed", "--apply", "--yes", "--function", FUNCTION],
        &["audit", "verify", "--function", FUNCTION],
        &["locks", "list", "--function", FUNCTION],
        &["breaker", "status", "--function", FUNCTION],
    ] {
        let said = deployed(&world, &aws, &[command, &others].concat()).await;
        assert_eq!((said.code, said.out.as_str(), aws.invokes()), (2, "", 0), "{command:?}: {said:?}");
        assert!(said.err.contains("the table staging-locks was named, and vpn-revoker-revoker has"), "{said:?}");
    }
    let same = ["--locks-table", LOCKS, "--audit-table", AUDIT];
    let said = deployed(&world, &aws, &[&["sessions", "--function", FUNCTION][..], &same].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test]
async fn one_that_can_not_be_read_may_be_the_one_that_is_meant() {
    let world = storied().await;
    let aws = Deployed::start(&world, &[]).await;
    aws.also("prod-revoker", json!({}));
    aws.seals("prod-revoker");
    let said = deployed(&world, &aws, &["locks", "list"]).await;
    assert!(said.code == 3 && said.err.contains("prod-revoker") && said.err.contains("kms:Decrypt"), "{said:?}");
    let said = deployed(&world, &aws, &["locks", "list", "--stack", "prod"]).await;
    assert!(said.code == 3 && said.err.contains("its environment can't be read"), "{said:?}");
    assert_eq!(deployed(&world, &aws, &["locks", "list", "--stack", "vpn-revoker"]).await.code, 0);
    aws.without("prod-revoker");
    aws.also("AWSClientVPN-posture", json!({}));
    aws.seals("AWSClientVPN-posture");
    assert_eq!(deployed(&world, &aws, &["locks", "list"]).await.code, 0, "a connect handler is not meant");
}

#[tokio::test]
async fn a_configuration_from_a_file_is_not_silently_passed_over() {
    let world = storied().await;
    let aws = Deployed::start(&world, &[]).await;
    let revoke = ["revoke", "a@example.com", "--reason", "x", "--yes", "--config", "staging.json"];
    let said = deployed(&world, &aws, &revoke).await;
    assert!(said.code == 2 && said.err.contains("--local") && aws.invokes() == 0, "{said:?}");
}
