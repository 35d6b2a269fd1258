//! vpn-revoker on AWS: the ports of [`revocation`] on EC2, DynamoDB and Identity Store, the configuration, and what the Lambda
//! functions do with an invoke.
//!
//! Everything that decides anything stands in [`revocation`]; here is what it takes to run that on AWS. Without the
//! feature `revoker` only the connect handler is left, and nothing that needs the EC2 SDK.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

#[cfg(feature = "revoker")]
mod app;
mod arn;
pub mod aws;
#[cfg(feature = "cli")]
pub mod cli;
mod clock;
pub mod connect;
#[cfg(feature = "revoker")]
mod deadline;
mod dynamo;
#[cfg(feature = "revoker")]
mod ec2;
#[cfg(feature = "revoker")]
mod envelope;
mod environment;
mod failure;
mod http;
#[cfg(feature = "revoker")]
mod identity_store;
mod metrics;
#[cfg(feature = "revoker")]
mod settings;
#[cfg(feature = "revoker")]
mod targets;
mod trust;
mod warm;

pub mod logging;

#[cfg(feature = "revoker")]
pub use app::{App, Call};
#[cfg(feature = "revoker")]
pub use aws::Clients;
pub use clock::SystemClock;
pub use connect::{ConnectApp, ConnectSettings};
pub use dynamo::{DynamoAudit, DynamoLocks};
#[cfg(feature = "revoker")]
pub use ec2::{Ec2, Ec2ClientVpn};
pub use environment::SettingsError;
pub use failure::Failure;
pub use http::http_client;
#[cfg(feature = "revoker")]
pub use identity_store::IdentityStore;
pub use metrics::Metrics;
#[cfg(feature = "revoker")]
pub use settings::Settings;
#[cfg(feature = "revoker")]
pub use targets::TargetSettings;
pub use trust::{Trust, TrustError};
pub use warm::{AtFirstUse, get_ready};
