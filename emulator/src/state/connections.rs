//! One client's connection and its way from `active` to `terminated`.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// How long an ended connection stays in the listing: "connections that have been terminated within the last 60
/// minutes".
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeClientVpnConnections.html>
const LISTED_AFTER_END: i64 = 60 * 60 * 1_000;

/// A client that is about to connect.
#[derive(Debug, Clone)]
#[must_use = "a client is nowhere until it connects"]
pub struct NewConnection {
    pub(crate) username: Option<String>,
    pub(crate) common_name: Option<String>,
    pub(crate) reconnects_after: Option<Duration>,
    pub(crate) established_ago: Duration,
}

impl NewConnection {
    /// A person who signed in by name (Active Directory or SAML). The common name is the user name, as AWS documents
    /// it for Active Directory; what it is for SAML is undocumented. [`common_name`](Self::common_name) changes it.
    pub fn user(username: impl Into<String>) -> Self {
        let username = username.into();
        Self {
            common_name: Some(username.clone()),
            username: Some(username),
            reconnects_after: None,
            established_ago: Duration::ZERO,
        }
    }

    /// A client with a certificate and nothing else: it has a common name, and no user name at all.
    pub fn certificate(common_name: impl Into<String>) -> Self {
        Self { username: None, ..Self::user(common_name) }
    }

    /// The name in the certificate, for a person who signed in with both.
    pub fn common_name(mut self, common_name: impl Into<String>) -> Self {
        self.common_name = Some(common_name.into());
        self
    }

    /// No common name is listed.
    pub fn without_common_name(mut self) -> Self {
        self.common_name = None;
        self
    }

    /// This long after the connection was terminated the client connects again, under the same names, and it does so
    /// every time. Denied by the connect handler, it tries again after the same time, at least a second.
    pub const fn reconnects_after(mut self, delay: Duration) -> Self {
        self.reconnects_after = Some(delay);
        self
    }

    /// The connection was made this long ago.
    pub const fn established_ago(mut self, ago: Duration) -> Self {
        self.established_ago = ago;
        self
    }
}

/// The status of a connection. AWS documents these four and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The tunnel is up.
    Active,
    /// An attempt to end it failed: the tunnel is up.
    FailedToTerminate,
    /// It is being ended.
    Terminating,
    /// It is down.
    Terminated,
}

impl Status {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::FailedToTerminate => "failed-to-terminate",
            Self::Terminating => "terminating",
            Self::Terminated => "terminated",
        }
    }

    /// Whether the tunnel is up and nobody is ending it.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Active | Self::FailedToTerminate)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// A connection as it is now, whatever a listing with a lag or a fault says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConnectionView {
    /// Where it is.
    pub endpoint_id: String,
    /// Its identifier.
    pub connection_id: String,
    /// Who signed in; none for a client with a certificate only.
    pub username: Option<String>,
    /// The name in the certificate, or the user name.
    pub common_name: Option<String>,
    /// Its status.
    pub status: Status,
    /// When it was made, in milliseconds since 1970.
    pub established_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
}

/// A connection with all that has happened to it. The status is never stored: it follows from the time.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) endpoint_id: String,
    pub(crate) client: NewConnection,
    pub(crate) posture: Vec<String>,
    pub(crate) established_at: i64,
    pub(crate) failed: Option<Failure>,
    pub(crate) ending: Option<Ending>,
}

/// A termination that did not work.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) at: i64,
    pub(crate) message: String,
}

/// A termination that works, from the request to the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) asked_at: i64,
    pub(crate) ended_at: i64,
}

impl Connection {
    pub(crate) fn status(&self, at: i64) -> Status {
        match (self.ending, &self.failed) {
            (Some(ending), _) if at >= ending.ended_at => Status::Terminated,
            (Some(ending), _) if at >= ending.asked_at => Status::Terminating,
            (_, Some(failure)) if at >= failure.at => Status::FailedToTerminate,
            _ => Status::Active,
        }
    }

    pub(crate) fn ended_at(&self, at: i64) -> Option<i64> {
        self.ending.map(|ending| ending.ended_at).filter(|ended_at| at >= *ended_at)
    }

    /// Whether the service still knows the connection.
    pub(crate) fn is_known(&self, now: i64) -> bool {
        self.ended_at(now).is_none_or(|ended_at| now.saturating_sub(ended_at) <= LISTED_AFTER_END)
    }

    /// Whether a listing that is `lag` behind shows the connection.
    pub(crate) fn is_listed(&self, now: i64, lag: i64) -> bool {
        self.is_known(now) && self.established_at <= now.saturating_sub(lag)
    }

    pub(crate) fn view(&self, at: i64) -> ConnectionView {
        ConnectionView {
            endpoint_id: self.endpoint_id.clone(),
            connection_id: self.id.clone(),
            username: self.client.username.clone(),
            common_name: self.client.common_name.clone(),
            status: self.status(at),
            established_at: self.established_at,
            ended_at: self.ended_at(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection {
            number: 1,
            id: "cvpn-connection-1".into(),
            endpoint_id: "cvpn-endpoint-1".into(),
            client: NewConnection::user("alice@example.com"),
            posture: Vec::new(),
            established_at: 100,
            failed: None,
            ending: None,
        }
    }

    #[test]
    fn the_status_follows_from_the_time() {
        let mut connection = connection();
        assert_eq!(connection.status(100), Status::Active);
        connection.failed = Some(Failure { at: 150, message: String::new() });
        assert_eq!(connection.status(149), Status::Active);
        assert_eq!(connection.status(150), Status::FailedToTerminate);
        connection.ending = Some(Ending { asked_at: 200, ended_at: 300 });
        assert_eq!(connection.status(199), Status::FailedToTerminate);
        assert_eq!(connection.status(200), Status::Terminating);
        assert_eq!(connection.status(299), Status::Terminating);
        assert_eq!(connection.status(300), Status::Terminated);
    }

    #[test]
    fn an_ended_connection_is_listed_for_sixty_minutes() {
        let mut connection = connection();
        connection.ending = Some(Ending { asked_at: 200, ended_at: 300 });
        assert!(connection.is_listed(300 + 3_600_000, 0));
        assert!(!connection.is_listed(300 + 3_600_001, 0));
    }

    #[test]
    fn a_listing_with_a_lag_does_not_show_a_new_connection_yet() {
        let connection = connection();
        assert!(!connection.is_listed(149, 50));
        assert!(connection.is_listed(150, 50));
    }

    #[test]
    fn a_certificate_has_no_user_and_a_user_has_a_common_name() {
        assert_eq!(NewConnection::certificate("laptop").username, None);
        assert_eq!(NewConnection::certificate("laptop").common_name.as_deref(), Some("laptop"));
        assert_eq!(NewConnection::user("a").common_name.as_deref(), Some("a"));
        assert_eq!(NewConnection::user("a").without_common_name().common_name, None);
    }
}
