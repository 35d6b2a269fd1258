//! Closing the difference between what is decided and what Client VPN reports.
//!
//! A run takes the signals of one delivery (one event, or a whole SQS batch) through four steps, once it is known who
//! is meant (`resolve`) and by which names (`alias`):
//!
//! 1. **admit** each signal for each of its subjects: policy, lock, then the `requested` entry (`admit`);
//! 2. **pursue** those admitted, all in the same listings: terminate, wait, verify (`pursue`, `pass`,
//!    `listing`, and `pursuit` for where each stands);
//! 3. **record** what came of each (`record`);
//! 4. answer with one [`Receipt`] per signal.
//!
//! A sweep (`sweep`) begins with what is connected instead of a signal, and goes on from step 2.
//!
//! Steps 1 and 3 run in a task for each signal and subject, so that a fault in one fails nobody else's.

mod admit;
mod ahead;
mod alias;
mod listing;
mod locking;
mod orders;
mod pass;
mod pursue;
mod pursuit;
mod record;
mod rehearse;
mod resolve;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::audit::Head;
use crate::breaker::Brake;
use crate::connection::{Endpoint, EndpointId, Target};
use crate::name::Name;
use crate::people::People;
use crate::planted::{self, Fault};
use crate::policy::{Policy, Refusal};
use crate::ports::{AliasBook, AuditTrail, ClientVpn, Clock, Locks, VpnError};
use crate::receipt::{EndpointReceipt, Outcome, Receipt, SubjectReceipt, Timings};
use crate::signal::{About, Action, Signal};
use crate::time::Timestamp;

use ahead::Ahead;
use pursuit::Pursuit;
use resolve::{Origin, Resolved};

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

/// One signal for one of its subjects.
#[derive(Debug, Clone)]
struct Case {
    signal: Arc<Signal>,
    /// Which of the delivery's signals.
    index: usize,
    about: About,
    /// The names by which the subject is known on the VPN.
    names: Vec<Name>,
    /// Those of them that somebody let in again by themselves: they are left alone.
    let_in: Vec<Name>,
    /// Those of them that are known only from what was said of the subject before: somebody else may have them by now.
    remembered: Vec<Name>,
    /// Those of these that are not the subject's any more: they are left alone.
    others: Vec<Name>,
    /// What the directory said, where the event gave an id.
    origin: Option<Origin>,
    /// Decided ahead of admission: nobody knows who is meant, or by which names.
    stuck: Option<Verdict>,
    /// What was read of it ahead of admission.
    ahead: Option<Ahead>,
    /// The head of its chain, as far as it is known.
    head: Option<Head>,
}

impl Case {
    fn new(signal: Arc<Signal>, index: usize, about: About) -> Self {
        Self {
            signal,
            index,
            about,
            names: Vec::new(),
            let_in: Vec::new(),
            remembered: Vec::new(),
            others: Vec::new(),
            origin: None,
            stuck: None,
            ahead: None,
            head: None,
        }
    }

    fn chain(&self) -> String {
        self.about.chain()
    }

    /// The names that count.
    fn named(&self) -> Vec<Name> {
        let left_alone = |name: &&Name| self.let_in.contains(name) || self.others.contains(name);
        self.names.iter().filter(|name| !left_alone(name)).cloned().collect()
    }

    /// Adds names that were said of the subject before, and that it may not have any more.
    fn remember(&mut self, names: Vec<Name>) {
        let unknown: Vec<Name> = names.into_iter().filter(|name| !self.names.contains(name)).collect();
        self.remembered.extend(unknown.iter().cloned());
        self.names.extend(unknown);
    }

    /// Takes note of names that were let in while their connections were being ended.
    fn note_let_in(&mut self, pursuit: &Pursuit) {
        let by_locks = matches!(self.signal.action, Action::Revoke { .. } | Action::Alias { .. } | Action::Sweep);
        if by_locks && !pursuit.goal.names().is_empty() {
            let lifted = self.named().into_iter().filter(|name| !pursuit.goal.names().contains(name));
            self.let_in.extend(lifted);
        }
    }

    /// The names beside the subject's own.
    fn further(&self) -> Vec<Name> {
        self.names.iter().skip(1).cloned().collect()
    }

    fn span(&self) -> tracing::Span {
        tracing::info_span!("signal", signal_id = %self.signal.id, action = self.signal.action.word())
    }
}

/// What is decided about a case, before it is recorded.
#[derive(Debug, Clone)]
struct Verdict {
    outcome: Outcome,
    why: Option<String>,
    refusal: Option<&'static str>,
    detail: Map<String, Value>,
    /// An earlier delivery recorded it already.
    repeated: bool,
    locked_at: Option<Timestamp>,
}

impl Verdict {
    fn new(outcome: Outcome) -> Self {
        Self { outcome, why: None, refusal: None, detail: Map::new(), repeated: false, locked_at: None }
    }

    fn because(outcome: Outcome, why: &(impl ToString + ?Sized)) -> Self {
        Self { why: Some(why.to_string()), ..Self::new(outcome) }
    }
}

fn refused(refusal: &Refusal) -> Verdict {
    let mut verdict = Verdict::because(Outcome::Refused, refusal);
    verdict.detail.insert("refusal".to_owned(), Value::from(refusal.word()));
    Verdict { refusal: Some(refusal.word()), ..verdict }
}

/// What admission leads to.
enum Admission {
    /// It is decided.
    Settled(Verdict),
    /// Connections are to be ended, and it is decided by what becomes of them.
    Pursue(Box<Pursuit>),
}

/// How long a target may take to name its endpoints, before the others go on without it.
const ENDPOINTS_IN: Duration = Duration::from_secs(8);

/// Stands in an answer for every endpoint of a target, where none could be named.
const EVERY: &str = "*";

/// The endpoints in scope, and the targets that could not be asked for theirs.
#[derive(Debug, Clone, Default)]
struct Scope {
    endpoints: Vec<(usize, Endpoint)>,
    troubles: Vec<EndpointReceipt>,
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
        self.receipts(signals, &cases, &verdicts, &pursuits, &endpoints)
    }

    /// The endpoints in scope, asked for once per listing.
    async fn scope(&self) -> Scope {
        let mut scope = Scope::default();
        let mut asked = JoinSet::new();
        for (number, vpn) in self.vpn.iter().cloned().enumerate() {
            asked.spawn(async move { (number, vpn.endpoints().await) });
        }
        let late_at = self.clock.now().plus(ENDPOINTS_IN);
        let mut answers: Vec<_> = Vec::new();
        loop {
            tokio::select! {
                biased;
                answer = asked.join_next() => match answer {
                    None => break,
                    Some(answer) => answers.extend(answer),
                },
                () = self.clock.reached(late_at) => break,
            }
        }
        for (number, vpn) in self.vpn.iter().enumerate() {
            let target = Arc::new(vpn.target().clone());
            match answers.iter().find(|(answered, _)| *answered == number) {
                Some((_, Ok(ids))) => {
                    let in_scope = ids.iter().filter(|id| self.policy.in_scope(id));
                    scope
                        .endpoints
                        .extend(in_scope.map(|id| (number, Endpoint { target: Arc::clone(&target), id: id.clone() })));
                }
                Some((_, Err(error))) => scope.trouble(&target, EndpointId::new(EVERY), error),
                None => {
                    let error = VpnError::late(&target);
                    scope.trouble(&target, EndpointId::new(EVERY), &error);
                }
            }
        }
        if planted::is(Fault::WaitForEveryTarget) && !scope.troubles.is_empty() {
            scope.endpoints.clear();
        }
        self.note_missing_endpoints(&mut scope);
        if planted::is(Fault::ForgetSilentTarget) {
            scope.troubles.clear();
        }
        scope
    }

    /// Nothing is taken for "nobody is connected" that may be a mistake of the configuration: an endpoint that is named
    /// there and is nowhere, or a target without any endpoint, as in the wrong Region.
    fn note_missing_endpoints(&self, scope: &mut Scope) {
        let found = |id: &EndpointId| scope.endpoints.iter().any(|(_, endpoint)| endpoint.id == *id);
        let missing: Vec<EndpointId> = self.policy.endpoints.iter().filter(|id| !found(id)).cloned().collect();
        let answered = |target: &Target| {
            let is_it =
                |trouble: &EndpointReceipt| trouble.region == target.region && trouble.account == target.account;
            !scope.troubles.iter().any(is_it)
        };
        let has_any = |number: usize| scope.endpoints.iter().any(|(of, _)| *of == number);
        let targets = self.vpn.iter().map(|vpn| vpn.target().clone()).enumerate();
        let empty: Vec<Target> = targets
            .filter(|(number, target)| self.policy.endpoints.is_empty() && answered(target) && !has_any(*number))
            .map(|(_, target)| target)
            .collect();
        for target in empty {
            scope.trouble(&target, EndpointId::new(EVERY), &VpnError::no_endpoints(&target.region));
        }
        // Where a target could not be asked, the endpoint may be there.
        if !scope.troubles.is_empty() {
            return;
        }
        let Some(target) = self.vpn.first().map(|vpn| vpn.target().clone()) else { return };
        for id in missing {
            let error = VpnError::no_such_endpoint(&id);
            scope.trouble(&target, id, &error);
        }
    }

    /// What comes of work before `stop_at`.
    async fn in_time<T>(&self, stop_at: Timestamp, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.clock.reached(stop_at) => None,
        }
    }

    fn receipts(
        &self,
        signals: &[Arc<Signal>],
        cases: &[Case],
        verdicts: &BTreeMap<usize, Verdict>,
        pursuits: &[Pursuit],
        endpoints: &[EndpointReceipt],
    ) -> Vec<Receipt> {
        let receipt = |(index, signal): (usize, &Arc<Signal>)| {
            let mut timings = Timings {
                occurred_at: signal.occurred_at,
                received_at: Some(signal.received_at),
                ..Timings::default()
            };
            let mut subjects = Vec::new();
            let mut verified = Vec::new();
            let mut looked = false;
            for (number, case) in cases.iter().enumerate().filter(|(_, case)| case.index == index) {
                let pursuit = pursuits.iter().find(|pursuit| pursuit.cases.contains(&number));
                let verdict = verdicts.get(&number);
                looked |= pursuit.is_some();
                timings.locked_at = timings.locked_at.max(verdict.and_then(|verdict| verdict.locked_at));
                timings.first_terminate_at =
                    earliest(timings.first_terminate_at, pursuit.and_then(Pursuit::first_terminate_at));
                verified.push(pursuit.and_then(Pursuit::verified_at));
                subjects.push(SubjectReceipt {
                    subject: case.about.label(),
                    names: case.named(),
                    outcome: verdict.map_or(Outcome::Incomplete, |verdict| verdict.outcome),
                    connections: pursuit.map(Pursuit::connections).unwrap_or_default(),
                    reconnected: pursuit.map_or(0, |pursuit| pursuit.reconnected),
                    refusal: verdict.and_then(|verdict| verdict.refusal),
                    error: verdict.and_then(|verdict| verdict.why.clone()),
                });
            }
            timings.verified_at =
                verified.into_iter().collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
            Receipt {
                signal_id: signal.id.clone(),
                action: signal.action.clone(),
                mode: self.policy.mode,
                outcome: subjects.iter().map(|subject| subject.outcome).max().unwrap_or(Outcome::Incomplete),
                subjects,
                endpoints: if looked { endpoints.to_vec() } else { Vec::new() },
                timings,
            }
        };
        signals.iter().enumerate().map(receipt).collect()
    }
}

/// The signals taken apart by subject, in the order in which they apply: within a subject by `as_of`.
fn cases_of(signals: &[Arc<Signal>], resolved: &Resolved) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (index, signal) in signals.iter().enumerate() {
        // The same subject twice in one signal is one subject.
        let mut chains = BTreeSet::new();
        let distinct = signal.about.iter().filter(|about| chains.insert(about.chain()));
        cases.extend(distinct.map(|about| {
            let key = (index, about.chain());
            let why = resolved.unresolved.get(&key);
            Case {
                origin: resolved.origins.get(&key).cloned(),
                stuck: why.map(|why| Verdict::because(Outcome::Unresolved, why)),
                ..Case::new(Arc::clone(signal), index, about.clone())
            }
        }));
    }
    // Restores before revocations of the same instant, which then win.
    cases.sort_by_key(|case| (case.signal.as_of, !matches!(case.signal.action, Action::Restore { .. })));
    cases
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Scope {
    /// Notes why the scope is not complete: something is wrong with an endpoint, or with [`EVERY`] one of a target.
    fn trouble(&mut self, target: &Target, endpoint_id: EndpointId, error: &VpnError) {
        self.troubles.push(EndpointReceipt {
            region: target.region.clone(),
            account: target.account.clone(),
            endpoint_id,
            permitted: None,
            error: Some(error.to_string()),
        });
    }

    /// What is wrong, in words.
    fn complaints(&self) -> Vec<String> {
        self.troubles.iter().filter_map(|receipt| receipt.error.clone()).collect()
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

/// A [`JoinSet`] whose failed tasks are passed over, for callers that notice who is missing.
trait JoinAllOrSkip<T> {
    async fn join_all_or_skip(self) -> Vec<T>;
}

impl<T: 'static> JoinAllOrSkip<T> for JoinSet<T> {
    async fn join_all_or_skip(mut self) -> Vec<T> {
        let mut results = Vec::new();
        while let Some(result) = self.join_next().await {
            match result {
                Ok(result) => results.push(result),
                Err(error) => tracing::error!(error_type = "Panicked", %error, "a fault of ours ended a task"),
            }
        }
        results
    }
}

#[cfg(test)]
mod tests;
