//! The whole way on one machine: an Okta event says that somebody is out, and the same code as in the Lambda function
//! ends that person's connections, verifies it and records it. Client VPN and DynamoDB are emulated on loopback.
//!
//! `cargo run --example offboarding` shows it; with `-- --serve` both servers stay up afterwards for your own calls.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

#[path = "../tests/world/mod.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use client_vpn_emulator::{NewConnection, Status};
use revocation::memory::ManualClock;
use revocation::ports::Clock;
use serde_json::Value;
use vpn_revoker::SystemClock;
use world::reading::sample;
use world::{AUDIT, ENDPOINTS, LOCKS, REGION, World};

const DANA: &str = "dana.reyes@example.com";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let serve = std::env::args().any(|argument| argument == "--serve");
    let world = World::new().await;
    connect_everybody(&world);

    heading("Who is connected before");
    show_connections(&world);
    heading("The audit trail before");
    show_trail(&world).await;

    heading("The event: Okta says that Dana is deactivated (events/okta/deactivate-eventbridge.json)");
    let event = sample("okta/deactivate-eventbridge.json");
    println!(
        "  {} of {}, by {}",
        event["detail"]["eventType"],
        event["detail"]["target"][0]["alternateId"],
        event["detail"]["actor"]["alternateId"]
    );

    let answer = world.invoke(&world.app(&[]), &event).await.expect("the event is handled");
    heading("The receipt");
    show_receipt(&answer["receipts"][0]);

    heading("Who is connected after");
    show_connections(&world);

    heading("The audit trail after: what an auditor finds");
    show_trail(&world).await;

    if serve {
        let now = SystemClock.now();
        world.clock.advance(now.since(world.clock.now()));
        show_how_to_use(&world);
        tokio::spawn(keep_time(Arc::clone(&world.clock)));
        tokio::signal::ctrl_c().await.expect("waiting for Ctrl-C");
    } else {
        println!("\nRun it with `-- --serve` to keep both servers up and try your own calls.");
    }
}

/// Dana seven times, in capitals, by certificate and in the directory; and people who only look like her.
fn connect_everybody(world: &World) {
    for _ in 0..7 {
        world.user(DANA);
    }
    world.user("Dana.Reyes@EXAMPLE.com");
    world.connect(0, NewConnection::certificate(DANA));
    world.connect(1, NewConnection::user(DANA).common_name("corp-client"));
    for other in ["adana.reyes@example.com", "dana.reyes@example.com.evil", "dana.reyes*", "lee.park@example.com"] {
        world.user(other);
    }
    world.connect(0, NewConnection::certificate("dana.reyes"));
    world.connect(1, NewConnection::user("lee.park@example.com").common_name("corp-client"));
}

/// From now on time passes as it does for whoever calls.
async fn keep_time(clock: Arc<ManualClock>) {
    let step = Duration::from_millis(100);
    loop {
        tokio::time::sleep(step).await;
        clock.advance(step);
    }
}

fn heading(text: &str) {
    println!("\n{text}\n{}", "-".repeat(text.chars().count()));
}

fn show_connections(world: &World) {
    println!("  {:<22} {:<30} {:<30} status", "endpoint", "user name", "common name");
    for row in world.emulator.connections() {
        let endpoint =
            ["certificates", "directory", "SAML"][ENDPOINTS.iter().position(|id| *id == row.endpoint_id).unwrap_or(0)];
        let mark = if row.status == Status::Terminated { " " } else { "*" };
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
        println!("{mark} {endpoint:<22} {:<30} {:<30} {}", name(&row.username), name(&row.common_name), row.status);
    }
}

fn show_receipt(receipt: &Value) {
    let subject = &receipt["subjects"][0];
    let connections = subject["connections"].as_array().expect("connections");
    let ended = connections.iter().filter(|connection| connection["current_status"] == "terminated").count();
    println!("  signal     {}", text(&receipt["signal_id"]));
    println!("  subject    {}", text(&subject["subject"]));
    println!(
        "  outcome    {} ({ended} of {} connections terminated, on {} endpoints looked at)",
        text(&receipt["outcome"]),
        connections.len(),
        receipt["endpoints"].as_array().map_or(0, Vec::len)
    );
    for (word, key) in [
        ("occurred", "occurred_at"),
        ("received", "received_at"),
        ("locked", "locked_at"),
        ("terminate", "first_terminate_at"),
        ("verified", "verified_at"),
    ] {
        println!("  {word:<10} {}", text(&receipt["timings"][key]));
    }
}

async fn show_trail(world: &World) {
    // Reading checks the chain as well: no gap, each hash follows, the head agrees.
    let chains = world.chains().await;
    if chains.is_empty() {
        println!("  empty");
    }
    for (chain, entries) in chains {
        println!("  chain `{chain}`: whole");
        for entry in entries {
            println!(
                "  {} {} {:<10} {} says {}, caused by {}",
                entry["seq"],
                text(&entry["at"]),
                text(&entry["kind"]),
                text(&entry["authority"]),
                text(&entry["reason"]),
                text(&entry["actor"])
            );
            println!("    hash {}…", &text(&entry["hash"])[..24]);
        }
    }
    let Some(lock) = world.lock(DANA).await else {
        println!("  no lock on `{DANA}`");
        return;
    };
    println!(
        "  lock on `{DANA}`: {}, held by {}",
        text(&lock["state"]),
        lock["holds"].as_object().expect("holds").keys().cloned().collect::<Vec<_>>().join(", ")
    );
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn show_how_to_use(world: &World) {
    heading("Both servers are up; Ctrl-C ends them");
    println!("export AWS_ENDPOINT_URL_EC2={}", world.emulator.url());
    println!("export AWS_ENDPOINT_URL_DYNAMODB={}", world.tables.url);
    println!("export AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}");
    println!("export AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=secret");
    println!("export VPN_REVOKER_LOCKS_TABLE={LOCKS} VPN_REVOKER_AUDIT_TABLE={AUDIT} VPN_REVOKER_SETTLE_SECONDS=2");
    println!("\n# With these set in another terminal:");
    println!("cargo run -- sessions                # who is connected, and who of them is locked");
    println!("cargo run -- locks show {DANA}");
    println!("cargo run -- audit verify");
    println!("cargo run -- report --subject {DANA} --html dana.html");
    let all = serde_json::json!({
        "VPN_REVOKER_LOCKS_TABLE": LOCKS, "VPN_REVOKER_AUDIT_TABLE": AUDIT, "VPN_REVOKER_MODE": "enforce",
        "VPN_REVOKER_TARGETS": "", "VPN_REVOKER_ENDPOINTS": "", "VPN_REVOKER_PROTECTED": "", "VPN_REVOKER_ALIASES": "",
        "VPN_REVOKER_SETTLE_SECONDS": 2,
    });
    println!("echo '{all}' > demo.json             # the function's configuration, since there is no function here");
    println!("cargo run -- revoke lee.park@example.com --reason INC-42 --local --config demo.json");
    println!("\n# Or with other tools:");
    println!("aws ec2 describe-client-vpn-connections --client-vpn-endpoint-id {}", ENDPOINTS[2]);
    println!(
        "aws dynamodb query --table-name {AUDIT} --key-condition-expression 'subject = :s' --expression-attribute-values '{{\":s\":{{\"S\":\"{DANA}\"}}}}'"
    );
    println!("\n# The function in a Lambda runtime loop; the second line in a third terminal:");
    println!("cargo lambda watch --invoke-address 127.0.0.1 --ignore-changes");
    println!("cargo lambda invoke --invoke-address 127.0.0.1 revoker --data-file events/command/revoke.json");
}
