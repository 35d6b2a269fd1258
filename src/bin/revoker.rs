//! The `revoker` Lambda function: takes a signal, ends the person's connections, verifies and records it.

use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use revocation::time::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use vpn_revoker::{
    App, AtFirstUse, Call, Clients, Failure, Metrics, Settings, SystemClock, Trust, aws, get_ready, logging,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logging::start();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error_type = "StartFailed", %error, "revoker can't run");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let (settings, trust) = (Settings::from_env()?, Trust::of_a_function()?);
    let app = AtFirstUse::new(move || app(settings.clone(), trust.clone()));
    let getting_ready = Arc::clone(&app);
    get_ready(async move { getting_ready.get().await.clone().warm().await }).await;
    lambda_runtime::run(service_fn(move |event| invoke(Arc::clone(&app), event))).await
}

async fn app(settings: Settings, trust: Trust) -> App {
    let config = aws::sdk_config(&settings.region, &trust).await;
    let clients = Clients::new(&config, &settings).await;
    let metrics = Metrics::to_stdout().of(std::env::var("AWS_LAMBDA_FUNCTION_NAME").ok());
    App::new(settings, clients, Arc::new(SystemClock), metrics)
}

async fn invoke(app: Arc<AtFirstUse<App>>, event: LambdaEvent<Box<RawValue>>) -> Result<Value, Failure> {
    let (payload, context) = event.into_parts();
    let call = Call {
        cut_off_at: Timestamp::from_millis(i64::try_from(context.deadline).unwrap_or(i64::MAX)),
        request_id: context.request_id,
        function_arn: context.invoked_function_arn,
    };
    app.get().await.invoke(payload.get().as_bytes(), &call).await
}
