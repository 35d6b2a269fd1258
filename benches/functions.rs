//! What the functions cost as processes: from the start to the first wait for work and to the first answer, peak memory,
//! size, and processor time per event once they are warm; beside a function that does nothing, and beside the same two
//! functions in Python (`peer/`).
//!
//! `benches/run` builds everything and runs this. Lambda's runtime API, EC2 and DynamoDB are played on loopback, which
//! has neither TLS nor distance, and Lambda adds the start of its own environment to every function alike: compare the
//! rows, not these figures with Lambda's.

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

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use world::{AUDIT, LOCKS, REGION, World};

/// How often each program is started.
const STARTS: usize = 20;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program, and what it is asked.
struct Program {
    name: &'static str,
    command: Vec<PathBuf>,
    /// What has to be there for it, apart from Lambda's own libraries.
    size: u64,
    event: fn(usize) -> Value,
    /// How many events it gets while it is warm: enough to be measured in hundredths of a second.
    warm: usize,
    /// The row whose start this one is held against.
    beside: &'static str,
    /// Somebody is connected whom the event is about.
    ends: bool,
}

const NOTHING: &str = "does nothing, Rust";
const HANDLER: &str = "`connect-handler`";
const REVOKER: &str = "`revoker`";

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    // Cargo passes `--bench` to every bench.
    let places: Vec<PathBuf> = std::env::args().skip(1).filter(|arg| arg != "--bench").map(PathBuf::from).collect();
    let [idle, handler, revoker, python] = places.as_slice() else {
        println!("give the three programs and a Python with the packages of the peer; benches/run does");
        return;
    };
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer");
    let by_python =
        |module: &str| vec![python.clone(), "-m".into(), "awslambdaric".into(), format!("{module}.handler").into()];
    let size = |path: &Path| std::fs::metadata(path).map(|about| about.len()).unwrap_or_default();
    let packages = packages(python);
    let programs = [
        Program {
            name: NOTHING,
            command: vec![idle.clone()],
            size: size(idle),
            event: |_| json!({}),
            warm: 2000,
            beside: NOTHING,
            ends: false,
        },
        Program {
            name: HANDLER,
            command: vec![handler.clone()],
            size: size(handler),
            event: knock,
            warm: 2000,
            beside: NOTHING,
            ends: false,
        },
        Program {
            name: REVOKER,
            command: vec![revoker.clone()],
            size: size(revoker),
            event: revoke,
            warm: 200,
            beside: NOTHING,
            ends: true,
        },
        Program {
            name: "connect handler, Python",
            command: by_python("connect_handler"),
            size: packages,
            event: knock,
            warm: 500,
            beside: HANDLER,
            ends: false,
        },
        Program {
            name: "revoker, Python",
            command: by_python("revoker"),
            size: packages,
            event: revoke,
            warm: 50,
            beside: REVOKER,
            ends: true,
        },
    ];
    let world = World::with(|emulator| emulator.terminate_delay(Duration::ZERO)).await;
    world.now();
    let mut bench = Bench { world, peer, asked: 0 };
    let mut starts: Vec<Vec<Start>> = programs.iter().map(|_| Vec::new()).collect();
    // In turns, so that whatever else the machine does meets all of them alike.
    for _ in 0..STARTS {
        for (program, starts) in programs.iter().zip(&mut starts) {
            starts.push(bench.start(program, 0).await);
        }
    }
    println!(
        "| function | size | to first wait | beside | to first answer | beside | peak memory | CPU per warm event |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let medians: Vec<(f64, f64)> =
        starts.iter().map(|starts| (median(starts, |s| s.waiting), median(starts, |s| s.answered))).collect();
    for (program, (waiting, answered)) in programs.iter().zip(&medians) {
        let warm = bench.start(program, program.warm).await;
        let other = programs.iter().position(|other| other.name == program.beside).unwrap();
        let ratio = |own: f64, other: f64| format!("{:.2} ×", own / other);
        println!(
            "| {} | {:.1} MB | {waiting:.1} ms | {} | {answered:.1} ms | {} | {:.1} MiB | {:.2} ms |",
            program.name,
            program.size as f64 / 1e6,
            ratio(*waiting, medians[other].0),
            ratio(*answered, medians[other].1),
            warm.peak as f64 / 1024.0,
            warm.cpu.as_secs_f64() * 1e3 / program.warm as f64,
        );
    }
}

/// How large the packages are that the Python functions need, which Lambda would have to unpack.
fn packages(python: &Path) -> u64 {
    fn of(folder: &Path) -> u64 {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let size = |entry: std::fs::DirEntry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => of(&entry.path()),
            Ok(_) => entry.metadata().map(|about| about.len()).unwrap_or_default(),
            Err(_) => 0,
        };
        let own = |entry: &std::fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            !["pip", "setuptools", "__pycache__"].iter().any(|other| name.starts_with(other))
        };
        entries.filter(own).map(size).sum()
    }
    let lib = python.parent().and_then(Path::parent).map(|place| place.join("lib")).unwrap_or_default();
    of(&lib)
}

fn knock(number: usize) -> Value {
    let mut request = world::reading::sample("connect-handler/v3.json");
    request["username"] = json!(format!("somebody-{number}@example.com"));
    request
}

fn revoke(number: usize) -> Value {
    json!({"action": "revoke", "subjects": [format!("leaver-{number}@example.com")], "reason": "bench", "id": format!("bench-{number}")})
}

/// What one start took, and what followed.
struct Start {
    /// Until the process asked for work.
    waiting: Duration,
    /// Until it had answered, which it was asked to do at once.
    answered: Duration,
    /// The most memory that it had, in KiB.
    peak: u64,
    /// Processor time for the events after the first.
    cpu: Duration,
}

fn median(starts: &[Start], part: impl Fn(&Start) -> Duration) -> f64 {
    let mut parts: Vec<Duration> = starts.iter().map(part).collect();
    parts.sort_unstable();
    parts[parts.len() / 2].as_secs_f64() * 1e3
}

struct Bench {
    world: World,
    peer: PathBuf,
    /// How many events there were: each is about somebody else.
    asked: usize,
}

impl Bench {
    async fn start(&mut self, program: &Program, warm: usize) -> Start {
        let mut events = VecDeque::new();
        for _ in 0..=warm {
            self.asked += 1;
            events.push_back((program.event)(self.asked).to_string());
            if program.ends {
                self.world.user(&format!("leaver-{}@example.com", self.asked));
            }
        }
        let (seen, mut moments) = mpsc::unbounded_channel();
        let api = runtime_api(seen, events).await;
        let begun = Instant::now();
        let process = Process(self.command(program, &api).spawn().expect("the program starts"));
        let mut next = async || {
            let moment: Option<Instant> =
                tokio::time::timeout(PATIENCE, moments.recv()).await.expect("a function in time");
            moment.expect("the runtime API is up").duration_since(begun)
        };
        let (waiting, answered) = (next().await, next().await);
        let before = process.cpu();
        for _ in 0..warm {
            next().await;
            next().await;
        }
        Start { waiting, answered, peak: process.peak(), cpu: process.cpu().saturating_sub(before) }
    }

    fn command(&self, program: &Program, api: &str) -> Command {
        let mut command = Command::new(&program.command[0]);
        command
            .args(&program.command[1..])
            .current_dir(&self.peer)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.world.tables.url)
            .env("AWS_ENDPOINT_URL_EC2", self.world.emulator.url())
            .env("VPN_REVOKER_LOCKS_TABLE", LOCKS)
            .env("VPN_REVOKER_AUDIT_TABLE", AUDIT)
            .env("VPN_REVOKER_SETTLE_SECONDS", "0")
            .stdout(Stdio::null());
        command
    }
}

struct Process(Child);

impl Process {
    fn about(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).expect("Linux")
    }

    /// The most memory that it had, in KiB.
    fn peak(&self) -> u64 {
        let status = self.about("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Processor time so far, of all its threads, those that ended too.
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

struct Api {
    seen: mpsc::UnboundedSender<Instant>,
    events: Mutex<VecDeque<String>>,
}

/// Lambda's side (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).
async fn runtime_api(seen: mpsc::UnboundedSender<Instant>, events: VecDeque<String>) -> String {
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
    let waiting = api.events.lock().expect("no panic").pop_front();
    let Some(event) = waiting else { std::future::pending().await };
    let _ = api.seen.send(Instant::now());
    let in_a_minute = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() + 60_000;
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", "8476a536-demo-11f1-9a3e-000000000001".to_owned()),
        ("lambda-runtime-deadline-ms", in_a_minute.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:111122223333:function:f".to_owned()),
    ];
    (headers, event)
}

async fn answered(State(api): State<Arc<Api>>, answer: String) -> StatusCode {
    let right = ["{}", r#""allow":true"#, r#""allow": true"#, "completed"].iter().any(|part| answer.contains(part));
    assert!(right, "that is no answer of a function that did its work: {answer}");
    let _ = api.seen.send(Instant::now());
    StatusCode::ACCEPTED
}

async fn failed(answer: String) -> StatusCode {
    panic!("the function failed: {answer}");
}
