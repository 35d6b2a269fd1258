//! AWS Client VPN on loopback: the three actions that find and end connections, and the one that attaches a client
//! connect handler to an endpoint, over the EC2 query protocol, so that the AWS SDKs, boto3 and the AWS CLI talk to it
//! unchanged.
//!
//! It exists to test programs that end people's VPN connections. The hard parts of that job are paging, rows that
//! change while they are read, the five-connection rule, throttling, lost answers and clients that come straight
//! back; all of them can be brought about here, on a clock that a test moves by hand.
//!
//! ```
//! # async fn example() -> Result<(), client_vpn_emulator::EmulatorError> {
//! use client_vpn_emulator::{Action, Authentication, Emulator, Fault, NewConnection, NewEndpoint, Status};
//!
//! let emulator = Emulator::builder().region("eu-west-1").start().await?;
//! let endpoint = emulator.add_endpoint(NewEndpoint::generated().authentication(&[Authentication::Federated]));
//! let connection = emulator.connect(&endpoint, NewConnection::user("alice@example.com"))?;
//! emulator.inject(Fault::on(Action::Terminate).times(2).error(503, "RequestLimitExceeded", "Request limit exceeded."));
//!
//! // … point the program under test at `emulator.url()` and let it work …
//!
//! assert!(emulator.connections().iter().any(|row| row.connection_id == connection && row.status == Status::Active));
//! # Ok(()) }
//! ```
//!
//! Everything that takes time in AWS (ending a connection, becoming visible, coming back, leaving the listing after
//! 60 minutes, applying connect options, refilling a token bucket) is worked out from the [`Clock`] whenever somebody
//! looks. There are no background timers; only [`EmulatorBuilder::latency`] and [`Fault::hang`] really wait.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

mod actions;
mod buckets;
mod builder;
mod clock;
mod connect_handler;
mod control;
mod emulator;
mod error;
mod faults;
mod ids;
mod protocol;
mod requests;
mod server;
mod state;

pub use actions::Action;
pub use builder::{EmulatorBuilder, MAX_PAGE_SIZE};
pub use clock::{Clock, ManualClock, SystemClock};
pub use connect_handler::{ConnectAnswer, ConnectAsk, ConnectHandler, ConnectRequest};
pub use control::{FieldError, Seed};
pub use emulator::{Emulator, EndpointView};
pub use error::EmulatorError;
pub use faults::Fault;
pub use requests::RequestRecord;
pub use state::{Authentication, ConnectionView, NewConnection, NewEndpoint, Status};
