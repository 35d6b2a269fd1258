//! Reading the locks and recording a refusal, both within the time that there is.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::policy::{ConnectPolicy, Denial, Unknown, Verdict, judge, lockable};
use super::request::{ConnectRequest, shortened};
use crate::audit::{Appended, Cause, Draft, Kind, append};
use crate::lock::Lock;
use crate::name::Name;
use crate::ports::{AuditTrail, Clock, ReadLocks, StoreError};
use crate::signal::SignalId;
use crate::time::Timestamp;

/// How long the locks may take, all attempts together. Client VPN would wait for 30 seconds, a person should not.
pub const READ_WITHIN: Duration = Duration::from_secs(2);

/// How long an entry may hold the answer up. It can't be written afterwards: Lambda stops the process with the answer.
pub const RECORD_WITHIN: Duration = Duration::from_secs(1);

/// What stands as `source` in entries of the connect handler.
const SOURCE: &str = "connect-handler";

/// A refusal is not in the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the refusal of `{0}` stands and is not recorded: {1}")]
pub struct Unrecorded(String, String);

/// Decides on connections by the locks.
#[derive(Clone)]
pub struct ConnectHandler {
    /// The locks.
    pub locks: Arc<dyn ReadLocks>,
    /// Where refusals are recorded.
    pub trail: Arc<dyn AuditTrail>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What may be done.
    pub policy: Arc<ConnectPolicy>,
}

impl ConnectHandler {
    /// What the locks of both names say, from one strongly consistent read. Where one of them is not what this program
    /// writes, the other decides if it is in force.
    pub async fn decide(&self, request: &ConnectRequest) -> Verdict {
        let who = match &request.who {
            Ok(who) => who,
            Err(unreadable) => return Verdict::Unknown(unreadable.clone().into()),
        };
        if let Some(name) = self.policy.protected(who) {
            return Verdict::Protected(name);
        }
        let names = lockable(who);
        if names.is_empty() {
            return Verdict::Clear;
        }
        let (locks, now) = (Arc::clone(&self.locks), self.clock.now());
        match self.within(READ_WITHIN, async move { read(&*locks, &names, now).await }).await {
            Ok(locks) => judge(&locks, now),
            Err(why) => Verdict::Unknown(Unknown::Locks(why)),
        }
    }

    /// Records a refusal: at most one entry for each name, endpoint and hour.
    ///
    /// # Errors
    /// Where that can't be done in time. The refusal stands all the same.
    pub async fn record(&self, request: &ConnectRequest, denial: &Denial) -> Result<Appended, Unrecorded> {
        let (trail, draft) = (Arc::clone(&self.trail), self.draft(request, denial));
        let written = self.within(RECORD_WITHIN, async move { append(&*trail, &draft).await }).await;
        written.map_err(|why| Unrecorded(denial.name.to_string(), why))
    }

    fn draft(&self, request: &ConnectRequest, denial: &Denial) -> Draft {
        let now = self.clock.now();
        let cause = Cause {
            signal_id: &SignalId::new(&format!("denied:{}:{}", request.endpoint(), now.hour())),
            authority: &denial.authority,
            source: SOURCE,
            actor: None,
            reason: denial.hold.reason.as_deref(),
        };
        Draft::because(&cause, denial.name.as_str(), Kind::Denied, now, detail(request, denial))
    }

    /// Does `work` within `limit`, in a task of its own that ends with the wait for it: neither a table that hangs nor a
    /// panic keeps an answer from going out.
    async fn within<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, String> {
        let end = self.clock.now().plus(limit);
        let mut task = JoinSet::new();
        task.spawn(work.in_current_span());
        tokio::select! {
            biased;
            done = task.join_next() => match done {
                Some(Ok(result)) => result.map_err(|error| error.to_string()),
                Some(Err(error)) => {
                    tracing::error!(error_type = "Panicked", %error, "a fault of ours ended the work");
                    Err("a fault of ours ended it; report this with the log line `Panicked`".to_owned())
                }
                None => Err("a fault of ours ended it; report this".to_owned()),
            },
            () = self.clock.reached(end) => Err(format!("it took longer than {} ms; see whether DynamoDB is well", limit.as_millis())),
        }
    }
}

/// What an entry says of the connection that was refused. What the request lacks is left out.
fn detail(request: &ConnectRequest, denial: &Denial) -> Map<String, Value> {
    let who = request.who.clone().unwrap_or_default();
    let fields = [
        ("endpoint_id", request.endpoint_id.clone()),
        ("connection_id", request.connection_id.clone()),
        ("platform", request.platform.clone()),
        ("public_ip", request.public_ip.clone()),
        ("username", who.username.as_deref().map(shortened)),
        ("common_name", who.common_name.as_deref().map(shortened)),
        ("signal_id", Some(denial.hold.signal_id.to_string())),
    ];
    let present =
        fields.into_iter().filter_map(|(key, text)| Some((key.to_owned(), json!(text.filter(|t| !t.is_empty())?))));
    present.collect()
}

/// The locks of these names, or one of them that is in force where another can't be used.
async fn read(locks: &dyn ReadLocks, names: &[Name], now: Timestamp) -> Result<Vec<Lock>, StoreError> {
    let error = match locks.read(names).await {
        Err(error) if names.len() > 1 && error.is_unusable() => error,
        read => return read,
    };
    for name in names {
        match locks.read(std::slice::from_ref(name)).await {
            Ok(read) if read.iter().any(|lock| lock.in_force(now)) => return Ok(read),
            _ => {}
        }
    }
    Err(error)
}
