//! The binaries themselves, in a Lambda runtime loop.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::routing::{get, post};
use client_vpn_emulator::{Action, Fault, NewConnection};
use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use crate::world::reading::sample;
use crate::world::{AUDIT, LOCKS, REGION, World};

/// Lambda's side of the runtime API
/// (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).
struct RuntimeApi {
    url: String,
    events: mpsc::UnboundedSender<String>,
    answers: mpsc::UnboundedReceiver<(String, Value)>,
}

type Shared = Arc<(AsyncMutex<mpsc::UnboundedReceiver<String>>, mpsc::UnboundedSender<(String, Value)>)>;

impl RuntimeApi {
    async fn start() -> Self {
        let (events, waiting) = mpsc::unbounded_channel();
        let (given, answers) = mpsc::unbounded_channel();
        let shared: Shared = Arc::new((AsyncMutex::new(waiting), given));
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(answer))
            .with_state(shared);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, events, answers }
    }

    async fn invoke(&mut self, payload: &str) -> (String, Value) {
        self.events.send(payload.to_owned()).unwrap();
        self.answers.recv().await.unwrap()
    }
}

async fn next(State(shared): State<Shared>) -> (HeaderMap, String) {
    let event = shared.0.lock().await.recv().await.unwrap_or_default();
    let in_two_minutes = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() + 120_000;
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: &str| headers.insert(name, HeaderValue::from_str(value).unwrap());
    put("lambda-runtime-aws-request-id", "8476a536-demo-11f1-9a3e-000000000001");
    put("lambda-runtime-deadline-ms", &in_two_minutes.to_string());
    put("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:111122223333:function:revoker");
    (headers, event)
}

async fn answer(
    State(shared): State<Shared>,
    Path((_, kind)): Path<(String, String)>,
    body: Bytes,
) -> axum::http::StatusCode {
    let _ = shared.1.send((kind, serde_json::from_slice(&body).unwrap_or(Value::Null)));
    axum::http::StatusCode::ACCEPTED
}

const REVOKER: &str = env!("CARGO_BIN_EXE_revoker");
const CONNECT_HANDLER: &str = env!("CARGO_BIN_EXE_connect-handler");

/// A binary, as Lambda starts it, but for where AWS is.
struct Function {
    process: Child,
    output: Option<std::thread::JoinHandle<Vec<Value>>>,
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Function {
    fn start(binary: &str, world: &World, runtime: &RuntimeApi) -> Self {
        let mut process = Command::new(binary)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", &runtime.url)
            .env("AWS_LAMBDA_FUNCTION_NAME", "revoker")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret-that-no-log-may-show")
            .env("AWS_ENDPOINT_URL_EC2", world.emulator.url())
            .env("AWS_ENDPOINT_URL_DYNAMODB", &world.tables.url)
            .env("VPN_REVOKER_LOCKS_TABLE", LOCKS)
            .env("VPN_REVOKER_AUDIT_TABLE", AUDIT)
            .env("VPN_REVOKER_SETTLE_SECONDS", "0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(process.stdout.take().unwrap());
        let output = std::thread::spawn(move || {
            let lines = std::io::BufRead::lines(lines).map_while(Result::ok);
            lines.map(|line| serde_json::from_str(&line).unwrap_or(json!(line))).collect()
        });
        Self { process, output: Some(output) }
    }

    /// Ends the process and gives everything that it printed.
    fn output(mut self) -> Vec<Value> {
        self.process.kill().unwrap();
        self.output.take().unwrap().join().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_binary_serves_one_event_after_another() {
    let world = World::with(|emulator| emulator.terminate_delay(std::time::Duration::ZERO)).await;
    world.user("dana.reyes@example.com");
    world.connect(0, NewConnection::certificate("lee.park@example.com"));
    // Warming up meets a call that never ends: the first wait for work must not wait for it.
    world.emulator.inject(Fault::on(Action::DescribeEndpoints).times(1).hang());
    let mut runtime = RuntimeApi::start().await;
    let function = Function::start(REVOKER, &world, &runtime);
    world.emulator.seen("DescribeClientVpnEndpoints", 1).await;

    let (kind, answer) = runtime.invoke(&sample("okta/deactivate-eventbridge.json").to_string()).await;
    assert_eq!((kind.as_str(), &answer["receipts"][0]["outcome"]), ("response", &json!("completed")), "{answer}");
    assert!(world.emulator.alive("dana.reyes@example.com").is_empty());

    let (kind, answer) = runtime.invoke("{\"deep\":".repeat(5_000).as_str()).await;
    assert_eq!(kind, "error");
    assert!(answer["errorMessage"].as_str().unwrap().starts_with("failed to deserialize"), "no JSON at all: {answer}");
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(runtime.invoke(&deep).await, ("response".to_owned(), json!({"receipts": []})));

    let (kind, answer) = runtime.invoke(&sample("command/unknown-field.json").to_string()).await;
    assert_eq!((kind.as_str(), &answer["errorType"]), ("error", &json!("InvalidCommand")));
    assert!(answer["errorMessage"].as_str().unwrap().contains("`urgency`"));

    let (kind, answer) = runtime.invoke(&sample("wrapped/sqs-sns-okta-suspend.json").to_string()).await;
    assert_eq!((kind.as_str(), answer), ("response", json!({"batchItemFailures": []})));
    assert!(world.alive().is_empty());
    assert_eq!(world.kinds("lee.park@example.com").await, ["requested", "completed"]);

    let output = function.output();
    assert!(output.iter().all(Value::is_object), "every line is JSON: {output:?}");
    let text = serde_json::to_string(&output).unwrap();
    assert!(!text.contains("secret-that-no-log-may-show") && !text.contains("demo-session-0001"), "{text}");
    let about = |id: &str| output.iter().filter(|line| line["span"]["signal_id"] == id).count();
    assert!(about("okta:5f0c2a1e-0d51-11f1-8c1e-demo00000001") >= 3, "{text}");
    assert!(output.iter().any(|line| line["Outcome"] == "completed" && line["_aws"].is_object()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connect_handler_answers_one_client_after_another() {
    let world = World::new().await;
    let command = json!({"action": "revoke", "username": "dana.reyes@example.com", "reason": "INC-42"});
    world.invoke(&world.app(&[]), &command).await.unwrap();
    let mut runtime = RuntimeApi::start().await;
    let function = Function::start(CONNECT_HANDLER, &world, &runtime);

    for (request, allow) in [("v1", true), ("v2", false), ("v3", false)] {
        let (kind, answer) = runtime.invoke(&sample(&format!("connect-handler/{request}.json")).to_string()).await;
        assert_eq!((kind.as_str(), &answer["allow"]), ("response", &json!(allow)), "{request}: {answer}");
        assert_eq!(answer["schema-version"], request);
    }
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let (kind, answer) = runtime.invoke(&deep).await;
    assert_eq!((kind.as_str(), &answer["allow"]), ("response", &json!(false)), "nobody can say who that is: {answer}");
    assert_eq!(world.kinds("dana.reyes@example.com").await, ["requested", "completed", "denied", "denied"]);

    let output = function.output();
    assert!(output.iter().all(Value::is_object), "every line is JSON: {output:?}");
    let refused: Vec<&Value> = output.iter().filter(|line| line["message"] == "connection refused").collect();
    assert_eq!(refused.len(), 2, "{output:?}");
    assert_eq!(
        (&refused[0]["endpoint_id"], &refused[0]["platform"], &refused[0]["public_ip"]),
        (&json!("cvpn-endpoint-0dir0000000000002"), &json!("win"), &json!("203.0.113.7"))
    );
}

#[test]
fn a_wrong_configuration_stops_the_start_with_one_error_that_lists_everything() {
    for binary in [REVOKER, CONNECT_HANDLER] {
        assert_lists_everything(binary);
    }
}

fn assert_lists_everything(binary: &str) {
    let output = Command::new(binary)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
        .env("VPN_REVOKER_MODE", "perhaps")
        .env("VPN_REVOKER_PROTECTED", "*")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    for name in [
        "VPN_REVOKER_LOCKS_TABLE",
        "VPN_REVOKER_AUDIT_TABLE",
        "VPN_REVOKER_MODE",
        "VPN_REVOKER_PROTECTED",
        "AWS_REGION",
    ] {
        assert!(text.contains(name), "{name} is not in {text}");
    }
}
