//! By which names a subject is known: by rule of its domain, by explicit decision, and by the directory's word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::pursuit::{Goal, Pursuit};
use super::{Admission, Case, Revoker, Run, Scope, Verdict, refused};
use crate::name::{Name, Subject};
use crate::policy::Refusal;
use crate::ports::{Given, StoreError};
use crate::receipt::Outcome;
use crate::signal::Action;

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

    /// A subject's own name, those that the directory or the event gave beside it, and those that follow from any of them
    /// by rule.
    ///
    /// A protected name that was only given beside it, or that follows from such a one, is left alone and does not protect
    /// the person; nor is anything the person's that follows from a protected one, or that the directory knows to be
    /// somebody else's.
    pub(super) fn names_by_rule(&self, case: &Case) -> Vec<Name> {
        let Some(subject) = case.subject() else { return Vec::new() };
        let own = subject.name();
        let mut names = vec![own.clone()];
        add(&mut names, self.policy.aliases.names(own));
        let is_free = |name: &Name| !self.policy.protected.covers(name);
        let given = subject.also().iter().filter(|name| is_free(name));
        add(&mut names, given.flat_map(|name| self.policy.aliases.names(name)).filter(is_free));
        names.retain(|name| !subject.others().contains(name));
        names
    }

    async fn explicit_in_time(&self, wanted: Vec<Name>, run: &Run) -> Explicit {
        if wanted.is_empty() {
            return Explicit::new();
        }
        let (aliases, names) = (self.aliases.clone(), wanted.clone());
        let read = async move { aliases.names(&names).await };
        match self.guarded(self.admission_ends(run), tracing::Span::current(), read).await {
            Ok(given) => wanted.into_iter().zip(given).collect(),
            Err(lost) => {
                let error = StoreError::away("the aliases", lost.what("no answer came in time"));
                wanted.into_iter().map(|name| (name, Err(error.clone()))).collect()
            }
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
        case.lost.retain(|name| !given_again.contains(name));
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
        let signal = Arc::clone(&case.signal);
        let Action::Alias { names, remove } = &signal.action else {
            return Ok(Admission::Settled(Verdict::new(Outcome::Refused)));
        };
        let scope = self.scope_once(scope).await;
        self.request(case, scope).await?;
        let settled = |why: &str| Ok(Admission::Settled(Verdict::because(Outcome::Aliased, why)));
        if *remove {
            return settled(&self.take_names(case, names).await?);
        }
        let rehearsed = self.is_rehearsal(case);
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

    /// Takes names away from a subject, by whichever of its own it was given them, and says what came of it.
    async fn take_names(&self, case: &Case, names: &[Name]) -> Result<String, StoreError> {
        let own = self.names_by_rule(case);
        let mut given = BTreeMap::new();
        for (to, names) in own.iter().zip(self.aliases.names(&own).await) {
            given.extend(names?.into_iter().map(|name| (name, to)));
        }
        if !self.is_rehearsal(case) {
            for own in &own {
                self.aliases.take(own, names).await?;
            }
        }
        let all_that = |is: &dyn Fn(&Name) -> bool| {
            let said = |name: &Name| match given.get(name).filter(|to| Some(**to) != own.first()) {
                Some(to) => format!("{name} (given to {to})"),
                None => name.to_string(),
            };
            let found: Vec<String> = names.iter().filter(|name| is(name)).map(said).collect();
            (!found.is_empty()).then(|| found.join(", "))
        };
        let taken = all_that(&|name| given.contains_key(name)).map(|taken| {
            format!("{taken}: no more the subject's; a lock that stands there stays until it is restored")
        });
        let by_rule = all_that(&|name| own.contains(name))
            .map(|still| format!("{still}: by VPN_REVOKER_ALIASES, and still the subject's"));
        let unknown = all_that(&|name| !given.contains_key(name) && !own.contains(name)).map(|unknown| {
            format!(
                "{unknown}: not given to the subject by any name of its own that is known here, or taken away before"
            )
        });
        Ok([taken, by_rule, unknown].into_iter().flatten().collect::<Vec<_>>().join("; "))
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
}
