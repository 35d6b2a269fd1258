//! Calls at the pace that EC2 bears.
//!
//! Each action has one bucket for the whole account and Region
//! (<https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>), and everybody who calls it is refused
//! while it is empty. Growing pauses of each call by itself don't help: of many calls at once each comes again and again,
//! from every environment that works at the same time. So once EC2
//! has refused one, the calls of an action that a process makes to one account and Region queue up in one lane: it slows
//! down with each refusal, and speeds up with time.
//!
//! Nobody stands there for long: what was to be ended is looked at anew, and the locks too, and asked for again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::interceptors::InterceptorContext;
use aws_sdk_ec2::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_sdk_ec2::operation::describe_client_vpn_connections::DescribeClientVpnConnectionsError;
use aws_sdk_ec2::operation::terminate_client_vpn_connections::TerminateClientVpnConnectionsError;
use aws_smithy_runtime_api::client::retries::classifiers::RetryClassifierPriority;
use revocation::ports::{VpnError, VpnErrorKind};

use crate::aws;

/// What EC2 bears of an action, and how long a call of it may wait.
#[derive(Debug, Clone, Copy)]
struct Bearable {
    /// Between two calls when one was refused, at the least.
    shortest: Duration,
    /// And at the most.
    longest: Duration,
    /// How long a call may wait in its lane, its retries included.
    patience: Duration,
}

/// Five a second are what EC2 gives. Somebody restored while a call waits is to be left alone, and only a new look tells.
const TERMINATE: Bearable = Bearable {
    shortest: Duration::from_millis(100),
    longest: Duration::from_secs(8),
    patience: Duration::from_secs(5),
};

/// Twenty a second are. A page that is given up is asked for again with all those before it, so that it may wait longer;
/// but what else is listed waits for it.
const LIST: Bearable = Bearable {
    shortest: Duration::from_millis(25),
    longest: Duration::from_secs(2),
    patience: Duration::from_secs(10),
};

/// How long it takes until a lane goes twice as fast. Several environments that don't know of each other use all that EC2
/// gives in this way, and are refused for one call in five.
const HALVES: Duration = Duration::from_secs(6);

/// No pause is longer than this before it is looked at again.
const STEP: Duration = Duration::from_secs(1);

/// EC2 for calls that go through a [`Lane`].
pub(super) fn client(client: &Client) -> Client {
    Client::from_conf(client.config().to_builder().retry_classifier(NoRetryOfThrottled).build())
}

/// The lane through which the calls of an action to one account and Region go.
#[derive(Debug)]
pub(super) struct Lane {
    pace: Mutex<Pace>,
    /// Held by whoever is next.
    first: tokio::sync::Mutex<()>,
    patience: Duration,
}

impl Lane {
    pub(super) fn of_terminate_calls() -> Self {
        Self::new(TERMINATE)
    }

    pub(super) fn of_listings() -> Self {
        Self::new(LIST)
    }

    fn new(bearable: Bearable) -> Self {
        Self {
            pace: Mutex::new(Pace::new(bearable)),
            first: tokio::sync::Mutex::default(),
            patience: bearable.patience,
        }
    }

    /// Makes a call when it is its turn, and again where EC2 refused it for coming too soon, while there is time. Nothing
    /// if its turn never came.
    pub(super) async fn call<T, Answer>(
        &self,
        client: &Client,
        make: impl Fn() -> Answer,
    ) -> Option<Result<T, VpnError>>
    where
        Answer: Future<Output = Result<T, VpnError>>,
    {
        let until = now(client) + self.patience;
        let mut answer = None;
        while let Some(made_at) = self.turn(client, until).await {
            match make().await {
                Err(error) if error.kind == VpnErrorKind::Throttled => {
                    self.is_too_fast(client, made_at);
                    answer = Some(Err(error));
                }
                other => return Some(other),
            }
        }
        answer
    }

    /// Waits until it is a call's turn; when that was, if it came.
    async fn turn(&self, client: &Client, until: SystemTime) -> Option<SystemTime> {
        let _first = self.first.lock().await;
        loop {
            let now = now(client);
            if now > until {
                return None;
            }
            let wait = self.change(|pace| {
                let wait = pace.wait(now);
                if wait.is_zero() {
                    pace.goes(now);
                }
                wait
            });
            if wait.is_zero() {
                return Some(now);
            }
            aws::pause(client.config().sleep_impl(), wait.min(STEP)).await;
        }
    }

    /// Takes note that a call was refused that had its turn then.
    fn is_too_fast(&self, client: &Client, made_at: SystemTime) {
        let gap = self.change(|pace| pace.refused(made_at, now(client)));
        tracing::info!(every_millis = gap.as_millis(), "EC2 asks to slow down");
    }

    fn change<T>(&self, change: impl FnOnce(&mut Pace) -> T) -> T {
        change(&mut self.pace.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// As the SDK has the time.
fn now(client: &Client) -> SystemTime {
    client.config().time_source().map_or_else(SystemTime::now, |time| time.now())
}

/// How fast a lane goes.
#[derive(Debug, Clone)]
struct Pace {
    bearable: Bearable,
    /// Between two calls, as of `known_at`; zero where none was refused lately.
    gap: Duration,
    known_at: Option<SystemTime>,
    /// When the last went.
    last: Option<SystemTime>,
    /// When it was last made slower.
    slowed_at: Option<SystemTime>,
}

impl Pace {
    fn new(bearable: Bearable) -> Self {
        Self { bearable, gap: Duration::ZERO, known_at: None, last: None, slowed_at: None }
    }

    /// How long the next has to wait.
    fn wait(&mut self, now: SystemTime) -> Duration {
        self.fade(now);
        let since = self.last.map_or(Duration::MAX, |last| now.duration_since(last).unwrap_or_default());
        // A clock may count in milliseconds.
        Duration::from_millis(self.gap.saturating_sub(since).as_millis().try_into().unwrap_or(u64::MAX))
    }

    fn goes(&mut self, now: SystemTime) {
        self.fade(now);
        self.last = Some(now);
    }

    /// Slower, after a call that was made then. Those that were on their way together are refused together, which makes
    /// the lane slower once.
    fn refused(&mut self, made_at: SystemTime, now: SystemTime) -> Duration {
        self.fade(now);
        if self.slowed_at.is_none_or(|slowed_at| made_at > slowed_at) {
            self.slowed_at = Some(now);
            self.gap = (self.gap * 2).clamp(self.bearable.shortest, self.bearable.longest);
            self.last = Some(now);
        }
        self.gap
    }

    /// Faster with time.
    fn fade(&mut self, now: SystemTime) {
        let since = self.known_at.and_then(|known_at| now.duration_since(known_at).ok()).unwrap_or_default();
        if self.known_at.is_some_and(|known_at| now < known_at) {
            // The clock was set back: nobody waits until it has caught up.
            self.last = self.last.map(|_| now);
            self.slowed_at = None;
        }
        self.gap = self.gap.mul_f64(0.5_f64.powf(since.as_secs_f64() / HALVES.as_secs_f64()));
        if self.gap < self.bearable.shortest / 2 {
            self.gap = Duration::ZERO;
        }
        self.known_at = Some(now);
    }
}

/// Keeps the SDK from making throttled calls again: the [`Lane`] does that.
#[derive(Debug)]
struct NoRetryOfThrottled;

impl ClassifyRetry for NoRetryOfThrottled {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(Result::err);
        let error = error.and_then(|error| error.as_operation_error());
        let code = error.and_then(|error| {
            let ended = error.downcast_ref::<TerminateClientVpnConnectionsError>().map(|error| error.code());
            ended.or_else(|| error.downcast_ref::<DescribeClientVpnConnectionsError>().map(|error| error.code()))
        });
        match code.map(|code| super::kind(code, true)) {
            Some(VpnErrorKind::Throttled) => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "throttled calls go through their lane"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHORTEST: Duration = TERMINATE.shortest;
    const LONGEST: Duration = TERMINATE.longest;

    fn pace() -> Pace {
        Pace::new(TERMINATE)
    }

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_770_000_000_000 + millis)
    }

    fn slow(pace: &mut Pace, refusals: u64) -> u64 {
        for number in 0..refusals {
            pace.refused(at(number), at(number));
        }
        refusals
    }

    #[test]
    fn nobody_waits_where_none_was_refused() {
        let mut pace = pace();
        for _ in 0..100 {
            assert_eq!(pace.wait(at(0)), Duration::ZERO);
            pace.goes(at(0));
        }
    }

    #[test]
    fn those_on_their_way_together_make_the_row_slower_once() {
        let mut pace = pace();
        assert_eq!([pace.refused(at(0), at(30)), pace.refused(at(1), at(30))], [SHORTEST, SHORTEST]);
        assert_eq!(pace.refused(at(30), at(30)), SHORTEST, "made when it was not slow yet");
        assert_eq!(pace.refused(at(31), at(30)), 2 * SHORTEST);
    }

    #[test]
    fn the_next_goes_when_the_pause_is_over() {
        let mut pace = pace();
        let now = slow(&mut pace, 4);
        let wait = pace.wait(at(now));
        assert!(wait > 7 * SHORTEST && wait <= 8 * SHORTEST, "{wait:?}");
        assert_eq!(pace.wait(at(now + 800)), Duration::ZERO);
        pace.goes(at(now + 800));
        assert!(pace.wait(at(now + 800)) > 6 * SHORTEST);
    }

    #[test]
    fn the_row_goes_twice_as_fast_after_a_while_and_as_ever_in_the_end() {
        let mut pace = pace();
        let now = slow(&mut pace, 20);
        assert!(pace.gap <= LONGEST && pace.gap > LONGEST * 99 / 100);
        pace.fade(at(now + 6_000));
        assert!(pace.gap.abs_diff(LONGEST / 2) < SHORTEST, "{:?}", pace.gap);
        pace.fade(at(now + 60_000));
        assert_eq!(pace.gap, Duration::ZERO);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting_and_no_refusal_from_counting() {
        let mut pace = pace();
        pace.refused(at(100_000), at(100_000));
        assert_eq!(pace.wait(at(0)), SHORTEST);
        assert_eq!(pace.wait(at(100)), Duration::ZERO);
        pace.goes(at(100));
        assert!(pace.refused(at(100), at(110)) > SHORTEST);
    }

    proptest! {
        #[test]
        fn however_it_goes_the_next_goes_after_the_longest_pause(
            bearable in prop::sample::select(vec![TERMINATE, LIST]),
            steps in prop::collection::vec((0_u64..9_000, any::<bool>(), any::<bool>()), 0..200),
        ) {
            let (mut pace, mut now) = (Pace::new(bearable), 1_000_000);
            for (pause, is_set_back, is_refused) in steps {
                now = if is_set_back { now - pause } else { now + pause };
                match is_refused {
                    true => drop(pace.refused(at(now), at(now))),
                    false => pace.goes(at(now)),
                }
                let mut later = pace.clone();
                later.wait(at(now));
                let longest = u64::try_from(bearable.longest.as_millis()).unwrap();
                prop_assert_eq!(later.wait(at(now + longest)), Duration::ZERO);
            }
        }
    }
}
