//! [`Locks`](revocation::ports::Locks) and [`AuditTrail`](revocation::ports::AuditTrail), and what else is kept beside the locks, on DynamoDB.

mod aliases;
mod audit;
mod breaker;
mod convert;
mod locks;
mod people;
#[cfg(feature = "revoker")]
mod sweeps;
#[cfg(feature = "cli")]
mod trail;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use revocation::ports::StoreError;

use crate::failure;

pub use audit::DynamoAudit;
pub use locks::DynamoLocks;

/// The partition key of both tables.
const KEY: &str = "subject";

fn store_error<E, R>(table: &str, error: &SdkError<E, R>) -> StoreError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    let why = failure::why(error);
    StoreError::away(&format!("table {table}"), &why)
}
