//! One run: a company, its people and their clients, two environments of the function, and whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::checks::{Watch, check};
use crate::audit::Entry;
use crate::breaker::Brake;
use crate::connection::EndpointId;
use crate::memory::{Calls, Chaos, MemoryAudit, MemoryBreaker, MemoryLocks, MemoryVpn, Mishap};
use crate::name::{Name, Subject};
use crate::policy::{Policy, Protected};
use crate::ports::Clock;
use crate::receipt::Receipt;
use crate::reconcile::{Revoker, Run, Sweep};
use crate::signal::{About, Action, Authority, Signal, SignalId, Via};
use crate::time::Timestamp;

/// What a run came to.
pub(super) struct Story {
    pub(super) lines: Vec<String>,
    pub(super) violations: Vec<String>,
    /// How often each mishap met each call.
    pub(super) mishaps: BTreeMap<(&'static str, String), u64>,
}

/// SplitMix64: enough of a die, and the same everywhere.
#[derive(Clone)]
pub(super) struct Die(u64);

impl Die {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    fn seconds(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.below(below * 1000))
    }
}

/// Tokio's paused clock as ours: it moves on by itself whenever nobody has anything to do.
pub(super) struct Virtual {
    base: Timestamp,
    start: Instant,
}

#[async_trait]
impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        self.base.plus(self.start.elapsed())
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }

    async fn reached(&self, at: Timestamp) {
        tokio::time::sleep(at.since(self.now())).await;
    }
}

/// People and those who only look like them.
const NAMES: [&str; 6] = ["alice", "bob", "alice2", "malice", "ceo", "Alice"];

const AUTHORITIES: [&str; 3] = ["okta:acme", "siem", "command"];

/// Whom nobody may cut off.
pub(super) const PROTECTED: &str = "ceo";

/// How far listings may lag; less than the settle time.
pub(super) const LAG: u64 = 5;

pub(super) struct Company {
    pub(super) clock: Arc<Virtual>,
    pub(super) vpn: MemoryVpn,
    pub(super) locks: MemoryLocks,
    pub(super) audit: MemoryAudit,
    pub(super) breaker: MemoryBreaker,
    pub(super) policy: Policy,
    pub(super) watch: Arc<Mutex<Watch>>,
    /// Every signal that was ever sent.
    pub(super) signals: Vec<Signal>,
    calls: Calls,
    endpoints: Vec<EndpointId>,
    die: Die,
    lines: Vec<String>,
    working: Vec<(String, JoinHandle<Vec<Receipt>>)>,
    attempts: u64,
}

/// Plays one run.
pub(super) fn run(seed: u64) -> Story {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mishaps: Arc<Mutex<BTreeMap<(&'static str, String), u64>>> = Arc::default();
        let mut company = Company::new(seed);
        company.calls.chaos(Some(chaos(seed, &mishaps)));
        let steps = 12 + company.die.below(14);
        for _ in 0..steps {
            company.step().await;
        }
        company.calls.chaos(None);
        company.settle_down().await;
        let violations = check(&company);
        let mishaps = mishaps.lock().unwrap().clone();
        Story { lines: company.lines, violations, mishaps }
    })
}

/// Which calls go wrong, and how.
fn chaos(seed: u64, met: &Arc<Mutex<BTreeMap<(&'static str, String), u64>>>) -> Chaos {
    let mut die = Die::new(seed ^ 0x5eed);
    let met = Arc::clone(met);
    // Some runs are calm, so that long stories are told to their end as well.
    let rate = *die.of(&[0, 60, 25, 12]);
    Box::new(move |call: &str| {
        let kind = call.split(' ').next().unwrap_or_default().to_owned();
        // What is seldom called goes wrong more often, to have gone wrong often enough.
        let rate = match kind.as_str() {
            "breaker.open" => rate / 12,
            "breaker.count" | "locks.locked" => rate / 6,
            _ => rate,
        };
        if rate == 0 || !die.one_in(rate) {
            return None;
        }
        let (word, mishap) = *die.of(&[
            ("fails", Mishap::Fails),
            ("answer lost", Mishap::AnswerLost),
            ("slow", Mishap::Slow),
            ("hangs", Mishap::Hangs),
            ("panics", Mishap::Panics),
        ]);
        *met.lock().unwrap().entry((word, kind)).or_default() += 1;
        Some(mishap)
    })
}

impl Company {
    fn new(seed: u64) -> Self {
        let base = Timestamp::parse("2026-03-01T09:30:00Z").unwrap();
        let clock = Arc::new(Virtual { base, start: Instant::now() });
        let calls = Calls::on(Arc::clone(&clock) as Arc<dyn Clock>);
        let vpn = MemoryVpn::new("eu-west-1", &clock, &calls, 3, Duration::from_secs(3));
        let endpoints = vec![vpn.endpoint("cvpn-endpoint-a"), vpn.endpoint("cvpn-endpoint-b")];
        let (locks, audit) = (MemoryLocks::new(&calls), MemoryAudit::new(&calls));
        let breaker = MemoryBreaker::new(&calls);
        let mut die = Die::new(seed);
        let mut policy = Policy { max_subjects: *die.of(&[1, 3]), max_connections: 1000, ..Policy::default() };
        policy.protected = Protected::parse(PROTECTED).unwrap();
        let watch = Arc::new(Mutex::new(Watch::default()));
        if die.one_in(2) {
            // The connect handler is wired: whoever is locked does not come back.
            let (locks, clock) = (locks.clone(), Arc::clone(&clock));
            vpn.set_door(move |connection| {
                let names = [connection.user(), connection.certificate()];
                let locked = |name: &Name| locks.stored(name).is_some_and(|lock| lock.in_force(clock.now()));
                !names.iter().flatten().any(locked)
            });
        }
        let company = Self {
            clock,
            vpn,
            locks,
            audit,
            breaker,
            policy,
            watch,
            calls,
            endpoints,
            die,
            signals: Vec::new(),
            lines: Vec::new(),
            working: Vec::new(),
            attempts: 0,
        };
        company.begin_to_watch();
        company
    }

    fn begin_to_watch(&self) {
        let (locks, audit, clock) = (self.locks.clone(), self.audit.clone(), Arc::clone(&self.clock));
        let watch = Arc::clone(&self.watch);
        let (lifting, at) = (Arc::clone(&self.watch), Arc::clone(&self.clock));
        self.locks.watch(move |before, after| lifting.lock().unwrap().sees_lock(before, after, at.now()));
        self.vpn.watch(move |connection| {
            watch.lock().unwrap().sees_ending(connection, clock.now(), &locks, &audit);
        });
    }

    fn tell(&mut self, line: impl std::fmt::Display) {
        let at = self.clock.now();
        self.lines.push(format!("{at} {line}"));
    }

    async fn step(&mut self) {
        let pause = self.die.seconds(25);
        tokio::time::sleep(pause).await;
        match self.die.below(11) {
            0..=2 => self.somebody_connects(),
            3 => self.two_speak_at_once(),
            4..=5 => self.a_signal_arrives(),
            6..=7 => self.a_signal_arrives_again(),
            8 => self.a_sweep_begins(),
            9 => self.everybody_is_out(),
            _ => {
                let pause = self.die.seconds(120);
                self.tell(format!("{} s pass", pause.as_secs()));
                tokio::time::sleep(pause).await;
            }
        }
        while self.working.len() > 2 {
            self.await_oldest().await;
        }
    }

    fn somebody_connects(&mut self) {
        let name = *self.die.of(&NAMES);
        let endpoint = self.die.of(&self.endpoints.clone()).clone();
        let names = if self.die.one_in(3) { (None, Some(name)) } else { (Some(name), Some("laptop")) };
        let lag = self.die.seconds(LAG);
        let returns = self.die.one_in(2).then(|| Duration::from_secs(2) + self.die.seconds(40));
        for _ in 0..1 + self.die.below(4) {
            let id = self.vpn.connect(&endpoint, names, lag, returns);
            self.tell(format!("{name} connects to {endpoint} as {id}, back after {returns:?}"));
        }
    }

    fn new_signal(&mut self) -> Signal {
        let number = self.signals.len();
        let name = *self.die.of(&NAMES);
        let said_by: &&str = self.die.of(&AUTHORITIES);
        let authority = Authority::named(said_by);
        let now = self.clock.now();
        let action = match self.die.below(8) {
            0..=4 => {
                let expires_at = self.die.one_in(5).then(|| now.plus(Duration::from_secs(20) + self.die.seconds(200)));
                Action::Revoke { expires_at }
            }
            5..=6 => Action::Restore { authorities: Some(vec![authority.clone()]) },
            _ => Action::Disconnect,
        };
        // In steps of ten seconds, so that ties come up.
        let ago = i64::try_from(self.die.below(4)).unwrap() * 10_000;
        let as_of = Timestamp::from_millis(now.as_millis() / 10_000 * 10_000 - ago);
        Signal {
            id: SignalId::new(&format!("s-{number}")),
            action,
            about: vec![About::Subject(Subject::new(name).unwrap())],
            via: if authority == Authority::command() { Via::Direct } else { Via::Event },
            authority,
            as_of,
            occurred_at: None,
            received_at: now,
            source: "simulation".to_owned(),
            actor: None,
            reason: None,
            dry_run: false,
            force: false,
            replay: None,
        }
    }

    fn a_signal_arrives(&mut self) {
        let mut batch = Vec::new();
        for _ in 0..1 + self.die.below(3) {
            let signal = self.new_signal();
            self.signals.push(signal.clone());
            batch.push(signal);
        }
        self.deliver(batch);
    }

    /// A directory was emptied by mistake.
    fn everybody_is_out(&mut self) {
        let template = self.new_signal();
        let authority = Authority::named(if self.die.one_in(2) { "siem" } else { "okta:acme" });
        let number = self.signals.len();
        let batch = (0..8).map(|n| Signal {
            id: SignalId::new(&format!("s-{}", number + n)),
            action: Action::Revoke { expires_at: None },
            about: vec![About::Subject(Subject::new(&format!("employee-{n}")).unwrap())],
            authority: authority.clone(),
            via: Via::Event,
            ..template.clone()
        });
        let batch: Vec<Signal> = batch.collect();
        self.signals.extend(batch.iter().cloned());
        self.deliver(batch);
    }

    /// Two environments are handed two authorities' words about one person at the same moment.
    fn two_speak_at_once(&mut self) {
        let (first, mut second) = (self.new_signal(), self.new_signal());
        let number = self.signals.len() + 1;
        second = Signal { id: SignalId::new(&format!("s-{number}")), about: first.about.clone(), ..second };
        self.signals.extend([first.clone(), second.clone()]);
        self.deliver(vec![first]);
        self.deliver(vec![second]);
    }

    fn a_signal_arrives_again(&mut self) {
        if self.signals.is_empty() {
            return self.a_signal_arrives();
        }
        let mut batch = Vec::new();
        for _ in 0..1 + self.die.below(2) {
            batch.push(self.die.of(&self.signals.clone()).clone());
        }
        self.deliver(batch);
    }

    fn deliver(&mut self, batch: Vec<Signal>) {
        let told: Vec<String> = batch.iter().map(in_words).collect();
        let told = format!("delivered: {}", told.join("; "));
        let (revoker, run) = (self.revoker(), self.run());
        let work = tokio::spawn(async move { revoker.handle(batch, &run).await });
        self.begin(told, work);
    }

    fn a_sweep_begins(&mut self) {
        let work = self.sweep();
        self.begin("a sweep begins".to_owned(), work);
    }

    fn sweep(&mut self) -> JoinHandle<Vec<Receipt>> {
        let order = Sweep {
            id: SignalId::new(&format!("schedule-{}", self.attempts)),
            received_at: self.clock.now(),
            via: Via::Event,
            commanded: false,
            endpoints: Vec::new(),
            targets: Vec::new(),
            dry_run: false,
        };
        let (revoker, run) = (self.revoker(), self.run());
        tokio::spawn(async move { vec![revoker.sweep(&order, &run).await] })
    }

    /// Lets work begin, and at times cuts it off in the middle.
    fn begin(&mut self, told: String, work: JoinHandle<Vec<Receipt>>) {
        if self.die.one_in(8) {
            let (end, after) = (work.abort_handle(), self.die.seconds(20));
            self.tell(format!("{told}; crashes after {} ms", after.as_millis()));
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                end.abort();
            });
        } else {
            self.tell(told.clone());
        }
        self.working.push((told, work));
    }

    async fn await_oldest(&mut self) {
        let (told, work) = self.working.remove(0);
        match work.await {
            Ok(receipts) => self.take(&told, &receipts),
            Err(error) if error.is_cancelled() => self.tell(format!("crashed: {told}")),
            Err(_) => self.watch.lock().unwrap().violations.push(format!("a panic failed its neighbours: {told}")),
        }
    }

    fn take(&mut self, told: &str, receipts: &[Receipt]) {
        let outcomes: Vec<&str> = receipts.iter().map(|receipt| receipt.outcome.word()).collect();
        self.tell(format!("answered {}: {told}", outcomes.join(", ")));
        self.watch.lock().unwrap().sees_receipts(receipts, &self.vpn);
    }

    fn revoker(&self) -> Revoker {
        Revoker {
            vpn: vec![Arc::new(self.vpn.clone())],
            locks: Arc::new(self.locks.clone()),
            aliases: Arc::new(self.locks.clone()),
            brake: Brake::new(Arc::new(self.breaker.clone()), Arc::clone(&self.clock) as Arc<dyn Clock>),
            people: None,
            trail: Arc::new(self.audit.clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            policy: Arc::new(self.policy.clone()),
        }
    }

    fn run(&mut self) -> Run {
        let now = self.clock.now();
        self.attempts += 1;
        Run {
            attempt: format!("attempt {}", self.attempts),
            stop_at: now.plus(Duration::from_secs(100)),
            answer_by: now.plus(Duration::from_secs(103)),
        }
    }

    /// Nothing goes wrong any more: every delivery is tried until it is settled, and a sweep ends what is left.
    async fn settle_down(&mut self) {
        self.tell("from here on nothing goes wrong");
        self.vpn.nobody_returns();
        while !self.working.is_empty() {
            self.await_oldest().await;
        }
        self.watch.lock().unwrap().sees_counts(self.policy.max_subjects);
        for authority in ["okta:acme", "siem"].map(Authority::named) {
            let opened_at = self.breaker.opened_at(&authority);
            let limit = self.policy.max_subjects;
            self.watch.lock().unwrap().sees_breaker(&authority, opened_at, limit, &self.signals);
        }
        // Later than any lag, and than any hold that lapses.
        tokio::time::sleep(Duration::from_secs(600)).await;
        let signals = self.signals.clone();
        for signal in signals {
            for _ in 0..6 {
                let open = self.breaker.opened_at(&signal.authority).is_some();
                let about = vec![About::Breaker(signal.authority.clone())];
                let id = SignalId::new(&format!("close-{}", self.attempts));
                let close = Signal {
                    id,
                    about,
                    action: Action::CloseBreaker,
                    authority: Authority::command(),
                    via: Via::Direct,
                    ..signal.clone()
                };
                let (revoker, run) = (self.revoker(), self.run());
                if open {
                    revoker.handle(vec![close], &run).await;
                }
                let receipts = revoker.handle(vec![signal.clone()], &run).await;
                self.take(&in_words(&signal), &receipts);
                if !receipts.iter().any(Receipt::is_retryable) {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
        }
        self.a_last_sweep().await;
    }

    async fn a_last_sweep(&mut self) {
        let receipts = self.sweep().await.unwrap();
        self.take("a last sweep", &receipts);
    }

    /// What is recorded of a signal.
    pub(super) fn kinds_of(&self, signal: &Signal) -> BTreeSet<String> {
        let chain = signal.about[0].chain();
        let entries = self.audit.chains().remove(&chain).unwrap_or_default();
        let of_it = entries.iter().filter(|entry: &&Entry| entry.text("signal_id") == Some(signal.id.as_str()));
        of_it.filter_map(|entry| entry.text("kind").map(str::to_owned)).collect()
    }
}

fn in_words(signal: &Signal) -> String {
    let Signal { id, action, authority, as_of, .. } = signal;
    format!("{id} {authority} {} {} as of {as_of}", action.word(), signal.about[0].label())
}
