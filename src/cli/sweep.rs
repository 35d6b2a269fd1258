//! `sweep`: checks every connection against every lock, now.

use clap::Args;
use serde_json::{Map, json};

use super::act::Means;
use super::aws::Aws;
use super::deployment::Deployment;
use super::output::{Printer, shown};
use super::{CliError, Outcome};

/// Check every connection against every lock now, and end what is locked; the schedule does it by itself
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vpn-revoker sweep --dry-run
  vpn-revoker sweep --endpoint cvpn-endpoint-…

What it ends is recorded with the reason of the lock.")]
pub(super) struct Sweep {
    /// Look only at this endpoint; may be given several times
    #[arg(long = "endpoint", value_name = "ID")]
    endpoints: Vec<String>,
    /// Look only at this target, by Region or account; may be given several times
    #[arg(long = "target", value_name = "REGION|ACCOUNT")]
    targets: Vec<String>,
    #[command(flatten)]
    means: Means,
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
        let scope: Vec<String> = self.endpoints.iter().chain(&self.targets).map(|part| shown(part)).collect();
        let on = if scope.is_empty() { String::new() } else { format!(", looking at {}", scope.join(", ")) };
        let what = format!("end whatever is connected under a locked name{on}");
        self.means.carry_out(&what, command, Vec::new(), deployment, aws, printer).await
    }
}
