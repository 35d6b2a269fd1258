//! Applies a signal to the locks of a subject's names: its own name first, then the others, past the circuit breaker.

use std::collections::BTreeSet;

use super::admit::MAX_RACES;
use super::{Case, Revoker, Verdict, refused};
use crate::breaker::{Counted, Passage};
use crate::lock::{Hold, Lock, Transition};
use crate::name::Name;
use crate::planted::{self, Fault};
use crate::policy::Refusal;
use crate::ports::{StoreError, Write};
use crate::receipt::Outcome;
use crate::signal::{Action, Authority, Signal};
use crate::time::Timestamp;

/// What became of the locks on a subject's names.
pub(super) struct Applied {
    /// The locks as they now stand.
    pub(super) locks: Vec<Lock>,
    /// Where nothing was locked: a newer statement stands against this one, or the circuit breaker is open.
    pub(super) stopped: Option<Verdict>,
    /// When the last of them was known to be durable.
    pub(super) at: Timestamp,
}

/// What became of the lock on a subject's own name.
enum OwnName {
    Applied {
        lock: Lock,
        transition: Transition,
        /// When what the authority had said before was lifted, if it was.
        lifted_at: Option<Timestamp>,
    },
    Braked(Refusal),
}

impl Revoker {
    /// Locks the names, unless an earlier attempt has: what was lifted since then is not locked again.
    ///
    /// What was read ahead of the own lock may be older than the earlier attempt, so that is asked for anew.
    pub(super) async fn lock_once(
        &self,
        case: &mut Case,
        requested_before: bool,
        read_ahead: Option<Lock>,
    ) -> Result<Applied, StoreError> {
        if !requested_before {
            return self.apply_to_all(case, read_ahead).await;
        }
        let mut applied = Applied { locks: Vec::new(), stopped: None, at: self.clock.now() };
        let Some(own) = case.names.first().cloned() else { return Ok(applied) };
        let lock = self.lock_of(&own).await?;
        // A revocation writes its lock before its marker: where there is no hold, the marker was another action's. (Old markers
        // do not say which.)
        if lock.hold_of(&case.signal.authority).is_none() {
            return self.apply_to_all(case, None).await;
        }
        let authority = case.signal.authority.clone();
        // It locked the name by itself, so that it was let in since where that is remembered.
        if lock.own_lifted_at(&authority).is_some() || !lock.held_by(self.clock.now()).contains(&authority) {
            let why = "the lock was lifted, or lapsed, since this id was requested; to lock again, send a command with an id of its own";
            applied.stopped = Some(Verdict::because(Outcome::Superseded, why));
            return Ok(applied);
        }
        if let Some(hold) = lock.hold_of(&authority).filter(|hold| hold.ends_before(&case.signal)) {
            // Not for good where the hold is by this very id: what was begun so may be tried again, and is to be finished.
            let why = "this id asks for a longer lock than the one that stands; to lock for longer, send a command with an id of its own";
            let repeated = hold.signal_id == case.signal.id;
            applied.stopped = Some(Verdict { repeated, ..Verdict::because(Outcome::Superseded, why) });
            return Ok(applied);
        }
        // By now the subject may be called otherwise. What was locked before is pursued as well, and what is new is
        // locked: as the own name is by now, which may be by a later word that is to lapse.
        case.remember(lock.further_names(|other, _| *other == authority));
        let further = case.further();
        self.carry_on_from_own(case, &own, &further).await?;
        for name in further {
            let (lock, now) = (self.lock_of(&name).await?, self.clock.now());
            // What was the subject's before, and is kept out because of somebody else by now.
            let is_theirs = |hold: &Hold| hold.in_force(now) && hold.about().as_ref() == Some(&own);
            let is_others = case.remembered.contains(&name) && !lock.hold_of(&authority).is_some_and(is_theirs);
            // A rehearsal has not locked what a retry would lock.
            let is_told = !self.is_rehearsal(case) || lock.hold_of(&authority).is_some();
            if is_told && !lock.in_force(now) {
                case.let_in.push(name);
            } else if is_others {
                case.lost.push(name);
            }
        }
        applied.at = self.clock.now();
        Ok(applied)
    }

    /// Brings the subject's names to where the own name's lock is by now, and tells that of all further ones; looks again
    /// at the end, since it may have been lifted meanwhile. What it may not have any more is not locked anew.
    async fn carry_on_from_own(&self, case: &Case, own: &Name, further: &[Name]) -> Result<(), StoreError> {
        let authority = &case.signal.authority;
        for _ in 0..MAX_RACES {
            let told = self.change_lock(case, own, |lock| Some(lock.extend_hold_of(authority, further))).await?;
            let Some((told, _)) = told.filter(|_| !self.is_rehearsal(case)) else { return Ok(()) };
            // Lifted since, and what keeps it out by now is about somebody else.
            let is_anothers = told.hold_of(authority).is_some_and(Hold::is_locked);
            if is_anothers && told.own_lifted_at(authority).is_some() {
                return Ok(());
            }
            let said = told.only_hold_of(authority, &case.about.label());
            for name in further.iter().filter(|name| !case.remembered.contains(name)) {
                self.follow(&said, name, false).await?;
            }
            if self.lock_of(own).await?.version == told.version {
                return Ok(());
            }
        }
        Err(StoreError::busy(own.as_str()))
    }

    /// A lock as it counts for a revocation: what its authority lifted there of somebody who does not have the name any
    /// more stands neither for the subject nor against it.
    async fn as_it_counts(&self, case: &Case, lock: Lock) -> Result<Lock, StoreError> {
        let (Action::Revoke { .. }, Some(own)) = (&case.signal.action, case.names.first()) else { return Ok(lock) };
        self.without_former(lock, std::slice::from_ref(&case.signal.authority), own).await
    }

    /// Brings the lock of every name to where the signal wants it: the subject's own first, which remembers the others.
    ///
    /// The own name decides: where a newer statement stands against this one there, nothing is changed. Another name
    /// against which one stands is left as it is, and so is one that the subject had before where what stands there is
    /// about somebody else. What was read ahead of the own lock saves a round trip.
    pub(super) async fn apply_to_all(
        &self,
        case: &mut Case,
        mut read_ahead: Option<Lock>,
    ) -> Result<Applied, StoreError> {
        let mut applied = Applied { locks: Vec::new(), stopped: None, at: self.clock.now() };
        let Some(own) = case.names.first().cloned() else { return Ok(applied) };
        let is_restore = matches!(case.signal.action, Action::Restore { .. });
        let (mut done, mut lifted_at) = (BTreeSet::<Name>::new(), None);
        for _ in 0..MAX_RACES {
            let is_ahead = read_ahead.is_some();
            let lock = match read_ahead.take() {
                Some(lock) => lock,
                None => self.lock_of(&own).await?,
            };
            let is_old = |hold: &Hold| !hold.is_locked() && hold.as_of <= case.signal.as_of;
            if !is_restore
                && lock.hold_of(&case.signal.authority).is_none_or(is_old)
                && let Some(why) = self.let_in_since_as_another(case).await
            {
                applied.stopped = Some(Verdict::because(Outcome::Superseded, &why));
                return Ok(applied);
            }
            self.add_names_of_before(case, &lock);
            let (lock, transition) = match self.apply_to_own(case, lock, is_ahead).await? {
                OwnName::Applied { lock, transition, lifted_at: lifted } => {
                    lifted_at = lifted_at.or(lifted);
                    (lock, transition)
                }
                OwnName::Braked(refusal) => {
                    applied.stopped = Some(refused(&refusal));
                    return Ok(applied);
                }
            };
            if let Transition::Superseded { by, as_of } = transition {
                let why = format!("{by} said otherwise about `{own}` as of {as_of}, which is newer");
                applied.stopped = Some(Verdict::because(Outcome::Superseded, &why));
                applied.locks = vec![lock];
                return Ok(applied);
            }
            // Somebody else may have written since the lock was read first.
            self.add_names_of_before(case, &lock);
            let said = as_of_own(&case.signal, &lock);
            let own_lock = lock.clone();
            applied.locks.push(lock);
            let is_left = |name: &Name| !done.contains(name) && !case.lost.contains(name);
            for name in case.further().into_iter().filter(is_left).collect::<Vec<_>>() {
                match self.apply_to_further(case, &said, (&own_lock, lifted_at), &name).await? {
                    Some((lock, transition)) => {
                        if !is_restore && matches!(transition, Transition::Superseded { .. }) {
                            case.let_in.push(name.clone());
                        }
                        applied.locks.push(lock);
                        done.insert(name);
                    }
                    None => case.lost.push(name),
                }
            }
            // A name that was given while this was under way was looked for in vain by whoever gave it; and where it was
            // given to another of the subject's names, the own lock was told of it.
            let is_told =
                is_restore && !self.is_rehearsal(case) && self.lock_of(&own).await?.version != own_lock.version;
            if !self.name_again(case).await? && !is_told {
                applied.at = self.clock.now();
                return Ok(applied);
            }
        }
        Err(StoreError::busy(own.as_str()))
    }

    /// Whether the same authority has let the very person in since, under a name that was the own one then: where somebody
    /// was renamed meanwhile, nothing on the new name tells that a revocation which comes late is old news. Where that can't
    /// be read, the revocation counts.
    async fn let_in_since_as_another(&self, case: &Case) -> Option<String> {
        let Signal { authority, as_of, .. } = &*case.signal;
        let person = case.signal.person(&case.about.label());
        let names = case.subject().map(|subject| subject.also()).unwrap_or_default();
        if person.is_none() || names.is_empty() {
            return None;
        }
        let locks = self.locks.read(names).await.ok()?;
        // By itself: the restore of somebody else who has the name as well lifts this person's hold there too.
        let let_in = locks.iter().filter_map(|lock| {
            let is_theirs = |hold: &&Hold| {
                !hold.is_locked() && hold.person.as_ref() == person && hold.about().as_ref() == Some(&lock.name)
            };
            let hold = lock.hold_of(authority).filter(is_theirs)?;
            Some((hold.own_lifted_at.filter(|lifted_at| lifted_at > as_of)?, &lock.name))
        });
        let (lifted_at, name) = let_in.max()?;
        Some(format!("{authority} let the same person in as `{name}` as of {lifted_at}, which is newer"))
    }

    /// Adds the names that a hold which this signal is about was said of when it was set, whatever the subject is
    /// called by now.
    fn add_names_of_before(&self, case: &mut Case, lock: &Lock) {
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
        let is_restore = matches!(case.signal.action, Action::Restore { .. });
        if is_restore && planted::is(Fault::ForgetFurtherNames) {
            return;
        }
        case.remember(of_before);
        // What follows from a name by rule may have been locked as the person's before somebody else was called so. A sweep
        // asks about each name by itself, and about whoever has it by now.
        let by_event = is_restore && case.signal.authority != Authority::directory();
        let others = case.subject().filter(|_| by_event).map(|subject| subject.others().to_vec());
        case.remember(others.unwrap_or_default());
    }

    /// Locks the subject's own name, past the circuit breaker where a producer's hold comes into force newly.
    ///
    /// A write is guarded, so that it may follow from what was read ahead. What is decided without one is decided on what
    /// stands now.
    async fn apply_to_own(&self, case: &Case, first: Lock, is_ahead: bool) -> Result<OwnName, StoreError> {
        let further: Vec<Name> = case.further().into_iter().filter(|name| !case.is_to_let_go(name)).collect();
        let own = first.name.clone();
        let mut first = Some(first);
        for _ in 0..MAX_RACES {
            let is_ahead = is_ahead && first.is_some();
            let lock = match first.take() {
                Some(lock) => lock,
                None => self.lock_of(&own).await?,
            };
            let lock = self.as_it_counts(case, lock).await?;
            let said = as_last_received(&case.signal, &lock);
            let transition = lock.apply(&said, &case.about.label(), &further);
            if is_ahead && !matches!(transition, Transition::Changed(_)) {
                continue;
            }
            if let Transition::Changed(next) = &transition
                && let Some(refusal) = self.braked(case, &own, &lock, next).await?
            {
                return Ok(OwnName::Braked(refusal));
            }
            let lifted_at = lifted_before(&case.signal, &lock);
            if let Some((lock, transition)) = self.store(case, lock, transition).await? {
                return Ok(OwnName::Applied { lock, transition, lifted_at });
            }
        }
        Err(StoreError::busy(own.as_str()))
    }

    /// Brings a name's lock to what `change` makes of it, whoever else writes it meanwhile; nothing where that is nothing.
    async fn change_lock(
        &self,
        case: &Case,
        name: &Name,
        change: impl Fn(&Lock) -> Option<Transition>,
    ) -> Result<Option<(Lock, Transition)>, StoreError> {
        for _ in 0..MAX_RACES {
            let lock = self.as_it_counts(case, self.lock_of(name).await?).await?;
            let Some(transition) = change(&lock) else { return Ok(None) };
            if let Some(stored) = self.store(case, lock, transition).await? {
                return Ok(Some(stored));
            }
        }
        Err(StoreError::busy(name.as_str()))
    }

    /// Brings the lock of another of the subject's names there; nothing where the subject was called so only before,
    /// and what stands there now is not about it.
    async fn apply_to_further(
        &self,
        case: &Case,
        signal: &Signal,
        (own, lifted_at): (&Lock, Option<Timestamp>),
        name: &Name,
    ) -> Result<Option<(Lock, Transition)>, StoreError> {
        let subject = case.about.label();
        let is_restore = matches!(signal.action, Action::Restore { .. });
        let by_rule = is_restore && self.names_by_rule(case).contains(name);
        // Nobody but the rule says that it is theirs: it may be the user name of somebody who was deleted.
        let only_by_rule = by_rule && !case.subject().is_some_and(|subject| subject.also().contains(name));
        let meant = signal.person(&subject);
        // What follows from the own name is lifted with it, whoever had both before.
        let signal = &if by_rule { signal.whoever_it_is() } else { signal.clone() };
        let is_remembered = case.remembered.contains(name) && !planted::is(Fault::KeepFormerNames);
        let person = signal.person(&subject);
        let change = |lock: &Lock| {
            if is_restore && is_remembered && case.is_to_let_go(name) {
                return lock.let_go(signal, &subject, &own.name);
            }
            if is_restore {
                let made_good = lock.lifted_with(own, person);
                let is_spared = |authority: &Authority| only_by_rule && lock.is_kept_of_another(authority, meant);
                let transition = match is_remembered {
                    true => made_good.apply_where_about(signal, &subject, &own.name, self.clock.now()),
                    false => Some(made_good.apply(&signal.sparing(is_spared), &subject, &[])),
                };
                return transition.map(|transition| transition.of_stored(lock, made_good));
            }
            if is_remembered {
                return lock.apply_where_about(signal, &subject, &own.name, self.clock.now());
            }
            // A restore that was cut off may have left an older word here.
            let stands = lifted_at.map(|at| lock.without_leftover(&signal.authority, (&own.name, person), at));
            Some(stands.as_ref().unwrap_or(lock).apply(signal, &subject, &[]))
        };
        self.change_lock(case, name, change).await
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
        if planted::is(Fault::NeverCount) {
            return Ok(None);
        }
        if *authority == Authority::command() || self.is_rehearsal(case) || !lock.newly_held(next, authority, now) {
            return Ok(None);
        }
        let counted_as = match planted::is(Fault::CountTwice) {
            false => case.signal.id.clone(),
            true => crate::signal::SignalId::new(&format!("{} at {now}", case.signal.id)),
        };
        let (hold, limit) = (Counted::new(&counted_as, own), self.policy.max_subjects);
        Ok(match self.brake.pass(authority, &hold, limit).await? {
            Passage::Free => None,
            Passage::Open { since } => Some(Refusal::BreakerOpen { authority: authority.clone(), since, limit }),
        })
    }
}

/// When what the authority of a revocation had said of the own name was lifted, if that is how it stands.
fn lifted_before(signal: &Signal, own: &Lock) -> Option<Timestamp> {
    let Action::Revoke { .. } = signal.action else { return None };
    let hold = own.hold_of(&signal.authority)?;
    if hold.is_locked() { hold.own_lifted_at } else { Some(hold.as_of) }
}

/// A restore counts from its latest receipt: a command that comes again as a new message was said again. What it lifted
/// already under the own name tells.
fn as_last_received(signal: &Signal, own: &Lock) -> Signal {
    let its_own = own.holds.values().filter(|hold| hold.signal_id == signal.id);
    match &signal.action {
        Action::Revoke { .. } => signal.clone(),
        _ => Signal { as_of: its_own.map(|hold| hold.as_of).fold(signal.as_of, Timestamp::max), ..signal.clone() },
    }
}

/// A statement as the own name's lock has it once it is written. What was said once must not be of another age, nor end
/// earlier or later, under one name than under another.
fn as_of_own(signal: &Signal, own: &Lock) -> Signal {
    let locked = own.hold_of(&signal.authority).filter(|hold| hold.is_locked());
    match (&signal.action, locked) {
        (Action::Revoke { .. }, Some(hold)) => {
            let as_of = if hold.signal_id == signal.id { hold.as_of } else { signal.as_of };
            Signal { as_of, action: Action::Revoke { expires_at: hold.expires_at }, ..signal.clone() }
        }
        _ => as_last_received(signal, own),
    }
}
