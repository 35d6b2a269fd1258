//! What a function does before, or beside, its first wait for work.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;

/// Says how Lambda starts this environment
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
const INITIALIZATION: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";

/// How long a start ahead of demand may take for it.
const AHEAD_OF_DEMAND_IN: Duration = Duration::from_secs(2);

/// Gets ready. Where somebody is waiting for this very start, on a thread of its own: the first request for work must not
/// wait until certificates are read and calls signed, which on the runtime's one thread it would. Where Lambda starts it
/// ahead of demand it is frozen when it asks for work, so it gets ready first.
///
/// Must be called on a runtime, whose connections and timers the work uses.
pub async fn get_ready(work: impl Future<Output = ()> + Send + 'static) {
    if std::env::var(INITIALIZATION).is_ok_and(|kind| kind == "provisioned-concurrency") {
        // What is not ready by then gets ready with the first work.
        let _ = tokio::time::timeout(AHEAD_OF_DEMAND_IN, work).await;
        return;
    }
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work));
}
