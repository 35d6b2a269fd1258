//! The sweep: everything that is connected, checked against every lock there is.
//!
//! Two things slip past a signal: a client that comes back before a connect handler is wired, and an event that never
//! came. The first is found here by its lock; the second, where a directory may be asked, by the directory's word.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use super::admit::SUBJECTS_AT_ONCE;
use super::listing::Listed;
use super::pursuit::{Goal, Pursuit};
use super::{Case, EVERY, Revoker, Run, Scope, Verdict, in_own_task, last_of_all, next_of, refused};
use crate::audit::hex_digest;
use crate::connection::{ConnectionId, Endpoint, EndpointId, Target};
use crate::lock::Lock;
use crate::name::Name;
use crate::plan::needs_a_call;
use crate::policy::{Mode, Refusal};
use crate::ports::{StoreError, VpnError};
use crate::receipt::{EndpointReceipt, Outcome, Receipt, SubjectReceipt, Timings};
use crate::signal::{Action, SignalId, Via};
use crate::time::Timestamp;

mod directory;
mod hit;

use hit::{Known, hits};

/// Of the time of a sweep, the listing may take this part; the rest is for ending what it finds.
const LISTING_SHARE: u32 = 2;

/// An order to sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// Its id over every transport.
    pub id: SignalId,
    /// When it was received.
    pub received_at: Timestamp,
    /// How it reached us.
    pub via: Via,
    /// Whether a person or a playbook asked for it; the schedule is nobody.
    pub commanded: bool,
    /// Look at these endpoints only; empty: at all in scope. Whoever is found there is ended everywhere.
    pub endpoints: Vec<EndpointId>,
    /// Look at these targets only, by Region or account; empty: at all.
    pub targets: Vec<String>,
    /// Report, and change nothing.
    pub dry_run: bool,
    /// Who asked for it, as claimed.
    pub actor: Option<String>,
    /// Why it was asked for; without, what it ends has the reason of the lock.
    pub reason: Option<String>,
}

/// Every lock that may be in force, and what is wrong with those that can't be read.
#[derive(Default)]
struct AllLocked {
    read: HashMap<Name, Lock>,
    unreadable: Vec<StoreError>,
}

/// What a look at everything came to.
#[derive(Default)]
struct Seen {
    /// The connections under names that are locked, by name.
    hits: BTreeMap<Name, BTreeSet<ConnectionId>>,
    /// Somebody who is locked is still on the way out, so that no call can help.
    leaving: bool,
    /// Who else is connected, where the directory may be asked.
    others: BTreeSet<Name>,
    listed: BTreeSet<usize>,
    failed: BTreeMap<usize, String>,
}

impl Revoker {
    /// Ends everything that is connected under a name that is locked.
    ///
    /// What it ends is recorded as any revocation is; a sweep that finds nothing to end writes nothing.
    pub async fn sweep(&self, order: &Sweep, run: &Run) -> Receipt {
        let (revoker, asked, budget) = (self.clone(), order.clone(), run.clone());
        let work = in_own_task(tracing::Span::current(), async move { revoker.sweep_all(&asked, &budget).await });
        work.await.unwrap_or_else(|| {
            Receipt::of_sweep(order, self.policy.mode).left_undone("a fault of ours; the next sweep tries again")
        })
    }

    async fn sweep_all(&self, order: &Sweep, run: &Run) -> Receipt {
        let begun_at = self.clock.now();
        let mut receipt = Receipt::of_sweep(order, self.policy.mode);
        if let Err(refusal) = self.admit_sweep(order) {
            receipt.subjects.push(SubjectReceipt::refused("#sweep", &refusal));
            receipt.outcome = Outcome::Refused;
            return receipt;
        }
        let (locks, scope, seen) = match self.in_time(run.stop_at, self.look(order, run)).await {
            Some(Ok(looked)) => looked,
            Some(Err(error)) => return receipt.left_undone(&error.to_string()),
            None => {
                return receipt
                    .left_undone("locks and endpoints could not be read in time; the next sweep tries again");
            }
        };
        let listed_at = self.clock.now();
        receipt.endpoints = endpoint_receipts(&scope, &seen);
        let all_listed = receipt.endpoints.iter().all(|endpoint| endpoint.error.is_none());
        // What is certain comes before what has to be asked.
        let mut receipts = self.end_hits(order, &locks.read, &seen.hits, run).await;
        let (heeded, unanswered) = self.heed_directory(order, &locks.read, &seen, run).await;
        receipts.extend(heeded);
        receipt.take_up(receipts);
        if !all_listed {
            receipt.outcome = Outcome::Incomplete;
        } else if receipt.subjects.is_empty() && !order.dry_run {
            receipt.outcome = Outcome::Completed;
            receipt.timings.verified_at = Some(listed_at);
        }
        if !all_listed || seen.leaving {
            receipt.timings.verified_at = None;
        }
        // A sweep by schedule looks again within minutes.
        if seen.leaving && order.commanded && !order.dry_run && receipt.outcome < Outcome::Refused {
            receipt = receipt.left_undone("somebody who is locked is still on the way out; sweep again");
        }
        for why in locks.unreadable.iter().map(ToString::to_string).chain(unanswered) {
            receipt = receipt.left_undone(&why);
        }
        tracing::info!(
            locks = locks.read.len(),
            endpoints = receipt.endpoints.len(),
            subjects = receipt.subjects.len(),
            outcome = receipt.outcome.word(),
            milliseconds = self.clock.now().since(begun_at).as_millis(),
            "swept"
        );
        receipt
    }

    fn admit_sweep(&self, order: &Sweep) -> Result<(), Refusal> {
        match order.commanded {
            true => self.policy.admit_command(Action::Sweep.word(), order.via),
            false => Ok(()),
        }
    }

    /// Reads the locks, and lists everything in scope beside them.
    async fn look(&self, order: &Sweep, run: &Run) -> Result<(AllLocked, Scope, Seen), StoreError> {
        let (locks, scope) = tokio::join!(self.all_locked(), self.scope());
        let (locks, scope) = (locks?, order.narrow(scope));
        let now = self.clock.now();
        let stop_at = now.plus(run.stop_at.since(now) / LISTING_SHARE);
        let seen = self.list_and_match(order, &locks.read, &scope, stop_at).await;
        Ok((locks, scope, seen))
    }

    /// Every lock that may be in force.
    async fn all_locked(&self) -> Result<AllLocked, StoreError> {
        let now = self.clock.now();
        let mut locks = AllLocked::default();
        let mut after = None;
        loop {
            let (page, next) = self.locks.locked(after.as_ref()).await?;
            for lock in page {
                match lock {
                    Ok(lock) if lock.in_force(now) => drop(locks.read.insert(lock.name.clone(), lock)),
                    Ok(_) => {}
                    Err(error) => locks.unreadable.push(error),
                }
            }
            match next {
                None => return Ok(locks),
                next => after = next,
            }
        }
    }

    /// Lists every endpoint, page by page, and keeps what is connected under a locked name, and nothing else.
    ///
    /// Each sweep begins with another endpoint, so that one which runs out of time does not starve the same ones.
    async fn list_and_match(
        &self,
        order: &Sweep,
        locks: &HashMap<Name, Lock>,
        scope: &Scope,
        stop_at: Timestamp,
    ) -> Seen {
        let asks = self.directory_to_ask().is_some();
        let first = order.turn("endpoints", scope.endpoints.len());
        let mut seen = Seen::default();
        let (_listings, mut listed) = self.list_all(scope, first, &[], |_| true);
        loop {
            let report = tokio::select! {
                biased;
                report = listed.recv() => report,
                () = self.clock.reached(stop_at) => return seen,
            };
            match report {
                None => return seen,
                Some(Listed::Done { on }) => {
                    seen.listed.insert(on);
                }
                Some(Listed::Failed { on, error }) => {
                    seen.failed.insert(on, error.to_string());
                }
                Some(Listed::Page { rows, .. }) => {
                    for row in rows.iter().filter(|row| row.status.is_alive()) {
                        for name in [row.user(), row.certificate()].into_iter().flatten() {
                            let is_locked = locks.contains_key(&name);
                            if !needs_a_call(row) {
                                seen.leaving |= is_locked;
                            } else if is_locked {
                                seen.hits.entry(name).or_default().insert(row.id.clone());
                            } else if asks {
                                seen.others.insert(name);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Ends what was found, once the locks were read again.
    async fn end_hits(
        &self,
        order: &Sweep,
        locks: &HashMap<Name, Lock>,
        found: &BTreeMap<Name, BTreeSet<ConnectionId>>,
        run: &Run,
    ) -> Vec<Receipt> {
        if found.is_empty() {
            return Vec::new();
        }
        let names: Vec<Name> = found.keys().cloned().collect();
        let confirmed = self.confirm(&names, locks, run).await;
        let (mut signals, mut cases, mut verdicts, mut pursuits) =
            (Vec::new(), Vec::new(), BTreeMap::new(), Vec::new());
        let known = Known { policy: &self.policy, locks, now: self.clock.now() };
        for hit in hits(&confirmed, found, &known).into_values() {
            let signal = Arc::new(hit.signal(order));
            let Some(about) = signal.about.first().cloned() else { continue };
            let number = cases.len();
            // Who was protected since is left alone under every name.
            if let Some(name) = &hit.protected {
                verdicts.insert(number, refused(&Refusal::Protected(name.clone())));
            }
            cases.push(Case { names: hit.names, ..Case::new(Arc::clone(&signal), number, about) });
            signals.push(signal);
        }
        let scope = Arc::new(OnceCell::new());
        let requested = self.request_all(&cases, &verdicts, &scope, run).await;
        for (number, case) in
            cases.iter().enumerate().filter(|(number, _)| !verdicts.contains_key(number)).collect::<Vec<_>>()
        {
            let why = match requested.get(&number) {
                Some(Ok(())) => {
                    let goal = Goal::Locked { names: case.names.clone() };
                    pursuits.push(Pursuit::new(number, goal, case, self.is_rehearsal(case), self.clock.now()));
                    continue;
                }
                Some(Err(error)) => error.to_string(),
                None => "it could not be recorded in time; the next sweep tries again".to_owned(),
            };
            verdicts.insert(number, Verdict::because(Outcome::Incomplete, &why));
        }
        self.finish(&signals, cases, verdicts, pursuits, scope, run).await
    }

    /// Reads the locks again of those that were found. Where that can't be done, those that were read before stand in:
    /// nothing is ended under a lock that can't be read again, and what is left is told.
    async fn confirm(&self, names: &[Name], locks: &HashMap<Name, Lock>, run: &Run) -> Vec<Lock> {
        let (revoker, again) = (self.clone(), names.to_vec());
        let read = async move { revoker.locks.read(&again).await };
        match self.guarded(self.admission_ends(run), tracing::Span::current(), read).await {
            Ok(Ok(confirmed)) => confirmed,
            _ => {
                tracing::warn!(error_type = "SweepUnconfirmed", "the locks of those connected could not be read again");
                names.iter().filter_map(|name| locks.get(name).cloned()).collect()
            }
        }
    }

    /// Records of each, before anything is ended, what is about to be done. Those of whom nothing came in time are
    /// missing.
    async fn request_all(
        &self,
        cases: &[Case],
        settled: &BTreeMap<usize, Verdict>,
        scope: &Arc<OnceCell<Scope>>,
        run: &Run,
    ) -> BTreeMap<usize, Result<(), StoreError>> {
        let mut requests = JoinSet::new();
        let gate = Arc::new(Semaphore::new(SUBJECTS_AT_ONCE));
        for (number, mut case) in cases.iter().cloned().enumerate().filter(|(number, _)| !settled.contains_key(number))
        {
            let (revoker, scope, gate) = (self.clone(), Arc::clone(scope), Arc::clone(&gate));
            requests.spawn(async move {
                let _turn = gate.acquire().await;
                let scope = revoker.scope_once(&scope).await;
                (number, revoker.request(&mut case, scope).await)
            });
        }
        let stop_at = self.admission_ends(run);
        let mut done = BTreeMap::new();
        while let Some(Some((number, requested))) = self.in_time(stop_at, next_of(&mut requests)).await {
            done.insert(number, requested);
        }
        done
    }
}

impl Sweep {
    /// What of a scope this order looks at. What it names and is nowhere is told.
    fn narrow(&self, scope: Scope) -> Scope {
        let is_it =
            |wanted: &String, target: &Target| *wanted == target.region || target.account.as_ref() == Some(wanted);
        let wanted_target =
            |target: &Target| self.targets.is_empty() || self.targets.iter().any(|wanted| is_it(wanted, target));
        let wanted_endpoint = |id: &EndpointId| self.endpoints.is_empty() || self.endpoints.contains(id);
        let mut narrowed = Scope::default();
        for (number, endpoint) in scope.endpoints.iter().filter(|(_, endpoint)| wanted_target(&endpoint.target)) {
            if wanted_endpoint(&endpoint.id) {
                narrowed.endpoints.push((*number, endpoint.clone()));
            }
        }
        let target_of =
            |trouble: &EndpointReceipt| Target { region: trouble.region.clone(), account: trouble.account.clone() };
        let of_target = |trouble: &EndpointReceipt| wanted_target(&target_of(trouble));
        narrowed.troubles = scope.troubles.into_iter().filter(of_target).collect();
        let mut missing: Vec<String> = Vec::new();
        let found = |id: &EndpointId| narrowed.endpoints.iter().any(|(_, endpoint)| endpoint.id == *id);
        missing.extend(self.endpoints.iter().filter(|id| !found(id)).map(ToString::to_string));
        let known = |wanted: &String| {
            let there = scope.endpoints.iter().any(|(_, endpoint)| is_it(wanted, &endpoint.target));
            there || narrowed.troubles.iter().any(|trouble| is_it(wanted, &target_of(trouble)))
        };
        missing.extend(self.targets.iter().filter(|wanted| !known(wanted)).cloned());
        for name in missing {
            let nowhere = Target { region: EVERY.to_owned(), account: None };
            narrowed.trouble(&nowhere, EndpointId::new(&name), &VpnError::nothing_named(&name));
        }
        narrowed
    }

    /// Whose turn it is to be the first of so many: another's with every sweep, whatever the schedule's period.
    fn turn(&self, of: &str, many: usize) -> usize {
        let digest = hex_digest(format!("{of} {}", self.id).as_bytes());
        let number = u64::from_str_radix(digest.get(..15).unwrap_or_default(), 16).unwrap_or_default();
        usize::try_from(number).unwrap_or_default() % many.max(1)
    }
}

fn endpoint_receipts(scope: &Scope, seen: &Seen) -> Vec<EndpointReceipt> {
    let error = |on: usize| match (seen.listed.contains(&on), seen.failed.get(&on)) {
        (true, _) => None,
        (false, Some(error)) => Some(error.clone()),
        (false, None) => {
            Some("not listed to its end: the time ran out; the next sweep begins with another endpoint".to_owned())
        }
    };
    let receipt = |(on, (_, endpoint)): (usize, &(usize, Endpoint))| {
        EndpointReceipt::new(&endpoint.target, endpoint.id.clone(), error(on))
    };
    let looked_at = scope.endpoints.iter().enumerate().map(receipt);
    looked_at.chain(scope.troubles.iter().cloned()).collect()
}

impl Receipt {
    fn of_sweep(order: &Sweep, mode: Mode) -> Self {
        Self {
            signal_id: order.id.clone(),
            action: Action::Sweep,
            mode,
            outcome: Outcome::Planned,
            subjects: Vec::new(),
            endpoints: Vec::new(),
            timings: Timings { received_at: Some(order.received_at), ..Timings::default() },
        }
    }

    /// A sweep of which something is left undone.
    fn left_undone(mut self, why: &str) -> Self {
        self.outcome = Outcome::Incomplete;
        self.subjects
            .push(SubjectReceipt { error: Some(why.to_owned()), ..SubjectReceipt::new("#sweep", self.outcome) });
        self
    }

    /// Takes the receipts of what a sweep did into its own.
    fn take_up(&mut self, receipts: Vec<Self>) {
        let mut verified = Vec::new();
        for receipt in receipts {
            let Timings { first_terminate_at, verified_at, locked_at, .. } = receipt.timings;
            verified.push(verified_at);
            let timings = &mut self.timings;
            timings.first_terminate_at = [timings.first_terminate_at, first_terminate_at].into_iter().flatten().min();
            timings.locked_at = timings.locked_at.max(locked_at);
            self.outcome = self.outcome.max(receipt.outcome);
            self.subjects.extend(receipt.subjects);
            receipt.endpoints.iter().for_each(|asked| self.note_permission(asked));
        }
        // Not before everybody is verified.
        self.timings.verified_at = last_of_all(verified);
    }

    /// Takes in what EC2 answered, for one of those whom a dry sweep found, to whether it would permit ending it. One
    /// refusal is enough.
    fn note_permission(&mut self, asked: &EndpointReceipt) {
        let is_it = |own: &&mut EndpointReceipt| {
            (&own.region, &own.account, &own.endpoint_id) == (&asked.region, &asked.account, &asked.endpoint_id)
        };
        let known = self.endpoints.iter_mut().find(is_it);
        if let (Some(own), Some(permitted)) = (known, asked.permitted)
            && own.permitted != Some(false)
        {
            own.permitted = Some(permitted);
            own.error = own.error.take().or_else(|| asked.error.clone());
        }
    }
}
