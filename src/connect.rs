//! What the `connect-handler` function does with an invoke.

mod settings;
mod tables;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use revocation::audit::Appended;
use revocation::connect::{ConnectAnswer, ConnectHandler, ConnectRequest, Denial, Unknown, Verdict};
use revocation::name::Name;
use revocation::ports::Clock;

use crate::{DynamoAudit, DynamoLocks, Metrics};

pub use settings::ConnectSettings;
pub use tables::{Patience, tables};

/// The function: everything that outlives a single invoke.
#[derive(Clone)]
pub struct ConnectApp {
    handler: ConnectHandler,
    metrics: Metrics,
}

impl ConnectApp {
    /// The function with these settings, on the tables that `client` reaches.
    #[must_use]
    pub fn new(settings: ConnectSettings, client: Client, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        let ConnectSettings { locks_table, audit_table, policy, .. } = settings;
        let handler = ConnectHandler {
            locks: Arc::new(DynamoLocks::new(client.clone(), &locks_table)),
            trail: Arc::new(DynamoAudit::new(client, &audit_table, &locks_table)),
            clock,
            policy: Arc::new(policy),
        };
        Self { handler, metrics }
    }

    /// Opens the connection to DynamoDB, beside the first wait for work: the first person at the door finds it open.
    pub async fn warm(self) {
        let nobody = Name::new("warm-up").ok();
        if let Err(error) = self.handler.locks.read(nobody.as_slice()).await {
            tracing::warn!(error_type = "WarmUpFailed", %error, "the locks could not be read ahead of work");
        }
    }

    /// Answers Client VPN. There is no request without an answer: Client VPN would take an error for a refusal.
    pub async fn invoke(&self, payload: &[u8]) -> ConnectAnswer {
        let request = ConnectRequest::read(payload);
        let verdict = self.handler.decide(&request).await;
        let answer = self.handler.policy.answer(&request, &verdict);
        self.report(&request, &verdict, &answer);
        if let (Verdict::Locked(denial), false) = (&verdict, answer.allows()) {
            self.record(&request, denial).await;
        }
        answer
    }

    /// Logs and counts what somebody may want to know: each refusal, and each time that nobody could say.
    fn report(&self, request: &ConnectRequest, verdict: &Verdict, answer: &ConnectAnswer) {
        match verdict {
            Verdict::Clear => {}
            Verdict::Protected(name) => tracing::debug!(%name, "a protected name is let in"),
            Verdict::Locked(denial) => report_lock(request, denial, answer.allows()),
            Verdict::Unknown(unknown) => self.report_unknown(request, unknown, answer.allows()),
        }
        if !answer.allows() {
            self.metrics.denied(request.endpoint(), self.handler.clock.now());
        }
    }

    fn report_unknown(&self, request: &ConnectRequest, unknown: &Unknown, allowed: bool) {
        tracing::error!(
            error_type = unknown.error_type(),
            endpoint_id = request.endpoint(),
            connection_id = request.connection_id,
            platform = request.platform,
            public_ip = request.public_ip,
            allowed,
            error = %unknown,
            "nobody can say whether this connection may be made, so the configuration decides (VPN_REVOKER_ON_ERROR, VPN_REVOKER_MODE)",
        );
        self.metrics.failed(unknown.error_type(), self.handler.clock.now());
    }

    /// Records a refusal. That it can't be recorded changes nothing about it.
    async fn record(&self, request: &ConnectRequest, denial: &Denial) {
        match self.handler.record(request, denial).await {
            Ok(Appended::Written | Appended::AlreadyThere) => {}
            Err(error) => {
                tracing::warn!(error_type = "RefusalUnrecorded", endpoint_id = request.endpoint(), %error, "audit entry missing");
                self.metrics.failed("RefusalUnrecorded", self.handler.clock.now());
            }
        }
    }
}

fn report_lock(request: &ConnectRequest, denial: &Denial, allowed: bool) {
    let what = if allowed { "shadow mode: this connection would be refused" } else { "connection refused" };
    tracing::info!(
        endpoint_id = request.endpoint(),
        connection_id = request.connection_id,
        platform = request.platform,
        public_ip = request.public_ip,
        name = %denial.name,
        authority = %denial.authority,
        signal_id = %denial.hold.signal_id,
        "{what}",
    );
}
