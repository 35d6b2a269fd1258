//! The domain of vpn-revoker: ending a person's AWS Client VPN connections, keeping the person out, and proving it.
//!
//! The modules stand in the order in which an event passes through them: bytes become [`signal::Signal`]s ([`intake`]);
//! it is found out who is meant and by which [`name`]s ([`people`], [`alias`]); [`policy`] and the circuit [`breaker`] say
//! whether it may be done, and a [`lock`] makes the decision last; [`reconcile`] closes the difference between the lock and
//! the [`connection`]s there are ([`plan`] says with which calls); and what came of it is an entry in the [`audit`] chain
//! and a [`receipt`]. Whoever comes back meets the same lock at the door ([`connect`]). [`ports`] is all that this needs
//! from outside; no AWS SDK, no network, no clock and no environment are in here.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

mod planted;

// Words that all others use.
pub mod connection;
pub mod name;
pub mod signal;
pub mod time;

// What was said.
pub mod intake;

// Who is meant, and by which names.
pub mod alias;
pub mod people;

// Whether it may be done, and what is decided.
pub mod breaker;
pub mod lock;
pub mod policy;

// Doing it.
pub mod plan;
pub mod reconcile;

// What came of it.
pub mod audit;
pub mod receipt;

// At the door.
pub mod connect;

// The world outside.
pub mod ports;

#[cfg(feature = "test-util")]
pub mod memory;
