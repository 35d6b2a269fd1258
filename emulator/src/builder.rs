//! How an emulator is set up.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::clock::{Clock, SystemClock};
use crate::emulator::Emulator;
use crate::error::EmulatorError;
use crate::server;
use crate::state::{Settings, Shared};

/// The largest page that the service gives.
pub const MAX_PAGE_SIZE: usize = 1000;

/// What an emulator is like. Made by [`Emulator::builder`]; [`start`](Self::start) brings it up.
#[must_use = "an emulator runs once it is started"]
pub struct EmulatorBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
    port: u16,
}

impl EmulatorBuilder {
    pub(crate) fn new() -> Self {
        Self { settings: Settings::default(), clock: Arc::new(SystemClock), port: 0 }
    }

    /// The Region in names and ARNs; `eu-west-1` unless said otherwise. Requests for any Region are answered.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.settings.region = region.into();
        self
    }

    /// The account in ARNs; `123456789012` unless said otherwise.
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.settings.account = account.into();
        self
    }

    /// Where the time comes from; the machine's clock unless said otherwise.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The port on 127.0.0.1; any free one unless said otherwise.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// No page is longer than this, whatever `MaxResults` says: a test gets several pages out of a few rows. At most
    /// [`MAX_PAGE_SIZE`], at least 1.
    pub fn max_page_size(mut self, rows: usize) -> Self {
        self.settings.max_page_size = rows.clamp(1, MAX_PAGE_SIZE);
        self
    }

    /// How long a connection is `terminating`; not at all unless said otherwise. How long it takes in AWS is
    /// undocumented.
    pub fn terminate_delay(mut self, delay: Duration) -> Self {
        self.settings.terminate_delay = delay;
        self
    }

    /// How long connect options are `applying` after `ModifyClientVpnEndpoint`; not at all unless said otherwise. How
    /// long it takes in AWS is undocumented.
    pub fn apply_delay(mut self, delay: Duration) -> Self {
        self.settings.apply_delay = delay;
        self
    }

    /// How far listings of connections are behind: new connections and changes of status show this much later. EC2
    /// is eventually consistent; how far behind it is, is undocumented. Terminate always sees the present.
    pub fn listing_lag(mut self, lag: Duration) -> Self {
        self.settings.listing_lag = lag;
        self
    }

    /// How long each answer takes, in real time. The wait comes after the effect.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.settings.latency = latency;
        self
    }

    /// Whether requests are throttled with EC2's documented token buckets; they are not unless said otherwise.
    /// Describe: 100 at once and 20 a second; terminate and modify: 50 at once and 5 a second.
    pub fn buckets(mut self, on: bool) -> Self {
        self.settings.buckets = on;
        self
    }

    /// Binds loopback and begins to answer, on the current tokio runtime.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub async fn start(self) -> Result<Emulator, EmulatorError> {
        let port = self.port;
        let bind = |source| EmulatorError::Bind { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let shared = Arc::new(Shared::new(self.settings, self.clock));
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Emulator::new(shared, address, server))
    }
}
