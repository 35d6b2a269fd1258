//! The function's own code, run on this machine with its configuration and the permissions of whoever runs it.

use std::sync::Arc;
use std::time::Duration;

use revocation::ports::Clock;
use revocation::receipt::Receipt;
use revocation::signal::Signal;
use serde_json::Value;

use super::CliError;
use super::act::new_id;
use super::aws::Aws;
use super::deployment::Deployment;
use super::function::unanswered;
use crate::{App, Call, Clients, Metrics, Settings, SystemClock};

/// How long one run may take: as long as the function may.
const WITHIN: Duration = Duration::from_secs(120);

/// The function, here.
pub(super) struct LocalFunction {
    app: App,
    pub(super) settings: Settings,
    arn: String,
    /// Where it runs and by whose configuration, in words.
    pub(super) whose: String,
}

impl LocalFunction {
    pub(super) async fn new(deployment: &Deployment, aws: &Aws) -> Result<Self, CliError> {
        let configuration = deployment.configuration(aws).await?;
        let settings = configuration.to_run_here()?;
        let config = aws.config(crate::aws::timeouts()).await?;
        let clients = Clients::new(&config, &settings).await;
        // Its metrics would count twice what the function counts, or for an environment that is none.
        let app = App::new(settings.clone(), clients, Arc::new(SystemClock), Metrics::to(|_| {}));
        let whose = format!("here, with the configuration of {}", super::output::shown(&configuration.of));
        Ok(Self { app, settings, arn: configuration.arn.clone().unwrap_or_default(), whose })
    }

    /// A command's receipt.
    pub(super) async fn invoke(&self, command: &Value) -> Result<Value, CliError> {
        let answer = self.app.invoke(command.to_string().as_bytes(), &self.call()).await;
        answer.map_err(|failure| unanswered(failure.error_type, &failure.message))
    }

    /// What comes of signals, one receipt for each.
    pub(super) async fn settle(&self, signals: Vec<Signal>) -> Vec<Receipt> {
        self.app.settle(signals, &self.call()).await
    }

    fn call(&self) -> Call {
        Call { request_id: new_id(), cut_off_at: SystemClock.now().plus(WITHIN), function_arn: self.arn.clone() }
    }
}
