//! Which connect handler an endpoint asks, and changing that.

use aws_sdk_ec2::types::{ClientConnectOptions, ClientVpnEndpoint};
use revocation::connection::EndpointId;
use revocation::ports::VpnError;

use super::Ec2ClientVpn;

/// An endpoint as far as the door is concerned
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ClientVpnEndpoint.html>).
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) endpoint: EndpointId,
    pub(crate) description: Option<String>,
    pub(crate) status: String,
    /// How clients sign in: `certificate-authentication` and the like.
    pub(crate) authentication: Vec<String>,
    /// The function that is asked before a connection is admitted, if any is.
    pub(crate) handler: Option<String>,
    /// A change of the handler has not come into force yet.
    pub(crate) applying: bool,
}

impl Door {
    fn new(endpoint: &ClientVpnEndpoint) -> Option<Self> {
        let options = endpoint.client_connect_options();
        let enabled = options.and_then(|options| options.enabled()).unwrap_or_default();
        let handler = options.and_then(|options| options.lambda_function_arn()).filter(|_| enabled);
        let applied = options.and_then(|options| options.status()).and_then(|status| status.code());
        let authentication = endpoint.authentication_options().iter();
        Some(Self {
            endpoint: EndpointId::new(endpoint.client_vpn_endpoint_id()?),
            description: endpoint.description().filter(|text| !text.is_empty()).map(str::to_owned),
            status: endpoint.status()?.code()?.as_str().to_owned(),
            authentication: authentication
                .filter_map(|way| way.r#type())
                .map(|kind| kind.as_str().to_owned())
                .collect(),
            handler: handler.filter(|arn| !arn.is_empty()).map(str::to_owned),
            applying: applied.is_some_and(|code| code.as_str() == "applying"),
        })
    }
}

impl Ec2ClientVpn {
    /// Every endpoint's door.
    ///
    /// # Errors
    /// Where the endpoints can't be listed.
    pub(crate) async fn doors(&self) -> Result<Vec<Door>, VpnError> {
        Ok(self.described_endpoints().await?.iter().filter_map(Door::new).collect())
    }

    /// Lets an endpoint ask this function, or none. It takes EC2 a while; nobody is disconnected by it.
    ///
    /// # Errors
    /// Where EC2 does not take it.
    pub(crate) async fn set_handler(&self, endpoint: &EndpointId, handler: Option<&str>) -> Result<(), VpnError> {
        let options = ClientConnectOptions::builder()
            .enabled(handler.is_some())
            .set_lambda_function_arn(handler.map(str::to_owned))
            .build();
        let request = self
            .ec2
            .client()
            .modify_client_vpn_endpoint()
            .client_vpn_endpoint_id(endpoint.as_str())
            .client_connect_options(options);
        request.send().await.map(|_| ()).map_err(|error| self.error(&error))
    }
}
