//! What can go wrong on the way in: not what the emulated service answers, see [`crate::protocol::error`].

use crate::control::FieldError;

/// Why the emulator could not do what its owner asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmulatorError {
    /// The port is taken, or loopback is missing.
    #[error("cannot listen on 127.0.0.1:{port}: {source}; choose another port, or 0 for any free one")]
    Bind {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// A connection was to be made to an endpoint that was never added, or was removed.
    #[error("there is no endpoint {0}; add it before connecting to it")]
    UnknownEndpoint(String),
    /// A connection was named that does not exist.
    #[error("there is no connection {0}")]
    UnknownConnection(String),
    /// No client can connect to an endpoint without a target network.
    #[error("endpoint {0} has no target network associated, so nobody can connect to it")]
    NoAssociation(String),
    /// The connect handler refused the connection.
    #[error("the connect handler denied {connection_id}: {message}")]
    Denied {
        /// The identifier that the connection would have had.
        connection_id: String,
        /// What the client is shown.
        message: String,
    },
    /// A seed or a control request does not say what it has to.
    #[error(transparent)]
    Field(#[from] FieldError),
}
