//! Runs the deployed functions as processes and prints what they cost; `benches/run` builds everything and calls this.
//!
//! Lambda's runtime API, EC2 and DynamoDB are played on loopback, which has neither TLS nor distance, and Lambda adds
//! the start of its own environment to every function alike: compare the rows, not these figures with Lambda's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod aws;
mod calls;
mod crowd;
mod flood;
mod functions;
mod goal;
mod lambda;
mod largest;
mod latency;
mod picture;
mod queue;
mod soak;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crowd::Size;

/// What is measured, and beside what.
pub struct Programs {
    /// A function that does nothing.
    pub idle: PathBuf,
    pub handler: PathBuf,
    pub revoker: PathBuf,
    /// A Python with the packages of the peer.
    pub python: PathBuf,
    /// Where the peer's modules are.
    pub peer: PathBuf,
}

impl Programs {
    /// A function of the peer.
    pub fn by_python(&self, module: &str) -> Vec<PathBuf> {
        vec![self.python.clone(), "-m".into(), "awslambdaric".into(), format!("{module}.handler").into()]
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [table, idle, handler, revoker, python] = arguments.as_slice() else {
        eprintln!("give a table, the three programs and a Python with the packages of the peer; benches/run does");
        return ExitCode::from(2);
    };
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("peer");
    let [idle, handler, revoker, python] = [idle, handler, revoker, python].map(PathBuf::from);
    let programs = Programs { idle, handler, revoker, python, peer };
    match table.as_str() {
        "functions" => functions::table(&programs).await,
        "latency" => latency::table(&programs).await,
        "calls" => calls::table(&programs).await,
        "largest" => largest::table(&programs).await,
        "flood" => flood::table(&programs, &[(100, 1), (300, 1), (1_000, 1), (300, 3)].map(Size::of)).await,
        "soak" => soak::soak(&programs).await,
        "great-flood" => flood::table(&programs, &[Size::of((10_000, 1))]).await,
        other => {
            eprintln!("there is no table `{other}`");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
