//! What an invoke fails with: a stable type that alarms can filter on, and a sentence that says what to do.

use std::fmt;

use lambda_runtime::Diagnostic;

/// An invoke that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A stable word.
    pub error_type: &'static str,
    /// What happened, to what, and what to do next.
    pub message: String,
}

impl Failure {
    pub(crate) fn new(error_type: &'static str, message: impl Into<String>) -> Self {
        Self { error_type, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: failure.error_type.to_owned(), error_message: failure.message }
    }
}
