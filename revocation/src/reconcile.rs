//! Closing the difference between what is decided and what Client VPN reports.
//!
//! A run takes the signals of one delivery (one event, or a whole SQS batch) through five steps:
//!
//! 1. **resolve** who is meant (`resolve`) and by which names (`alias`); a signal for one of its subjects is a `case`;
//! 2. **admit** each case: policy, lock, then the `requested` entry (`admit`, `locking`, `further`; `ahead` reads what this
//!    needs for all cases at once);
//! 3. **pursue** those admitted, all in the same listings: terminate, wait, verify (`pursue`, `pass`, `listing`, `look` for
//!    what a listing shows, `orders`, `pursuit` for where each stands, `scope` for which endpoints), or only rehearse that
//!    (`rehearse`);
//! 4. **record** what came of each (`record`);
//! 5. **answer** with one [`Receipt`] per signal (`answer`).
//!
//! A sweep (`sweep`) begins with what is connected instead of a signal, and goes on from step 3.
//!
//! Steps 2 and 4 run in a task for each signal and subject, so that a fault in one fails nobody else's.

mod admit;
mod ahead;
mod alias;
mod answer;
mod case;
mod further;
mod listing;
mod locking;
mod look;
mod orders;
mod pass;
mod pursue;
mod pursuit;
mod record;
mod rehearse;
mod resolve;
mod scope;
mod sweep;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::breaker::Brake;
use crate::people::People;
use crate::policy::Policy;
use crate::ports::{AliasBook, AuditTrail, ClientVpn, Clock, Locks};
use crate::receipt::Receipt;
use crate::signal::Signal;
use crate::time::Timestamp;

use admit::ADMISSION;
use answer::{Done, last_of_all, pursuit_of};
use case::{Case, Verdict, cases_of, refused};
use pursuit::Pursuit;
use scope::{EVERY, Scope};

pub use sweep::Sweep;

/// The controller: the ports, and the policy that says what may be done with them.
#[derive(Clone)]
pub struct Revoker {
    /// Client VPN, one port for each target.
    pub vpn: Vec<Arc<dyn ClientVpn>>,
    /// The stored locks.
    pub locks: Arc<dyn Locks>,
    /// What else subjects are called.
    pub aliases: Arc<dyn AliasBook>,
    /// The circuit breaker.
    pub brake: Brake,
    /// Who is behind an id; without it such signals stay unresolved.
    pub people: Option<People>,
    /// The audit trail.
    pub trail: Arc<dyn AuditTrail>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What may be done.
    pub policy: Arc<Policy>,
}

/// One attempt at one delivery.
#[derive(Debug, Clone)]
pub struct Run {
    /// Names the attempt: another attempt at the same delivery has another name.
    pub attempt: String,
    /// When to stop working and record what is left.
    pub stop_at: Timestamp,
    /// When the answer must be given, recorded or not.
    pub answer_by: Timestamp,
}

/// What admission leads to.
enum Admission {
    /// It is decided.
    Settled(Verdict),
    /// Connections are to be ended, and it is decided by what becomes of them.
    Pursue(Box<Pursuit>),
}

impl Revoker {
    /// Takes the signals of one delivery all the way, and answers with one receipt for each, in their order.
    ///
    /// Every receipt that is not retryable is durable in the audit trail, dry runs excepted.
    pub async fn handle(&self, signals: Vec<Signal>, run: &Run) -> Vec<Receipt> {
        let mut resolved = self.resolve_all(signals, run).await;
        let signals: Vec<Arc<Signal>> = std::mem::take(&mut resolved.signals).into_iter().map(Arc::new).collect();
        let mut cases = cases_of(&signals, &resolved);
        let unnamed = cases.clone();
        let (mut ahead, ()) = tokio::join!(self.read_ahead(&unnamed), self.name_all(&mut cases, run));
        cases.iter_mut().enumerate().for_each(|(number, case)| case.ahead = ahead.remove(&number));
        let scope = Arc::new(OnceCell::new());

        let mut verdicts: BTreeMap<usize, Verdict> = BTreeMap::new();
        let mut pursuits: Vec<Pursuit> = Vec::new();
        for (case, number, admission) in self.admit_all(&cases, &scope, run).await {
            if let Some(known) = cases.get_mut(number) {
                *known = case;
            }
            match admission {
                Admission::Settled(verdict) => {
                    verdicts.insert(number, verdict);
                }
                Admission::Pursue(pursuit) => match pursuits.iter_mut().find(|other| other.is_same_as(&pursuit)) {
                    Some(other) => other.join(*pursuit),
                    None => pursuits.push(*pursuit),
                },
            }
        }
        self.finish(&signals, cases, verdicts, pursuits, scope, run).await
    }

    /// Pursues what was admitted, records what came of every case, and answers.
    async fn finish(
        &self,
        signals: &[Arc<Signal>],
        mut cases: Vec<Case>,
        mut verdicts: BTreeMap<usize, Verdict>,
        pursuits: Vec<Pursuit>,
        scope: Arc<OnceCell<Scope>>,
        run: &Run,
    ) -> Vec<Receipt> {
        let (pursuits, endpoints) = self.pursue_all(pursuits, scope, run).await;
        for pursuit in &pursuits {
            let of_it = cases.iter_mut().enumerate().filter(|(number, _)| pursuit.cases.contains(number));
            of_it.for_each(|(_, case)| case.note_let_in(pursuit));
        }
        self.record_all(&cases, &mut verdicts, &pursuits, &endpoints, run).await;
        let done = Done { cases: &cases, verdicts: &verdicts, pursuits: &pursuits, endpoints: &endpoints };
        self.receipts(signals, &done)
    }

    /// Does `work` in a task of its own, until `stop_at` at the longest: neither a panic nor a call that hangs goes further.
    async fn guarded<T: Send + 'static>(
        &self,
        stop_at: Timestamp,
        span: tracing::Span,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Lost> {
        match self.in_time(stop_at, in_own_task(span, work)).await {
            Some(Some(done)) => Ok(done),
            Some(None) => Err(Lost::Panicked),
            None => Err(Lost::Late),
        }
    }

    /// When those that hang are left for the next attempt, and the others go on.
    fn admission_ends(&self, run: &Run) -> Timestamp {
        run.stop_at.min(self.clock.now().plus(ADMISSION))
    }

    /// What comes of work before `stop_at`.
    async fn in_time<T>(&self, stop_at: Timestamp, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.clock.reached(stop_at) => None,
        }
    }
}

/// Why guarded work came to nothing.
#[derive(Debug, Clone, Copy)]
enum Lost {
    /// It panicked, which is logged.
    Panicked,
    /// Its time was up.
    Late,
}

impl Lost {
    /// What happened, where `late` says what could not be done in time.
    fn what(self, late: &str) -> &str {
        match self {
            Self::Panicked => "a fault of ours",
            Self::Late => late,
        }
    }

    /// The same of what is tried again.
    fn why(self, late: &str) -> String {
        format!("{}; it is tried again", self.what(late))
    }
}

/// Runs `work` in a task of its own, so that a panic in it ends there.
async fn in_own_task<T: Send + 'static>(
    span: tracing::Span,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let mut task = JoinSet::new();
    task.spawn(work.instrument(span.clone()));
    match task.join_next().await {
        Some(Ok(result)) => Some(result),
        Some(Err(error)) => {
            span.in_scope(
                || tracing::error!(error_type = "Panicked", %error, "a fault of ours ended this signal's work"),
            );
            None
        }
        None => None,
    }
}

/// What the next task comes to. One that panicked is logged and passed over, for callers that notice what is missing.
async fn next_of<T: 'static>(tasks: &mut JoinSet<T>) -> Option<T> {
    loop {
        match tasks.join_next().await? {
            Ok(result) => return Some(result),
            Err(error) => tracing::error!(error_type = "Panicked", %error, "a fault of ours ended a task"),
        }
    }
}

/// What all tasks come to, but for those that panicked.
async fn all_of<T: 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut results = Vec::new();
    while let Some(result) = next_of(&mut tasks).await {
        results.push(result);
    }
    results
}

#[cfg(test)]
mod tests;
