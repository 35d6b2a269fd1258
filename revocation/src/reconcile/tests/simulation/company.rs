//! A company: Client VPN in two accounts, the tables, the queue, and what is known of all that was said and done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::clock::Virtual;
use super::directory::{Change, sweeps};
use super::events::{Said, Voice, Word};
use super::queue::{Message, Queue};
use super::schedule::{ALIASES, ENDPOINTS, PROTECTED, Schedule, TARGETS};
use super::tally::Tally;
use super::troubles::{Part, Troubles, chaos};
use super::watch::{Invariant, Watch};
use crate::alias::Aliases;
use crate::audit::Entry;
use crate::connection::{Connection, EndpointId};
use crate::memory::{Calls, MemoryAudit, MemoryBreaker, MemoryDirectory, MemoryLocks, MemoryVpn};
use crate::name::Name;
use crate::people::People;
use crate::policy::{Mode, Policy, Protected};
use crate::ports::Clock;
use crate::receipt::{Outcome, Receipt};
use crate::signal::{Authority, Signal};
use crate::time::Timestamp;

/// How long a terminated connection takes to be over.
const ENDS_AFTER: Duration = Duration::from_secs(3);

/// Rows to a page, so that there are several.
const PAGE: usize = 3;

/// What was said, and as of when it was understood: the clocks of several environments may each have had a say.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) said: Said,
    pub(super) earliest: Option<Timestamp>,
    pub(super) latest: Option<Timestamp>,
}

/// What is told of a run.
#[derive(Clone)]
pub(super) struct Lines {
    clock: Arc<Virtual>,
    /// Nothing where nobody wants to read it: words cost more than the work that they are about.
    lines: Option<Arc<Mutex<Vec<String>>>>,
}

impl Lines {
    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let at = self.clock.now();
            lines.lock().unwrap().push(format!("{at} {}", line()));
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.lines.as_ref().map(|lines| lines.lock().unwrap().clone()).unwrap_or_default()
    }
}

pub(super) struct Company {
    pub(super) clock: Arc<Virtual>,
    pub(super) vpn: Vec<MemoryVpn>,
    pub(super) endpoints: Vec<Vec<EndpointId>>,
    pub(super) locks: MemoryLocks,
    pub(super) audit: MemoryAudit,
    pub(super) directory: MemoryDirectory,
    pub(super) breaker: MemoryBreaker,
    pub(super) queue: Queue,
    pub(super) watch: Arc<Mutex<Watch>>,
    pub(super) troubles: Arc<Mutex<Troubles>>,
    pub(super) tally: Arc<Mutex<Tally>>,
    pub(super) lines: Lines,
    /// How far a clock may be off in this run.
    pub(super) skew: Duration,
    /// What was said, by the signal's id.
    pub(super) heard: Mutex<BTreeMap<String, Heard>>,
    /// What messages said, by number, as read for an instant of receipt.
    read: Mutex<BTreeMap<(u64, Timestamp), Vec<Signal>>>,
    policy: Mutex<Arc<Policy>>,
    ahead: Vec<i64>,
    /// When each statement's fact happened, by the signal's id.
    facts: Mutex<BTreeMap<String, Timestamp>>,
    /// Which messages each environment works on.
    pub(super) at_work: Mutex<Vec<Option<Vec<u64>>>>,
    attempts: AtomicU64,
}

impl Company {
    pub(super) fn new(schedule: &Schedule, told: bool) -> Arc<Self> {
        let setup = &schedule.setup;
        let clock = Arc::new(Virtual::begin());
        let (troubles, tally): (Arc<Mutex<Troubles>>, Arc<Mutex<Tally>>) = Default::default();
        let lines = Lines { clock: Arc::clone(&clock), lines: told.then(Arc::default) };
        let calls = |part: Part| {
            let calls = Calls::on(Arc::clone(&clock) as Arc<dyn Clock>);
            calls.chaos(Some(chaos(&troubles, part, &lines, &tally)));
            calls
        };
        let vpn = |target: usize| {
            let (region, account) = [("eu-west-1", "111122223333"), ("us-east-1", "444455556666")][target];
            let vpn = MemoryVpn::new(region, &clock, &calls(Part::Target(target)), PAGE, ENDS_AFTER);
            vpn.of_account(account, target * 5_000)
        };
        let vpn: Vec<MemoryVpn> = (0..TARGETS).map(vpn).collect();
        let endpoints = vpn.iter().enumerate().map(|(target, vpn)| {
            (0..ENDPOINTS).map(|number| vpn.endpoint(&format!("cvpn-endpoint-{target}{number}"))).collect()
        });
        let endpoints = endpoints.collect();
        let directory = MemoryDirectory::new(&calls(Part::Directory));
        let (locks, audit) = (MemoryLocks::new(&calls(Part::Locks)), MemoryAudit::new(&calls(Part::Audit)));
        let mut policy = Policy { max_subjects: setup.max_subjects, max_connections: 1000, ..Policy::default() };
        policy.protected = Protected::parse(PROTECTED).unwrap();
        policy.event_commands = ["revoke", "disconnect", "restore", "alias", "unalias"].map(str::to_owned).to_vec();
        policy.sweep_directory = 20;
        policy.aliases = Aliases::parse(ALIASES).unwrap();
        let company = Self {
            queue: Queue::new(setup.queue, &clock, &tally),
            watch: Arc::new(Mutex::new(Watch::of(schedule.skew()))),
            lines: lines.clone(),
            breaker: MemoryBreaker::new(&calls(Part::Locks)),
            skew: schedule.skew(),
            heard: Mutex::default(),
            read: Mutex::default(),
            policy: Mutex::new(Arc::new(policy)),
            ahead: setup.ahead.clone(),
            facts: Mutex::default(),
            at_work: Mutex::new(vec![None; setup.ahead.len()]),
            attempts: AtomicU64::new(0),
            clock,
            vpn,
            endpoints,
            locks,
            audit,
            directory,
            troubles,
            tally,
        };
        if setup.door {
            company.close_the_door();
            company.count("runs", "with the connect handler");
        }
        if company.skew > Duration::ZERO {
            company.count("runs", "with skewed clocks");
        }
        company.watch.lock().unwrap().people.begin(&company.directory, company.clock.now());
        company.begin_to_watch();
        Arc::new(company)
    }

    /// The connect handler is wired: whoever is locked does not come back, but in shadow mode.
    fn close_the_door(&self) {
        for vpn in &self.vpn {
            let (locks, clock, watch) = (self.locks.clone(), Arc::clone(&self.clock), Arc::clone(&self.watch));
            vpn.set_door(move |connection: &Connection| {
                if watch.lock().unwrap().shadow.is_on(clock.now()) {
                    return true;
                }
                let names = [connection.user(), connection.certificate()];
                let locked = |name: &Name| locks.stored(name).is_some_and(|lock| lock.in_force(clock.now()));
                !names.iter().flatten().any(locked)
            });
        }
    }

    fn begin_to_watch(&self) {
        let (watch, clock) = (Arc::clone(&self.watch), Arc::clone(&self.clock));
        self.locks.watch(move |before, after| watch.lock().unwrap().sees_lock(before, after, clock.now()));
        let (watch, clock) = (Arc::clone(&self.watch), Arc::clone(&self.clock));
        self.locks.watch_aliases(move |subject, name, given| {
            watch.lock().unwrap().sees_alias(subject, name, given, clock.now());
        });
        for vpn in &self.vpn {
            let (watch, clock) = (Arc::clone(&self.watch), Arc::clone(&self.clock));
            let (locks, audit) = (self.locks.clone(), self.audit.clone());
            vpn.watch(move |connection| {
                watch.lock().unwrap().sees_ending(connection, clock.now(), &locks, &audit);
            });
        }
    }

    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        self.lines.tell(line);
    }

    pub(super) fn count(&self, what: &'static str, of: &'static str) {
        self.tally.lock().unwrap().count(what, of);
    }

    pub(super) fn breaks(&self, invariant: Invariant, what: impl std::fmt::Display) {
        self.watch.lock().unwrap().breaks(invariant, what);
    }

    pub(super) fn ahead(&self, environment: usize) -> i64 {
        self.ahead.get(environment).copied().unwrap_or_default()
    }

    pub(super) fn environments(&self) -> usize {
        self.ahead.len()
    }

    /// The authorities whose holds are counted.
    pub(super) fn producers(&self) -> [Authority; 4] {
        let [okta, jumpcloud] = self.by_name();
        [okta, jumpcloud, Voice::IdentityCenter.authority(), sweeps()]
    }

    /// The producers that speak of names.
    pub(super) fn by_name(&self) -> [Authority; 2] {
        [Voice::Okta.authority(), Voice::JumpCloud.authority()]
    }

    /// The directory, with what is kept of it.
    pub(super) fn people(&self) -> People {
        People { directory: Arc::new(self.directory.clone()), known: Arc::new(self.locks.clone()) }
    }

    /// The daily copy of the directory.
    pub(super) async fn copy_directory(&self) {
        let synced = self.people().sync(&*self.clock, self.clock.now().plus(ENDS_AFTER)).await;
        assert_eq!(synced.outcome, "completed", "{synced:?}");
    }

    /// Somebody changes the directory; about which id, if there was anything to change.
    pub(super) fn change_directory(&self, change: Change, turn: usize) -> Option<String> {
        self.watch.lock().unwrap().people.change(turn, change, &self.directory, self.clock.now())
    }

    /// The policy as an invoke that begins now has it.
    pub(super) fn policy(&self) -> Arc<Policy> {
        let policy = Arc::clone(&self.policy.lock().unwrap());
        match self.watch.lock().unwrap().shadow.is_on(self.clock.now()) {
            true => Arc::new(Policy { mode: Mode::Shadow, ..Policy::clone(&policy) }),
            false => policy,
        }
    }

    /// Somebody looked at what the circuit breaker stopped, and it was right: the limit is raised for it.
    pub(super) fn believe_everybody(&self) {
        let mut policy = self.policy.lock().unwrap();
        *policy = Arc::new(Policy { max_subjects: 1000, ..Policy::clone(&policy) });
    }

    pub(super) fn attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// When the fact behind a statement happened: the same however often it is said.
    pub(super) fn fact(&self, said: &Said) -> Timestamp {
        let now = self.clock.now().as_millis();
        let at = Timestamp::from_millis(now / 10_000 * 10_000).minus(said.ago);
        *self.facts.lock().unwrap().entry(said.signal_id().to_string()).or_insert(at)
    }

    /// Something was said, whether or not anybody has heard it.
    pub(super) fn expects(&self, said: &Said) {
        let mut heard = self.heard.lock().unwrap();
        let fresh = || Heard { said: said.clone(), earliest: None, latest: None };
        if let std::collections::btree_map::Entry::Vacant(place) = heard.entry(said.signal_id().to_string()) {
            place.insert(fresh());
        } else {
            self.count("signals", "said again");
        }
    }

    /// What a message said when it was read for the same instant: reading is a function of the two, and takes its time.
    pub(super) fn read_before(&self, number: u64, received_at: Timestamp) -> Option<Vec<Signal>> {
        self.read.lock().unwrap().get(&(number, received_at)).cloned()
    }

    /// A message was read: what it says must be what was said, whatever stands beside it, and as of when.
    pub(super) fn hears(&self, message: &Message, received_at: Timestamp, signals: &[Signal]) {
        self.read.lock().unwrap().insert((message.number, received_at), signals.to_vec());
        if message.noises > 0 && !message.said.is_empty() {
            self.count("neighbours", "unreadable in the message");
        }
        let mut found: Vec<String> = signals.iter().map(|signal| signal.id.to_string()).collect();
        let mut said: Vec<String> = message.said.iter().map(|said| said.signal_id().to_string()).collect();
        found.sort();
        said.sort();
        if found != said {
            let number = message.number;
            self.breaks(Invariant::Lost, format!("message {number} says {said:?} and was read as {found:?}"));
        }
        for said in message.said.iter() {
            for signal in signals.iter().filter(|signal| signal.id == said.signal_id()) {
                self.understands(said, signal, message.sent_at, message.sent_at);
            }
        }
    }

    pub(super) fn hears_directly(&self, said: &Said, signals: &[Signal]) {
        let now = self.clock.now();
        match signals {
            [signal] if signal.id == said.signal_id() => self.understands(said, signal, now, now.plus(self.skew)),
            _ => self.misread(&format!("{signals:?}")),
        }
    }

    pub(super) fn misread(&self, as_what: &str) {
        self.breaks(Invariant::Lost, format!("a direct command was read as {as_what}"));
    }

    /// A statement counts from its fact on, or from its receipt where it is a command. An environment whose clock is
    /// behind may take it for so much older, since it believes nothing that is still to come; one that is ahead can
    /// make only a direct command younger, which has no other clock than its own.
    fn understands(&self, said: &Said, signal: &Signal, received_at: Timestamp, at_most: Timestamp) {
        let (from, to) = match said.by {
            Voice::Command => (received_at, at_most),
            Voice::Okta | Voice::JumpCloud | Voice::IdentityCenter => (self.fact(said), self.fact(said)),
        };
        let same = signal.action.word() == said.action() && signal.authority == said.by.authority();
        let chains: BTreeSet<String> = signal.about.iter().map(crate::signal::About::chain).collect();
        if !same || !chains.into_iter().eq(said.chains()) {
            self.breaks(Invariant::Lost, format!("{} was read as {signal:?}", said.in_words()));
        }
        if signal.as_of < from.minus(self.skew) || signal.as_of > to {
            self.breaks(
                Invariant::NewestFact,
                format!("{} of {from} was read as of {}", said.in_words(), signal.as_of),
            );
        }
        if said.by == Voice::IdentityCenter {
            let mut watch = self.watch.lock().unwrap();
            watch.people.speaks_of(&signal.id, &said.about);
        }
        if said.word == Word::Disconnect {
            let names = said.chains().into_iter().map(|name| (Name::new(&name).unwrap(), signal.as_of));
            self.watch.lock().unwrap().disconnected.extend(names);
        }
        let mut heard = self.heard.lock().unwrap();
        let Some(heard) = heard.get_mut(signal.id.as_str()) else { return };
        heard.earliest = Some(heard.earliest.map_or(signal.as_of, |at| at.min(signal.as_of)));
        heard.latest = heard.latest.max(Some(signal.as_of));
    }

    /// An environment begins with a batch.
    pub(super) fn begins(&self, environment: usize, batch: &[Message]) {
        let numbers: Vec<u64> = batch.iter().map(|message| message.number).collect();
        self.tell(|| format!("environment {environment} begins with messages {numbers:?}"));
        let readable = batch.iter().any(|message| !message.said.is_empty());
        if readable && batch.iter().any(|message| message.said.is_empty()) {
            self.count("neighbours", "unreadable in the batch");
        }
        let mut at_work = self.at_work.lock().unwrap();
        at_work[environment] = Some(numbers);
        match at_work.iter().flatten().count() {
            2 => self.count("environments", "two at work"),
            3 => self.count("environments", "three at work"),
            _ => {}
        }
    }

    pub(super) fn ends(&self, environment: usize) {
        self.at_work.lock().unwrap()[environment] = None;
    }

    /// A message is to come again. One that says nothing never gets better.
    pub(super) fn leaves(&self, message: &Message) {
        if message.said.is_empty() {
            self.breaks(Invariant::Lost, format!("message {} says nothing and is to be tried again", message.number));
        }
    }

    /// A message is acknowledged.
    pub(super) fn done_with(&self, message: &Message) {
        if message.redriven {
            self.count("queue", "settled after a redrive");
        }
        self.queue.delete(message.number);
    }

    /// An answer.
    pub(super) fn sees(&self, receipts: &[Receipt]) {
        self.tell(|| {
            let told = |receipt: &Receipt| format!("{} {}", receipt.signal_id, receipt.outcome.word());
            format!("answered: {}", receipts.iter().map(told).collect::<Vec<_>>().join(", "))
        });
        let failed = |receipt: &Receipt| receipt.endpoints.iter().any(|endpoint| endpoint.error.is_some());
        if receipts.iter().any(|receipt| receipt.outcome == Outcome::Incomplete && failed(receipt)) {
            self.count("targets", "incomplete while one was down");
        }
        let subjects = receipts.iter().flat_map(|receipt| &receipt.subjects);
        if subjects.flat_map(|subject| &subject.connections).next().is_none() {
            return;
        }
        let sessions: Vec<_> = self.vpn.iter().flat_map(MemoryVpn::sessions).collect();
        self.watch.lock().unwrap().sees_receipts(receipts, &sessions);
    }

    /// What is recorded of each signal in each chain.
    pub(super) fn recorded(&self) -> BTreeMap<(String, String), BTreeSet<String>> {
        let mut recorded: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        self.audit.look(|chains| {
            for (chain, entry) in chains.iter().flat_map(|(chain, all)| all.iter().map(move |entry| (chain, entry))) {
                let key = (entry.text("signal_id").unwrap_or_default().to_owned(), chain.clone());
                recorded.entry(key).or_default().insert(kind_of(entry));
            }
        });
        recorded
    }
}

/// The kind of an entry. A refusal of the circuit breaker settles nothing, so it has a kind of its own.
fn kind_of(entry: &Entry) -> String {
    let kind = entry.text("kind").unwrap_or_default();
    match entry.detail("refusal").and_then(|refusal| refusal.as_str()) {
        Some("breaker-open") => "refused by the breaker".to_owned(),
        _ => kind.to_owned(),
    }
}
