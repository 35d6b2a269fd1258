//! What the trail tells of one signal and one subject, read together: when it occurred, when it was locked, ended and
//! verified, and who was refused since. Entries say facts; this puts them in order for people.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{Entry, Kind};
use crate::time::Timestamp;

/// The action that takes access away.
const REVOKE: &str = "revoke";

/// Within how long access has to be gone, for the share that is told of.
pub const GOAL: Duration = Duration::from_mins(5);

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
    /// When the lock was durable that the first attempt set; only of revocations.
    pub locked_at: Option<Timestamp>,
    /// When the first terminate call was made.
    pub first_terminate_at: Option<Timestamp>,
    /// When the listing ended that showed nothing alive.
    pub verified_at: Option<Timestamp>,
    /// How many connections it was about.
    pub connections: u64,
    #[serde(skip)]
    acted: bool,
    /// When the connect handler refused one of its names because of it, as far as that is on record: at most once for each
    /// name, endpoint and hour. Rising.
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
            acted: false,
            refused_at: Vec::new(),
        }
    }

    /// Takes an entry in; a later one counts for more.
    fn take(&mut self, entry: &Entry) {
        // Another attempt may have been under way beside the one that was completed. Only a sweep that began later, and found
        // the same connections again, begins anew.
        let is_later = self.action == "sweep" && entry.instant("received_at") > self.verified_at;
        if is_later {
            self.verified_at = None;
        }
        if is_later || self.outcome != Kind::Completed.word() {
            self.outcome = entry.text("kind").unwrap_or_default().to_owned();
            self.why = entry.detail("why").and_then(Value::as_str).map(str::to_owned);
        }
        if let Some(action) = entry.detail("action").and_then(Value::as_str) {
            action.clone_into(&mut self.action);
        }
        if let Some(names) = entry.detail("names").and_then(Value::as_array) {
            self.names = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        if let Some(count) = entry.detail("connection_count").and_then(Value::as_u64) {
            self.connections = count.max(self.connections);
        }
        let later = |known: &mut Option<Timestamp>, name: &str| *known = entry.instant(name).or(*known);
        later(&mut self.occurred_at, "occurred_at");
        later(&mut self.received_at, "received_at");
        later(&mut self.verified_at, "verified_at");
        // Of several attempts, the lock and the first call are the first one's. What a sweep notes as its lock is when it
        // began to act on one that stood before.
        if self.action == REVOKE {
            self.locked_at = self.locked_at.or(entry.instant("locked_at"));
        }
        self.first_terminate_at = self.first_terminate_at.or(entry.instant("first_terminate_at"));
        self.acted |= entry.text("kind") == Some(Kind::Requested.word()) || entry.instant("locked_at").is_some();
    }

    /// Whether it took somebody's access away, or began to: what it came to in the end is another matter.
    #[must_use]
    pub fn is_revocation(&self) -> bool {
        self.action == REVOKE && self.acted
    }

    /// Whether it was to end connections: a revocation, a disconnect, or what a sweep found.
    #[must_use]
    pub fn ends_connections(&self) -> bool {
        [REVOKE, "sweep", "disconnect"].contains(&self.action.as_str()) && self.acted
    }

    /// From when its time is taken: from when it occurred by the producer's word, as far as that is believed; where nobody
    /// said so, from when it was received.
    #[must_use]
    pub fn begun_at(&self) -> Option<Timestamp> {
        let received_at = self.received_at.or(self.occurred_at)?;
        Some(Timestamp::as_of(self.occurred_at, received_at))
    }

    /// How long access lasted: until it was verified that nothing was left.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        Some(self.verified_at?.since(self.begun_at()?))
    }
}

/// The stories in entries, in the order of their first entries. The entries of each chain must come in their order.
///
/// A refusal at the door is told with the story of the signal whose hold refused it, if that is among them.
#[must_use]
pub fn stories<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<Story> {
    let mut order: Vec<Key> = Vec::new();
    let mut stories: BTreeMap<Key, Story> = BTreeMap::new();
    let mut refusals: Vec<&Entry> = Vec::new();
    for entry in entries {
        if entry.text("kind") == Some(Kind::Denied.word()) {
            refusals.push(entry);
            continue;
        }
        let key = key(entry);
        let story = stories.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            Story::begun_by(entry)
        });
        story.take(entry);
    }
    let mut stories: Vec<Story> =
        order.iter().filter(|key| !is_answered(key, &order)).filter_map(|key| stories.remove(key)).collect();
    for refusal in refusals {
        let signal = refusal.detail("signal_id").and_then(Value::as_str);
        let (name, at) = (refusal.chain(), refusal.text("at").and_then(Timestamp::parse));
        let is_its = |story: &&mut Story| {
            let of_name = story.subject == name || story.names.iter().any(|other| other == name);
            of_name && Some(story.signal_id.as_str()) == signal && story.action == REVOKE
        };
        if let (Some(story), Some(at)) = (stories.iter_mut().find(is_its), at) {
            story.refused_at.push(at);
        }
    }
    stories.iter_mut().for_each(|story| story.refused_at.sort_unstable());
    stories
}

/// Whether a question to the directory became a revocation or a restore later: it is no story of its own then.
fn is_answered((chain, signal, action): &Key, all: &[Key]) -> bool {
    action == "ask" && all.iter().any(|(other, of, act)| other == chain && of == signal && act != action)
}

/// A chain, a signal and what it asked for: one id may stand for a revocation and for its restore.
type Key = (String, String, String);

fn key(entry: &Entry) -> Key {
    let action = entry.detail("action").and_then(Value::as_str);
    let signal = entry.text("signal_id").unwrap_or_default();
    (entry.chain().to_owned(), signal.to_owned(), action.unwrap_or_default().to_owned())
}

/// How long revocations took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// Those of the verified, rising.
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

    /// The time within which so many of a hundred **of the verified** were done (nearest rank); none where there is none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = self.sorted.len().saturating_mul(percent).div_ceil(100).max(1);
        self.sorted.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    fn at(second: u32) -> String {
        format!("2026-03-01T09:{:02}:{:02}.000Z", second / 60, second % 60)
    }

    fn instant(second: u32) -> Option<Timestamp> {
        Timestamp::parse(&at(second))
    }

    fn entry(subject: &str, kind: &str, signal: &str, second: u32, detail: Value) -> Entry {
        let texts = [("subject", subject), ("kind", kind), ("signal_id", signal), ("authority", "okta:acme")];
        let mut attributes: Map<String, Value> =
            texts.into_iter().map(|(name, text)| (name.to_owned(), json!(text))).collect();
        attributes.insert("at".to_owned(), json!(at(second)));
        attributes.insert("detail".to_owned(), detail);
        Entry::from_attributes(attributes)
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
    fn what_was_verified_stays_so_whatever_another_attempt_beside_it_came_to() {
        let late = |kind: &str| entry("dana", kind, "1", 90, json!({"action": "revoke", "why": "no time was left"}));
        for kind in ["incomplete", "superseded"] {
            let told = stories(&[requested("dana", "1", 60), completed("dana", "1", 80), late(kind)]);
            assert_eq!((told[0].outcome.as_str(), told[0].why.as_deref()), ("completed", None), "{kind}");
            let swept = entry("dana", "completed", "1", 80, json!({"action": "sweep", "verified_at": at(80)}));
            let again = |begun: u32| entry("dana", kind, "1", 90, json!({"action": "sweep", "received_at": at(begun)}));
            let told = |begun: u32| stories(&[swept.clone(), again(begun)]).remove(0);
            for beside in [70, 80] {
                assert_eq!(
                    (told(beside).outcome.as_str(), told(beside).verified_at),
                    ("completed", instant(80)),
                    "{beside}"
                );
            }
            assert_eq!((told(85).outcome.as_str(), told(85).verified_at), (kind, None), "seen alive again");
            let told = stories(&[requested("dana", "1", 60), late(kind), completed("dana", "1", 80)]);
            assert_eq!((told[0].outcome.as_str(), told[0].why.as_deref()), ("completed", None), "{kind}");
        }
    }

    #[test]
    fn a_story_says_who_said_so_and_why() {
        let mut attributes = requested("dana", "1", 60).attributes().clone();
        attributes.insert("actor".to_owned(), json!("admin@example.com"));
        attributes.insert("reason".to_owned(), json!("INC-42"));
        let told = stories(&[Entry::from_attributes(attributes)]);
        let story = &told[0];
        assert_eq!((story.subject.as_str(), story.signal_id.as_str(), story.action.as_str()), ("dana", "1", "revoke"));
        assert_eq!((story.authority.as_str(), story.actor.as_deref()), ("okta:acme", Some("admin@example.com")));
        assert_eq!(
            (story.reason.as_deref(), &story.names[..]),
            (Some("INC-42"), &["dana".to_owned(), "laptop-7".to_owned()][..])
        );
    }

    #[test]
    fn access_is_to_be_gone_within_five_minutes() {
        assert_eq!(GOAL, Duration::from_secs(300));
        let sorted = [299, 300, 301].map(Duration::from_secs).to_vec();
        assert_eq!(Times { sorted, unverified: 0 }.within(GOAL), 2);
    }

    #[test]
    fn an_attempt_that_was_not_enough_leaves_the_lock_and_the_first_call_where_they_were() {
        let detail = json!({
            "action": "revoke", "locked_at": at(61), "first_terminate_at": at(62), "why": "1 connection is alive",
        });
        let incomplete = entry("dana", "incomplete", "1", 70, detail);
        let entries = [requested("dana", "1", 60), incomplete, completed("dana", "1", 200)];
        let told = stories(&entries[..2]);
        assert_eq!((told[0].outcome.as_str(), told[0].why.as_deref()), ("incomplete", Some("1 connection is alive")));
        assert_eq!((told[0].took(), Times::of(&told).unverified), (None, 1));
        let told = stories(&entries);
        let story = &told[0];
        assert_eq!(
            (story.locked_at, story.first_terminate_at, story.verified_at),
            (instant(61), instant(62), instant(200))
        );
        assert!(story.locked_at < story.first_terminate_at, "the lock comes first, in the picture too");
        assert_eq!(story.why, None);
    }

    #[test]
    fn a_refusal_is_told_with_the_story_of_the_hold_that_refused() {
        let refusal =
            |name: &str, signal: &str, second| entry(name, "denied", "denied:x", second, json!({"signal_id": signal}));
        let entries = [
            requested("dana", "1", 60),
            completed("dana", "1", 80),
            requested("dana", "2", 160),
            completed("dana", "2", 180),
            refusal("laptop-7", "1", 250),
            refusal("dana", "1", 190),
            refusal("dana", "2", 200),
            refusal("dana", "an older one", 210),
            refusal("lee", "1", 220),
        ];
        let told = stories(&entries);
        let refused: Vec<_> = told.iter().map(|story| story.refused_at.clone()).collect();
        assert_eq!(refused, [vec![instant(190).unwrap(), instant(250).unwrap()], vec![instant(200).unwrap()]]);
    }

    #[test]
    fn what_was_refused_before_it_began_is_no_revocation() {
        let refused = entry("dana", "refused", "1", 60, json!({"action": "revoke", "why": "protected"}));
        let restored = entry("dana", "restored", "2", 61, json!({"action": "restore"}));
        let told = stories([&refused, &restored]);
        assert_eq!((told.len(), told.iter().filter(|story| story.ends_connections()).count()), (2, 0));
        assert_eq!(Times::of(&told), Times { sorted: Vec::new(), unverified: 0 });
        assert_eq!(Times::of(&told).percentile(50), None);
    }

    #[test]
    fn what_was_locked_and_then_refused_is_a_revocation_that_is_not_verified() {
        let refused =
            entry("dana", "refused", "1", 70, json!({"action": "revoke", "locked_at": at(61), "why": "shared"}));
        let told = stories(&[requested("dana", "1", 60), refused]);
        assert!(told[0].is_revocation() && told[0].outcome == "refused");
        assert_eq!(Times::of(&told).unverified, 1);
    }

    #[test]
    fn a_sweep_has_no_lock_of_its_own_and_is_no_time_to_revoke() {
        let detail = json!({
            "action": "sweep", "received_at": at(60), "locked_at": at(61), "first_terminate_at": at(61), "verified_at": at(70),
        });
        let told = stories(&[entry("dana", "completed", "sweep:1", 70, detail)]);
        assert!(told[0].ends_connections() && !told[0].is_revocation());
        assert_eq!((told[0].locked_at, told[0].verified_at), (None, instant(70)));
        assert_eq!(Times::of(&told).verified(), 0);
    }

    #[test]
    fn one_id_of_a_revocation_and_its_restore_makes_two_stories() {
        let restored = entry("dana", "restored", "INC-42", 300, json!({"action": "restore"}));
        let told = stories(&[requested("dana", "INC-42", 60), completed("dana", "INC-42", 80), restored]);
        let outcomes: Vec<&str> = told.iter().map(|story| story.outcome.as_str()).collect();
        assert_eq!((outcomes, Times::of(&told).verified()), (vec!["completed", "restored"], 1));
    }

    #[test]
    fn a_question_to_the_directory_that_was_answered_is_no_story_of_its_own() {
        let asked = entry("dana", "unresolved", "1", 60, json!({"action": "ask"}));
        let restored = entry("dana", "restored", "1", 70, json!({"action": "restore"}));
        let open = entry("dana", "unresolved", "2", 80, json!({"action": "ask"}));
        let outcomes: Vec<String> = stories(&[asked, restored, open]).into_iter().map(|story| story.outcome).collect();
        assert_eq!(outcomes, ["restored", "unresolved"]);
    }

    #[test]
    fn a_clock_that_is_ahead_or_absurd_is_not_believed() {
        let with = |occurred_at: &str| {
            let detail = json!({
                "action": "revoke", "received_at": at(60), "occurred_at": occurred_at, "locked_at": at(61), "verified_at": at(80),
            });
            stories(&[requested("dana", "1", 60), entry("dana", "completed", "1", 80, detail)])[0].took()
        };
        assert_eq!(with(&at(40)), Some(Duration::from_secs(40)));
        for absurd in [at(600).as_str(), "1970-01-01T00:00:00.000Z"] {
            assert_eq!(with(absurd), Some(Duration::from_secs(20)), "{absurd}");
        }
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
