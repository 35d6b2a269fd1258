//! What is seen while a run goes on, and must hold at that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::directory::People;
use super::names::{Names, ONE_INVOKE};
use super::schedule::PROTECTED;
use crate::audit::Entry;
use crate::connection::{Connection, ConnectionId, Status};
use crate::lock::{Hold, Lock};
use crate::memory::{MemoryAudit, MemoryLocks};
use crate::name::Name;
use crate::receipt::Receipt;
use crate::signal::{Authority, SignalId};
use crate::time::Timestamp;

/// How long a terminate call may be on its way after the locks were read for it: a listing's pages and the calls
/// before it may be slow.
pub(super) const ON_ITS_WAY: Duration = Duration::from_secs(12);

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// When a hold came into force, and which: a signal's on a name.
type NewlyHeld = (Timestamp, (SignalId, Name));

/// What must hold: the ten of ARCHITECTURE.md by their numbers, and what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Invariant {
    Bystander = 1,
    Survivor,
    LockFirst,
    NewestFact,
    Lost,
    Twice,
    Trail,
    Protected,
    FailSafe,
    Honest,
    /// The circuit breaker counts each hold once.
    Breaker,
    /// Whoever is connected where everything is well is cut there, whatever is down elsewhere.
    GoesOn,
    /// Nothing is asked again and again without a pause.
    Pause,
    /// In shadow mode nothing is changed.
    Shadow,
}

/// An invariant that was broken, and how.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) invariant: Invariant,
    what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {} ({:?}): {}", self.invariant as u8, self.invariant, self.what)
    }
}

/// When the function was to watch only.
#[derive(Debug, Default)]
pub(super) struct Shadow(Vec<(Timestamp, Timestamp)>);

impl Shadow {
    pub(super) fn begin(&mut self, now: Timestamp, lasts: Duration) {
        self.0.push((now, now.plus(lasts)));
    }

    pub(super) fn end(&mut self, now: Timestamp) {
        self.0.iter_mut().for_each(|(_, until)| *until = (*until).min(now));
    }

    pub(super) fn is_on(&self, now: Timestamp) -> bool {
        self.is_on_since(now, Duration::ZERO)
    }

    /// Whether it is on, and has been for so long.
    fn is_on_since(&self, now: Timestamp, long: Duration) -> bool {
        self.0.iter().any(|(from, until)| from.plus(long) <= now && now < *until)
    }
}

/// What was seen while the run went on.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) broken: Vec<Broken>,
    /// How far a clock may be off in this run.
    skew: Duration,
    /// When each name was let in.
    pub(super) lifted: Vec<(Name, Timestamp)>,
    /// When holds on each name lapse.
    pub(super) lapses: Vec<(Name, Timestamp)>,
    /// When each connection's end was first asked for.
    pub(super) ended: BTreeMap<ConnectionId, Timestamp>,
    /// As of when it was said that what existed then is to be disconnected, of each name.
    pub(super) disconnected: Vec<(Name, Timestamp)>,
    /// When an environment crashed.
    pub(super) crashes: Vec<Timestamp>,
    /// When nothing was to be changed.
    pub(super) shadow: Shadow,
    /// What the directory says.
    pub(super) people: People,
    /// Who was called what, and when.
    pub(super) names: Names,
    /// When each authority brought holds newly into force, and which.
    newly_held: BTreeMap<Authority, Vec<NewlyHeld>>,
}

pub(super) fn names_of(connection: &Connection) -> Vec<Name> {
    [connection.user(), connection.certificate()].into_iter().flatten().collect()
}

/// Whether a connection is somebody's: by user name, or by a certificate that nobody else's user name stands on.
pub(super) fn is_of(connection: &Connection, name: &Name) -> bool {
    match connection.user() {
        Some(user) => user == *name,
        None => connection.certificate().as_ref() == Some(name),
    }
}

pub(super) fn is_protected(connection: &Connection) -> bool {
    names_of(connection).iter().any(|name| name.as_str() == PROTECTED)
}

/// The names that an entry speaks of.
pub(super) fn names_in(entry: &Entry) -> Vec<Name> {
    let names = entry.detail("names").and_then(|names| names.as_array());
    names.into_iter().flatten().filter_map(|name| Name::new(name.as_str()?).ok()).collect()
}

impl Watch {
    pub(super) fn of(skew: Duration) -> Self {
        Self { skew, ..Self::default() }
    }

    pub(super) fn breaks(&mut self, invariant: Invariant, what: impl fmt::Display) {
        self.broken.push(Broken { invariant, what: what.to_string() });
    }

    /// A connection is being ended: somebody must have asked for it, and the lock and `requested` must stand.
    ///
    /// Whether a lock is in force is judged by the environment's own clock, so a hold that lapses may be acted on for as
    /// long after as that clock is behind.
    pub(super) fn sees_ending(
        &mut self,
        ending: &Connection,
        now: Timestamp,
        locks: &MemoryLocks,
        audit: &MemoryAudit,
    ) {
        self.ended.entry(ending.id.clone()).or_insert(now);
        self.sees_change(&ending.id, now);
        let names = names_of(ending);
        if is_protected(ending) {
            self.breaks(Invariant::Protected, format!("{} of {names:?} was ended", ending.id));
        }
        let owner: Vec<&Name> = names.iter().filter(|name| is_of(ending, name)).collect();
        let stored = || owner.iter().filter_map(|name| locks.stored(name));
        // A name that was given between two attempts at one signal stands in no `requested` of its own.
        let about: BTreeSet<String> = stored()
            .flat_map(|lock| lock.holds.into_values())
            .filter_map(|hold| hold.about())
            .map(|subject| subject.to_string())
            .collect();
        let requested = audit.look(|chains| {
            let of_owner = |chain: &str, entry: &Entry| {
                let is_about =
                    about.contains(chain) || self.names.anybody_called(&owner).any(|subject| subject == chain);
                entry.text("kind") == Some("requested")
                    && (is_about || names_in(entry).iter().any(|name| owner.contains(&name)))
            };
            chains.iter().any(|(chain, entries)| entries.iter().any(|entry| of_owner(chain, entry)))
        });
        // A disconnect is a command, so it counts from its receipt; to SQS, a message that was redriven is a new one.
        let is_owners = |name: &Name| owner.iter().any(|own| self.names.ever(name, own));
        let mut disconnects = self.disconnected.iter().filter(|(name, _)| is_owners(name));
        let disconnected = disconnects.any(|(_, as_of)| ending.established_at.is_none_or(|at| at <= *as_of));
        let late = ON_ITS_WAY + self.skew;
        let lapsed_lately = |hold: &Hold| hold.expires_at.is_some_and(|at| at.plus(late) > now);
        let lifted_lately = self.lifted.iter().any(|(name, at)| owner.contains(&name) && at.plus(late) > now);
        let locked = stored().any(|lock| lock.in_force(now) || lock.holds.values().any(lapsed_lately));
        if !locked && !lifted_lately && !disconnected {
            let was = stored().next().is_some();
            let invariant = if was { Invariant::NewestFact } else { Invariant::Bystander };
            self.breaks(invariant, format!("{} of {names:?} was ended without a lock", ending.id));
        } else if !requested {
            self.breaks(
                Invariant::LockFirst,
                format!("{} of {names:?} was ended before `requested` was recorded", ending.id),
            );
        }
    }

    /// Something changes. An invoke that had begun before shadow mode did goes on as it began.
    fn sees_change(&mut self, what: &impl fmt::Display, now: Timestamp) {
        if self.shadow.is_on_since(now, ONE_INVOKE) {
            self.breaks(Invariant::Shadow, format!("{what} was changed in shadow mode"));
        }
    }

    /// A name was given or taken away.
    pub(super) fn sees_alias(&mut self, subject: &Name, name: &Name, given: bool, now: Timestamp) {
        self.sees_change(name, now);
        self.names.sees(subject, name, given, now);
    }

    /// A lock was written.
    pub(super) fn sees_lock(&mut self, before: Option<&Lock>, after: &Lock, now: Timestamp) {
        self.sees_change(&after.name, now);
        if let Some(what) = self.names.wronged(&self.people, before, after, now) {
            self.breaks(Invariant::Bystander, what);
        }
        if before.is_some_and(|before| before.in_force(now)) && !after.in_force(now) {
            self.lifted.push((after.name.clone(), now));
        }
        let people = &self.people;
        if let Some(what) = people.wronged(before, after, now).or_else(|| people.mistaken(before, after, now)) {
            self.breaks(Invariant::Bystander, what);
        }
        let lapses = after.holds.values().filter_map(|hold| hold.expires_at);
        self.lapses.extend(lapses.map(|at| (after.name.clone(), at)));
        let none = Lock::none(after.name.clone());
        for authority in after.holds.keys().filter(|authority| **authority != Authority::command()) {
            // Only a subject's own name counts against the breaker.
            let is_own = after.hold_of(authority).is_some_and(|hold| hold.about().as_ref() == Some(&after.name));
            if is_own && before.unwrap_or(&none).newly_held(after, authority, now) {
                let hold = after.holds.get(authority).map(|hold| (hold.signal_id.clone(), after.name.clone()));
                self.newly_held.entry(authority.clone()).or_default().extend(hold.map(|hold| (now, hold)));
            }
        }
    }

    /// No authority brought more holds into force within ten minutes than the limit. A hold is a signal's on a name: one
    /// that was lifted and comes into force again when its signal is tried again is the same.
    /// Minutes are those of the environments' clocks, so the ten are taken shorter by what two of them may differ.
    pub(super) fn sees_counts(&mut self, limit: usize) {
        let within = TEN_MINUTES.saturating_sub(self.skew * 2);
        for (authority, at) in std::mem::take(&mut self.newly_held) {
            let most = at.iter().map(|(from, _)| {
                let in_time = at.iter().filter(|(at, _)| *at >= *from && at.since(*from) < within);
                in_time.map(|(_, hold)| hold).collect::<BTreeSet<_>>().len()
            });
            if let Some(most) = most.max().filter(|most| *most > limit) {
                let what = format!("{authority} brought {most} holds into force in ten minutes, past {limit}");
                self.breaks(Invariant::Breaker, what);
            }
        }
    }

    /// An answer: what it calls terminated is over.
    pub(super) fn sees_receipts(&mut self, receipts: &[Receipt], sessions: &[(Connection, Option<Timestamp>)]) {
        let subjects = receipts.iter().flat_map(|receipt| &receipt.subjects);
        for connection in subjects.flat_map(|subject| &subject.connections) {
            let id = &connection.connection_id;
            let Some((truth, _)) = sessions.iter().find(|(session, _)| session.id == *id) else {
                self.breaks(Invariant::Honest, format!("{id} is on a receipt and never was"));
                continue;
            };
            if connection.current_status == Status::Terminated && truth.status.is_alive() {
                self.breaks(Invariant::Honest, format!("{id} is called terminated and is alive"));
            }
        }
    }
}
