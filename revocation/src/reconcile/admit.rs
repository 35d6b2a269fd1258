//! Admission: policy first, then the lock, then the `requested` entry. Only after that may a connection be ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use super::pursuit::{Goal, Pursuit};
use super::{Admission, Case, Revoker, Run, Scope, Verdict, in_own_task};
use crate::audit::{Draft, Kind, Marker, append};
use crate::lock::{Lock, Transition};
use crate::name::Name;
use crate::policy::{Mode, Refusal};
use crate::ports::{StoreError, Write};
use crate::receipt::Outcome;
use crate::signal::{About, Action};
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
    /// Where a newer statement stands against this one.
    superseded: Option<String>,
    /// When the last of them was known to be durable.
    at: Timestamp,
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
    ) -> Vec<(usize, Admission)> {
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
                    admitted.push((number, revoker.admit_in_time(number, case, &scope, stop_at).await));
                }
                admitted
            });
        }
        let mut admitted = Vec::new();
        while let Some(result) = subjects.join_next().await {
            admitted.extend(result.unwrap_or_default());
        }
        admitted.sort_by_key(|(number, _)| *number);
        admitted
    }

    async fn admit_in_time(
        &self,
        number: usize,
        case: Case,
        scope: &Arc<OnceCell<Scope>>,
        stop_at: Timestamp,
    ) -> Admission {
        let (revoker, scope, span) = (self.clone(), Arc::clone(scope), case.span());
        let work = in_own_task(span, async move { revoker.admit(number, &case, &scope).await });
        tokio::select! {
            biased;
            admitted = work => match admitted {
                Some(Ok(admission)) => admission,
                Some(Err(error)) => Admission::Settled(Verdict::because(Outcome::Incomplete, &error)),
                None => Admission::Settled(Verdict::because(Outcome::Incomplete, "a fault of ours; it is tried again")),
            },
            () = self.clock.reached(stop_at) => Admission::Settled(Verdict::because(
                Outcome::Incomplete,
                "it could not be locked and recorded in time; it is tried again",
            )),
        }
    }

    async fn admit(&self, number: usize, case: &Case, scope: &OnceCell<Scope>) -> Result<Admission, StoreError> {
        let names = case.names.clone();
        let before = self.recorded_before(case).await?;
        if let Before::Settled(outcome) = before {
            return self.repeated(case, &names, outcome).await;
        }
        if let Some(verdict) = &case.stuck {
            return Ok(Admission::Settled(verdict.clone()));
        }
        if let Err(refusal) = self.policy.admit(&case.signal, &names) {
            return Ok(Admission::Settled(refused(&refusal)));
        }
        match (&case.about, &case.signal.action) {
            (About::Unresolved { .. }, _) => {
                Ok(Admission::Settled(Verdict::because(Outcome::Unresolved, "nobody could say who is meant")))
            }
            (_, Action::Restore { .. }) => self.restore(case, &names).await,
            (_, Action::Revoke { .. }) => self.revoke(number, case, names, scope, before).await,
            (_, Action::Disconnect) => self.disconnect(number, case, names, scope).await,
            (About::Subject(subject), Action::Alias { names: given, remove }) => {
                self.alias(number, case, subject, (given, *remove), scope).await
            }
            (About::Connection(..), Action::Alias { .. }) => {
                Ok(Admission::Settled(Verdict::because(Outcome::Refused, "a connection has no names")))
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
            (Mode::Enforce, Action::Restore { .. }) => &[Outcome::Restored, Outcome::Superseded],
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
    async fn repeated(&self, case: &Case, names: &[Name], outcome: Outcome) -> Result<Admission, StoreError> {
        let revocation = matches!(case.signal.action, Action::Revoke { .. });
        let verdict = if outcome == Outcome::Completed && revocation && !self.all_in_force(names).await? {
            Verdict::because(
                Outcome::Superseded,
                "this id was completed before and its lock does not stand; nothing was done now. Send a command with an id of its own",
            )
        } else {
            Verdict::because(outcome, "a repeated delivery: an earlier one was recorded so")
        };
        Ok(Admission::Settled(Verdict { repeated: true, ..verdict }))
    }

    async fn all_in_force(&self, names: &[Name]) -> Result<bool, StoreError> {
        let now = self.clock.now();
        Ok(self.locks.read(names).await?.iter().all(|lock| lock.in_force(now)))
    }

    async fn revoke(
        &self,
        number: usize,
        case: &Case,
        names: Vec<Name>,
        scope: &OnceCell<Scope>,
        before: Before,
    ) -> Result<Admission, StoreError> {
        // The endpoints are asked for beside the lock, not before it: the lock must not wait for EC2.
        let (locked, scope) = tokio::join!(self.lock_once(case, &names, before), self.scope_once(scope));
        let locked = locked?;
        if let Some(why) = locked.superseded {
            return Ok(Admission::Settled(Verdict::because(Outcome::Superseded, &why)));
        }
        self.request(case, &names, scope).await?;
        let goal = Goal::Locked { names };
        Ok(Admission::Pursue(Box::new(Pursuit::new(number, goal, case, self.is_rehearsal(case), locked.at))))
    }

    async fn disconnect(
        &self,
        number: usize,
        case: &Case,
        names: Vec<Name>,
        scope: &OnceCell<Scope>,
    ) -> Result<Admission, StoreError> {
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
            _ => Goal::Existing { names: names.clone(), cutoff: case.signal.as_of },
        };
        self.request(case, &names, scope).await?;
        Ok(Admission::Pursue(Box::new(Pursuit::new(number, goal, case, self.is_rehearsal(case), self.clock.now()))))
    }

    async fn restore(&self, case: &Case, names: &[Name]) -> Result<Admission, StoreError> {
        let locked = self.lock_all(case, names).await?;
        let mut verdict = match locked.superseded {
            Some(why) => Verdict::because(Outcome::Superseded, &why),
            None => Verdict::new(Outcome::Restored),
        };
        let still: Vec<String> = locked
            .locks
            .iter()
            .flat_map(|lock| lock.held_by(locked.at))
            .map(|authority| authority.to_string())
            .collect();
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
    async fn lock_once(&self, case: &Case, names: &[Name], before: Before) -> Result<Locked, StoreError> {
        if before != Before::Requested {
            return self.lock_all(case, names).await;
        }
        let lifted = !self.all_in_force(names).await?;
        Ok(Locked {
            locks: Vec::new(),
            superseded: lifted.then(|| "the lock was lifted since this was requested".to_owned()),
            at: self.clock.now(),
        })
    }

    /// Brings the lock of every name to where the signal wants it.
    async fn lock_all(&self, case: &Case, names: &[Name]) -> Result<Locked, StoreError> {
        let mut locked = Locked { locks: Vec::new(), superseded: None, at: self.clock.now() };
        for name in names {
            let (lock, transition) = self.lock(case, name).await?;
            if let Transition::Superseded { by, as_of } = transition {
                locked.superseded = Some(format!("{by} said otherwise about `{name}` as of {as_of}, which is newer"));
            }
            locked.locks.push(lock);
        }
        locked.at = self.clock.now();
        Ok(locked)
    }

    async fn lock(&self, case: &Case, name: &Name) -> Result<(Lock, Transition), StoreError> {
        for _ in 0..MAX_RACES {
            let read = self.locks.read(std::slice::from_ref(name)).await?;
            let lock = read.into_iter().next().unwrap_or_else(|| Lock::none(name.clone()));
            let transition = lock.apply(&case.signal, &case.about.label());
            match &transition {
                Transition::Changed(next) if self.is_rehearsal(case) => return Ok((next.clone(), transition)),
                Transition::Changed(next) => {
                    if self.locks.write(next).await? == Write::Stored {
                        tracing::info!(subject = %name, version = next.version, "lock written");
                        return Ok((next.clone(), transition));
                    }
                }
                Transition::Unchanged | Transition::Superseded { .. } => return Ok((lock, transition)),
            }
        }
        Err(StoreError::busy(name.as_str()))
    }

    /// Records, before anything is ended, what is about to be done. A rehearsal does nothing and records its end only.
    pub(super) async fn request(&self, case: &Case, names: &[Name], scope: &Scope) -> Result<(), StoreError> {
        if self.is_rehearsal(case) {
            return Ok(());
        }
        let mut detail = self.circumstances(case, names);
        let endpoints: Vec<&str> = scope.endpoints.iter().map(|(_, endpoint)| endpoint.id.as_str()).collect();
        detail.insert("endpoints".to_owned(), json!(endpoints));
        let draft = Draft::new(&case.signal, &case.chain(), Kind::Requested, self.clock.now(), detail);
        append(&*self.trail, &draft).await.map(|_| ())
    }

    /// What every entry about a case says.
    pub(super) fn circumstances(&self, case: &Case, names: &[Name]) -> Map<String, Value> {
        let signal = &case.signal;
        let mut detail = Map::new();
        detail.insert("action".to_owned(), json!(signal.action));
        detail.insert("mode".to_owned(), json!(self.mode(case)));
        if let Some(replay) = &signal.replay {
            detail.insert("replay".to_owned(), json!(replay));
        }
        detail.insert("names".to_owned(), json!(names));
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

fn refused(refusal: &Refusal) -> Verdict {
    let mut verdict = Verdict::because(Outcome::Refused, refusal);
    verdict.detail.insert("refusal".to_owned(), json!(refusal.word()));
    verdict
}
