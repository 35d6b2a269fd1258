//! The command line for people: what the functions did can be seen and proved here, and commands be given.
//!
//! What is done is done by the deployed function (`act`), unless somebody asks for its code to run here (`here`). What is
//! read is read from the two tables and from Client VPN. `docs/command-line.md` says which permissions each command takes.

mod act;
mod audit;
mod aws;
mod breaker;
mod deployment;
mod doctor;
mod error;
mod explain;
mod export;
mod file;
mod function;
mod handler;
mod interrupt;
mod local;
mod locks;
mod names;
mod our_handlers;
mod output;
mod replay;
mod report;
mod sessions;
mod strict_json;
mod sweep;
mod targets;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use aws::Aws;
use deployment::Deployment;
pub use error::CliError;
use output::{Format, Printer};

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Done, and nothing is wrong.
    Fine,
    /// Done, and something that was looked at is wrong.
    Wrong,
    /// Some of it could not be done.
    Partial,
}

/// Takes somebody's VPN access away, shows what was done, and proves that the audit trail is whole.
#[derive(Debug, Parser)]
#[command(
    name = "vpn-revoker",
    version,
    after_help = "Exit codes: 0 fine, 1 something is wrong with what was looked at or came of it, 2 wrong usage, 3 it, or a part of it, could not be done, 130 interrupted.",
    propagate_version = true
)]
struct Cli {
    /// How to show it
    #[arg(long, value_enum, default_value = "table", global = true)]
    output: Format,
    #[command(flatten)]
    deployment: Deployment,
    #[command(flatten)]
    aws: Aws,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sessions(sessions::Sessions),
    Revoke(act::Revoke),
    Disconnect(act::Disconnect),
    Restore(act::Restore),
    Alias(names::Alias),
    Unalias(names::Unalias),
    Sweep(sweep::Sweep),
    /// The identity store's people
    #[command(subcommand)]
    Directory(names::Directory),
    /// The circuit breaker
    #[command(subcommand)]
    Breaker(breaker::Breaker),
    /// The connect handler, which keeps out whoever is locked: status, attach, detach
    #[command(subcommand)]
    Handler(handler::Handler),
    /// The audit trail: list, show, export, verify
    #[command(subcommand)]
    Audit(audit::Audit),
    Report(report::Report),
    /// The locks: who is kept out, by whom, since when
    #[command(subcommand)]
    Locks(locks::Locks),
    Doctor(doctor::Doctor),
    /// What the function would make of an event, rule by rule; needs no AWS
    Explain(explain::Explain),
    Replay(replay::Replay),
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
    if let Err(error) = interrupt::watch() {
        output::complain(&error);
    }
    match cli.command.run(&cli.deployment, &cli.aws, &printer).await {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Wrong) => ExitCode::from(1),
        Ok(Outcome::Partial) => ExitCode::from(3),
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(if error.is_usage() { 2 } else { 3 })
        }
    }
}

impl Command {
    async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        match self {
            Self::Sessions(command) => command.run(deployment, aws, printer).await,
            Self::Revoke(command) => command.run(deployment, aws, printer).await,
            Self::Disconnect(command) => command.run(deployment, aws, printer).await,
            Self::Restore(command) => command.run(deployment, aws, printer).await,
            Self::Alias(command) => command.run(deployment, aws, printer).await,
            Self::Unalias(command) => command.run(deployment, aws, printer).await,
            Self::Sweep(command) => command.run(deployment, aws, printer).await,
            Self::Directory(command) => command.run(deployment, aws, printer).await,
            Self::Breaker(command) => command.run(deployment, aws, printer).await,
            Self::Handler(command) => command.run(deployment, aws, printer).await,
            Self::Audit(command) => command.run(deployment, aws, printer).await,
            Self::Report(command) => command.run(deployment, aws, printer).await,
            Self::Locks(command) => command.run(deployment, aws, printer).await,
            Self::Doctor(command) => command.run(deployment, aws, printer).await,
            Self::Explain(command) => command.run(printer),
            Self::Replay(command) => command.run(deployment, aws, printer).await,
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
