//! The domain of vpn-revoker: ending a person's AWS Client VPN connections, keeping the person out, and proving it.
//!
//! The modules stand in the order in which an event passes through them: bytes become [`signal::Signal`]s
//! ([`intake`]), [`policy`] decides, a [`lock`] makes the decision last, [`reconcile`] closes the difference between
//! the lock and the [`connection`]s there are ([`plan`] says with which calls), and what came of it is a [`receipt`]
//! and an entry in the [`audit`] chain. Whoever comes back meets the same lock at the door ([`connect`]). [`ports`] is
//! all that this needs from outside; no AWS SDK, no network, no clock and no environment are in here.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

mod planted;

pub mod time;

pub mod name;

pub mod alias;
pub mod connection;
pub mod signal;

pub mod intake;

pub mod policy;

pub mod lock;

pub mod breaker;

pub mod people;
pub mod plan;
pub mod reconcile;

pub mod audit;
pub mod receipt;

pub mod connect;

pub mod ports;

#[cfg(feature = "test-util")]
pub mod memory;
