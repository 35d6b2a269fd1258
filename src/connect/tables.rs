//! The SDK's configuration for somebody who stands at the door: few attempts, short pauses.

use std::time::Duration;

use aws_config::Region;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;

use super::ConnectSettings;
use crate::{Trust, aws};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How often a call to the tables is made at the most, and how long each time. After
/// [`READ_WITHIN`](revocation::connect::READ_WITHIN) it is given up in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    attempts: u32,
    /// The connection included: an attempt that is given up leaves none to the next.
    attempt: Duration,
}

impl Patience {
    /// For tables in the function's own Region: DynamoDB answers within milliseconds, and what takes longer is better
    /// asked again.
    pub const NEAR: Self = Self { attempts: 3, attempt: Duration::from_millis(600) };

    /// For tables in another Region: a new connection takes up to four round trips, of some 300 ms each between the
    /// Regions that are farthest apart. What fails at once is tried again in the time that is left.
    pub const FAR: Self = Self { attempts: 3, attempt: Duration::from_millis(1_900) };

    fn with(settings: &ConnectSettings) -> Self {
        if settings.table_region() == settings.region { Self::NEAR } else { Self::FAR }
    }

    /// How calls are tried again.
    #[must_use]
    pub fn retries(self) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(self.attempts)
            .with_initial_backoff(FIRST_PAUSE)
            .with_max_backoff(LONGEST_PAUSE)
    }

    /// How long one attempt may take.
    #[must_use]
    pub fn timeouts(self) -> TimeoutConfig {
        TimeoutConfig::builder().connect_timeout(self.attempt).operation_attempt_timeout(self.attempt).build()
    }
}

/// The client of the tables, from the environment: credentials and the `AWS_ENDPOINT_URL_…` overrides are read as every
/// AWS tool reads them.
pub async fn tables(settings: &ConnectSettings, trust: &Trust) -> Client {
    let patience = Patience::with(settings);
    let config = aws::function_config(trust)
        .region(Region::new(settings.table_region().to_owned()))
        .retry_config(patience.retries())
        .timeout_config(patience.timeouts());
    Client::from_conf(aws::tables(&config.load().await).build())
}

#[cfg(test)]
mod tests {
    use revocation::connect::READ_WITHIN;

    use super::*;

    #[test]
    fn tables_of_another_region_get_the_time_that_a_new_connection_takes() {
        let patience = |locks: &str| {
            let variables = [("LOCKS_TABLE", locks.to_owned()), ("AUDIT_TABLE", locks.replace("locks", "audit"))];
            let variables = variables.map(|(name, value)| (format!("VPN_REVOKER_{name}"), value));
            let region = ("AWS_REGION".to_owned(), "eu-west-1".to_owned());
            Patience::with(&ConnectSettings::read(variables.into_iter().chain([region])).unwrap())
        };
        assert_eq!(patience("locks"), Patience::NEAR);
        assert_eq!(patience("arn:aws:dynamodb:eu-west-1:111122223333:table/locks"), Patience::NEAR);
        assert_eq!(patience("arn:aws:dynamodb:sa-east-1:111122223333:table/locks"), Patience::FAR);
        assert!(Patience::FAR.attempt > 4 * Duration::from_millis(300));
    }

    #[test]
    fn all_attempts_near_by_and_the_pauses_between_them_fit_into_the_time_that_there_is() {
        let Patience { attempts, attempt } = Patience::NEAR;
        assert!(attempts * attempt + (attempts - 1) * LONGEST_PAUSE <= READ_WITHIN);
        assert!(Patience::FAR.attempt < READ_WITHIN && Patience::FAR.attempts == attempts);
    }
}
