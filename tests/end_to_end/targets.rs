//! Several accounts and Regions, each with its own failures.

use std::time::Duration;

use client_vpn_emulator::{Authentication, Emulator, NewConnection, NewEndpoint, Status};
use serde_json::{Value, json};
use vpn_revoker::{App, Clients};

use crate::world::sts::Sts;
use crate::world::{ACCOUNT, ENDPOINTS, World, config, settings};

const OTHER: &str = "444455556666";
const ROLE: &str = "arn:aws:iam::444455556666:role/vpn-revoker";
const ELSEWHERE: &str = "cvpn-endpoint-0else000000000004";

/// The world, and another account in another Region beside it.
struct Both {
    world: World,
    other: Emulator,
    sts: Sts,
}

impl Both {
    async fn new() -> Self {
        let world = World::new().await;
        let other = Emulator::builder()
            .region("us-east-1")
            .account(OTHER)
            .clock(world.emulator_time())
            .terminate_delay(Duration::from_secs(2))
            .start()
            .await
            .unwrap();
        other.add_endpoint(NewEndpoint::new(ELSEWHERE).authentication(&[Authentication::Federated]));
        Self { world, other, sts: Sts::start().await }
    }

    fn user_in_both(&self, name: &str) {
        self.world.user(name);
        self.other.connect(ELSEWHERE, NewConnection::user(name)).unwrap();
    }

    fn alive_elsewhere(&self) -> usize {
        self.other.connections().iter().filter(|row| row.status != Status::Terminated).count()
    }

    async fn app(&self, variables: &[(&str, &str)]) -> App {
        let targets =
            json!([{"region": "eu-west-1"}, {"region": "us-east-1", "role_arn": ROLE, "external_id": "our:id"}]);
        let targets = targets.to_string();
        let variables = [variables, &[("VPN_REVOKER_TARGETS", targets.as_str())]].concat();
        let settings = settings(&variables);
        let mut ec2 = Vec::new();
        for (target, url) in settings.targets.iter().zip([self.world.emulator.url(), self.other.url()]) {
            let here = config(&self.world.sleep).into_builder().endpoint_url(url).build();
            let sts = config(&self.world.sleep).into_builder().endpoint_url(&self.sts.url).build();
            ec2.push(target.client(&here, &sts).await);
        }
        self.world.app_with(Clients { ec2, ..self.world.clients.clone() }, &variables)
    }

    async fn revoke(&self, app: &App, id: &str) -> Value {
        let command = json!({"action": "revoke", "username": "alice", "reason": "INC-7", "id": id});
        self.world.invoke(app, &command).await.unwrap()
    }
}

#[tokio::test]
async fn a_user_is_ended_in_every_account_and_region() {
    let both = Both::new().await;
    both.user_in_both("alice");
    let app = both.app(&[]).await;
    let receipt = both.revoke(&app, "c-1").await;
    assert_eq!(receipt["outcome"], "completed", "{receipt}");
    let connections = receipt["subjects"][0]["connections"].as_array().unwrap();
    let mut places: Vec<(&str, &str)> =
        connections.iter().map(|c| (c["region"].as_str().unwrap(), c["account"].as_str().unwrap())).collect();
    places.sort_unstable();
    assert_eq!(places, [("eu-west-1", ACCOUNT), ("us-east-1", OTHER)]);
    assert_eq!((both.world.alive().len(), both.alive_elsewhere()), (0, 0));

    let requests = both.sts.requests();
    assert_eq!(requests.len(), 1, "the credentials are kept over all calls");
    for part in [
        "RoleSessionName=vpn-revoker",
        "ExternalId=our%3Aid",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A444455556666%3Arole%2Fvpn-revoker",
    ] {
        assert!(requests[0].contains(part), "{part} is not in {}", requests[0]);
    }
}

#[tokio::test]
async fn a_role_in_the_functions_own_account_makes_nobody_two_people() {
    let both = Both::new().await;
    both.world.user("alice");
    let role = format!("arn:aws:iam::{ACCOUNT}:role/vpn-revoker-target");
    let targets = json!([{"region": "eu-west-1"}, {"region": "eu-west-1", "role_arn": role}]).to_string();
    let variables = [("VPN_REVOKER_TARGETS", targets.as_str()), ("VPN_REVOKER_MAX_CONNECTIONS", "1")];
    let ec2 = vec![both.world.clients.ec2[0].clone(), both.world.clients.ec2[0].clone()];
    let app = both.world.app_with(Clients { ec2, ..both.world.clients.clone() }, &variables);
    let receipt = both.revoke(&app, "c-1").await;
    assert_eq!((&receipt["outcome"], both.world.alive().len()), (&json!("completed"), 0), "{receipt}");
    assert_eq!(receipt["endpoints"].as_array().unwrap().len(), ENDPOINTS.len());
}

#[tokio::test]
async fn credentials_that_ran_out_are_not_used_again() {
    let both = Both::new().await;
    both.user_in_both("alice");
    both.sts.expires("2020-01-01T00:00:00Z");
    let app = both.app(&[]).await;
    assert_eq!(both.revoke(&app, "c-1").await["outcome"], "completed");
    assert!(both.sts.requests().len() > 2, "{}", both.sts.requests().len());
}

#[tokio::test]
async fn a_role_that_is_refused_holds_nobody_up_and_says_what_to_look_at() {
    let both = Both::new().await;
    both.user_in_both("alice");
    both.sts.refuse(ROLE);
    let app = both.app(&[]).await;
    let receipt = both.revoke(&app, "c-1").await;
    assert_eq!(receipt["outcome"], "incomplete");
    assert_eq!((both.world.alive().len(), both.alive_elsewhere()), (0, 1));
    let error = receipt["subjects"][0]["error"].as_str().unwrap();
    for part in [ROLE, "sts:AssumeRole", "trust policy", "AccessDenied"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let endpoints = receipt["endpoints"].as_array().unwrap();
    let failed: Vec<&Value> = endpoints.iter().filter(|endpoint| endpoint.get("error").is_some()).collect();
    assert_eq!((failed.len(), &failed[0]["region"], &failed[0]["account"]), (1, &json!("us-east-1"), &json!(OTHER)));
}

#[tokio::test]
async fn a_target_that_throttles_holds_no_other_up() {
    let both = Both::new().await;
    both.user_in_both("alice");
    let throttle = client_vpn_emulator::Fault::on(client_vpn_emulator::Action::DescribeConnections);
    both.other.inject(throttle.always().error(503, "RequestLimitExceeded", "Request limit exceeded."));
    let app = both.app(&[]).await;
    let receipt = both.revoke(&app, "c-1").await;
    assert_eq!((&receipt["outcome"], both.world.alive().len()), (&json!("incomplete"), 0));
    both.other.clear_faults();
    assert_eq!(both.revoke(&app, "c-1").await["outcome"], "completed");
    assert_eq!(both.alive_elsewhere(), 0);
}

#[tokio::test]
async fn a_target_whose_terminate_calls_are_refused_holds_no_other_up() {
    let both = Both::new().await;
    let people: Vec<String> = (0..20).map(|number| format!("user-{number}")).collect();
    people.iter().for_each(|name| both.user_in_both(name));
    let throttle = client_vpn_emulator::Fault::on(client_vpn_emulator::Action::Terminate);
    both.other.inject(throttle.always().error(503, "RequestLimitExceeded", "Request limit exceeded."));
    let app = both.app(&[]).await;
    let command = json!({"action": "revoke", "subjects": people, "reason": "INC-8", "id": "c-1"});
    let receipt = both.world.invoke(&app, &command).await.unwrap();
    assert_eq!((&receipt["outcome"], both.world.alive().len()), (&json!("incomplete"), 0));
    assert_eq!(both.alive_elsewhere(), 20);
    both.other.clear_faults();
    assert_eq!(both.world.invoke(&app, &command).await.unwrap()["outcome"], "completed");
    assert_eq!(both.alive_elsewhere(), 0);
}

#[tokio::test]
async fn however_much_failed_before_a_call_is_tried_as_often_as_ever() {
    let both = Both::new().await;
    let trouble = client_vpn_emulator::Fault::on(client_vpn_emulator::Action::DescribeConnections);
    both.other.inject(trouble.always().error(503, "Unavailable", "The service is unavailable."));
    let target = settings(&[("VPN_REVOKER_TARGETS", r#"[{"region": "us-east-1"}]"#)]).targets.remove(0);
    let config = config(&both.world.sleep).into_builder().endpoint_url(both.other.url()).build();
    let ec2 = target.client(&config, &config).await;
    for _ in 0..20 {
        ec2.client().describe_client_vpn_connections().client_vpn_endpoint_id(ELSEWHERE).send().await.unwrap_err();
    }
    assert_eq!(both.other.requests().len(), 20 * 6);
}

#[tokio::test]
async fn an_endpoint_may_be_named_wherever_it_is() {
    let both = Both::new().await;
    both.user_in_both("alice");
    let app = both.app(&[("VPN_REVOKER_ENDPOINTS", ELSEWHERE)]).await;
    assert_eq!(both.revoke(&app, "c-1").await["outcome"], "completed");
    assert_eq!((both.world.alive().len(), both.alive_elsewhere()), (1, 0));
}

#[tokio::test]
async fn one_connection_is_ended_whatever_another_account_says() {
    let both = Both::new().await;
    let connection = both.world.user("alice");
    both.sts.refuse(ROLE);
    let app = both.app(&[]).await;
    let command = json!({"action": "disconnect", "endpoint_id": ENDPOINTS[2], "connection_id": connection, "reason": "r", "id": "c-1"});
    let receipt = both.world.invoke(&app, &command).await.unwrap();
    assert_eq!((&receipt["outcome"], both.world.alive().len()), (&json!("completed"), 0), "{receipt}");
}

#[tokio::test]
async fn a_target_without_any_endpoint_proves_nothing() {
    let both = Both::new().await;
    both.user_in_both("alice");
    both.other.remove_endpoint(ELSEWHERE);
    let app = both.app(&[]).await;
    let receipt = both.revoke(&app, "c-1").await;
    assert_eq!((&receipt["outcome"], both.world.alive().len()), (&json!("incomplete"), 0));
    assert!(receipt["subjects"][0]["error"].as_str().unwrap().contains("us-east-1"), "{receipt}");
}

#[tokio::test]
async fn a_sweep_may_name_the_account_to_look_at() {
    let both = Both::new().await;
    let app = both.app(&[]).await;
    both.revoke(&app, "c-1").await;
    both.user_in_both("alice");
    let receipt = both.world.invoke(&app, &json!({"action": "sweep", "targets": [OTHER]})).await.unwrap();
    assert_eq!(receipt["outcome"], "completed", "{receipt}");
    let looked_at = receipt["endpoints"].as_array().unwrap();
    assert_eq!((looked_at.len(), &looked_at[0]["account"]), (1, &json!(OTHER)));
    assert_eq!((both.world.alive().len(), both.alive_elsewhere()), (0, 0), "whom it finds is ended everywhere");
}
