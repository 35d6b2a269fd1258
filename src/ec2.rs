//! [`ClientVpn`] on EC2.
//!
//! The actions declare no modelled errors, so that failures are told apart by their code alone
//! (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>).

#[cfg(test)]
mod answers;
#[cfg(feature = "cli")]
mod doors;
mod pace;
#[cfg(feature = "cli")]
mod sessions;
mod whole;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;
use aws_sdk_ec2::operation::describe_client_vpn_connections::DescribeClientVpnConnectionsOutput;
use aws_sdk_ec2::operation::terminate_client_vpn_connections::TerminateClientVpnConnectionsOutput;
use aws_sdk_ec2::operation::terminate_client_vpn_connections::builders::TerminateClientVpnConnectionsFluentBuilder;
use aws_sdk_ec2::types::{
    ClientVpnConnection, ClientVpnConnectionStatus, ClientVpnEndpoint, ClientVpnEndpointStatusCode, Filter,
};
use revocation::connection::{Connection, ConnectionId, EndpointId, Status, Target};
use revocation::ports::{ClientVpn, Ended, Page, PageToken, VpnError, VpnErrorKind, Which};
use revocation::time::Timestamp;

use crate::failure;
use whole::Whole;

use pace::Lane;

#[cfg(feature = "cli")]
pub(crate) use doors::Door;
#[cfg(feature = "cli")]
pub(crate) use sessions::Session;

/// The largest page EC2 gives
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeClientVpnConnections.html>).
const PAGE: i32 = 1000;

/// EC2 in one account and Region, for as long as the process lives.
#[derive(Debug, Clone)]
pub struct Ec2 {
    client: Client,
    lanes: Arc<Lanes>,
}

/// The calls of which EC2 bears few.
#[derive(Debug)]
struct Lanes {
    /// Made with the first call.
    client: OnceLock<Client>,
    terminating: Lane,
    listing: Lane,
}

impl Ec2 {
    /// EC2 as `client` reaches it.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let (terminating, listing) = (Lane::of_terminate_calls(), Lane::of_listings());
        Self { client, lanes: Arc::new(Lanes { client: OnceLock::new(), terminating, listing }) }
    }

    /// The client itself.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client for calls that go through a lane.
    fn paced_client(&self) -> &Client {
        self.lanes.client.get_or_init(|| pace::client(&self.client))
    }
}

/// A role that calls are made in.
#[derive(Debug, Clone)]
struct Role {
    arn: String,
    /// What to do where it can't be assumed.
    otherwise: &'static str,
}

/// Client VPN in one account and Region, through the EC2 API.
#[derive(Debug, Clone)]
pub struct Ec2ClientVpn {
    ec2: Ec2,
    target: Target,
    role: Option<Role>,
}

impl Ec2ClientVpn {
    /// Client VPN as `ec2` reaches it.
    #[must_use]
    pub fn new(ec2: Ec2, target: Target) -> Self {
        Self { ec2, target, role: None }
    }

    /// The role that its calls are made in, and what to do where it can't be assumed, for the text of what goes wrong.
    #[must_use]
    pub fn acting_as(self, role: Option<&str>, otherwise: &'static str) -> Self {
        Self { role: role.map(|arn| Role { arn: arn.to_owned(), otherwise }), ..self }
    }

    /// What went wrong. Without an answer from EC2, it may be that the role can't be assumed.
    fn error<E, R>(&self, error: &SdkError<E, R>) -> VpnError
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        R: std::fmt::Debug,
        SdkError<E, R>: RequestId,
    {
        let error = vpn_error(error);
        match &self.role {
            Some(Role { arn, otherwise }) if error.code.is_none() && error.message.contains("credentials") => {
                let message = format!("{arn} could not be assumed; {otherwise} ({})", error.message);
                VpnError { message, ..error }
            }
            _ => error,
        }
    }

    /// Every endpoint that is not deleted, as EC2 describes it.
    async fn described_endpoints(&self) -> Result<Vec<ClientVpnEndpoint>, VpnError> {
        let mut endpoints = Vec::new();
        let mut tokens: Vec<String> = Vec::new();
        loop {
            let request = self
                .ec2
                .client()
                .describe_client_vpn_endpoints()
                .max_results(PAGE)
                .set_next_token(tokens.last().cloned());
            let request = request.customize().interceptor(Whole("DescribeClientVpnEndpoints"));
            let page = request.send().await.map_err(|error| self.error(&error))?;
            let deleted = |endpoint: &ClientVpnEndpoint| {
                endpoint.status().and_then(|status| status.code()) == Some(&ClientVpnEndpointStatusCode::Deleted)
            };
            let next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            endpoints.extend(
                page.client_vpn_endpoints.unwrap_or_default().into_iter().filter(|endpoint| !deleted(endpoint)),
            );
            match next {
                None => return Ok(endpoints),
                Some(token) if tokens.contains(&token) => {
                    return Err(VpnError::endless_listing(&EndpointId::new("the endpoints")));
                }
                Some(token) => tokens.push(token),
            }
        }
    }

    /// One page of an endpoint's connections, as EC2 gives it. A page that EC2 refuses for coming too soon is asked for
    /// again, so that a long listing goes on where it is.
    async fn page(
        &self,
        endpoint: &EndpointId,
        filters: Option<Vec<Filter>>,
        after: Option<&PageToken>,
    ) -> Result<DescribeClientVpnConnectionsOutput, VpnError> {
        let request = self
            .ec2
            .paced_client()
            .describe_client_vpn_connections()
            .client_vpn_endpoint_id(endpoint.as_str())
            .max_results(PAGE)
            .set_filters(filters)
            .set_next_token(after.map(|token| token.0.clone()));
        let once = || async {
            let request = request.clone().customize().interceptor(Whole("DescribeClientVpnConnections"));
            request.send().await.map_err(|error| self.error(&error))
        };
        let answer = self.ec2.lanes.listing.call(&self.ec2.client, once).await;
        answer.unwrap_or_else(|| Err(no_turn()))
    }

    async fn terminate_once(
        &self,
        endpoint: &EndpointId,
        which: &Which,
    ) -> Result<TerminateClientVpnConnectionsOutput, VpnError> {
        let request = Self::terminate_request(self.ec2.paced_client(), endpoint, which).customize();
        request.interceptor(Whole("TerminateClientVpnConnections")).send().await.map_err(|error| self.error(&error))
    }

    fn terminate_request(
        client: &Client,
        endpoint: &EndpointId,
        which: &Which,
    ) -> TerminateClientVpnConnectionsFluentBuilder {
        let request = client.terminate_client_vpn_connections().client_vpn_endpoint_id(endpoint.as_str());
        match which {
            Which::Id(id) => request.connection_id(id.as_str()),
            Which::User(user) => request.username(user),
        }
    }
}

#[async_trait]
impl ClientVpn for Ec2ClientVpn {
    fn target(&self) -> &Target {
        &self.target
    }

    async fn endpoints(&self) -> Result<Vec<EndpointId>, VpnError> {
        let found = self.described_endpoints().await?;
        let id = |endpoint: &ClientVpnEndpoint| present(endpoint.client_vpn_endpoint_id()).map(EndpointId::new);
        found.iter().map(id).collect::<Option<_>>().ok_or_else(|| nameless("an endpoint"))
    }

    async fn connections(
        &self,
        endpoint: &EndpointId,
        only: &[ConnectionId],
        after: Option<&PageToken>,
    ) -> Result<Page, VpnError> {
        let ids = only.iter().map(|id| id.as_str().to_owned()).collect();
        let filter = Filter::builder().name("connection-id").set_values(Some(ids)).build();
        let filters = (!only.is_empty()).then(|| vec![filter]);
        let page = self.page(endpoint, filters, after).await?;
        Ok(Page {
            connections: page
                .connections()
                .iter()
                .map(connection)
                .collect::<Option<_>>()
                .ok_or_else(|| nameless("a connection"))?,
            next: page.next_token().filter(|token| !token.is_empty()).map(|token| PageToken(token.to_owned())),
        })
    }

    async fn terminate(&self, endpoint: &EndpointId, which: &Which) -> Result<Vec<Ended>, VpnError> {
        let once = || self.terminate_once(endpoint, which);
        let answer = self.ec2.lanes.terminating.call(&self.ec2.client, once).await;
        match answer.unwrap_or_else(|| Err(no_turn())) {
            Ok(answer) => {
                tracing::info!(endpoint_id = %endpoint, ?which, request_id = answer.request_id(), "terminate accepted");
                Ok(ended(&answer))
            }
            Err(error) if error.kind == VpnErrorKind::NoTurn => {
                tracing::info!(endpoint_id = %endpoint, ?which, "a terminate call was not made: it had to wait too long");
                Err(error)
            }
            Err(error) => {
                tracing::warn!(endpoint_id = %endpoint, ?which, error_type = "TerminateFailed", %error, "terminate failed");
                Err(error)
            }
        }
    }

    async fn may_terminate(&self, endpoint: &EndpointId, which: &Which) -> Result<(), VpnError> {
        let Err(error) = Self::terminate_request(&self.ec2.client, endpoint, which).dry_run(true).send().await else {
            return Ok(());
        };
        // EC2 says "yes" with an error. Nor does it look for the connection of somebody who may not end it.
        if error.code() == Some("DryRunOperation") {
            return Ok(());
        }
        let error = self.error(&error);
        if error.kind == VpnErrorKind::NoConnection { Ok(()) } else { Err(error) }
    }
}

/// What becomes of a call for which there was no time, since others were refused for coming too soon.
fn no_turn() -> VpnError {
    let message = "others of our calls have to wait as well".to_owned();
    VpnError { kind: VpnErrorKind::NoTurn, code: None, message, request_id: None }
}

/// A row that may be anybody's connection and can't be ended, or an endpoint that can't be listed: a listing with one
/// proves nothing.
fn nameless(what: &str) -> VpnError {
    let message = format!("{what} was listed without an id; look at Client VPN yourself");
    VpnError { kind: VpnErrorKind::Other, code: None, message, request_id: None }
}

/// A text that is there and is not blank.
fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// A row, if it has an id.
fn connection(row: &ClientVpnConnection) -> Option<Connection> {
    Some(Connection {
        id: ConnectionId::new(present(row.connection_id())?),
        username: row.username().map(str::to_owned),
        common_name: row.common_name().map(str::to_owned),
        // Without a status it may be anything, so it is alive.
        status: status(row.status()).unwrap_or_else(|| Status::from_code("")),
        established_at: row.connection_established_time().and_then(Timestamp::parse_client_vpn),
    })
}

fn status(status: Option<&ClientVpnConnectionStatus>) -> Option<Status> {
    Some(Status::from_code(status?.code()?.as_str()))
}

fn ended(answer: &TerminateClientVpnConnectionsOutput) -> Vec<Ended> {
    let request_id = answer.request_id();
    let rows = answer.connection_statuses().iter().filter_map(|row| {
        Some(Ended {
            id: ConnectionId::new(present(row.connection_id())?),
            previous: status(row.previous_status()),
            current: status(row.current_status()),
            message: row.current_status().and_then(|status| status.message()).map(str::to_owned),
            request_id: request_id.map(str::to_owned),
        })
    });
    rows.collect()
}

fn vpn_error<E, R>(error: &SdkError<E, R>) -> VpnError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
    SdkError<E, R>: RequestId,
{
    let code = error.code().map(str::to_owned);
    VpnError {
        kind: kind(code.as_deref(), matches!(error, SdkError::ServiceError(_))),
        message: match error.message() {
            Some(message) => message.to_owned(),
            None => failure::chain(error),
        },
        request_id: error.request_id().map(str::to_owned),
        code,
    }
}

fn kind(code: Option<&str>, answered: bool) -> VpnErrorKind {
    match code {
        Some("InvalidClientVpnEndpointId.NotFound") => VpnErrorKind::NoEndpoint,
        Some("InvalidClientVpnActiveAssociationNotFound") => VpnErrorKind::NoAssociation,
        Some("InvalidClientVpnConnection.IdNotFound" | "InvalidClientVpnConnection.UserNotFound") => {
            VpnErrorKind::NoConnection
        }
        Some("ClientVpnTerminateConnectionsLimitExceeded") => VpnErrorKind::TooManyConnections,
        Some("UnauthorizedOperation" | "AuthFailure" | "OptInRequired" | "Blocked") => VpnErrorKind::Denied,
        Some("RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "EC2ThrottledException") => {
            VpnErrorKind::Throttled
        }
        Some("InternalError" | "InternalFailure" | "ServerInternal" | "ServiceUnavailable" | "Unavailable") => {
            VpnErrorKind::Unavailable
        }
        None => VpnErrorKind::Unavailable,
        Some(_) if !answered => VpnErrorKind::Unavailable,
        Some(_) => VpnErrorKind::Other,
    }
}
