//! What must hold, by its number in the design: no bystander (1), no survivor (2), lock first (3), newest fact wins (4),
//! nothing lost (5), nothing twice (6), the trail is whole (7), protected means protected (8), fail safe (9), honest
//! receipt (10); and the circuit breaker counts each hold once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::story::{Company, LAG, PROTECTED};
use crate::audit::{Entry, verify};
use crate::connection::{Connection, Status};
use crate::lock::{Hold, HoldState, Lock};
use crate::memory::{MemoryAudit, MemoryLocks, MemoryVpn};
use crate::name::Name;
use crate::receipt::Receipt;
use crate::signal::{Action, Authority, Signal};
use crate::time::Timestamp;

/// How long a terminate call may be on its way after the locks were read for it: a listing's pages and the calls
/// before it may be slow.
const ON_ITS_WAY: Duration = Duration::from_secs(12);

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// How many runs there are at the same time, at the most.
const AT_ONCE: usize = 4;

/// What was seen while the run went on.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) violations: Vec<String>,
    /// When each name was last let in.
    lifted_at: BTreeMap<Name, Timestamp>,
    /// When each authority brought holds newly into force.
    newly_held: BTreeMap<Authority, Vec<Timestamp>>,
}

fn names_of(connection: &Connection) -> Vec<Name> {
    [connection.user(), connection.certificate()].into_iter().flatten().collect()
}

/// Whether a connection is somebody's: by user name, or by a certificate that nobody else's user name stands on.
fn is_of(connection: &Connection, name: &Name) -> bool {
    match connection.user() {
        Some(user) => user == *name,
        None => connection.certificate().as_ref() == Some(name),
    }
}

impl Watch {
    fn breaks(&mut self, number: u8, what: impl std::fmt::Display) {
        self.violations.push(format!("invariant {number}: {what}"));
    }

    /// A connection is being ended: somebody must have asked for it, and the lock and `requested` must stand.
    pub(super) fn sees_ending(
        &mut self,
        ending: &Connection,
        now: Timestamp,
        locks: &MemoryLocks,
        audit: &MemoryAudit,
    ) {
        let names = names_of(ending);
        if names.iter().any(|name| name.as_str() == PROTECTED) {
            self.breaks(8, format!("{} of {names:?} was ended", ending.id));
        }
        let owner: Vec<&Name> = names.iter().filter(|name| is_of(ending, name)).collect();
        let chains = audit.chains();
        let entries = || chains.values().flatten();
        let requested = |entry: &&Entry, name: &Name| {
            let names = entry.attributes()["detail"]["names"].as_array().cloned().unwrap_or_default();
            entry.text("kind") == Some("requested") && names.iter().any(|other| other == name.as_str())
        };
        let disconnected = |name: &Name| {
            entries().filter(|entry| requested(entry, name)).any(|entry| {
                let detail = &entry.attributes()["detail"];
                let cutoff = detail["as_of"].as_str().and_then(Timestamp::parse).unwrap();
                detail["action"] == "disconnect" && ending.established_at.is_none_or(|at| at <= cutoff)
            })
        };
        let lock = |name: &&Name| locks.stored(name);
        let locked = owner.iter().filter_map(lock).any(|lock| lock.in_force(now));
        let lapsed_lately = |hold: &Hold| hold.expires_at.is_some_and(|at| at.plus(ON_ITS_WAY) > now);
        let locked_a_moment_ago = owner.iter().any(|name| {
            let lapsed = locks.stored(name).is_some_and(|lock| lock.holds.values().any(lapsed_lately));
            lapsed || self.lifted_at.get(*name).is_some_and(|at| at.plus(ON_ITS_WAY) > now)
        });
        if owner.iter().any(|name| disconnected(name)) {
            return;
        }
        if !locked && !locked_a_moment_ago {
            let was = owner.iter().any(|name| locks.stored(name).is_some());
            let number = if was { 4 } else { 1 };
            self.breaks(number, format!("{} of {names:?} was ended without a lock", ending.id));
        } else if !owner.iter().any(|name| entries().any(|entry| requested(&entry, name))) {
            self.breaks(3, format!("{} of {names:?} was ended before `requested` was recorded", ending.id));
        }
    }

    /// A lock was written.
    pub(super) fn sees_lock(&mut self, before: Option<&Lock>, after: &Lock, now: Timestamp) {
        if before.is_some_and(|before| before.in_force(now)) && !after.in_force(now) {
            self.lifted_at.insert(after.name.clone(), now);
        }
        let none = Lock::none(after.name.clone());
        for authority in after.holds.keys().filter(|authority| **authority != Authority::command()) {
            if before.unwrap_or(&none).newly_held(after, authority, now) {
                self.newly_held.entry(authority.clone()).or_default().push(now);
            }
        }
    }

    /// No authority brought more holds into force within ten minutes than the limit, and one for each run at a time.
    pub(super) fn sees_counts(&mut self, limit: usize) {
        for (authority, at) in std::mem::take(&mut self.newly_held) {
            let most =
                at.iter().map(|from| at.iter().filter(|at| **at >= *from && at.since(*from) < TEN_MINUTES).count());
            if let Some(most) = most.max().filter(|most| *most > limit + AT_ONCE) {
                self.violations
                    .push(format!("{authority} brought {most} holds into force in ten minutes, past {limit}"));
            }
        }
    }

    /// An answer: what it calls terminated is over.
    pub(super) fn sees_receipts(&mut self, receipts: &[Receipt], vpn: &MemoryVpn) {
        let sessions = vpn.sessions();
        for connection in receipts.iter().flat_map(|receipt| &receipt.subjects).flat_map(|subject| &subject.connections)
        {
            let Some((truth, _)) = sessions.iter().find(|(session, _)| session.id == connection.connection_id) else {
                self.breaks(10, format!("{} is on a receipt and never was", connection.connection_id));
                continue;
            };
            if connection.current_status == Status::Terminated && truth.status.is_alive() {
                self.breaks(10, format!("{} is called terminated and is alive", connection.connection_id));
            }
        }
    }

    /// A breaker may only be open where more holds than the limit were asked for.
    pub(super) fn sees_breaker(
        &mut self,
        authority: &Authority,
        opened_at: Option<Timestamp>,
        limit: usize,
        signals: &[Signal],
    ) {
        let asked = signals.iter().filter(|signal| signal.authority == *authority);
        let holds = asked.filter(|signal| matches!(signal.action, Action::Revoke { .. })).count();
        if opened_at.is_some() && holds <= limit {
            self.violations.push(format!("the breaker of {authority} opened after {holds} holds at the most"));
        }
    }
}

/// Everything that must hold at the end.
pub(super) fn check(company: &Company) -> Vec<String> {
    let mut watch = std::mem::take(&mut *company.watch.lock().unwrap());
    trail_is_whole(company, &mut watch);
    nothing_twice(company, &mut watch);
    nothing_lost(company, &mut watch);
    completed_was_true(company, &mut watch);
    newest_fact_wins(company, &mut watch);
    nobody_locked_is_alive(company, &mut watch);
    watch.violations
}

fn trail_is_whole(company: &Company, watch: &mut Watch) {
    for (chain, entries) in company.audit.chains() {
        let head = entries.last().map(Entry::head).unwrap();
        let findings = verify(&chain, &entries, &head);
        if !findings.is_empty() {
            watch.breaks(7, format!("{chain}: {findings:?}"));
        }
    }
}

fn nothing_twice(company: &Company, watch: &mut Watch) {
    for (chain, entries) in company.audit.chains() {
        let mut times: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for entry in &entries {
            let key = (entry.text("signal_id").unwrap_or_default(), entry.text("kind").unwrap_or_default());
            *times.entry(key).or_default() += 1;
        }
        for (key, times) in times.into_iter().filter(|(key, times)| key.1 != "incomplete" && *times > 1) {
            watch.breaks(6, format!("{chain}: {key:?} stands {times} times"));
        }
    }
}

fn nothing_lost(company: &Company, watch: &mut Watch) {
    for signal in &company.signals {
        let kinds = company.kinds_of(signal);
        let settled = ["completed", "restored", "superseded", "refused"].iter().any(|kind| kinds.contains(*kind));
        if !settled {
            watch.breaks(5, format!("{} ended in {kinds:?}", signal.id));
        }
    }
}

/// `completed` says that nothing was alive, and that it waited long enough to know.
fn completed_was_true(company: &Company, watch: &mut Watch) {
    let sessions = company.vpn.sessions();
    for entry in company.audit.chains().into_values().flatten() {
        let detail = &entry.attributes()["detail"];
        let at = |key: &str| detail[key].as_str().and_then(Timestamp::parse);
        if entry.text("kind") != Some("completed") || detail["action"] == "disconnect" {
            continue;
        }
        let (Some(locked), Some(verified)) = (at("locked_at"), at("verified_at")) else {
            watch.breaks(2, format!("{} says completed and not when", entry.text("signal_id").unwrap_or_default()));
            continue;
        };
        if verified < locked.plus(company.policy.settle) {
            watch.breaks(2, format!("verified at {verified}, {locked} was too short before"));
        }
        let names: Vec<Name> =
            detail["names"].as_array().unwrap().iter().map(|name| Name::new(name.as_str().unwrap()).unwrap()).collect();
        let long_before = verified.minus(Duration::from_secs(LAG) + ON_ITS_WAY);
        let survived = sessions.iter().find(|(session, over)| {
            let hers = names.iter().any(|name| is_of(session, name))
                && !names_of(session).iter().any(|n| n.as_str() == PROTECTED);
            hers && session.established_at.is_some_and(|at| at <= long_before)
                && over.is_none_or(|over| over > verified)
        });
        if let Some((session, _)) = survived {
            watch.breaks(2, format!("{} of {names:?} was alive when that was verified at {verified}", session.id));
        }
    }
}

/// Within one authority the newest fact wins, and on a tie the revocation.
fn newest_fact_wins(company: &Company, watch: &mut Watch) {
    let mut newest: BTreeMap<(String, Authority), (Timestamp, bool)> = BTreeMap::new();
    for signal in &company.signals {
        let name = signal.about[0].chain();
        let locks = match signal.action {
            Action::Revoke { .. } if name == PROTECTED => continue,
            Action::Revoke { .. } => true,
            Action::Restore { .. } => false,
            _ => continue,
        };
        let said = (signal.as_of, locks);
        let last = newest.entry((name, signal.authority.clone())).or_insert(said);
        *last = (*last).max(said);
    }
    for ((name, authority), (as_of, locked)) in newest {
        let lock = company.locks.stored(&Name::new(&name).unwrap());
        let state = lock.as_ref().and_then(|lock| lock.hold_of(&authority)).map(|hold| hold.state);
        let expected = if locked { HoldState::Locked } else { HoldState::Released };
        if state != Some(expected) {
            watch.breaks(
                4,
                format!("{authority} last said {expected:?} of {name} as of {as_of}, and the lock says {state:?}"),
            );
        }
    }
}

fn nobody_locked_is_alive(company: &Company, watch: &mut Watch) {
    let now = crate::ports::Clock::now(&*company.clock);
    for (session, _) in company.vpn.sessions().iter().filter(|(session, _)| session.status.is_alive()) {
        let names = names_of(session);
        let locked = names
            .iter()
            .filter(|name| is_of(session, name))
            .any(|name| company.locks.stored(name).is_some_and(|lock| lock.in_force(now)));
        if locked && !names.iter().any(|name| name.as_str() == PROTECTED) {
            watch.breaks(9, format!("{} of {names:?} is alive though locked", session.id));
        }
    }
}
