//! From the start to the first wait for work and to the first answer, peak memory, size, and processor time per event
//! once they are warm; beside a function that does nothing, and beside the same two functions in Python (`peer/`).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Programs;
use crate::aws::Aws;
use crate::goal::{self, Goal};
use crate::lambda::{Lambda, command};

/// How often each program is started.
const STARTS: usize = 100;

/// A program, and what it is asked.
struct Program {
    name: &'static str,
    command: Vec<PathBuf>,
    /// What has to be there for it, apart from Lambda's own libraries.
    size: u64,
    event: fn(usize) -> Value,
    /// How many events it gets while it is warm: enough to be measured in hundredths of a second.
    warm: usize,
    /// The row with whose start this one is compared.
    beside: &'static str,
    /// Somebody is connected whom the event is about.
    ends: bool,
    /// What stands in every right answer.
    right: fn(&Value) -> bool,
}

const NOTHING: &str = "does nothing, Rust";
const HANDLER: &str = "`connect-handler`";
const REVOKER: &str = "`revoker`";
const NOBODY: &str = "`revoker`, nobody connected";
const PYTHON_HANDLER: &str = "connect handler, Python";
const PYTHON_REVOKER: &str = "revoker, Python";
const PYTHON_NOBODY: &str = "revoker, Python, nobody connected";

fn programs(given: &Programs) -> Vec<Program> {
    let size = |path: &Path| std::fs::metadata(path).map(|about| about.len()).unwrap_or_default();
    let packages = packages(&given.python);
    let rust = |name, path: &PathBuf, event, right, warm, ends| Program {
        name,
        command: vec![path.clone()],
        size: size(path),
        event,
        warm,
        beside: NOTHING,
        ends,
        right,
    };
    let python = |name, module: &str, event, right, warm, beside, ends| Program {
        name,
        command: given.by_python(module),
        size: packages,
        event,
        warm,
        beside,
        ends,
        right,
    };
    let allowed: fn(&Value) -> bool = |answer| answer["allow"] == true;
    let completed: fn(&Value) -> bool = |answer| answer["outcome"] == "completed";
    vec![
        rust(NOTHING, &given.idle, |_| json!({}), |answer| *answer == json!({}), 2000, false),
        rust(HANDLER, &given.handler, knock, allowed, 2000, false),
        rust(REVOKER, &given.revoker, revoke, completed, 50, true),
        rust(NOBODY, &given.revoker, revoke, completed, 50, false),
        python(PYTHON_HANDLER, "connect_handler", knock, allowed, 500, HANDLER, false),
        python(PYTHON_REVOKER, "revoker", revoke, completed, 50, REVOKER, true),
        python(PYTHON_NOBODY, "revoker", revoke, completed, 50, NOBODY, false),
    ]
}

/// Prints the table.
pub async fn table(given: &Programs) {
    let programs = programs(given);
    let mut bench = Bench { aws: company().await, peer: given.peer.clone(), asked: 0 };
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
        // Whoever was revoked stays in the listings: each program begins with none.
        bench.aws = company().await;
        let warm = bench.start(program, program.warm).await;
        let other = programs.iter().position(|other| other.name == program.beside).expect("it is in the list");
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
    goals(&programs, &medians);
}

/// Three endpoints, and nobody there.
async fn company() -> Aws {
    Aws::start(3, Duration::ZERO, |emulator| emulator).await
}

/// Prints what it should come to, and whether it does.
fn goals(programs: &[Program], medians: &[(f64, f64)]) {
    let of = |name: &str| {
        let number = programs.iter().position(|program| program.name == name).expect("it is in the list");
        medians[number]
    };
    let waits = [(HANDLER, 1.5), (REVOKER, 2.0)].map(|(name, most)| {
        let ratio = of(name).0 / of(NOTHING).0;
        Goal::new(format!("{name} to the first wait: at most {most:.1} ×"), format!("{ratio:.2} ×"), ratio <= most)
    });
    let answers =
        [(HANDLER, PYTHON_HANDLER), (REVOKER, PYTHON_REVOKER), (NOBODY, PYTHON_NOBODY)].map(|(name, python)| {
            let ratio = of(python).1 / of(name).1;
            let what = format!("{name} to the first answer: 10 × ahead of Python");
            Goal::new(what, format!("{ratio:.1} ×"), ratio >= 10.0)
        });
    goal::print(&waits.into_iter().chain(answers).collect::<Vec<_>>());
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

/// Somebody who is not locked connects.
fn knock(number: usize) -> Value {
    json!({
        "connection-id": format!("cvpn-connection-{number:017x}"), "endpoint-id": "cvpn-endpoint-0a1b2c3d4e5f60718",
        "common-name": null, "username": format!("somebody-{number}@example.com"), "platform": "mac",
        "platform-version": "26.1", "public-ip": "203.0.113.7", "client-openvpn-version": "OpenVPN 3.9",
        "aws-client-version": "5.3.0", "groups": "staff", "schema-version": "v3",
    })
}

fn revoke(number: usize) -> Value {
    json!({"action": "revoke", "subjects": [leaver(number)], "reason": "bench", "id": format!("bench-{number}")})
}

fn leaver(number: usize) -> String {
    format!("leaver-{number}@example.com")
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
    aws: Aws,
    peer: PathBuf,
    /// How many events there were: each is about somebody else.
    asked: usize,
}

impl Bench {
    async fn start(&mut self, program: &Program, warm: usize) -> Start {
        let variables = self.aws.variables(&[("VPN_REVOKER_SETTLE_SECONDS", "0")]);
        let mut command = command(&program.command, &variables);
        command.current_dir(&self.peer);
        let first = self.event(program);
        let mut lambda = Lambda::start(command, &first).await;
        let waiting = lambda.waits().await;
        let answer = lambda.first_answer().await;
        assert!((program.right)(&answer.body), "{} did not do its work: {}", program.name, answer.body);
        let before = lambda.cpu();
        for _ in 0..warm {
            let event = self.event(program);
            let asked = Instant::now();
            let answer = lambda.ask(&event).await;
            assert!((program.right)(&answer.body), "{}: {} after {:?}", program.name, answer.body, asked.elapsed());
        }
        Start { waiting, answered: answer.took, peak: lambda.peak(), cpu: lambda.cpu().saturating_sub(before) }
    }

    fn event(&mut self, program: &Program) -> Value {
        self.asked += 1;
        if program.ends {
            self.aws.connect(2, &leaver(self.asked));
        }
        (program.event)(self.asked)
    }
}
