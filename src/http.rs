//! The HTTP client that all calls to AWS share.

use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use crate::Trust;

/// The HTTP client that all calls share.
#[must_use]
pub fn http_client(trust: &Trust) -> SharedHttpClient {
    let client = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(trust.context())
        .build_https();
    SharedHttpClient::new(AtFirstCall(client))
}

/// Makes a connector when it is called for the first time, and never to throw it away.
///
/// In its `validate_base_client_config` the SDK's client makes one for every service client that is built, reads all
/// certificates for it, and drops it: half of what starting a function took. So that is not passed on here.
#[derive(Debug)]
struct AtFirstCall(SharedHttpClient);

impl HttpClient for AtFirstCall {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}
