//! What must hold at the end, of all that was said and recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::company::Company;
use super::directory::{NAMES_THERE, everything, sweeps, the_directory_is_heeded};
use super::events::{Said, Voice, Word};
use super::names::{completed_means_every_name, further_names_go_with_their_subject};
use super::schedule::{LAG, PROTECTED};
use super::troubles::{Outage, Part};
use super::watch::{Broken, Invariant, ON_ITS_WAY, Watch, is_of, is_protected, names_in, names_of};
use crate::audit::{Entry, verify};
use crate::connection::Connection;
use crate::lock::HoldState;
use crate::name::Name;
use crate::ports::Clock;
use crate::signal::Authority;
use crate::time::Timestamp;

/// Within so long after `requested`, calls are made where everything is well: a listing is judged whole for five
/// seconds, however long another endpoint is silent.
const CUT_IN: Duration = Duration::from_secs(10);

/// And nothing else went wrong for so long before, since whoever shares an admission with a subject whose table hangs
/// waits for fifteen seconds.
const CALM: Duration = Duration::from_secs(20);

/// What settles a signal for a subject.
const SETTLED: [&str; 6] = ["completed", "restored", "superseded", "refused", "aliased", "shadowed"];

/// Everything that must hold at the end.
pub(super) fn check(company: &Company) -> Vec<Broken> {
    let mut watch = std::mem::take(&mut *company.watch.lock().unwrap());
    if let Some(call) = &company.troubles.lock().unwrap().too_many {
        watch.breaks(Invariant::Pause, format!("{call}, once more without a pause"));
    }
    trail_is_whole(company, &mut watch);
    nothing_twice(company, &mut watch);
    lost(company, &mut watch, &BTreeSet::new());
    newest_fact_wins(company, &mut watch);
    let sessions = everything(company);
    nobody_locked_is_alive(company, &sessions, &mut watch);
    the_directory_is_heeded(company, &sessions, &mut watch);
    further_names_go_with_their_subject(company, &mut watch);
    company.audit.look(|chains| {
        for (entries, entry) in chains.values().flat_map(|all| all.iter().map(move |entry| (all, entry))) {
            match entry.text("kind") {
                Some("completed") => {
                    completed_was_true(company, entry, &sessions, &mut watch);
                    completed_saw_everything(company, entry, &mut watch);
                    completed_means_every_name(company.skew, entries, entry, &mut watch);
                }
                Some("requested") => the_healthy_target_goes_on(company, entry, &sessions, &mut watch),
                _ => {}
            }
        }
    });
    watch.broken
}

/// A connection as it really was, and when it was over.
pub(super) type Session = (Connection, Option<Timestamp>);

pub(super) fn action(entry: &Entry) -> &str {
    entry.detail("action").and_then(|action| action.as_str()).unwrap_or_default()
}

fn trail_is_whole(company: &Company, watch: &mut Watch) {
    company.audit.look(|chains| {
        for (chain, entries) in chains {
            let head = entries.last().map(Entry::head).unwrap();
            let findings = verify(chain, entries, &head);
            if !findings.is_empty() {
                watch.breaks(Invariant::Trail, format!("{chain}: {findings:?}"));
            }
        }
    });
}

fn nothing_twice(company: &Company, watch: &mut Watch) {
    company.audit.look(|chains| {
        for (chain, entries) in chains {
            let mut times: BTreeMap<(&str, &str), usize> = BTreeMap::new();
            for entry in entries {
                let key = (entry.text("signal_id").unwrap_or_default(), entry.text("kind").unwrap_or_default());
                *times.entry(key).or_default() += 1;
            }
            for (key, times) in times.into_iter().filter(|(key, times)| key.1 != "incomplete" && *times > 1) {
                watch.breaks(Invariant::Twice, format!("{chain}: {key:?} stands {times} times"));
            }
        }
    });
}

/// Whatever was said is settled for everybody it was about, unless it is known to be still there.
pub(super) fn lost(company: &Company, watch: &mut Watch, still_there: &BTreeSet<String>) {
    let recorded = company.recorded();
    for (id, heard) in company.heard.lock().unwrap().iter().filter(|(id, _)| !still_there.contains(*id)) {
        if heard.said.by == Voice::IdentityCenter {
            // Who is behind an id decides about the chain; and nobody may be.
            let kinds: BTreeSet<&String> =
                recorded.iter().filter(|((of, _), _)| of == id).flat_map(|(_, kinds)| kinds).collect();
            if !kinds.iter().any(|kind| SETTLED.contains(&kind.as_str()) || *kind == "unresolved") {
                watch.breaks(Invariant::Lost, format!("{} ended in {kinds:?}", heard.said.in_words()));
            }
            continue;
        }
        for chain in heard.said.chains() {
            let kinds = recorded.get(&(id.clone(), chain.clone()));
            let settled = kinds.is_some_and(|kinds| SETTLED.iter().any(|kind| kinds.contains(*kind)));
            if !settled {
                watch.breaks(Invariant::Lost, format!("{} ended in {kinds:?} for {chain}", heard.said.in_words()));
            }
        }
    }
}

/// `completed` says that nothing was alive, and that it waited long enough to know.
///
/// Both instants are by one clock, so the settle time between them depends on no skew; where they are compared with what
/// really happened, that clock may be off.
fn completed_was_true(company: &Company, entry: &Entry, sessions: &[Vec<Session>], watch: &mut Watch) {
    if action(entry) == "disconnect" {
        return;
    }
    let (Some(locked), Some(verified)) = (entry.instant("locked_at"), entry.instant("verified_at")) else {
        let id = entry.text("signal_id").unwrap_or_default();
        watch.breaks(Invariant::Survivor, format!("{id} says completed and not when"));
        return;
    };
    if verified < locked.plus(company.policy().settle) {
        watch.breaks(Invariant::Survivor, format!("verified at {verified}, {locked} was too short before"));
    }
    let names = names_in(entry);
    let long_before = verified.minus(LAG + ON_ITS_WAY + company.skew);
    let survived = sessions.iter().flatten().find(|(session, over)| {
        let hers = names.iter().any(|name| is_of(session, name)) && !is_protected(session);
        hers && session.established_at.is_some_and(|at| at <= long_before)
            && over.is_none_or(|over| over > verified.plus(company.skew))
    });
    if let Some((session, _)) = survived {
        let what = format!("{} of {names:?} was alive when that was verified at {verified}", session.id);
        watch.breaks(Invariant::Survivor, what);
    }
}

/// `completed` has seen every target: none was down from before the listing that proves it until after it.
fn completed_saw_everything(company: &Company, entry: &Entry, watch: &mut Watch) {
    let (Some(locked), Some(verified)) = (entry.instant("locked_at"), entry.instant("verified_at")) else { return };
    let from = locked.plus(company.policy().settle).minus(company.skew);
    let until = verified.plus(company.skew);
    let unseen =
        |outage: &&Outage| matches!(outage.part, Part::Target(_)) && outage.from <= from && outage.until > until;
    let troubles = company.troubles.lock().unwrap();
    if let Some(outage) = troubles.outages.iter().find(unseen) {
        let id = entry.text("signal_id").unwrap_or_default();
        watch.breaks(
            Invariant::Survivor,
            format!("{id} says completed at {verified}, when {} was down", outage.part.word()),
        );
    }
}

/// Whoever is connected in a target where all is well is cut there, while another target is down.
///
/// Judged only where nothing else went wrong about that time: no mishap, no crash, no table, and nobody let in.
fn the_healthy_target_goes_on(company: &Company, entry: &Entry, sessions: &[Vec<Session>], watch: &mut Watch) {
    if !matches!(action(entry), "revoke" | "sweep") {
        return;
    }
    let Some(requested) = entry.text("at").and_then(Timestamp::parse) else { return };
    let (from, until) = (requested.minus(CALM + company.skew), requested.plus(CUT_IN + company.skew));
    let about_then = |at: Timestamp| from <= at && at <= until;
    let names = plainly_theirs(company, entry, watch);
    // A command that was late may lock until an instant that is past already: then there is nothing to cut.
    let lapsed = watch.lapses.iter().any(|(name, at)| names.contains(name) && *at <= until);
    let lifted = watch.lifted.iter().any(|(name, at)| names.contains(name) && about_then(*at));
    let troubles = company.troubles.lock().unwrap();
    let trouble = watch.crashes.iter().copied().chain(troubles.met.iter().map(|met| met.at)).any(about_then);
    if lapsed || lifted || trouble {
        return;
    }
    let down = |part: Part| {
        let overlaps = |outage: &Outage| outage.part == part && outage.from <= until && outage.until >= from;
        troubles.outages.iter().any(overlaps)
    };
    let healthy: Vec<usize> = (0..sessions.len()).filter(|target| !down(Part::Target(*target))).collect();
    if healthy.is_empty() || healthy.len() == sessions.len() || down(Part::Locks) || down(Part::Audit) {
        return;
    }
    let listed_by = requested.minus(LAG + company.skew);
    for (session, over) in healthy.iter().flat_map(|target| &sessions[*target]) {
        let hers = names.iter().any(|name| is_of(session, name)) && !is_protected(session);
        let there =
            session.established_at.is_some_and(|at| at <= listed_by) && over.is_none_or(|over| over > requested);
        if !hers || !there {
            continue;
        }
        match watch.ended.get(&session.id).copied() {
            Some(ended) if ended <= until => company.count("targets", "cut where one was healthy"),
            ended => watch.breaks(
                Invariant::GoesOn,
                format!(
                    "{} was asked to end at {ended:?}, {} after {requested}, because another target was down",
                    session.id, "more than ten seconds"
                ),
            ),
        }
    }
}

/// One statement about one hold, as of the earliest and the latest instant as of which it was read.
#[derive(Debug, Clone, Copy)]
struct Statement {
    revokes: bool,
    /// It had its effect, whatever else was said.
    certain: bool,
    earliest: Option<Timestamp>,
    latest: Option<Timestamp>,
}

/// The names of an entry that nothing is said of but about this subject: those that are others' as well may have been let
/// in by a word about these.
fn plainly_theirs(company: &Company, entry: &Entry, watch: &Watch) -> Vec<Name> {
    let heard = company.heard.lock().unwrap();
    let own = entry.text("subject").unwrap_or_default();
    let is_spoken_of =
        |name: &Name| heard.values().any(|heard| heard.said.chains().iter().any(|chain| chain == name.as_str()));
    let is_plain = |name: &Name| !watch.names.is_anothers(name, own) && (name.as_str() == own || !is_spoken_of(name));
    names_in(entry).into_iter().filter(is_plain).collect()
}

/// Within one authority the newest fact wins, and on a tie the revocation.
///
/// As of when a statement counts depends on the clock of whoever read it, by no more than the skew (`Company` holds it
/// to that). So where two statements lie closer together than that, either may have won; each is taken at the earliest
/// and at the latest instant as of which it was read.
///
/// A restore of everything lifts what stands when it comes, and not what an authority said and is still on its way: so it
/// may have won over another authority's word, and need not. Where it could lift nothing it leaves no trace. What is said of a name that is another subject's further
/// name is not the whole of what counts there.
fn newest_fact_wins(company: &Company, watch: &mut Watch) {
    let recorded = company.recorded();
    let heard = company.heard.lock().unwrap();
    let mut by_hold: BTreeMap<(String, Authority), Vec<Statement>> = BTreeMap::new();
    // What is said of ids counts for whoever is behind them; that has a check of its own.
    for heard in heard.values().filter(|heard| heard.said.by != Voice::IdentityCenter) {
        for chain in heard.said.chains() {
            let own = heard.said.by.authority();
            let revokes = match heard.said.word {
                Word::Revoke { .. } if chain != PROTECTED => true,
                Word::Restore | Word::RestoreAll => false,
                _ => continue,
            };
            let statement = |certain| Statement { revokes, certain, earliest: heard.earliest, latest: heard.latest };
            if heard.said.word == Word::RestoreAll {
                for other in company.by_name() {
                    by_hold.entry((chain.clone(), other)).or_default().push(statement(false));
                }
            }
            let stood = recorded.get(&(heard.said.signal_id().to_string(), chain.clone()));
            let is = |kind: &str| stood.is_some_and(|kinds| kinds.contains(kind));
            let lifted_nothing = heard.said.word == Word::RestoreAll && is("superseded");
            // What was said in shadow mode had no effect, but for what an earlier attempt had done.
            let certain = !lifted_nothing && !is("shadowed");
            by_hold.entry((chain, own)).or_default().push(statement(certain));
        }
    }
    for ((name, authority), statements) in by_hold {
        let own = Name::new(&name).unwrap();
        if watch.names.is_another(&own) || watch.people.called(&own).len() > 1 {
            continue;
        }
        let (revocations, restores): (Vec<Statement>, Vec<Statement>) =
            statements.iter().partition(|statement| statement.revokes);
        let against = |others: &[Statement], is_newer: &dyn Fn(&Statement) -> bool| {
            others.iter().filter(|other| other.certain).all(is_newer)
        };
        let may_be_locked = revocations.iter().any(|mine| against(&restores, &|other| mine.latest >= other.earliest));
        let may_be_released = restores.iter().any(|mine| against(&revocations, &|other| mine.latest > other.earliest));
        let lock = company.locks.stored(&own);
        let state = lock.as_ref().and_then(|lock| lock.hold_of(&authority)).map(|hold| hold.state);
        let right = match state {
            Some(HoldState::Locked) => may_be_locked,
            Some(HoldState::Released) => may_be_released,
            None => !statements.iter().any(|statement| statement.certain),
        };
        if !right {
            let what = format!(
                "{authority} of {name}: the lock says {state:?}; revoked as of {revocations:?}, restored as of {restores:?}"
            );
            watch.breaks(Invariant::NewestFact, what);
        }
    }
}

fn nobody_locked_is_alive(company: &Company, sessions: &[Vec<Session>], watch: &mut Watch) {
    let now = company.clock.now();
    for (session, _) in sessions.iter().flatten().filter(|(session, _)| session.status.is_alive()) {
        let names = names_of(session);
        let mut hers = names.iter().filter(|name| is_of(session, name));
        let locked = hers.any(|name| company.locks.stored(name).is_some_and(|lock| lock.in_force(now)));
        if locked && !is_protected(session) {
            watch.breaks(Invariant::FailSafe, format!("{} of {names:?} is alive though locked", session.id));
        }
    }
}

/// A breaker may only be open where more holds than the limit were asked for.
pub(super) fn breakers_opened_rightly(company: &Company) {
    let limit = company.policy().max_subjects;
    company.watch.lock().unwrap().sees_counts(limit);
    let heard = company.heard.lock().unwrap();
    for authority in company.producers().into_iter().filter(|authority| *authority != sweeps()) {
        let asked = heard.values().map(|heard| &heard.said).filter(|said| said.by.authority() == authority);
        let revoked = asked.filter(|said| matches!(said.word, Word::Revoke { .. } | Word::Hidden));
        // Whoever is behind an id may be called otherwise at the next attempt.
        let holds_of =
            |said: &Said| if said.by == Voice::IdentityCenter { NAMES_THERE.len() } else { said.chains().len() };
        let holds: usize = revoked.map(holds_of).sum();
        if company.breaker.opened_at(&authority).is_some() && holds <= limit {
            let what = format!("the breaker of {authority} opened after {holds} holds at the most");
            company.breaks(Invariant::Breaker, what);
        }
    }
}
