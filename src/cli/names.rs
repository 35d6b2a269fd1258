//! `alias`, `unalias` and `directory sync`: what else somebody is called on the VPN.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::act::Cause;
use super::aws::Aws;
use super::deployment::Deployment;
use super::output::{Format, Printer, counted, shown, word};
use super::{CliError, Outcome};

/// Give somebody a further name on the VPN, such as a certificate's; where somebody is locked, so is the name
#[derive(Debug, Args)]
#[command(after_help = "Example: vpn-revoker alias alice@example.com laptop-7 --reason 'her machine'")]
pub(super) struct Alias {
    #[command(flatten)]
    names: Names,
}

/// Take a further name away again
#[derive(Debug, Args)]
#[command(after_help = "Example: vpn-revoker unalias alice@example.com laptop-7 --reason 'it is Lee\\'s now'")]
pub(super) struct Unalias {
    #[command(flatten)]
    names: Names,
}

#[derive(Debug, Args)]
struct Names {
    /// Whose
    subject: String,
    /// User names or certificate common names
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    cause: Cause,
}

#[derive(Debug, Subcommand)]
pub(super) enum Directory {
    /// Copy the names of the identity store's users, so that who is deleted later is still known by name
    #[command(after_help = "Example: vpn-revoker directory sync\n\nThe stack does it once a day.")]
    Sync,
}

impl Alias {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        self.names.run("alias", deployment, aws, printer).await
    }
}

impl Unalias {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        self.names.run("unalias", deployment, aws, printer).await
    }
}

impl Names {
    async fn run(
        self,
        action: &str,
        deployment: &Deployment,
        aws: &Aws,
        printer: &Printer,
    ) -> Result<Outcome, CliError> {
        let mut command = Map::new();
        command.insert("action".to_owned(), json!(action));
        command.insert("names".to_owned(), json!(self.names));
        let what = format!("{action} {} of", shown(&self.names.join(", ")));
        self.cause.carry_out(&what, command, vec![self.subject], deployment, aws, printer).await
    }
}

impl Directory {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let Self::Sync = self;
        let answer = deployment.function(aws).await?.ask(&json!({"action": "sync_directory"})).await?;
        let error = word(answer.get("error"));
        let copied = answer.get("people").and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
        let Some(copied) = copied else {
            return Err(CliError::Refused("its answer counts no people; is that the revoker function?".to_owned()));
        };
        match printer.format {
            Format::Table => {
                printer.line(&format!("{} copied", counted(copied, "person", "people")))?;
                if !error.is_empty() {
                    super::output::note(&format!("the directory was not copied to its end: {error}"));
                }
            }
            _ => printer.json(&answer)?,
        }
        Ok(if error.is_empty() { Outcome::Fine } else { Outcome::Partial })
    }
}
