//! Fail safe: throttling, server errors, lost answers and crashes; running again converges.

use std::time::Duration;

use client_vpn_emulator::{Action, Fault};
use revocation::ports::Clock;
use serde_json::{Value, json};

use crate::world::reading::sample;
use crate::world::{ENDPOINTS, World, clients};

const DANA: &str = "dana.reyes@example.com";

fn deactivate() -> Value {
    sample("okta/deactivate-eventbridge.json")
}

#[tokio::test]
async fn throttling_on_each_action_is_waited_out() {
    for action in [Action::DescribeEndpoints, Action::DescribeConnections, Action::Terminate] {
        let world = World::new().await;
        world.user(DANA);
        world.emulator.inject(Fault::on(action).times(4).error(503, "RequestLimitExceeded", "Request limit exceeded."));
        let answer = world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
        assert_eq!(answer["receipts"][0]["outcome"], "completed", "{action}");
        assert!(world.alive().is_empty(), "{action}");
        let refused = world.emulator.requests().iter().filter(|request| request.status == 503).count();
        assert_eq!(refused, 4, "{action}: tried again in place, not by starting over");
    }
}

#[tokio::test]
async fn server_errors_without_a_body_are_waited_out() {
    for action in [Action::DescribeEndpoints, Action::DescribeConnections, Action::Terminate] {
        let world = World::new().await;
        world.user(DANA);
        world.emulator.inject(Fault::on(action).times(3).bare_status(503));
        world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
        assert!(world.alive().is_empty(), "{action}");
    }
}

#[tokio::test]
async fn the_documented_buckets_hold_nothing_up_for_good() {
    let world = World::with(|emulator| emulator.buckets(true)).await;
    for i in 0..60 {
        world.user(&format!("User-{}@example.com", i % 20));
    }
    let subjects: Vec<String> = (0..20).map(|i| format!("user-{i}@example.com")).collect();
    let command = json!({"action": "revoke", "subjects": subjects, "reason": "all out"});
    let answer = world.invoke(&world.app(&[]), &command).await.unwrap();
    assert_eq!((&answer["outcome"], world.alive().len()), (&json!("completed"), 0));
}

#[tokio::test]
async fn once_refused_for_coming_too_soon_terminate_calls_come_one_after_another() {
    let world = World::new().await;
    world.user(DANA);
    let too_soon = Fault::on(Action::Terminate).times(5).error(503, "RequestLimitExceeded", "Request limit exceeded.");
    world.emulator.inject(too_soon);
    world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
    world.emulator.clear_requests();
    let subjects: Vec<String> = (0..8).map(|number| format!("user-{number}@example.com")).collect();
    subjects.iter().for_each(|subject| drop(world.user(subject)));
    let command = json!({"action": "revoke", "subjects": subjects, "reason": "all out"});
    let begun = world.clock.now();
    world.invoke(&world.app(&[]), &command).await.unwrap();
    let requests = world.emulator.requests();
    let ends = requests.iter().filter(|request| request.action == "TerminateClientVpnConnections");
    let last = ends.map(|request| request.at_millis).max().unwrap();
    assert_eq!((world.requests("TerminateClientVpnConnections"), world.alive().len()), (8, 0));
    assert!(last - begun.as_millis() > 7 * 300, "some half a second after each other");
}

#[tokio::test]
async fn a_long_listing_that_is_refused_midway_goes_on_where_it_is() {
    let world = World::with(|emulator| emulator.max_page_size(1)).await;
    for number in 0..5 {
        world.user(&format!("colleague-{number}"));
    }
    world.user(DANA);
    let too_soon = Fault::on(Action::DescribeConnections).endpoint(ENDPOINTS[2]).after(3).times(9);
    world.emulator.inject(too_soon.error(503, "RequestLimitExceeded", "Request limit exceeded."));
    let answer = world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
    assert_eq!((&answer["receipts"][0]["outcome"], world.alive().len()), (&json!("completed"), 5));
    let requests = world.emulator.requests();
    assert_eq!(requests.iter().filter(|request| request.status == 503).count(), 9);
    let listings = requests.iter().filter(|request| request.action == "DescribeClientVpnConnections");
    let first_pages = listings
        .filter(|request| request.parameter("NextToken").is_none() && request.parameter("Filter.1.Name").is_none());
    assert_eq!(first_pages.count(), 2 * ENDPOINTS.len(), "once to find and once to verify");
}

#[tokio::test]
async fn a_lost_terminate_answer_converges() {
    let world = World::new().await;
    world.user(DANA);
    world.emulator.inject(Fault::on(Action::Terminate).times(1).lost_answer());
    let answer = world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
    assert!(world.alive().is_empty());
    assert_eq!(world.kinds(DANA).await, ["requested", "completed"]);
}

#[tokio::test]
async fn an_accepted_call_that_ends_nothing_is_not_success() {
    let world = World::new().await;
    world.user(DANA);
    world.emulator.inject(Fault::on(Action::Terminate).times(1).ignored());
    let answer = world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
    assert!(world.alive().is_empty());
    assert_eq!(world.requests("TerminateClientVpnConnections"), 2);
}

#[tokio::test]
async fn failed_to_terminate_is_reported_and_alive() {
    let world = World::new().await;
    let stuck = world.user(DANA);
    world.emulator.inject(Fault::on(Action::Terminate).always().failed_to_terminate("the data plane did not answer"));
    let command = json!({"action": "revoke", "username": DANA, "reason": "INC-3", "id": "INC-3"});
    let answer = world.invoke(&world.app(&[]), &command).await.unwrap();
    assert_eq!(answer["outcome"], "incomplete");
    let connection = &answer["subjects"][0]["connections"][0];
    assert_eq!(
        (&connection["connection_id"], &connection["current_status"]),
        (&json!(stuck), &json!("failed-to-terminate"))
    );
    assert!(connection["error"].as_str().unwrap().contains("the data plane did not answer"));
    assert_eq!(answer["timings"]["verified_at"], Value::Null);
    assert_eq!(world.metric("ConnectionsTerminated", None), 0);

    world.emulator.clear_faults();
    let answer = world.invoke(&world.app(&[]), &command).await.unwrap();
    assert_eq!((&answer["outcome"], world.alive().len()), (&json!("completed"), 0));
    assert_eq!(world.kinds(DANA).await, ["requested", "incomplete", "completed"]);
}

#[tokio::test]
async fn a_denied_call_says_what_to_allow() {
    let world = World::new().await;
    world.user(DANA);
    world.emulator.deny(Action::Terminate);
    let failure = world.invoke(&world.app(&[]), &deactivate()).await.unwrap_err();
    assert_eq!(failure.error_type, "Incomplete");
    assert_eq!(world.requests("TerminateClientVpnConnections"), 1, "trying on would be of no use");
    let entries = world.chains().await.remove(DANA).unwrap();
    let error = entries[1]["detail"]["connections"][0]["error"].as_str().unwrap();
    assert!(error.contains("UnauthorizedOperation") && error.contains("allow the action"), "{error}");
}

#[tokio::test]
async fn a_kill_after_the_first_terminate_and_a_second_delivery_converge() {
    let world = World::new().await;
    for name in [DANA, "Dana.Reyes@example.com", "DANA.REYES@example.com"] {
        world.user(name);
    }
    world.emulator.inject(Fault::on(Action::Terminate).times(1).hang());
    let (app, call, event) = (world.app(&[]), world.call(), deactivate().to_string());
    let first = tokio::spawn(async move { app.invoke(event.as_bytes(), &call).await });
    world.emulator.seen("TerminateClientVpnConnections", 1).await;
    first.abort();
    let _ = first.await;
    assert_eq!(world.kinds(DANA).await, ["requested"]);

    let answer = world.invoke(&world.app(&[]), &deactivate()).await.unwrap();
    assert_eq!(answer["receipts"][0]["outcome"], "completed");
    assert!(world.alive().is_empty());
    assert_eq!(world.kinds(DANA).await, ["requested", "completed"]);
}

#[tokio::test]
async fn with_dynamodb_away_nothing_is_terminated() {
    let world = World::new().await;
    let dana = world.user(DANA);
    // A port where nobody listens any more.
    let gone = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let app = world.app_with(clients(&world.emulator.url(), &url, &world.directory.url, &world.sleep), &[]);
    let answer = world.invoke(&app, &sample("wrapped/sqs-okta-deactivate.json")).await.unwrap();
    assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 1);
    assert_eq!(world.alive(), [dana]);
    assert_eq!(world.requests("TerminateClientVpnConnections"), 0);
    let failure = world.invoke(&app, &deactivate()).await.unwrap_err();
    assert_eq!(failure.error_type, "Incomplete");
}

#[tokio::test]
async fn with_ec2_away_the_lock_is_written_all_the_same() {
    let world = World::new().await;
    world.emulator.inject(Fault::on(Action::DescribeEndpoints).always().error(
        500,
        "InternalError",
        "An internal error.",
    ));
    let failure = world.invoke(&world.app(&[]), &deactivate()).await.unwrap_err();
    assert_eq!(failure.error_type, "Incomplete");
    assert_eq!(world.lock(DANA).await.unwrap()["state"], "locked");
}

#[tokio::test]
async fn one_endpoint_that_cannot_be_listed_does_not_save_the_connections_on_the_others() {
    let world = World::new().await;
    world.user(DANA);
    world.emulator.inject(Fault::on(Action::DescribeConnections).endpoint(ENDPOINTS[0]).always().error(
        500,
        "InternalError",
        "An internal error.",
    ));
    let failure = world.invoke(&world.app(&[]), &deactivate()).await.unwrap_err();
    assert_eq!(failure.error_type, "Incomplete");
    assert!(world.alive().is_empty());
    let entries = world.chains().await.remove(DANA).unwrap();
    assert!(entries[1]["detail"]["why"].as_str().unwrap().contains(ENDPOINTS[0]));
}

#[tokio::test]
async fn a_call_that_hangs_is_given_up_and_made_again() {
    let world = World::new().await;
    world.user(DANA);
    world.emulator.inject(Fault::on(Action::Terminate).times(1).hang());
    let (app, call, event) = (world.app(&[]), world.call(), deactivate().to_string());
    let working = tokio::spawn(async move { app.invoke(event.as_bytes(), &call).await });
    world.emulator.seen("TerminateClientVpnConnections", 1).await;
    world.sleep.time_out();
    assert_eq!(working.await.unwrap().unwrap()["receipts"][0]["outcome"], "completed");
    assert!(world.alive().is_empty());
}

#[tokio::test]
async fn the_answer_comes_five_seconds_before_lambda_would_cut_the_function_off() {
    let world = World::new().await;
    world.user(DANA);
    world.emulator.inject(Fault::on(Action::Terminate).always().failed_to_terminate("stuck"));
    let call = vpn_revoker::Call { cut_off_at: world.call().cut_off_at.minus(Duration::from_secs(90)), ..world.call() };
    let failure = world.app(&[]).invoke(deactivate().to_string().as_bytes(), &call).await.unwrap_err();
    assert_eq!(failure.error_type, "Incomplete");
    use revocation::ports::Clock;
    assert!(call.cut_off_at.since(world.clock.now()) >= Duration::from_secs(5));
    assert_eq!(world.kinds(DANA).await, ["requested", "incomplete"]);
}

#[tokio::test]
async fn an_invoke_without_time_to_work_in_fails_at_once_and_changes_nothing() {
    let world = World::new().await;
    let dana = world.user(DANA);
    let call =
        vpn_revoker::Call { cut_off_at: world.call().cut_off_at.minus(Duration::from_secs(116)), ..world.call() };
    let app = world.app(&[]);
    let failure = app.invoke(deactivate().to_string().as_bytes(), &call).await.unwrap_err();
    assert_eq!(failure.error_type, "Interrupted");
    let batch = app.invoke(sample("wrapped/sqs-okta-deactivate.json").to_string().as_bytes(), &call).await.unwrap();
    assert_eq!(batch["batchItemFailures"].as_array().unwrap().len(), 1);
    assert_eq!((world.alive(), world.metric("Failures", Some("NoTime"))), (vec![dana], 2));
}

#[tokio::test]
async fn the_lock_and_requested_are_durable_before_the_first_terminate_call() {
    let world = World::new().await;
    world.user(DANA);
    world.emulator.inject(Fault::on(Action::Terminate).times(1).hang());
    let (app, call, event) = (world.app(&[]), world.call(), deactivate().to_string());
    let working = tokio::spawn(async move { app.invoke(event.as_bytes(), &call).await });
    world.emulator.seen("TerminateClientVpnConnections", 1).await;
    assert_eq!(world.lock(DANA).await.unwrap()["state"], "locked");
    assert_eq!(world.kinds(DANA).await, ["requested"]);
    world.sleep.time_out();
    working.await.unwrap().unwrap();
}
