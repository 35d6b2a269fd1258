//! `revoke`, `disconnect`, `restore`: commands to the deployed function, so that what protects there, protects here too:
//! protected names, aliases, targets, limits.

mod cause;
pub(super) mod receipts;

use std::io::{self, BufRead};
use std::path::PathBuf;

use clap::Args;
use revocation::name::Name;
use serde_json::{Map, json};

use super::aws::Aws;
use super::deployment::Deployment;
use super::output::{Printer, shown};
use super::{CliError, Outcome};

pub(super) use cause::{AT_ONCE, Cause, Means, confirm, new_id};

/// Whom it is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Subjects {
    /// User names, e-mail addresses, certificate common names
    subjects: Vec<String>,
    /// A file with one on each line; `-` for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Lock somebody, end every connection, and verify it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vpn-revoker revoke alice@example.com --reason INC-42
  vpn-revoker revoke alice@example.com laptop-7 --reason INC-42 --expires-in PT12H --dry-run
  vpn-revoker revoke --file leavers.txt --reason HR-2026-03 --yes --output jsonl")]
pub(super) struct Revoke {
    #[command(flatten)]
    subjects: Subjects,
    #[command(flatten)]
    cause: Cause,
    /// When the lock lapses by itself: PT12H, P3D; without it, never
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<String>,
    /// Also where more connections match than the function's limit
    #[arg(long)]
    force: bool,
}

/// End the connections that there are now, and lock nobody: who is cut off may come back
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vpn-revoker disconnect alice@example.com --reason 'new certificate'
  vpn-revoker disconnect --endpoint cvpn-endpoint-… --connection cvpn-connection-… --reason 'stuck'")]
pub(super) struct Disconnect {
    /// User names, e-mail addresses, certificate common names
    #[arg(required_unless_present = "connection")]
    subjects: Vec<String>,
    /// A single connection, by its id
    #[arg(long, value_name = "ID", requires = "endpoint", conflicts_with = "subjects")]
    connection: Option<String>,
    /// The endpoint that it is on
    #[arg(long, value_name = "ID", requires = "connection")]
    endpoint: Option<String>,
    #[command(flatten)]
    cause: Cause,
    /// Also where more connections match than the function's limit
    #[arg(long)]
    force: bool,
}

/// Let somebody in again
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vpn-revoker restore alice@example.com --reason 'INC-42 closed'
  vpn-revoker restore --file mistakes.txt --authority okta:acme --reason 'directory emptied by mistake' --yes")]
pub(super) struct Restore {
    #[command(flatten)]
    subjects: Subjects,
    /// Lift only what this authority holds; without it, every hold
    #[arg(long = "authority", value_name = "AUTHORITY")]
    authorities: Vec<String>,
    #[command(flatten)]
    cause: Cause,
}

impl Subjects {
    /// Those of the arguments and of the file; lines that are empty or begin with `#` are none.
    fn read(&self) -> Result<Vec<String>, CliError> {
        // The function refuses a whole invoke for one that it can't take.
        let mut subjects: Vec<String> = Vec::new();
        for subject in &self.subjects {
            super::locks::named(subject)?;
            subjects.push(subject.clone());
        }
        if let Some(path) = &self.file {
            let failed = |error| CliError::File { path: path.display().to_string(), error };
            let lines: Box<dyn BufRead> = match path.as_os_str() == "-" {
                true => Box::new(io::stdin().lock()),
                false => Box::new(io::BufReader::new(std::fs::File::open(path).map_err(failed)?)),
            };
            for (number, line) in (1..).zip(lines.lines()) {
                let line = line.map_err(failed)?;
                // Spreadsheets and editors begin a file with a mark that is part of no name.
                let line = line.trim_start_matches('\u{feff}').trim();
                if !line.is_empty() && !line.starts_with('#') {
                    Name::new(line).map_err(|error| CliError::Line {
                        path: path.display().to_string(),
                        line: number,
                        problem: format!("{error}; correct it or take it out. Nothing was done"),
                    })?;
                    subjects.push(line.to_owned());
                }
            }
        }
        match subjects.is_empty() {
            true => Err(CliError::Unfit("nobody is named: the file has no lines".to_owned())),
            false => Ok(subjects),
        }
    }
}

impl Revoke {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let mut command = Map::new();
        command.insert("action".to_owned(), json!("revoke"));
        if let Some(duration) = &self.expires_in {
            command.insert("expires_in".to_owned(), json!(duration));
        }
        if self.force {
            command.insert("force".to_owned(), json!(true));
        }
        self.cause.carry_out("revoke", command, self.subjects.read()?, deployment, aws, printer).await
    }
}

impl Disconnect {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let mut command = Map::new();
        command.insert("action".to_owned(), json!("disconnect"));
        if self.force {
            command.insert("force".to_owned(), json!(true));
        }
        if let (Some(endpoint), Some(connection)) = (&self.endpoint, &self.connection) {
            command.insert("endpoint_id".to_owned(), json!(endpoint));
            command.insert("connection_id".to_owned(), json!(connection));
        }
        let what = match (&self.connection, &self.endpoint) {
            (Some(connection), Some(endpoint)) => format!("end {} on {}", shown(connection), shown(endpoint)),
            _ => "disconnect".to_owned(),
        };
        self.cause.carry_out(&what, command, self.subjects, deployment, aws, printer).await
    }
}

impl Restore {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let mut command = Map::new();
        command.insert("action".to_owned(), json!("restore"));
        if !self.authorities.is_empty() {
            command.insert("authorities".to_owned(), json!(self.authorities));
        }
        self.cause.carry_out("restore", command, self.subjects.read()?, deployment, aws, printer).await
    }
}
