//! Ctrl-C leaves nothing half-said.

use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use tokio::sync::Notify;

use crate::scratch;
use crate::world::World;

/// Runs a command, presses Ctrl-C once `asked` says that it waits for an answer; what it said on standard error.
async fn interrupted(mut command: Command, asked: Arc<Notify>) -> (Option<i32>, String, String) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id().to_string();
    asked.notified().await;
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A server that takes every request, says so, and never answers.
async fn silent() -> (String, Arc<Notify>) {
    let asked = Arc::new(Notify::new());
    let told = Arc::clone(&asked);
    let never = move || {
        let told = Arc::clone(&told);
        async move {
            told.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let routes = Router::new().route("/", post(never.clone())).route("/{*path}", post(never));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, asked)
}

#[tokio::test]
async fn an_interrupted_revocation_says_that_the_function_goes_on() {
    let world = World::new().await;
    let (url, asked) = silent().await;
    let revoke = ["revoke", "a@example.com", "--reason", "x", "--id", "INC-7", "--function", "f", "--yes"];
    let mut command = crate::command(&revoke);
    crate::with_world(&mut command, &world);
    command.env("AWS_ENDPOINT_URL_LAMBDA", url);
    let (code, out, err) = interrupted(command, asked).await;
    assert_eq!((code, out.as_str()), (Some(130), ""));
    assert!(err.contains("the function goes on") && err.contains("--id INC-7 goes on"), "{err}");
}

#[tokio::test]
async fn an_interrupted_export_leaves_no_file() {
    let world = World::new().await;
    let (url, asked) = silent().await;
    let file = scratch("interrupted.jsonl");
    let mut command = crate::command(&["audit", "export", "--to-file", file.to_str().unwrap()]);
    crate::with_world(&mut command, &world);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", url);
    let (code, out, _) = interrupted(command, asked).await;
    assert_eq!((code, out.as_str()), (Some(130), ""));
    let beside = std::fs::read_dir(file.parent().unwrap()).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let left = beside.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with(&name));
    assert_eq!(left.count(), 0);
}
