//! Admission: policy first, then the lock, then the `requested` entry. Only after that may a connection be ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use super::ahead::{Ahead, Before};
use super::pursuit::{Goal, Pursuit};
use super::{Admission, Case, Revoker, Run, Scope, Verdict, all_of, refused};
use crate::audit::{Draft, Kind, append_after};
use crate::lock::{Hold, Lock};
use crate::name::PersonId;
use crate::policy::Refusal;
use crate::ports::StoreError;
use crate::receipt::Outcome;
use crate::signal::{About, Action, Authority};
use crate::time::Timestamp;

/// How often a guarded write is tried while others write to the same lock.
pub(super) const MAX_RACES: usize = 16;

/// How long admission may take before those that hang are left for the next attempt, and the others go on.
pub(super) const ADMISSION: Duration = Duration::from_secs(15);

/// How many subjects are admitted, or recorded, at the same time.
pub(super) const SUBJECTS_AT_ONCE: usize = 64;

/// The answer to an id that was used before, for something that is not so now. It changes nothing.
fn used_before(what: &str) -> Admission {
    let why = format!("{what}; nothing was done now. Send a command with an id of its own");
    Admission::Settled(Verdict { repeated: true, ..Verdict::because(Outcome::Superseded, &why) })
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
            let run = run.clone();
            subjects.spawn(async move {
                let _turn = gate.acquire().await;
                let stop_at = revoker.admission_ends(&run);
                let mut admitted = Vec::new();
                for (number, case) in queue {
                    let (case, admission) = revoker.admit_in_time(number, case, &scope, stop_at).await;
                    admitted.push((case, number, admission));
                }
                admitted
            });
        }
        let mut admitted: Vec<_> = all_of(subjects).await.into_iter().flatten().collect();
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
        let work = async move {
            let admission = revoker.admit(number, &mut named, &scope).await;
            (named, admission)
        };
        let stuck = |why: &str| Admission::Settled(Verdict::because(Outcome::Incomplete, why));
        match self.guarded(stop_at, span, work).await {
            Ok((named, Ok(admission))) => (named, admission),
            Ok((named, Err(error))) => (named, stuck(&error.to_string())),
            Err(lost) => (case, stuck(&lost.why("it could not be locked and recorded in time"))),
        }
    }

    async fn admit(&self, number: usize, case: &mut Case, scope: &OnceCell<Scope>) -> Result<Admission, StoreError> {
        let Ahead { before, lock, head } = match case.ahead.take() {
            Some(ahead) => ahead,
            None => self.read_one(case).await?,
        };
        case.head = head;
        match before {
            Before::Settled(outcome) if !self.is_half_lifted(case, outcome).await? => {
                return self.repeated(case, outcome).await;
            }
            Before::SettledOtherwise(outcome) if !self.is_half_lifted(case, outcome).await? => {
                return Ok(used_before("something else was settled under this id before"));
            }
            Before::Settled(_) | Before::SettledOtherwise(_) | Before::Requested | Before::Nothing => {}
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
            (_, Action::Restore { .. }) => self.restore(case, lock).await,
            (_, Action::Revoke { .. }) => self.revoke(number, case, scope, before, lock).await,
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

    /// The answer to a repeated delivery. It changes nothing, and says nothing that is not so any more: where the lock
    /// was lifted since, or what was let in is locked, somebody who sends the id of an old command again means a new one.
    async fn repeated(&self, case: &Case, outcome: Outcome) -> Result<Admission, StoreError> {
        if let Some(changed) = self.does_not_stand(case, outcome).await? {
            return Ok(used_before(changed));
        }
        let verdict = Verdict::because(outcome, "a repeated delivery: an earlier one was recorded so");
        Ok(Admission::Settled(Verdict { repeated: true, ..verdict }))
    }

    /// Why what a signal came to is not so any more.
    async fn does_not_stand(&self, case: &Case, outcome: Outcome) -> Result<Option<&'static str>, StoreError> {
        Ok(match (&case.signal.action, outcome) {
            (Action::Revoke { .. }, Outcome::Completed) => match self.own_hold(case).await? {
                None => Some("this id was completed before and its lock does not stand"),
                Some(hold) if hold.ends_before(&case.signal) => {
                    Some("this id was completed before, and the lock that stands lapses earlier than is asked for now")
                }
                Some(_) => None,
            },
            (Action::Restore { authorities }, Outcome::Restored) => {
                let held_by = self.held_by(case).await?;
                let meant = |held: &Authority| authorities.as_ref().is_none_or(|meant| meant.contains(held));
                held_by.iter().any(meant).then_some("this id was restored before, and the name was locked since")
            }
            // Completed means that what was connected under the names ended, since the subject was locked.
            (Action::Alias { .. }, Outcome::Completed) if !self.is_held_itself(case).await? => {
                Some("this id was completed before, and the subject was let in since")
            }
            (Action::Alias { names, remove }, _) => {
                let given = match case.subject() {
                    Some(subject) => self.aliases.names(std::slice::from_ref(subject.name())).await,
                    None => Vec::new(),
                };
                let given = given.into_iter().next().transpose()?.unwrap_or_default();
                let differs = names.iter().any(|name| given.contains(name) == *remove);
                differs.then_some("this id changed other names before, or they were changed since")
            }
            (Action::CloseBreaker, Outcome::Restored) => match &case.about {
                About::Breaker(authority) => {
                    let standing = self.brake.standing(authority).await?;
                    standing.opened_at.map(|_| "this id closed the breaker before, and it opened since")
                }
                _ => None,
            },
            _ => None,
        })
    }

    /// The hold by which the signal's authority keeps the subject out: on its own name, and not because of somebody else
    /// only to whom that was given.
    async fn own_hold(&self, case: &Case) -> Result<Option<Hold>, StoreError> {
        let (authority, now) = (&case.signal.authority, self.clock.now());
        let Some(own) = case.names.first() else { return Ok(None) };
        let lock = self.lock_of(own).await?;
        let held = lock.hold_of(authority).filter(|hold| hold.in_force(now) && lock.own_lifted_at(authority).is_none());
        Ok(held.cloned())
    }

    /// Whether the subject's own name is kept out as that, and not only as another's to whom it was given.
    async fn is_held_itself(&self, case: &Case) -> Result<bool, StoreError> {
        let Some(own) = case.names.first() else { return Ok(false) };
        let lock = self.lock_of(own).await?;
        let others = self.others_called(own, &lock).await?;
        Ok(lock.without_subjects(&others).in_force(self.clock.now()))
    }

    /// Who keeps the subject's own name out.
    async fn held_by(&self, case: &Case) -> Result<Vec<Authority>, StoreError> {
        let Some(own) = case.names.first() else { return Ok(Vec::new()) };
        Ok(self.lock_of(own).await?.held_by(self.clock.now()))
    }

    async fn revoke(
        &self,
        number: usize,
        case: &mut Case,
        scope: &OnceCell<Scope>,
        before: Before,
        lock: Option<Lock>,
    ) -> Result<Admission, StoreError> {
        let requested = before == Before::Requested;
        // The endpoints are asked for beside the lock, not before it: the lock must not wait for EC2.
        let (locked, scope) = tokio::join!(self.lock_once(case, requested, lock), self.scope_once(scope));
        let locked = locked?;
        if let Some(verdict) = locked.stopped {
            return Ok(Admission::Settled(verdict));
        }
        self.request(case, scope).await?;
        let goal = Goal::Locked { names: case.named() };
        Ok(Admission::Pursue(Box::new(Pursuit::new(number, goal, case, self.is_rehearsal(case), locked.at))))
    }

    async fn disconnect(
        &self,
        number: usize,
        case: &mut Case,
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
            _ => Goal::Existing { names: case.names.clone(), cutoff: case.signal.as_of },
        };
        self.request(case, scope).await?;
        Ok(Admission::Pursue(Box::new(Pursuit::new(number, goal, case, self.is_rehearsal(case), self.clock.now()))))
    }

    async fn restore(&self, case: &mut Case, lock: Option<Lock>) -> Result<Admission, StoreError> {
        let locked = self.apply_to_all(case, lock).await?;
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

    /// Whether a restore is recorded as settled and is not finished: it was said again under its id, lifted something then,
    /// and was cut off, while an older copy of it was recorded. Its further names are still to be lifted.
    async fn is_half_lifted(&self, case: &Case, outcome: Outcome) -> Result<bool, StoreError> {
        let is_restore = matches!(case.signal.action, Action::Restore { .. });
        let Some(subject) = case.subject().filter(|_| is_restore) else { return Ok(false) };
        let own = self.lock_of(subject.name()).await?;
        let is_its = |hold: &Hold| !hold.is_locked() && hold.signal_id == case.signal.id;
        if outcome == Outcome::Superseded {
            return Ok(own.holds.values().any(is_its));
        }
        let further = own.further_names(|_, hold| is_its(hold));
        if further.is_empty() {
            return Ok(false);
        }
        let person = case.signal.person(&case.about.label());
        let locks = self.locks.read(&further).await?;
        let is_left = |(authority, lifted): (&Authority, &Hold)| {
            let holds = locks.iter().filter_map(|lock| lock.hold_of(authority));
            let mut of_subject = holds.filter(|hold| hold.is_locked() && hold.about().as_ref() == Some(subject.name()));
            of_subject.any(|hold| hold.as_of < lifted.as_of && !PersonId::differ(hold.person.as_ref(), person))
        };
        Ok(own.holds.iter().filter(|(_, hold)| is_its(hold)).any(is_left))
    }

    /// Lets an authority speak again.
    async fn close_breaker(&self, case: &Case, authority: &Authority) -> Result<Admission, StoreError> {
        // One whose standing can't be read is closed all the same.
        let opened_at = self.brake.standing(authority).await.map(|standing| standing.opened_at);
        if matches!(opened_at, Ok(Some(opened_at)) if opened_at > case.signal.as_of) {
            let why = "the breaker opened since this was said, which may have closed it before; nothing was done now. Send a command with an id of its own";
            return Ok(Admission::Settled(Verdict::because(Outcome::Superseded, why)));
        }
        let was_open = opened_at.map_or(true, |opened_at| opened_at.is_some());
        if !self.is_rehearsal(case) {
            self.brake.close(authority).await?;
        }
        let what = if self.is_rehearsal(case) {
            "it would be closed, and count from zero; nothing was changed"
        } else if was_open {
            "the breaker is closed, and counts from zero; what was refused is done when it is tried again"
        } else {
            "no breaker was open under this authority; it counts from zero. A `refused` entry says whose is open"
        };
        Ok(Admission::Settled(Verdict::because(Outcome::Restored, what)))
    }

    /// Records, before anything is ended, what is about to be done. A rehearsal does nothing and records its end only.
    pub(super) async fn request(&self, case: &mut Case, scope: &Scope) -> Result<(), StoreError> {
        if self.is_rehearsal(case) {
            return Ok(());
        }
        let mut detail = self.circumstances(case);
        let endpoints: Vec<&str> = scope.endpoints.iter().map(|(_, endpoint)| endpoint.id.as_str()).collect();
        detail.insert("endpoints".to_owned(), json!(endpoints));
        let draft = Draft::new(&case.signal, &case.chain(), Kind::Requested, self.clock.now(), detail);
        let (_, head) = append_after(&*self.trail, &draft, case.head.take()).await?;
        case.head = head;
        Ok(())
    }
}
