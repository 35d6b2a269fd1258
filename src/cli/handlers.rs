//! The connect handlers that are ours.

use aws_config::Region;
use aws_sdk_lambda::primitives::Blob;
use serde_json::{Value, json};

use super::CliError;
use super::aws::Aws;
use super::deployment::Deployment;
use super::output::{shown, word};
use crate::failure;

/// The connect handlers that are ours, by ARN.
pub(super) struct Handlers {
    pub(super) arns: Vec<String>,
    /// Whether they are known at all.
    pub(super) known: bool,
}

impl Handlers {
    /// Those that somebody names.
    pub(super) fn named(arns: &[String]) -> Self {
        Self { arns: arns.to_vec(), known: true }
    }

    /// Those that read the function's locks, in its own account and Region.
    pub(super) async fn of(deployment: &Deployment, aws: &Aws) -> Result<Self, CliError> {
        let locks_table = deployment.scope(aws).await?.locks_table;
        Ok(Self { arns: deployment.function(aws).await?.handlers(&locks_table).await?, known: true })
    }

    /// Nobody could say which are ours.
    pub(super) fn unknown() -> Self {
        Self { arns: Vec::new(), known: false }
    }

    /// The one for endpoints of a Region: Client VPN invokes none in another.
    pub(super) fn the_one_in(&self, region: &str) -> Result<String, CliError> {
        let mut there = self.arns.iter().filter(|arn| region_of(arn) == region);
        match (there.next(), there.next()) {
            (Some(arn), None) => Ok(arn.clone()),
            (None, _) => Err(CliError::Usage(format!(
                "no connect handler of ours is known in {region}; name it with --handler (output ConnectHandlerArn of the stack that is there)"
            ))),
            (Some(_), Some(_)) => {
                Err(CliError::Usage(format!("several connect handlers are in {region}; name one with --handler")))
            }
        }
    }
}

fn region_of(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap_or_default()
}

/// Makes sure that a connect handler lets somebody in who is not locked: one that fails keeps everybody out.
pub(super) async fn admits_somebody(arn: &str, aws: &Aws) -> Result<(), CliError> {
    let config = aws.config(crate::aws::timeouts()).await?;
    let config = aws_sdk_lambda::config::Builder::from(&config).region(Region::new(region_of(arn).to_owned())).build();
    let client = aws_sdk_lambda::Client::from_conf(config);
    let payload = Blob::new(somebody().to_string());
    let invoked = client.invoke().function_name(arn).payload(payload).send().await;
    let answer = invoked.map_err(|error| CliError::Function { name: shown(arn), why: failure::why(&error) })?;
    let payload = answer.payload().map(AsRef::as_ref).unwrap_or_default();
    let value: Value = serde_json::from_slice(payload).unwrap_or_default();
    if answer.function_error().is_none() && value.get("allow") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let why = ["errorMessage", "error-msg-on-denied-connection"].map(|key| word(value.get(key))).concat();
    Err(CliError::Unfit(format!(
        "{} would keep out somebody who is not locked ({}), so nothing was attached; look at its log",
        shown(arn),
        if why.is_empty() { "it gave no reason".to_owned() } else { shown(&why) }
    )))
}

/// A request about nobody, in the form that Client VPN sends
/// (<https://docs.aws.amazon.com/vpn/latest/clientvpn-admin/connection-authorization.html>).
fn somebody() -> Value {
    json!({
        "connection-id": "cvpn-connection-00000000000000000",
        "endpoint-id": "cvpn-endpoint-00000000000000000",
        "common-name": "",
        "username": "vpn-revoker-trial",
        "platform": "",
        "platform-version": "",
        "public-ip": "192.0.2.1",
        "client-openvpn-version": "",
        "groups": [],
        "schema-version": "v3",
    })
}
