//! The deployed function.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use clap::Args;
use serde_json::Value;

use super::CliError;
use super::aws::Aws;
use super::output::{shown, word};
use crate::failure;

/// The function answers within its timeout of two minutes.
const ANSWERS_WITHIN: Duration = Duration::from_secs(150);
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);

/// Which function to send commands to.
#[derive(Debug, Args)]
pub(super) struct Function {
    /// The deployed function's name or ARN; output RevokerArn of the stack
    #[arg(long, env = "VPN_REVOKER_FUNCTION", value_name = "NAME")]
    function: String,
}

/// The function, with a connection to it.
pub(super) struct Connected {
    client: Client,
    name: String,
}

impl Function {
    pub(super) async fn connect(&self, aws: &Aws) -> Result<Connected, CliError> {
        // A call that was cut off may be made again: the command carries an id, so it is the same one.
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECTS_WITHIN).operation_attempt_timeout(ANSWERS_WITHIN);
        let client = Client::new(&aws.config(timeouts.build()).await?);
        Ok(Connected { client, name: self.function.clone() })
    }
}

impl Connected {
    /// Sends a command; its receipt.
    pub(super) async fn invoke(&self, command: &Value) -> Result<Value, CliError> {
        let payload = Blob::new(command.to_string());
        let invoked = self.client.invoke().function_name(&self.name).payload(payload).send().await;
        let answer =
            invoked.map_err(|error| CliError::Function { name: shown(&self.name), why: failure::why(&error) })?;
        let payload = answer.payload().map(AsRef::as_ref).unwrap_or_default();
        let value: Value = serde_json::from_slice(payload).unwrap_or_default();
        match answer.function_error() {
            None if value.get("outcome").is_some() => Ok(value),
            None => Err(CliError::Refused("its answer is no receipt; is that the revoker function?".to_owned())),
            Some(_) => Err(CliError::Refused(shown(&word(value.get("errorMessage"))))),
        }
    }
}
