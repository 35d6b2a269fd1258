//! The `connect-handler` Lambda function: Client VPN asks it before it admits a connection.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use revocation::connect::ConnectAnswer;
use serde_json::value::RawValue;
use vpn_revoker::{ConnectApp, ConnectSettings, Metrics, SystemClock, Trust, connect, get_ready, logging};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logging::start();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error_type = "StartFailed", %error, "connect-handler can't run");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let settings = ConnectSettings::from_env()?;
    let tables = connect::tables(&settings, &Trust::of_a_function()?).await;
    let metrics = Metrics::to_stdout().of(std::env::var("AWS_LAMBDA_FUNCTION_NAME").ok());
    let app = ConnectApp::new(settings, tables, Arc::new(SystemClock), metrics);
    get_ready(app.clone().warm()).await;
    lambda_runtime::run(service_fn(move |event| invoke(app.clone(), event))).await
}

async fn invoke(app: ConnectApp, event: LambdaEvent<Box<RawValue>>) -> Result<ConnectAnswer, Infallible> {
    Ok(app.invoke(event.payload.get().as_bytes()).await)
}
