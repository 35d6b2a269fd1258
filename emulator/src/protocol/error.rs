//! What the service answers when it refuses.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>

use crate::actions::Action;

/// An error answer. The code and the HTTP status are AWS's where AWS documents them; most message texts are not
/// documented, so no program should read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    fn client(code: &str, message: String) -> Self {
        Self::new(400, code, message)
    }

    pub(crate) fn missing_parameter(name: &str) -> Self {
        Self::client("MissingParameter", format!("The request must contain the parameter {name}"))
    }

    pub(crate) fn missing_either(first: &str, second: &str) -> Self {
        Self::client("MissingParameter", format!("The request must contain the parameter {first} or {second}"))
    }

    pub(crate) fn both(first: &str, second: &str) -> Self {
        let message = format!("The parameter {first} cannot be used with the parameter {second}");
        Self::client("InvalidParameterCombination", message)
    }

    pub(crate) fn invalid_value(name: &str, value: &str, expected: &str) -> Self {
        let message = format!("Value ({value}) for parameter {name} is invalid. {expected}");
        Self::client("InvalidParameterValue", message)
    }

    pub(crate) fn unknown_parameter(name: &str) -> Self {
        Self::client("UnknownParameter", format!("The parameter {name} is not recognized"))
    }

    pub(crate) fn repeated_parameter(name: &str) -> Self {
        Self::client("InvalidQueryParameter", format!("The parameter {name} is given more than once"))
    }

    pub(crate) fn invalid_action(action: &str) -> Self {
        Self::client("InvalidAction", format!("The action {action} is not valid for this web service."))
    }

    pub(crate) fn no_such_version(version: &str) -> Self {
        let message = format!("The requested version ({version}) of service AmazonEC2 does not exist");
        Self::client("NoSuchVersion", message)
    }

    pub(crate) fn invalid_filter(name: &str) -> Self {
        Self::client("InvalidFilter", format!("The filter '{name}' is invalid"))
    }

    pub(crate) fn filter_limit(limit: usize) -> Self {
        let message = format!("The request uses too many filter values; the maximum is {limit}");
        Self::client("FilterLimitExceeded", message)
    }

    pub(crate) fn invalid_token() -> Self {
        Self::client("InvalidPaginationToken", "The specified pagination token is not valid.".into())
    }

    pub(crate) fn endpoint_not_found(id: &str) -> Self {
        Self::client("InvalidClientVpnEndpointId.NotFound", format!("Endpoint {id} does not exist"))
    }

    pub(crate) fn no_association(id: &str) -> Self {
        let message = format!("Endpoint {id} is in the pending-association state");
        Self::client("InvalidClientVpnActiveAssociationNotFound", message)
    }

    pub(crate) fn connection_not_found(id: &str) -> Self {
        Self::client("InvalidClientVpnConnection.IdNotFound", format!("Connection {id} does not exist"))
    }

    pub(crate) fn user_not_found(endpoint: &str, user: &str) -> Self {
        let message = format!("User {user} has no active connection to endpoint {endpoint}");
        Self::client("InvalidClientVpnConnection.UserNotFound", message)
    }

    pub(crate) fn terminate_limit(limit: usize) -> Self {
        let message = format!(
            "The number of client connections you're attempting to terminate exceeds the limit of {limit} per user"
        );
        Self::client("ClientVpnTerminateConnectionsLimitExceeded", message)
    }

    pub(crate) fn unauthorized(action: Action, account: &str) -> Self {
        let message = format!(
            "You are not authorized to perform this operation. User: arn:aws:iam::{account}:user/emulated is not \
             authorized to perform: ec2:{action}"
        );
        Self::new(403, "UnauthorizedOperation", message)
    }

    pub(crate) fn dry_run() -> Self {
        Self::new(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
    }

    pub(crate) fn throttled() -> Self {
        Self::new(503, "RequestLimitExceeded", "Request limit exceeded.")
    }

    pub(crate) fn malformed(status: u16, message: impl Into<String>) -> Self {
        Self::new(status, "MalformedHttpRequest", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }
}

impl From<std::io::Error> for ApiError {
    /// Writing XML into memory does not fail in practice; if it does, the client is told and the emulator goes on.
    fn from(error: std::io::Error) -> Self {
        Self::internal(format!("the answer could not be written: {error}"))
    }
}
