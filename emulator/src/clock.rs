//! Time as a value that a test can hold.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// Where the emulator takes the time from.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_millis(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_millis(&self) -> i64 {
        Timestamp::now().as_millisecond()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `millis` since 1970.
    #[must_use]
    pub const fn at(millis: i64) -> Self {
        Self(AtomicI64::new(millis))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(millis(by), Ordering::SeqCst);
    }

    /// Sets the clock to `millis` since 1970.
    pub fn set(&self, millis: i64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// 2026-01-01T00:00:00Z: a round moment, so that times in a snapshot can be read at a glance.
    fn default() -> Self {
        Self::at(1_767_225_600_000)
    }
}

impl Clock for ManualClock {
    fn now_millis(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A duration in the unit of all emulated time; a duration beyond 292 million years becomes that.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// `2026-01-01 00:00:00`, as connections carry their times.
pub(crate) fn connection_time(millis: i64) -> String {
    format(millis, "%Y-%m-%d %H:%M:%S")
}

/// `2026-01-01T00:00:00`, as endpoints carry theirs.
pub(crate) fn endpoint_time(millis: i64) -> String {
    format(millis, "%Y-%m-%dT%H:%M:%S")
}

fn format(millis: i64, pattern: &str) -> String {
    // An instant outside the calendar can only come from a clock set to nonsense; the epoch shows that plainly.
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH).strftime(pattern).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_endpoints_write_times_differently() {
        let now = ManualClock::default().now_millis();
        assert_eq!(connection_time(now), "2026-01-01 00:00:00");
        assert_eq!(endpoint_time(now), "2026-01-01T00:00:00");
    }

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = ManualClock::at(1_000);
        assert_eq!(clock.now_millis(), 1_000);
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now_millis(), 3_000);
        clock.set(5);
        assert_eq!(clock.now_millis(), 5);
    }

    #[test]
    fn a_time_outside_the_calendar_is_shown_as_the_epoch() {
        assert_eq!(connection_time(i64::MAX), "1970-01-01 00:00:00");
    }
}
