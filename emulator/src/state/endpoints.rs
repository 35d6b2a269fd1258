//! Client VPN endpoints.

use serde::{Deserialize, Serialize};

/// How clients prove who they are. An endpoint has one of these, or [`Certificate`](Self::Certificate) and one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authentication {
    /// Mutual authentication with a client certificate.
    #[serde(rename = "certificate-authentication")]
    Certificate,
    /// Active Directory.
    #[serde(rename = "directory-service-authentication")]
    DirectoryService,
    /// SAML.
    #[serde(rename = "federated-authentication")]
    Federated,
}

impl Authentication {
    /// The type on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Certificate => "certificate-authentication",
            Self::DirectoryService => "directory-service-authentication",
            Self::Federated => "federated-authentication",
        }
    }
}

/// An endpoint that is about to be added.
#[derive(Debug, Clone)]
#[must_use = "an endpoint is nowhere until it is added"]
pub struct NewEndpoint {
    pub(crate) id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) authentication: Vec<Authentication>,
    pub(crate) associated: bool,
    pub(crate) status: Option<String>,
    pub(crate) transport_protocol: String,
    pub(crate) connect_handler: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
}

impl NewEndpoint {
    /// An endpoint with this identifier, federated authentication, UDP and a target network. An endpoint of the same
    /// identifier is replaced; its connections stay.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..Self::generated() }
    }

    /// The same, with an identifier that the emulator makes up.
    pub fn generated() -> Self {
        Self {
            id: None,
            description: None,
            authentication: vec![Authentication::Federated],
            associated: true,
            status: None,
            transport_protocol: "udp".into(),
            connect_handler: None,
            tags: Vec::new(),
        }
    }

    /// What it is for.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// How clients prove who they are.
    pub fn authentication(mut self, authentication: &[Authentication]) -> Self {
        self.authentication = authentication.to_vec();
        self
    }

    /// No target network: the endpoint is `pending-associate`, and it has no connections to list or to end.
    pub fn without_association(mut self) -> Self {
        self.associated = false;
        self
    }

    /// The status code that is listed, such as `deleting`. Nothing else depends on it.
    pub fn status(mut self, code: impl Into<String>) -> Self {
        self.status = Some(code.into());
        self
    }

    /// `udp` (unless said otherwise) or `tcp`.
    pub fn transport_protocol(mut self, protocol: impl Into<String>) -> Self {
        self.transport_protocol = protocol.into();
        self
    }

    /// The Lambda function that is listed as the client connect handler; `ModifyClientVpnEndpoint` changes it. The
    /// function that is really asked is set with
    /// [`Emulator::set_connect_handler`](crate::Emulator::set_connect_handler), for all endpoints.
    pub fn connect_handler(mut self, lambda_arn: impl Into<String>) -> Self {
        self.connect_handler = Some(lambda_arn.into());
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((key.into(), value.into()));
        self
    }
}

/// An endpoint as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) created_at: i64,
    /// When the last change of the connect handler is applied; nothing for one that it was added with.
    pub(crate) applied_at: Option<i64>,
    pub(crate) about: NewEndpoint,
}

impl Endpoint {
    pub(crate) fn status(&self) -> &str {
        match &self.about.status {
            Some(code) => code,
            None if self.about.associated => "available",
            None => "pending-associate",
        }
    }

    /// The Lambda function that is listed from now on, and applied at a time to come.
    pub(crate) fn set_connect_handler(&mut self, function: Option<&str>, applied_at: i64) {
        self.about.connect_handler = function.map(str::to_owned);
        self.applied_at = Some(applied_at);
    }

    pub(crate) fn connect_handler_status(&self, now: i64) -> &'static str {
        if self.applied_at.is_some_and(|applied_at| now < applied_at) { "applying" } else { "applied" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(about: NewEndpoint) -> String {
        Endpoint { number: 1, id: "cvpn-endpoint-1".into(), created_at: 0, applied_at: None, about }.status().to_owned()
    }

    #[test]
    fn the_status_follows_from_the_association_unless_it_is_set() {
        assert_eq!(status(NewEndpoint::generated()), "available");
        assert_eq!(status(NewEndpoint::generated().without_association()), "pending-associate");
        assert_eq!(status(NewEndpoint::generated().status("deleting")), "deleting");
    }

    #[test]
    fn authentication_is_spelt_the_same_in_json_and_xml() {
        for kind in [Authentication::Certificate, Authentication::DirectoryService, Authentication::Federated] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.code());
        }
    }
}
