//! Time moved by hand.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::ports::Clock;
use crate::time::Timestamp;

/// A clock that stands still until it is moved, or until somebody sleeps: a pause takes no real time and moves it on.
#[derive(Debug)]
pub struct ManualClock {
    millis: AtomicI64,
    moved: Notify,
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        Self { millis: AtomicI64::new(start.as_millis()), moved: Notify::new() }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.move_to(self.now().plus(by));
    }

    fn move_to(&self, at: Timestamp) {
        self.millis.fetch_max(at.as_millis(), Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::SeqCst))
    }

    async fn sleep(&self, pause: Duration) {
        self.move_to(self.now().plus(pause));
        tokio::task::yield_now().await;
    }

    async fn reached(&self, at: Timestamp) {
        loop {
            let moved = self.moved.notified();
            if self.now() >= at {
                return;
            }
            moved.await;
        }
    }
}
