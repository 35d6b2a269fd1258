//! What the `revoker` function does with an invoke.

use std::collections::BTreeMap;
use std::sync::Arc;

use revocation::breaker::Brake;
use revocation::connection::Target;
use revocation::intake::{Delivery, Reading, Rejected};
use revocation::people::{People, Synced};
use revocation::ports::{ClientVpn, Clock, ReadLocks};
use revocation::receipt::{Outcome, Receipt};
use revocation::reconcile::{Revoker, Run, Sweep};
use revocation::signal::{Signal, Via};
use revocation::time::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::arn;
use crate::deadline::Deadline;
use crate::envelope::{Envelope, Message};
use crate::{Clients, DynamoAudit, DynamoLocks, Ec2ClientVpn, Failure, IdentityStore, Metrics, Settings};

/// What to do where a target's role can't be assumed.
const UNASSUMED: &str = "check its trust policy and external id, and allow sts:AssumeRole on it to the function's role";

/// The function: everything that outlives a single invoke.
#[derive(Clone)]
pub struct App {
    settings: Arc<Settings>,
    clients: Clients,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// What is known of an invoke apart from its payload.
#[derive(Debug, Clone)]
pub struct Call {
    /// Lambda's id of the request.
    pub request_id: String,
    /// When Lambda cuts the function off.
    pub cut_off_at: Timestamp,
    /// The function's ARN, which names the account.
    pub function_arn: String,
}

impl Call {
    /// The account in `arn:aws:lambda:eu-west-1:111122223333:function:name`.
    fn account(&self) -> Option<String> {
        let account = arn::account(&self.function_arn);
        (account.len() == 12 && account.chars().all(|c| c.is_ascii_digit())).then(|| account.to_owned())
    }
}

/// What one message is, as far as its answer depends on it.
#[derive(Default, PartialEq, Eq)]
enum Kind {
    /// Events, or nothing that could be read.
    #[default]
    Events,
    /// Events that whoever invoked sends again where the invoke fails.
    EventsSentAgain,
    /// A command that is the whole payload of a direct invoke.
    Command,
    /// The command to copy the directory.
    SyncDirectory,
}

impl Kind {
    fn of(reading: &Reading) -> Self {
        match reading {
            Reading::Command(_) | Reading::Sweep(_) => Self::Command,
            Reading::SyncDirectory => Self::SyncDirectory,
            Reading::Events { retried: true, .. } => Self::EventsSentAgain,
            Reading::Events { retried: false, .. } => Self::Events,
        }
    }
}

/// A message that was read.
struct Read {
    message_id: String,
    reading: Result<Reading, Rejected>,
}

/// What became of one message.
#[derive(Default)]
struct Handled {
    kind: Kind,
    receipts: Vec<Receipt>,
    rejected: Option<Rejected>,
    /// A fault of ours; trying again may help.
    broke: bool,
    /// Something in it is left to do, and nothing but the message itself will bring it again.
    unfinished: bool,
    /// Orders to sweep.
    sweeps: Vec<Sweep>,
}

impl Handled {
    /// A message fails only if trying again can help.
    fn is_worth_a_retry(&self) -> bool {
        self.broke || self.unfinished
    }
}

impl App {
    /// The function with these settings, on the AWS that `clients` reach.
    #[must_use]
    pub fn new(settings: Settings, clients: Clients, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        Self { settings: Arc::new(settings), clients, clock, metrics }
    }

    /// Opens the connections to AWS and compiles the intake rules, beside the first wait for work: the first signal then
    /// finds both done.
    pub async fn warm(self) {
        let intake = Arc::clone(&self.settings.intake);
        // On a thread of its own, so that a command, which needs no rules, does not wait for them.
        tokio::task::spawn_blocking(move || intake.prepare());
        let mut asked = JoinSet::new();
        for vpn in self.vpn(None) {
            asked.spawn(async move { vpn.endpoints().await.err().map(|error| error.to_string()) });
        }
        let locks = self.locks();
        let nobody = revocation::name::Name::new("warm-up").ok();
        let read = locks.read(nobody.as_slice()).await;
        let mut failures = vec![read.err().map(|error| error.to_string())];
        while let Some(answered) = asked.join_next().await {
            failures.extend(answered);
        }
        for error in failures.into_iter().flatten() {
            tracing::warn!(error_type = "WarmUpFailed", %error, "AWS could not be reached ahead of work");
        }
    }

    /// Answers one invoke.
    ///
    /// # Errors
    /// Where trying again can help and the invoke's kind has no other way to say so, or where a direct command has a
    /// mistake.
    pub async fn invoke(&self, payload: &[u8], call: &Call) -> Result<Value, Failure> {
        match Envelope::of(payload) {
            Envelope::Sqs(messages) => {
                let ids: Vec<Option<String>> = messages.iter().map(|message| message.id.clone()).collect();
                let handled = self.handle(messages, Via::Event, call).await;
                let failed = ids.into_iter().zip(&handled).filter(|(_, handled)| handled.is_worth_a_retry());
                let failed: Vec<_> = failed.map(|(id, _)| id).collect();
                if failed.contains(&None) {
                    // It can't be named in the answer, so the whole batch has to come again.
                    return Err(Failure::new("Interrupted", "a message without an id is to be tried again"));
                }
                let failures: Vec<Value> = failed.iter().map(|id| json!({ "itemIdentifier": id })).collect();
                Ok(json!({ "batchItemFailures": failures }))
            }
            Envelope::Sns(messages) => {
                let handled = self.handle(messages, Via::Event, call).await;
                answer(handled, true)
            }
            Envelope::Single => self.invoke_with_one(payload, call).await,
        }
    }

    /// Answers an invoke with one payload: a command with its receipt, an event with all receipts.
    async fn invoke_with_one(&self, payload: &[u8], call: &Call) -> Result<Value, Failure> {
        let message = Message {
            id: Some(call.request_id.clone()),
            body: Some(String::from_utf8_lossy(payload).into_owned()),
            sent_at: None,
        };
        let mut handled = self.handle(vec![message], Via::Direct, call).await;
        match handled.pop() {
            Some(Handled { rejected: Some(rejected @ Rejected::InvalidCommand { via: Via::Direct, .. }), .. }) => {
                Err(Failure::new(rejected.error_type(), rejected.to_string()))
            }
            Some(Handled { kind: Kind::SyncDirectory, .. }) => self.sync_directory(call).await,
            Some(Handled { kind: Kind::Command, receipts, .. }) if !receipts.is_empty() => {
                Ok(receipts.into_iter().next().map_or(Value::Null, |receipt| json!(receipt)))
            }
            Some(only) => {
                let retried = only.kind == Kind::EventsSentAgain;
                answer(vec![only], retried)
            }
            None => answer(Vec::new(), false),
        }
    }

    /// Copies the directory, so that who is deleted later is still known by name.
    async fn sync_directory(&self, call: &Call) -> Result<Value, Failure> {
        let Some(people) = self.people() else {
            let what = "there is no directory to copy; set VPN_REVOKER_IDENTITY_STORE_ID";
            return Err(Failure::new("NoDirectory", what));
        };
        let deadline = Deadline::new(self.clock.now(), call.cut_off_at);
        let synced: Synced = people.sync(&*self.clock, deadline.stop_at).await;
        if let Some(error) = &synced.error {
            tracing::warn!(error_type = "SyncIncomplete", people = synced.people, %error, "the directory was not copied to its end");
            self.metrics.failed("SyncIncomplete", self.clock.now());
        }
        Ok(json!(synced))
    }

    fn people(&self) -> Option<People> {
        let id = self.settings.identity_store.as_ref()?;
        Some(People {
            directory: Arc::new(IdentityStore::new(self.clients.identity_store.clone(), id)),
            known: Arc::new(self.locks().people_of(id)),
        })
    }

    /// The table of locks, which holds aliases, breakers and people as well.
    fn locks(&self) -> DynamoLocks {
        DynamoLocks::new(self.clients.tables.clone(), &self.settings.locks_table)
    }

    /// Takes messages all the way: read each in a task of its own, then all their signals in one run.
    async fn handle(&self, messages: Vec<Message>, via: Via, call: &Call) -> Vec<Handled> {
        let now = self.clock.now();
        let deadline = Deadline::new(now, call.cut_off_at);
        let mut handled: Vec<Handled> = messages.iter().map(|_| Handled::default()).collect();
        if !deadline.leaves_time(now) {
            tracing::error!(
                error_type = "NoTime",
                "too little of the invoke is left to work in; raise the function's timeout"
            );
            self.metrics.failed("NoTime", now);
            handled.iter_mut().for_each(|handled| handled.broke = true);
            return handled;
        }
        let read = self.read_all(messages, via, call, now).await;
        let taken = self.take_in(read, &mut handled, now);
        let owners: Vec<(usize, bool)> = taken.iter().map(|(owner, signal)| (*owner, signal.dry_run)).collect();
        let signals: Vec<Signal> = taken.into_iter().map(|(_, signal)| signal).collect();
        let run = run(call, now, &deadline);
        let revoker = self.revoker(call);
        let receipts = match signals.is_empty() {
            true => Vec::new(),
            false => revoker.handle(signals, &run).await,
        };
        for ((owner, rehearsed), receipt) in owners.into_iter().zip(receipts) {
            match rehearsed {
                true => self.metrics.rehearsed(&receipt, self.clock.now()),
                false => self.metrics.settled(&receipt, self.clock.now()),
            }
            if let Some(handled) = handled.get_mut(owner) {
                handled.unfinished |= receipt.is_retryable();
                handled.receipts.push(receipt);
            }
        }
        self.sweep(&mut handled, &revoker, &run).await;
        handled
    }

    /// Takes signals all the way that come from no delivery; one receipt for each, in their order.
    #[cfg(feature = "cli")]
    pub async fn settle(&self, signals: Vec<Signal>, call: &Call) -> Vec<Receipt> {
        let now = self.clock.now();
        let deadline = Deadline::new(now, call.cut_off_at);
        self.revoker(call).handle(signals, &run(call, now, &deadline)).await
    }

    /// Sweeps where that was ordered, after the signals of the same delivery. What the schedule orders several times in
    /// one delivery, as after a redrive of dead letters, is one sweep: it looks at everything.
    async fn sweep(&self, handled: &mut [Handled], revoker: &Revoker, run: &Run) {
        let mut swept_by_schedule = false;
        for handled in handled {
            for order in std::mem::take(&mut handled.sweeps) {
                if !order.commanded && std::mem::replace(&mut swept_by_schedule, true) {
                    continue;
                }
                let begun_at = self.clock.now();
                let receipt = revoker.sweep(&order, run).await;
                // A sweep that somebody asked for says nothing about whether the schedule is alive, and comes once; what
                // the schedule left is for the next one.
                if order.commanded {
                    self.metrics.swept_by_command(&receipt, self.clock.now());
                    handled.unfinished |= receipt.is_retryable();
                } else {
                    self.metrics.swept(&receipt, self.clock.now());
                    Box::pin(self.note_sweep(begun_at, &receipt, run)).await;
                }
                handled.receipts.push(receipt);
            }
        }
    }

    /// Leaves word that a sweep was made, for whoever looks after the deployment. Nothing hangs on it.
    async fn note_sweep(&self, begun_at: Timestamp, receipt: &Receipt, run: &Run) {
        let locks = self.locks();
        tokio::select! {
            biased;
            noted = locks.note_sweep(begun_at, receipt.outcome) => if let Err(error) = noted {
                tracing::warn!(error_type = "SweepUnnoted", %error, "that a sweep was made could not be kept");
            },
            () = self.clock.reached(run.answer_by) => {
                tracing::warn!(error_type = "SweepUnnoted", "that a sweep was made could not be kept in time");
            }
        }
    }

    /// Reads every message in a task of its own. What a fault of ours kept from being read is missing.
    async fn read_all(&self, messages: Vec<Message>, via: Via, call: &Call, now: Timestamp) -> BTreeMap<usize, Read> {
        let mut readers = JoinSet::new();
        for (number, message) in messages.into_iter().enumerate() {
            let intake = Arc::clone(&self.settings.intake);
            let delivery = Delivery {
                via,
                received_at: message.sent_at.unwrap_or(now).min(now),
                id: message.id.clone().unwrap_or_else(|| call.request_id.clone()),
            };
            readers.spawn(async move {
                let reading = match &message.body {
                    Some(body) => intake.read(body.as_bytes(), &delivery),
                    None => Err(Rejected::Unreadable("the record has no body, or one that is not a string".to_owned())),
                };
                (number, Read { message_id: delivery.id, reading })
            });
        }
        let mut all = BTreeMap::new();
        while let Some(read) = readers.join_next().await {
            match read {
                Ok((number, read)) => drop(all.insert(number, read)),
                Err(error) => {
                    tracing::error!(error_type = "Panicked", %error, "a fault of ours ended the reading of a message");
                }
            }
        }
        all
    }

    /// Notes of each message what it is; returns all signals, each with the number of its message.
    fn take_in(
        &self,
        mut read: BTreeMap<usize, Read>,
        handled: &mut [Handled],
        now: Timestamp,
    ) -> Vec<(usize, Signal)> {
        let mut signals = Vec::new();
        for (number, handled) in handled.iter_mut().enumerate() {
            match read.remove(&number) {
                Some(Read { message_id, reading: Ok(reading) }) => {
                    handled.kind = Kind::of(&reading);
                    handled.sweeps = reading.sweeps().to_vec();
                    if let Reading::Events { put_aside, .. } = &reading {
                        put_aside.iter().for_each(|rejected| self.note_rejected(rejected, &message_id, now));
                    }
                    signals.extend(reading.into_signals().into_iter().map(|signal| (number, signal)));
                }
                Some(Read { message_id, reading: Err(rejected) }) => {
                    self.note_rejected(&rejected, &message_id, now);
                    handled.broke = matches!(rejected, Rejected::Fault(_));
                    handled.rejected = Some(rejected);
                }
                None => {
                    self.metrics.failed("Panicked", now);
                    handled.broke = true;
                }
            }
        }
        signals
    }

    /// Says why an event does nothing. One that is known to mean nothing is no failure.
    fn note_rejected(&self, rejected: &Rejected, message_id: &str, now: Timestamp) {
        let error_type = rejected.error_type();
        if rejected.is_expected() {
            tracing::info!(kind = error_type, message_id, signal_id = message_id, reason = %rejected, "event put aside");
            self.metrics.put_aside(error_type, now);
        } else {
            tracing::warn!(error_type, message_id, signal_id = message_id, reason = %rejected, "event not understood");
            self.metrics.failed(error_type, now);
        }
    }

    /// Client VPN in every target. An account that no role names is the function's own.
    fn vpn(&self, own_account: Option<&String>) -> Vec<Arc<dyn ClientVpn>> {
        let mut there = Vec::new();
        let pairs = self.settings.targets.iter().zip(&self.clients.ec2);
        let vpn = pairs.filter_map(|(settings, client)| {
            let account = settings.account().map(str::to_owned).or_else(|| own_account.cloned());
            let target = Target { region: settings.region.clone(), account };
            // A role in the function's own account, beside the function itself: seen twice, somebody would have twice as
            // many connections.
            if there.contains(&target) {
                tracing::warn!(error_type = "SameTarget", region = target.region, "two targets are the same account and Region, and one was left out; take it out of VPN_REVOKER_TARGETS");
                return None;
            }
            there.push(target.clone());
            let vpn = Ec2ClientVpn::new(client.clone(), target).acting_as(settings.role_arn.as_deref(), UNASSUMED);
            Some(Arc::new(vpn) as Arc<dyn ClientVpn>)
        });
        vpn.collect()
    }

    fn revoker(&self, call: &Call) -> Revoker {
        let Settings { locks_table, audit_table, policy, .. } = &*self.settings;
        Revoker {
            vpn: self.vpn(call.account().as_ref()),
            locks: Arc::new(self.locks()),
            aliases: Arc::new(self.locks()),
            brake: Brake::new(Arc::new(self.locks()), Arc::clone(&self.clock)),
            people: self.people(),
            trail: Arc::new(DynamoAudit::new(self.clients.tables.clone(), audit_table, locks_table)),
            clock: Arc::clone(&self.clock),
            policy: Arc::new(policy.clone()),
        }
    }
}

/// An attempt that begins now.
fn run(call: &Call, now: Timestamp, deadline: &Deadline) -> Run {
    Run { attempt: format!("{} {now}", call.request_id), stop_at: deadline.stop_at, answer_by: deadline.answer_by }
}

/// The answer to an invoke that is neither an SQS batch nor a direct command. Where whoever invoked tries an error
/// again, a result that is worth it is one.
fn answer(handled: Vec<Handled>, retried: bool) -> Result<Value, Failure> {
    if (retried && handled.iter().any(Handled::is_worth_a_retry)) || handled.iter().any(|handled| handled.broke) {
        let receipts = handled.iter().flat_map(|handled| &handled.receipts);
        let unfinished: Vec<&Receipt> = receipts.filter(|receipt| receipt.is_retryable()).collect();
        // Of what is worth a retry, only the circuit breaker refuses.
        let error_type = match unfinished.iter().map(|receipt| receipt.outcome).max() {
            Some(Outcome::Unresolved) => "Unresolved",
            Some(Outcome::Refused) => "BreakerOpen",
            Some(_) => "Incomplete",
            None => "Interrupted",
        };
        let what: Vec<String> =
            unfinished.iter().map(|receipt| format!("{} is {}", receipt.signal_id, receipt.outcome.word())).collect();
        let what = if what.is_empty() { "the work could not be finished".to_owned() } else { what.join(", ") };
        return Err(Failure::new(error_type, format!("{what}; it is to be tried again")));
    }
    let receipts: Vec<Receipt> = handled.into_iter().flat_map(|handled| handled.receipts).collect();
    Ok(json!({ "receipts": receipts }))
}
