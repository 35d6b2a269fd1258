//! Real ports that live in memory, can be told to fail at any call, and keep a log of their calls; and a [`Clock`] that
//! is moved by hand. For tests.

mod breaker;
mod clock;
mod store;
mod vpn;

pub use breaker::MemoryBreaker;
pub use clock::ManualClock;
pub use store::{MemoryAudit, MemoryDirectory, MemoryLocks};
pub use vpn::MemoryVpn;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ports::Clock;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It fails, and had no effect.
    Fails,
    /// It fails, and had its effect all the same: the answer was lost.
    AnswerLost,
    /// What it would read is not what this program writes.
    Spoilt,
    /// It is refused for want of permission.
    Denied,
    /// It is refused for coming too soon.
    Throttled,
    /// It is not made, since others were refused for coming too soon.
    NoTurn,
    /// It takes long: what runs beside it gets far.
    Slow,
    /// It never returns.
    Hangs,
    /// The code behind it panics.
    Panics,
}

/// How long a slow call takes.
const SLOW_PAUSE: std::time::Duration = std::time::Duration::from_millis(700);

/// How many turns of others a slow call takes.
const SLOW: usize = 500;

/// Which calls go wrong, and which were made.
#[derive(Default)]
struct Script {
    planned: Vec<(String, u32, Mishap)>,
    calls: Vec<String>,
    chaos: Option<Chaos>,
}

/// Decides for each call, by its description, what goes wrong with it.
pub type Chaos = Box<dyn FnMut(&str) -> Option<Mishap> + Send>;

/// A shared log of calls, in their order over all ports, with the mishaps that are to meet them.
#[derive(Clone, Default)]
pub struct Calls {
    script: Arc<Mutex<Script>>,
    /// What a slow call waits on; without it, it gives others their turn.
    clock: Option<Arc<dyn Clock>>,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Calls")
    }
}

impl Calls {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty log, whose slow calls take time by this clock.
    #[must_use]
    pub fn on(clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..Self::default() }
    }

    /// Lets this decide what goes wrong with each call that nothing is planned for.
    pub fn chaos(&self, chaos: Option<Chaos>) {
        lock(&self.script).chaos = chaos;
    }

    /// The next `times` calls whose description begins with `call` meet `mishap`.
    pub fn plan(&self, call: &str, times: u32, mishap: Mishap) {
        lock(&self.script).planned.push((call.to_owned(), times, mishap));
    }

    /// No call goes wrong any more.
    pub fn forget(&self) {
        lock(&self.script).planned.clear();
    }

    /// All calls made so far.
    #[must_use]
    pub fn made(&self) -> Vec<String> {
        lock(&self.script).calls.clone()
    }

    /// How many calls began with `call`.
    #[must_use]
    pub fn count(&self, call: &str) -> usize {
        lock(&self.script).calls.iter().filter(|made| made.starts_with(call)).count()
    }

    /// Logs a call and says what goes wrong with it.
    #[expect(clippy::panic, reason = "a planned panic is what a test asks for")]
    async fn make(&self, call: String) -> Option<Mishap> {
        let mishap = {
            let mut script = lock(&self.script);
            let planned = script.planned.iter_mut().find(|(prefix, times, _)| *times > 0 && call.starts_with(prefix));
            let mishap = planned.map(|(_, times, mishap)| {
                *times -= 1;
                *mishap
            });
            script.calls.push(call.clone());
            mishap.or_else(|| script.chaos.as_mut().and_then(|chaos| chaos(&call)))
        };
        // A call takes a moment, in which others get on.
        tokio::task::yield_now().await;
        match mishap {
            Some(Mishap::Slow) if self.clock.is_some() => {
                if let Some(clock) = &self.clock {
                    clock.sleep(SLOW_PAUSE).await;
                }
                None
            }
            Some(Mishap::Slow) => {
                for _ in 0..SLOW {
                    tokio::task::yield_now().await;
                }
                None
            }
            Some(Mishap::Hangs) => std::future::pending().await,
            Some(Mishap::Panics) => std::panic::panic_any(format!("planned panic in {call}")),
            mishap => mishap,
        }
    }
}

/// A lock that outlives a test's planned panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
