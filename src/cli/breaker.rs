//! `breaker`: which authority is not believed any further, and believing it again.

use std::sync::Arc;

use clap::Subcommand;
use revocation::breaker::Brake;
use serde::Serialize;
use serde_json::{Map, json};

use super::act::Cause;
use super::aws::Aws;
use super::deployment::Deployment;
use super::output::{Printer, Tone, note};
use super::{CliError, Outcome};
use crate::SystemClock;

#[derive(Debug, Subcommand)]
pub(super) enum Breaker {
    /// How the breaker of each authority stands; exit code 1 where one is open
    #[command(after_help = "Example: vpn-revoker breaker status")]
    Status,
    /// Believe an authority again that locked too many
    #[command(after_help = "Example: vpn-revoker breaker close okta:acme --reason 'restructuring, says HR'")]
    Close {
        /// Which, as its refused entries and `breaker status` say
        authority: String,
        #[command(flatten)]
        cause: Cause,
    },
}

/// How one authority's breaker stands.
#[derive(Debug, Serialize)]
struct Row {
    authority: String,
    state: &'static str,
    opened_at: Option<String>,
    /// Holds that it newly brought into force in the last ten minutes; not counted while open.
    newly_locked: Option<usize>,
}

impl Breaker {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        match self {
            Self::Status => status(deployment, aws, printer).await,
            Self::Close { authority, cause } => {
                let mut command = Map::new();
                command.insert("action".to_owned(), json!("close_breaker"));
                command.insert("authority".to_owned(), json!(authority));
                let what = format!("close the breaker of {authority}");
                cause.carry_out(&what, command, Vec::new(), deployment, aws, printer).await
            }
        }
    }
}

async fn status(deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
    let locks = Arc::new(deployment.locks(aws).await?);
    let brake = Brake::new(Arc::clone(&locks) as Arc<dyn revocation::ports::Breaker>, Arc::new(SystemClock));
    let mut rows = Vec::new();
    for authority in locks.authorities().await? {
        let standing = brake.standing(&authority).await?;
        rows.push(Row {
            authority: authority.to_string(),
            state: if standing.opened_at.is_some() { "open" } else { "closed" },
            opened_at: standing.opened_at.map(|at| at.to_string()),
            newly_locked: standing.opened_at.is_none().then_some(standing.counted.len()),
        });
    }
    printer.toned(
        &["authority", "state", "open since", "newly locked in 10 minutes"],
        &rows,
        |row| {
            let count = row.newly_locked.map(|count| count.to_string()).unwrap_or_default();
            vec![row.authority.clone(), row.state.to_owned(), row.opened_at.clone().unwrap_or_default(), count]
        },
        |row| if row.state == "open" { Tone::Bad } else { Tone::Plain },
    )?;
    if rows.is_empty() {
        note("no producer has locked anybody lately: every breaker is closed");
    }
    Ok(if rows.iter().any(|row| row.state == "open") { Outcome::Wrong } else { Outcome::Fine })
}
