//! What is on the wire: HTTP, the query protocol and XML.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use client_vpn_emulator::{Emulator, NewConnection, NewEndpoint};
use support::{ENDPOINT, ask, list, send, terminate};

async fn emulator() -> Emulator {
    let emulator = Emulator::builder().max_page_size(2).start().await.unwrap();
    emulator.add_endpoint(NewEndpoint::new(ENDPOINT));
    emulator
}

#[tokio::test]
async fn every_answer_is_xml_with_a_request_id_of_its_own() {
    let emulator = emulator().await;
    let (first, second) = (list(&emulator).await, ask(&emulator, "RunInstances", "").await.unwrap());
    for answer in [&first, &second] {
        assert!(answer.head.contains("content-type: text/xml;charset=utf-8"), "{}", answer.head);
    }
    let header = |head: &str| head.lines().find_map(|line| line.strip_prefix("x-amzn-requestid: ").map(str::to_owned));
    assert_eq!(header(&first.head).unwrap(), first.texts("requestId")[0]);
    assert_eq!(header(&second.head).unwrap(), second.texts("RequestID")[0]);
    assert_ne!(header(&first.head), header(&second.head));
}

#[tokio::test]
async fn a_request_may_be_a_get_or_a_post_and_nothing_else() {
    let emulator = emulator().await;
    let query = "Action=DescribeClientVpnEndpoints&Version=2016-11-15";
    for (method, path, body) in [("GET", format!("/?{query}"), ""), ("POST", "/".to_owned(), query)] {
        let answer = send(&emulator, method, &path, body).await.unwrap();
        assert_eq!((answer.status, answer.texts("clientVpnEndpointId")), (200, vec![ENDPOINT]), "{method}");
    }
    assert_eq!(send(&emulator, "PUT", "/", query).await.unwrap().status, 405);
    assert_eq!(send(&emulator, "POST", "/elsewhere", query).await.unwrap().status, 404);
}

#[tokio::test]
async fn odd_requests_get_an_error_and_the_emulator_goes_on() {
    let emulator = emulator().await;
    for (body, code) in [
        ("", "MissingParameter"),
        ("Action=", "MissingParameter"),
        ("Action=Describe%00%ff<x>&Version=2016-11-15", "InvalidAction"),
        ("Action=TerminateClientVpnConnections", "MissingParameter"),
        ("%%%&&&===", "MissingParameter"),
    ] {
        let answer = send(&emulator, "POST", "/", body).await.unwrap();
        assert_eq!((answer.status, answer.code()), (400, code), "{body}");
    }
    let huge = "x".repeat(2 * 1024 * 1024);
    // The server may close the connection while the client is still sending.
    if let Ok(answer) = send(&emulator, "POST", "/", &huge).await {
        assert_eq!(answer.status, 400);
    }
    assert_eq!(list(&emulator).await.status, 200);
}

#[tokio::test]
async fn a_name_that_xml_cannot_carry_does_not_break_the_document() {
    let emulator = emulator().await;
    emulator.connect(ENDPOINT, NewConnection::user("a<b>&\"\u{0}\u{1b}]]>")).unwrap();
    let answer = list(&emulator).await;
    assert_eq!(answer.texts("username"), ["a&lt;b&gt;&amp;&quot;\u{fffd}\u{fffd}]]&gt;"]);
    assert!(answer.body.ends_with("</DescribeClientVpnConnectionsResponse>"));
}

#[tokio::test]
async fn a_listing_is_read_page_by_page() {
    let emulator = emulator().await;
    let made: Vec<_> =
        (0..5).map(|n| emulator.connect(ENDPOINT, NewConnection::user(format!("u{n}"))).unwrap()).collect();
    let mut seen = Vec::new();
    let mut parameters = format!("ClientVpnEndpointId={ENDPOINT}&MaxResults=5");
    let mut pages = 0;
    loop {
        let page = ask(&emulator, "DescribeClientVpnConnections", &parameters).await.unwrap();
        pages += 1;
        seen.extend(page.texts("connectionId").into_iter().map(str::to_owned));
        let Some(token) = page.texts("nextToken").first().map(|token| (*token).to_owned()) else { break };
        parameters = format!("ClientVpnEndpointId={ENDPOINT}&MaxResults=5&NextToken={token}");
    }
    assert_eq!((seen, pages), (made, 3));
}

#[tokio::test]
async fn the_log_says_what_was_asked_and_answered() {
    let emulator = emulator().await;
    terminate(&emulator, "Username=nobody").await.unwrap();
    emulator.seen("TerminateClientVpnConnections", 1).await;
    let log = emulator.requests();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].action, "TerminateClientVpnConnections");
    assert_eq!(log[0].parameter("Username"), Some("nobody"));
    assert_eq!((log[0].status, log[0].code.as_deref()), (400, Some("InvalidClientVpnConnection.UserNotFound")));
    emulator.clear_requests();
    assert!(emulator.requests().is_empty());
}

#[tokio::test]
async fn a_port_is_free_again_after_the_shutdown() {
    let first = emulator().await;
    let port = first.url().rsplit(':').next().unwrap().parse().unwrap();
    assert!(Emulator::builder().port(port).start().await.unwrap_err().to_string().contains("choose another port"));
    first.shutdown().await;
    Emulator::builder().port(port).start().await.unwrap();
}
