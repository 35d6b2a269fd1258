//! As whom, and where, to call AWS.

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use clap::Args;

use super::CliError;
use crate::{Trust, aws, http_client};

/// As whom, and where, to call AWS, as the AWS CLI has it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "AWS")]
pub(super) struct Aws {
    /// The AWS profile to use
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// The Region of the stack
    #[arg(long, global = true, value_name = "NAME")]
    region: Option<String>,
    /// Another address than AWS's, for an emulator
    #[arg(long, global = true, value_name = "URL", value_parser = url)]
    endpoint_url: Option<String>,
}

fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let is_url = rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic()));
    if is_url { Ok(text.to_owned()) } else { Err("give an address such as http://127.0.0.1:8000".to_owned()) }
}

impl Aws {
    /// The Region.
    pub(super) async fn region(&self) -> Result<String, CliError> {
        let config = self.config(aws::timeouts()).await?;
        Ok(config.region().map(ToString::to_string).unwrap_or_default())
    }

    /// The SDK's configuration, with calls that may take so long.
    pub(super) async fn config(&self, timeouts: TimeoutConfig) -> Result<SdkConfig, CliError> {
        let trust = Trust::of_a_person().map_err(|error| CliError::Usage(error.to_string()))?;
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http_client(&trust))
            .retry_config(aws::retries())
            .timeout_config(timeouts);
        if let Some(profile) = &self.profile {
            // As the AWS CLI has it: who names a profile means it, whatever the environment holds.
            let credentials = ProfileFileCredentialsProvider::builder().profile_name(profile).build();
            loader = loader.profile_name(profile).credentials_provider(credentials);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let config = loader.load().await;
        match config.region() {
            Some(_) => Ok(config),
            None => Err(CliError::Usage("no AWS Region is set; give --region, or set AWS_REGION".to_owned())),
        }
    }
}
