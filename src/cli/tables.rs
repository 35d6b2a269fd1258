//! The tables, as the command line finds them.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use clap::Args;

use super::CliError;
use crate::{DynamoAudit, DynamoLocks, aws};

/// Where the tables are, and as whom to read them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "AWS")]
pub(super) struct Tables {
    /// The locks table's name; output LocksTable of the stack
    #[arg(long, env = "VPN_REVOKER_LOCKS_TABLE", global = true, value_name = "NAME")]
    locks_table: Option<String>,
    /// The audit table's name; output AuditTable of the stack
    #[arg(long, env = "VPN_REVOKER_AUDIT_TABLE", global = true, value_name = "NAME")]
    audit_table: Option<String>,
    /// The AWS profile to use
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// The Region of the tables
    #[arg(long, global = true, value_name = "NAME")]
    region: Option<String>,
    /// Another address than AWS's, for an emulator
    #[arg(long, global = true, value_name = "URL")]
    endpoint_url: Option<String>,
}

impl Tables {
    pub(super) async fn audit(&self) -> Result<DynamoAudit, CliError> {
        let [locks, audit] = self.names()?;
        Ok(DynamoAudit::new(self.client().await?, audit, locks))
    }

    pub(super) async fn locks(&self) -> Result<DynamoLocks, CliError> {
        let locks = required(self.locks_table.as_deref(), "--locks-table", "LOCKS_TABLE")?;
        Ok(DynamoLocks::new(self.client().await?, locks))
    }

    fn names(&self) -> Result<[&str; 2], CliError> {
        Ok([
            required(self.locks_table.as_deref(), "--locks-table", "LOCKS_TABLE")?,
            required(self.audit_table.as_deref(), "--audit-table", "AUDIT_TABLE")?,
        ])
    }

    async fn client(&self) -> Result<Client, CliError> {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(aws::http_client())
            .retry_config(aws::retries())
            .timeout_config(aws::timeouts());
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(CliError::Usage("no AWS Region is set; give --region, or set AWS_REGION".to_owned()));
        }
        Ok(Client::new(&config))
    }
}

fn required<'a>(name: Option<&'a str>, option: &str, variable: &str) -> Result<&'a str, CliError> {
    let missing = || {
        CliError::Usage(format!(
            "{option} is missing; give it, or set VPN_REVOKER_{variable}: it is an output of the stack"
        ))
    };
    name.filter(|name| !name.trim().is_empty()).ok_or_else(missing)
}
