//! Where something stands in an event: a JSONPath (RFC 9535) and, where only a part of the text is meant, a capture.

use std::sync::{Arc, OnceLock};

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::table::ConditionRow;

/// One place to look, as a rule writes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// The path: a JSONPath (RFC 9535).
    path: String,
    /// A regular expression whose only group is what is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<String>,
}

/// Places to look, in order; the first that has something counts. Rules of one table share those of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Extract(Arc<[(JsonPath, Option<Expression>)]>);

/// What stood at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extracted {
    pub(super) text: String,
    /// Where exactly, from the document that was looked at.
    pub(super) at: String,
}

impl Extract {
    /// Compiles places, and says what is wrong with each that can't be.
    pub(super) fn compile(places: &[Place], wrong: &mut impl FnMut(String)) -> Self {
        let mut compiled = Vec::new();
        for place in places {
            let capture = place.capture.as_deref().map(Expression::new);
            if let Some(path) = path(&place.path, &mut *wrong) {
                compiled.push((path, capture));
            }
        }
        Self(compiled.into())
    }

    /// Says what is wrong with the captures.
    pub(super) fn check(&self, wrong: &mut impl FnMut(String)) {
        for capture in self.0.iter().filter_map(|(_, capture)| capture.as_ref()) {
            match capture.compiled() {
                Ok(regex) if regex.captures_len() != 2 => {
                    wrong(format!("capture `{regex}` must have exactly one group"));
                }
                Ok(_) => {}
                Err(error) => wrong(format!("capture is no regular expression: {error}")),
            }
        }
    }

    /// The text at the first place that has one.
    pub(super) fn text(&self, document: &Value) -> Option<String> {
        self.0.iter().find_map(|(path, capture)| {
            let texts = path.query(document).all().into_iter().filter_map(text_of);
            texts.filter_map(|text| captured(capture.as_ref(), text)).find(|text| !text.trim().is_empty())
        })
    }

    /// All texts at the first place that has one.
    pub(super) fn texts(&self, document: &Value) -> Vec<String> {
        let at = |(path, capture): &(JsonPath, Option<Expression>)| -> Vec<String> {
            let texts = path.query(document).all().into_iter().filter_map(text_of);
            texts.filter_map(|text| captured(capture.as_ref(), text)).collect()
        };
        self.0.iter().map(at).find(|texts| !texts.is_empty()).unwrap_or_default()
    }

    /// The first of them, and where it stood.
    pub(super) fn locate(&self, document: &Value) -> Option<Extracted> {
        self.0.iter().find_map(|(path, capture)| {
            let nodes = path.query_located(document);
            let mut texts = nodes.iter().filter_map(|node| {
                let text = captured(capture.as_ref(), text_of(node.node())?)?;
                Some(Extracted { text, at: node.location().to_string() })
            });
            texts.find(|found| !found.text.trim().is_empty())
        })
    }
}

fn captured(capture: Option<&Expression>, text: String) -> Option<String> {
    match capture {
        None => Some(text),
        Some(expression) => Some(expression.compiled().ok()?.captures(&text)?.get(1)?.as_str().to_owned()),
    }
}

/// A regular expression that is compiled when it is first needed: the tables have hundreds, an event needs a few, and
/// compiling them all would be most of a cold start.
#[derive(Debug, Clone)]
struct Expression {
    text: String,
    compiled: OnceLock<Result<Regex, regex::Error>>,
}

impl Expression {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), compiled: OnceLock::new() }
    }

    fn compiled(&self) -> Result<&Regex, &regex::Error> {
        self.compiled.get_or_init(|| Regex::new(&self.text)).as_ref()
    }
}

/// Texts and whole numbers can name something; nothing else does.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// Something that must stand in an event.
#[derive(Debug)]
pub(super) struct Condition {
    path: JsonPath,
    matches: Expression,
}

impl Condition {
    pub(super) fn compile(row: &ConditionRow, checked: bool, wrong: &mut impl FnMut(String)) -> Option<Self> {
        let matches = Expression::new(&row.matches);
        if let (true, Err(error)) = (checked, matches.compiled()) {
            wrong(format!("`matches` is no regular expression: {error}"));
        }
        path(&row.path, &mut *wrong).map(|path| Self { path, matches })
    }

    pub(super) fn holds(&self, document: &Value) -> bool {
        let Ok(matches) = self.matches.compiled() else { return false };
        let matches = |value: &Value| match value {
            Value::String(text) => matches.is_match(text),
            Value::Number(_) | Value::Bool(_) => matches.is_match(&value.to_string()),
            _ => false,
        };
        self.path.query(document).all().into_iter().any(matches)
    }
}

/// Compiles a path, or says what is wrong with it.
pub(super) fn path(text: &str, mut wrong: impl FnMut(String)) -> Option<JsonPath> {
    JsonPath::parse(text).map_err(|error| wrong(format!("`{text}` is no JSONPath (RFC 9535): {error}"))).ok()
}
