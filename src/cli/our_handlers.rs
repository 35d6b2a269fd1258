//! The connect handlers that are ours.

use aws_config::Region;
use aws_sdk_lambda::primitives::Blob;
use revocation::connection::Target;
use serde_json::{Value, json};

use super::CliError;
use super::aws::Aws;
use super::deployment::Deployment;
use super::function::ConnectHandler;
use super::output::{shown, word};
use super::targets::place;
use crate::arn;
use crate::failure;

/// The connect handlers that are ours.
pub(super) struct Handlers {
    ours: Vec<ConnectHandler>,
    /// Whether they are known at all.
    known: bool,
    /// The account of the deployment, where it is known.
    home: Option<String>,
}

impl Handlers {
    /// Those that somebody names.
    pub(super) fn named(arns: &[String]) -> Result<Self, CliError> {
        match arns.iter().find(|arn| arn::function(arn).is_none()) {
            Some(wrong) => Err(CliError::Usage(format!(
                "--handler {} is no ARN of a function; it looks like arn:aws:lambda:eu-west-1:111122223333:function:AWSClientVPN-…",
                shown(wrong)
            ))),
            None => {
                let ours = arns.iter().map(|arn| ConnectHandler { arn: arn.clone(), only_watches: false }).collect();
                Ok(Self { ours, known: true, home: None })
            }
        }
    }

    /// Those that read the function's locks, in its own account and Region.
    pub(super) async fn of(deployment: &Deployment, aws: &Aws) -> Result<Self, CliError> {
        let locks_table = deployment.scope(aws).await?.locks_table;
        let ours = deployment.function(aws).await?.handlers(&locks_table).await?;
        let home = ours.first().map(|first| arn::account(&first.arn).to_owned());
        Ok(Self { ours, known: true, home })
    }

    /// Nobody could say which are ours.
    pub(super) fn unknown() -> Self {
        Self { ours: Vec::new(), known: false, home: None }
    }

    /// Whether a function is one of them, by whichever version or alias.
    pub(super) fn include(&self, arn: &str) -> bool {
        self.find(arn).is_some()
    }

    /// Whether it is one that lets in whoever is locked, being in shadow mode.
    pub(super) fn only_watches(&self, arn: &str) -> bool {
        self.find(arn).is_some_and(|handler| handler.only_watches)
    }

    fn find(&self, arn: &str) -> Option<&ConnectHandler> {
        let named = arn::function(arn)?;
        self.ours.iter().find(|own| arn::function(&own.arn).as_ref() == Some(&named))
    }

    /// Whether any is known where an endpoint is: Client VPN invokes none of another account or Region
    /// (<https://docs.aws.amazon.com/vpn/latest/clientvpn-admin/connection-authorization.html>).
    pub(super) fn any_in(&self, target: &Target) -> bool {
        self.known && self.ours.iter().any(|own| is_in(&own.arn, target, self.home()))
    }

    /// The one for the endpoints of a target.
    pub(super) fn the_one_in(&self, target: &Target) -> Result<String, CliError> {
        let mut there = self.ours.iter().map(|own| &own.arn).filter(|arn| is_in(arn, target, self.home()));
        match (there.next(), there.next()) {
            (Some(arn), None) => Ok(arn.clone()),
            (None, _) => Err(CliError::Usage(format!(
                "no connect handler of ours is known in {}, and Client VPN asks none of another account or Region; name it by its ARN with --handler (output ConnectHandlerArn of the stack that is there)",
                place(target)
            ))),
            (Some(_), Some(_)) => Err(CliError::Usage(format!(
                "several connect handlers are in {}; name one with --handler",
                place(target)
            ))),
        }
    }

    /// The account that targets without one of their own are in.
    fn home(&self) -> Option<&str> {
        self.home.as_deref()
    }
}

fn is_in(arn: &str, target: &Target, home: Option<&str>) -> bool {
    let account = target.account.as_deref().or(home);
    arn::region(arn) == target.region && account.is_none_or(|account| arn::account(arn) == account)
}

/// Makes sure that a connect handler lets somebody in who is not locked: one that fails keeps everybody out.
pub(super) async fn admits_somebody(arn: &str, aws: &Aws) -> Result<(), CliError> {
    let config = aws.config(crate::aws::timeouts()).await?;
    let config =
        aws_sdk_lambda::config::Builder::from(&config).region(Region::new(arn::region(arn).to_owned())).build();
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
