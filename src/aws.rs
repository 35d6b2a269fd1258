//! The SDK's configuration: attempts, timeouts, and as whom to call.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_dynamodb::config::{AsyncSleep, SharedAsyncSleep};

use crate::Trust;
use crate::http::http_client;
#[cfg(feature = "revoker")]
use crate::{Ec2, Settings};

/// One attempt and five more; a run whose call still fails lists again.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A TCP and TLS handshake within a Region takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A page of a thousand connections is the slowest answer there is. An attempt that hangs must leave time for others.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6);

/// How calls are tried again: growing, jittered pauses, within the time that the caller has.
#[must_use]
pub fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_PAUSE)
        .with_max_backoff(LONGEST_PAUSE)
}

/// A pause between two calls, as the SDK makes its own.
pub(crate) async fn pause(sleep: Option<SharedAsyncSleep>, pause: Duration) {
    match sleep {
        Some(sleep) => AsyncSleep::sleep(&sleep, pause).await,
        None => tokio::time::sleep(pause).await,
    }
}

/// How long one attempt may take.
#[must_use]
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build()
}

/// The SDK's configuration from the environment: credentials, Region and the `AWS_ENDPOINT_URL_…` overrides are read
/// as every AWS tool reads them.
pub async fn sdk_config(region: &str, trust: &Trust) -> SdkConfig {
    function_config(trust)
        .region(Region::new(region.to_owned()))
        .retry_config(retries())
        .timeout_config(timeouts())
        .load()
        .await
}

/// The beginning of a function's configuration.
///
/// Lambda hands credentials over in the environment, which comes first of all places anyway. Looking there and nowhere
/// else spares the start what it takes to get ready for all the others.
pub(crate) fn function_config(trust: &Trust) -> ConfigLoader {
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client(trust));
    let given = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        .iter()
        .all(|key| std::env::var(key).is_ok_and(|value| !value.trim().is_empty()));
    if given { loader.credentials_provider(EnvironmentVariableCredentialsProvider::new()) } else { loader }
}

/// As many attempts as the configuration says, however many failed before. The SDK would stop trying again for everybody
/// in a Region once so many calls had failed there: one account's trouble would be another's, and that of an hour ago
/// today's. Every caller has a deadline, which is bound enough.
pub(crate) fn unlimited_retries(name: String) -> RetryPartition {
    RetryPartition::custom(name).token_bucket(TokenBucket::unlimited()).build()
}

/// The beginning of a configuration for the tables.
pub(crate) fn tables(config: &SdkConfig) -> aws_sdk_dynamodb::config::Builder {
    aws_sdk_dynamodb::config::Builder::from(config).retry_partition(unlimited_retries("tables".to_owned()))
}

/// The clients that the `revoker` function needs.
#[cfg(feature = "revoker")]
#[derive(Debug, Clone)]
pub struct Clients {
    /// For Client VPN, one for each target, in the order of the settings.
    pub ec2: Vec<Ec2>,
    /// For names behind ids.
    pub identity_store: aws_sdk_identitystore::Client,
    /// For the tables.
    pub tables: aws_sdk_dynamodb::Client,
}

#[cfg(feature = "revoker")]
impl Clients {
    /// Clients for these settings; the tables may be in another Region than the endpoints.
    #[must_use]
    pub async fn new(config: &SdkConfig, settings: &Settings) -> Self {
        let mut ec2 = Vec::new();
        for target in &settings.targets {
            ec2.push(target.client(config, config).await);
        }
        let region = Region::new(settings.table_region().to_owned());
        let tables = tables(config).region(region).build();
        let region = Region::new(settings.identity_store_region.clone());
        let identity_store = aws_sdk_identitystore::config::Builder::from(config)
            .region(region)
            .retry_partition(unlimited_retries("identity store".to_owned()))
            .build();
        Self {
            ec2,
            identity_store: aws_sdk_identitystore::Client::from_conf(identity_store),
            tables: aws_sdk_dynamodb::Client::from_conf(tables),
        }
    }
}
