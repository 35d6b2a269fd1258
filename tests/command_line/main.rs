//! The command line, as somebody types it: the program itself, against a DynamoDB engine on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    unreachable_pub
)]

#[path = "../world/mod.rs"]
mod world;

mod acting;
mod audit;
mod breaker;
mod doctor;
mod errors;
mod explain;
mod finding;
mod handler;
mod interrupting;
mod local;
mod locks;
mod replay;
mod report;
mod sessions;
mod tampering;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use world::deployed::Deployed;
use world::{AUDIT, LOCKS, REGION, World};

/// What the program said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub out: String,
    pub err: String,
    pub code: i32,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// The program without anything in its environment that the test did not put there.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vpn-revoker"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

pub fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { out: text(output.stdout), err: text(output.stderr), code: output.status.code().unwrap() }
}

/// Without AWS.
pub fn offline(arguments: &[&str]) -> Said {
    said(command(arguments))
}

/// Against the tables of a world. In a thread of its own: the engine answers from this one.
pub async fn online(world: &World, arguments: &[&str]) -> Said {
    online_with(world, arguments, &[]).await
}

/// The same with further variables.
pub async fn online_with(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let mut command = command(arguments);
    with_world(&mut command, world);
    command.envs(variables.iter().copied());
    tokio::task::spawn_blocking(move || said(command)).await.unwrap()
}

/// Against a whole deployment, of which only the function is named.
pub async fn deployed(world: &World, deployed: &Deployed, arguments: &[&str]) -> Said {
    let command = deployed_command(world, deployed, arguments);
    tokio::task::spawn_blocking(move || said(command)).await.unwrap()
}

/// Such a command, not begun.
pub fn deployed_command(world: &World, deployed: &Deployed, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    with_world(&mut command, world);
    command.env_remove("VPN_REVOKER_LOCKS_TABLE").env_remove("VPN_REVOKER_AUDIT_TABLE");
    for service in ["LAMBDA", "SQS", "STS"] {
        command.env(format!("AWS_ENDPOINT_URL_{service}"), &deployed.url);
    }
    command
}

/// Lets a command find a world's tables.
pub fn with_world(command: &mut Command, world: &World) {
    command
        .env("AWS_ENDPOINT_URL_DYNAMODB", &world.tables.url)
        .env("AWS_ENDPOINT_URL_EC2", world.emulator.url())
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "emulated")
        .env("AWS_SECRET_ACCESS_KEY", "emulated")
        .env("VPN_REVOKER_LOCKS_TABLE", LOCKS)
        .env("VPN_REVOKER_AUDIT_TABLE", AUDIT);
}

/// A world in which Dana was revoked twice and let in once, and Lee is locked.
pub async fn storied() -> World {
    let world = World::new().await;
    let app = world.app(&[("VPN_REVOKER_PROTECTED", "break-glass")]);
    for (action, subject, id) in [
        ("revoke", "dana.reyes@example.com", "INC-1"),
        ("restore", "dana.reyes@example.com", "INC-2"),
        ("revoke", "dana.reyes@example.com", "INC-3"),
        ("revoke", "lee.park@example.com", "INC-4"),
        ("revoke", "break-glass", "INC-5"),
    ] {
        let reason = format!("{id}: \u{1b}[2Jred");
        let command = json!({"action": action, "subjects": [subject], "reason": reason, "id": id});
        world.invoke(&app, &command).await.unwrap();
    }
    world
}

/// A file of this test's own.
pub fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("vpn-revoker-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}
