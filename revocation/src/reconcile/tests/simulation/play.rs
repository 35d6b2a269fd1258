//! One run of a schedule, from the first step until nothing is left to do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::checks::{breakers_opened_rightly, check, lost};
use super::company::Company;
use super::directory::Change;
use super::events::{Item, Parcel, Said, Voice, Word, Wrap};
use super::function::Function;
use super::schedule::{Schedule, Step, What};
use super::tally::Tally;
use super::troubles::Planned;
use super::watch::{Broken, Invariant};
use crate::memory::MemoryVpn;
use crate::ports::Clock;
use crate::receipt::Receipt;
use crate::time::Timestamp;

/// The queue is looked at so often, and at the most so many times: several times as long as any message can be tried.
const LOOK: Duration = Duration::from_secs(10);
const LOOKS: usize = 400;

/// How often a responder sends dead letters once more before it counts as lost.
const REDRIVES: usize = 4;

/// Longer than any lag, and than any hold takes to lapse.
const LONG: Duration = Duration::from_secs(600);

/// What a run came to.
pub(super) struct Story {
    pub(super) lines: Vec<String>,
    pub(super) broken: Vec<Broken>,
    pub(super) tally: Tally,
    /// The mishaps that met a call, with their steps.
    pub(super) met: BTreeSet<(u64, Planned)>,
}

/// Plays one run, for what comes of it.
pub(super) fn run(schedule: &Schedule) -> Story {
    play(schedule, false)
}

/// Plays one run, and tells all of it.
pub(super) fn told(schedule: &Schedule) -> Story {
    play(schedule, true)
}

fn play(schedule: &Schedule, told: bool) -> Story {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut stage = Stage::new(schedule, told);
        stage.company.copy_directory().await;
        for step in &schedule.steps {
            stage.play(step).await;
        }
        stage.come_to_rest().await;
        stage.mend().await;
        let company = &stage.company;
        let broken = check(company);
        let met = company.troubles.lock().unwrap().met.iter().map(|met| (met.step, met.planned)).collect();
        let tally = company.tally.lock().unwrap().clone();
        Story { lines: company.lines.all(), broken, tally, met }
    })
}

/// A direct command, and whether its sender still waits for a good answer.
struct Asked {
    said: Said,
    environment: usize,
    open: bool,
}

struct Stage {
    company: Arc<Company>,
    workers: Vec<JoinHandle<()>>,
    /// Direct commands and sweeps under way.
    beside: Vec<(String, JoinHandle<()>)>,
    asked: Arc<Mutex<Vec<Asked>>>,
    believes: bool,
}

impl Stage {
    fn new(schedule: &Schedule, told: bool) -> Self {
        let company = Company::new(schedule, told);
        let workers = (0..company.environments()).map(|number| tokio::spawn(Function::new(&company, number).work()));
        let believes = schedule.setup.believes;
        Self { workers: workers.collect(), company, beside: Vec::new(), asked: Arc::default(), believes }
    }

    async fn play(&mut self, step: &Step) {
        tokio::time::sleep(step.pause).await;
        if step.on_the_minute {
            let now = self.company.clock.now();
            let minute = Timestamp::from_millis((now.as_millis() / 60_000 + 1) * 60_000);
            self.company.clock.reached(minute).await;
        }
        self.company.troubles.lock().unwrap().plan(step.number, &step.mishaps);
        self.begin(step.number, &step.what);
        if let Some((after, whose)) = step.crash {
            tokio::time::sleep(after).await;
            self.crash(whose);
        }
        self.beside.retain(|(_, work)| !work.is_finished());
    }

    fn begin(&mut self, step: u64, what: &What) {
        let company = Arc::clone(&self.company);
        match what {
            What::Connect { .. } => self.somebody_connects(what),
            What::Send(parcels) => parcels.iter().for_each(|parcel| self.send(parcel)),
            What::Ask { said, environment } => {
                company.expects(said);
                company.count("signals", "asked directly");
                self.asked.lock().unwrap().push(Asked { said: said.clone(), environment: *environment, open: true });
                let last = self.asked.lock().unwrap().len() - 1;
                self.ask(last);
            }
            What::Sweep { environment, commanded, dry, only } => {
                let payload = match commanded {
                    true => self.sweep_command(*dry, *only),
                    false => schedule_event(),
                };
                company.count("sweeps", if *commanded { "by command" } else { "by schedule" });
                if *dry {
                    company.count("sweeps", "dry");
                }
                if only.is_some() {
                    company.count("sweeps", "of one target");
                }
                self.sweep(*environment, payload);
            }
            What::Outage { part, how, lasts } => {
                company.tell(|| format!("{}: {how:?} for {} s", part.word(), lasts.as_secs()));
                let now = company.clock.now();
                company.troubles.lock().unwrap().begin(*part, *how, now, *lasts);
            }
            What::OldListing { target, age, lasts } => {
                let (old, long) = (age.as_millis(), lasts.as_secs());
                company.tell(|| format!("listings of target {target} are {old} ms old for {long} s"));
                company.count("listings", "older");
                company.vpn[*target].show_as_before(*age, *lasts);
            }
            What::Directory { change, turn, told, hidden } => {
                self.directory_changes(step, *change, *turn, (*told, *hidden));
            }
            What::Shadow { lasts } => {
                company.tell(|| format!("shadow mode for {} s", lasts.as_secs()));
                company.count("runs", "with shadow mode");
                company.watch.lock().unwrap().shadow.begin(company.clock.now(), *lasts);
            }
            What::Wait => {}
        }
    }

    fn directory_changes(&self, step: u64, change: Change, turn: usize, (told, hidden): (bool, bool)) {
        let company = &self.company;
        let (word, of) = match change {
            Change::Off => (Word::Revoke { lapses_in: None }, "off"),
            Change::Gone => (Word::Revoke { lapses_in: None }, "gone"),
            Change::On => (Word::Restore, "on"),
            Change::Renamed(_) => (Word::Hidden, "renamed"),
            Change::Hired(_) => (Word::Hidden, "hired"),
        };
        let Some(id) = company.change_directory(change, turn) else { return };
        company.tell(|| format!("in the directory, {id}: {change:?}"));
        company.count("directory", of);
        let tells = told && !matches!(change, Change::Renamed(_) | Change::Hired(_));
        if !tells {
            return;
        }
        company.count("directory", "told of");
        let word = if hidden && change != Change::Gone { Word::Hidden } else { word };
        let said =
            Said { id: format!("{step}-u"), by: Voice::IdentityCenter, word, about: vec![id], ago: Duration::ZERO };
        self.send(&Parcel { items: vec![Item::Says(said)], wrap: Wrap::None });
    }

    fn somebody_connects(&self, what: &What) {
        let What::Connect { name, certificate, target, endpoint, clients, listed_after, returns } = what else {
            return;
        };
        let names = match certificate {
            true => (None, Some(name.as_str())),
            false => (Some(name.as_str()), Some("laptop")),
        };
        let endpoint = &self.company.endpoints[*target][*endpoint];
        for _ in 0..*clients {
            let id = self.company.vpn[*target].connect(endpoint, names, *listed_after, *returns);
            self.company.tell(|| format!("{name} connects to {endpoint} as {id}, back after {returns:?}"));
        }
    }

    fn send(&self, parcel: &Parcel) {
        let company = &self.company;
        let said = parcel.said();
        for said in &said {
            company.expects(said);
            if said.chains().len() > 1 {
                company.count("signals", "about two");
            }
        }
        let body = parcel.body(|said| company.fact(said));
        let number = company.queue.send(body, said, parcel.noises());
        company.tell(|| format!("message {number}: {}", parcel.in_words()));
    }

    fn ask(&mut self, number: usize) {
        let (said, environment) = {
            let asked = self.asked.lock().unwrap();
            (asked[number].said.clone(), asked[number].environment)
        };
        let told = format!("asked of environment {environment}: {}", said.in_words());
        let (function, asked) = (Function::new(&self.company, environment), Arc::clone(&self.asked));
        self.beside(told, async move {
            let receipts = function.invoke(said.command().to_string().as_bytes(), Some(&said)).await;
            asked.lock().unwrap()[number].open = receipts.is_empty() || receipts.iter().any(Receipt::is_retryable);
        });
    }

    fn sweep(&mut self, environment: usize, payload: Value) {
        let function = Function::new(&self.company, environment);
        let told = format!("swept by environment {environment}: {payload}");
        self.beside(told, async move { drop(function.invoke(payload.to_string().as_bytes(), None).await) });
    }

    fn sweep_command(&self, dry: bool, only: Option<usize>) -> Value {
        let id = format!("sweep-{}", self.company.attempt());
        let mut command = json!({ "action": "sweep", "id": id, "dry_run": dry });
        if let Some(target) = only {
            let named = ["eu-west-1", "444455556666"][target];
            command["targets"] = json!([named]);
        }
        command
    }

    fn beside(&mut self, told: String, work: impl Future<Output = ()> + Send + 'static) {
        self.company.tell(|| told.clone());
        self.beside.push((told, tokio::spawn(work)));
    }

    /// One of those at work is gone in the middle of it. An environment that takes its place begins anew.
    fn crash(&mut self, whose: usize) {
        let company = Arc::clone(&self.company);
        self.beside.retain(|(_, work)| !work.is_finished());
        let at_work = company.at_work.lock().unwrap().clone();
        let busy: Vec<usize> = (0..at_work.len()).filter(|number| at_work[*number].is_some()).collect();
        let all = busy.len() + self.beside.len();
        if all == 0 {
            return;
        }
        company.watch.lock().unwrap().crashes.push(company.clock.now());
        if let Some(&number) = busy.get(whose % all) {
            self.workers[number].abort();
            company.ends(number);
            company.count("environments", "crash in a batch");
            company.tell(|| {
                format!(
                    "environment {number} crashes with messages {:?}",
                    at_work[number].as_deref().unwrap_or_default()
                )
            });
            self.workers[number] = tokio::spawn(Function::new(&company, number).work());
        } else {
            let (told, work) = self.beside.remove(whose % all - busy.len());
            work.abort();
            company.count("environments", "crash beside");
            company.tell(|| format!("crashed: {told}"));
        }
    }

    /// No single call goes wrong any more, what is down is down for as long as it was to be, and the queue goes on
    /// until each message is done with or a dead letter. Nothing is lost by then.
    async fn come_to_rest(&mut self) {
        self.company.tell(|| "from here on no single call goes wrong".to_owned());
        self.company.troubles.lock().unwrap().plan(u64::MAX, &[]);
        self.rest().await;
        breakers_opened_rightly(&self.company);
        let mut still_there: BTreeSet<String> = BTreeSet::new();
        for message in self.company.queue.dead() {
            still_there.extend(message.said.iter().map(|said| said.signal_id().to_string()));
        }
        still_there.extend(self.open().into_iter().map(|(_, said)| said.signal_id().to_string()));
        let mut watch = std::mem::take(&mut *self.company.watch.lock().unwrap());
        lost(&self.company, &mut watch, &still_there);
        *self.company.watch.lock().unwrap() = watch;
    }

    async fn rest(&mut self) {
        for _ in 0..LOOKS {
            let at_work = self.company.at_work.lock().unwrap().iter().any(Option::is_some);
            if !at_work && self.company.queue.is_idle() && self.beside.iter().all(|(_, work)| work.is_finished()) {
                break;
            }
            if self.workers.iter().any(JoinHandle::is_finished) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        if self.workers.iter().any(JoinHandle::is_finished) {
            self.company.breaks(Invariant::Lost, "a panic ended an environment, with its whole batch");
        } else if !self.company.queue.is_idle() {
            self.company.breaks(Invariant::Lost, "the queue does not come to rest");
        }
        for (told, work) in std::mem::take(&mut self.beside) {
            if work.await.is_err_and(|error| error.is_panic()) {
                self.company.breaks(Invariant::Lost, format!("a panic ended an environment: {told}"));
            }
        }
    }

    /// Those direct commands that are not settled yet.
    fn open(&self) -> Vec<(usize, Said)> {
        let asked = self.asked.lock().unwrap();
        let open = asked.iter().enumerate().filter(|(_, asked)| asked.open);
        open.map(|(number, asked)| (number, asked.said.clone())).collect()
    }

    /// Everything works again. Somebody closes what was opened, sends the dead letters once more and repeats what was
    /// not answered, until nothing is left; a sweep ends what came back meanwhile.
    async fn mend(&mut self) {
        let company = Arc::clone(&self.company);
        company.tell(|| "everything works again".to_owned());
        company.watch.lock().unwrap().shadow.end(company.clock.now());
        company.vpn.iter().for_each(MemoryVpn::nobody_returns);
        company.troubles.lock().unwrap().end_all(company.clock.now());
        tokio::time::sleep(LONG).await;
        for round in 0..REDRIVES {
            let (dead, open) = (company.queue.dead().len(), self.open());
            if dead == 0 && open.is_empty() {
                break;
            }
            if round > 0 || self.believes {
                company.believe_everybody();
            }
            self.close_breakers().await;
            let redriven = company.queue.redrive();
            company.tell(|| format!("{redriven} dead letters are redriven"));
            open.into_iter().for_each(|(number, _)| self.ask(number));
            self.rest().await;
        }
        tokio::time::sleep(LONG).await;
        // The first hears of it from the directory, where no event came; the second looks once more.
        for _ in 0..2 {
            self.close_breakers().await;
            self.sweep(0, schedule_event());
            self.rest().await;
        }
    }

    async fn close_breakers(&self) {
        for authority in self.company.producers() {
            if self.company.breaker.opened_at(&authority).is_some() {
                let command = json!({ "action": "close_breaker", "authority": authority, "reason": "it was right" });
                Function::new(&self.company, 0).invoke(command.to_string().as_bytes(), None).await;
                self.company.count("breaker", "closed");
            }
        }
    }
}

/// What EventBridge's schedule sends.
fn schedule_event() -> Value {
    json!({ "source": "aws.events", "detail-type": "Scheduled Event", "id": "schedule-1", "detail": {} })
}
