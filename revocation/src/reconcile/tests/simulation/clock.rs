//! Time: the world's, which is virtual, and an environment's, which is a little off.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::ports::Clock;
use crate::time::Timestamp;

/// Tokio's paused clock as ours: it moves on by itself whenever nobody has anything to do.
pub(super) struct Virtual {
    base: Timestamp,
    start: Instant,
}

impl Virtual {
    pub(super) fn begin() -> Self {
        Self { base: Timestamp::parse("2026-03-01T09:30:00Z").unwrap(), start: Instant::now() }
    }
}

#[async_trait]
impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        self.base.plus(self.start.elapsed())
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }

    async fn reached(&self, at: Timestamp) {
        tokio::time::sleep(at.since(self.now())).await;
    }
}

/// An environment's own clock, ahead of the world's by so many milliseconds, or behind it.
pub(super) struct Skewed {
    pub(super) world: Arc<Virtual>,
    pub(super) ahead: i64,
}

#[async_trait]
impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.world.now().as_millis() + self.ahead)
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }

    async fn reached(&self, at: Timestamp) {
        tokio::time::sleep(at.since(self.now())).await;
    }
}
