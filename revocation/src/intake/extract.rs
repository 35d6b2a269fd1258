//! Where something stands in an event: a JSONPath (RFC 9535) and, where only a part of the text is meant, a capture.

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;

/// One place to look, as a rule writes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// The path.
    path: String,
    /// A regular expression whose first group is what is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<String>,
}

/// Places to look, in order; the first that has something counts.
#[derive(Debug, Clone)]
pub(super) struct Extract(Vec<(JsonPath, Option<Regex>)>);

impl Extract {
    /// Compiles places, and says what is wrong with each that can't be.
    pub(super) fn compile(places: &[Place], wrong: &mut impl FnMut(String)) -> Self {
        let mut compiled = Vec::new();
        for place in places {
            let path = match JsonPath::parse(&place.path) {
                Ok(path) => path,
                Err(error) => {
                    wrong(format!("path `{}` is no JSONPath (RFC 9535): {error}", place.path));
                    continue;
                }
            };
            match place.capture.as_deref().map(Regex::new).transpose() {
                Ok(Some(regex)) if regex.captures_len() != 2 => {
                    wrong(format!("capture `{regex}` must have exactly one group"));
                }
                Ok(capture) => compiled.push((path, capture)),
                Err(error) => wrong(format!("capture is no regular expression: {error}")),
            }
        }
        Self(compiled)
    }

    /// The text at the first place that has one.
    pub(super) fn text(&self, document: &Value) -> Option<String> {
        self.0.iter().find_map(|(path, capture)| {
            let texts = path.query(document).all().into_iter().filter_map(text_of);
            let mut texts = texts.filter_map(|text| match capture {
                None => Some(text),
                Some(regex) => Some(regex.captures(&text)?.get(1)?.as_str().to_owned()),
            });
            texts.find(|text| !text.trim().is_empty())
        })
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
