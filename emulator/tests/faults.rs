//! Things that go wrong, as a client sees them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use client_vpn_emulator::{Action, Emulator, Fault, ManualClock, NewConnection, NewEndpoint, Status};
use support::{ENDPOINT, GATE, ask, attach, list, terminate};

async fn emulator() -> Emulator {
    let emulator = Emulator::builder().clock(Arc::new(ManualClock::default())).start().await.unwrap();
    emulator.add_endpoint(NewEndpoint::new(ENDPOINT));
    emulator.connect(ENDPOINT, NewConnection::user("alice")).unwrap();
    emulator
}

#[tokio::test]
async fn an_error_comes_as_often_as_it_was_ordered_and_has_no_effect() {
    let emulator = emulator().await;
    emulator.inject(Fault::on(Action::Terminate).times(2).error(503, "RequestLimitExceeded", "slow down"));
    for _ in 0..2 {
        let answer = terminate(&emulator, "Username=alice").await.unwrap();
        assert_eq!((answer.status, answer.code()), (503, "RequestLimitExceeded"));
        assert_eq!(emulator.alive("alice").len(), 1);
    }
    assert_eq!(terminate(&emulator, "Username=alice").await.unwrap().status, 200);
    assert!(emulator.alive("alice").is_empty());
}

#[tokio::test]
async fn a_bare_503_has_no_body() {
    let emulator = emulator().await;
    emulator.inject(Fault::on(Action::DescribeConnections).bare_status(503));
    let answer = list(&emulator).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, ""));
    assert_eq!(list(&emulator).await.status, 200);
}

#[tokio::test]
async fn a_lost_answer_is_a_closed_connection_after_the_effect() {
    let emulator = emulator().await;
    emulator.inject(Fault::on(Action::Terminate).lost_answer());
    assert!(terminate(&emulator, "Username=alice").await.is_err());
    assert!(emulator.alive("alice").is_empty());
    let log = emulator.requests();
    assert_eq!((log[0].status, log[0].fault), (0, Some("lost-answer")));
    assert_eq!(list(&emulator).await.texts("code"), ["terminated"]);
}

#[tokio::test]
async fn a_request_that_hangs_is_seen_has_no_effect_and_lets_go_at_the_shutdown() {
    let emulator = Arc::new(emulator().await);
    emulator.inject(Fault::on(Action::Terminate).hang());
    let client = tokio::spawn({
        let emulator = Arc::clone(&emulator);
        async move { terminate(&emulator, "Username=alice").await }
    });
    emulator.seen(Action::Terminate, 1).await;
    assert!(!client.is_finished());
    assert_eq!(emulator.alive("alice").len(), 1);
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    Arc::try_unwrap(emulator).unwrap().shutdown().await;
}

#[tokio::test]
async fn an_effect_is_seen_while_its_answer_is_still_on_the_way() {
    let emulator = Emulator::builder().latency(Duration::from_secs(3_600)).start().await.unwrap();
    emulator.add_endpoint(NewEndpoint::new(ENDPOINT));
    emulator.connect(ENDPOINT, NewConnection::user("alice")).unwrap();
    tokio::select! {
        answer = terminate(&emulator, "Username=alice") => panic!("{answer:?}"),
        () = emulator.seen(Action::Terminate, 1) => {}
    }
    assert!(emulator.alive("alice").is_empty());
}

#[tokio::test]
async fn a_repeated_token_never_ends_the_listing() {
    let emulator = emulator().await;
    emulator.inject(Fault::on(Action::DescribeConnections).always().repeated_token());
    let token = list(&emulator).await.texts("nextToken")[0].to_owned();
    let parameters = format!("ClientVpnEndpointId={ENDPOINT}&NextToken={token}");
    for _ in 0..2 {
        let again = ask(&emulator, "DescribeClientVpnConnections", &parameters).await.unwrap();
        assert_eq!((again.status, again.texts("nextToken")), (200, vec![token.as_str()]));
    }
}

#[tokio::test]
async fn a_failed_termination_shows_in_the_listing_with_its_message() {
    let emulator = emulator().await;
    emulator.inject(Fault::on(Action::Terminate).failed_to_terminate("try later"));
    let answer = terminate(&emulator, "Username=alice").await.unwrap();
    assert_eq!((answer.status, answer.texts("code")), (200, vec!["active", "failed-to-terminate"]));
    let listing = list(&emulator).await;
    assert_eq!((listing.texts("code"), listing.texts("message")), (vec!["failed-to-terminate"], vec!["try later"]));
    assert_eq!(emulator.connections()[0].status, Status::FailedToTerminate);
    assert_eq!(emulator.alive("alice").len(), 1);
}

#[tokio::test]
async fn a_fault_for_one_endpoint_spares_the_others() {
    let emulator = emulator().await;
    emulator.add_endpoint(NewEndpoint::new("cvpn-endpoint-2"));
    emulator.inject(Fault::on(Action::DescribeConnections).endpoint("cvpn-endpoint-2").always().bare_status(500));
    assert_eq!(list(&emulator).await.status, 200);
    let other = "ClientVpnEndpointId=cvpn-endpoint-2";
    assert_eq!(ask(&emulator, "DescribeClientVpnConnections", other).await.unwrap().status, 500);
    emulator.clear_faults();
    assert_eq!(ask(&emulator, "DescribeClientVpnConnections", other).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_unknown_status_and_an_empty_answer_look_like_success() {
    let emulator = emulator().await;
    emulator.inject(Fault::on(Action::DescribeConnections).unknown_status("paused"));
    assert_eq!(list(&emulator).await.texts("code"), ["paused"]);
    emulator.inject(Fault::on(Action::Terminate).ignored());
    emulator.inject(Fault::on(Action::Terminate).after(1).empty_statuses());
    for alive in [1, 0] {
        let answer = terminate(&emulator, "Username=alice").await.unwrap();
        assert_eq!((answer.status, answer.texts("item").len()), (200, 0));
        assert_eq!(emulator.alive("alice").len(), alive);
    }
}

#[tokio::test]
async fn a_missing_permission_is_a_403_until_it_is_given_back() {
    let emulator = emulator().await;
    emulator.deny(Action::Terminate);
    let answer = terminate(&emulator, "Username=alice").await.unwrap();
    assert_eq!((answer.status, answer.code()), (403, "UnauthorizedOperation"));
    emulator.permit(Action::Terminate);
    assert_eq!(terminate(&emulator, "Username=alice").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_modification_can_be_refused_denied_and_lost() {
    let emulator = emulator().await;
    let listed = || emulator.endpoints().remove(0).connect_handler;
    emulator.inject(Fault::on(Action::ModifyEndpoint).endpoint(ENDPOINT).error(500, "InternalError", "try later"));
    assert_eq!(attach(&emulator, GATE).await.unwrap().code(), "InternalError");
    emulator.deny(Action::ModifyEndpoint);
    assert_eq!(attach(&emulator, GATE).await.unwrap().code(), "UnauthorizedOperation");
    emulator.permit(Action::ModifyEndpoint);
    assert_eq!(listed(), None);
    emulator.inject(Fault::on(Action::ModifyEndpoint).lost_answer());
    assert!(attach(&emulator, GATE).await.is_err());
    assert_eq!(listed().as_deref(), Some(GATE));
}

#[tokio::test]
async fn buckets_throttle_until_time_has_passed() {
    let emulator = Emulator::builder().clock(Arc::new(ManualClock::default())).buckets(true).start().await.unwrap();
    emulator.add_endpoint(NewEndpoint::new(ENDPOINT));
    for _ in 0..50 {
        assert_eq!(terminate(&emulator, "Username=alice").await.unwrap().status, 400);
    }
    let throttled = terminate(&emulator, "Username=alice").await.unwrap();
    assert_eq!((throttled.status, throttled.code()), (503, "RequestLimitExceeded"));
    emulator.advance(Duration::from_millis(200));
    assert_eq!(terminate(&emulator, "Username=alice").await.unwrap().status, 400);
    assert_eq!(list(&emulator).await.status, 200);
}
