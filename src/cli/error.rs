//! What a command fails with: one sentence, and the next step.

use std::io;

use revocation::ports::{StoreError, VpnError};
use thiserror::Error;

use super::output::shown;

/// What a command fails with.
#[derive(Debug, Error)]
pub enum CliError {
    /// A table could not be read.
    #[error("{}", table(.0))]
    Table(#[from] StoreError),
    /// The function could not be invoked.
    #[error("function {name}: {}", with_next(.why))]
    Function {
        /// The function.
        name: String,
        /// AWS's words.
        why: String,
    },
    /// The functions that there are could not be listed.
    #[error("the deployed function could not be looked for: {}", with_next(.0))]
    Search(String),
    /// AWS could not be asked for something else.
    #[error("{what}: {}", with_next(.why))]
    Aws {
        /// What could not be done, to what.
        what: String,
        /// AWS's words.
        why: String,
    },
    /// The function did not take the command.
    #[error("the function did not take it: {0}")]
    Refused(String),
    /// The function failed on the way.
    #[error("the function failed, and may have done a part of it: {0}")]
    Failed(String),
    /// A file could not be read or written.
    #[error("{path}: {error}; {}", file(.error))]
    File {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A file holds what it should not.
    #[error("{path}, line {line}: {problem}")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// An option is missing or wrong.
    #[error("{0}")]
    Usage(String),
    /// What was given can't be used.
    #[error("{0}")]
    Unfit(String),
    /// The output could not be written.
    #[error("the output could not be written: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// Whether it is for who typed it to put right.
    pub(super) fn is_usage(&self) -> bool {
        matches!(self, Self::Usage(_))
    }

    /// Whether the reader of the output has gone, as `head` does.
    pub(super) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// AWS's words, and what to do about them.
const NEXT: [(&str, &str); 23] = [
    ("functionName", "check the name that --stack or --function gives"),
    ("KMSAccessDenied", "allow kms:Decrypt on the function's key to the function's role"),
    ("dynamodb:DescribeTable", "allow dynamodb:DescribeTable on both tables"),
    ("sqs:", "allow sqs:GetQueueUrl and sqs:GetQueueAttributes on the queue and its dead-letter queue"),
    ("QueueDoesNotExist", "is that the Region of the stack? The function's event source mapping names the queue"),
    ("sts:GetCallerIdentity", "allow sts:GetCallerIdentity; nothing else needs it"),
    ("lambda:ListFunctions", "name it with --stack or --function, or allow lambda:ListFunctions"),
    (
        "lambda:GetFunctionConfiguration",
        "allow lambda:GetFunctionConfiguration on the function, or give the tables by name",
    ),
    ("lambda:ListEventSourceMappings", "allow lambda:ListEventSourceMappings"),
    (
        "lambda:ListProvisionedConcurrencyConfigs",
        "name the connect handler with --handler, or allow lambda:ListProvisionedConcurrencyConfigs",
    ),
    ("UnauthorizedOperation", "allow the action that it names to whoever is to do this"),
    ("lambda:InvokeFunction", "allow lambda:InvokeFunction on the function to whoever is to send commands"),
    ("ResourceNotFoundException", "check the name and --region"),
    (
        "AccessDeniedException",
        "it takes dynamodb:Scan, Query, GetItem and BatchGetItem on both tables and the index, and kms:Decrypt where they have a key of yours",
    ),
    ("ValidationException", "is that a table of vpn-revoker? The audit table has an index by-day"),
    ("ThrottlingException", "AWS asks to slow down; try again"),
    ("ProvisionedThroughputExceeded", "AWS asks to slow down; try again"),
    ("ExpiredToken", "the credentials have expired: sign in again"),
    ("UnrecognizedClientException", "AWS does not know these credentials: check --profile and AWS_ACCESS_KEY_ID"),
    ("InvalidSignatureException", "the secret key does not fit the access key: check the credentials"),
    ("MissingAuthenticationTokenException", "set --profile or AWS_PROFILE, or sign in"),
    ("credential", "set --profile or AWS_PROFILE, or sign in (aws sso login, aws login)"),
    ("dispatch failure", "check --region, --endpoint-url and the network"),
];

fn file(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::InvalidData => "save it as UTF-8",
        _ => "check the path and its permissions",
    }
}

/// What EC2 answered, without what the functions do about it.
pub(super) fn cause(error: &VpnError) -> String {
    let code = error.code.iter().map(|code| format!("{code}: "));
    let request = error.request_id.iter().map(|id| format!(" (request {id})"));
    code.chain([error.message.clone()]).chain(request).collect()
}

fn table(error: &StoreError) -> String {
    with_next(error.cause())
}

/// AWS's words, and the next step.
pub(super) fn with_next(why: &str) -> String {
    let cause = shown(why);
    match NEXT.iter().find(|(word, _)| cause.contains(word)) {
        Some((_, next)) => format!("{cause}; {next}"),
        None => cause,
    }
}
