//! `vpn-revoker`: the tool in the hand of a responder or an auditor.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    vpn_revoker::cli::run().await
}
