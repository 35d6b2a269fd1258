//! What happens as time goes by.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::sync::{Arc, Weak};
use std::time::Duration;

use client_vpn_emulator::{ConnectAnswer, Emulator, EmulatorError, ManualClock, NewConnection, NewEndpoint, Status};
use support::{ENDPOINT, GATE, attach, list, terminate};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

async fn emulator() -> (Emulator, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let builder = Emulator::builder().clock(clock.clone()).terminate_delay(secs(10)).apply_delay(secs(20));
    let emulator = builder.start().await.unwrap();
    emulator.add_endpoint(NewEndpoint::new(ENDPOINT));
    (emulator, clock)
}

#[tokio::test]
async fn a_terminated_connection_has_an_end_time_and_leaves_the_listing_after_an_hour() {
    let (emulator, clock) = emulator().await;
    emulator.connect(ENDPOINT, NewConnection::user("alice")).unwrap();
    terminate(&emulator, "Username=alice").await.unwrap();
    assert_eq!(list(&emulator).await.texts("connectionEndTime"), ["-"]);
    assert_eq!(list(&emulator).await.texts("code"), ["terminating"]);
    clock.advance(secs(10));
    assert_eq!(list(&emulator).await.texts("connectionEndTime"), ["2026-01-01 00:00:10"]);
    clock.advance(secs(3_600));
    assert_eq!(list(&emulator).await.texts("code"), ["terminated"]);
    clock.advance(secs(1));
    assert!(list(&emulator).await.texts("code").is_empty());
    assert_eq!(emulator.connections().len(), 1);
}

#[tokio::test]
async fn a_client_that_reconnects_is_kept_out_by_the_handler_and_by_nothing_else() {
    let (emulator, clock) = emulator().await;
    let alice = NewConnection::user("alice").common_name("laptop").reconnects_after(secs(5));
    emulator.connect(ENDPOINT, alice.clone()).unwrap();
    terminate(&emulator, "Username=alice").await.unwrap();
    clock.advance(secs(15));
    assert_eq!(list(&emulator).await.texts("code"), ["terminated", "active"]);

    emulator.set_connect_handler(Arc::new(|request| match request.username.as_str() {
        "alice" => ConnectAnswer::deny("access ended"),
        _ => ConnectAnswer { posture_compliance_statuses: vec!["patched".into()], ..ConnectAnswer::allow() },
    }));
    terminate(&emulator, "Username=alice").await.unwrap();
    clock.advance(secs(60));
    assert!(emulator.alive("alice").is_empty());
    let asked = emulator.handler_requests();
    assert_eq!(asked.len(), 10);
    assert!(asked.iter().all(|ask| !ask.allowed && ask.request.common_name == "laptop"));

    let refused = emulator.connect(ENDPOINT, alice).unwrap_err();
    assert!(matches!(refused, EmulatorError::Denied { ref message, .. } if message == "access ended"), "{refused}");
    emulator.connect(ENDPOINT, NewConnection::user("bob")).unwrap();
    assert!(list(&emulator).await.body.contains("<postureComplianceStatusSet><item>patched</item>"));
}

#[tokio::test]
async fn a_handler_may_ask_the_emulator_it_serves() {
    let (emulator, _clock) = emulator().await;
    let emulator = Arc::new(emulator);
    let weak: Weak<Emulator> = Arc::downgrade(&emulator);
    emulator.set_connect_handler(Arc::new(move |request| {
        let busy = weak.upgrade().is_some_and(|emulator| !emulator.alive(&request.username).is_empty());
        if busy { ConnectAnswer::deny("one connection each") } else { ConnectAnswer::allow() }
    }));
    emulator.connect(ENDPOINT, NewConnection::user("alice")).unwrap();
    assert!(emulator.connect(ENDPOINT, NewConnection::user("alice")).is_err());
}

#[tokio::test]
async fn a_client_that_hangs_up_stays_away() {
    let (emulator, clock) = emulator().await;
    let id = emulator.connect(ENDPOINT, NewConnection::user("alice").reconnects_after(secs(1))).unwrap();
    emulator.disconnect(&id).unwrap();
    clock.advance(secs(60));
    assert_eq!(emulator.connections()[0].status, Status::Terminated);
    assert_eq!(emulator.connections().len(), 1);
    assert!(emulator.disconnect("cvpn-connection-9").is_err());
}

#[tokio::test]
async fn nobody_connects_where_there_is_no_endpoint_or_no_network() {
    let (emulator, _clock) = emulator().await;
    let bare = emulator.add_endpoint(NewEndpoint::generated().without_association());
    let connect = |id: &str| emulator.connect(id, NewConnection::user("alice")).unwrap_err();
    assert!(matches!(connect(&bare), EmulatorError::NoAssociation(_)));
    assert!(emulator.remove_endpoint(&bare));
    assert!(matches!(connect(&bare), EmulatorError::UnknownEndpoint(_)));
}

#[tokio::test]
async fn a_handler_is_listed_at_once_and_applied_when_the_delay_is_over() {
    let (emulator, clock) = emulator().await;
    let shown = || {
        let endpoint = emulator.endpoints().remove(0);
        (endpoint.connect_handler, endpoint.connect_handler_status)
    };
    assert_eq!(shown(), (None, "applied".into()));
    assert_eq!(attach(&emulator, GATE).await.unwrap().texts("return"), ["true"]);
    assert_eq!(shown(), (Some(GATE.into()), "applying".into()));
    clock.advance(secs(19));
    assert_eq!(shown().1, "applying");
    // Other processes move the same time.
    emulator.advance(secs(1));
    assert_eq!(shown(), (Some(GATE.into()), "applied".into()));
}

#[tokio::test]
async fn the_handler_that_is_asked_is_the_one_that_was_set_whatever_is_listed() {
    let (emulator, _clock) = emulator().await;
    attach(&emulator, GATE).await.unwrap();
    emulator.connect(ENDPOINT, NewConnection::user("alice")).unwrap();
    assert!(emulator.handler_requests().is_empty());
}

/// The handler's lock-free call holds on a server with several threads, where two requests settle at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_requests_at_once_let_a_client_in_only_once() {
    let (emulator, clock) = emulator().await;
    emulator.connect(ENDPOINT, NewConnection::user("alice").reconnects_after(secs(5))).unwrap();
    emulator.set_connect_handler(Arc::new(|_| ConnectAnswer::allow()));
    terminate(&emulator, "Username=alice").await.unwrap();
    clock.advance(secs(60));
    let (_, _) = tokio::join!(list(&emulator), list(&emulator));
    assert_eq!((emulator.alive("alice").len(), emulator.handler_requests().len()), (1, 1));
}
