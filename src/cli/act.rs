//! `revoke`, `disconnect`, `restore`, `breaker close`: commands to the deployed function, so that what protects there,
//! protects here too: protected names, aliases, targets, limits.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use revocation::ports::Clock;
use serde_json::{Map, Value, json};

use super::aws::Aws;
use super::function::Function;
use super::output::{Format, Printer, Progress, note, shown, word};
use super::{CliError, Outcome};
use crate::SystemClock;

/// Subjects of one invoke. What one run can't finish in its two minutes is `incomplete`, and EC2 ends five connections a
/// second.
const AT_ONCE: usize = 50;

/// Who asks for it, and why.
#[derive(Debug, Args)]
pub(super) struct Cause {
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who asks for it, for the audit trail, as claimed
    #[arg(long, value_name = "WHO", env = "USER")]
    requested_by: Option<String>,
    /// What this is called in the audit trail; the same again is the same revocation. Without it, a new one
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Show the plan, and whether EC2 would permit it; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    function: Function,
}

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

#[derive(Debug, Subcommand)]
pub(super) enum Breaker {
    /// Believe an authority again that locked too many
    #[command(after_help = "Example: vpn-revoker breaker close okta:acme --reason 'restructuring, says HR'")]
    Close {
        /// Which, as its refused entries say
        authority: String,
        #[command(flatten)]
        cause: Cause,
    },
}

impl Subjects {
    /// Those of the arguments and of the file; lines that are empty or begin with `#` are none.
    fn read(&self) -> Result<Vec<String>, CliError> {
        let mut subjects = self.subjects.clone();
        if let Some(path) = &self.file {
            let failed = |error| CliError::File { path: path.display().to_string(), error };
            let lines: Box<dyn BufRead> = match path.as_os_str() == "-" {
                true => Box::new(io::stdin().lock()),
                false => Box::new(io::BufReader::new(std::fs::File::open(path).map_err(failed)?)),
            };
            for line in lines.lines() {
                let line = line.map_err(failed)?;
                let line = line.trim();
                if !line.is_empty() && !line.starts_with('#') {
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
    pub(super) async fn run(self, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let mut command = Map::new();
        command.insert("action".to_owned(), json!("revoke"));
        if let Some(duration) = &self.expires_in {
            command.insert("expires_in".to_owned(), json!(duration));
        }
        if self.force {
            command.insert("force".to_owned(), json!(true));
        }
        self.cause.carry_out("revoke", command, self.subjects.read()?, aws, printer).await
    }
}

impl Disconnect {
    pub(super) async fn run(self, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let mut command = Map::new();
        command.insert("action".to_owned(), json!("disconnect"));
        if self.force {
            command.insert("force".to_owned(), json!(true));
        }
        if let (Some(endpoint), Some(connection)) = (&self.endpoint, &self.connection) {
            command.insert("endpoint_id".to_owned(), json!(endpoint));
            command.insert("connection_id".to_owned(), json!(connection));
        }
        self.cause.carry_out("disconnect", command, self.subjects, aws, printer).await
    }
}

impl Restore {
    pub(super) async fn run(self, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let mut command = Map::new();
        command.insert("action".to_owned(), json!("restore"));
        if !self.authorities.is_empty() {
            command.insert("authorities".to_owned(), json!(self.authorities));
        }
        self.cause.carry_out("restore", command, self.subjects.read()?, aws, printer).await
    }
}

impl Breaker {
    pub(super) async fn run(self, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let Self::Close { authority, cause } = self;
        let mut command = Map::new();
        command.insert("action".to_owned(), json!("close_breaker"));
        command.insert("authority".to_owned(), json!(authority));
        cause.carry_out("close the breaker", command, Vec::new(), aws, printer).await
    }
}

/// An id that no other run has: tried again within this one, it is the same revocation.
fn new_id() -> String {
    let chance = RandomState::new().hash_one(std::process::id());
    format!("cli-{}-{chance:016x}", SystemClock.now().as_millis())
}

impl Cause {
    /// Sends the command for all subjects, some at a time, and shows what came of it.
    async fn carry_out(
        &self,
        what: &str,
        mut command: Map<String, Value>,
        subjects: Vec<String>,
        aws: &Aws,
        printer: &Printer,
    ) -> Result<Outcome, CliError> {
        self.confirm(what, &subjects)?;
        command.insert("reason".to_owned(), json!(self.reason));
        if let Some(who) = self.requested_by.as_deref().filter(|who| !who.is_empty()) {
            command.insert("requested_by".to_owned(), json!(who));
        }
        if self.dry_run {
            command.insert("dry_run".to_owned(), json!(true));
        }
        let id = self.id.clone().unwrap_or_else(new_id);
        let function = self.function.connect(aws).await?;
        let progress = Progress::new("subjects done");
        let mut receipts = Vec::new();
        let batches: Vec<&[String]> = if subjects.is_empty() { vec![&[]] } else { subjects.chunks(AT_ONCE).collect() };
        for (number, batch) in batches.iter().enumerate() {
            let mut command = command.clone();
            // Each invoke is a signal of its own.
            let signal = if batches.len() == 1 { id.clone() } else { format!("{id}-{}", number + 1) };
            command.insert("id".to_owned(), json!(signal));
            if !batch.is_empty() {
                command.insert("subjects".to_owned(), json!(batch));
            }
            match function.invoke(&Value::Object(command)).await {
                Ok(receipt) => receipts.push(receipt),
                Err(error) => {
                    drop(progress);
                    show(&receipts, printer)?;
                    note(&format!("the same command with --id {id} goes on, and does nothing twice"));
                    return Err(error);
                }
            }
            progress.more(batch.len());
        }
        drop(progress);
        show(&receipts, printer)?;
        let fine = receipts.iter().all(|receipt| FINE.contains(&word(receipt.get("outcome")).as_str()));
        Ok(if fine { Outcome::Fine } else { Outcome::Wrong })
    }

    /// Asks on a terminal; elsewhere `--yes` has to be said.
    fn confirm(&self, what: &str, subjects: &[String]) -> Result<(), CliError> {
        if self.yes || self.dry_run {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(CliError::Usage(
                "nobody is there to confirm it; add --yes, or --dry-run to see what would happen".to_owned(),
            ));
        }
        let whom: Vec<String> = subjects.iter().take(5).map(|subject| shown(subject)).collect();
        let more = match subjects.len() {
            0..=5 => String::new(),
            many => format!(" and {} more", many - 5),
        };
        let mut terminal = io::stderr().lock();
        write!(terminal, "{what} {}{more}? [y/N] ", whom.join(", "))?;
        terminal.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            true => Ok(()),
            false => Err(CliError::Unfit("nothing was done".to_owned())),
        }
    }
}

/// What a receipt says where all is well.
const FINE: [&str; 4] = ["completed", "restored", "aliased", "planned"];

const TITLES: [&str; 5] = ["subject", "outcome", "found", "ended", "why"];

/// Shows receipts: a line for each subject, and the times.
fn show(receipts: &[Value], printer: &Printer) -> Result<(), CliError> {
    match printer.format {
        Format::Json => return printer.json(receipts),
        Format::Jsonl => return receipts.iter().try_for_each(|receipt| printer.json(receipt)),
        Format::Table => {}
    }
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let subjects: Vec<Value> = receipts.iter().flat_map(|receipt| list(receipt, "subjects")).collect();
    printer.rows(&TITLES, &subjects, |subject| {
        let connections = list(subject, "connections");
        let ended = connections.iter().filter(|row| word(row.get("current_status")) == "terminated").count();
        let [name, outcome, error] = ["subject", "outcome", "error"].map(|key| word(subject.get(key)));
        vec![name, outcome, connections.len().to_string(), ended.to_string(), error]
    })?;
    for receipt in receipts {
        let endpoints = list(receipt, "endpoints").len();
        let [signal, mode] = ["signal_id", "mode"].map(|key| shown(&word(receipt.get(key))));
        let mut line = format!("{signal}: mode {mode}, {endpoints} endpoints listed");
        for (key, label) in
            [("locked_at", "locked"), ("first_terminate_at", "first ended"), ("verified_at", "verified")]
        {
            if let Some(at) = receipt.get("timings").and_then(|timings| timings.get(key)).and_then(Value::as_str) {
                line.push_str(&format!(", {label} {}", shown(at)));
            }
        }
        printer.line(&line)?;
    }
    Ok(())
}
