//! AWS Client VPN on loopback, as a program.

mod cli;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    cli::run(cli::Arguments::parse()).await
}
