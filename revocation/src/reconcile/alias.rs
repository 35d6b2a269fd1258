//! By which names a subject is known: by rule of its domain, by explicit decision, and by the directory's word.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tokio::sync::OnceCell;

use super::admit::{ADMISSION, MAX_RACES};
use super::pursuit::{Goal, Pursuit};
use super::{Admission, Case, Revoker, Run, Scope, Verdict, in_own_task, refused};
use crate::lock::{Hold, Lock, Transition};
use crate::name::{Name, Subject};
use crate::planted::{self, Fault};
use crate::policy::Refusal;
use crate::ports::{Given, StoreError, Write};
use crate::receipt::Outcome;
use crate::signal::{About, Action, Authority};

/// The explicit aliases of names, each with its own failure.
type Explicit = BTreeMap<Name, Result<Vec<Name>, StoreError>>;

impl Revoker {
    /// Finds every subject's names. One whose names can't all be known is not half locked: it is tried again.
    pub(super) async fn name_all(&self, cases: &mut [Case], run: &Run) {
        for case in cases.iter_mut() {
            case.names = self.names_by_rule(case);
        }
        let wanted: BTreeSet<Name> = cases.iter().flat_map(|case| case.names.iter().cloned()).collect();
        let explicit = self.explicit_in_time(wanted.into_iter().collect(), run).await;
        for case in cases.iter_mut() {
            if let Err(error) = case.add_explicit(&explicit) {
                case.stuck = Some(Verdict::because(Outcome::Incomplete, &error));
            }
        }
    }

    /// A subject's own name, those that the directory gave, and those that follow from any of them by rule.
    ///
    /// A protected name that only the directory gave, or that follows from what it gave, is left alone and does not protect
    /// the person; nor is anything the person's that follows from a protected one.
    fn names_by_rule(&self, case: &Case) -> Vec<Name> {
        let Some(subject) = case.subject() else { return Vec::new() };
        let own = subject.name();
        let mut names = vec![own.clone()];
        add(&mut names, self.policy.aliases.names(own));
        let is_free = |name: &Name| !self.policy.protected.covers(name);
        let given = subject.also().iter().filter(|name| is_free(name));
        add(&mut names, given.flat_map(|name| self.policy.aliases.names(name)).filter(is_free));
        names
    }

    async fn explicit_in_time(&self, wanted: Vec<Name>, run: &Run) -> Explicit {
        if wanted.is_empty() {
            return Explicit::new();
        }
        let stop_at = run.stop_at.min(self.clock.now().plus(ADMISSION));
        let (aliases, names) = (self.aliases.clone(), wanted.clone());
        let work = in_own_task(tracing::Span::current(), async move { aliases.names(&names).await });
        let read = tokio::select! {
            biased;
            read = work => read.ok_or_else(|| StoreError::away("the aliases", "a fault of ours")),
            () = self.clock.reached(stop_at) => Err(StoreError::away("the aliases", "no answer came in time")),
        };
        match read {
            Ok(given) => wanted.into_iter().zip(given).collect(),
            Err(error) => wanted.into_iter().map(|name| (name, Err(error.clone()))).collect(),
        }
    }

    /// Adds the names that were given since, and says whether there were any.
    pub(super) async fn name_again(&self, case: &mut Case) -> Result<bool, StoreError> {
        // Those of names that were given, or that somebody else has by now, are none of the subject's.
        let asked = self.names_by_rule(case);
        let given = self.aliases.names(&asked).await;
        let explicit: Explicit = asked.into_iter().zip(given).collect();
        let (known, remembered) = (case.names.len(), case.remembered.len());
        let named = explicit.values().flatten().flatten();
        let given_again: BTreeSet<&Name> = named.filter(|name| case.remembered.contains(name)).collect();
        case.remembered.retain(|name| !given_again.contains(name));
        case.others.retain(|name| !given_again.contains(name));
        case.add_explicit(&explicit)?;
        Ok(case.names.len() > known || case.remembered.len() < remembered)
    }

    /// Changes what else a subject is called. Where names are given to one who is locked, they are locked as well, and
    /// what is connected under them ends.
    pub(super) async fn alias(
        &self,
        number: usize,
        case: &mut Case,
        subject: &Subject,
        scope: &OnceCell<Scope>,
    ) -> Result<Admission, StoreError> {
        let signal = std::sync::Arc::clone(&case.signal);
        let Action::Alias { names, remove } = &signal.action else {
            return Ok(Admission::Settled(Verdict::new(Outcome::Refused)));
        };
        let scope = self.scope_once(scope).await;
        self.request(case, scope).await?;
        let settled = |why: &str| Ok(Admission::Settled(Verdict::because(Outcome::Aliased, why)));
        let rehearsed = self.is_rehearsal(case);
        if *remove {
            if !rehearsed {
                self.aliases.take(subject.name(), names).await?;
            }
            let by_rule = self.names_by_rule(case);
            let still: Vec<&str> = names.iter().filter(|name| by_rule.contains(name)).map(Name::as_str).collect();
            return match still.as_slice() {
                [] => {
                    settled("the names are no more the subject's; a lock on them stands until the subject is restored")
                }
                still => {
                    settled(&format!("{} follow from VPN_REVOKER_ALIASES and stay the subject's", still.join(", ")))
                }
            };
        }
        if !rehearsed && let Given::Taken { name, by } = self.aliases.give(subject.name(), names).await? {
            return Ok(Admission::Settled(refused(&Refusal::AnothersName { name, by })));
        }
        add(&mut case.names, names.clone());
        match self.extend_lock(subject.name(), &case.further(), names, rehearsed).await? {
            false => {
                settled("nothing that was said of the subject is in force; the names count from its next revocation on")
            }
            true => {
                // What is recorded as completed is so for the subject, and not for the new names alone.
                let goal = Goal::Locked { names: case.named() };
                let pursuit = Pursuit::new(number, goal, case, rehearsed, self.clock.now());
                Ok(Admission::Pursue(Box::new(pursuit)))
            }
        }
    }

    /// Brings what is in force on a subject's own name to further names, some of which are `given` only now; says whether
    /// anything is.
    ///
    /// The own name's lock is told of them first, so that whoever lifts it lifts them too, and looked at again at the
    /// end, since it may have been lifted meanwhile.
    ///
    /// What is said there of others, to whom the subject's own name was given as a further one, goes no further: names
    /// that are given to a further name are not theirs, whichever was given first.
    async fn extend_lock(
        &self,
        own: &Name,
        further: &[Name],
        given: &[Name],
        rehearsed: bool,
    ) -> Result<bool, StoreError> {
        for _ in 0..MAX_RACES {
            let now = self.clock.now();
            let lock = self.lock_of(own).await?;
            let others = self.others_called(own, &lock).await?;
            let is_held = lock.without(&others).in_force(now);
            if rehearsed || !is_held || planted::is(Fault::GiveWithoutLocking) {
                return Ok(is_held);
            }
            let told = match lock.extend(further, &others, now) {
                Transition::Changed(next) if self.locks.write(&next).await? == Write::Conflict => continue,
                Transition::Changed(next) => next,
                Transition::Unchanged | Transition::Superseded { .. } => lock,
            };
            for name in further {
                self.follow(&told.without(&others), name, given.contains(name)).await?;
            }
            if self.lock_of(own).await?.version == told.version {
                return Ok(true);
            }
        }
        Err(StoreError::busy(own.as_str()))
    }

    /// Those subjects that a lock speaks of and that are not called so by themselves.
    async fn others_called(&self, name: &Name, lock: &Lock) -> Result<BTreeSet<Name>, StoreError> {
        let mut others: BTreeSet<Name> = lock.holds.values().filter_map(Hold::about).collect();
        for subject in others.clone() {
            if self.is_called(&subject, name).await? {
                others.remove(&subject);
            }
        }
        Ok(others)
    }

    /// Whether a name is the subject's own, or one that follows from it by rule or by the directory's word. A name that
    /// was given to it is none such, and may be taken away again.
    async fn is_called(&self, subject: &Name, name: &Name) -> Result<bool, StoreError> {
        let by_rule = |subject: &Name| self.policy.aliases.names(subject).contains(name);
        if by_rule(subject) {
            return Ok(true);
        }
        let Some(people) = &self.people else { return Ok(false) };
        let Some(id) = people.known.by_name(subject).await? else { return Ok(false) };
        // Former names are among them, and those that somebody else has by now are not.
        let found = people.look(&id, false).await.map_err(|error| StoreError::away("the directory", &error))?;
        Ok(found.person.names.iter().filter_map(|own| Name::new(own).ok()).any(|own| by_rule(&own)))
    }

    /// Whether a subject has a name: is called so by itself, or was given it.
    async fn has(&self, subject: &Name, name: &Name) -> Result<bool, StoreError> {
        if self.is_called(subject, name).await? {
            return Ok(true);
        }
        for given in self.aliases.names(&self.policy.aliases.names(subject)).await {
            if given?.contains(name) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A lock as if these authorities had said nothing, where what they lifted there was about somebody who does not have
    /// the name any more.
    pub(super) async fn without_former(
        &self,
        lock: Lock,
        authorities: &[Authority],
        subject: &Name,
    ) -> Result<Lock, StoreError> {
        let mut former = Vec::new();
        for authority in authorities {
            if let Some(other) = lock.lifted_of_another(authority, subject)
                && !self.has(&other, &lock.name).await?
            {
                former.push(authority.clone());
            }
        }
        Ok(if former.is_empty() { lock } else { lock.without_words_of(&former) })
    }

    /// Lets a name follow its subject's own, unless that was written since: then whoever asks begins again with what
    /// stands there now. A restore writes the own name first, so that none is missed.
    ///
    /// What was lifted here since stands, whoever it was said of, unless the name `is_given` only now.
    pub(super) async fn follow(&self, own: &Lock, name: &Name, is_given: bool) -> Result<(), StoreError> {
        for _ in 0..MAX_RACES {
            let authorities: Vec<Authority> = own.holds.keys().cloned().collect();
            let lock = self.without_former(self.lock_of(name).await?, &authorities, &own.name).await?;
            let lifted = authorities.iter().filter(|authority| !is_given && lock.was_lifted_since(own, authority));
            match lock.follow(&own.without_words_of(&lifted.cloned().collect::<Vec<_>>()), self.clock.now()) {
                Transition::Changed(next) => {
                    if self.lock_of(&own.name).await?.version != own.version {
                        return Ok(());
                    }
                    if self.locks.write(&next).await? == Write::Stored {
                        tracing::info!(subject = %name, version = next.version, "lock follows another name's");
                        return Ok(());
                    }
                }
                Transition::Unchanged | Transition::Superseded { .. } => return Ok(()),
            }
        }
        Err(StoreError::busy(name.as_str()))
    }

    pub(super) async fn lock_of(&self, name: &Name) -> Result<Lock, StoreError> {
        let read = self.locks.read(std::slice::from_ref(name)).await?;
        Ok(read.into_iter().next().unwrap_or_else(|| Lock::none(name.clone())))
    }
}

/// Adds names that are not there yet.
pub(super) fn add(names: &mut Vec<Name>, more: impl IntoIterator<Item = Name>) {
    for name in more {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

impl Case {
    pub(super) fn subject(&self) -> Option<&Subject> {
        match &self.about {
            About::Subject(subject) => Some(subject),
            About::Connection(..) | About::Unresolved { .. } | About::Breaker(_) => None,
        }
    }

    /// Adds the explicit aliases of the names there are; not those of these in turn.
    fn add_explicit(&mut self, explicit: &Explicit) -> Result<(), StoreError> {
        let mut given = Vec::new();
        for name in &self.names {
            match explicit.get(name) {
                Some(Ok(names)) => given.extend(names.iter().cloned()),
                Some(Err(error)) => return Err(error.clone()),
                None => {}
            }
        }
        add(&mut self.names, given);
        Ok(())
    }

    /// What was given or taken, for the entries about it.
    pub(super) fn note_alias(&self, detail: &mut serde_json::Map<String, serde_json::Value>) {
        if let Action::Alias { names, remove } = &self.signal.action {
            detail.insert(if *remove { "taken" } else { "given" }.to_owned(), json!(names));
        }
    }
}
