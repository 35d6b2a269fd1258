//! The command line.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use client_vpn_emulator::{Emulator, EmulatorError, MAX_PAGE_SIZE, Seed};
use jiff::SignedDuration;

/// AWS Client VPN on loopback, speaking the EC2 query protocol.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// Port on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 8723)]
    port: u16,
    /// Region in names and ARNs
    #[arg(long, default_value = "eu-west-1")]
    region: String,
    /// JSON file with endpoints and connections to begin with
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// How long a connection is `terminating`
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    terminate_delay: Duration,
    /// How long connect options are `applying` after they were modified
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    apply_delay: Duration,
    /// How far listings of connections are behind
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    listing_lag: Duration,
    /// How long each answer takes
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    latency: Duration,
    /// Longest page, whatever MaxResults says
    #[arg(long, value_name = "ROWS", default_value_t = MAX_PAGE_SIZE)]
    max_page_size: usize,
    /// Throttle as EC2 does: describe 100 and 20 a second, terminate and modify 50 and 5 a second
    #[arg(long)]
    buckets: bool,
}

/// `5s`, `250ms`, `1m 30s` or `PT5S`.
fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|error| format!("{error}; write it like 5s or 250ms"))?;
    Duration::try_from(duration).map_err(|_| "a duration cannot be negative".into())
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read the seed {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the seed {path} is wrong: {source}")]
    Seed { path: PathBuf, source: EmulatorError },
    #[error(transparent)]
    Start(#[from] EmulatorError),
    #[error("cannot print: {0}")]
    Print(io::Error),
    #[error("cannot wait for a signal: {0}")]
    Signal(io::Error),
}

/// Runs until a signal comes.
pub(crate) async fn run(arguments: Arguments) -> ExitCode {
    match serve(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to be done about a broken standard error.
            let _ = writeln!(io::stderr().lock(), "client-vpn-emulator: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), Failure> {
    let emulator = Emulator::builder()
        .port(arguments.port)
        .region(&arguments.region)
        .terminate_delay(arguments.terminate_delay)
        .apply_delay(arguments.apply_delay)
        .listing_lag(arguments.listing_lag)
        .latency(arguments.latency)
        .max_page_size(arguments.max_page_size)
        .buckets(arguments.buckets)
        .start()
        .await?;
    if let Some(path) = arguments.seed {
        let json = std::fs::read_to_string(&path).map_err(|source| Failure::Read { path: path.clone(), source })?;
        let seeded = Seed::from_json(&json).map_err(EmulatorError::from).and_then(|seed| emulator.seed(&seed));
        seeded.map_err(|source| Failure::Seed { path, source })?;
    }
    // Before the banner: whoever has read it may send a signal at once.
    let mut signals = Signals::listen().map_err(Failure::Signal)?;
    let mut out = io::stdout().lock();
    out.write_all(banner(&emulator).as_bytes()).and_then(|()| out.flush()).map_err(Failure::Print)?;
    drop(out);
    signals.wait().await;
    emulator.shutdown().await;
    Ok(())
}

/// How to point the AWS CLI here.
fn banner(emulator: &Emulator) -> String {
    let (url, region) = (emulator.url(), emulator.region());
    let endpoints = emulator.endpoints();
    let endpoint = match endpoints.iter().find(|endpoint| endpoint.associated) {
        Some(endpoint) => &endpoint.endpoint_id,
        None => "cvpn-endpoint-…",
    };
    format!(
        "Client VPN is emulated at {url} ({} endpoints, {} connections); Ctrl-C ends it.

export AWS_ENDPOINT_URL_EC2={url}
export AWS_DEFAULT_REGION={region} AWS_REGION={region}
export AWS_ACCESS_KEY_ID=emulated AWS_SECRET_ACCESS_KEY=emulated

aws ec2 describe-client-vpn-connections --client-vpn-endpoint-id {endpoint}

",
        endpoints.len(),
        emulator.connections().len(),
    )
}

/// Ctrl-C, and SIGTERM where there is such a thing.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn wait(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
