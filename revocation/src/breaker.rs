//! The circuit breaker: an authority that brings more holds into force than is plausible is not believed any further.
//!
//! A directory that was emptied by mistake, or a filter that matches everybody, must not disconnect the company. Past
//! the limit the breaker opens for that authority and stays open until a person closes it; what is refused meanwhile is
//! left for retries and the dead-letter queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::JoinSet;

use crate::audit::hex_digest;
use crate::name::Name;
use crate::planted::{self, Fault};
use crate::ports::{Breaker, Clock, StoreError};
use crate::signal::{Authority, SignalId};
use crate::time::Timestamp;

/// Holds are counted by the minute, over this many: the one that has just begun, and ten whole ones.
const MINUTES: i64 = 11;

/// And by this many to come: an environment whose clock is ahead may count in the next minute already.
const AHEAD: i64 = 1;

/// How long the table may take for those who are counted together: whoever comes after them must be counted in time.
const ANSWER_IN: Duration = Duration::from_secs(3);

/// How old a look ahead may be.
const LOOK_IS_FRESH_FOR: Duration = Duration::from_secs(2);

/// How long a look ahead may keep whoever counts waiting.
const LOOK_ANSWERS_IN: Duration = Duration::from_secs(1);

/// How long before and after a minute's turn others may count in the one beside: as far as clocks may differ, and as long
/// as it may take from a look to a write.
const TURNS_FOR: Duration = Duration::from_secs(15);

/// How often whoever counts yields first, so that holds that come together share one write.
const YIELDS_BEFORE_COUNTING: usize = 8;

/// How many hexadecimal digits stand for a counted hold: with ten thousand of them, two are alike once in a million
/// million times, and an item holds them all.
const DIGITS: usize = 16;

/// A minute since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(pub i64);

impl Minute {
    fn of(at: Timestamp) -> Self {
        Self(at.as_millis().div_euclid(60_000))
    }

    /// When it begins.
    #[must_use]
    pub fn begins_at(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_mul(60_000))
    }
}

/// A hold as it is counted: the same signal about the same name is counted once, however often it is tried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counted(String);

impl Counted {
    /// The hold that a signal brings into force on a name.
    #[must_use]
    pub fn new(signal: &SignalId, name: &Name) -> Self {
        let digest = hex_digest(format!("{signal}\n{name}").as_bytes());
        Self(digest.chars().take(DIGITS).collect())
    }

    /// A hold as a table keeps it.
    #[must_use]
    pub fn kept(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// What a table keeps.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How the breaker of an authority stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Goes up whenever the breaker is closed; what was counted before is of no account then.
    pub round: u64,
    /// Since when it is open.
    pub opened_at: Option<Timestamp>,
    /// The holds that were counted in this round, in the minutes asked for.
    pub counted: BTreeSet<Counted>,
}

/// Whether a hold may come into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It may, and is counted.
    Free,
    /// The breaker is open.
    Open {
        /// Since when.
        since: Timestamp,
    },
}

/// The breaker as one run uses it: an authority's holds are counted in the order in which they come, all that wait at
/// once, so that a batch is braked within itself and does not wait for itself.
#[derive(Clone)]
pub struct Brake {
    breaker: Arc<dyn Breaker>,
    clock: Arc<dyn Clock>,
    lines: Arc<Mutex<BTreeMap<Authority, Arc<Line>>>>,
}

/// The holds of one authority that are to be counted.
#[derive(Default)]
struct Line {
    waiting: Mutex<Vec<Waiting>>,
    /// Looks how the breaker stands, and since when that is known.
    ahead: Mutex<JoinSet<Option<(Timestamp, Standing)>>>,
    /// Held by whoever counts.
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    hold: Counted,
    answer: oneshot::Sender<Result<Passage, StoreError>>,
}

impl Brake {
    /// A brake on these counts.
    #[must_use]
    pub fn new(breaker: Arc<dyn Breaker>, clock: Arc<dyn Clock>) -> Self {
        Self { breaker, clock, lines: Arc::default() }
    }

    /// Begins to look how an authority's breaker stands, for whoever counts first. Nothing rests on it: where it can't be
    /// read, or was read too long ago, that one looks for itself.
    pub(crate) fn look_ahead(&self, authority: &Authority) {
        let (breaker, authority, now) = (Arc::clone(&self.breaker), authority.clone(), self.clock.now());
        let line = self.line(&authority);
        lock(&line.ahead).spawn(async move {
            let standing = breaker.standing(&authority, &minutes_around(now)).await.ok()?;
            Some((now, standing))
        });
    }

    /// Counts a hold that is about to come into force newly, or says that the breaker is open.
    ///
    /// When this returns [`Passage::Free`], the hold is counted, durably; trying again counts it anew and not twice. Runs side
    /// by side see what the others have counted.
    ///
    /// # Errors
    /// Where the table is away: without a count nothing may pass.
    pub async fn pass(&self, authority: &Authority, hold: &Counted, limit: usize) -> Result<Passage, StoreError> {
        let line = self.line(authority);
        let (answer, mut answered) = oneshot::channel();
        lock(&line.waiting).push(Waiting { hold: hold.clone(), answer });
        let _turn = line.turn.lock().await;
        // Whoever had the turn before may have counted this one as well.
        let mut passed = answered.try_recv();
        if passed == Err(TryRecvError::Empty) {
            let now = self.clock.now();
            tokio::select! {
                biased;
                counted = self.count_all(authority, &line, now, limit) => counted?,
                () = self.clock.reached(now.plus(ANSWER_IN)) => return Err(late()),
            }
            passed = answered.try_recv();
        }
        // Or had no time to say so.
        passed.unwrap_or_else(|_| Err(late()))
    }

    fn line(&self, authority: &Authority) -> Arc<Line> {
        Arc::clone(lock(&self.lines).entry(authority.clone()).or_default())
    }

    /// Counts all that wait, with one look at the table and one write.
    ///
    /// What others counted since the look is seen once that is written, and whoever went past the limit refuses its own.
    /// They stay counted.
    async fn count_all(
        &self,
        authority: &Authority,
        line: &Line,
        now: Timestamp,
        limit: usize,
    ) -> Result<(), StoreError> {
        // The others of a batch are a few turns away.
        for _ in 0..YIELDS_BEFORE_COUNTING {
            tokio::task::yield_now().await;
        }
        let Standing { round, opened_at, counted } = self.look(authority, line, now, limit).await?;
        let waiting = take(line);
        if let Some(since) = opened_at {
            waiting.into_iter().for_each(|waiting| waiting.answer(Ok(Passage::Open { since })));
            return Ok(());
        }
        let (within, mut braked) = split(waiting, &counted, limit);
        if !within.is_empty() {
            let holds: Vec<Counted> = within.iter().map(|waiting| waiting.hold.clone()).collect();
            match self.count(authority, round, now, &holds).await {
                Ok(others) => {
                    let (free, past) = split(within, &counted.union(&others).cloned().collect(), limit);
                    braked.extend(past);
                    free.into_iter().for_each(|waiting| waiting.answer(Ok(Passage::Free)));
                }
                Err(error) => within.into_iter().for_each(|waiting| waiting.answer(Err(error.clone()))),
            }
        }
        if !braked.is_empty() {
            tracing::error!(error_type = "BreakerOpened", %authority, limit, "the circuit breaker opens");
            let opened = self.breaker.open(authority, round, now).await;
            braked
                .into_iter()
                .for_each(|waiting| waiting.answer(opened.clone().map(|()| Passage::Open { since: now })));
        }
        Ok(())
    }

    /// Counts holds, and says which were counted before, by others or by an earlier attempt.
    async fn count(
        &self,
        authority: &Authority,
        round: u64,
        now: Timestamp,
        holds: &[Counted],
    ) -> Result<BTreeSet<Counted>, StoreError> {
        let mut others = self.breaker.count(authority, round, Minute::of(now), holds).await?;
        others.extend(self.beside(authority, round, now).await?);
        Ok(others)
    }

    /// Within [`TURNS_FOR`] of the turn of a minute: what others, whose clocks may differ, have counted in the minutes beside
    /// this one. Otherwise nothing.
    async fn beside(&self, authority: &Authority, round: u64, now: Timestamp) -> Result<BTreeSet<Counted>, StoreError> {
        let this = Minute::of(now);
        if [now.minus(TURNS_FOR), now.plus(TURNS_FOR)].iter().all(|at| Minute::of(*at) == this) {
            return Ok(BTreeSet::new());
        }
        let others: Vec<Minute> = minutes_around(now).into_iter().filter(|minute| *minute != this).collect();
        let standing = self.breaker.standing(authority, &others).await?;
        Ok(if standing.round == round { standing.counted } else { BTreeSet::new() })
    }

    /// How the breaker stands, from what was looked at ahead where that will do.
    async fn look(
        &self,
        authority: &Authority,
        line: &Line,
        now: Timestamp,
        limit: usize,
    ) -> Result<Standing, StoreError> {
        let mut ahead = std::mem::take(&mut *lock(&line.ahead));
        let ahead = tokio::select! {
            biased;
            ahead = ahead.join_next() => ahead.and_then(Result::ok).flatten(),
            () = self.clock.reached(now.plus(LOOK_ANSWERS_IN)) => None,
        };
        // Nobody is refused by what stood a moment ago: somebody may have closed it since, or a minute be over.
        let lets_pass = |standing: &Standing| {
            standing.opened_at.is_none() && standing.counted.len() + lock(&line.waiting).len() <= limit
        };
        match ahead.filter(|(at, standing)| now.since(*at) <= LOOK_IS_FRESH_FOR && lets_pass(standing)) {
            Some((_, standing)) => Ok(standing),
            None => self.breaker.standing(authority, &minutes_around(now)).await,
        }
    }

    /// How an authority's breaker stands now, with what was counted in the last ten minutes.
    ///
    /// # Errors
    /// Where the table is away.
    pub async fn standing(&self, authority: &Authority) -> Result<Standing, StoreError> {
        self.breaker.standing(authority, &minutes_around(self.clock.now())).await
    }

    /// Closes an authority's breaker; it counts from zero.
    ///
    /// # Errors
    /// Where the table is away.
    pub async fn close(&self, authority: &Authority) -> Result<(), StoreError> {
        self.breaker.close(authority).await
    }
}

impl Waiting {
    /// Tells whoever waits, if anybody still does.
    fn answer(self, passed: Result<Passage, StoreError>) {
        let _ = self.answer.send(passed);
    }
}

/// Splits into those that may pass and those that are refused.
///
/// A hold that is counted already takes no room; but once more are counted than the limit allows it may be one that was
/// refused, and so it is refused again.
fn split(waiting: Vec<Waiting>, counted: &BTreeSet<Counted>, limit: usize) -> (Vec<Waiting>, Vec<Waiting>) {
    let (mut free, mut newly): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|one| counted.contains(&one.hold));
    let room = limit.saturating_sub(counted.len());
    let mut braked = newly.split_off(room.min(newly.len()));
    if counted.len() > limit {
        braked.append(&mut free);
    }
    free.append(&mut newly);
    (free, braked)
}

/// Takes all out of the line that somebody still waits for.
fn take(line: &Line) -> Vec<Waiting> {
    let waiting = std::mem::take(&mut *lock(&line.waiting));
    waiting.into_iter().filter(|waiting| !waiting.answer.is_closed()).collect()
}

fn late() -> StoreError {
    StoreError::away("the circuit breaker", "no answer came in time")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The minutes whose holds count now.
fn minutes_around(now: Timestamp) -> Vec<Minute> {
    let minute = Minute::of(now);
    let ahead = if planted::is(Fault::TrustOwnMinute) { 0 } else { AHEAD };
    (-ahead..MINUTES).map(|ago| Minute(minute.0 - ago)).collect()
}

/// How long a minute's count has to be kept.
pub const KEPT: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests;
