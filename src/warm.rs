//! What a function does before, or beside, its first wait for work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OnceCell;

/// Says how Lambda starts this environment
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
const INITIALIZATION: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";

/// How long a start ahead of demand may take for it.
const AHEAD_OF_DEMAND_IN: Duration = Duration::from_secs(2);

type Making<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is made when it is needed first: while the function gets ready, or by the first work, whichever comes first. The
/// other waits for it.
pub struct AtFirstUse<T> {
    made: OnceCell<T>,
    make: Box<dyn Fn() -> Making<T> + Send + Sync>,
}

impl<T> AtFirstUse<T> {
    /// Something that `make` makes. It is called again only where it did not come to an end.
    pub fn new<Made>(make: impl Fn() -> Made + Send + Sync + 'static) -> Arc<Self>
    where
        Made: Future<Output = T> + Send + 'static,
    {
        Arc::new(Self { made: OnceCell::new(), make: Box::new(move || Box::pin(make())) })
    }

    /// The value, made now where nobody has made it yet.
    pub async fn get(&self) -> &T {
        self.made.get_or_init(|| (self.make)()).await
    }
}

/// Gets ready. Where somebody is waiting for this very start, on a thread of its own: the first request for work must not
/// wait until certificates are read and calls signed, which on the runtime's one thread it would. Where Lambda starts it
/// ahead of demand it is frozen when it asks for work, so it gets ready first.
///
/// Must be called on a runtime, whose connections and timers the work uses.
pub async fn get_ready(work: impl Future<Output = ()> + Send + 'static) {
    let kind = std::env::var(INITIALIZATION).ok();
    get_ready_for(kind.as_deref() == Some("provisioned-concurrency"), work).await;
}

async fn get_ready_for(ahead_of_demand: bool, work: impl Future<Output = ()> + Send + 'static) {
    if ahead_of_demand {
        // What is not ready by then gets ready with the first work.
        let _ = tokio::time::timeout(AHEAD_OF_DEMAND_IN, work).await;
    } else {
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(work));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_made_at_first_use_is_made_once_and_again_only_where_that_failed() {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let it = AtFirstUse::new(move || {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                assert!(number > 0, "the first time");
                number
            }
        });
        let first = Arc::clone(&it);
        assert!(tokio::spawn(async move { *first.get().await }).await.is_err());
        let (one, other) = tokio::join!(it.get(), it.get());
        assert_eq!((one, other, made.load(Ordering::Relaxed)), (&1, &1, 2));
    }

    #[tokio::test]
    async fn ahead_of_demand_everything_is_ready_before_work_is_asked_for() {
        let (ready, mut is_ready) = oneshot::channel();
        get_ready_for(true, async { ready.send(()).unwrap() }).await;
        assert_eq!(is_ready.try_recv(), Ok(()));
    }

    #[tokio::test]
    async fn where_somebody_waits_work_is_asked_for_at_once_and_getting_ready_goes_on() {
        let ((go_on, told), (ready, is_ready)) = (oneshot::channel::<()>(), oneshot::channel());
        let work = async {
            told.await.unwrap();
            ready.send(()).unwrap();
        };
        get_ready_for(false, work).await;
        go_on.send(()).unwrap();
        assert_eq!(is_ready.await, Ok(()));
    }
}
