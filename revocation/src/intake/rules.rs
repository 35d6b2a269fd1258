//! The table of producers, compiled once.

use std::fmt;
use std::sync::OnceLock;

use quamina::Quamina;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::extract::{Condition, Extract, Place, path};
use super::table::{ActionWord, EnvelopeRow, Evidence, Places, Replays, RuleRow, RulesFile, Table, Who};
use super::{Event, Rejected};

/// The tables that come with the program.
const BUILT_IN: [(&str, &str); 16] = [
    ("okta.json", include_str!("../../rules/okta.json")),
    ("entra.json", include_str!("../../rules/entra.json")),
    ("identity-center.json", include_str!("../../rules/identity-center.json")),
    ("google.json", include_str!("../../rules/google.json")),
    ("active-directory.json", include_str!("../../rules/active-directory.json")),
    ("auth0.json", include_str!("../../rules/auth0.json")),
    ("onelogin.json", include_str!("../../rules/onelogin.json")),
    ("jumpcloud.json", include_str!("../../rules/jumpcloud.json")),
    ("pingone.json", include_str!("../../rules/pingone.json")),
    ("duo.json", include_str!("../../rules/duo.json")),
    ("scim.json", include_str!("../../rules/scim.json")),
    ("shared-signals.json", include_str!("../../rules/shared-signals.json")),
    ("cognito.json", include_str!("../../rules/cognito.json")),
    ("iam.json", include_str!("../../rules/iam.json")),
    ("guardduty.json", include_str!("../../rules/guardduty.json")),
    ("security-hub.json", include_str!("../../rules/security-hub.json")),
];

/// How deeply events may be packed into one another.
const MAX_DEPTH: usize = 4;

/// Whose regular expressions are compiled at the start, to see whether they can be. A test has seen those that come with
/// the program, which are compiled when they are first needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    OwnRules,
    #[cfg(test)]
    Everything,
}

/// Everything that is wrong with a table, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesError(pub(super) Vec<String>);

impl RulesError {
    /// Each mistake, by rule and field.
    #[must_use]
    pub fn mistakes(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mistakes = if self.0.len() == 1 { "mistake" } else { "mistakes" };
        write!(f, "the intake rules have {} {mistakes}: {}", self.0.len(), self.0.join("; "))
    }
}

impl std::error::Error for RulesError {}

struct Envelope {
    name: String,
    events: JsonPath,
}

/// A compiled rule.
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) producer: String,
    pub(super) evidence: Evidence,
    pub(super) on: bool,
    pub(super) action: ActionWord,
    pub(super) hold: Option<String>,
    pub(super) pattern: Value,
    pub(super) conditions: Vec<Condition>,
    pub(super) places: CompiledPlaces,
}

/// Where things stand, compiled.
#[derive(Clone, Default)]
pub(super) struct CompiledPlaces {
    pub(super) who: Option<CompiledWho>,
    pub(super) id: Extract,
    pub(super) occurred_at: Extract,
    pub(super) tenant: Extract,
    pub(super) actor: Extract,
    pub(super) reason: Extract,
}

/// Whom an event is about, compiled.
#[derive(Clone)]
pub(super) struct CompiledWho {
    pub(super) each: JsonPath,
    pub(super) name: Extract,
    pub(super) also: Extract,
    pub(super) id: Extract,
    pub(super) directory: bool,
}

/// What there is to know about a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleSummary<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the event says.
    pub about: &'a str,
    /// Whose events.
    pub producer: &'a str,
    /// What the event asks for: a word of the rule files.
    pub action: &'static str,
    /// Whether it counts.
    pub on: bool,
    /// How the event's shape is known.
    pub evidence: Evidence,
}

/// Which row of the compiled table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Row {
    Envelope(usize),
    Rule(usize),
}

/// The table of producers; the default is the one that comes with the program.
///
/// What comes with the program is compiled when the first event needs it: a command and a sweep do without, and a start
/// does not wait for it. A user's own rules are compiled with it at once, since they may have mistakes.
#[derive(Default)]
pub struct Intake {
    compiled: OnceLock<Result<Compiled, RulesError>>,
    pub(super) replays: Replays,
}

/// The compiled table of producers.
struct Compiled {
    patterns: Quamina<Row>,
    envelopes: Vec<Envelope>,
    rules: Vec<Rule>,
}

/// An event as the walk through its envelopes found it, with the rules that know it.
pub(super) struct Visited {
    pub(super) event: Event,
    pub(super) rules: Vec<usize>,
    /// It holds other events, which are visited for themselves.
    pub(super) unfolded: bool,
    /// The envelopes it was in, outermost first.
    pub(super) through: Vec<String>,
}

impl Default for Compiled {
    fn default() -> Self {
        Self { patterns: Quamina::new(), envelopes: Vec::new(), rules: Vec::new() }
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("compiled", &self.compiled.get().is_some()).finish_non_exhaustive()
    }
}

impl Intake {
    /// The tables that come with the program, compiled: what [`Self::with_rules`] comes to where the user has none.
    ///
    /// # Errors
    /// Where one of them has a mistake, which a test rules out.
    pub fn built_in() -> Result<Self, RulesError> {
        let (compiled, replays) = Compiled::compile(&BUILT_IN, None, Checked::OwnRules)?;
        Ok(Self { compiled: OnceLock::from(Ok(compiled)), replays })
    }

    /// The tables that come with the program, and the user's own rules over them: a file's name and content.
    ///
    /// # Errors
    /// Every mistake, by rule and field.
    pub fn with_rules(own: Option<(&str, &str)>) -> Result<Self, RulesError> {
        if own.is_none() {
            return Ok(Self { compiled: OnceLock::new(), replays: Replays::default() });
        }
        let (compiled, replays) = Compiled::compile(&BUILT_IN, own, Checked::OwnRules)?;
        Ok(Self { compiled: OnceLock::from(Ok(compiled)), replays })
    }

    /// Compiles what is not compiled yet, so that the first event finds it done.
    pub fn prepare(&self) {
        let _ = self.compiled();
    }

    fn compiled(&self) -> Result<&Compiled, Rejected> {
        let compile = || Compiled::compile(&BUILT_IN, None, Checked::OwnRules).map(|(compiled, _)| compiled);
        // Without its rules the function would acknowledge everything and do nothing, so this is tried again.
        self.compiled.get_or_init(compile).as_ref().map_err(|error| Rejected::Fault(error.to_string()))
    }

    /// Every rule there is.
    pub fn rules(&self) -> impl Iterator<Item = RuleSummary<'_>> {
        self.all_rules().iter().map(|rule| RuleSummary {
            name: &rule.name,
            about: &rule.about,
            producer: &rule.producer,
            action: rule.action.word(),
            on: rule.on,
            evidence: rule.evidence,
        })
    }

    pub(super) fn rule(&self, number: usize) -> Option<&Rule> {
        self.all_rules().get(number)
    }

    pub(super) fn all_rules(&self) -> &[Rule] {
        self.compiled().map_or(&[], |compiled| &compiled.rules)
    }

    /// An event and the events packed into it, each with the rules that know it.
    pub(super) fn walk(&self, event: Event) -> Result<Vec<Visited>, Rejected> {
        let mut visited = Vec::new();
        self.compiled()?.visit(event, Vec::new(), &mut visited)?;
        Ok(visited)
    }
}

impl Compiled {
    fn compile(
        files: &[(&str, &str)],
        own: Option<(&str, &str)>,
        checked: Checked,
    ) -> Result<(Self, Replays), RulesError> {
        let mut mistakes = Vec::new();
        let mut tables: Vec<Table> = files.iter().filter_map(|(file, text)| read(file, text, &mut mistakes)).collect();
        let own = own.and_then(|(file, text)| read::<RulesFile>(file, text, &mut mistakes)).unwrap_or_default();
        let replaced: Vec<&str> =
            own.tables.iter().flat_map(|table| &table.rules).map(|rule| rule.name.as_str()).collect();
        for table in &mut tables {
            table.rules.retain(|rule| !replaced.contains(&rule.name.as_str()));
        }
        let RulesFile { on, off, replays, tables: own_tables, .. } = &own;
        let mut intake = Self::default();
        for table in &tables {
            intake.add(table, checked != Checked::OwnRules, &mut mistakes);
        }
        for table in own_tables {
            intake.add(table, true, &mut mistakes);
        }
        for (list, on, names) in [("on", true, on), ("off", false, off)] {
            for name in names {
                match intake.rules.iter_mut().find(|rule| rule.name == *name) {
                    Some(rule) if rule.action == ActionWord::Ignore && on => {
                        mistakes.push(format!(
                            "`{list}` has `{name}`, which never does anything; write a rule of your own"
                        ));
                    }
                    Some(rule) => rule.on = on,
                    None => mistakes.push(format!("`{list}` has `{name}`, which is no rule; correct the name")),
                }
            }
        }
        mistakes.extend(on.intersection(off).map(|name| format!("`{name}` stands in both `on` and `off`")));
        if mistakes.is_empty() { Ok((intake, *replays)) } else { Err(RulesError(mistakes)) }
    }

    fn add(&mut self, table: &Table, checked: bool, mistakes: &mut Vec<String>) {
        if !is_word(&table.producer) {
            mistakes.push(format!("producer `{}` must be lower-case letters, digits and `-`", table.producer));
        }
        for row in &table.envelopes {
            self.add_envelope(row, mistakes);
        }
        let mut wrong =
            |field: &str, problem: String| mistakes.push(format!("producer `{}`, {field}: {problem}", table.producer));
        let shared = CompiledPlaces::compile(&table.places, CompiledPlaces::default(), checked, &mut wrong);
        for row in &table.rules {
            if self.rules.iter().any(|rule| rule.name == row.name) {
                mistakes.push(format!("rule `{}`, name: is listed twice; remove one", row.name));
            }
            let mut wrong =
                |field: &str, problem: String| mistakes.push(format!("rule `{}`, {field}: {problem}", row.name));
            if let Err(error) = self.patterns.add_pattern(Row::Rule(self.rules.len()), &row.pattern.to_string()) {
                wrong("pattern", error.to_string());
            }
            let places = CompiledPlaces::compile(&row.places, shared.clone(), checked, &mut wrong);
            self.rules.push(rule(&table.producer, row, places, checked, &mut wrong));
        }
    }

    fn add_envelope(&mut self, row: &EnvelopeRow, mistakes: &mut Vec<String>) {
        let mut wrong =
            |field: &str, problem: String| mistakes.push(format!("envelope `{}`, {field}: {problem}", row.name));
        if let Err(error) = self.patterns.add_pattern(Row::Envelope(self.envelopes.len()), &row.pattern.to_string()) {
            wrong("pattern", error.to_string());
        }
        if let Some(events) = path(&row.events, |problem| wrong("events", problem)) {
            self.envelopes.push(Envelope { name: row.name.clone(), events });
        }
    }

    fn visit(&self, event: Event, through: Vec<String>, visited: &mut Vec<Visited>) -> Result<(), Rejected> {
        let matched = self.patterns.matches_for_event(event.document.to_string().as_bytes());
        let mut rows = matched.map_err(|error| Rejected::Fault(error.to_string()))?;
        rows.sort();
        rows.dedup();
        let mut rules = Vec::new();
        let before = visited.len();
        for row in rows {
            match row {
                Row::Envelope(number) if through.len() < MAX_DEPTH && !event.is_log_line => {
                    let Some(envelope) = self.envelopes.get(number) else { continue };
                    let through = [through.as_slice(), std::slice::from_ref(&envelope.name)].concat();
                    let around = event.around_the_inner();
                    for inner in envelope.events.query(&event.document).all() {
                        self.visit(event.inside(&around, inner.clone()), through.clone(), visited)?;
                    }
                }
                Row::Envelope(_) => {}
                Row::Rule(number) => {
                    let holds = |rule: &Rule| rule.conditions.iter().all(|condition| condition.holds(&event.document));
                    rules.extend(self.rules.get(number).filter(|rule| holds(rule)).map(|_| number));
                }
            }
        }
        let unfolded = visited.len() > before;
        visited.push(Visited { event, rules, unfolded, through });
        Ok(())
    }
}

/// Whether a text can be part of an authority without being taken for another part.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn read<T: serde::de::DeserializeOwned>(file: &str, text: &str, mistakes: &mut Vec<String>) -> Option<T> {
    serde_json::from_str(text).map_err(|error| mistakes.push(format!("{file}: {error}"))).ok()
}

fn rule(
    producer: &str,
    row: &RuleRow,
    places: CompiledPlaces,
    checked: bool,
    wrong: &mut impl FnMut(&str, String),
) -> Rule {
    if places.who.is_none() && row.places.who.is_none() && row.action != ActionWord::Ignore {
        wrong("places.who", "is missing; say whom the event is about".to_owned());
    }
    if row.action == ActionWord::Ask && !places.who.as_ref().is_some_and(|who| who.directory) {
        wrong("action", "can only be `ask` where `who.directory` is true".to_owned());
    }
    if row.hold.as_ref().is_some_and(|hold| !is_word(hold)) {
        wrong("hold", "must be lower-case letters, digits and `-`".to_owned());
    }
    let mut wrong_where = |problem| wrong("where", problem);
    let conditions = row.conditions.iter();
    let conditions = conditions.filter_map(|row| Condition::compile(row, checked, &mut wrong_where)).collect();
    Rule {
        name: row.name.clone(),
        about: row.about.clone(),
        producer: producer.to_owned(),
        evidence: row.evidence,
        on: row.on,
        action: row.action,
        hold: row.hold.clone(),
        pattern: row.pattern.clone(),
        conditions,
        places,
    }
}

impl CompiledPlaces {
    /// The places that `places` names, and those of `otherwise` for the rest.
    fn compile(places: &Places, otherwise: Self, checked: bool, wrong: &mut impl FnMut(&str, String)) -> Self {
        let mut extract = |field: &str, places: &Option<Vec<Place>>, otherwise: Extract| match places {
            None => otherwise,
            Some(places) => extract(field, places, checked, wrong),
        };
        Self {
            id: extract("id", &places.id, otherwise.id),
            occurred_at: extract("occurred_at", &places.occurred_at, otherwise.occurred_at),
            tenant: extract("tenant", &places.tenant, otherwise.tenant),
            actor: extract("actor", &places.actor, otherwise.actor),
            reason: extract("reason", &places.reason, otherwise.reason),
            who: match &places.who {
                None => otherwise.who,
                Some(who) => CompiledWho::compile(who, checked, wrong),
            },
        }
    }
}

impl CompiledWho {
    fn compile(who: &Who, checked: bool, wrong: &mut impl FnMut(&str, String)) -> Option<Self> {
        let each = path(&who.each, |problem| wrong("who.each", problem));
        let name = extract("who.name", &who.name, checked, wrong);
        let also = extract("who.also", &who.also, checked, wrong);
        let id = extract("who.id", &who.id, checked, wrong);
        Some(Self { each: each?, name, also, id, directory: who.directory })
    }
}

fn extract(field: &str, places: &[Place], checked: bool, wrong: &mut impl FnMut(&str, String)) -> Extract {
    let mut wrong = |problem| wrong(field, problem);
    let extract = Extract::compile(places, &mut wrong);
    if checked {
        extract.check(&mut wrong);
    }
    extract
}

#[cfg(test)]
mod tests;
