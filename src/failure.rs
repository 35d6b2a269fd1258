//! What an invoke fails with: a stable type that alarms can filter on, and a sentence that says what to do.

use std::fmt;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use lambda_runtime::Diagnostic;

/// An invoke that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A stable word.
    pub error_type: &'static str,
    /// What happened, to what, and what to do next.
    pub message: String,
}

#[cfg(feature = "revoker")]
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

/// What an answer of AWS says went wrong, or else what kept it from coming.
pub(crate) fn why<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: fmt::Debug,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => chain(error),
    }
}

/// The longest text that is taken from an error of the SDK.
const LONGEST: usize = 300;

/// What an error and its causes say for people.
///
/// Not their debug form, which holds the whole answer: names and addresses of everybody on a page have no place in a
/// log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    // The SDK has errors of its own that print a whole request.
    let text = text.split("Request {").next().unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Layer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|inner| inner as _)
        }
    }

    #[test]
    fn every_cause_is_said_once() {
        let error =
            Layer("dispatch failure", Some(Box::new(Layer("io error", Some(Box::new(Layer("io error", None)))))));
        assert_eq!(chain(&error), "dispatch failure: io error");
        assert_eq!(chain(&Layer("no URI in Request { body: alice@example.com }", None)), "no URI in ");
    }
}
