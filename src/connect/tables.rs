//! The SDK's configuration for somebody who stands at the door: few attempts, short pauses.

use std::time::Duration;

use aws_config::Region;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;

use super::ConnectSettings;
use crate::{Trust, aws};

/// With the pauses between them, three attempts fit into the two seconds that there are.
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// DynamoDB answers within milliseconds; what takes longer than this is better asked again.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(600);

/// How calls are tried again.
#[must_use]
pub fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_PAUSE)
        .with_max_backoff(LONGEST_PAUSE)
}

/// How long one attempt may take, the connection included.
#[must_use]
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(ATTEMPT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build()
}

/// The client of the tables, from the environment: credentials and the `AWS_ENDPOINT_URL_…` overrides are read as every
/// AWS tool reads them.
pub async fn tables(settings: &ConnectSettings, trust: &Trust) -> Client {
    let config = aws::in_a_function(trust)
        .region(Region::new(settings.table_region().to_owned()))
        .retry_config(retries())
        .timeout_config(timeouts());
    Client::from_conf(aws::tables(&config.load().await).build())
}
