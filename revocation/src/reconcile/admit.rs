//! Admission: policy first, then the lock, then the `requested` entry. Only after that may a connection be ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use super::alias::add;
use super::pursuit::{Goal, Pursuit};
use super::{Admission, Case, Revoker, Run, Scope, Verdict, in_own_task, refused};
use crate::audit::{Draft, Kind, Marker, append};
use crate::breaker::{Counted, Pass};
use crate::lock::{Lock, Transition};
use crate::name::Name;
use crate::planted::{self, Fault};
use crate::policy::{Mode, Refusal};
use crate::ports::{StoreError, Write};
use crate::receipt::Outcome;
use crate::signal::{About, Action, Authority};
use crate::time::Timestamp;

/// How often a guarded write is tried while others write to the same lock.
pub(super) const MAX_RACES: usize = 16;

/// How long admission may take before those that hang are left for the next attempt, and the others go on.
pub(super) const ADMISSION: Duration = Duration::from_secs(15);

/// How many subjects are admitted, or recorded, at the same time.
pub(super) const SUBJECTS_AT_ONCE: usize = 64;

/// What became of the locks on a subject's names.
struct Locked {
    /// The locks as they now stand.
    locks: Vec<Lock>,
    /// Where nothing was locked: a newer statement stands against this one, or the circuit breaker is open.
    stopped: Option<Verdict>,
    /// When the last of them was known to be durable.
    at: Timestamp,
}

/// What became of the lock on a subject's own name.
enum Own {
    Locked(Lock, Transition),
    Braked(Refusal),
}

/// What is on record of a signal and a subject from earlier deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// An attempt got as far as the `requested` entry, so its lock was durable.
    Requested,
    /// It is settled.
    Settled(Outcome),
}

impl Revoker {
    /// Admits every case: subjects side by side, the cases of one subject in the order in which they apply.
    pub(super) async fn admit_all(
        &self,
        cases: &[Case],
        scope: &Arc<OnceCell<Scope>>,
        run: &Run,
    ) -> Vec<(Case, usize, Admission)> {
        let mut by_subject: BTreeMap<String, Vec<(usize, Case)>> = BTreeMap::new();
        for (number, case) in cases.iter().enumerate() {
            by_subject.entry(case.chain()).or_default().push((number, case.clone()));
        }
        let mut subjects = JoinSet::new();
        let gate = Arc::new(Semaphore::new(SUBJECTS_AT_ONCE));
        for queue in by_subject.into_values() {
            let (revoker, scope, gate) = (self.clone(), Arc::clone(scope), Arc::clone(&gate));
            let stop_at = run.stop_at;
            subjects.spawn(async move {
                let _turn = gate.acquire().await;
                let stop_at = stop_at.min(revoker.clock.now().plus(ADMISSION));
                let mut admitted = Vec::new();
                for (number, case) in queue {
                    let (case, admission) = revoker.admit_in_time(number, case, &scope, stop_at).await;
                    admitted.push((case, number, admission));
                }
                admitted
            });
        }
        let mut admitted = Vec::new();
        while let Some(result) = subjects.join_next().await {
            admitted.extend(result.unwrap_or_default());
        }
        admitted.sort_by_key(|(_, number, _)| *number);
        admitted
    }

    async fn admit_in_time(
        &self,
        number: usize,
        case: Case,
        scope: &Arc<OnceCell<Scope>>,
        stop_at: Timestamp,
    ) -> (Case, Admission) {
        let (revoker, scope, span, mut named) = (self.clone(), Arc::clone(scope), case.span(), case.clone());
        let work = in_own_task(span, async move {
            let admission = revoker.admit(number, &mut named, &scope).await;
            (named, admission)
        });
        let stuck = |why: &str| Admission::Settled(Verdict::because(Outcome::Incomplete, why));
        tokio::select! {
            biased;
            admitted = work => match admitted {
                Some((named, Ok(admission))) => (named, admission),
                Some((named, Err(error))) => (named, stuck(&error.to_string())),
                None => (case, stuck("a fault of ours; it is tried again")),
            },
            () = self.clock.reached(stop_at) => {
                (case, stuck("it could not be locked and recorded in time; it is tried again"))
            }
        }
    }

    async fn admit(&self, number: usize, case: &mut Case, scope: &OnceCell<Scope>) -> Result<Admission, StoreError> {
        let before = self.recorded_before(case).await?;
        if let Before::Settled(outcome) = before {
            return self.repeated(case, outcome).await;
        }
        if let Some(verdict) = &case.stuck {
            return Ok(Admission::Settled(verdict.clone()));
        }
        if let Err(refusal) = self.policy.admit(&case.signal, &case.named()) {
            return Ok(Admission::Settled(refused(&refusal)));
        }
        let signal = Arc::clone(&case.signal);
        match (case.about.clone(), &signal.action) {
            (About::Unresolved { .. }, _) => {
                Ok(Admission::Settled(Verdict::because(Outcome::Unresolved, "nobody could say who is meant")))
            }
            (_, Action::Restore { .. }) => self.restore(case).await,
            (_, Action::Revoke { .. }) => self.revoke(number, case, scope, before).await,
            (_, Action::Disconnect) => self.disconnect(number, case, scope).await,
            (About::Subject(subject), Action::Alias { .. }) => self.alias(number, case, &subject, scope).await,
            (About::Breaker(authority), Action::CloseBreaker) => self.close_breaker(case, &authority).await,
            (About::Connection(..) | About::Breaker(_), Action::Alias { .. })
            | (_, Action::CloseBreaker | Action::Sweep) => {
                Ok(Admission::Settled(Verdict::because(Outcome::Refused, "this action does not go with this subject")))
            }
            // What the directory says takes its place before admission; where it said nothing, nobody is named.
            (_, Action::Ask) => {
                Ok(Admission::Settled(Verdict::because(Outcome::Unresolved, "the directory was not asked")))
            }
        }
    }

    /// What an earlier delivery of the same signal came to.
    ///
    /// `refused`, `incomplete` and `unresolved` are looked at anew: configuration may have changed since.
    async fn recorded_before(&self, case: &Case) -> Result<Before, StoreError> {
        if case.signal.dry_run {
            return Ok(Before::Nothing);
        }
        let finals: &[Outcome] = match (self.mode(case), &case.signal.action) {
            (Mode::Shadow, _) => &[Outcome::Shadowed],
            (Mode::Enforce, Action::Restore { .. } | Action::CloseBreaker) => &[Outcome::Restored, Outcome::Superseded],
            (Mode::Enforce, Action::Alias { .. }) => &[Outcome::Aliased, Outcome::Completed],
            (Mode::Enforce, _) => &[Outcome::Completed, Outcome::Superseded],
        };
        let chain = case.chain();
        let kinds = finals.iter().filter_map(|outcome| outcome.kind()).chain([Kind::Requested]);
        let markers: Vec<Marker> = kinds.map(|kind| Marker::new(&case.signal.id, &chain, kind)).collect();
        let standing = self.trail.standing(&markers).await?;
        let settled = finals.iter().zip(&standing).find(|(_, stands)| **stands);
        Ok(match (settled, standing.last()) {
            (Some((outcome, _)), _) => Before::Settled(*outcome),
            (None, Some(true)) if self.mode(case) == Mode::Enforce => Before::Requested,
            _ => Before::Nothing,
        })
    }

    /// The answer to a repeated delivery. It changes nothing, and says nothing that is not so any more: where the lock
    /// was lifted since, or the id of an old command is used for a new one, the subject is not out.
    async fn repeated(&self, case: &Case, outcome: Outcome) -> Result<Admission, StoreError> {
        let revocation = matches!(case.signal.action, Action::Revoke { .. });
        let verdict = if outcome == Outcome::Completed && revocation && !self.is_locked(case).await? {
            Verdict::because(
                Outcome::Superseded,
                "this id was completed before and its lock does not stand; nothing was done now. Send a command with an id of its own",
            )
        } else {
            Verdict::because(outcome, "a repeated delivery: an earlier one was recorded so")
        };
        Ok(Admission::Settled(Verdict { repeated: true, ..verdict }))
    }

    /// Whether the subject is locked: by the lock of its own name.
    async fn is_locked(&self, case: &Case) -> Result<bool, StoreError> {
        let now = self.clock.now();
        match case.names.first() {
            Some(own) => Ok(self.lock_of(own).await?.in_force(now)),
            None => Ok(false),
        }
    }

    async fn revoke(
        &self,
        number: usize,
        case: &mut Case,
        scope: &OnceCell<Scope>,
        before: Before,
    ) -> Result<Admission, StoreError> {
        // The endpoints are asked for beside the lock, not before it: the lock must not wait for EC2.
        let (locked, scope) = tokio::join!(self.lock_once(case, before), self.scope_once(scope));
        let locked = locked?;
        if let Some(verdict) = locked.stopped {
            return Ok(Admission::Settled(verdict));
        }
        self.request(case, scope).await?;
        let goal = Goal::Locked { names: case.named() };
        Ok(Admission::Pursue(Box::new(Pursuit::new(number, goal, case, self.is_rehearsal(case), locked.at))))
    }

    async fn disconnect(&self, number: usize, case: &Case, scope: &OnceCell<Scope>) -> Result<Admission, StoreError> {
        let scope = self.scope_once(scope).await;
        let goal = match &case.about {
            About::Connection(endpoint, connection) => {
                match scope.endpoints.iter().find(|(_, known)| known.id == *endpoint) {
                    Some((_, known)) => Goal::One { endpoint: known.clone(), connection: connection.clone() },
                    // Where a target could not be asked, the endpoint may be there: that is no refusal.
                    None if scope.troubles.is_empty() => {
                        return Ok(Admission::Settled(refused(&Refusal::EndpointOutOfScope(endpoint.clone()))));
                    }
                    None => {
                        return Ok(Admission::Settled(Verdict::because(
                            Outcome::Incomplete,
                            &scope.complaints().join("; "),
                        )));
                    }
                }
            }
            _ => Goal::Existing { names: case.names.clone(), cutoff: case.signal.as_of },
        };
        self.request(case, scope).await?;
        Ok(Admission::Pursue(Box::new(Pursuit::new(number, goal, case, self.is_rehearsal(case), self.clock.now()))))
    }

    async fn restore(&self, case: &mut Case) -> Result<Admission, StoreError> {
        let locked = self.lock_all(case).await?;
        let mut verdict = locked.stopped.unwrap_or_else(|| Verdict::new(Outcome::Restored));
        let still: BTreeSet<String> = locked
            .locks
            .iter()
            .flat_map(|lock| lock.held_by(locked.at))
            .map(|authority| authority.to_string())
            .collect();
        let still: Vec<String> = still.into_iter().collect();
        if verdict.outcome == Outcome::Restored && !still.is_empty() {
            verdict.why = Some(format!("still locked by {}", still.join(", ")));
        }
        verdict.detail.insert("still_locked_by".to_owned(), json!(still));
        Ok(Admission::Settled(verdict))
    }

    /// Nothing is to be changed: a dry run, or shadow mode.
    pub(super) fn is_rehearsal(&self, case: &Case) -> bool {
        case.signal.dry_run || self.mode(case) == Mode::Shadow
    }

    /// The mode in which a case is taken: what is replayed from an archive is only audited.
    pub(super) fn mode(&self, case: &Case) -> Mode {
        if case.signal.replay.is_some() { Mode::Shadow } else { self.policy.mode }
    }

    pub(super) async fn scope_once<'a>(&self, scope: &'a OnceCell<Scope>) -> &'a Scope {
        scope.get_or_init(|| self.scope()).await
    }

    /// Locks the names, unless an earlier attempt has: what was lifted since then is not locked again.
    async fn lock_once(&self, case: &mut Case, before: Before) -> Result<Locked, StoreError> {
        if before != Before::Requested {
            return self.lock_all(case).await;
        }
        let mut locked = Locked { locks: Vec::new(), stopped: None, at: self.clock.now() };
        let Some(own) = case.names.first().cloned() else { return Ok(locked) };
        let lock = self.lock_of(&own).await?;
        if !lock.in_force(self.clock.now()) {
            let why = "the lock was lifted since this was requested";
            locked.stopped = Some(Verdict::because(Outcome::Superseded, why));
            return Ok(locked);
        }
        // By now the subject may be called otherwise. What was locked before is pursued as well, and what is new is
        // locked where this authority's word still stands.
        let authority = case.signal.authority.clone();
        let stands = lock.held_by(self.clock.now()).contains(&authority);
        add(&mut case.names, lock.further_names(|other, _| *other == authority));
        if stands {
            self.lock(case, &own, &case.further()).await?;
        }
        for name in case.further() {
            let lock = self.lock_of(&name).await?;
            let unheard = stands && lock.hold_of(&authority).is_none();
            if unheard {
                self.lock(case, &name, &[]).await?;
            } else if !lock.in_force(self.clock.now()) {
                case.let_in.push(name);
            }
        }
        locked.at = self.clock.now();
        Ok(locked)
    }

    /// Brings the lock of every name to where the signal wants it: the subject's own first, which remembers the others.
    ///
    /// The own name decides: where a newer statement stands against this one there, nothing is changed. Another name
    /// against which one stands is left as it is.
    async fn lock_all(&self, case: &mut Case) -> Result<Locked, StoreError> {
        let mut locked = Locked { locks: Vec::new(), stopped: None, at: self.clock.now() };
        let Some(own) = case.names.first().cloned() else { return Ok(locked) };
        let mut done: Vec<Name> = Vec::new();
        for _ in 0..MAX_RACES {
            self.add_names_of_before(case, &own).await?;
            let (lock, transition) = match self.lock_own(case, &own).await? {
                Own::Locked(lock, transition) => (lock, transition),
                Own::Braked(refusal) => {
                    locked.stopped = Some(refused(&refusal));
                    return Ok(locked);
                }
            };
            if let Transition::Superseded { by, as_of } = transition {
                let why = format!("{by} said otherwise about `{own}` as of {as_of}, which is newer");
                locked.stopped = Some(Verdict::because(Outcome::Superseded, &why));
                locked.locks = vec![lock];
                return Ok(locked);
            }
            locked.locks.push(lock);
            let rest = case.further().into_iter().filter(|name| !done.contains(name));
            for name in rest.collect::<Vec<_>>() {
                let (lock, transition) = self.lock(case, &name, &[]).await?;
                if matches!(transition, Transition::Superseded { .. }) {
                    case.let_in.push(name.clone());
                }
                locked.locks.push(lock);
                done.push(name);
            }
            // A name that was given while this was under way was looked for in vain by whoever gave it.
            if !self.name_again(case).await? {
                locked.at = self.clock.now();
                return Ok(locked);
            }
        }
        Err(StoreError::busy(own.as_str()))
    }

    /// Adds the names that a hold which this signal is about was said of when it was set, whatever the subject is
    /// called by now.
    async fn add_names_of_before(&self, case: &mut Case, own: &Name) -> Result<(), StoreError> {
        let lock = self.lock_of(own).await?;
        let now = self.clock.now();
        let of_before = match &case.signal.action {
            Action::Restore { authorities: None } => lock.further_names(|_, _| true),
            Action::Restore { authorities: Some(meant) } => lock.further_names(|other, _| meant.contains(other)),
            _ => {
                let authority = &case.signal.authority;
                let in_force = lock.held_by(now).contains(authority);
                lock.further_names(|other, _| in_force && other == authority)
            }
        };
        add(&mut case.names, of_before);
        Ok(())
    }

    /// Locks the subject's own name, past the circuit breaker where a producer's hold comes into force newly.
    async fn lock_own(&self, case: &Case, own: &Name) -> Result<Own, StoreError> {
        let further = case.further();
        for _ in 0..MAX_RACES {
            let lock = self.lock_of(own).await?;
            let transition = lock.apply(&case.signal, &case.about.label(), &further);
            if let Transition::Changed(next) = &transition
                && let Some(refusal) = self.braked(case, own, &lock, next).await?
            {
                return Ok(Own::Braked(refusal));
            }
            if let Some((lock, transition)) = self.store(case, lock, transition).await? {
                return Ok(Own::Locked(lock, transition));
            }
        }
        Err(StoreError::busy(own.as_str()))
    }

    async fn lock(&self, case: &Case, name: &Name, further: &[Name]) -> Result<(Lock, Transition), StoreError> {
        for _ in 0..MAX_RACES {
            let lock = self.lock_of(name).await?;
            let transition = lock.apply(&case.signal, &case.about.label(), further);
            if let Some(stored) = self.store(case, lock, transition).await? {
                return Ok(stored);
            }
        }
        Err(StoreError::busy(name.as_str()))
    }

    /// Stores what a lock is to become; nothing where somebody else was faster.
    async fn store(
        &self,
        case: &Case,
        lock: Lock,
        transition: Transition,
    ) -> Result<Option<(Lock, Transition)>, StoreError> {
        let Transition::Changed(next) = &transition else { return Ok(Some((lock, transition))) };
        let next = next.clone();
        if !self.is_rehearsal(case) && !planted::is(Fault::DropLock) {
            if self.locks.write(&next).await? == Write::Conflict {
                return Ok(None);
            }
            tracing::info!(subject = %next.name, version = next.version, "lock written");
        }
        Ok(Some((next, transition)))
    }

    /// Why a hold may not come into force now. A person's command is not counted: somebody stands behind it.
    async fn braked(&self, case: &Case, own: &Name, lock: &Lock, next: &Lock) -> Result<Option<Refusal>, StoreError> {
        let (authority, now) = (&case.signal.authority, self.clock.now());
        if *authority == Authority::command() || self.is_rehearsal(case) || !lock.newly_held(next, authority, now) {
            return Ok(None);
        }
        let counted_as = match planted::is(Fault::CountTwice) {
            false => case.signal.id.clone(),
            true => crate::signal::SignalId::new(&format!("{} at {now}", case.signal.id)),
        };
        let (hold, limit) = (Counted::new(&counted_as, own), self.policy.max_subjects);
        Ok(match self.brake.pass(authority, &hold, now, limit).await? {
            Pass::Free => None,
            Pass::Open { since } => Some(Refusal::BreakerOpen { authority: authority.clone(), since, limit }),
        })
    }

    /// Lets an authority speak again.
    async fn close_breaker(&self, case: &Case, authority: &Authority) -> Result<Admission, StoreError> {
        if !self.is_rehearsal(case) {
            self.brake.close(authority).await?;
        }
        Ok(Admission::Settled(Verdict::because(
            Outcome::Restored,
            "the breaker is closed, and counts from zero; what was refused is done when it is tried again",
        )))
    }

    /// Records, before anything is ended, what is about to be done. A rehearsal does nothing and records its end only.
    pub(super) async fn request(&self, case: &Case, scope: &Scope) -> Result<(), StoreError> {
        if self.is_rehearsal(case) {
            return Ok(());
        }
        let mut detail = self.circumstances(case);
        let endpoints: Vec<&str> = scope.endpoints.iter().map(|(_, endpoint)| endpoint.id.as_str()).collect();
        detail.insert("endpoints".to_owned(), json!(endpoints));
        let draft = Draft::new(&case.signal, &case.chain(), Kind::Requested, self.clock.now(), detail);
        append(&*self.trail, &draft).await.map(|_| ())
    }

    /// What every entry about a case says.
    pub(super) fn circumstances(&self, case: &Case) -> Map<String, Value> {
        let signal = &case.signal;
        let mut detail = Map::new();
        detail.insert("action".to_owned(), json!(signal.action));
        detail.insert("mode".to_owned(), json!(self.mode(case)));
        if let Some(replay) = &signal.replay {
            detail.insert("replay".to_owned(), json!(replay));
        }
        detail.insert("names".to_owned(), json!(case.named()));
        if !case.let_in.is_empty() {
            detail.insert("let_in".to_owned(), json!(case.let_in));
        }
        if let Some(origin) = &case.origin {
            detail.insert("directory_id".to_owned(), json!(origin.id));
            if origin.kept {
                detail.insert("directory_kept".to_owned(), json!(true));
            }
            if !origin.others.is_empty() {
                detail.insert("others_names".to_owned(), json!(origin.others));
            }
        }
        case.note_alias(&mut detail);
        detail.insert("as_of".to_owned(), json!(signal.as_of));
        detail.insert("received_at".to_owned(), json!(signal.received_at));
        if let Some(occurred_at) = signal.occurred_at {
            detail.insert("occurred_at".to_owned(), json!(occurred_at));
        }
        if let Action::Revoke { expires_at: Some(expires_at) } = &signal.action {
            detail.insert("expires_at".to_owned(), json!(expires_at));
        }
        if signal.force {
            detail.insert("force".to_owned(), json!(true));
        }
        if let Action::Restore { authorities: Some(authorities) } = &signal.action {
            detail.insert("authorities".to_owned(), json!(authorities));
        }
        detail
    }
}
