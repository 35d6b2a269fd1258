//! A function as a process, and the side of Lambda that it talks to
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(150);

/// How long an invoke may take, as in `template.yaml`.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A running function.
pub struct Lambda {
    process: Process,
    begun: Instant,
    events: mpsc::UnboundedSender<String>,
    moments: mpsc::UnboundedReceiver<Moment>,
}

enum Moment {
    Waits(Instant),
    Answers(Instant, String),
    Fails(String),
}

/// What an invoke came to.
pub struct Answer {
    /// From when the event was there for the function to fetch; for the first, from the start of the process.
    pub took: Duration,
    /// The answer itself.
    pub body: Value,
}

impl Lambda {
    /// Starts a function; the first event is there before it asks for it.
    pub async fn start(mut command: Command, first: &Value) -> Self {
        let (events, waiting) = mpsc::unbounded_channel();
        let (seen, moments) = mpsc::unbounded_channel();
        let api = runtime_api(seen, waiting).await;
        let _ = events.send(first.to_string());
        command.env("AWS_LAMBDA_RUNTIME_API", api);
        let begun = Instant::now();
        let process = Process(command.spawn().expect("the program starts"));
        Self { process, begun, events, moments }
    }

    /// How long after the start it first asked for work.
    pub async fn waits(&mut self) -> Duration {
        match self.next().await {
            Moment::Waits(at) => at.duration_since(self.begun),
            _ => panic!("it answers before it was asked"),
        }
    }

    /// What it answers to the first event.
    pub async fn first_answer(&mut self) -> Answer {
        let begun = self.begun;
        self.outcome(begun).await.unwrap_or_else(|error| panic!("the function failed: {error}"))
    }

    /// What it answers to this event.
    pub async fn ask(&mut self, event: &Value) -> Answer {
        self.try_ask(event).await.unwrap_or_else(|error| panic!("the function failed: {error}"))
    }

    /// What it answers to this event, or why it failed.
    pub async fn try_ask(&mut self, event: &Value) -> Result<Answer, String> {
        let asked = Instant::now();
        self.events.send(event.to_string()).expect("the runtime API is up");
        self.outcome(asked).await
    }

    async fn outcome(&mut self, asked: Instant) -> Result<Answer, String> {
        loop {
            match self.next().await {
                Moment::Waits(_) => {}
                Moment::Answers(at, body) => {
                    let body = serde_json::from_str(&body).expect("the answer is JSON");
                    return Ok(Answer { took: at.duration_since(asked), body });
                }
                Moment::Fails(error) => return Err(error),
            }
        }
    }

    /// The most memory that it had, in KiB.
    pub fn peak(&self) -> u64 {
        self.process.memory("VmHWM:")
    }

    /// The memory that it has, in KiB.
    pub fn resident(&self) -> u64 {
        self.process.memory("VmRSS:")
    }

    /// Processor time so far, of all its threads, those that ended too.
    pub fn cpu(&self) -> Duration {
        self.process.cpu()
    }

    async fn next(&mut self) -> Moment {
        let moment = tokio::time::timeout(PATIENCE, self.moments.recv()).await.expect("a function in time");
        moment.expect("the runtime API is up")
    }
}

struct Process(Child);

impl Process {
    fn about(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).expect("Linux, and the function runs")
    }

    fn memory(&self, line: &str) -> u64 {
        let status = self.about("status");
        let line = status.lines().find_map(|found| found.strip_prefix(line)).expect("the kernel tells");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn cpu(&self) -> Duration {
        let stat = self.about("stat");
        // The name in brackets may hold spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The environment that every function has, and nothing else.
pub fn command(program: &[std::path::PathBuf], variables: &[(&str, String)]) -> Command {
    let mut command = Command::new(&program[0]);
    command
        .args(&program[1..])
        .env_clear()
        .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_REGION", crate::aws::REGION)
        .env("AWS_DEFAULT_REGION", crate::aws::REGION)
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(variables.iter().map(|(key, value)| (key, value)))
        .stdout(Stdio::null());
    command
}

struct Api {
    seen: mpsc::UnboundedSender<Moment>,
    events: Mutex<mpsc::UnboundedReceiver<String>>,
}

async fn runtime_api(seen: mpsc::UnboundedSender<Moment>, events: mpsc::UnboundedReceiver<String>) -> String {
    let routes = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(answered))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
        .route("/2018-06-01/runtime/init/error", post(failed))
        .with_state(Arc::new(Api { seen, events: Mutex::new(events) }));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

async fn next(State(api): State<Arc<Api>>) -> ([(&'static str, String); 4], String) {
    let _ = api.seen.send(Moment::Waits(Instant::now()));
    let event = api.events.lock().await.recv().await;
    let Some(event) = event else { std::future::pending().await };
    let until = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock") + TIMEOUT;
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", format!("8476a536-e9f4-11e8-9739-{:012}", until.as_millis() % 1_000_000_000)),
        ("lambda-runtime-deadline-ms", until.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:111122223333:function:f".to_owned()),
    ];
    (headers, event)
}

async fn answered(State(api): State<Arc<Api>>, answer: String) -> StatusCode {
    let _ = api.seen.send(Moment::Answers(Instant::now(), answer));
    StatusCode::ACCEPTED
}

async fn failed(State(api): State<Arc<Api>>, answer: String) -> StatusCode {
    let _ = api.seen.send(Moment::Fails(answer));
    StatusCode::ACCEPTED
}
