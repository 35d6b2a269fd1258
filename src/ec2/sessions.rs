//! Connections with all that a person wants to see of them. The functions need less.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{ClientVpnConnection, Filter};
use revocation::connection::{Connection, EndpointId};
use revocation::name::Name;
use revocation::ports::{PageToken, VpnError, VpnErrorKind};
use serde::Serialize;

use super::{Ec2ClientVpn, connection, nameless};

/// A connection that is alive, as Client VPN lists it
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ClientVpnConnection.html>).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Session {
    pub(crate) connection_id: String,
    pub(crate) username: Option<String>,
    pub(crate) common_name: Option<String>,
    pub(crate) status: String,
    /// UTC, where the listing says so readably.
    pub(crate) established_at: Option<String>,
    /// From the endpoint's own range; Client VPN does not say from where somebody comes.
    pub(crate) client_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_ipv6: Option<String>,
    /// Sent by the client.
    pub(crate) ingress_bytes: Option<u64>,
    /// Received by the client.
    pub(crate) egress_bytes: Option<u64>,
    #[serde(skip)]
    names: BTreeSet<Name>,
}

impl Session {
    fn new(connection: &Connection, row: &ClientVpnConnection) -> Self {
        // They come as texts.
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        Self {
            connection_id: connection.id.to_string(),
            username: connection.username.clone(),
            common_name: connection.common_name.clone(),
            status: connection.status.code().to_owned(),
            established_at: connection.established_at.map(|at| at.to_string()),
            client_ip: row.client_ip().map(str::to_owned),
            client_ipv6: row.client_ipv6_address().filter(|text| !text.is_empty()).map(str::to_owned),
            ingress_bytes: number(row.ingress_bytes()),
            egress_bytes: number(row.egress_bytes()),
            names: lockable([connection.user(), connection.certificate()]),
        }
    }

    /// The names by which it may be locked, in normal form.
    pub(crate) fn names(&self) -> &BTreeSet<Name> {
        &self.names
    }
}

/// The names on which a lock can stand.
fn lockable(names: [Option<Name>; 2]) -> BTreeSet<Name> {
    let found = names.into_iter().flatten();
    found.filter(Name::is_lockable).collect()
}

impl Ec2ClientVpn {
    /// Every connection on an endpoint that is alive. `found` hears of each page how many rows it had.
    ///
    /// # Errors
    /// Where the endpoint can't be listed to its end.
    pub(crate) async fn sessions(
        &self,
        endpoint: &EndpointId,
        filters: Option<Vec<Filter>>,
        found: impl Fn(usize),
    ) -> Result<Vec<Session>, VpnError> {
        let mut sessions = Vec::new();
        let mut tokens: Vec<PageToken> = Vec::new();
        loop {
            let page = match self.page(endpoint, filters.clone(), tokens.last()).await {
                // Without a target network there is nothing that could be connected.
                Err(error) if error.kind == VpnErrorKind::NoAssociation => return Ok(Vec::new()),
                other => other?,
            };
            found(page.connections().len());
            for row in page.connections() {
                let connection = connection(row).ok_or_else(|| nameless("a connection"))?;
                if connection.status.is_alive() {
                    sessions.push(Session::new(&connection, row));
                }
            }
            match page.next_token().filter(|token| !token.is_empty()).map(|token| PageToken(token.to_owned())) {
                None => return Ok(sessions),
                Some(token) if tokens.contains(&token) => return Err(VpnError::endless_listing(endpoint)),
                Some(token) => tokens.push(token),
            }
        }
    }
}
