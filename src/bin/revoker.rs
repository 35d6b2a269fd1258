//! The `revoker` Lambda function: takes a signal, ends the person's connections, verifies and records it.

use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use revocation::time::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use vpn_revoker::{App, Call, Clients, Failure, Metrics, Settings, SystemClock, Trust, aws, get_ready, logging};

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
    let settings = Settings::from_env()?;
    let config = aws::sdk_config(&settings.region, &Trust::of_a_function()?).await;
    let clients = Clients::new(&config, &settings).await;
    let metrics = Metrics::to_stdout().of(std::env::var("AWS_LAMBDA_FUNCTION_NAME").ok());
    let app = App::new(settings, clients, Arc::new(SystemClock), metrics);
    get_ready(app.clone().warm()).await;
    lambda_runtime::run(service_fn(move |event| invoke(app.clone(), event))).await
}

async fn invoke(app: App, event: LambdaEvent<Box<RawValue>>) -> Result<Value, Failure> {
    let (payload, context) = event.into_parts();
    let call = Call {
        cut_off_at: Timestamp::from_millis(i64::try_from(context.deadline).unwrap_or(i64::MAX)),
        request_id: context.request_id,
        function_arn: context.invoked_function_arn,
    };
    app.invoke(payload.get().as_bytes(), &call).await
}
