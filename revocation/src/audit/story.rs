//! What the trail tells of one signal and one subject, read together: when it occurred, when it was locked, ended and
//! verified, and who was refused since. Entries say facts; this puts them in order for people.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{Entry, Kind};
use crate::time::Timestamp;

/// Within how long access has to be gone, for the share that is told of.
pub const GOAL: Duration = Duration::from_secs(5 * 60);

/// What became of one signal for one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Story {
    /// The subject's chain.
    pub subject: String,
    /// The signal's id.
    pub signal_id: String,
    /// What it asked for: `revoke`, `disconnect`, `restore` and so on.
    pub action: String,
    /// Who said so.
    pub authority: String,
    /// Who caused it, as claimed.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The kind of its last entry: what it came to so far.
    pub outcome: String,
    /// Why it came to that, where the entry says so.
    pub why: Option<String>,
    /// The names by which the subject was sought.
    pub names: Vec<String>,
    /// By the producer's own word.
    pub occurred_at: Option<Timestamp>,
    /// When it reached the function.
    pub received_at: Option<Timestamp>,
    /// When the last lock was durable.
    pub locked_at: Option<Timestamp>,
    /// When the first terminate call was made.
    pub first_terminate_at: Option<Timestamp>,
    /// When the listing ended that showed nothing alive.
    pub verified_at: Option<Timestamp>,
    /// How many connections it was about.
    pub connections: u64,
    /// When the connect handler refused one of its names, after it was locked.
    pub refused_at: Vec<Timestamp>,
}

impl Story {
    fn begun_by(entry: &Entry) -> Self {
        let text = |name: &str| entry.text(name).map(str::to_owned);
        Self {
            subject: entry.chain().to_owned(),
            signal_id: text("signal_id").unwrap_or_default(),
            action: String::new(),
            authority: text("authority").unwrap_or_default(),
            actor: text("actor"),
            reason: text("reason"),
            outcome: String::new(),
            why: None,
            names: Vec::new(),
            occurred_at: None,
            received_at: None,
            locked_at: None,
            first_terminate_at: None,
            verified_at: None,
            connections: 0,
            refused_at: Vec::new(),
        }
    }

    /// Takes an entry in; a later one counts for more.
    fn take(&mut self, entry: &Entry) {
        let detail = |name: &str| entry.attributes().get("detail").and_then(|detail| detail.get(name));
        let instant = |name: &str| detail(name).and_then(Value::as_str).and_then(Timestamp::parse);
        self.outcome = entry.text("kind").unwrap_or_default().to_owned();
        self.why = detail("why").and_then(Value::as_str).map(str::to_owned);
        if let Some(action) = detail("action").and_then(Value::as_str) {
            action.clone_into(&mut self.action);
        }
        if let Some(names) = detail("names").and_then(Value::as_array) {
            self.names = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        if let Some(count) = detail("connection_count").and_then(Value::as_u64) {
            self.connections = count.max(self.connections);
        }
        let later = |known: &mut Option<Timestamp>, name: &str| *known = instant(name).or(*known);
        later(&mut self.occurred_at, "occurred_at");
        later(&mut self.received_at, "received_at");
        later(&mut self.locked_at, "locked_at");
        later(&mut self.verified_at, "verified_at");
        // Of several attempts, the first call is the first one's.
        self.first_terminate_at = self.first_terminate_at.or(instant("first_terminate_at"));
    }

    /// Whether it was to end connections, and did or tried to.
    #[must_use]
    pub fn is_revocation(&self) -> bool {
        let acted = [Kind::Requested, Kind::Completed, Kind::Incomplete].map(Kind::word);
        ["revoke", "sweep", "disconnect"].contains(&self.action.as_str()) && acted.contains(&self.outcome.as_str())
    }

    /// Whether it locked the subject out, and that was to last.
    #[must_use]
    pub fn locks(&self) -> bool {
        self.action == "revoke" && self.locked_at.is_some()
    }

    /// From when its time is taken: from when it occurred; where nobody said so, from when it was received.
    #[must_use]
    pub fn begun_at(&self) -> Option<Timestamp> {
        self.occurred_at.or(self.received_at)
    }

    /// How long access lasted: until it was verified that nothing was left.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        Some(self.verified_at?.since(self.begun_at()?))
    }
}

/// The stories in entries, in the order in which they began. The entries of each chain must come in their order.
///
/// Who was refused at the door is told with the latest story that had locked the name by then.
#[must_use]
pub fn stories<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<Story> {
    let mut order: Vec<(String, String)> = Vec::new();
    let mut stories: BTreeMap<(String, String), Story> = BTreeMap::new();
    let mut refused: Vec<(String, Timestamp)> = Vec::new();
    for entry in entries {
        if entry.text("kind") == Some(Kind::Denied.word()) {
            refused.extend(entry.text("at").and_then(Timestamp::parse).map(|at| (entry.chain().to_owned(), at)));
            continue;
        }
        let key = (entry.chain().to_owned(), entry.text("signal_id").unwrap_or_default().to_owned());
        let story = stories.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            Story::begun_by(entry)
        });
        story.take(entry);
    }
    let mut stories: Vec<Story> = order.iter().filter_map(|key| stories.remove(key)).collect();
    for (name, at) in refused {
        let had_locked = |story: &&mut Story| {
            let locked_by_then = story.locked_at.is_some_and(|locked_at| locked_at <= at);
            story.locks() && locked_by_then && (story.subject == name || story.names.contains(&name))
        };
        if let Some(story) = stories.iter_mut().filter(had_locked).max_by_key(|story| story.locked_at) {
            story.refused_at.push(at);
        }
    }
    stories
}

/// How long revocations took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Times {
    /// Each, rising, in milliseconds.
    #[serde(skip)]
    sorted: Vec<Duration>,
    /// How many are not verified.
    pub unverified: usize,
}

impl Times {
    /// The times of all revocations among the stories.
    #[must_use]
    pub fn of(stories: &[Story]) -> Self {
        let revocations = || stories.iter().filter(|story| story.is_revocation());
        let mut sorted: Vec<Duration> = revocations().filter_map(Story::took).collect();
        sorted.sort_unstable();
        Self { unverified: revocations().count().saturating_sub(sorted.len()), sorted }
    }

    /// How many are verified.
    #[must_use]
    pub fn verified(&self) -> usize {
        self.sorted.len()
    }

    /// How many took no longer than this.
    #[must_use]
    pub fn within(&self, limit: Duration) -> usize {
        self.sorted.partition_point(|time| *time <= limit)
    }

    /// The time within which so many of a hundred were done (nearest rank); none where there is none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = self.sorted.len().saturating_mul(percent).div_ceil(100).max(1);
        self.sorted.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn at(second: u32) -> String {
        format!("2026-03-01T09:{:02}:{:02}.000Z", second / 60, second % 60)
    }

    fn instant(second: u32) -> Option<Timestamp> {
        Timestamp::parse(&at(second))
    }

    fn entry(subject: &str, kind: &str, signal: &str, second: u32, detail: Value) -> Entry {
        let value = json!({
            "subject": subject, "kind": kind, "signal_id": signal, "at": at(second), "authority": "okta:acme", "detail": detail,
        });
        match value {
            Value::Object(attributes) => Entry::from_attributes(attributes),
            _ => unreachable!(),
        }
    }

    fn requested(subject: &str, signal: &str, second: u32) -> Entry {
        let detail = json!({"action": "revoke", "names": [subject, "laptop-7"], "received_at": at(second), "occurred_at": at(second - 2)});
        entry(subject, "requested", signal, second, detail)
    }

    fn completed(subject: &str, signal: &str, second: u32) -> Entry {
        let detail = json!({
            "action": "revoke", "names": [subject, "laptop-7"], "occurred_at": at(second - 22), "locked_at": at(second - 19),
            "first_terminate_at": at(second - 18), "verified_at": at(second), "connection_count": 3,
        });
        entry(subject, "completed", signal, second, detail)
    }

    #[test]
    fn a_story_is_put_together_from_its_entries() {
        let entries = [requested("dana", "1", 60), completed("dana", "1", 80)];
        let told = stories(&entries);
        let story = &told[0];
        assert_eq!((told.len(), story.outcome.as_str(), story.connections), (1, "completed", 3));
        assert_eq!((story.occurred_at, story.received_at), (instant(58), instant(60)));
        assert_eq!((story.locked_at, story.first_terminate_at), (instant(61), instant(62)));
        assert_eq!(story.took(), Some(Duration::from_secs(22)));
        assert!(story.is_revocation());
    }

    #[test]
    fn an_attempt_that_was_not_enough_leaves_the_first_call_where_it_was() {
        let incomplete = entry(
            "dana",
            "incomplete",
            "1",
            70,
            json!({"action": "revoke", "first_terminate_at": at(61), "why": "1 connection is alive"}),
        );
        let entries = [requested("dana", "1", 60), incomplete, completed("dana", "1", 200)];
        let told = stories(&entries[..2]);
        assert_eq!((told[0].outcome.as_str(), told[0].why.as_deref()), ("incomplete", Some("1 connection is alive")));
        assert_eq!((told[0].took(), Times::of(&told).unverified), (None, 1));
        let told = stories(&entries);
        assert_eq!((told[0].first_terminate_at, told[0].verified_at), (instant(61), instant(200)));
        assert_eq!(told[0].why, None);
    }

    #[test]
    fn who_was_refused_is_told_with_the_latest_story_that_had_locked_the_name() {
        let refusal = |name: &str, second| entry(name, "denied", "denied:x", second, json!({}));
        let entries = [
            refusal("dana", 1),
            requested("dana", "1", 60),
            completed("dana", "1", 80),
            requested("dana", "2", 160),
            completed("dana", "2", 180),
            refusal("dana", 90),
            refusal("laptop-7", 190),
            refusal("lee", 190),
        ];
        let told = stories(&entries);
        let refused: Vec<_> = told.iter().map(|story| story.refused_at.clone()).collect();
        assert_eq!(refused, [vec![instant(90).unwrap()], vec![instant(190).unwrap()]]);
    }

    #[test]
    fn what_was_refused_or_shadowed_is_no_revocation() {
        let refused = entry("dana", "refused", "1", 60, json!({"action": "revoke", "why": "protected"}));
        let restored = entry("dana", "restored", "2", 61, json!({"action": "restore"}));
        let told = stories([&refused, &restored]);
        assert_eq!((told.len(), told.iter().filter(|story| story.is_revocation()).count()), (2, 0));
        assert_eq!(Times::of(&told), Times { sorted: Vec::new(), unverified: 0 });
        assert_eq!(Times::of(&told).percentile(50), None);
    }

    proptest! {
        #[test]
        fn a_percentile_is_a_time_that_was_taken_and_so_many_are_within_it(
            seconds in prop::collection::vec(1_u64..1000, 1..50),
            percent in 1_usize..=100,
        ) {
            let mut sorted: Vec<Duration> = seconds.iter().copied().map(Duration::from_secs).collect();
            sorted.sort_unstable();
            let times = Times { sorted, unverified: 0 };
            let time = times.percentile(percent).unwrap();
            prop_assert!(seconds.contains(&time.as_secs()));
            prop_assert!(times.within(time) * 100 >= percent * seconds.len());
            let shorter = times.within(time.saturating_sub(Duration::from_millis(1)));
            prop_assert!(shorter * 100 < percent * seconds.len());
        }
    }
}
