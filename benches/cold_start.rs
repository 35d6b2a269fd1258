//! What a cold start costs: from the start of the process to its first wait for work, and to its first answer.
//!
//! Starts each program given, release builds of Lambda functions, over and over against Lambda's runtime API and a
//! DynamoDB engine, both on loopback. `idle` is a function that does nothing:
//!
//! ```sh
//! cargo build --release -p idle
//! cargo build --release --no-default-features --bin connect-handler
//! cargo bench --no-default-features --bench cold_start -- target/release/idle target/release/connect-handler
//! ```
//!
//! (Put the path of your target directory, if `CARGO_TARGET_DIR` is set.) Loopback has neither TLS nor distance, and
//! Lambda adds the start of its own environment to every function alike: compare the rows, not these figures with
//! Lambda's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::sync::mpsc;

/// How often each program is started.
const STARTS: usize = 20;

/// Longer than any start takes.
const PATIENCE: Duration = Duration::from_secs(10);

const LOCKS: &str = "locks";
const REGION: &str = "eu-west-1";
const REQUEST: &str = include_str!("../events/connect-handler/v2.json");

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Cargo passes `--bench` to every bench.
    let programs: Vec<PathBuf> = std::env::args().skip(1).filter(|arg| arg != "--bench").map(PathBuf::from).collect();
    if programs.is_empty() {
        println!("give the programs to start; see the head of benches/cold_start.rs");
        return;
    }
    let tables = tables().await;
    println!("| function | size | first wait for work | first answer |\n|---|---|---|---|");
    for program in programs {
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            starts.push(start(&program, &tables).await);
        }
        let name = program.file_name().unwrap_or_default().display().to_string();
        let megabytes = std::fs::metadata(&program).expect("a program").len() as f64 / 1e6;
        let (waiting, answered) = (median(&starts, |start| start.waiting), median(&starts, |start| start.answered));
        println!("| `{name}` | {megabytes:.1} MB | {waiting:.1} ms | {answered:.1} ms |");
    }
}

/// What one start took.
struct Start {
    /// Until the process asked for work.
    waiting: Duration,
    /// Until it had answered, which it was asked to do at once.
    answered: Duration,
}

fn median(starts: &[Start], part: impl Fn(&Start) -> Duration) -> f64 {
    let mut parts: Vec<Duration> = starts.iter().map(part).collect();
    parts.sort_unstable();
    parts.get(parts.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3
}

async fn start(program: &Path, tables: &str) -> Start {
    let (seen, mut moments) = mpsc::unbounded_channel();
    let api = runtime_api(seen).await;
    let begun = Instant::now();
    let _process = Process(
        Command::new(program)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", &api)
            .env("AWS_LAMBDA_FUNCTION_NAME", "AWSClientVPN-cold-start")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_ENDPOINT_URL_DYNAMODB", tables)
            .env("VPN_REVOKER_LOCKS_TABLE", LOCKS)
            .env("VPN_REVOKER_AUDIT_TABLE", "audit")
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts"),
    );
    let mut next = async || {
        let moment: Option<Instant> = tokio::time::timeout(PATIENCE, moments.recv()).await.expect("a function in time");
        moment.expect("the runtime API is up").duration_since(begun)
    };
    Start { waiting: next().await, answered: next().await }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Seen = Arc<(mpsc::UnboundedSender<Instant>, Mutex<Option<&'static str>>)>;

/// Lambda's side, which has one invoke to give (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).
async fn runtime_api(seen: mpsc::UnboundedSender<Instant>) -> String {
    let routes = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(answered))
        .with_state(Arc::new((seen, Mutex::new(Some(REQUEST)))));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

async fn next(State(seen): State<Seen>) -> ([(&'static str, String); 3], &'static str) {
    let waiting = seen.1.lock().expect("no panic").take();
    let Some(event) = waiting else { std::future::pending().await };
    let _ = seen.0.send(Instant::now());
    let in_a_minute = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() + 60_000;
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-demo-11f1-9a3e-000000000001".to_owned()),
        ("lambda-runtime-deadline-ms", in_a_minute.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:111122223333:function:f".to_owned()),
    ];
    (headers, event)
}

async fn answered(State(seen): State<Seen>, answer: String) -> StatusCode {
    assert!(!answer.contains(r#""allow":false"#), "the locks were not read: {answer}");
    let _ = seen.0.send(Instant::now());
    StatusCode::ACCEPTED
}

/// A DynamoDB engine with an empty locks table; its address.
async fn tables() -> String {
    let database = dynoxide::Database::memory().expect("a database in memory");
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "bench"))
        .http_client(vpn_revoker::aws::http_client())
        .endpoint_url(&url)
        .build();
    let subject = AttributeDefinition::builder().attribute_name("subject").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("subject").key_type(KeyType::Hash);
    let create = Client::from_conf(config)
        .create_table()
        .table_name(LOCKS)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(subject.build().expect("an attribute"))
        .key_schema(key.build().expect("a key"));
    create.send().await.expect("a table");
    url
}
