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

/// How many turns of others whoever counts waits, so that those who come at the same moment are counted along.
const A_MOMENT: usize = 8;

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
pub enum Pass {
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
    answer: oneshot::Sender<Result<Pass, StoreError>>,
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
    /// When this returns [`Pass::Free`], the hold is counted, durably; trying again counts it anew and not twice. Runs side
    /// by side see what the others have counted.
    ///
    /// # Errors
    /// Where the table is away: without a count nothing may pass.
    pub async fn pass(&self, authority: &Authority, hold: &Counted, limit: usize) -> Result<Pass, StoreError> {
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
    /// What others counted since the look is seen once it is written: whoever's write goes past the limit refuses as many of
    /// its own. They stay counted.
    async fn count_all(
        &self,
        authority: &Authority,
        line: &Line,
        now: Timestamp,
        limit: usize,
    ) -> Result<(), StoreError> {
        // The others of a batch are a few turns away.
        for _ in 0..A_MOMENT {
            tokio::task::yield_now().await;
        }
        let Standing { round, opened_at, counted } = self.look(authority, line, now, limit).await?;
        let waiting = take(line);
        if let Some(since) = opened_at {
            waiting.into_iter().for_each(|waiting| waiting.hears(Ok(Pass::Open { since })));
            return Ok(());
        }
        // One that was counted by an attempt that got no further comes into force now, so from now on it counts.
        let is_known = |waiting: &Waiting| counted.contains(&waiting.hold);
        let (mut free, mut newly): (Vec<Waiting>, Vec<Waiting>) = waiting.into_iter().partition(is_known);
        let room = limit.saturating_sub(counted.len());
        let mut braked = newly.split_off(room.min(newly.len()));
        if counted.len() > limit {
            braked.append(&mut free);
        }
        if !(free.is_empty() && newly.is_empty()) {
            let holds: Vec<Counted> = free.iter().chain(&newly).map(|waiting| waiting.hold.clone()).collect();
            match self.count(authority, round, now, &holds).await {
                Ok(by_now) => {
                    let past = counted.union(&by_now).count().saturating_sub(limit);
                    free.append(&mut newly);
                    braked.append(&mut free.split_off(free.len().saturating_sub(past)));
                    free.into_iter().for_each(|waiting| waiting.hears(Ok(Pass::Free)));
                }
                Err(error) => free.into_iter().chain(newly).for_each(|waiting| waiting.hears(Err(error.clone()))),
            }
        }
        if !braked.is_empty() {
            tracing::error!(error_type = "BreakerOpened", %authority, limit, "the circuit breaker opens");
            let opened = self.breaker.open(authority, round, now).await;
            braked.into_iter().for_each(|waiting| waiting.hears(opened.clone().map(|()| Pass::Open { since: now })));
        }
        Ok(())
    }

    /// Counts holds, and says what is counted by then, others' holds among it.
    async fn count(
        &self,
        authority: &Authority,
        round: u64,
        now: Timestamp,
        holds: &[Counted],
    ) -> Result<BTreeSet<Counted>, StoreError> {
        let mut by_now = self.breaker.count(authority, round, Minute::of(now), holds).await?;
        by_now.extend(self.beside(authority, round, now).await?);
        Ok(by_now)
    }

    /// What others have counted by now in the minutes beside this one, where one turns into the other, by whosever clock.
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
    /// Whoever waits may be gone.
    fn hears(self, passed: Result<Pass, StoreError>) {
        let _ = self.answer.send(passed);
    }
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
mod tests {
    use super::*;
    use crate::memory::{Calls, ManualClock, MemoryBreaker, Mishap};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn ten_whole_minutes_count_the_one_that_has_begun_and_the_next_where_a_clock_is_ahead() {
        let minutes = minutes_around(at("2026-03-01T09:30:59Z"));
        let minutes: Vec<Timestamp> = minutes.iter().map(|minute| minute.begins_at()).collect();
        assert_eq!((minutes.len(), minutes[0]), (12, at("2026-03-01T09:31:00Z")));
        assert_eq!(minutes[11], at("2026-03-01T09:20:00Z"));
    }

    #[test]
    fn a_hold_is_the_same_however_often_it_is_tried_and_as_a_table_keeps_it() {
        let hold = |signal: &str, name: &str| Counted::new(&SignalId::new(signal), &Name::new(name).unwrap());
        let one = hold("okta:e-1", "alice");
        assert_eq!((one.as_str().len(), &Counted::kept(one.as_str())), (16, &one));
        assert_eq!(one, hold("okta:e-1", "Alice"));
        assert!(one != hold("okta:e-2", "alice") && one != hold("okta:e-1", "bob"));
    }

    #[tokio::test]
    async fn a_brake_shows_what_it_counted_until_it_is_closed() {
        let clock = Arc::new(ManualClock::at(at("2026-03-01T09:30:00Z")));
        let brake = Brake::new(Arc::new(MemoryBreaker::new(&Calls::new())), clock.clone());
        let (okta, holds) = (Authority::named("okta:acme"), ["a", "b"].map(Counted::kept));
        for hold in [&holds[0], &holds[0], &holds[1]] {
            assert_eq!(brake.pass(&okta, hold, 2).await, Ok(Pass::Free));
        }
        let standing = brake.standing(&okta).await.unwrap();
        assert_eq!((standing.counted, standing.opened_at), (holds.clone().into(), None));
        let open = Ok(Pass::Open { since: clock.now() });
        assert_eq!(
            (brake.pass(&okta, &Counted::kept("c"), 2).await, brake.pass(&okta, &holds[0], 2).await),
            (open.clone(), open)
        );
        brake.close(&okta).await.unwrap();
        assert_eq!(brake.standing(&okta).await, Ok(Standing { round: 1, ..Standing::default() }));
        assert_eq!(brake.pass(&okta, &holds[0], 2).await, Ok(Pass::Free));
    }

    /// So many holds at once, where so many are the limit; whether each may pass, and how often the table was asked.
    async fn at_once(holds: usize, limit: usize, calls: &Calls) -> (Vec<Result<Pass, StoreError>>, [usize; 2]) {
        let clock = Arc::new(ManualClock::at(at("2026-03-01T09:30:30Z")));
        let brake = Brake::new(Arc::new(MemoryBreaker::new(calls)), clock);
        let mut passing = tokio::task::JoinSet::new();
        for number in 0..holds {
            let (brake, hold) = (brake.clone(), Counted::kept(&number.to_string()));
            passing.spawn(async move { brake.pass(&Authority::named("okta:acme"), &hold, limit).await });
        }
        (passing.join_all().await, ["breaker.standing", "breaker.count"].map(|call| calls.count(call)))
    }

    fn free(passed: &[Result<Pass, StoreError>]) -> usize {
        passed.iter().filter(|passed| **passed == Ok(Pass::Free)).count()
    }

    #[tokio::test]
    async fn a_batch_is_counted_at_once() {
        for (limit, passing) in [(80, 10), (10, 10), (7, 7), (0, 0)] {
            let (passed, asked) = at_once(10, limit, &Calls::new()).await;
            // Whoever takes the first turn counts alone if the others have not come yet.
            assert_eq!((free(&passed), asked[0]), (passing, 1), "{limit}");
            assert_eq!(
                passed.len() - free(&passed),
                passed.iter().filter(|p| matches!(p, Ok(Pass::Open { .. }))).count()
            );
        }
    }

    #[tokio::test]
    async fn whoever_comes_at_the_same_moment_is_counted_along_although_the_look_is_made() {
        let (brake, _, calls) = brake();
        brake.look_ahead(&okta());
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let mut passing = tokio::task::JoinSet::new();
        for number in 0..10 {
            let (brake, hold) = (brake.clone(), Counted::kept(&number.to_string()));
            // As admission does it, in tasks of tasks.
            passing.spawn(async move { tokio::spawn(async move { brake.pass(&okta(), &hold, 50).await }).await });
        }
        assert!(passing.join_all().await.into_iter().all(|passed| passed.unwrap() == Ok(Pass::Free)));
        assert_eq!(["breaker.standing", "breaker.count"].map(|call| calls.count(call)), [1, 1]);
    }

    #[tokio::test]
    async fn those_who_are_counted_together_hear_of_the_same_failure() {
        let calls = Calls::new();
        calls.plan("breaker.count", 1, Mishap::Fails);
        assert!(at_once(10, 50, &calls).await.0.iter().all(Result::is_err));
        calls.plan("breaker.standing", 1, Mishap::Fails);
        let (passed, _) = at_once(10, 50, &calls).await;
        assert_eq!(free(&passed), 9, "the next looks for itself");
    }

    /// A brake, its clock and its log of calls.
    fn brake() -> (Brake, Arc<ManualClock>, Calls) {
        let (calls, clock) = (Calls::new(), Arc::new(ManualClock::at(at("2026-03-01T09:30:30Z"))));
        (Brake::new(Arc::new(MemoryBreaker::new(&calls)), clock.clone()), clock, calls)
    }

    fn okta() -> Authority {
        Authority::named("okta:acme")
    }

    #[tokio::test]
    async fn what_others_counted_since_the_look_counts() {
        let (brake, clock, _) = brake();
        let holds = ["a", "b", "c", "d"].map(Counted::kept);
        let [others, ours] = [(); 2].map(|()| Brake::new(Arc::clone(&brake.breaker), clock.clone()));
        ours.look_ahead(&okta());
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        for hold in &holds[..2] {
            assert_eq!(others.pass(&okta(), hold, 3).await, Ok(Pass::Free));
        }
        let authority = okta();
        let (third, fourth) = tokio::join!(ours.pass(&authority, &holds[2], 3), ours.pass(&authority, &holds[3], 3));
        assert_eq!((third, fourth), (Ok(Pass::Free), Ok(Pass::Open { since: clock.now() })));
        assert_eq!(others.standing(&okta()).await.unwrap().opened_at, Some(clock.now()));
    }

    #[tokio::test]
    async fn what_others_counted_in_the_minute_beside_counts_where_it_turns() {
        for (second, passes) in [("45", false), ("44", true)] {
            let clock = Arc::new(ManualClock::at(at(&format!("2026-03-01T09:30:{second}Z"))));
            let breaker: Arc<dyn Breaker> = Arc::new(MemoryBreaker::new(&Calls::new()));
            let ours = Brake::new(Arc::clone(&breaker), clock.clone());
            ours.look_ahead(&okta());
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            let next = Minute(Minute::of(clock.now()).0 + 1);
            breaker.count(&okta(), 0, next, &[Counted::kept("others")]).await.unwrap();
            let passed = ours.pass(&okta(), &Counted::kept("ours"), 1).await;
            assert_eq!(passed == Ok(Pass::Free), passes, "at {second}");
        }
    }

    #[tokio::test]
    async fn what_was_counted_before_is_no_more_than_the_limit_either() {
        let (brake, clock, _) = brake();
        let holds = ["a", "b"].map(Counted::kept);
        brake.breaker.count(&okta(), 0, Minute::of(clock.now()), &holds[..1]).await.unwrap();
        brake.look_ahead(&okta());
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        brake.breaker.count(&okta(), 0, Minute::of(clock.now()), &holds[1..]).await.unwrap();
        assert_eq!(brake.pass(&okta(), &holds[0], 1).await, Ok(Pass::Open { since: clock.now() }));
    }

    #[tokio::test]
    async fn a_look_ahead_does_not_refuse_whoever_waits_either() {
        let (brake, clock, calls) = brake();
        let old = Minute(Minute::of(clock.now()).0 - MINUTES + 1);
        brake.breaker.count(&okta(), 0, old, &[Counted::kept("old")]).await.unwrap();
        brake.look_ahead(&okta());
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let holds = ["a", "b"].map(Counted::kept);
        clock.advance(Duration::from_secs(2));
        let authority = okta();
        let (first, second) = tokio::join!(brake.pass(&authority, &holds[0], 2), brake.pass(&authority, &holds[1], 2));
        assert_eq!([first.clone(), second].iter().filter(|passed| **passed == Ok(Pass::Free)).count(), 1);
        assert_eq!(calls.count("breaker.standing"), 2, "looked at again before anybody is refused");
    }

    #[tokio::test]
    async fn without_knowing_what_others_counted_nothing_passes() {
        let (brake, clock, calls) = brake();
        clock.advance(Duration::from_secs(20));
        let mut looks = 0;
        calls.chaos(Some(Box::new(move |call: &str| {
            looks += usize::from(call.starts_with("breaker.standing"));
            (call.starts_with("breaker.standing") && looks == 2).then_some(Mishap::Fails)
        })));
        let hold = Counted::kept("a");
        assert!(brake.pass(&okta(), &hold, 3).await.is_err(), "where a minute turns, it is looked again");
        assert_eq!(brake.pass(&okta(), &hold, 3).await, Ok(Pass::Free));
    }

    #[tokio::test]
    async fn a_look_ahead_is_used_once_and_while_it_is_fresh() {
        for (pause, looks) in [(0, 1), (2, 1), (3, 2)] {
            let (brake, clock, calls) = brake();
            brake.look_ahead(&okta());
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            clock.advance(Duration::from_secs(pause));
            assert_eq!(brake.pass(&okta(), &Counted::kept("a"), 3).await, Ok(Pass::Free));
            assert_eq!(calls.count("breaker.standing"), looks, "{pause}");
            assert_eq!(brake.pass(&okta(), &Counted::kept("b"), 3).await, Ok(Pass::Free));
            assert_eq!(calls.count("breaker.standing"), looks + 1);
        }
    }

    #[tokio::test]
    async fn nobody_is_refused_by_what_stood_a_moment_ago() {
        let (brake, clock, _) = brake();
        brake.breaker.open(&okta(), 0, clock.now()).await.unwrap();
        brake.look_ahead(&okta());
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        brake.close(&okta()).await.unwrap();
        assert_eq!(brake.pass(&okta(), &Counted::kept("a"), 1).await, Ok(Pass::Free));
        assert_eq!(brake.standing(&okta()).await.unwrap().counted.len(), 1, "in the round that is");
    }

    #[tokio::test]
    async fn a_look_ahead_that_hangs_or_fails_is_made_up_for() {
        let (brake, clock, calls) = brake();
        calls.plan("breaker.standing", 1, Mishap::Fails);
        brake.look_ahead(&okta());
        assert_eq!(brake.pass(&okta(), &Counted::kept("a"), 3).await, Ok(Pass::Free));
        calls.plan("breaker.standing", 1, Mishap::Hangs);
        brake.look_ahead(&okta());
        let passing = tokio::spawn(async move { brake.pass(&okta(), &Counted::kept("b"), 3).await });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(1));
        assert_eq!(passing.await.unwrap(), Ok(Pass::Free));
    }

    #[tokio::test]
    async fn whoever_counts_and_is_given_up_takes_nobody_along_for_good() {
        let (brake, clock, calls) = brake();
        calls.plan("breaker.count", 1, Mishap::Hangs);
        let mut passing = tokio::task::JoinSet::new();
        for number in 0..10 {
            let (brake, hold) = (brake.clone(), Counted::kept(&number.to_string()));
            passing.spawn(async move { brake.pass(&okta(), &hold, 50).await });
        }
        while calls.count("breaker.count") == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance(ANSWER_IN);
        assert!(passing.join_all().await.iter().all(Result::is_err), "none is known to be counted");
        assert_eq!(brake.pass(&okta(), &Counted::kept("0"), 50).await, Ok(Pass::Free));
    }

    #[tokio::test]
    async fn who_gave_up_waiting_is_not_counted() {
        let calls = Calls::new();
        let clock = Arc::new(ManualClock::at(at("2026-03-01T09:30:00Z")));
        let brake = Brake::new(Arc::new(MemoryBreaker::new(&calls)), clock);
        let okta = Authority::named("okta:acme");
        let [gone, first] = ["gone", "first"].map(Counted::kept);
        tokio::select! {
            biased;
            _ = brake.pass(&okta, &gone, 50) => panic!("a look takes a moment"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(brake.pass(&okta, &first, 50).await, Ok(Pass::Free));
        assert_eq!(brake.standing(&okta).await.unwrap().counted, [first].into());
    }
}
