//! The table of producers, compiled once.

use std::fmt;

use quamina::Quamina;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::extract::{Extract, Place};
use super::{Delivery, Event, Rejected};
use crate::name::Subject;
use crate::signal::{About, Action, Authority, Signal, SignalId};
use crate::time::Timestamp;

/// The tables that come with the program.
const BUILT_IN: [(&str, &str); 1] = [("okta.json", include_str!("../../rules/okta.json"))];

/// How deeply events may be packed into one another.
const MAX_DEPTH: usize = 4;

/// A producer's table, as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Who speaks; with the tenant it is the authority.
    producer: String,
    /// Events that are packed around others.
    #[serde(default)]
    envelopes: Vec<EnvelopeRow>,
    /// Where things stand in this producer's events.
    #[serde(default)]
    places: Places,
    /// Events that say something about a person.
    #[serde(default)]
    rules: Vec<RuleRow>,
}

/// A kind of event that holds others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeRow {
    name: String,
    /// Which events these are: an EventBridge pattern.
    pattern: Value,
    /// Where the events inside stand.
    events: String,
}

/// A kind of event that says something about a person.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleRow {
    name: String,
    /// Which events these are: an EventBridge pattern.
    pattern: Value,
    /// What they ask for.
    action: ActionWord,
    /// Where things stand, as far as this kind differs from the producer's others.
    #[serde(default)]
    places: Places,
}

/// Where things stand in an event.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Places {
    /// Whom it is about.
    who: Option<Who>,
    /// The producer's own id of the event.
    id: Option<Vec<Place>>,
    /// When it happened.
    occurred_at: Option<Vec<Place>>,
    /// The producer's customer.
    tenant: Option<Vec<Place>>,
    /// Who caused it: never the person it is about.
    actor: Option<Vec<Place>>,
    /// Why.
    reason: Option<Vec<Place>>,
}

/// Whom an event is about.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    /// The people in the event: one or more objects.
    each: String,
    /// The name, within each.
    name: Vec<Place>,
    /// The producer's id of the person, within each; said where no name is.
    id: Vec<Place>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActionWord {
    Revoke,
    Disconnect,
    Restore,
}

/// Everything that is wrong with a table, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesError(Vec<String>);

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the intake rules have {} mistakes: {}", self.0.len(), self.0.join("; "))
    }
}

impl std::error::Error for RulesError {}

struct Envelope {
    events: JsonPath,
}

struct Rule {
    producer: String,
    action: ActionWord,
    each: JsonPath,
    name: Extract,
    person_id: Extract,
    id: Extract,
    occurred_at: Extract,
    tenant: Extract,
    actor: Extract,
    reason: Extract,
}

/// Which row of the compiled table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Row {
    Envelope(usize),
    Rule(usize),
}

/// The compiled table of producers.
pub struct Intake {
    patterns: Quamina<Row>,
    envelopes: Vec<Envelope>,
    rules: Vec<Rule>,
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("rules", &self.rules.len()).finish_non_exhaustive()
    }
}

impl Intake {
    /// Compiles the tables that come with the program.
    ///
    /// # Errors
    /// Where one of them has a mistake, which a test rules out.
    pub fn built_in() -> Result<Self, RulesError> {
        Self::compile(&BUILT_IN)
    }

    fn compile(files: &[(&str, &str)]) -> Result<Self, RulesError> {
        let mut intake = Self { patterns: Quamina::new(), envelopes: Vec::new(), rules: Vec::new() };
        let mut mistakes = Vec::new();
        for (file, text) in files {
            match serde_json::from_str::<Table>(text) {
                Ok(table) => intake.add(&table, &mut mistakes),
                Err(error) => mistakes.push(format!("{file}: {error}")),
            }
        }
        if mistakes.is_empty() { Ok(intake) } else { Err(RulesError(mistakes)) }
    }

    fn add(&mut self, table: &Table, mistakes: &mut Vec<String>) {
        for row in &table.envelopes {
            let mut wrong =
                |field: &str, problem: String| mistakes.push(format!("envelope `{}`, {field}: {problem}", row.name));
            if let Err(error) = self.patterns.add_pattern(Row::Envelope(self.envelopes.len()), &row.pattern.to_string())
            {
                wrong("pattern", error.to_string());
            }
            if let Some(events) = path(&row.events, |problem| wrong("events", problem)) {
                self.envelopes.push(Envelope { events });
            }
        }
        for row in &table.rules {
            let mut wrong =
                |field: &str, problem: String| mistakes.push(format!("rule `{}`, {field}: {problem}", row.name));
            if let Err(error) = self.patterns.add_pattern(Row::Rule(self.rules.len()), &row.pattern.to_string()) {
                wrong("pattern", error.to_string());
            }
            let Some(who) = row.places.who.as_ref().or(table.places.who.as_ref()) else {
                wrong("places.who", "is missing; say whom the event is about".to_owned());
                continue;
            };
            let each = path(&who.each, |problem| wrong("who.each", problem));
            let name = Extract::compile(&who.name, &mut |problem| wrong("who.name", problem));
            let person_id = Extract::compile(&who.id, &mut |problem| wrong("who.id", problem));
            let mut extract = |field: &str, of: fn(&Places) -> &Option<Vec<Place>>| {
                let places =
                    of(&row.places).as_ref().or(of(&table.places).as_ref()).map(Vec::as_slice).unwrap_or_default();
                Extract::compile(places, &mut |problem| wrong(field, problem))
            };
            let rule = Rule {
                producer: table.producer.clone(),
                action: row.action,
                name,
                person_id,
                id: extract("id", |places| &places.id),
                occurred_at: extract("occurred_at", |places| &places.occurred_at),
                tenant: extract("tenant", |places| &places.tenant),
                actor: extract("actor", |places| &places.actor),
                reason: extract("reason", |places| &places.reason),
                each: match each {
                    Some(each) => each,
                    None => continue,
                },
            };
            self.rules.push(rule);
        }
    }

    /// The signals in an event, and in the events packed into it.
    pub(super) fn match_event(&self, event: &Event, delivery: &Delivery) -> Result<Vec<Signal>, Rejected> {
        let mut signals = Vec::new();
        self.collect(event, delivery, 0, &mut signals)?;
        // Where neither the producer nor EventBridge numbered them, several signals of one delivery need an id each.
        let fallback = event.id.clone().unwrap_or_else(|| delivery.id.clone());
        let unnumbered = signals.iter_mut().filter(|signal| signal.id.as_str() == fallback);
        for (number, signal) in unnumbered.enumerate().skip(1) {
            signal.id = SignalId::new(&format!("{fallback}/{number}"));
        }
        Ok(signals)
    }

    fn collect(
        &self,
        event: &Event,
        delivery: &Delivery,
        depth: usize,
        signals: &mut Vec<Signal>,
    ) -> Result<(), Rejected> {
        let matched = self.patterns.matches_for_event(event.document.to_string().as_bytes());
        let mut rows = matched.map_err(|error| Rejected::Fault(error.to_string()))?;
        rows.sort();
        for row in rows {
            match row {
                Row::Envelope(number) if depth < MAX_DEPTH => {
                    let Some(envelope) = self.envelopes.get(number) else {
                        continue;
                    };
                    for inner in envelope.events.query(&event.document).all() {
                        self.collect(&event.inside(inner.clone()), delivery, depth + 1, signals)?;
                    }
                }
                Row::Envelope(_) => {}
                Row::Rule(number) => signals.extend(self.rules.get(number).map(|rule| rule.signal(event, delivery))),
            }
        }
        Ok(())
    }
}

impl Rule {
    fn signal(&self, event: &Event, delivery: &Delivery) -> Signal {
        let document = &event.document;
        let own_id = self.id.text(document);
        let id = match &own_id {
            Some(own) => SignalId::of_producer(&self.producer, own),
            None => SignalId::new(event.id.as_deref().unwrap_or(&delivery.id)),
        };
        let tenant = self.tenant.text(document).map(|tenant| tenant.to_lowercase());
        let authority = Authority::producer(&self.producer, tenant.as_deref());
        let occurred_at = self.occurred_at.text(document).and_then(|text| Timestamp::parse(&text));
        let people = self.each.query(document).all();
        let nobody = |number: usize| About::Unresolved {
            producer: self.producer.clone(),
            id: format!("event {}/{number}", own_id.as_deref().unwrap_or(id.as_str())),
        };
        // The event is one of those that mean somebody. Where it names nobody, that must not pass in silence.
        let mut about: Vec<About> = Vec::new();
        for number in 0..people.len().max(1) {
            let person = people.get(number).and_then(|person| self.about(person));
            about.push(person.unwrap_or_else(|| nobody(number)));
        }
        Signal {
            id,
            action: match self.action {
                ActionWord::Revoke => Action::Revoke { expires_at: None },
                ActionWord::Disconnect => Action::Disconnect,
                // A producer's word lifts its own hold and no other.
                ActionWord::Restore => Action::Restore { authorities: Some(vec![authority.clone()]) },
            },
            about,
            authority,
            as_of: Timestamp::as_of(occurred_at, delivery.received_at),
            occurred_at,
            received_at: delivery.received_at,
            source: event.text("source").map_or_else(|| format!("{} event", self.producer), str::to_owned),
            actor: self.actor.text(document),
            reason: self.reason.text(document),
            dry_run: false,
            force: false,
            via: delivery.via,
        }
    }

    /// The person that an object in the event stands for, by name or at least by id.
    fn about(&self, person: &Value) -> Option<About> {
        match self.name.text(person).map(|name| Subject::new(&name)) {
            Some(Ok(subject)) => Some(About::Subject(subject)),
            _ => self.person_id.text(person).map(|id| About::Unresolved { producer: self.producer.clone(), id }),
        }
    }
}

fn path(text: &str, mut wrong: impl FnMut(String)) -> Option<JsonPath> {
    JsonPath::parse(text).map_err(|error| wrong(format!("`{text}` is no JSONPath (RFC 9535): {error}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_compiles() {
        let intake = Intake::built_in().unwrap();
        assert!(!intake.rules.is_empty() && !intake.envelopes.is_empty());
    }

    #[test]
    fn every_mistake_of_a_table_is_listed_by_rule_and_field() {
        let table = r#"{"producer":"p","places":{"id":[{"path":"$.id","capture":"("}]},
            "rules":[{"name":"r-1","pattern":{"detail":"not an array"},"action":"revoke","places":{
                "who":{"each":"detail.user","name":[{"path":"$.a["}],"id":[]},
                "occurred_at":[{"path":"$.at","capture":"no group"}]}}]}"#;
        let RulesError(mistakes) =
            Intake::compile(&[("mine.json", table), ("other.json", r#"{"rulez":[]}"#)]).unwrap_err();
        let expected = [
            "rule `r-1`, pattern",
            "rule `r-1`, who.each",
            "rule `r-1`, who.name",
            "rule `r-1`, id",
            "rule `r-1`, occurred_at",
            "other.json",
        ];
        for (number, expected) in expected.iter().enumerate() {
            assert!(mistakes[number].starts_with(expected), "{mistakes:#?}");
        }
    }
}
