//! How a lock changes by what an authority says: a revocation makes a hold, a restore lifts some.

use std::collections::BTreeMap;

use super::{Hold, HoldState, Lock, Transition};
use crate::name::{Name, PersonId};
use crate::planted::{self, Fault};
use crate::signal::{Action, Authority, Signal};
use crate::time::Timestamp;

impl Lock {
    /// How a lock changes by a statement: `further` are the subject's other names, where this is its own.
    #[must_use]
    pub fn apply(&self, signal: &Signal, subject: &str, further: &[Name]) -> Transition {
        match &signal.action {
            Action::Revoke { expires_at } => self.hold(signal, (subject, further), *expires_at),
            Action::Restore { authorities } => self.release(signal, (subject, further), authorities.as_deref()),
            // None of these decides by itself whether a name is to be kept out.
            Action::Disconnect | Action::Ask | Action::Alias { .. } | Action::CloseBreaker | Action::Sweep => {
                Transition::Unchanged
            }
        }
    }

    /// The same for a name that the subject is known to have had: only what was said of it about this very subject is
    /// changed. `None` where there is none, since the name may be somebody else's by now.
    ///
    /// A revocation does not begin here: it goes on where it is in force.
    #[must_use]
    pub fn apply_where_about(&self, signal: &Signal, subject: &str, own: &Name, now: Timestamp) -> Option<Transition> {
        let is_about = |hold: &Hold| hold.about().as_ref() == Some(own);
        let about: BTreeMap<&Authority, &Hold> = self.holds.iter().filter(|(_, hold)| is_about(hold)).collect();
        if about.is_empty() {
            return None;
        }
        let Action::Restore { authorities } = &signal.action else {
            let goes_on = about.get(&signal.authority).is_some_and(|hold| hold.in_force(now));
            return goes_on.then(|| self.apply(signal, subject, &[]));
        };
        let meant: Vec<Authority> = match authorities {
            Some(authorities) => {
                authorities.iter().filter(|authority| about.contains_key(authority)).cloned().collect()
            }
            None => {
                let locked = about.iter().filter(|(_, hold)| hold.is_locked());
                let mut meant: Vec<Authority> = locked.map(|(authority, _)| (*authority).clone()).collect();
                // Whoever lifts something has spoken here too, unless what it said here is about somebody else.
                if !meant.is_empty() && self.holds.get(&signal.authority).is_none_or(is_about) {
                    meant.push(signal.authority.clone());
                }
                meant
            }
        };
        Some(self.release(signal, (subject, &[]), Some(&meant)))
    }

    /// How a restore changes a name that is somebody else's by now: what was said there of this very person, known by the
    /// producer's own id or by the own name, is lifted, and stays as old as it is, since what is said of whoever has the
    /// name by now may still be on its way. What was said of the name by itself stands. `None` where there is none.
    #[must_use]
    pub fn let_go(&self, signal: &Signal, subject: &str, own: &Name) -> Option<Transition> {
        let Action::Restore { authorities } = &signal.action else { return None };
        let person = signal.person(subject);
        let is_meant = |authority: &Authority| authorities.as_ref().is_none_or(|meant| meant.contains(authority));
        let is_theirs = |hold: &Hold| {
            let by_id = person.is_some() && hold.person.as_ref() == person;
            by_id || hold.about().as_ref() == Some(own) && !PersonId::differ(hold.person.as_ref(), person)
        };
        let stands = |hold: &Hold| !hold.is_locked() || self.is_by_itself(hold) || is_newer_lock(hold, signal);
        let theirs =
            self.holds.iter().filter(|(authority, hold)| is_meant(authority) && is_theirs(hold) && !stands(hold));
        let lifted = theirs.map(|(authority, hold)| {
            let (state, expires_at) = (HoldState::Released, None);
            let (reason, signal_id) = (signal.reason.clone(), signal.id.clone());
            (authority.clone(), Hold { state, expires_at, reason, signal_id, ..hold.clone() })
        });
        Some(self.with(lifted.collect::<Vec<_>>())).filter(|transition| matches!(transition, Transition::Changed(_)))
    }

    fn hold(&self, signal: &Signal, of: (&str, &[Name]), expires_at: Option<Timestamp>) -> Transition {
        let (subject, further) = of;
        let fresh = Hold {
            state: HoldState::Locked,
            as_of: signal.as_of,
            expires_at,
            reason: signal.reason.clone(),
            signal_id: signal.id.clone(),
            subject: subject.to_owned(),
            person: signal.person(subject).cloned(),
            own_lifted_at: None,
            names: further.to_vec(),
        };
        let own_lifted_at = self.own_lifted_at(&signal.authority).filter(|_| !self.is_of_another(subject));
        if let Some(as_of) = own_lifted_at.filter(|as_of| !is_newer(signal, *as_of)) {
            return Transition::Superseded { by: signal.authority.clone(), as_of };
        }
        let hold = match self.holds.get(&signal.authority) {
            None => fresh,
            // The same statement, tried again: a later receipt must not make it younger, nor its expiry later.
            Some(old) if old.is_locked() && old.signal_id == signal.id => {
                let old = old.also(further);
                match self.is_of_another(subject) {
                    // A further name is told how it is under the subject's own, where it may have been lifted since.
                    true => Hold { as_of: old.as_of.max(signal.as_of), expires_at: old.lapses_with(expires_at), ..old },
                    false => Hold { subject: fresh.subject, ..old },
                }
            }
            // What was lifted may be so under some of its names only: a later restore is to find the others.
            Some(old) if !old.is_locked() && is_newer(signal, old.as_of) => fresh.also(&old.names),
            Some(old) if !old.is_locked() => {
                return Transition::Superseded { by: signal.authority.clone(), as_of: old.as_of };
            }
            Some(old) if self.needs_no_other(old, subject, expires_at) => return Transition::Unchanged,
            Some(old) => {
                let expires_at = old.lapses_with(expires_at);
                // Whoever had the name before, it is the subject's now, and goes with the subject.
                let subject = fresh.subject.clone();
                let person = self.person_of(&fresh, old);
                let newest = if signal.as_of > old.as_of { fresh } else { old.clone() };
                Hold { expires_at, subject, person, ..newest.also(&old.names).also(further) }
            }
        };
        self.with([(signal.authority.clone(), hold)])
    }

    fn release(&self, signal: &Signal, of: (&str, &[Name]), authorities: Option<&[Authority]>) -> Transition {
        let (subject, further) = of;
        let meant: Vec<&Authority> = match authorities {
            Some(authorities) => authorities.iter().collect(),
            None => self.holds.keys().chain([&signal.authority]).collect(),
        };
        // Where everything is to be lifted, what was lifted already stays as old as it is: its authority may have said
        // something since that is still on its way.
        let is_old_news = |authority: &Authority| authorities.is_none() && *authority != signal.authority;
        let is_own = !self.is_of_another(subject);
        let was_let_in = |authority: &Authority| self.own_lifted_at(authority).is_some_and(|at| at >= signal.as_of);
        let mut lifted = Vec::new();
        let mut newer = None;
        for authority in meant {
            match self.holds.get(authority) {
                // The lock of somebody who has the name as well is newer, and the name by itself was let in beneath it.
                Some(old) if old.is_locked() && is_newer_lock(old, signal) && is_own && was_let_in(authority) => {}
                Some(old) if old.is_locked() && is_newer_lock(old, signal) => {
                    newer = Some((authority.clone(), old.as_of));
                }
                Some(old) if !old.is_locked() && (old.as_of >= signal.as_of || is_old_news(authority)) => {}
                Some(old) if old.is_locked() && self.is_of_namesake(old, subject, signal.person(subject)) => {}
                // Nor does somebody's word to whom the name was given stand for what was said of it by itself.
                Some(old) if !old.is_locked() && self.is_by_itself(old) && !is_own => {}
                old => lifted.push((authority.clone(), self.lifted(old, signal, subject).also(further))),
            }
        }
        // An earlier attempt at the same restore may have lifted what it could here, and not under the further names.
        let is_begun = self.holds.values().any(|hold| !hold.is_locked() && hold.signal_id == signal.id);
        let lifts = |(authority, _): &(Authority, Hold)| self.holds.get(authority).is_some_and(Hold::is_locked);
        match (newer, is_begun || lifted.iter().any(lifts)) {
            // Nothing that is locked could be lifted, because what locks it is newer.
            (Some((by, as_of)), false) => Transition::Superseded { by, as_of },
            _ => self.with(lifted),
        }
    }

    /// A hold, or the want of one, as this restore of the subject leaves it.
    fn lifted(&self, old: Option<&Hold>, signal: &Signal, subject: &str) -> Hold {
        // What is lifted was said of whom it was said: of the name by itself, or of who had it before.
        let is_said_of_another = |old: &Hold| old.is_locked() && old.about() != Name::new(subject).ok();
        let stands = |old: &&Hold| self.is_of_another(subject) && (self.is_by_itself(old) || is_said_of_another(old));
        Hold {
            state: HoldState::Released,
            as_of: signal.as_of,
            expires_at: None,
            reason: signal.reason.clone(),
            signal_id: signal.id.clone(),
            subject: old.filter(stands).map_or(subject, |old| &old.subject).to_owned(),
            person: match old.filter(stands) {
                Some(old) => old.person.clone(),
                None => {
                    let before = old.filter(|old| old.about() == Name::new(subject).ok());
                    signal.person(subject).or_else(|| before?.person.as_ref()).cloned()
                }
            },
            own_lifted_at: (!self.is_of_another(subject)).then_some(signal.as_of),
            // Kept, so that a restore that was cut off half-way lifts the rest when it is tried again.
            names: old.map(|old| old.names.clone()).unwrap_or_default(),
        }
    }
}

/// Whether a revocation is newer than what was released. On a tie it wins: staying out by mistake is mended by a word,
/// staying in is not.
fn is_newer(revocation: &Signal, released: Timestamp) -> bool {
    match planted::is(Fault::UnlockOnTie) {
        false => released <= revocation.as_of,
        true => released < revocation.as_of,
    }
}

/// Whether what is locked is newer than a restore; on a tie as well.
fn is_newer_lock(locked: &Hold, restore: &Signal) -> bool {
    match planted::is(Fault::UnlockOnTie) {
        false => locked.as_of >= restore.as_of,
        true => locked.as_of > restore.as_of,
    }
}
