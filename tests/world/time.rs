//! Time that passes without taking any.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_ec2::config::{AsyncSleep, Sleep};
use aws_smithy_async::time::TimeSource;
use revocation::memory::ManualClock;
use revocation::ports::Clock;
use tokio::sync::Notify;

/// The world's clock as the emulator sees it.
pub struct EmulatorTime(pub Arc<ManualClock>);

impl client_vpn_emulator::Clock for EmulatorTime {
    fn now_millis(&self) -> i64 {
        self.0.now().as_millis()
    }
}

/// Pauses of the SDK are over at once and move the world's clock. Its timeouts, which it asks for by the same call and
/// which are longer than any pause, come about only when a test says so.
#[derive(Debug, Clone)]
pub struct VirtualSleep {
    clock: Arc<ManualClock>,
    timeouts: Arc<Notify>,
}

/// The longest pause between attempts; every timeout is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl VirtualSleep {
    pub fn new(clock: &Arc<ManualClock>) -> Self {
        Self { clock: Arc::clone(clock), timeouts: Arc::default() }
    }

    /// Lets every timeout pass that is being waited for.
    pub fn time_out(&self) {
        self.timeouts.notify_waiters();
    }
}

/// The SDK has the world's time.
impl TimeSource for VirtualSleep {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.clock.now().as_millis().unsigned_abs())
    }
}

impl AsyncSleep for VirtualSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        if duration <= LONGEST_PAUSE {
            self.clock.advance(duration);
            return Sleep::new(std::future::ready(()));
        }
        let timeouts = Arc::clone(&self.timeouts);
        Sleep::new(async move { timeouts.notified().await })
    }
}
