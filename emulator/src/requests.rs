//! The log of what was asked and how it was answered.

use std::collections::BTreeMap;

use serde::Serialize;

/// One request to the EC2 API, written down once its effect is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RequestRecord {
    /// The emulated time at which it arrived.
    pub at_millis: i64,
    /// The `Action` parameter as sent; empty when there was none.
    pub action: String,
    /// Everything else in the query, without `Action` and `Version`.
    pub parameters: BTreeMap<String, String>,
    /// The HTTP status of the answer; 0 when the client got none.
    pub status: u16,
    /// The error code of the answer.
    pub code: Option<String>,
    /// The fault that touched this request, by the name that the control API uses.
    pub fault: Option<&'static str>,
}

impl RequestRecord {
    /// A parameter of the request.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}
