//! Client VPN's own things: the [`Target`] (account and Region) that holds [`Endpoint`]s, and the [`Connection`]s on
//! them, as the EC2 API reports them.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::name::Name;
use crate::time::Timestamp;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id, exactly as AWS gave it.
            #[must_use]
            pub fn new(id: &str) -> Self {
                Self(id.into())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

id! {
    /// `cvpn-endpoint-…`
    EndpointId
}
id! {
    /// `cvpn-connection-…`
    ConnectionId
}

/// One account and Region to act in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Target {
    /// The Region, such as `eu-west-1`.
    pub region: String,
    /// The twelve-digit account id, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// What Client VPN says of a connection.
///
/// Source: `ClientVpnConnectionStatusCode` in the EC2 API. A status that the API did not have when this was written
/// is kept, and counts as alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The session is up.
    Active,
    /// The session is being ended; it may still carry traffic.
    Terminating,
    /// The session has ended. Such rows stay in listings for 60 minutes.
    Terminated,
    /// Ending it failed; the session is up.
    FailedToTerminate,
    /// A status unknown to us.
    Other(String),
}

impl Status {
    /// Reads AWS's word.
    #[must_use]
    pub fn from_code(code: &str) -> Self {
        match code {
            "active" => Self::Active,
            "terminating" => Self::Terminating,
            "terminated" => Self::Terminated,
            "failed-to-terminate" => Self::FailedToTerminate,
            other => Self::Other(other.to_owned()),
        }
    }

    /// AWS's word.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Active => "active",
            Self::Terminating => "terminating",
            Self::Terminated => "terminated",
            Self::FailedToTerminate => "failed-to-terminate",
            Self::Other(code) => code,
        }
    }

    /// Whether a session in this status may carry traffic: every status but `terminated`.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        *self != Self::Terminated
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// One Client VPN endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Where it is.
    pub target: Arc<Target>,
    /// Its id.
    pub id: EndpointId,
}

/// One client's session, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// The user name as listed: absent for clients that connect by certificate alone.
    pub username: Option<String>,
    /// The common name as listed: of the client certificate, or the Active Directory user name.
    pub common_name: Option<String>,
    /// What Client VPN says of it.
    pub status: Status,
    /// When it was established, where the listing says so readably.
    pub established_at: Option<Timestamp>,
}

impl Connection {
    /// The user name in normal form, where it names somebody.
    #[must_use]
    pub fn user(&self) -> Option<Name> {
        Name::found(self.username.as_deref())
    }

    /// The common name in normal form, where it names somebody.
    #[must_use]
    pub fn certificate(&self) -> Option<Name> {
        Name::found(self.common_name.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_but_terminated_is_alive() {
        for code in ["active", "terminating", "failed-to-terminate", "pending-something", ""] {
            let status = Status::from_code(code);
            assert!(status.is_alive(), "{code}");
            assert_eq!(status.code(), code);
        }
        assert!(!Status::from_code("terminated").is_alive());
    }

    #[test]
    fn statuses_and_ids_are_written_as_aws_gave_them() {
        let all =
            serde_json::json!([Status::Terminated, Status::Other("New".to_owned()), EndpointId::new("cvpn-Endpoint")]);
        assert_eq!(all, serde_json::json!(["terminated", "New", "cvpn-Endpoint"]));
        assert_eq!(ConnectionId::new("cvpn-Connection").to_string(), "cvpn-Connection");
    }
}
