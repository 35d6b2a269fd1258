//! The command line for people: what the functions did can be seen and proved here, and commands be given.
//!
//! What is read is read from the two tables: `dynamodb:Scan`, `Query`, `GetItem` and `BatchGetItem`. What is done is done
//! by the deployed function: `lambda:InvokeFunction` on it, and no more.

mod act;
mod audit;
mod aws;
mod error;
mod explain;
mod export;
mod function;
mod locks;
mod output;
mod strict;
mod tables;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use aws::Aws;
pub use error::CliError;
use output::{Format, Printer};
use tables::Tables;

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Done, and nothing is wrong.
    Fine,
    /// Done, and something that was looked at is wrong.
    Wrong,
}

/// Takes somebody's VPN access away, shows what was done, and proves that the audit trail is whole.
#[derive(Debug, Parser)]
#[command(
    name = "vpn-revoker",
    version,
    after_help = "Exit codes: 0 fine, 1 something that was looked at is wrong, 2 wrong usage, 3 it could not be looked at.",
    propagate_version = true
)]
struct Cli {
    /// How to show it
    #[arg(long, value_enum, default_value = "table", global = true)]
    output: Format,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    aws: Aws,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Revoke(act::Revoke),
    Disconnect(act::Disconnect),
    Restore(act::Restore),
    /// The circuit breaker
    #[command(subcommand)]
    Breaker(act::Breaker),
    /// The audit trail: list, show, export, verify
    #[command(subcommand)]
    Audit(audit::Audit),
    /// The locks: who is kept out, by whom, since when
    #[command(subcommand)]
    Locks(locks::Locks),
    /// What the function would make of an event, rule by rule; needs no AWS
    Explain(explain::Explain),
    /// Intake rules of your own
    #[command(subcommand)]
    Rules(explain::Rules),
    /// Completions for a shell: vpn-revoker completions bash > /etc/bash_completion.d/vpn-revoker
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the program with the process's arguments.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    let printer = Printer::new(cli.output);
    match cli.command.run(&cli.tables, &cli.aws, &printer).await {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Wrong) => ExitCode::from(1),
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(if error.is_usage() { 2 } else { 3 })
        }
    }
}

impl Command {
    async fn run(self, tables: &Tables, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        match self {
            Self::Revoke(command) => command.run(aws, printer).await,
            Self::Disconnect(command) => command.run(aws, printer).await,
            Self::Restore(command) => command.run(aws, printer).await,
            Self::Breaker(command) => command.run(aws, printer).await,
            Self::Audit(command) => command.run(tables, aws, printer).await,
            Self::Locks(command) => command.run(tables, aws, printer).await,
            Self::Explain(command) => command.run(printer),
            Self::Rules(command) => command.run(printer),
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "vpn-revoker", &mut script);
                printer.raw(&String::from_utf8_lossy(&script))?;
                Ok(Outcome::Fine)
            }
        }
    }
}
