//! What the intake makes of an event, rule by rule, for people who want to know why something happened, or did not.

use quamina::Quamina;
use serde::Serialize;
use serde_json::{Map, Value};

use super::rules::{Rule, Visited};
use super::table::ActionWord;
use super::unpack::{self, Unpacked};
use super::{Delivery, Event, Intake, Rejected, command, parse};
use crate::signal::{About, Signal, Via};

/// What comes of an order to sweep.
const SWEPT: &str = "every connection is checked against every lock";

/// How many rules that nearly matched are told of.
const NEAR_AT_MOST: usize = 3;

/// What the intake makes of a payload.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Each event in it.
    pub events: Vec<Explained>,
}

/// What the intake makes of one event.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// What the event was in, outermost first: transports, then a producer's own envelopes.
    pub through: Vec<String>,
    /// A few words that tell which event it is.
    pub event: String,
    /// EventBridge replayed it from an archive, by this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
    /// The rules that know it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<ExplainedRule>,
    /// Where no rule does: those that come nearest, and what does not fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<NearMiss>,
    /// What is done.
    pub result: String,
}

/// A rule that knows an event.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedRule {
    /// The rule.
    pub rule: String,
    /// What the event says.
    pub about: String,
    /// Whether it counts.
    pub on: bool,
    /// What it asks for.
    pub action: &'static str,
    /// Whom it is about, and where that stands in the event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<ExplainedPerson>,
    /// The signal's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_id: Option<String>,
    /// Who says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// The instant from which it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
}

/// Somebody whom an event is about.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedPerson {
    /// The name, or else the producer's id.
    pub subject: String,
    /// Whether that is a name.
    pub named: bool,
    /// Where it stands in the event.
    pub path: String,
}

/// A rule that nearly matched.
#[derive(Debug, Clone, Serialize)]
pub struct NearMiss {
    /// The rule.
    pub rule: String,
    /// What the event would have said.
    pub about: String,
    /// What does not fit.
    pub misfits: Vec<Misfit>,
}

/// A field that does not fit.
#[derive(Debug, Clone, Serialize)]
pub struct Misfit {
    /// The field, from the top of the event; what came bare stands in `detail`.
    pub field: String,
    /// What the rule wants there.
    pub wanted: Value,
    /// What is there: texts, numbers and truth values.
    pub found: Vec<Value>,
}

impl Intake {
    /// What would be made of a payload: which envelopes it is in, which rules know each event, where the people in it
    /// stand, what would be done, and for rules that nearly matched, what did not fit.
    ///
    /// It quotes the payload, so it is for the eyes of whoever asked and not for a log.
    ///
    /// # Errors
    /// Where the payload is no JSON.
    pub fn explain(&self, payload: &[u8], delivery: &Delivery) -> Result<Explanation, Rejected> {
        let unpacked = unpack::unpack(parse(payload)?, delivery.via);
        Ok(Explanation { events: unpacked.into_iter().flat_map(|item| self.explain_item(item, delivery)).collect() })
    }

    fn explain_item(&self, item: Result<Unpacked, Rejected>, delivery: &Delivery) -> Vec<Explained> {
        let problem = |through: Vec<String>, event: String, result: String| Explained {
            through,
            event,
            replay: None,
            rules: Vec::new(),
            near: Vec::new(),
            result,
        };
        let item = match item {
            Ok(item) => item,
            Err(rejected) => return vec![problem(Vec::new(), "unreadable".to_owned(), rejected.to_string())],
        };
        let through: Vec<String> = item.through.iter().map(|&layer| layer.to_owned()).collect();
        let delivery = Delivery { via: item.via, ..delivery.clone() };
        let event = Event::of(item.payload.clone(), item.outer.clone());
        let is_command = super::is_schedule(&event)
            || event.is_command()
            || (item.via == Via::Direct && command::is_command(&item.payload));
        let description = if is_command { "a command".to_owned() } else { event.description() };
        if is_command || command::is_meant_as_command(&item.payload) && !event.is_wrapped() {
            if item.via == Via::Direct && command::is_sync(&item.payload) == Ok(true) {
                let result = "the directory is copied, so that whoever is deleted later is still known by name";
                return vec![problem(through, description, result.to_owned())];
            }
            if let (Via::Direct, Ok(Some(_))) = (item.via, command::sweep(&item.payload, &delivery)) {
                return vec![problem(through, description, SWEPT.to_owned())];
            }
            let replay = self.replay(&event);
            let result = match self.read_one(item, &delivery) {
                Ok(super::Reading::Events { sweeps, .. }) if !sweeps.is_empty() => SWEPT.to_owned(),
                Ok(reading) => done(&reading.into_signals(), replay.as_ref()),
                Err(rejected) => rejected.to_string(),
            };
            return vec![Explained { replay, ..problem(through, description, result) }];
        }
        match self.walk(event) {
            Ok(visited) => {
                let packed = visited.len() > 1;
                // An envelope that only holds others is not looked at as an event of its own.
                let told =
                    visited.into_iter().filter(|one| !packed || !one.through.is_empty() || !one.rules.is_empty());
                told.map(|one| self.explain_event(one, &through, &delivery)).collect()
            }
            Err(rejected) => vec![problem(through, description, rejected.to_string())],
        }
    }

    fn explain_event(&self, visited: Visited, transports: &[String], delivery: &Delivery) -> Explained {
        let Visited { event, rules, through, .. } = visited;
        let rules: Vec<&Rule> = rules.iter().filter_map(|number| self.rule(*number)).collect();
        let replay = self.replay(&event);
        let near = if rules.is_empty() { self.near(&event) } else { Vec::new() };
        let signals: Vec<Signal> =
            rules.iter().filter(|rule| rule.on).filter_map(|rule| rule.signal(&event, delivery)).collect();
        let result = match rules.iter().find(|rule| rule.action != ActionWord::Ignore) {
            _ if !signals.is_empty() => done(&signals, replay.as_ref()),
            _ if rules.is_empty() && unpack::carries_token(event.detail().unwrap_or(&Value::Null)) => {
                Rejected::SignedToken.to_string()
            }
            _ if rules.is_empty() => Rejected::Unknown(event.description()).to_string(),
            Some(off) => Rejected::SwitchedOff { rule: off.name.clone() }.to_string(),
            None => "nothing is done: the event is known and means nothing here".to_owned(),
        };
        Explained {
            through: [transports, &through].concat(),
            event: event.description(),
            replay,
            rules: rules.iter().map(|rule| explain_rule(rule, &event, delivery)).collect(),
            near,
            result,
        }
    }

    /// The rules that come nearest, by how many of their fields fit.
    fn near(&self, event: &Event) -> Vec<NearMiss> {
        let document = event.document.to_string();
        let mut near: Vec<(usize, NearMiss)> = Vec::new();
        for rule in self.all_rules() {
            let mut fields = Vec::new();
            leaves(&rule.pattern, &mut Vec::new(), &mut fields);
            let (fitting, misfitting): (Vec<_>, Vec<_>) =
                fields.iter().partition(|(path, wanted)| fits(path, wanted, &document));
            // That something is absent says nothing about what an event is.
            let telling = fitting.iter().filter(|(_, wanted)| !is_absence(wanted)).count();
            let mut misfits: Vec<Misfit> =
                misfitting.iter().map(|(path, wanted)| misfit(path, wanted, event)).collect();
            if misfits.is_empty() && telling > 0 {
                let field = "several fields together, or a further condition (`where`)".to_owned();
                misfits.push(Misfit { field, wanted: rule.pattern.clone(), found: Vec::new() });
            }
            if telling > 0 && misfits.len() <= telling.max(1) {
                near.push((misfits.len(), NearMiss { rule: rule.name.clone(), about: rule.about.clone(), misfits }));
            }
        }
        near.sort_by_key(|(misfits, _)| *misfits);
        near.into_iter().take(NEAR_AT_MOST).map(|(_, miss)| miss).collect()
    }
}

fn explain_rule(rule: &Rule, event: &Event, delivery: &Delivery) -> ExplainedRule {
    let signal = rule.signal(event, delivery);
    let who = rule.places.who.as_ref().filter(|_| signal.is_some());
    let people = who.map(|who| who.each.query_located(&event.document));
    let person = |located: &serde_json_path::LocatedNode<'_>| {
        let name = who?.name.locate(located.node()).filter(|found| crate::name::Name::new(&found.text).is_ok());
        let named = name.is_some();
        let found = name.or_else(|| who?.id.locate(located.node()))?;
        let path = format!("{}{}", located.location(), found.at.trim_start_matches('$'));
        Some(ExplainedPerson { subject: found.text, named, path })
    };
    ExplainedRule {
        rule: rule.name.clone(),
        about: rule.about.clone(),
        on: rule.on,
        action: rule.action.word(),
        people: people.iter().flat_map(|people| people.iter()).filter_map(person).collect(),
        signal_id: signal.as_ref().map(|signal| signal.id.to_string()),
        authority: signal.as_ref().map(|signal| signal.authority.to_string()),
        as_of: signal.as_ref().map(|signal| signal.as_of.to_string()),
    }
}

fn done(signals: &[Signal], replay: Option<&String>) -> String {
    let one = |signal: &Signal| {
        let whom: Vec<String> = signal.about.iter().map(About::label).collect();
        format!("{} {}", signal.action.word(), whom.join(", "))
    };
    let all = signals.iter().map(one).collect::<Vec<_>>().join("; ");
    if replay.is_some() { format!("audited only, because it is a replay: {all}") } else { all }
}

type Leaf = (Vec<String>, Value);

/// The fields of a pattern, each with what it wants.
fn leaves(pattern: &Value, path: &mut Vec<String>, found: &mut Vec<Leaf>) {
    match pattern {
        Value::Object(fields) => {
            for (key, inner) in fields {
                path.push(key.clone());
                leaves(inner, path, found);
                path.pop();
            }
        }
        wanted => found.push((path.clone(), wanted.clone())),
    }
}

fn fits(path: &[String], wanted: &Value, document: &str) -> bool {
    let pattern =
        path.iter().rev().fold(wanted.clone(), |inner, key| Value::Object(Map::from_iter([(key.clone(), inner)])));
    let mut alone = Quamina::new();
    alone.add_pattern((), &pattern.to_string()).is_ok()
        && alone.matches_for_event(document.as_bytes()).is_ok_and(|matched| !matched.is_empty())
}

fn is_absence(wanted: &Value) -> bool {
    wanted.as_array().is_some_and(|all| all.iter().all(|one| one.get("exists") == Some(&Value::Bool(false))))
}

fn misfit(path: &[String], wanted: &Value, event: &Event) -> Misfit {
    let mut found = Vec::new();
    collect(&event.document, path, &mut found);
    Misfit { field: path.join("."), wanted: wanted.clone(), found }
}

/// What stands at a path; arrays are transparent, as they are for patterns.
fn collect(value: &Value, path: &[String], found: &mut Vec<Value>) {
    match (value, path) {
        (Value::Array(items), _) => items.iter().for_each(|item| collect(item, path, found)),
        (Value::Object(fields), [key, rest @ ..]) => {
            if let Some(inner) = fields.get(key) {
                collect(inner, rest, found);
            }
        }
        (Value::Object(_), []) => {}
        (leaf, []) => found.push(leaf.clone()),
        _ => {}
    }
}
