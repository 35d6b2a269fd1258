//! AWS's own clients, unchanged, where they are installed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout
)]

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use client_vpn_emulator::{Action, Authentication, Emulator, ManualClock, NewConnection, NewEndpoint};
use tokio::process::Command;

const ENDPOINT: &str = "cvpn-endpoint-0a1b2c3d4e5f60718";
const GATE: &str = "arn:aws:lambda:eu-west-1:123456789012:function:AWSClientVPN-gate";

/// Credentials that mean nothing, and no profile of whoever runs the tests.
fn client(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .env("AWS_DEFAULT_REGION", "eu-west-1")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("AWS_PAGER", "")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn installed(program: &str, arguments: &[&str]) -> bool {
    let there = client(program).args(arguments).output().await.is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: {program} {} does not work here", arguments.join(" "));
    }
    there
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn boto3_reads_pages_filters_ends_connections_and_changes_the_handler() {
    if !installed("python3", &["-c", "import boto3"]).await {
        return;
    }
    let clock = Arc::new(ManualClock::default());
    let emulator = Emulator::builder()
        .clock(clock)
        .max_page_size(2)
        .terminate_delay(Duration::from_secs(10))
        .apply_delay(Duration::from_secs(10))
        .start()
        .await
        .unwrap();
    let about = NewEndpoint::new(ENDPOINT)
        .description("staff & guests")
        .authentication(&[Authentication::Certificate, Authentication::Federated])
        .connect_handler(GATE);
    emulator.add_endpoint(about);
    emulator.add_endpoint(NewEndpoint::new("cvpn-endpoint-tcp").transport_protocol("tcp"));
    emulator.add_endpoint(NewEndpoint::new("cvpn-endpoint-bare").without_association());
    for user in ["alice@example.com", "Alice@example.com", "bob@example.com", "bob@example.com"] {
        emulator.connect(ENDPOINT, NewConnection::user(user).common_name("laptop")).unwrap();
    }
    emulator.connect(ENDPOINT, NewConnection::certificate("build-agent")).unwrap();
    for _ in 0..6 {
        emulator.connect(ENDPOINT, NewConnection::user("carol")).unwrap();
    }
    emulator.connect(ENDPOINT, NewConnection::user("<o'hara>&\u{1}")).unwrap();

    let story = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/boto3_story.py");
    let output = client("python3").args([story, &emulator.url(), ENDPOINT]).output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(emulator.alive("carol").len(), 6);
    assert!(emulator.alive("bob@example.com").is_empty());
    assert_eq!(emulator.endpoints()[0].connect_handler.as_deref(), Some(GATE));
}

#[tokio::test]
async fn the_aws_cli_lists_and_ends_connections() {
    if !installed("aws", &["--version"]).await {
        return;
    }
    let emulator = Emulator::builder().max_page_size(2).start().await.unwrap();
    emulator.add_endpoint(NewEndpoint::new(ENDPOINT));
    for n in 0..3 {
        emulator.connect(ENDPOINT, NewConnection::user(format!("user-{n}"))).unwrap();
    }
    let url = emulator.url();
    let run = |action: &'static str, more: &'static [&'static str]| {
        let mut command = client("aws");
        let common = ["--endpoint-url", &url, "--client-vpn-endpoint-id", ENDPOINT, "--output", "text"];
        command.args(["ec2", action]).args(common).args(more);
        async move { command.output().await.unwrap() }
    };
    let listed = run("describe-client-vpn-connections", &["--query", "Connections[].Username"]).await;
    assert_eq!(text(&listed).split_whitespace().collect::<Vec<_>>(), ["user-0", "user-1", "user-2"]);

    let user = &["--username", "user-1", "--query", "ConnectionStatuses[].CurrentStatus.Code"];
    let ended = run("terminate-client-vpn-connections", user).await;
    assert_eq!(text(&ended).trim(), "terminating");
    assert!(emulator.alive("user-1").is_empty());

    let dry = run("terminate-client-vpn-connections", &["--username", "user-2", "--dry-run"]).await;
    assert!(text(&dry).contains("(DryRunOperation)"), "{}", text(&dry));
    emulator.deny(Action::Terminate);
    let denied = run("terminate-client-vpn-connections", &["--username", "user-2"]).await;
    assert!(text(&denied).contains("(UnauthorizedOperation)"), "{}", text(&denied));
    assert_eq!(emulator.alive("user-2").len(), 1);
}

#[tokio::test]
async fn the_aws_cli_attaches_and_detaches_a_connect_handler() {
    if !installed("aws", &["--version"]).await {
        return;
    }
    let emulator = Emulator::builder().start().await.unwrap();
    emulator.add_endpoint(NewEndpoint::new(ENDPOINT));
    let url = emulator.url();
    let modify = |options: String| {
        let mut command = client("aws");
        command.args(["ec2", "modify-client-vpn-endpoint", "--client-vpn-endpoint-id", ENDPOINT]);
        command.args(["--endpoint-url", &url, "--output", "text", "--client-connect-options", &options]);
        async move { text(&command.output().await.unwrap()) }
    };
    let listed = || emulator.endpoints()[0].connect_handler.clone();
    assert_eq!(modify(format!("Enabled=true,LambdaFunctionArn={GATE}")).await.trim(), "True");
    assert_eq!(listed().as_deref(), Some(GATE));
    let refused = modify("Enabled=true".into()).await;
    assert!(refused.contains("(MissingParameter)"), "{refused}");
    assert_eq!(modify("Enabled=false".into()).await.trim(), "True");
    assert_eq!(listed(), None);
}
