//! The control API and the program, as other processes use them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use client_vpn_emulator::{Emulator, ManualClock, Seed};
use support::{ENDPOINT, GATE, attach, list, send, terminate};

async fn emulator() -> Emulator {
    Emulator::builder().clock(Arc::new(ManualClock::default())).start().await.unwrap()
}

async fn post(emulator: &Emulator, what: &str, body: &str) -> (u16, String) {
    let answer = send(emulator, "POST", &format!("/_emulator/{what}"), body).await.unwrap();
    assert!(answer.head.contains("content-type: application/json"));
    (answer.status, answer.body)
}

#[tokio::test]
async fn another_process_can_set_up_watch_and_clear() {
    let emulator = emulator().await;
    let (status, body) = post(&emulator, "endpoints", &format!(r#"{{"endpoint_id":"{ENDPOINT}"}}"#)).await;
    assert_eq!((status, body), (200, format!(r#"{{"endpoint_id":"{ENDPOINT}"}}"#)));
    let client = format!(r#"{{"endpoint_id":"{ENDPOINT}","username":"alice","reconnects_after_seconds":5}}"#);
    let (status, body) = post(&emulator, "connections", &client).await;
    assert_eq!(status, 200);
    let id = emulator.connections()[0].connection_id.clone();
    assert_eq!(body, format!(r#"{{"connection_id":"{id}"}}"#));

    let fault = r#"{"action":"TerminateClientVpnConnections","kind":"error","code":"InternalError","status":500}"#;
    assert_eq!(post(&emulator, "faults", fault).await.0, 200);
    assert_eq!(terminate(&emulator, "Username=alice").await.unwrap().code(), "InternalError");
    assert_eq!(terminate(&emulator, "Username=alice").await.unwrap().status, 200);
    assert_eq!(post(&emulator, "clock", r#"{"advance_seconds":5}"#).await.0, 200);
    assert_eq!(list(&emulator).await.texts("code"), ["terminated", "active"]);

    let state = send(&emulator, "GET", "/_emulator/state", "").await.unwrap().body;
    assert!(state.contains(&format!(r#""connection_id":"{id}""#)) && state.contains(r#""status":"terminated""#));
    let log = send(&emulator, "GET", "/_emulator/requests", "").await.unwrap().body;
    assert_eq!(log.matches(r#""action":"TerminateClientVpnConnections""#).count(), 2);
    send(&emulator, "DELETE", "/_emulator/requests", "").await.unwrap();
    assert_eq!(send(&emulator, "GET", "/_emulator/requests", "").await.unwrap().body, r#"{"requests":[]}"#);
}

#[tokio::test]
async fn a_bad_body_is_a_400_that_names_the_field() {
    let emulator = emulator().await;
    for (what, body, field) in [
        ("endpoints", r#"{"authentication":"saml"}"#, "authentication"),
        ("connections", r#"{"username":"alice"}"#, "endpoint_id"),
        ("faults", r#"{"action":"TerminateClientVpnConnections"}"#, "kind"),
        ("clock", r#"{"advance_seconds":"ten"}"#, "advance_seconds"),
        ("clock", "not json", "body"),
        ("clock", r#"{"advance_seconds":1,"by":2}"#, "by"),
    ] {
        let (status, answer) = post(&emulator, what, body).await;
        assert_eq!(status, 400, "{what} {body}");
        assert!(answer.contains(&format!(r#""field":"{field}""#)), "{answer}");
    }
    let nowhere = r#"{"endpoint_id":"cvpn-endpoint-9","username":"alice"}"#;
    assert_eq!(post(&emulator, "connections", nowhere).await.0, 404);
}

#[tokio::test]
async fn another_process_can_watch_a_handler_being_applied() {
    let clock = Arc::new(ManualClock::default());
    let builder = Emulator::builder().clock(clock).apply_delay(Duration::from_secs(5));
    let emulator = builder.start().await.unwrap();
    post(&emulator, "endpoints", &format!(r#"{{"endpoint_id":"{ENDPOINT}"}}"#)).await;
    attach(&emulator, GATE).await.unwrap();
    for (status, seconds) in [("applying", 5), ("applied", 0)] {
        let state = send(&emulator, "GET", "/_emulator/state", "").await.unwrap().body;
        let shown = format!(r#""connect_handler":"{GATE}","connect_handler_status":"{status}""#);
        assert!(state.contains(&shown), "{state}");
        post(&emulator, "clock", &format!(r#"{{"advance_seconds":{seconds}}}"#)).await;
    }
}

#[tokio::test]
async fn a_seed_fills_the_emulator() {
    let emulator = emulator().await;
    emulator.seed(&Seed::from_json(include_str!("../examples/seed.json")).unwrap()).unwrap();
    assert_eq!(emulator.endpoints().len(), 3);
    assert_eq!(emulator.alive("alice@example.com").len(), 2);
    assert_eq!(emulator.alive("build-agent-7")[0].username, None);
    let nowhere = r#"{"connections":[{"endpoint_id":"cvpn-endpoint-9","username":"alice"}]}"#;
    assert!(emulator.seed(&Seed::from_json(nowhere).unwrap()).is_err());
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_client-vpn-emulator"))
}

#[cfg(unix)]
#[test]
fn the_program_says_how_to_reach_it_answers_and_ends_on_a_signal() {
    let seed = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/seed.json");
    let mut child = program().args(["--port", "0", "--seed", seed]).stdout(Stdio::piped()).spawn().unwrap();
    let banner: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).take(7).collect();
    let url = banner.iter().find_map(|line| line.strip_prefix("export AWS_ENDPOINT_URL_EC2=")).unwrap();
    assert!(
        banner
            .iter()
            .any(|line| line.starts_with("aws ec2 describe-client-vpn-connections --client-vpn-endpoint-id cvpn-"))
    );

    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET /_emulator/state HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("build-agent-7"));

    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_program_says_what_is_wrong_with_its_arguments() {
    let output = program().args(["--port", "0", "--seed", "/nowhere.json"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot read the seed /nowhere.json"));
    for delay in ["--terminate-delay", "--apply-delay"] {
        let output = program().args([delay, "soon"]).output().unwrap();
        assert!(String::from_utf8(output.stderr).unwrap().contains("write it like 5s or 250ms"), "{delay}");
    }
}
