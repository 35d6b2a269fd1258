//! By which names a subject is known: by rule of its domain, by explicit decision, and by the directory's word.

use std::collections::BTreeMap;

use tokio::sync::OnceCell;

use super::admit::{ADMISSION, MAX_RACES};
use super::pursuit::{Goal, Pursuit};
use super::{Admission, Case, Revoker, Run, Scope, Verdict};
use crate::lock::{Lock, Transition};
use crate::name::{Name, Subject};
use crate::ports::{StoreError, Write};
use crate::receipt::Outcome;
use crate::signal::{About, Action};

impl Revoker {
    /// Finds every subject's names. One whose names can't all be known is not half locked: it is tried again.
    pub(super) async fn name_all(&self, cases: &mut [Case], run: &Run) {
        let mut subjects: Vec<Name> = cases.iter().filter_map(|case| Some(case.subject()?.name().clone())).collect();
        subjects.sort();
        subjects.dedup();
        if subjects.is_empty() {
            return;
        }
        let stop_at = run.stop_at.min(self.clock.now().plus(ADMISSION));
        let read = tokio::select! {
            biased;
            read = self.aliases.names(&subjects) => read,
            () = self.clock.reached(stop_at) => Err(StoreError::away("the aliases", "no answer came in time")),
        };
        let given: BTreeMap<Name, Vec<Name>> = match read {
            Ok(given) => subjects.into_iter().zip(given).collect(),
            Err(error) => {
                let unnamed = cases.iter_mut().filter(|case| case.subject().is_some());
                unnamed.for_each(|case| case.stuck = Some(Verdict::because(Outcome::Incomplete, &error)));
                return;
            }
        };
        for case in cases {
            let Some(subject) = case.subject() else { continue };
            let mut names = self.policy.aliases.names(subject);
            let explicit = given.get(subject.name()).into_iter().flatten();
            let asked = match &case.signal.action {
                Action::Alias { names, .. } => names.as_slice(),
                _ => &[],
            };
            for name in subject.also().iter().chain(explicit).chain(asked) {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            case.names = names;
        }
    }

    /// Gives a subject further names. Where the subject is locked, so are they, and what is connected under them ends.
    pub(super) async fn alias(
        &self,
        number: usize,
        case: &Case,
        subject: &Subject,
        (given, remove): (&[Name], bool),
        scope: &OnceCell<Scope>,
    ) -> Result<Admission, StoreError> {
        let rehearsed = self.is_rehearsal(case);
        if !rehearsed {
            self.aliases.change(subject.name(), given, remove).await?;
        }
        let settled = |why: &str| Ok(Admission::Settled(Verdict::because(Outcome::Planned, why)));
        if remove {
            self.note(case, scope).await?;
            return settled("these are the subject's names no more; a lock on them stands until it is restored");
        }
        let now = self.clock.now();
        let read = self.locks.read(std::slice::from_ref(subject.name())).await?;
        let Some(lock) = read.into_iter().next().filter(|lock| lock.in_force(now)) else {
            self.note(case, scope).await?;
            return settled("the subject is not locked; the names count from its next revocation on");
        };
        if !rehearsed {
            for name in given {
                self.extend(&lock, name).await?;
            }
        }
        let scope = self.scope_once(scope).await;
        self.request(case, &case.names, scope).await?;
        let goal = Goal::Locked { names: given.to_vec() };
        Ok(Admission::Pursue(Box::new(Pursuit::new(number, goal, case, rehearsed, self.clock.now()))))
    }

    /// Records that names were given or taken, where nothing follows from it now.
    async fn note(&self, case: &Case, scope: &OnceCell<Scope>) -> Result<(), StoreError> {
        let scope = self.scope_once(scope).await;
        self.request(case, &case.names, scope).await
    }

    /// Brings what is in force on a subject's own name to another of its names.
    async fn extend(&self, from: &Lock, name: &Name) -> Result<(), StoreError> {
        for _ in 0..MAX_RACES {
            let read = self.locks.read(std::slice::from_ref(name)).await?;
            let lock = read.into_iter().next().unwrap_or_else(|| Lock::none(name.clone()));
            match lock.take_over(from, self.clock.now()) {
                Transition::Changed(next) => {
                    if self.locks.write(&next).await? == Write::Stored {
                        tracing::info!(subject = %name, version = next.version, "lock extended");
                        return Ok(());
                    }
                }
                Transition::Unchanged | Transition::Superseded { .. } => return Ok(()),
            }
        }
        Err(StoreError::busy(name.as_str()))
    }
}

impl Case {
    fn subject(&self) -> Option<&Subject> {
        match &self.about {
            About::Subject(subject) => Some(subject),
            About::Connection(..) | About::Unresolved { .. } => None,
        }
    }
}
