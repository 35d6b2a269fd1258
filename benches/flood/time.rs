//! Time that passes only when nothing else goes on: an hour of waiting takes as long as the work within it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_sdk_ec2::config::{AsyncSleep, Sleep};
use aws_smithy_async::time::TimeSource;
use revocation::ports::Clock;
use revocation::time::Timestamp;
use tokio::sync::Notify;

/// In so many turns whoever got an answer, or whose pause is over, has got as far as there is to go.
const TURNS: usize = 100;

/// One clock for the function, its SDK and what plays AWS.
#[derive(Debug, Clone)]
pub struct Time {
    state: Arc<Mutex<State>>,
    answered: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    /// Who waits, by when; numbered, since several may wait for the same instant.
    waiting: BTreeMap<(Timestamp, u64), Waker>,
    next: u64,
    /// How many calls are on their way, which take no time.
    calls: usize,
}

impl Time {
    pub fn new(begins: Timestamp) -> Self {
        let state = State { now: begins, waiting: BTreeMap::new(), next: 0, calls: 0 };
        Self { state: Arc::new(Mutex::new(state)), answered: Arc::default() }
    }

    pub fn now(&self) -> Timestamp {
        self.state().now
    }

    /// A pause, from now on.
    pub fn pause(&self, pause: Duration) -> Until {
        // The clock counts in milliseconds; no pause is shorter than it was to be.
        let millis = u64::try_from(pause.as_nanos().div_ceil(1_000_000)).unwrap();
        self.until(self.now().plus(Duration::from_millis(millis)))
    }

    /// Until then.
    pub fn until(&self, at: Timestamp) -> Until {
        Until { time: self.clone(), at, number: None }
    }

    /// A call that is on its way for as long as this is held.
    pub fn call(&self) -> Calling {
        self.state().calls += 1;
        Calling(self.clone())
    }

    /// Lets time pass: to the next instant that somebody waits for, whenever nobody has anything to do until then.
    pub async fn passes(&self) -> Infallible {
        loop {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            if self.state().calls > 0 {
                self.answered.notified().await;
            } else {
                self.goes_on();
            }
        }
    }

    fn goes_on(&self) {
        let mut state = self.state();
        let ((at, _), first) = state.waiting.pop_first().expect("somebody waits for something");
        state.now = at;
        drop(state);
        first.wake();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// See [`Time::until`].
#[derive(Debug)]
pub struct Until {
    time: Time,
    at: Timestamp,
    number: Option<u64>,
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let time = self.time.clone();
        let mut state = time.state();
        if state.now >= self.at {
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        state.waiting.insert((self.at, number), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.time.state().waiting.remove(&(self.at, number));
        }
    }
}

/// See [`Time::call`].
pub struct Calling(Time);

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.state().calls -= 1;
        self.0.answered.notify_one();
    }
}

#[async_trait]
impl Clock for Time {
    fn now(&self) -> Timestamp {
        self.now()
    }

    async fn sleep(&self, pause: Duration) {
        self.pause(pause).await;
    }

    async fn reached(&self, at: Timestamp) {
        self.until(at).await;
    }
}

impl client_vpn_emulator::Clock for Time {
    fn now_millis(&self) -> i64 {
        self.now().as_millis()
    }
}

impl TimeSource for Time {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.now().as_millis().unsigned_abs())
    }
}

impl AsyncSleep for Time {
    fn sleep(&self, pause: Duration) -> Sleep {
        Sleep::new(self.pause(pause))
    }
}
