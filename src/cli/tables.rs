//! The tables, as the command line finds them.

use aws_sdk_dynamodb::Client;
use clap::Args;

use super::CliError;
use super::aws::Aws;
use crate::{DynamoAudit, DynamoLocks};

/// Where the tables are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tables")]
pub(super) struct Tables {
    /// The locks table's name; output LocksTable of the stack
    #[arg(long, env = "VPN_REVOKER_LOCKS_TABLE", global = true, value_name = "NAME")]
    locks_table: Option<String>,
    /// The audit table's name; output AuditTable of the stack
    #[arg(long, env = "VPN_REVOKER_AUDIT_TABLE", global = true, value_name = "NAME")]
    audit_table: Option<String>,
}

impl Tables {
    pub(super) async fn audit(&self, aws: &Aws) -> Result<DynamoAudit, CliError> {
        let [locks, audit] = self.names()?;
        Ok(DynamoAudit::new(client(aws).await?, audit, locks))
    }

    pub(super) async fn locks(&self, aws: &Aws) -> Result<DynamoLocks, CliError> {
        let locks = required(self.locks_table.as_deref(), "--locks-table", "LOCKS_TABLE")?;
        Ok(DynamoLocks::new(client(aws).await?, locks))
    }

    fn names(&self) -> Result<[&str; 2], CliError> {
        Ok([
            required(self.locks_table.as_deref(), "--locks-table", "LOCKS_TABLE")?,
            required(self.audit_table.as_deref(), "--audit-table", "AUDIT_TABLE")?,
        ])
    }
}

async fn client(aws: &Aws) -> Result<Client, CliError> {
    Ok(Client::new(&aws.config(crate::aws::timeouts()).await?))
}

fn required<'a>(name: Option<&'a str>, option: &str, variable: &str) -> Result<&'a str, CliError> {
    let missing = || {
        CliError::Usage(format!(
            "{option} is missing; give it, or set VPN_REVOKER_{variable}: it is an output of the stack"
        ))
    };
    name.filter(|name| !name.trim().is_empty()).ok_or_else(missing)
}
