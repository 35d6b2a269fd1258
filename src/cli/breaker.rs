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

/// The state of a breaker that lets nothing more pass.
const OPEN: &str = "open";

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
                let authority = authority.trim().to_lowercase();
                must_be_open(&authority, deployment, aws).await?;
                let mut command = Map::new();
                command.insert("action".to_owned(), json!("close_breaker"));
                command.insert("authority".to_owned(), json!(authority));
                let what = format!("close the breaker of {authority}");
                cause.carry_out(&what, command, Vec::new(), deployment, aws, printer).await
            }
        }
    }
}

/// Whoever closes a breaker that is not open believes that people are locked who are not.
async fn must_be_open(authority: &str, deployment: &Deployment, aws: &Aws) -> Result<(), CliError> {
    let rows = match standings(deployment, aws).await {
        Ok(rows) => rows,
        Err(error) => {
            note(&format!("whether it is open could not be seen: {error}"));
            return Ok(());
        }
    };
    let open: Vec<&str> = rows.iter().filter(|row| row.state == OPEN).map(|row| row.authority.as_str()).collect();
    match open.as_slice() {
        open if open.contains(&authority) => Ok(()),
        [] => Err(CliError::Usage(format!(
            "the breaker of {authority} is not open, and no other is; there is nothing to close"
        ))),
        open => Err(CliError::Usage(format!("the breaker of {authority} is not open; open are: {}", open.join(", ")))),
    }
}

async fn standings(deployment: &Deployment, aws: &Aws) -> Result<Vec<Row>, CliError> {
    let locks = Arc::new(deployment.locks(aws).await?);
    let brake = Brake::new(Arc::clone(&locks) as Arc<dyn revocation::ports::Breaker>, Arc::new(SystemClock));
    let mut rows = Vec::new();
    for authority in locks.authorities().await? {
        let standing = brake.standing(&authority).await?;
        rows.push(Row {
            authority: authority.to_string(),
            state: if standing.opened_at.is_some() { OPEN } else { "closed" },
            opened_at: standing.opened_at.map(|at| at.to_string()),
            newly_locked: standing.opened_at.is_none().then_some(standing.counted.len()),
        });
    }
    Ok(rows)
}

async fn status(deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
    let rows = standings(deployment, aws).await?;
    printer.toned(
        &["authority", "state", "open since", "newly locked in 10 minutes"],
        &rows,
        |row| {
            let count = row.newly_locked.map(|count| count.to_string()).unwrap_or_default();
            vec![row.authority.clone(), row.state.to_owned(), row.opened_at.clone().unwrap_or_default(), count]
        },
        |row| if row.state == OPEN { Tone::Bad } else { Tone::Plain },
    )?;
    if rows.is_empty() {
        note("no producer has locked anybody lately: every breaker is closed");
    }
    Ok(if rows.iter().any(|row| row.state == OPEN) { Outcome::Wrong } else { Outcome::Fine })
}
