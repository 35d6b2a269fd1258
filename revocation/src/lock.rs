//! A [`Lock`]: the stored decision about one name, made of [`Hold`]s by authority.
//!
//! A lock changes by pure functions only: [`Lock::apply`] takes what an authority says, [`Lock::follow`] what is said of
//! whom a name was given to. Within one authority the newest fact wins; authorities don't touch each other's holds, except
//! for a command that says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::name::{Name, PersonId};
use crate::signal::{Action, Authority, Signal, SignalId};
use crate::time::Timestamp;

mod apply;
mod further;

/// The least that a month of a duration comes to.
const SHORTEST_MONTH: Duration = Duration::from_secs(28 * 24 * 3_600);

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
    /// The authority's own id of the person, where its word gave one.
    pub person: Option<PersonId>,
    /// As of when a restore let the name in by itself, where the authority has not revoked it by itself since. Kept beneath
    /// what it says of somebody to whom the name was given: an older revocation of the name that arrives late is old news,
    /// whoever else is kept out under it by now.
    pub own_lifted_at: Option<Timestamp>,
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

    /// Whether its last word is to keep the name out, lapsed or not.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.state == HoldState::Locked
    }

    /// When it lapses where another word holds as well: a further word never shortens a hold, in whichever order the two
    /// arrive.
    fn lapses_with(&self, other: Option<Timestamp>) -> Option<Timestamp> {
        self.expires_at.zip(other).map(|(a, b)| a.max(b))
    }

    /// Whether this hold lapses earlier than `revocation` asks for. One without an end always asks for more; one with an end
    /// is compared only with the hold that the same signal set. `expires_in` counts from each receipt, and a month has 28 to
    /// 31 days: from 28 days on, up to an eighth more counts as the same.
    pub(crate) fn ends_before(&self, revocation: &Signal) -> bool {
        let (Action::Revoke { expires_at: wanted }, Some(ends)) = (&revocation.action, self.expires_at) else {
            return false;
        };
        let lasts = ends.since(self.as_of);
        let slack = if lasts < SHORTEST_MONTH { Duration::ZERO } else { lasts / 8 };
        let is_longer = |wanted: Timestamp| wanted > ends && wanted.since(revocation.as_of) > lasts + slack;
        wanted.is_none_or(|wanted| self.signal_id == revocation.id && is_longer(wanted))
    }

    pub(crate) fn in_force(&self, now: Timestamp) -> bool {
        self.is_locked() && self.expires_at.is_none_or(|at| now < at)
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

impl Transition {
    /// The same for a lock as it is stored, where this is what became of it once it was `made_good`: that alone is a change.
    pub(crate) fn of_stored(self, stored: &Lock, made_good: Lock) -> Self {
        match self {
            Self::Unchanged if made_good.holds != stored.holds => {
                Self::Changed(Lock { version: stored.version + 1, ..made_good })
            }
            other => other,
        }
    }
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
        self.holds_in_force(now).next()
    }

    /// The holds that keep the name out now.
    pub fn holds_in_force(&self, now: Timestamp) -> impl Iterator<Item = (&Authority, &Hold)> {
        self.holds.iter().filter(move |(_, hold)| hold.in_force(now))
    }

    /// Whether it is kept out now as a name of this subject's.
    #[must_use]
    pub(crate) fn is_held_about(&self, subject: &Name, now: Timestamp) -> bool {
        self.holds_in_force(now).any(|(_, hold)| hold.about().as_ref() == Some(subject))
    }

    /// The authorities that keep the name out now.
    #[must_use]
    pub fn held_by(&self, now: Timestamp) -> Vec<Authority> {
        self.holds_in_force(now).map(|(authority, _)| authority.clone()).collect()
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
        self.holds.values().filter(|hold| hold.is_locked())
    }

    /// What an authority said of the name, if anything.
    #[must_use]
    pub fn hold_of(&self, authority: &Authority) -> Option<&Hold> {
        self.holds.get(authority)
    }

    /// The subject that a released hold of this authority is about; `None` if the hold is locked, or about `subject` or
    /// this name by itself.
    #[must_use]
    pub fn lifted_of_another(&self, authority: &Authority, subject: &Name) -> Option<Name> {
        let lifted = self.hold_of(authority).filter(|hold| !hold.is_locked())?;
        lifted.about().filter(|about| about != subject && *about != self.name)
    }

    /// Whether this authority's hold was released here later than it was set in `own`, whoever either is about.
    #[must_use]
    pub fn was_lifted_since(&self, own: &Self, authority: &Authority) -> bool {
        let lifted = self.hold_of(authority).filter(|hold| !hold.is_locked());
        lifted.zip(own.hold_of(authority)).is_some_and(|(here, there)| here.as_of > there.as_of)
    }

    /// A copy without this authority's word, if that is about the subject called `own` and from before `lifted_at`, when
    /// the hold on `own` was released: a restore that was cut off has left it here. One about another `person` it did not.
    #[must_use]
    pub fn without_leftover(
        &self,
        authority: &Authority,
        (own, person): (&Name, Option<&PersonId>),
        lifted_at: Timestamp,
    ) -> Self {
        let is_left = |hold: &Hold| {
            let is_theirs = hold.person.is_none() || hold.person.as_ref() == person;
            hold.is_locked() && hold.about().as_ref() == Some(own) && is_theirs && hold.as_of < lifted_at
        };
        match self.hold_of(authority).is_some_and(is_left) {
            true => self.without_holds_about_others(std::slice::from_ref(authority)),
            false => self.clone(),
        }
    }

    /// A copy without the holds of these authorities.
    #[must_use]
    pub fn without_holds_of(&self, authorities: &[Authority]) -> Self {
        let mut left = self.clone();
        left.holds.retain(|authority, _| !authorities.contains(authority));
        left
    }

    /// A copy in which these authorities have said nothing of anybody to whom the name was given: their holds are gone, and
    /// where one lay over a restore of the name by itself, that restore stands in its place.
    #[must_use]
    pub fn without_holds_about_others(&self, authorities: &[Authority]) -> Self {
        let mut left = self.without_holds_of(authorities);
        for authority in authorities {
            if let Some(hold) = self.hold_of(authority)
                && let Some(as_of) = hold.own_lifted_at
            {
                let (subject, person) = (self.name.to_string(), None);
                let (state, expires_at, reason) = (HoldState::Released, None, None);
                let lifted = Hold { state, as_of, expires_at, reason, subject, person, ..hold.clone() };
                left.holds.insert(authority.clone(), lifted);
            }
        }
        left
    }

    /// See [`Hold::own_lifted_at`].
    #[must_use]
    pub fn own_lifted_at(&self, authority: &Authority) -> Option<Timestamp> {
        self.hold_of(authority)?.own_lifted_at
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

    /// Whether a hold speaks of the name by itself, and not of somebody to whom it was given.
    fn is_by_itself(&self, hold: &Hold) -> bool {
        hold.about().as_ref() == Some(&self.name)
    }

    /// Of whom a hold is into which `said` is taken beside what stands.
    ///
    /// Of two people who were called alike, the own name is the later one's. A further name may be either's: whoever has a
    /// deleted person's user name by now does not have their certificates.
    fn person_of(&self, said: &Hold, stands: &Hold) -> Option<PersonId> {
        if stands.about() != said.about() {
            return said.person.clone();
        }
        match (&said.person, &stands.person) {
            (Some(said), Some(stands)) if said == stands => Some(said.clone()),
            (Some(_), Some(_)) if self.is_of_another(&said.subject) => Some(PersonId::several()),
            (Some(person), Some(_)) if said.as_of > stands.as_of => Some(person.clone()),
            (person, None) => person.clone(),
            (_, person) => person.clone(),
        }
    }

    /// Whether a hold here, on a further name of the subject's, is about somebody else who was called like the subject.
    fn is_of_namesake(&self, hold: &Hold, subject: &str, person: Option<&PersonId>) -> bool {
        let is_called_so = hold.about() == Name::new(subject).ok();
        is_called_so && self.is_of_another(subject) && PersonId::differ(hold.person.as_ref(), person)
    }

    /// Whether this authority keeps the name out as somebody's own who is another person than this one.
    pub(crate) fn is_kept_of_another(&self, authority: &Authority, person: Option<&PersonId>) -> bool {
        let is_anothers = |hold: &Hold| self.is_by_itself(hold) && PersonId::differ(hold.person.as_ref(), person);
        self.hold_of(authority).is_some_and(|hold| hold.is_locked() && is_anothers(hold))
    }

    /// Whether a name is kept out by a word about itself for as long as another's word would keep it out. Then it stays
    /// that: it is not lifted with the other's, once the name is taken away again.
    fn needs_no_other(&self, old: &Hold, subject: &str, expires_at: Option<Timestamp>) -> bool {
        let lasts = old.expires_at.is_none_or(|old| expires_at.is_some_and(|other| other <= old));
        old.is_locked() && self.is_by_itself(old) && self.is_of_another(subject) && lasts
    }

    /// Whether the subject is somebody to whom the name was given.
    fn is_of_another(&self, subject: &str) -> bool {
        Name::new(subject).is_ok_and(|subject| subject != self.name)
    }

    fn with(&self, holds: impl IntoIterator<Item = (Authority, Hold)>) -> Transition {
        let mut next = self.clone();
        for (authority, hold) in holds {
            let own_lifted_at = match self.is_by_itself(&hold) {
                true => hold.own_lifted_at.filter(|_| !hold.is_locked()),
                false => self.own_lifted_at(&authority),
            };
            next.holds.insert(authority, Hold { own_lifted_at, ..hold });
        }
        if next.holds == self.holds {
            return Transition::Unchanged;
        }
        next.version += 1;
        Transition::Changed(next)
    }
}

#[cfg(test)]
mod tests;
