//! The function around the domain, as `src/app.rs` has it: reads every message by itself, takes all their signals in one
//! run, and fails those messages that are worth another try.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::clock::Skewed;
use super::company::Company;
use super::events::Said;
use super::queue::Message;
use crate::breaker::Brake;
use crate::intake::{Delivery, Intake, Reading, Rejected};
use crate::ports::Clock;
use crate::receipt::Receipt;
use crate::reconcile::{Revoker, Run, Sweep};
use crate::signal::{Signal, Via};

/// How long an invoke may work, and by when it answers: little less than the function's timeout in `template.yaml`.
const WORKS: Duration = Duration::from_secs(100);
const ANSWERS: Duration = Duration::from_secs(103);

/// Compiled once for all runs: it is only read from.
static INTAKE: LazyLock<Intake> = LazyLock::new(|| Intake::built_in().unwrap());

/// One environment of the function.
#[derive(Clone)]
pub(super) struct Function {
    company: Arc<Company>,
    clock: Arc<Skewed>,
    environment: usize,
}

impl Function {
    pub(super) fn new(company: &Arc<Company>, environment: usize) -> Self {
        let ahead = company.ahead(environment);
        let clock = Arc::new(Skewed { world: Arc::clone(&company.clock), ahead });
        Self { company: Arc::clone(company), clock, environment }
    }

    /// Works as long as it lives: batch after batch.
    pub(super) async fn work(self) {
        loop {
            let batch = self.company.queue.receive().await;
            self.company.begins(self.environment, &batch);
            let again = self.take(&batch).await;
            for message in &batch {
                match again.contains(&message.number) {
                    true => self.company.leaves(message),
                    false => self.company.done_with(message),
                }
            }
            self.company.ends(self.environment);
        }
    }

    /// Takes a batch, and says which messages are to come again.
    async fn take(&self, batch: &[Message]) -> Vec<u64> {
        let mut again = Vec::new();
        let (mut owners, mut signals) = (Vec::new(), Vec::new());
        for message in batch {
            let delivery = Delivery {
                via: Via::Event,
                received_at: message.sent_at.min(self.clock.now()),
                id: format!("message-{}", message.number),
            };
            let Some(found) = self.read(message, &delivery) else {
                again.push(message.number);
                continue;
            };
            owners.extend(std::iter::repeat_n(message.number, found.len()));
            signals.extend(found);
        }
        let receipts = self.handle(signals).await;
        let unfinished = owners.into_iter().zip(&receipts).filter(|(_, receipt)| receipt.is_retryable());
        again.extend(unfinished.map(|(owner, _)| owner));
        again
    }

    /// What a message says; nothing where a fault of ours keeps it from being read.
    fn read(&self, message: &Message, delivery: &Delivery) -> Option<Vec<Signal>> {
        if let Some(signals) = self.company.read_before(message.number, delivery.received_at) {
            return Some(signals);
        }
        let reading = INTAKE.read(&message.body, delivery);
        if matches!(reading, Err(Rejected::Fault(_))) {
            return None;
        }
        let signals = reading.map(Reading::into_signals).unwrap_or_default();
        self.company.hears(message, delivery.received_at, &signals);
        Some(signals)
    }

    pub(super) async fn handle(&self, signals: Vec<Signal>) -> Vec<Receipt> {
        if signals.is_empty() {
            return Vec::new();
        }
        let receipts = self.revoker().handle(signals, &self.run()).await;
        self.company.sees(&receipts);
        receipts
    }

    /// One invoke with the whole of a payload, and its answer.
    pub(super) async fn invoke(&self, payload: &[u8], said: Option<&Said>) -> Vec<Receipt> {
        let now = self.clock.now();
        let id = format!("request-{}", self.company.attempt());
        let reading = INTAKE.read(payload, &Delivery { via: Via::Direct, received_at: now, id });
        let Ok(reading) = reading else {
            self.company.misread(&format!("{reading:?}"));
            return Vec::new();
        };
        let orders = reading.sweeps().to_vec();
        let signals = reading.into_signals();
        if let Some(said) = said {
            self.company.hears_directly(said, &signals);
        }
        let mut receipts = self.handle(signals).await;
        for order in orders {
            receipts.push(self.sweep(&order).await);
        }
        receipts
    }

    async fn sweep(&self, order: &Sweep) -> Receipt {
        let receipt = self.revoker().sweep(order, &self.run()).await;
        self.company.sees(std::slice::from_ref(&receipt));
        receipt
    }

    fn revoker(&self) -> Revoker {
        let clock = || Arc::clone(&self.clock) as Arc<dyn Clock>;
        let company = &self.company;
        Revoker {
            vpn: company.vpn.iter().map(|vpn| Arc::new(vpn.clone()) as _).collect(),
            locks: Arc::new(company.locks.clone()),
            aliases: Arc::new(company.locks.clone()),
            brake: Brake::new(Arc::new(company.breaker.clone()), clock()),
            people: Some(company.people()),
            trail: Arc::new(company.audit.clone()),
            clock: clock(),
            policy: company.policy(),
        }
    }

    fn run(&self) -> Run {
        let now = self.clock.now();
        Run {
            attempt: format!("attempt {}", self.company.attempt()),
            stop_at: now.plus(WORKS),
            answer_by: now.plus(ANSWERS),
        }
    }
}
