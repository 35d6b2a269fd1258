//! The directory behind the ids of events: who is in it, under which names, and what must hold of its word.

use std::collections::{BTreeMap, BTreeSet};

use super::checks::Session;
use super::company::Company;
use super::events::{Voice, Word};
use super::names::ONE_INVOKE;
use super::watch::{Invariant, Watch, is_protected};
use crate::lock::Lock;
use crate::memory::{MemoryDirectory, MemoryVpn};
use crate::name::Name;
use crate::ports::Clock;
use crate::signal::{Authority, SignalId};
use crate::time::Timestamp;

/// Who is in it at the beginning: the user name first, then addresses. From one of these another name follows by rule,
/// which somebody else may be given there.
const AT_FIRST: [(&str, &[&str]); 2] =
    [("u-1", &["erin", "erin@example.com"]), ("u-2", &["frank", "e.lane@corp.example"])];

/// What an administrator does there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Off,
    On,
    Gone,
    Renamed(&'static str),
    /// Somebody new, by a name that may have been another's before.
    Hired(&'static str),
}

/// The names that people are given there.
pub(super) const NAMES_THERE: [&str; 4] = ["erin", "frank", "e.lane", "erin@example.com"];

/// That somebody had a name there, and from when until when nobody else had it.
#[derive(Debug, Clone)]
struct Had {
    id: String,
    name: Name,
    until: Option<Timestamp>,
}

/// That somebody was off there, or gone.
#[derive(Debug, Clone)]
struct WasOff {
    id: String,
    until: Option<Timestamp>,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    names: Vec<&'static str>,
    /// Since when the first of them is the user name.
    named_at: Option<Timestamp>,
    enabled: bool,
}

/// What the directory says, and what it said before.
#[derive(Debug, Default)]
pub(super) struct People {
    now: BTreeMap<String, Entry>,
    had: Vec<Had>,
    off: Vec<WasOff>,
    hired: usize,
    /// Of whom something was said by id, by signal.
    spoken_of: BTreeMap<String, Vec<String>>,
}

fn is_called(entry: &Entry, name: &str) -> bool {
    entry.names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

impl People {
    pub(super) fn begin(&mut self, directory: &MemoryDirectory, now: Timestamp) {
        for (id, names) in AT_FIRST {
            self.now.insert(id.to_owned(), Entry { names: names.to_vec(), named_at: Some(now), enabled: true });
        }
        self.hired = AT_FIRST.len();
        self.told(directory, now);
    }

    /// Somebody there: the one whose turn this number says it is.
    fn somebody(&self, turn: usize) -> Option<String> {
        self.now.keys().nth(turn % self.now.len().max(1)).cloned()
    }

    /// Brings a change about, and says about which id it is.
    pub(super) fn change(
        &mut self,
        turn: usize,
        change: Change,
        directory: &MemoryDirectory,
        now: Timestamp,
    ) -> Option<String> {
        if let Change::Hired(name) = change {
            return self.hire(name, directory, now);
        }
        let id = self.somebody(turn)?;
        let is_free = |name: &str| !self.now.values().any(|entry| is_called(entry, name));
        match change {
            Change::Renamed(name) if !is_free(name) => return None,
            Change::Gone => {
                self.now.remove(&id);
                directory.delete(&id);
            }
            _ => {
                let entry = self.now.get_mut(&id)?;
                match change {
                    Change::Off => entry.enabled = false,
                    Change::On => entry.enabled = true,
                    Change::Renamed(name) => (entry.names[0], entry.named_at) = (name, Some(now)),
                    Change::Gone | Change::Hired(_) => {}
                }
            }
        }
        self.told(directory, now);
        Some(id)
    }

    fn hire(&mut self, name: &'static str, directory: &MemoryDirectory, now: Timestamp) -> Option<String> {
        if self.now.values().any(|entry| is_called(entry, name)) {
            return None;
        }
        self.hired += 1;
        let id = format!("u-{}", self.hired);
        self.now.insert(id.clone(), Entry { names: vec![name], named_at: Some(now), enabled: true });
        self.told(directory, now);
        Some(id)
    }

    /// The directory says so from now on.
    fn told(&mut self, directory: &MemoryDirectory, now: Timestamp) {
        for (id, entry) in &self.now {
            directory.put(id, &entry.names, Some(entry.enabled));
            for name in entry.names.iter().map(|name| Name::new(name).unwrap()) {
                if !self.had.iter().any(|had| had.id == *id && had.name == name) {
                    self.had.push(Had { id: id.clone(), name, until: None });
                }
            }
        }
        for had in &mut self.had {
            let anothers = self.now.iter().any(|(id, entry)| *id != had.id && is_called(entry, had.name.as_str()));
            had.until = anothers.then(|| had.until.unwrap_or(now));
        }
        let ids: BTreeSet<String> = self.had.iter().map(|had| had.id.clone()).collect();
        for id in ids {
            let is_off = self.now.get(&id).is_none_or(|entry| !entry.enabled);
            match self.off.iter_mut().find(|off| off.id == id) {
                Some(off) => off.until = (!is_off).then(|| off.until.unwrap_or(now)),
                None if is_off => self.off.push(WasOff { id, until: None }),
                None => {}
            }
        }
    }

    pub(super) fn speaks_of(&mut self, signal: &SignalId, ids: &[String]) {
        self.spoken_of.insert(signal.to_string(), ids.to_vec());
    }

    /// Everything that whoever has this name there is called, or was; the name itself among it.
    pub(super) fn called(&self, name: &Name) -> BTreeSet<&Name> {
        let ids: BTreeSet<&String> = self.had.iter().filter(|had| had.name == *name).map(|had| &had.id).collect();
        self.had.iter().filter(|had| ids.contains(&had.id)).map(|had| &had.name).collect()
    }

    /// Whose user name this is, and has been for longer than an invoke works.
    fn user(&self, name: &Name, now: Timestamp) -> Option<&String> {
        let is_it = |entry: &Entry| entry.names[0].eq_ignore_ascii_case(name.as_str());
        let recent = now.minus(ONE_INVOKE);
        let mut long = self.now.iter().filter(|(_, entry)| entry.named_at.is_some_and(|at| at < recent));
        long.find(|(_, entry)| is_it(entry)).map(|(id, _)| id)
    }

    /// What is wrong with what an id's word makes of a name as somebody's further one: it begins to lock another's user
    /// name, or lifts what was said of another.
    pub(super) fn mistaken(&self, before: Option<&Lock>, after: &Lock, now: Timestamp) -> Option<String> {
        for authority in [Voice::IdentityCenter.authority(), sweeps()] {
            let (old, hold) = (before.and_then(|lock| lock.hold_of(&authority)), after.hold_of(&authority));
            let Some(hold) = hold.filter(|hold| old != Some(hold)) else { continue };
            // A sweep's word that locks says of whom it is.
            let by_hold =
                hold.person.as_ref().filter(|_| hold.is_locked()).map(|person| vec![person.as_str().to_owned()]);
            let said_of = self.spoken_of.get(hold.signal_id.as_str()).cloned().or(by_hold);
            let said = || said_of.iter().flatten();
            let is_of = |id: &str| said_of.is_none() || said().any(|said| said.eq_ignore_ascii_case(id));
            // A newcomer opens the own name, whoever had it before.
            let has_it = || said().any(|said| self.had.iter().any(|had| had.id == *said && had.name == after.name));
            let lifted = old.filter(|old| old.is_locked() && !hold.is_locked());
            let own = lifted.filter(|old| old.about().as_ref() == Some(&after.name));
            let person = own.and_then(|old| old.person.as_ref());
            if let Some(person) = person.filter(|person| !is_of(person.as_str()) && !has_it()) {
                let person = person.as_str();
                return Some(format!("{} of {person} was let in by {authority}, which meant {said_of:?}", after.name));
            }
            let begins = before.unwrap_or(&Lock::none(after.name.clone())).newly_held(after, &authority, now);
            let user = self.user(&after.name, now).filter(|_| begins);
            if let Some(user) = user.filter(|user| !is_of(user)) {
                return Some(format!("{} of {user} was locked by {authority}, which meant {said_of:?}", after.name));
            }
        }
        None
    }

    /// What is wrong with a hold that comes into force by an id's word: nobody is meant who has the name, or had it and
    /// nobody else has.
    pub(super) fn wronged(&self, before: Option<&Lock>, after: &Lock, now: Timestamp) -> Option<String> {
        let (recent, none) = (now.minus(ONE_INVOKE), Lock::none(after.name.clone()));
        let since = |until: Option<Timestamp>| until.is_none_or(|until| until >= recent);
        for authority in [Voice::IdentityCenter.authority(), sweeps()] {
            if !before.unwrap_or(&none).newly_held(after, &authority, now) {
                continue;
            }
            let is_meant = |id: &String| match authority == sweeps() {
                true => self.off.iter().any(|off| off.id == *id && since(off.until)),
                false => self.spoken_of.values().flatten().any(|said| said == id),
            };
            let hers = self.had.iter().filter(|had| had.name == after.name && since(had.until));
            let subject = after.hold_of(&authority).and_then(|hold| hold.about());
            let is_right = hers.map(|had| &had.id).any(is_meant);
            if !is_right && subject.as_ref() == Some(&after.name) {
                return Some(format!("{} was locked by {authority}, which meant somebody else", after.name));
            }
        }
        None
    }
}

/// In whose name sweeps speak that asked the directory.
pub(super) fn sweeps() -> Authority {
    Authority::producer("directory", None)
}

/// At the end the sweeps have made good what no event said: nobody is connected who is off, but whom a command let in;
/// and nobody who is on is kept out by their word.
pub(super) fn the_directory_is_heeded(company: &Company, sessions: &[Vec<Session>], watch: &mut Watch) {
    let let_in: BTreeSet<String> = {
        let heard = company.heard.lock().unwrap();
        let lifts = |word: Word| matches!(word, Word::Restore | Word::RestoreAll);
        let commands = heard.values().filter(|heard| heard.said.by == Voice::Command && lifts(heard.said.word));
        commands.flat_map(|heard| heard.said.chains()).collect()
    };
    let (mut survivors, mut kept_out) = (Vec::new(), Vec::new());
    for (id, entry) in &watch.people.now {
        let names = || entry.names.iter().map(|name| Name::new(name).unwrap());
        let spoken_of = names().any(|name| let_in.contains(name.as_str()));
        for name in names().take(1) {
            let alive = sessions.iter().flatten().map(|(session, _)| session).filter(|session| {
                session.status.is_alive() && session.user().as_ref() == Some(&name) && !is_protected(session)
            });
            if !entry.enabled && !spoken_of {
                survivors.extend(alive.map(|session| format!("{} of {id}, who is off, is alive", session.id)));
            }
        }
        for name in names().filter(|_| entry.enabled) {
            let lock = company.locks.stored(&name).unwrap_or_else(|| Lock::none(name.clone()));
            if lock.held_by(company.clock.now()).contains(&sweeps()) {
                kept_out.push(format!("{name} of {id}, who is on, is kept out by the directory's word"));
            }
        }
    }
    survivors.into_iter().for_each(|what| watch.breaks(Invariant::Survivor, what));
    kept_out.into_iter().for_each(|what| watch.breaks(Invariant::NewestFact, what));
}

/// All that is connected, in every target.
pub(super) fn everything(company: &Company) -> Vec<Vec<Session>> {
    company.vpn.iter().map(MemoryVpn::sessions).collect()
}
