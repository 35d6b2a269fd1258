//! Reading JSON objects so that an error names the field.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What is wrong with a seed or with the body of a control request, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldError {
    /// The path of the field, such as `connections[2].username`; `body` for the whole document.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The fields of one object that nobody has asked for yet.
#[derive(Debug)]
pub(crate) struct Fields {
    path: String,
    left: Map<String, Value>,
}

/// The object that a whole document holds.
pub(crate) fn document(json: &[u8]) -> Result<Fields, FieldError> {
    let problem = |problem: String| FieldError { field: "body".into(), problem };
    match serde_json::from_slice(json) {
        Ok(Value::Object(left)) => Ok(Fields { path: String::new(), left }),
        Ok(_) => Err(problem("expected a JSON object".into())),
        Err(error) => Err(problem(format!("not JSON: {error}"))),
    }
}

impl Fields {
    /// A field that may be missing; `null` counts as missing.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, FieldError> {
        match self.left.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|error| self.error(name, error.to_string())),
        }
    }

    pub(crate) fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, FieldError> {
        self.optional(name)?.ok_or_else(|| self.error(name, "is missing"))
    }

    /// A list of objects; a missing one is empty.
    pub(crate) fn objects(&mut self, name: &str) -> Result<Vec<Self>, FieldError> {
        let values: Vec<Value> = self.optional(name)?.unwrap_or_default();
        let read = |(index, value)| match value {
            Value::Object(left) => Ok(Self { path: format!("{}{name}[{index}].", self.path), left }),
            _ => Err(self.error(&format!("{name}[{index}]"), "expected a JSON object")),
        };
        values.into_iter().enumerate().map(read).collect()
    }

    /// Refuses fields that nobody asked for: a misspelt one must not pass unnoticed.
    pub(crate) fn finish(self) -> Result<(), FieldError> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.error(name, "is not a field here")),
        }
    }

    pub(crate) fn error(&self, name: &str, problem: impl Into<String>) -> FieldError {
        FieldError { field: format!("{}{name}", self.path), problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        document(json.as_bytes()).unwrap()
    }

    #[test]
    fn an_error_names_the_field() {
        let wrong = fields(r#"{"n":"x"}"#).required::<u64>("n").unwrap_err();
        assert_eq!(wrong.field, "n");
        assert!(wrong.problem.contains("expected u64"), "{wrong}");
        assert_eq!(fields("{}").required::<u64>("n").unwrap_err().to_string(), "n: is missing");
        assert_eq!(fields(r#"{"m":1}"#).finish().unwrap_err().to_string(), "m: is not a field here");
    }

    #[test]
    fn an_error_in_a_list_names_its_place() {
        let mut all = fields(r#"{"rows":[{},{"n":-1}]}"#).objects("rows").unwrap();
        assert_eq!(all[1].required::<u64>("n").unwrap_err().field, "rows[1].n");
        assert_eq!(fields(r#"{"rows":[1]}"#).objects("rows").unwrap_err().field, "rows[0]");
    }

    #[test]
    fn a_document_that_is_no_object_is_refused() {
        assert_eq!(document(b"[]").unwrap_err().to_string(), "body: expected a JSON object");
        assert!(document(b"{").unwrap_err().to_string().starts_with("body: not JSON"));
    }
}
