//! The command line for people: what the functions did, can be seen and proved here.
//!
//! Nothing here ends a connection or changes a table: it needs `dynamodb:Scan`, `Query`, `GetItem` and `BatchGetItem` on
//! the two tables, and no more.

mod audit;
mod error;
mod explain;
mod export;
mod locks;
mod output;
mod tables;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

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

/// Ends nothing and changes nothing: shows what vpn-revoker did, and proves that its audit trail is whole.
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
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
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
    match cli.command.run(&cli.tables, &printer).await {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Wrong) => ExitCode::from(1),
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(3)
        }
    }
}

impl Command {
    async fn run(self, tables: &Tables, printer: &Printer) -> Result<Outcome, CliError> {
        match self {
            Self::Audit(command) => command.run(tables, printer).await,
            Self::Locks(command) => command.run(tables, printer).await,
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
