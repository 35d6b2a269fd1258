//! The deployed function: finding it, asking for its configuration, sending commands to it.

use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{EnvironmentError, FunctionConfiguration};
use serde_json::Value;

use super::CliError;
use super::deployment::{Configuration, is_same_table};
use super::output::{shown, word};
use crate::arn;
use crate::failure;

/// How the name of every connect handler begins: Client VPN invokes no other
/// (<https://docs.aws.amazon.com/vpn/latest/clientvpn-admin/connection-authorization.html>).
pub(super) const HANDLER: &str = "AWSClientVPN-";

/// What a function of ours has in its environment.
const OURS: &str = "VPN_REVOKER_LOCKS_TABLE";

/// What decides whether a function of ours acts at all.
const MODE: &str = "VPN_REVOKER_MODE";

/// Whether a function with this environment decides and changes nothing.
pub(super) fn is_in_shadow<'a>(variables: impl IntoIterator<Item = (&'a String, &'a String)>) -> bool {
    variables.into_iter().any(|(name, value)| name == MODE && value.trim() == "shadow")
}

/// A connect handler beside the function.
pub(super) struct ConnectHandler {
    pub(super) arn: String,
    /// It is in shadow mode, and refuses nobody.
    pub(super) only_watches: bool,
}

/// A deployed function.
pub(super) struct Function {
    client: Client,
    pub(super) name: String,
}

impl Function {
    pub(super) fn named(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }

    /// The only function of vpn-revoker in this account and Region.
    pub(super) async fn the_only_one(client: Client) -> Result<Self, CliError> {
        let found = ours(&client, |name| name.ends_with("-revoker")).await?;
        let mut names: Vec<String> =
            found.into_iter().map(|(name, _)| name).filter(|name| !name.starts_with(HANDLER)).collect();
        match (names.pop(), names.is_empty()) {
            (Some(name), true) => Ok(Self { client, name }),
            (None, _) => Err(CliError::Usage(
                "no function of vpn-revoker is in this account and Region; check --profile and --region, or name it with --stack or --function".to_owned(),
            )),
            (Some(name), false) => {
                names.push(name);
                names.sort();
                let names = shown(&names.join(", "));
                Err(CliError::Usage(format!("several are deployed here: {names}; name one with --stack or --function")))
            }
        }
    }

    /// How it is configured.
    pub(super) async fn configuration(&self) -> Result<Configuration, CliError> {
        let asked = self.client.get_function_configuration().function_name(&self.name).send().await;
        let found = asked.map_err(|error| self.failed(failure::why(&error)))?;
        if let Some(error) = found.environment().and_then(|environment| environment.error()) {
            return Err(self.failed(unreadable(error)));
        }
        let variables =
            found.environment().and_then(|environment| environment.variables()).cloned().unwrap_or_default();
        if !variables.contains_key(OURS) {
            return Err(CliError::Unfit(format!(
                "{} is no function of vpn-revoker: it has no {OURS}",
                shown(&self.name)
            )));
        }
        let arn = found.function_arn().unwrap_or_default().to_owned();
        let region = arn::region(&arn).to_owned();
        Ok(Configuration { of: self.name.clone(), arn: Some(arn), variables: variables.into_iter().collect(), region })
    }

    /// The connect handlers beside it: those that read the same locks.
    pub(super) async fn handlers(&self, locks_table: &str) -> Result<Vec<ConnectHandler>, CliError> {
        let mut handlers = Vec::new();
        for (name, function) in ours(&self.client, |_| false).await? {
            let variables = function.environment().and_then(|environment| environment.variables());
            let same = variables.and_then(|variables| variables.get(OURS)).is_some_and(|table| {
                let region = arn::region(function.function_arn().unwrap_or_default());
                is_same_table((table, region), (locks_table, region))
            });
            if let Some(arn) = function.function_arn().filter(|_| same && name.starts_with(HANDLER)) {
                handlers.push(ConnectHandler {
                    arn: self.alias_kept_warm(&name).await?.unwrap_or_else(|| arn.to_owned()),
                    only_watches: variables.is_some_and(is_in_shadow),
                });
            }
        }
        Ok(handlers)
    }

    /// The alias for which executions are kept running: only who calls it by that gets them.
    async fn alias_kept_warm(&self, name: &str) -> Result<Option<String>, CliError> {
        let asked = self.client.list_provisioned_concurrency_configs().function_name(name).send().await;
        let kept = asked.map_err(|error| self.failed(failure::why(&error)))?;
        // A version has a number where an alias has a name.
        let is_alias = |arn: &&str| arn.rsplit(':').next().is_some_and(|last| last.parse::<u64>().is_err());
        let arns = kept.provisioned_concurrency_configs().iter().filter_map(|kept| kept.function_arn());
        Ok(arns.filter(is_alias).map(str::to_owned).next())
    }

    /// The queues that feed it, each with whether it does: a mapping may be switched off.
    pub(super) async fn queues(&self) -> Result<Vec<(String, String)>, CliError> {
        let asked = self.client.list_event_source_mappings().function_name(&self.name);
        let mut mappings = asked.into_paginator().items().send();
        let mut queues = Vec::new();
        while let Some(mapping) = mappings.next().await {
            let mapping = mapping.map_err(|error| self.failed(failure::why(&error)))?;
            let state = mapping.state().unwrap_or("in no state").to_owned();
            let queue = mapping.event_source_arn().filter(|arn| arn.contains(":sqs:"));
            queues.extend(queue.map(|arn| (arn.to_owned(), state)));
        }
        Ok(queues)
    }

    /// Sends a command; its receipt.
    pub(super) async fn invoke(&self, command: &Value) -> Result<Value, CliError> {
        let answer = self.ask(command).await?;
        match answer.get("outcome") {
            Some(_) => Ok(answer),
            None => Err(CliError::Refused("its answer is no receipt; is that the revoker function?".to_owned())),
        }
    }

    /// Sends a command; its answer, whatever that is.
    pub(super) async fn ask(&self, command: &Value) -> Result<Value, CliError> {
        let payload = Blob::new(command.to_string());
        let invoked = self.client.invoke().function_name(&self.name).payload(payload).send().await;
        let answer = invoked.map_err(|error| self.failed(failure::why(&error)))?;
        let payload = answer.payload().map(AsRef::as_ref).unwrap_or_default();
        let value: Value = serde_json::from_slice(payload).unwrap_or_default();
        match answer.function_error() {
            None => Ok(value),
            Some(_) => Err(unanswered(&word(value.get("errorType")), &word(value.get("errorMessage")))),
        }
    }

    /// Which one it is, for whoever is to confirm something.
    pub(super) fn in_words(&self) -> String {
        let region = self.client.config().region().map(ToString::to_string).unwrap_or_default();
        match self.name.starts_with("arn:") {
            true => shown(&self.name),
            false => format!("{} in {region}", shown(&self.name)),
        }
    }

    fn failed(&self, why: String) -> CliError {
        CliError::Function { name: shown(&self.name), why }
    }
}

/// An invoke that ended in an error. Only what has a mistake is known not to have been begun.
pub(super) fn unanswered(error_type: &str, message: &str) -> CliError {
    match error_type {
        "InvalidCommand" | "NoDirectory" => CliError::Refused(shown(message)),
        _ => CliError::Failed(shown(message)),
    }
}

/// Every function of vpn-revoker in this account and Region, by name. Where one that may be meant can't be read, no other
/// can be taken for it.
async fn ours(
    client: &Client,
    may_be_meant: impl Fn(&str) -> bool,
) -> Result<Vec<(String, FunctionConfiguration)>, CliError> {
    let mut functions = client.list_functions().into_paginator().items().send();
    let mut found = Vec::new();
    while let Some(function) = functions.next().await {
        let function = function.map_err(|error| CliError::Search(failure::why(&error)))?;
        let name = function.function_name().unwrap_or_default();
        if let Some(error) =
            function.environment().and_then(|environment| environment.error()).filter(|_| may_be_meant(name))
        {
            return Err(CliError::Function { name: shown(name), why: unreadable(error) });
        }
        let variables = function.environment().and_then(|environment| environment.variables());
        if variables.is_some_and(|variables| variables.contains_key(OURS)) {
            found.push((function.function_name().unwrap_or_default().to_owned(), function));
        }
    }
    Ok(found)
}

/// Why a function's environment can't be read: a key of one's own that whoever asks may not use
/// (<https://docs.aws.amazon.com/lambda/latest/api/API_EnvironmentError.html>).
fn unreadable(error: &EnvironmentError) -> String {
    let why = [error.error_code(), error.message()].map(Option::unwrap_or_default).join(": ");
    format!("its environment can't be read ({}); allow kms:Decrypt, or name the function with --function", shown(&why))
}
