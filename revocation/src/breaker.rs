//! The circuit breaker: an authority that brings more holds into force than is plausible is not believed any further.
//!
//! A directory that was emptied by mistake, or a filter that matches everybody, must not disconnect the company. Past
//! the limit the breaker opens for that authority and stays open until a person closes it; what is refused meanwhile is
//! left for retries and the dead-letter queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

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

/// How long the table may take for one hold: those that wait for their turn must have theirs in time.
const ANSWER_IN: Duration = Duration::from_secs(3);

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

/// The breaker as one run uses it: an authority's holds are counted one after another, so that a batch is braked within
/// itself.
#[derive(Clone)]
pub struct Brake {
    breaker: Arc<dyn Breaker>,
    clock: Arc<dyn Clock>,
    turns: Arc<Mutex<BTreeMap<Authority, Arc<Mutex<()>>>>>,
}

impl Brake {
    /// A brake on these counts.
    #[must_use]
    pub fn new(breaker: Arc<dyn Breaker>, clock: Arc<dyn Clock>) -> Self {
        Self { breaker, clock, turns: Arc::default() }
    }

    /// Counts a hold that is about to come into force newly, or says that the breaker is open.
    ///
    /// When this returns [`Pass::Free`], the hold is counted, and for good: trying again does not count it twice. Runs
    /// side by side may overshoot the limit by no more than their number.
    ///
    /// # Errors
    /// Where the table is away: without a count nothing may pass.
    pub async fn pass(&self, authority: &Authority, hold: &Counted, limit: usize) -> Result<Pass, StoreError> {
        let turn = Arc::clone(self.turns.lock().await.entry(authority.clone()).or_default());
        let _turn = turn.lock().await;
        let now = self.clock.now();
        tokio::select! {
            biased;
            passed = self.count(authority, hold, now, limit) => passed,
            () = self.clock.reached(now.plus(ANSWER_IN)) => {
                Err(StoreError::away("the circuit breaker", "no answer came in time"))
            }
        }
    }

    async fn count(
        &self,
        authority: &Authority,
        hold: &Counted,
        now: Timestamp,
        limit: usize,
    ) -> Result<Pass, StoreError> {
        let standing = self.breaker.standing(authority, &minutes_around(now)).await?;
        if let Some(since) = standing.opened_at {
            return Ok(Pass::Open { since });
        }
        // Counted by an attempt that got no further: it comes into force now, so from now on it counts.
        if standing.counted.contains(hold) {
            self.breaker.count(authority, standing.round, Minute::of(now), hold).await?;
            return Ok(Pass::Free);
        }
        if standing.counted.len() >= limit {
            tracing::error!(error_type = "BreakerOpened", %authority, limit, "the circuit breaker opened");
            self.breaker.open(authority, standing.round, now).await?;
            return Ok(Pass::Open { since: now });
        }
        self.breaker.count(authority, standing.round, Minute::of(now), hold).await?;
        Ok(Pass::Free)
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
    use crate::memory::{Calls, ManualClock, MemoryBreaker};

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
}
