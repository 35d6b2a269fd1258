//! `--reason`, `--requested-by`, `--dry-run` and the like, and sending a command for many subjects.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use revocation::ports::Clock;
use serde_json::{Map, Value, json};

use super::receipts::{outcome, show};
use crate::SystemClock;
use crate::cli::aws::Aws;
use crate::cli::deployment::Deployment;
use crate::cli::function::Function;
use crate::cli::local::LocalFunction;
use crate::cli::output::{Printer, Progress, note, shown};
use crate::cli::{CliError, Outcome, interrupt};

/// Subjects of one invoke. What one run can't finish in its two minutes is `incomplete`, and EC2 ends five connections a
/// second.
pub(in crate::cli) const AT_ONCE: usize = 50;

/// Who asks for it, and why.
#[derive(Debug, Args)]
pub(in crate::cli) struct Cause {
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who asks for it, for the audit trail, as claimed
    #[arg(long, value_name = "WHO", env = "USER")]
    requested_by: Option<String>,
    #[command(flatten)]
    means: Means,
}

/// How it is done.
#[derive(Debug, Args)]
pub(in crate::cli) struct Means {
    /// The command's id in the audit trail; the same id again does nothing twice. Without it, a new id is made
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Show the plan, and whether EC2 would permit it; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    /// Run the function's own code here, with its configuration and your permissions, instead of invoking it
    #[arg(long)]
    local: bool,
}

/// An id that no other run has: tried again within this one, it is the same revocation.
pub(in crate::cli) fn new_id() -> String {
    let chance = RandomState::new().hash_one(std::process::id());
    format!("cli-{}-{chance:016x}", SystemClock.now().as_millis())
}

impl Cause {
    /// Sends the command for all subjects, some at a time, and shows what came of it.
    pub(in crate::cli) async fn carry_out(
        &self,
        what: &str,
        mut command: Map<String, Value>,
        subjects: Vec<String>,
        deployment: &Deployment,
        aws: &Aws,
        printer: &Printer,
    ) -> Result<Outcome, CliError> {
        command.insert("reason".to_owned(), json!(self.reason));
        if let Some(who) = self.requested_by.as_deref().filter(|who| !who.is_empty()) {
            command.insert("requested_by".to_owned(), json!(who));
        }
        self.means.carry_out(what, command, subjects, deployment, aws, printer).await
    }
}

impl Means {
    /// Like [`Cause::carry_out`], for a command that has no reason of its own.
    pub(in crate::cli) async fn carry_out(
        &self,
        what: &str,
        mut command: Map<String, Value>,
        subjects: Vec<String>,
        deployment: &Deployment,
        aws: &Aws,
        printer: &Printer,
    ) -> Result<Outcome, CliError> {
        let doer = self.doer(deployment, aws).await?;
        if self.dry_run {
            command.insert("dry_run".to_owned(), json!(true));
        } else {
            confirm(self.yes, what, &subjects, &doer.in_words())?;
        }
        let id = self.id.clone().unwrap_or_else(new_id);
        let again = format!("the same command with --id {id} goes on, and does nothing twice");
        let _kept = interrupt::tells(match &doer {
            Doer::Function(_) => format!("the function goes on with what it was sent; {again}"),
            Doer::LocalFunction(_) => format!("what was done so far stands; {again}"),
        });
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
            match doer.carry_out(&Value::Object(command)).await {
                Ok(receipt) => receipts.push(receipt),
                Err(error) => {
                    drop(progress);
                    show(&receipts, printer)?;
                    // What was refused once is refused again.
                    if !matches!(error, CliError::Refused(_)) {
                        note(&again);
                    }
                    return Err(error);
                }
            }
            progress.more(batch.len());
        }
        drop(progress);
        show(&receipts, printer)?;
        Ok(outcome(&receipts))
    }

    async fn doer(&self, deployment: &Deployment, aws: &Aws) -> Result<Doer, CliError> {
        Ok(match self.local {
            true => Doer::LocalFunction(Box::new(LocalFunction::new(deployment, aws).await?)),
            false => Doer::Function(deployment.function(aws).await?),
        })
    }
}

/// Whoever does what is asked for.
enum Doer {
    Function(Function),
    LocalFunction(Box<LocalFunction>),
}

impl Doer {
    fn in_words(&self) -> String {
        match self {
            Self::Function(function) => format!("by function {}", function.in_words()),
            Self::LocalFunction(here) => here.whose.clone(),
        }
    }

    async fn carry_out(&self, command: &Value) -> Result<Value, CliError> {
        match self {
            Self::Function(function) => function.invoke(command).await,
            Self::LocalFunction(here) => here.invoke(command).await,
        }
    }
}

/// Asks on a terminal; elsewhere `--yes` has to be said. The question says what, of whom, and by whom.
pub(in crate::cli) fn confirm(yes: bool, what: &str, whom: &[String], by: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::Usage(
            "nobody is there to confirm it; add --yes, or --dry-run to see what would happen".to_owned(),
        ));
    }
    let mut terminal = io::stderr();
    write!(terminal, "{}? [y/N] ", question(what, whom, by))?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        true => Ok(()),
        false => Err(CliError::Unfit("nothing was done".to_owned())),
    }
}

fn question(what: &str, whom: &[String], by: &str) -> String {
    let some: Vec<String> = whom.iter().take(5).map(|subject| shown(subject)).collect();
    let more = match whom.len() {
        0..=5 => String::new(),
        many => format!(" and {} more", many - 5),
    };
    [what, &format!("{}{more}", some.join(", ")), by]
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| (*part).to_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_says_what_of_whom_and_by_whom() {
        let one = ["alice@example.com".to_owned()];
        assert_eq!(question("revoke", &one, "by function f"), "revoke alice@example.com by function f");
        let many: Vec<String> = (0..7).map(|number| format!("u{number}")).collect();
        assert_eq!(question("restore", &many, ""), "restore u0, u1, u2, u3, u4 and 2 more");
        assert_eq!(question("end connection c on e", &[], "here"), "end connection c on e here");
        assert_eq!(question("revoke", &["\u{1b}[2J".to_owned()], ""), r"revoke \u{1b}[2J");
    }
}
