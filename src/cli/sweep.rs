//! `sweep`: everything connected held against every lock, now.

use clap::Args;
use serde_json::{Map, json};

use super::act::Cause;
use super::aws::Aws;
use super::deployment::Deployment;
use super::output::Printer;
use super::{CliError, Outcome};

/// Hold everything that is connected against every lock now, and end what is locked; the schedule does it by itself
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vpn-revoker sweep --reason 'after the outage' --dry-run
  vpn-revoker sweep --endpoint cvpn-endpoint-… --reason 'after the outage'")]
pub(super) struct Sweep {
    /// Look only at this endpoint; may be given several times
    #[arg(long = "endpoint", value_name = "ID")]
    endpoints: Vec<String>,
    /// Look only at this target, by Region or account; may be given several times
    #[arg(long = "target", value_name = "REGION|ACCOUNT")]
    targets: Vec<String>,
    #[command(flatten)]
    cause: Cause,
}

impl Sweep {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let mut command = Map::new();
        command.insert("action".to_owned(), json!("sweep"));
        for (field, values) in [("endpoints", &self.endpoints), ("targets", &self.targets)] {
            if !values.is_empty() {
                command.insert(field.to_owned(), json!(values));
            }
        }
        self.cause
            .carry_out("end whatever is connected under a locked name", command, Vec::new(), deployment, aws, printer)
            .await
    }
}
