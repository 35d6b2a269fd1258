//! Metrics in CloudWatch's embedded format: lines on standard output that CloudWatch Logs turns into metrics
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//!
//! No call, no agent, nothing to fail: that is why this is not a library's.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

#[cfg(feature = "revoker")]
use revocation::receipt::{Outcome, Receipt};
use revocation::time::Timestamp;
use serde_json::{Map, Value, json};

const NAMESPACE: &str = "VpnRevoker";

/// Where metric lines go, and whose they are.
#[derive(Clone)]
pub struct Metrics {
    sink: Arc<dyn Fn(&Value) + Send + Sync>,
    function: Option<String>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// To standard output.
    #[must_use]
    pub fn to_stdout() -> Self {
        // A metric that can't be written is no reason to fail anything.
        Self::to(|line| drop(writeln!(std::io::stdout().lock(), "{line}")))
    }

    /// To a function, for tests and for the example.
    #[must_use]
    pub fn to(sink: impl Fn(&Value) + Send + Sync + 'static) -> Self {
        Self { sink: Arc::new(sink), function: None }
    }

    /// The same, of the Lambda function of this name: two stacks in one account don't answer for each other.
    #[must_use]
    pub fn of(self, function: Option<String>) -> Self {
        Self { function, ..self }
    }

    /// What came of a signal: `Signals` by outcome, `ConnectionsTerminated`, `SecondsToVerified`.
    #[cfg(feature = "revoker")]
    pub(crate) fn settled(&self, receipt: &Receipt, now: Timestamp) {
        let outcome = [("Outcome", receipt.outcome.word())];
        self.count(now, &outcome, "Signals", "Count", 1);
        let terminated = receipt.terminated();
        if terminated > 0 {
            self.count(now, &[], "ConnectionsTerminated", "Count", terminated);
        }
        let received = receipt.timings.received_at.or(receipt.timings.occurred_at);
        let since = received.map(|received| Timestamp::as_of(receipt.timings.occurred_at, received));
        if let (Some(since), Some(verified), Outcome::Completed) = (since, receipt.timings.verified_at, receipt.outcome)
        {
            self.count(now, &[], "SecondsToVerified", "Seconds", verified.since(since).as_secs_f64());
        }
        if receipt.outcome.is_retryable() {
            self.failed(receipt.outcome.word(), now);
        }
        self.refused(receipt, now);
    }

    /// What came of a dry run: `Signals` by outcome. Whoever asked for it has the answer, and nobody else is to be called.
    #[cfg(feature = "revoker")]
    pub(crate) fn rehearsed(&self, receipt: &Receipt, now: Timestamp) {
        self.count(now, &[("Outcome", receipt.outcome.word())], "Signals", "Count", 1);
    }

    /// What came of a sweep by schedule: that it was, which an alarm on silence waits for, and what it ended.
    #[cfg(feature = "revoker")]
    pub(crate) fn swept(&self, receipt: &Receipt, now: Timestamp) {
        self.swept_as("Sweeps", receipt, now);
    }

    /// The same of a sweep that somebody asked for.
    #[cfg(feature = "revoker")]
    pub(crate) fn swept_by_command(&self, receipt: &Receipt, now: Timestamp) {
        self.swept_as("CommandedSweeps", receipt, now);
    }

    #[cfg(feature = "revoker")]
    fn swept_as(&self, name: &str, receipt: &Receipt, now: Timestamp) {
        self.count(now, &[("Outcome", receipt.outcome.word())], name, "Count", 1);
        let terminated = receipt.terminated();
        if terminated > 0 {
            self.count(now, &[], "ConnectionsTerminated", "Count", terminated);
            self.count(now, &[], "SweptConnections", "Count", terminated);
        }
        if receipt.is_retryable() {
            self.failed("SweepIncomplete", now);
        }
        self.refused(receipt, now);
    }

    /// What was refused, by why. What would have been refused, where the mode is shadow, was not.
    #[cfg(feature = "revoker")]
    fn refused(&self, receipt: &Receipt, now: Timestamp) {
        let refused = receipt.subjects.iter().filter(|subject| subject.outcome != Outcome::Shadowed);
        for refusal in refused.filter_map(|subject| subject.refusal) {
            self.count(now, &[("Refusal", refusal)], "Refused", "Count", 1);
        }
    }

    /// A failure, by its kind.
    pub(crate) fn failed(&self, kind: &str, now: Timestamp) {
        self.count(now, &[("Kind", kind)], "Failures", "Count", 1);
    }

    /// A connection that the connect handler refused, by endpoint.
    pub(crate) fn denied(&self, endpoint: &str, now: Timestamp) {
        self.count(now, &[("Endpoint", endpoint)], "ConnectionsDenied", "Count", 1);
    }

    /// An event that is known and means nothing, by why.
    #[cfg(feature = "revoker")]
    pub(crate) fn put_aside(&self, kind: &str, now: Timestamp) {
        self.count(now, &[("Kind", kind)], "EventsPutAside", "Count", 1);
    }

    fn count(&self, now: Timestamp, dimensions: &[(&str, &str)], name: &str, unit: &str, value: impl Into<Value>) {
        // Once as a whole, since an alarm can't add up values of a dimension that it does not know, and once by each.
        let whole: Vec<(&str, &str)> = self.function.iter().map(|name| ("Function", name.as_str())).collect();
        let each = [&whole, dimensions].concat();
        let keys = |set: &[(&str, &str)]| set.iter().map(|(key, _)| json!(key)).collect::<Vec<Value>>();
        let mut sets = vec![keys(&whole), keys(&each)];
        sets.dedup();
        let about = json!({
            "Timestamp": now.as_millis(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": sets,
                "Metrics": [{ "Name": name, "Unit": unit }],
            }],
        });
        let mut line = Map::from_iter([("_aws".to_owned(), about), (name.to_owned(), value.into())]);
        line.extend(each.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
        (self.sink)(&Value::Object(line));
    }
}
