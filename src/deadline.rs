//! How the time of an invoke is divided.

use std::time::Duration;

use revocation::time::Timestamp;

/// The answer is given at least this long before Lambda would cut the function off: a function that is cut off gives
/// no partial batch answer, and leaves no entry that says what was left.
const MARGIN: Duration = Duration::from_secs(5);

/// Kept free before the answer for recording what is left; less where the whole invoke is short.
const RECORDING: Duration = Duration::from_secs(3);

/// No invoke ends before this: Lambda was launched in 2014.
const NO_INSTANT: Timestamp = Timestamp::from_millis(1_388_534_400_000); // 2014-01-01

/// The longest that Lambda lets a function run
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>).
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// When to stop working, and when to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) stop_at: Timestamp,
    pub(crate) answer_by: Timestamp,
}

impl Deadline {
    /// Divides what is left between `now` and the instant at which Lambda cuts the function off.
    ///
    /// `cargo lambda watch` gives how many milliseconds the invoke may take where Lambda gives that instant.
    pub(crate) fn new(now: Timestamp, cut_off_at: Timestamp) -> Self {
        let cut_off_at = match cut_off_at < NO_INSTANT {
            true => now.plus(cut_off_at.since(Timestamp::from_millis(0)).min(LONGEST)),
            false => cut_off_at,
        };
        let answer_by = cut_off_at.minus(MARGIN);
        let recording = RECORDING.min(answer_by.since(now) / 4);
        Self { stop_at: answer_by.minus(recording), answer_by }
    }

    /// Whether there is any time to work in.
    pub(crate) fn leaves_time(&self, now: Timestamp) -> bool {
        self.stop_at > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_772_357_400_000 + millis)
    }

    #[test]
    fn the_answer_is_given_five_seconds_before_the_end() {
        let deadline = Deadline::new(at(0), at(120_000));
        assert_eq!((deadline.stop_at, deadline.answer_by), (at(112_000), at(115_000)));
        assert!(deadline.leaves_time(at(0)));
    }

    #[test]
    fn a_short_invoke_still_works_and_still_records() {
        let deadline = Deadline::new(at(0), at(9_000));
        assert_eq!((deadline.stop_at, deadline.answer_by), (at(3_000), at(4_000)));
    }

    #[test]
    fn a_length_in_the_place_of_an_instant_counts_from_now() {
        let deadline = Deadline::new(at(0), Timestamp::from_millis(600_000));
        assert_eq!(deadline.answer_by, at(595_000));
    }

    #[test]
    fn an_invoke_of_five_seconds_leaves_no_time() {
        assert!(!Deadline::new(at(0), at(5_000)).leaves_time(at(0)));
        assert!(!Deadline::new(at(10_000), at(5_000)).leaves_time(at(10_000)));
    }
}
