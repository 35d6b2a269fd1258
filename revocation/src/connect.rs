//! The connect handler: may this connection be made?
//!
//! Client VPN asks before it admits a connection, with a [`ConnectRequest`], and takes anything but a well-formed
//! [`ConnectAnswer`] for a refusal. So whatever comes in, an answer goes out.
//! <https://docs.aws.amazon.com/vpn/latest/clientvpn-admin/connection-authorization.html>
//!
//! A [`ConnectPolicy`] judges by the locks; [`ConnectHandler`] reads them, and records whom it kept out, in the little
//! time that somebody at the door should have to wait.

mod answer;
mod handler;
mod policy;
mod request;

pub use answer::{ConnectAnswer, DenyMessage, MAX_MESSAGE_LENGTH, MessageError};
pub use handler::{ConnectHandler, READ_WITHIN, RECORD_WITHIN, Unrecorded};
pub use policy::{ConnectPolicy, Denial, OnError, Unknown, Verdict};
pub use request::{ConnectRequest, Identity, SchemaVersion, Unreadable};

#[cfg(test)]
mod tests;
