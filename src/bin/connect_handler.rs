//! The `connect-handler` Lambda function: Client VPN asks it before it admits a connection.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use revocation::connect::ConnectAnswer;
use serde_json::value::RawValue;
use vpn_revoker::{AtFirstUse, ConnectApp, ConnectSettings, Metrics, SystemClock, Trust, connect, get_ready, logging};

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
    let (settings, trust) = (ConnectSettings::from_env()?, Trust::of_a_function()?);
    let app = AtFirstUse::new(move || app(settings.clone(), trust.clone()));
    let getting_ready = Arc::clone(&app);
    get_ready(async move { getting_ready.get().await.clone().warm().await }).await;
    lambda_runtime::run(service_fn(move |event| invoke(Arc::clone(&app), event))).await
}

async fn app(settings: ConnectSettings, trust: Trust) -> ConnectApp {
    let tables = connect::tables(&settings, &trust).await;
    let metrics = Metrics::to_stdout().of(std::env::var("AWS_LAMBDA_FUNCTION_NAME").ok());
    ConnectApp::new(settings, tables, Arc::new(SystemClock), metrics)
}

async fn invoke(
    app: Arc<AtFirstUse<ConnectApp>>,
    event: LambdaEvent<Box<RawValue>>,
) -> Result<ConnectAnswer, Infallible> {
    Ok(app.get().await.invoke(event.payload.get().as_bytes()).await)
}
