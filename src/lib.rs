//! vpn-revoker on AWS: the ports of [`revocation`] on EC2, DynamoDB and Identity Store, the configuration, and what the Lambda
//! function does with an invoke.
//!
//! Everything that decides anything stands in [`revocation`]; here is what it takes to run that on AWS.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

mod app;
pub mod aws;
mod clock;
mod deadline;
mod dynamo;
mod ec2;
mod envelope;
mod failure;
mod identity_store;
mod metrics;
mod settings;
mod targets;

pub mod logging;

pub use app::{App, Call};
pub use aws::Clients;
pub use clock::SystemClock;
pub use dynamo::{DynamoAudit, DynamoLocks};
pub use ec2::Ec2ClientVpn;
pub use failure::Failure;
pub use identity_store::IdentityStore;
pub use metrics::Metrics;
pub use settings::{Settings, SettingsError};
pub use targets::TargetSettings;
