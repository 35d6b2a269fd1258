//! The way to AWS, which takes time that passes when nothing else goes on.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::byte_stream::ByteStream;

use crate::time::Time;

/// Makes every call take so long.
#[derive(Debug)]
pub struct Distant {
    pub client: SharedHttpClient,
    pub time: Time,
    pub away: Duration,
}

impl HttpClient for Distant {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let Self { client, time, away } = self;
        let connector = client.http_connector(settings, components);
        SharedHttpConnector::new(Way { connector, time: time.clone(), away: *away })
    }
}

#[derive(Debug)]
struct Way {
    connector: SharedHttpConnector,
    time: Time,
    away: Duration,
}

impl HttpConnector for Way {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (connector, time, away) = (self.connector.clone(), self.time.clone(), self.away);
        HttpConnectorFuture::new(async move {
            time.pause(away).await;
            let _call = time.call();
            let mut answer = connector.call(request).await?;
            // Whole, so that nothing of it is on its way any more.
            let body = ByteStream::new(answer.take_body()).collect().await;
            let body = body.map_err(|error| ConnectorError::io(error.into()))?;
            *answer.body_mut() = body.into_bytes().into();
            Ok(answer)
        })
    }
}
