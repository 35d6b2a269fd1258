//! Twenty minutes of the real `revoker` under load, with everything going wrong at times: calls to AWS that fail, hang or
//! lose their answer, messages that come twice or make no sense, an execution environment that is killed again and
//! again beside one that lives throughout.
//!
//! Afterwards: every signal is settled, every chain whole, nobody alive who is locked, nobody gone who should have
//! stayed, and the memory of the one that lived is what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client_vpn_emulator::{Action, Fault};
use revocation::audit::{Entry, Head, verify};
use revocation::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::Programs;
use crate::aws::{AUDIT, Aws, LOCKS, now_millis};
use crate::lambda::{Lambda, command};
use crate::queue::{DEACTIVATED, Queue, UNSUSPENDED, okta};

/// How long it goes on, in seconds; `VPN_REVOKER_SOAK_SECONDS` says otherwise.
const SECONDS: u64 = 1_200;

const ENDPOINTS: usize = 3;
const PEOPLE: u64 = 80;
const BYSTANDERS: usize = 150;
const VISIBILITY: Duration = Duration::from_secs(20);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const KILL_EVERY: Duration = Duration::from_secs(17);

/// How much more memory there may be at the end than after a quarter of the time, in KiB.
const FLAT: u64 = 6 * 1024;

/// After so many deliveries a message goes to the dead-letter queue, as `template.yaml` has it.
const DELIVERIES: usize = 10;

/// How many minutes it takes until that says anything.
const MINUTES_TO_TELL: usize = 8;

/// A die that falls the same way every time.
struct Die(u64);

impl Die {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

struct Soak {
    aws: Aws,
    begun: Instant,
    queue: Mutex<Queue>,
    program: std::path::PathBuf,
    over: AtomicBool,
    killed: Mutex<usize>,
    failed: Mutex<usize>,
}

/// Runs it, and says what came of it.
pub async fn soak(given: &Programs) {
    let seconds = std::env::var("VPN_REVOKER_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let slow = |emulator: client_vpn_emulator::EmulatorBuilder| {
        emulator.terminate_delay(Duration::from_millis(400)).listing_lag(Duration::from_millis(300)).buckets(false)
    };
    let soak = Arc::new(Soak {
        aws: Aws::start(ENDPOINTS, Duration::from_millis(2), slow).await,
        begun: Instant::now(),
        queue: Mutex::new(Queue::new(VISIBILITY)),
        program: given.revoker.clone(),
        over: AtomicBool::new(false),
        killed: Mutex::new(0),
        failed: Mutex::new(0),
    });
    soak.aws.crowd(BYSTANDERS);
    let lives = tokio::spawn(Arc::clone(&soak).environment_that_lives());
    let dies = tokio::spawn(Arc::clone(&soak).environment_that_dies());
    let load = soak.load(Duration::from_secs(seconds)).await;
    soak.aws.emulator.clear_faults();
    soak.aws.relay.lose_one_in(0);
    soak.over.store(true, Ordering::Relaxed);
    let memory = lives.await.expect("it lives");
    dies.await.expect("the one that starts it lives");

    println!("| minute | memory |\n|---|---|");
    for (minute, kib) in memory.iter().enumerate() {
        println!("| {minute} | {:.1} MiB |", *kib as f64 / 1024.0);
    }
    let queue = soak.queue.lock().expect("no panic");
    println!(
        "\n{} signals, {} messages that mean nothing, {} deliveries again ({} at the most), {} environments killed, {} invokes failed, {} calls to EC2, {} to DynamoDB.",
        load.signals.len(),
        load.noise,
        queue.again,
        queue.most,
        soak.killed.lock().expect("no panic"),
        soak.failed.lock().expect("no panic"),
        soak.aws.ec2_calls(None),
        soak.aws.relay.calls().len(),
    );
    let entries = soak.trail();
    println!("{} entries in {} chains.", entries.values().map(Vec::len).sum::<usize>(), entries.len());
    soak.check(&load, &entries);
    assert!(queue.most <= DELIVERIES, "a message was delivered {} times", queue.most);
    println!(
        "Every signal is settled, everybody locked or let in as was said last, every chain whole, nobody locked is alive, and every bystander is."
    );
    println!("{}", told_of_memory(&memory));
}

/// Whether memory is flat, by what it was minute by minute, in KiB; the first are its growing warm.
fn told_of_memory(memory: &[u64]) -> String {
    let (early, late) = (memory[memory.len() / 4], memory[memory.len() - 1]);
    if memory.len() < MINUTES_TO_TELL {
        return "It was too short to tell of memory.".to_owned();
    }
    assert!(late <= early + FLAT, "memory grew from {early} KiB to {late} KiB");
    "Memory is flat.".to_owned()
}

/// What was sent.
#[derive(Default)]
struct Load {
    /// The ids of the signals.
    signals: BTreeSet<String>,
    /// Of everybody who was spoken of, whether the newest word was to lock.
    locked: BTreeMap<String, bool>,
    /// How many messages meant nothing.
    noise: usize,
}

impl Soak {
    /// Sends messages, connects people and breaks things.
    async fn load(&self, time: Duration) -> Load {
        let (begun, mut die) = (Instant::now(), Die(7));
        let (mut load, mut last) = (Load::default(), String::new());
        let mut next_fault = Instant::now();
        let mut number = 0;
        self.aws.relay.lose_one_in(211);
        while begun.elapsed() < time {
            tokio::time::sleep(Duration::from_millis(50 + die.below(400))).await;
            let name = format!("person-{}@example.com", die.below(PEOPLE));
            match die.below(20) {
                0..=7 => drop(self.aws.connect(usize::try_from(die.below(3)).expect("small"), &name)),
                8 => self.send("{\"source\": \"nobody\"".to_owned(), &mut load.noise),
                9 => self.send(json!({"source": "com.example", "detail": {}}).to_string(), &mut load.noise),
                10 if !last.is_empty() => self.queue.lock().expect("no panic").send(last.clone()),
                roll => {
                    number += 1;
                    let locks = roll < 17;
                    let sample = if locks { DEACTIVATED } else { UNSUSPENDED };
                    last = okta(sample, number, &name, &Timestamp::from_millis(now_millis()).to_string());
                    load.locked.insert(name, locks);
                    load.signals.insert(format!("okta:5f0c2a1e-0d51-11f1-8c1e-demo{number:08}"));
                    self.queue.lock().expect("no panic").send(last.clone());
                }
            }
            if Instant::now() > next_fault {
                next_fault = Instant::now() + Duration::from_secs(5 + die.below(15));
                self.aws.emulator.inject(fault(&mut die));
            }
        }
        load
    }

    fn send(&self, body: String, noise: &mut usize) {
        *noise += 1;
        self.queue.lock().expect("no panic").send(body);
    }

    async fn start(&self, event: &Value) -> Lambda {
        let variables = self.aws.variables(&[
            ("VPN_REVOKER_SETTLE_SECONDS", "1"),
            ("VPN_REVOKER_VERIFY_SECONDS", "15"),
            ("VPN_REVOKER_MAX_SUBJECTS", "10000"),
        ]);
        Lambda::start(command(std::slice::from_ref(&self.program), &variables), event).await
    }

    /// Works and sweeps to the end; returns its memory minute by minute, in KiB.
    async fn environment_that_lives(self: Arc<Self>) -> Vec<u64> {
        let mut lambda = self.start(&json!({"action": "sweep"})).await;
        lambda.first_answer().await;
        let (mut memory, mut swept, begun) = (vec![lambda.resident()], Instant::now(), Instant::now());
        loop {
            if swept.elapsed() > SWEEP_EVERY {
                swept = Instant::now();
                let _ = lambda.try_ask(&json!({"action": "sweep"})).await;
            }
            if begun.elapsed().as_secs() / 60 >= memory.len() as u64 {
                memory.push(lambda.resident());
            }
            if !self.work(&mut lambda).await && self.is_done() {
                break;
            }
        }
        // People may have connected since they were locked.
        lambda.ask(&json!({"action": "sweep"})).await;
        memory.push(lambda.resident());
        memory
    }

    /// Is killed in the middle of its work, and started anew.
    async fn environment_that_dies(self: Arc<Self>) {
        while !self.is_done() {
            let event = self.queue.lock().expect("no panic").receive(self.begun.elapsed());
            let Some(event) = event else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let mut lambda = self.start(&event).await;
            let life = async {
                let answer = lambda.first_answer().await;
                self.queue.lock().expect("no panic").settle(&event, &answer.body);
                while !self.is_done() {
                    self.work(&mut lambda).await;
                }
            };
            if tokio::time::timeout(KILL_EVERY, life).await.is_err() {
                *self.killed.lock().expect("no panic") += 1;
            }
        }
    }

    /// Takes the next batch, if there is one.
    async fn work(&self, lambda: &mut Lambda) -> bool {
        let event = self.queue.lock().expect("no panic").receive(self.begun.elapsed());
        let Some(event) = event else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            return false;
        };
        match lambda.try_ask(&event).await {
            Ok(answer) => self.queue.lock().expect("no panic").settle(&event, &answer.body),
            Err(_) => *self.failed.lock().expect("no panic") += 1,
        }
        true
    }

    fn is_done(&self) -> bool {
        self.over.load(Ordering::Relaxed) && self.queue.lock().expect("no panic").is_empty()
    }

    /// Every chain, in order.
    fn trail(&self) -> BTreeMap<String, Vec<Entry>> {
        let mut chains: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for item in self.aws.items(AUDIT) {
            let entry = Entry::from_attributes(plain_map(&item));
            chains.entry(entry.chain().to_owned()).or_default().push(entry);
        }
        chains.values_mut().for_each(|entries| entries.sort_by_key(Entry::seq));
        chains
    }

    fn check(&self, load: &Load, chains: &BTreeMap<String, Vec<Entry>>) {
        let locks: Vec<Map<String, Value>> = self.aws.items(LOCKS).iter().map(plain_map).collect();
        let of = |key: &str| locks.iter().find(|item| item["subject"] == key);
        for (chain, entries) in chains {
            let head = of(&format!("#head/{chain}")).unwrap_or_else(|| panic!("{chain} has no head"));
            let head = Head {
                seq: head["seq"].as_u64().expect("a number"),
                hash: head["hash"].as_str().expect("a hash").to_owned(),
            };
            assert_eq!(verify(chain, entries, &head), [], "{chain} is whole");
        }
        let finals = ["completed", "restored", "superseded", "refused"];
        let settled: BTreeSet<&str> = (chains.values().flatten())
            .filter(|entry| finals.contains(&entry.text("kind").unwrap_or_default()))
            .filter_map(|entry| entry.text("signal_id"))
            .collect();
        let lost: Vec<&String> = load.signals.iter().filter(|id| !settled.contains(id.as_str())).collect();
        assert!(lost.is_empty(), "these were lost: {lost:?}");
        for (name, locked) in &load.locked {
            let state = of(name).map(|lock| lock["state"].clone());
            let said = json!(if *locked { "locked" } else { "released" });
            assert_eq!(state, Some(said), "the newest word about {name}");
        }
        let mut bystanders = 0;
        for row in self.aws.emulator.connections().iter().filter(|row| row.status.is_alive()) {
            let name = row.username.clone().unwrap_or_default();
            bystanders += usize::from(name.starts_with("colleague-"));
            let locked = of(&name).is_some_and(|lock| lock["state"] == "locked");
            assert!(!locked, "{name} is locked and alive");
        }
        assert_eq!(bystanders, BYSTANDERS * ENDPOINTS, "nobody was cut off who should have stayed");
    }
}

fn fault(die: &mut Die) -> Fault {
    let action = [Action::DescribeEndpoints, Action::DescribeConnections, Action::Terminate];
    let action = action[usize::try_from(die.below(3)).expect("small")];
    let times = 1 + die.below(6);
    let fault = Fault::on(action).times(times);
    match die.below(6) {
        0 => fault.error(503, "RequestLimitExceeded", "Request limit exceeded."),
        1 => fault.error(500, "InternalError", "An internal error has occurred."),
        2 => fault.bare_status(502),
        3 => Fault::on(action).times(1).hang(),
        4 => fault.error(403, "UnauthorizedOperation", "You are not authorized to perform this operation."),
        _ => fault.lost_answer(),
    }
}

/// An item as plain JSON.
fn plain_map(item: &Value) -> Map<String, Value> {
    item.as_object().expect("an item").iter().map(|(key, value)| (key.clone(), plain(value))).collect()
}

fn plain(value: &Value) -> Value {
    let (kind, value) = value.as_object().and_then(|typed| typed.iter().next()).expect("a typed value");
    match kind.as_str() {
        "N" => value.as_str().and_then(|digits| serde_json::from_str(digits).ok()).expect("a number"),
        "NULL" => Value::Null,
        "L" => value.as_array().expect("a list").iter().map(plain).collect(),
        "M" => Value::Object(plain_map(value)),
        _ => value.clone(),
    }
}
