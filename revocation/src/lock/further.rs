//! What a lock makes of somebody's further names: which holds are said of them as well, and how a name that was given
//! to somebody follows the lock of that person's own.

use std::collections::BTreeSet;

use super::{Hold, Lock, Transition};
use crate::name::{Name, PersonId};
use crate::signal::Authority;
use crate::time::Timestamp;

impl Lock {
    /// The same without what is said of some of the subjects.
    #[must_use]
    pub fn without_subjects(&self, subjects: &BTreeSet<Name>) -> Self {
        let mut left = self.clone();
        left.holds.retain(|_, hold| !hold.is_about(subjects));
        left
    }

    /// Adds further names to the hold of one authority. Called on the lock of the subject's own name.
    #[must_use]
    pub fn extend_hold_of(&self, authority: &Authority, further: &[Name]) -> Transition {
        let hold = self.hold_of(authority);
        self.with(hold.map(|hold| (authority.clone(), hold.also(further))))
    }

    /// A copy with the hold of this authority and no other, as a hold about this subject.
    #[must_use]
    pub fn only_hold_of(&self, authority: &Authority, subject: &str) -> Self {
        let hold = self.hold_of(authority).map(|hold| Hold { subject: subject.to_owned(), ..hold.clone() });
        Self { holds: hold.map(|hold| (authority.clone(), hold)).into_iter().collect(), ..self.clone() }
    }

    /// A copy in which what was lifted on the subject's own name is lifted as well, as of when it was there: a restore that
    /// was cut off has left it here, and a later one must not make it younger. What is somebody else's than `person`'s stays.
    #[must_use]
    pub(crate) fn lifted_with(&self, own: &Self, person: Option<&PersonId>) -> Self {
        let mut next = self.clone();
        for (authority, mine) in &mut next.holds {
            let is_left = |lifted: &&Hold| {
                let is_older = mine.is_locked() && mine.as_of < lifted.as_of;
                let is_theirs = !PersonId::differ(mine.person.as_ref(), person.or(lifted.person.as_ref()));
                !lifted.is_locked() && is_older && mine.about() == lifted.about() && is_theirs
            };
            if let Some(lifted) = own.hold_of(authority).filter(is_left) {
                let own_lifted_at = mine.own_lifted_at;
                *mine = Hold { names: mine.names.clone(), own_lifted_at, ..lifted.clone() };
            }
        }
        next
    }

    /// Adds further names to every hold in force. Called on the lock of the subject's own name.
    ///
    /// That name may be a further name of `others` at the same time; holds about them are left as they are.
    #[must_use]
    pub fn extend(&self, further: &[Name], others: &BTreeSet<Name>, now: Timestamp) -> Transition {
        let in_force = self.holds.iter().filter(|(_, hold)| hold.in_force(now) && !hold.is_about(others));
        self.with(in_force.map(|(authority, hold)| (authority.clone(), hold.also(further))).collect::<Vec<_>>())
    }

    /// Follows the lock of the subject's own name, as a name that the subject was given since.
    ///
    /// What is in force there comes into force here, and what was lifted there is lifted here; but what an authority
    /// said later of this name stands. A hold is lengthened and never shortened.
    ///
    /// `own` is to be what stands once this lock was read: an older one may hold what was lifted here and there since.
    #[must_use]
    pub fn follow(&self, own: &Self, now: Timestamp) -> Transition {
        let mut taken = Vec::new();
        for (authority, hold) in &own.holds {
            let hold = Hold { names: Vec::new(), own_lifted_at: None, ..hold.clone() };
            let next = match (self.holds.get(authority), hold.in_force(now)) {
                // Whoever lifts what is said of the subject lifts it on its own name first. Where it stands there now, it
                // was lifted here of somebody else, who has or had the name.
                (Some(mine), true) if !mine.is_locked() && mine.as_of > hold.as_of && mine.about() != hold.about() => {
                    continue;
                }
                (Some(mine), true) if self.needs_no_other(mine, &hold.subject, hold.expires_at) => continue,
                (Some(mine), true) if mine.in_force(now) => {
                    let expires_at = mine.lapses_with(hold.expires_at);
                    let subject = hold.subject.clone();
                    let person = self.person_of(&hold, mine);
                    let newest = if hold.as_of > mine.as_of { hold } else { mine.clone() };
                    Hold { expires_at, subject, person, ..newest.also(&mine.names) }
                }
                (_, true) => hold,
                // Only what was lifted lifts, and only what is said of the same subject here: one that lapsed there must
                // not shorten what stands here, nor may a word about the name by itself go with somebody else's.
                (Some(mine), false)
                    if !hold.is_locked()
                        && mine.in_force(now)
                        && mine.as_of < hold.as_of
                        && mine.about() == hold.about()
                        && !PersonId::differ(mine.person.as_ref(), hold.person.as_ref()) =>
                {
                    hold
                }
                (_, false) => continue,
            };
            taken.push((authority.clone(), next));
        }
        self.with(taken)
    }
}
