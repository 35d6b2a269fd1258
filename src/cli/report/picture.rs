//! Where things stand in the pictures. Time runs to the right on a scale on which seconds and days have room beside each
//! other, the same in all pictures of a page, so that they can be compared.

use std::time::Duration;

use revocation::audit::{GOAL, Story, Times};
use revocation::time::Timestamp;

/// Where the scale begins and how long it is, in the units of the picture.
const LEFT: f64 = 120.0;
const LENGTH: f64 = 400.0;
/// How high a row is, and where the first one is.
const ROW: usize = 22;
const TOP: usize = 34;

/// What the scale is marked with.
const TICKS: [(Duration, &str); 8] = [
    (Duration::ZERO, "0"),
    (Duration::from_secs(1), "1 s"),
    (Duration::from_secs(10), "10 s"),
    (Duration::from_secs(60), "1 min"),
    (GOAL, "5 min"),
    (Duration::from_secs(60 * 60), "1 h"),
    (Duration::from_secs(24 * 60 * 60), "1 day"),
    (Duration::from_secs(30 * 24 * 60 * 60), "30 days"),
];

/// The scale of all pictures of a page.
pub(super) struct Scale {
    longest: f64,
}

/// A mark on the scale.
pub(super) struct Tick {
    pub(super) x: String,
    pub(super) label: &'static str,
    /// It is the five minutes.
    pub(super) is_goal: bool,
}

/// Something that happened.
pub(super) struct Mark {
    pub(super) label: &'static str,
    /// Where its text stands.
    pub(super) text_y: usize,
    pub(super) y: usize,
    /// Where its marks stand: several, where it happened several times.
    pub(super) x: Vec<String>,
    /// How long after the beginning, in words.
    pub(super) after: String,
    /// It is shown by a cross.
    pub(super) is_refusal: bool,
}

/// The picture of one story.
pub(super) struct Timeline {
    pub(super) marks: Vec<Mark>,
    pub(super) height: usize,
    /// Where lines end that go all the way down.
    pub(super) bottom: usize,
}

impl Scale {
    /// Long enough for all stories, and for the five minutes.
    pub(super) fn of(stories: &[&Story]) -> Self {
        let longest = stories.iter().filter_map(|story| {
            let begun_at = story.begun_at()?;
            let last = moments(story).into_iter().flat_map(|(_, at)| at).max()?;
            Some(last.since(begun_at))
        });
        let longest = longest.max().unwrap_or_default().max(GOAL.saturating_mul(2));
        Self { longest: stretched(longest) }
    }

    fn x(&self, time: Duration) -> f64 {
        LEFT + LENGTH * (stretched(time) / self.longest).min(1.0)
    }

    pub(super) fn ticks(&self) -> Vec<Tick> {
        let on_scale = TICKS.into_iter().filter(|(time, _)| stretched(*time) <= self.longest);
        on_scale.map(|(time, label)| Tick { x: unit(self.x(time)), label, is_goal: time == GOAL }).collect()
    }

    pub(super) fn timeline(&self, story: &Story) -> Timeline {
        let begun_at = story.begun_at();
        let mut marks = Vec::new();
        for (label, moments) in moments(story) {
            let Some((begun_at, first)) = begun_at.zip(moments.first().copied()) else { continue };
            let y = TOP + ROW * marks.len() + ROW / 2;
            let after = match moments.len() {
                1 => said(first.since(begun_at)),
                times => format!("{times} ×, first {}", said(first.since(begun_at))),
            };
            marks.push(Mark {
                label,
                text_y: y + 4,
                y,
                x: moments.iter().map(|at| unit(self.x(at.since(begun_at)))).collect(),
                after,
                is_refusal: label == REFUSED,
            });
        }
        let bottom = TOP + ROW * marks.len();
        Timeline { marks, height: bottom + 8, bottom }
    }
}

const REFUSED: &str = "returns refused";

/// What happened, in the order in which it has to.
fn moments(story: &Story) -> Vec<(&'static str, Vec<Timestamp>)> {
    let one = |at: Option<Timestamp>| at.into_iter().collect();
    vec![
        // Where the producer's clock is not believed, its word stands beside the picture only.
        ("occurred", one(story.occurred_at.filter(|at| Some(*at) == story.begun_at()))),
        ("received", one(story.received_at)),
        ("locked", one(story.locked_at)),
        ("first terminate", one(story.first_terminate_at)),
        ("verified", one(story.verified_at)),
        (REFUSED, story.refused_at.clone()),
    ]
}

/// Seconds and days beside each other.
fn stretched(time: Duration) -> f64 {
    time.as_secs_f64().ln_1p()
}

fn unit(value: f64) -> String {
    format!("{value:.1}")
}

/// A span of time in words, never shorter than it was.
pub(super) fn said(time: Duration) -> String {
    let up_to = |unit: u64| time.as_millis().div_ceil(u128::from(unit) * 1000);
    let counted = |count: u128, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    match (time.as_millis().div_ceil(100), up_to(1), up_to(60), up_to(3600)) {
        (tenths @ 0..600, ..) => format!("{}.{} s", tenths / 10, tenths % 10),
        (_, seconds @ 0..3600, ..) => format!("{} min {} s", seconds / 60, seconds % 60),
        (.., minutes @ 0..1440, _) => format!("{} h {} min", minutes / 60, minutes % 60),
        (.., hours) => format!("{} {} h", counted(hours / 24, "day", "days"), hours % 24),
    }
}

/// The bars of the distribution: how many took so long.
const STEPS: [(u64, &str); 8] = [
    (10, "to 10 s"),
    (30, "to 30 s"),
    (60, "to 1 min"),
    (120, "to 2 min"),
    (GOAL.as_secs(), "to 5 min"),
    (900, "to 15 min"),
    (3600, "to 1 h"),
    (u64::MAX, "longer"),
];

/// How wide a bar and the space to the next are, and how high the highest is.
const STEP: usize = 68;
const HIGHEST: usize = 120;
const BASE: usize = 160;

/// One bar.
pub(super) struct Bar {
    pub(super) label: &'static str,
    pub(super) count: usize,
    pub(super) x: usize,
    pub(super) middle: usize,
    pub(super) y: usize,
    pub(super) height: usize,
    /// Where its count stands.
    pub(super) count_y: usize,
    /// It is not a time but the want of one.
    pub(super) is_unverified: bool,
}

/// The bars, and where the line of five minutes stands.
pub(super) fn distribution(times: &Times) -> (Vec<Bar>, usize) {
    let mut counts: Vec<(&'static str, usize, bool)> = Vec::new();
    let mut before = 0_usize;
    for (limit, label) in STEPS {
        let within = times.within(Duration::from_secs(limit));
        counts.push((label, within.saturating_sub(before), false));
        before = within;
    }
    counts.push(("not verified", times.unverified, true));
    let most = counts.iter().map(|(_, count, _)| *count).max().unwrap_or_default().max(1);
    let goal = STEPS.iter().position(|(limit, _)| *limit == GOAL.as_secs()).unwrap_or_default();
    let bar = |(number, (label, count, is_unverified)): (usize, (&'static str, usize, bool))| {
        let height = (HIGHEST * count).div_ceil(most);
        let x = 10 + STEP * number;
        Bar {
            label,
            count,
            x,
            middle: x + STEP / 2 - 4,
            y: BASE - height,
            height,
            count_y: BASE - height - 6,
            is_unverified,
        }
    };
    (counts.into_iter().enumerate().map(bar).collect(), 10 + STEP * (goal + 1) - 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_runs_to_the_right_and_ends_at_the_edge() {
        let scale = Scale { longest: stretched(Duration::from_secs(86_400)) };
        let times = [0, 1, 10, 60, 300, 3600, 86_400].map(|seconds| scale.x(Duration::from_secs(seconds)));
        assert!(times.is_sorted() && times[0] == LEFT && (times[6] - LEFT - LENGTH).abs() < 0.01, "{times:?}");
        assert_eq!(scale.x(Duration::from_secs(10_000_000)), LEFT + LENGTH, "nothing leaves the picture");
    }

    #[test]
    fn the_five_minutes_are_on_every_scale() {
        assert!(Scale::of(&[]).ticks().iter().any(|tick| tick.is_goal));
    }

    #[test]
    fn spans_are_said_in_words() {
        let words = [0, 59, 60, 3599, 3600, 86_399, 90_000].map(|seconds| said(Duration::from_secs(seconds)));
        assert_eq!(words, ["0.0 s", "59.0 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "1 day 0 h", "1 day 1 h"]);
        let just_over = [50, 59_950, 300_900].map(|millis| said(Duration::from_millis(millis)));
        assert_eq!(just_over, ["0.1 s", "1 min 0 s", "5 min 1 s"], "not within what it was longer than");
    }
}
