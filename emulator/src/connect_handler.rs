//! The client connect handler: a function that Client VPN asks before it admits a new connection.
//! <https://docs.aws.amazon.com/vpn/latest/clientvpn-admin/connection-authorization.html>

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Decides on a connection, as the Lambda function of an endpoint would.
///
/// It runs while no lock is held, so it may look at the emulator; a request that arrives meanwhile sees the world
/// without the connection in question.
pub type ConnectHandler = Arc<dyn Fn(&ConnectRequest) -> ConnectAnswer + Send + Sync>;

/// What Client VPN sends to the function, schema version 2. Serialises to the JSON that the function would get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ConnectRequest {
    /// The connection that is about to be made.
    pub connection_id: String,
    /// The endpoint it is made to.
    pub endpoint_id: String,
    /// The name in the client certificate; empty without one.
    pub common_name: String,
    /// The Active Directory user name or the SAML `NameID`; empty for mutual authentication.
    pub username: String,
    /// The client's operating system.
    pub platform: String,
    /// Its version; empty here, as it is for most clients.
    pub platform_version: String,
    /// The client's public address.
    pub public_ip: String,
    /// The version of OpenVPN that the client uses.
    pub client_openvpn_version: String,
    /// The group identifier; empty for mutual authentication.
    pub groups: String,
    /// `v2`.
    pub schema_version: String,
}

/// What the function answers, schema version 2. All four fields are required, as they are in AWS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConnectAnswer {
    /// Whether the connection may be made.
    pub allow: bool,
    /// Shown to the client when it may not; at most 255 characters.
    pub error_msg_on_denied_connection: String,
    /// At most ten statuses of at most 255 characters, listed with the connection.
    pub posture_compliance_statuses: Vec<String>,
    /// `v2`.
    pub schema_version: String,
}

impl ConnectAnswer {
    /// Lets the client in.
    #[must_use]
    pub fn allow() -> Self {
        Self {
            allow: true,
            error_msg_on_denied_connection: String::new(),
            posture_compliance_statuses: Vec::new(),
            schema_version: "v2".into(),
        }
    }

    /// Keeps the client out.
    #[must_use]
    pub fn deny(message: impl Into<String>) -> Self {
        Self { allow: false, error_msg_on_denied_connection: message.into(), ..Self::allow() }
    }

    fn is_valid(&self) -> bool {
        let short = |text: &String| text.chars().count() <= 255;
        self.schema_version == "v2"
            && short(&self.error_msg_on_denied_connection)
            && self.posture_compliance_statuses.len() <= 10
            && self.posture_compliance_statuses.iter().all(short)
    }
}

/// One question to the handler, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConnectAsk {
    /// The emulated time at which the client knocked.
    pub at_millis: i64,
    /// What the handler was asked.
    pub request: ConnectRequest,
    /// Whether the client was let in.
    pub allowed: bool,
    /// Why not, as the client is told; empty when it was let in.
    pub message: String,
}

/// What the client is shown when the function itself fails.
const FAILED: &str = "Error establishing connection. Please contact your administrator.";

/// Asks the handler. A handler that panics or answers against the schema keeps the client out, because AWS fails
/// closed on an error and on a malformed response.
pub(crate) fn ask(handler: &ConnectHandler, request: &ConnectRequest) -> ConnectAnswer {
    match catch_unwind(AssertUnwindSafe(|| handler(request))) {
        Ok(answer) if answer.is_valid() => answer,
        _ => ConnectAnswer::deny(FAILED),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn request() -> ConnectRequest {
        ConnectRequest {
            connection_id: "cvpn-connection-1".into(),
            endpoint_id: "cvpn-endpoint-1".into(),
            common_name: String::new(),
            username: "alice@example.com".into(),
            platform: "linux".into(),
            platform_version: String::new(),
            public_ip: "203.0.113.7".into(),
            client_openvpn_version: "2.6.12".into(),
            groups: String::new(),
            schema_version: "v2".into(),
        }
    }

    fn answered(answer: ConnectAnswer) -> ConnectAnswer {
        ask(&(Arc::new(move |_: &ConnectRequest| answer.clone()) as ConnectHandler), &request())
    }

    #[test]
    fn the_request_serialises_to_the_documented_names() {
        let json = serde_json::to_value(request()).unwrap();
        let mut names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "client-openvpn-version",
                "common-name",
                "connection-id",
                "endpoint-id",
                "groups",
                "platform",
                "platform-version",
                "public-ip",
                "schema-version",
                "username"
            ]
        );
    }

    #[test]
    fn a_valid_answer_is_taken_as_it_is() {
        assert!(answered(ConnectAnswer::allow()).allow);
        assert_eq!(answered(ConnectAnswer::deny("no")).error_msg_on_denied_connection, "no");
    }

    #[test]
    fn a_malformed_answer_keeps_the_client_out() {
        let old = ConnectAnswer { schema_version: "v9".into(), ..ConnectAnswer::allow() };
        assert_eq!(answered(old), ConnectAnswer::deny(FAILED));
        let many = ConnectAnswer { posture_compliance_statuses: vec![String::new(); 11], ..ConnectAnswer::allow() };
        assert_eq!(answered(many), ConnectAnswer::deny(FAILED));
        assert_eq!(answered(ConnectAnswer::deny("x".repeat(256))), ConnectAnswer::deny(FAILED));
    }

    #[test]
    fn a_handler_that_panics_keeps_the_client_out() {
        let handler: ConnectHandler = Arc::new(|_| panic!("a handler's bug"));
        assert_eq!(ask(&handler, &request()), ConnectAnswer::deny(FAILED));
    }
}
