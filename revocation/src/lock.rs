//! A [`Lock`]: the stored decision about one name, made of [`Hold`]s by authority.
//!
//! A lock changes in one way only, [`Lock::apply`], which is a pure function. Within one authority the newest fact
//! wins; authorities don't touch each other's holds, except for a command that says so.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::Name;
use crate::planted::{self, Fault};
use crate::signal::{Action, Authority, Signal, SignalId};
use crate::time::Timestamp;

/// What one authority last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// The name is to be kept out.
    Locked,
    /// The hold is lifted. It stays, so that an older revocation arriving late is recognised as old.
    Released,
}

impl HoldState {
    /// The word in the table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Released => "released",
        }
    }

    /// Reads the word in the table.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "locked" => Some(Self::Locked),
            "released" => Some(Self::Released),
            _ => None,
        }
    }
}

/// One authority's word about one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Whether it keeps the name out.
    pub state: HoldState,
    /// The instant from which it counts.
    pub as_of: Timestamp,
    /// When it lapses by itself; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// Why, as the signal said.
    pub reason: Option<String>,
    /// The signal that set it.
    pub signal_id: SignalId,
    /// The subject as received.
    pub subject: String,
    /// On the subject's own name: the further names that this word was said of as well. A later word of the same
    /// authority about the subject means these too, whatever the subject is called by then.
    pub names: Vec<Name>,
}

impl Hold {
    fn also(&self, further: &[Name]) -> Self {
        let mut names = self.names.clone();
        names.extend(further.iter().filter(|name| !self.names.contains(name)).cloned());
        Self { names, ..self.clone() }
    }

    /// Whom it is about, where that can be read.
    #[must_use]
    pub fn about(&self) -> Option<Name> {
        Name::new(&self.subject).ok()
    }

    fn is_about(&self, subjects: &BTreeSet<Name>) -> bool {
        self.about().is_some_and(|subject| subjects.contains(&subject))
    }

    fn in_force(&self, now: Timestamp) -> bool {
        self.state == HoldState::Locked && self.expires_at.is_none_or(|at| now < at)
    }
}

/// The stored decision about one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The name.
    pub name: Name,
    /// What each authority last said.
    pub holds: BTreeMap<Authority, Hold>,
    /// Guards each write: zero where nothing is stored, and one more with every write.
    pub version: u64,
}

/// What came of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The lock is to become this.
    Changed(Lock),
    /// It says so already.
    Unchanged,
    /// A newer statement of the same authority stands against it.
    Superseded {
        /// Whose statement.
        by: Authority,
        /// Since when it counts.
        as_of: Timestamp,
    },
}

impl Lock {
    /// The lock of a name about which nobody has said anything.
    #[must_use]
    pub fn none(name: Name) -> Self {
        Self { name, holds: BTreeMap::new(), version: 0 }
    }

    /// Whether any hold keeps the name out now.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.holds.values().any(|hold| hold.in_force(now))
    }

    /// The first of the holds that keep the name out now.
    #[must_use]
    pub fn held(&self, now: Timestamp) -> Option<(&Authority, &Hold)> {
        self.holds.iter().find(|(_, hold)| hold.in_force(now))
    }

    /// The authorities that keep the name out now.
    #[must_use]
    pub fn held_by(&self, now: Timestamp) -> Vec<Authority> {
        self.holds.iter().filter(|(_, hold)| hold.in_force(now)).map(|(authority, _)| authority.clone()).collect()
    }

    /// `locked` while any hold is locked, expired or not: expiry is compared by whoever reads the lock.
    #[must_use]
    pub fn state(&self) -> HoldState {
        match self.locked_holds().next() {
            Some(_) => HoldState::Locked,
            None => HoldState::Released,
        }
    }

    /// When the last locked hold lapses; `None` where one never does or none is locked.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        let expiries: Option<Vec<Timestamp>> = self.locked_holds().map(|hold| hold.expires_at).collect();
        expiries.and_then(|all| all.into_iter().max())
    }

    fn locked_holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values().filter(|hold| hold.state == HoldState::Locked)
    }

    /// What an authority said of the name, if anything.
    #[must_use]
    pub fn hold_of(&self, authority: &Authority) -> Option<&Hold> {
        self.holds.get(authority)
    }

    /// Whom an authority's word is about that was lifted here, where that is somebody else than the subject, and not the
    /// name by itself.
    #[must_use]
    pub fn lifted_of_another(&self, authority: &Authority, subject: &Name) -> Option<Name> {
        let lifted = self.hold_of(authority).filter(|hold| hold.state == HoldState::Released)?;
        lifted.about().filter(|about| about != subject && *about != self.name)
    }

    /// The same as if these authorities had said nothing.
    #[must_use]
    pub fn without_words_of(&self, authorities: &[Authority]) -> Self {
        let mut left = self.clone();
        left.holds.retain(|authority, _| !authorities.contains(authority));
        left
    }

    /// Whether this authority's hold is in force after `next` and is not now: it comes into force newly.
    #[must_use]
    pub fn newly_held(&self, next: &Self, authority: &Authority, now: Timestamp) -> bool {
        let in_force = |lock: &Self| lock.hold_of(authority).is_some_and(|hold| hold.in_force(now));
        in_force(next) && !in_force(self)
    }

    /// The further names that the authorities meant by `wanted` spoke of; on the subject's own name.
    #[must_use]
    pub fn further_names(&self, wanted: impl Fn(&Authority, &Hold) -> bool) -> Vec<Name> {
        let meant = self.holds.iter().filter(|(authority, hold)| wanted(authority, hold));
        let mut names: Vec<Name> = meant.flat_map(|(_, hold)| hold.names.iter().cloned()).collect();
        names.sort();
        names.dedup();
        names
    }

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
    /// changed. `None` where there is nothing such, since the name may be somebody else's by now.
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
                let locked = about.iter().filter(|(_, hold)| hold.state == HoldState::Locked);
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

    /// The same without what is said of some of the subjects.
    #[must_use]
    pub fn without(&self, subjects: &BTreeSet<Name>) -> Self {
        let mut left = self.clone();
        left.holds.retain(|_, hold| !hold.is_about(subjects));
        left
    }

    /// What one authority says is said of further names as well; on the subject's own name.
    #[must_use]
    pub fn extend_of(&self, authority: &Authority, further: &[Name]) -> Transition {
        let hold = self.hold_of(authority);
        self.with(hold.map(|hold| (authority.clone(), hold.also(further))))
    }

    /// What this authority says, and nothing else, as said of this subject.
    #[must_use]
    pub fn only(&self, authority: &Authority, subject: &str) -> Self {
        let hold = self.hold_of(authority).map(|hold| Hold { subject: subject.to_owned(), ..hold.clone() });
        Self { holds: hold.map(|hold| (authority.clone(), hold)).into_iter().collect(), ..self.clone() }
    }

    /// Whatever is in force is said of further names as well; on the subject's own name, which may be a further name of
    /// `others` at the same time, whose holds are none of this subject's.
    #[must_use]
    pub fn extend(&self, further: &[Name], others: &BTreeSet<Name>, now: Timestamp) -> Transition {
        let in_force = self.holds.iter().filter(|(_, hold)| hold.in_force(now) && !hold.is_about(others));
        self.with(in_force.map(|(authority, hold)| (authority.clone(), hold.also(further))).collect::<Vec<_>>())
    }

    /// Follows the lock of the subject's own name, as a name that the subject was given since.
    ///
    /// What is in force there comes into force here, and what was lifted there is lifted here; but what an authority
    /// said later of this name stands. A hold is lengthened and never shortened.
    #[must_use]
    pub fn follow(&self, own: &Self, now: Timestamp) -> Transition {
        let mut taken = Vec::new();
        for (authority, hold) in &own.holds {
            let hold = Hold { names: Vec::new(), ..hold.clone() };
            let next = match (self.holds.get(authority), hold.in_force(now)) {
                (Some(mine), true) if mine.state == HoldState::Released && mine.as_of > hold.as_of => continue,
                (Some(mine), true) if self.needs_no_other(mine, &hold.subject, hold.expires_at) => continue,
                (Some(mine), true) if mine.in_force(now) => {
                    let expires_at = mine.expires_at.zip(hold.expires_at).map(|(a, b)| a.max(b));
                    let subject = hold.subject.clone();
                    let newest = if hold.as_of > mine.as_of { hold } else { mine.clone() };
                    Hold { expires_at, subject, ..newest.also(&mine.names) }
                }
                (_, true) => hold,
                // Only what was lifted lifts: one that lapsed there must not shorten what stands here.
                (Some(mine), false)
                    if hold.state == HoldState::Released && mine.in_force(now) && mine.as_of < hold.as_of =>
                {
                    hold
                }
                (_, false) => continue,
            };
            taken.push((authority.clone(), next));
        }
        self.with(taken)
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
            names: further.to_vec(),
        };
        let hold = match self.holds.get(&signal.authority) {
            None => fresh,
            // The same statement, tried again: a later receipt must not make it younger, nor its expiry later.
            Some(old) if old.state == HoldState::Locked && old.signal_id == signal.id => {
                let subject = if self.is_by_itself(&fresh) { fresh.subject } else { old.subject.clone() };
                Hold { subject, ..old.also(further) }
            }
            Some(old) if old.state == HoldState::Released && is_newer(signal, old) => fresh,
            Some(old) if old.state == HoldState::Released => {
                return Transition::Superseded { by: signal.authority.clone(), as_of: old.as_of };
            }
            Some(old) if self.needs_no_other(old, subject, expires_at) => return Transition::Unchanged,
            Some(old) => {
                // A further word never shortens a hold, in whichever order the two arrive.
                let expires_at = match (old.expires_at, expires_at) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    _ => None,
                };
                // Whoever had the name before, it is the subject's now, and goes with the subject.
                let subject = fresh.subject.clone();
                let newest = if signal.as_of > old.as_of { fresh } else { old.clone() };
                Hold { expires_at, subject, ..newest.also(&old.names).also(further) }
            }
        };
        self.with([(signal.authority.clone(), hold)])
    }

    /// Whether a hold speaks of the name by itself, and not of somebody to whom it was given.
    fn is_by_itself(&self, hold: &Hold) -> bool {
        hold.about().as_ref() == Some(&self.name)
    }

    /// Whether a name is kept out by a word about itself for as long as another's word would keep it out. Then it stays
    /// that: it is not lifted with the other's, once the name is taken away again.
    fn needs_no_other(&self, old: &Hold, subject: &str, expires_at: Option<Timestamp>) -> bool {
        let lasts = old.expires_at.is_none_or(|old| expires_at.is_some_and(|other| other <= old));
        let is_anothers = Name::new(subject).is_ok_and(|subject| subject != self.name);
        old.state == HoldState::Locked && self.is_by_itself(old) && is_anothers && lasts
    }

    fn release(&self, signal: &Signal, of: (&str, &[Name]), authorities: Option<&[Authority]>) -> Transition {
        let (subject, further) = of;
        let meant: Vec<&Authority> = match authorities {
            Some(authorities) => authorities.iter().collect(),
            None => self.holds.keys().chain([&signal.authority]).collect(),
        };
        let is_anothers = Name::new(subject).is_ok_and(|subject| subject != self.name);
        let mut released = Vec::new();
        let mut newer = None;
        // Where everything is to be lifted, what was lifted already stays as old as it is: its authority may have said
        // something since that is still on its way.
        let is_old_news = |authority: &Authority| authorities.is_none() && *authority != signal.authority;
        for authority in meant {
            match self.holds.get(authority) {
                Some(old) if old.state == HoldState::Locked && is_newer_lock(old, signal) => {
                    newer = Some((authority.clone(), old.as_of));
                }
                Some(old)
                    if old.state == HoldState::Released && (old.as_of >= signal.as_of || is_old_news(authority)) => {}
                // Nor does somebody's word to whom the name was given stand for what was said of it by itself.
                Some(old) if old.state == HoldState::Released && self.is_by_itself(old) && is_anothers => {}
                old => {
                    // What is lifted was said of whom it was said: of the name by itself, or of who had it before.
                    let is_said_of_another =
                        |old: &&Hold| old.state == HoldState::Locked && old.about() != Name::new(subject).ok();
                    let said = old.filter(|old| self.is_by_itself(old) || is_said_of_another(old));
                    let subject = said.filter(|_| is_anothers).map_or(subject, |old| &old.subject);
                    let hold = Hold {
                        state: HoldState::Released,
                        as_of: signal.as_of,
                        expires_at: None,
                        reason: signal.reason.clone(),
                        signal_id: signal.id.clone(),
                        subject: subject.to_owned(),
                        // Kept, so that a restore that was cut off half-way lifts the rest when it is tried again.
                        names: old.map(|old| old.names.clone()).unwrap_or_default(),
                    };
                    released.push((authority.clone(), hold.also(further)));
                }
            }
        }
        // An earlier attempt at the same restore may have lifted what it could here, and not under the further names.
        let is_begun = self.holds.values().any(|hold| hold.state == HoldState::Released && hold.signal_id == signal.id);
        match (newer, is_begun || released.iter().any(|(authority, _)| self.is_locked(authority))) {
            // Nothing that is locked could be lifted, because what locks it is newer.
            (Some((by, as_of)), false) => Transition::Superseded { by, as_of },
            _ => self.with(released),
        }
    }

    fn is_locked(&self, authority: &Authority) -> bool {
        self.holds.get(authority).is_some_and(|hold| hold.state == HoldState::Locked)
    }

    fn with(&self, holds: impl IntoIterator<Item = (Authority, Hold)>) -> Transition {
        let mut next = self.clone();
        next.holds.extend(holds);
        if next.holds == self.holds {
            return Transition::Unchanged;
        }
        next.version += 1;
        Transition::Changed(next)
    }
}

/// Whether a revocation is newer than what was released. On a tie it wins: staying out by mistake is mended by a word,
/// staying in is not.
fn is_newer(revocation: &Signal, released: &Hold) -> bool {
    match planted::is(Fault::UnlockOnTie) {
        false => released.as_of <= revocation.as_of,
        true => released.as_of < revocation.as_of,
    }
}

/// Whether what is locked is newer than a restore; on a tie as well.
fn is_newer_lock(locked: &Hold, restore: &Signal) -> bool {
    match planted::is(Fault::UnlockOnTie) {
        false => locked.as_of >= restore.as_of,
        true => locked.as_of > restore.as_of,
    }
}

#[cfg(test)]
mod tests;
