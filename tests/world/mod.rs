//! A world to try the program in: the Client VPN emulator and a DynamoDB engine on loopback, reached over HTTP through
//! the real SDK, and one clock for all of it that takes no real time.

// Each user of this module needs a part of it.
#![allow(dead_code)]

pub mod deployed;
pub mod directory;
pub mod door;
pub mod reading;
pub mod sts;
pub mod tables;
pub mod time;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{
    AsyncSleep, BehaviorVersion, Credentials, Region, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_smithy_async::time::TimeSource;
use client_vpn_emulator::{Authentication, Emulator, EmulatorBuilder, NewConnection, NewEndpoint};
use revocation::memory::ManualClock;
use revocation::ports::Clock;
use revocation::time::Timestamp;
use serde_json::Value;
use vpn_revoker::{App, Call, Clients, Ec2, Failure, Metrics, Settings, Trust, aws, http_client};

use directory::Directory;
use tables::Tables;
use time::{EmulatorTime, VirtualSleep};

pub const LOCKS: &str = "vpn-revoker-locks";
pub const AUDIT: &str = "vpn-revoker-audit";
pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "eu-west-1";

/// When every story begins: half a minute after the events of `events/` were sent.
pub const START: &str = "2026-03-01T09:30:00Z";

pub struct World {
    pub emulator: Emulator,
    pub tables: Tables,
    pub directory: Directory,
    pub clock: Arc<ManualClock>,
    pub sleep: VirtualSleep,
    pub clients: Clients,
    pub metrics: Arc<Mutex<Vec<Value>>>,
}

impl World {
    /// A world with three endpoints: for certificates, for a directory, and for SAML.
    pub async fn new() -> Self {
        Self::with(|emulator| emulator).await
    }

    pub async fn with(adjust: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse(START).unwrap()));
        let sleep = VirtualSleep::new(&clock);
        let emulator = Emulator::builder()
            .region(REGION)
            .account(ACCOUNT)
            .clock(Arc::new(EmulatorTime(Arc::clone(&clock))))
            .terminate_delay(Duration::from_secs(2));
        let emulator = adjust(emulator).start().await.unwrap();
        for (id, authentication) in [
            (ENDPOINTS[0], Authentication::Certificate),
            (ENDPOINTS[1], Authentication::DirectoryService),
            (ENDPOINTS[2], Authentication::Federated),
        ] {
            emulator.add_endpoint(NewEndpoint::new(id).authentication(&[authentication]));
        }
        let tables = Tables::start().await;
        let directory = Directory::start().await;
        let clients = clients(&emulator.url(), &tables.url, &directory.url, &sleep);
        tables.create(&clients.tables).await;
        Self { emulator, tables, directory, clock, sleep, clients, metrics: Arc::default() }
    }

    /// The function, with variables over the defaults.
    pub fn app(&self, variables: &[(&str, &str)]) -> App {
        self.app_with(self.clients.clone(), variables)
    }

    pub fn app_with(&self, clients: Clients, variables: &[(&str, &str)]) -> App {
        let metrics = Arc::clone(&self.metrics);
        let metrics = Metrics::to(move |line| metrics.lock().unwrap().push(line.clone()))
            .of(Some("function-under-test".to_owned()));
        App::new(settings(variables), clients, Arc::clone(&self.clock) as Arc<dyn Clock>, metrics)
    }

    /// Lets the world's time be the machine's, for programs that look at their own clock.
    pub fn now(&self) {
        self.clock.advance(vpn_revoker::SystemClock.now().since(self.clock.now()));
    }

    /// This world's clock, for another emulator.
    pub fn emulator_time(&self) -> Arc<EmulatorTime> {
        Arc::new(EmulatorTime(Arc::clone(&self.clock)))
    }

    /// What Lambda says of an invoke with two minutes to go.
    pub fn call(&self) -> Call {
        call(self.clock.now())
    }

    pub async fn invoke(&self, app: &App, payload: &Value) -> Result<Value, Failure> {
        app.invoke(payload.to_string().as_bytes(), &self.call()).await
    }

    /// A client on one of the endpoints.
    pub fn connect(&self, endpoint: usize, client: NewConnection) -> String {
        self.emulator.connect(ENDPOINTS[endpoint], client).unwrap()
    }

    /// A user on the SAML endpoint.
    pub fn user(&self, name: &str) -> String {
        self.connect(2, NewConnection::user(name))
    }

    /// The ids of the connections that still carry traffic.
    pub fn alive(&self) -> Vec<String> {
        let rows = self.emulator.connections();
        let alive = rows.into_iter().filter(|row| row.status != client_vpn_emulator::Status::Terminated);
        alive.map(|row| row.connection_id).collect()
    }

    /// How many requests of an EC2 action were made.
    pub fn requests(&self, action: &str) -> usize {
        self.emulator.requests().iter().filter(|request| request.action == action).count()
    }

    /// How many lines of a metric were written, with this dimension value where it has one.
    pub fn metric(&self, name: &str, dimension: Option<&str>) -> usize {
        let lines = self.metrics.lock().unwrap();
        let has = |line: &&Value| match dimension {
            Some(dimension) => line.as_object().unwrap().values().any(|value| value == dimension),
            None => true,
        };
        lines.iter().filter(|line| line.get(name).is_some()).filter(has).count()
    }
}

/// The endpoints of every world.
pub const ENDPOINTS: [&str; 3] =
    ["cvpn-endpoint-0cert000000000001", "cvpn-endpoint-0dir0000000000002", "cvpn-endpoint-0saml000000000003"];

pub fn settings(variables: &[(&str, &str)]) -> Settings {
    let base = [("VPN_REVOKER_LOCKS_TABLE", LOCKS), ("VPN_REVOKER_AUDIT_TABLE", AUDIT), ("AWS_REGION", REGION)];
    Settings::read(base.iter().chain(variables).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))).unwrap()
}

pub fn call(now: Timestamp) -> Call {
    Call {
        request_id: format!("request-{}", now.as_millis()),
        cut_off_at: now.plus(Duration::from_secs(120)),
        function_arn: format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:revoker"),
    }
}

/// What all clients have in common, but for where they go.
pub fn config(sleep: &VirtualSleep) -> SdkConfig {
    config_with(aws::retries(), aws::timeouts(), sleep.clone(), sleep.clone())
}

/// The same, with other attempts and timeouts.
pub fn config_with(
    retries: RetryConfig,
    timeouts: TimeoutConfig,
    sleep: impl AsyncSleep + 'static,
    time: impl TimeSource + 'static,
) -> SdkConfig {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http_client(&Trust::BuiltIn))
        .retry_config(retries)
        .timeout_config(timeouts)
        .sleep_impl(sleep)
        .time_source(time)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

/// Clients as the function has them, but for where they go and how time passes for them.
pub fn clients(ec2: &str, tables: &str, directory: &str, sleep: &VirtualSleep) -> Clients {
    let base = config(sleep);
    let ec2 = aws_sdk_ec2::config::Builder::from(&base).endpoint_url(ec2).build();
    let tables = aws_sdk_dynamodb::config::Builder::from(&base).endpoint_url(tables).build();
    let directory = aws_sdk_identitystore::config::Builder::from(&base).endpoint_url(directory).build();
    Clients {
        ec2: vec![Ec2::new(aws_sdk_ec2::Client::from_conf(ec2))],
        identity_store: aws_sdk_identitystore::Client::from_conf(directory),
        tables: aws_sdk_dynamodb::Client::from_conf(tables),
    }
}
