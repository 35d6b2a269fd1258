//! Everything there is, behind one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::connections::{Connection, Ending, Failure};
use super::endpoints::{Endpoint, NewEndpoint};
use super::reconnect::Knock;
use crate::actions::Action;
use crate::buckets::Buckets;
use crate::builder::MAX_PAGE_SIZE;
use crate::clock::{Clock, millis};
use crate::connect_handler::{ConnectAsk, ConnectHandler};
use crate::faults::Faults;
use crate::ids::Ids;
use crate::protocol::paging::Tokens;
use crate::requests::RequestRecord;

/// What is fixed when the emulator starts.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) max_page_size: usize,
    pub(crate) terminate_delay: Duration,
    pub(crate) apply_delay: Duration,
    pub(crate) listing_lag: Duration,
    pub(crate) latency: Duration,
    pub(crate) buckets: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            region: "eu-west-1".into(),
            account: "123456789012".into(),
            max_page_size: MAX_PAGE_SIZE,
            terminate_delay: Duration::ZERO,
            apply_delay: Duration::ZERO,
            listing_lag: Duration::ZERO,
            latency: Duration::ZERO,
            buckets: false,
        }
    }
}

/// What the server, the control API and the library share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) tokens: Tokens,
    clock: Arc<dyn Clock>,
    /// Added to the clock, so that other processes can move any clock forward.
    offset: AtomicI64,
    world: Mutex<World>,
    /// Told whenever the log of requests has grown.
    pub(crate) served: watch::Sender<()>,
    /// Told when the emulator stops, so that a request that hangs lets go.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            tokens: Tokens::default(),
            clock,
            offset: AtomicI64::new(0),
            world: Mutex::default(),
            served: watch::Sender::new(()),
            stopping: watch::Sender::new(false),
        }
    }

    /// A panic elsewhere (a test's assertion, say) must not take the emulator down with it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now_millis().saturating_add(self.offset.load(Ordering::SeqCst))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.offset.fetch_add(millis(by), Ordering::SeqCst);
    }

    pub(crate) fn record(&self, record: RequestRecord) {
        self.lock().requests.push(record);
        self.served.send_replace(());
    }
}

/// What changes.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    /// In the order in which they were made.
    pub(crate) connections: Vec<Connection>,
    pub(crate) returning: Vec<Knock>,
    pub(crate) faults: Faults,
    pub(crate) buckets: Buckets,
    pub(crate) denied: BTreeSet<Action>,
    pub(crate) requests: Vec<RequestRecord>,
    pub(crate) handler: Option<ConnectHandler>,
    pub(crate) handler_requests: Vec<ConnectAsk>,
    pub(crate) ids: Ids,
    numbered: u64,
}

impl World {
    pub(crate) fn add_endpoint(&mut self, about: NewEndpoint, now: i64) -> String {
        let id = about.id.clone().unwrap_or_else(|| self.ids.endpoint());
        let (number, created_at) = match self.endpoints.get(&id) {
            Some(old) => (old.number, old.created_at),
            None => (self.number(), now),
        };
        self.endpoints.insert(id.clone(), Endpoint { number, id: id.clone(), created_at, applied_at: None, about });
        id
    }

    /// The endpoint, everybody on it and everybody on the way to it.
    pub(crate) fn remove_endpoint(&mut self, id: &str) -> bool {
        self.connections.retain(|connection| connection.endpoint_id != id);
        self.returning.retain(|knock| knock.endpoint_id != id);
        self.endpoints.remove(id).is_some()
    }

    /// Makes the connection. The endpoint may have gone while the handler was thinking: then nothing is made.
    pub(crate) fn establish(&mut self, knock: &Knock, id: String, posture: Vec<String>) {
        if !self.endpoints.contains_key(&knock.endpoint_id) {
            return;
        }
        let number = self.number();
        let established_at = knock.at.saturating_sub(millis(knock.client.established_ago));
        let mut client = knock.client.clone();
        // Only the first connection can have been made before anybody looked.
        client.established_ago = Duration::ZERO;
        self.connections.push(Connection {
            number,
            id,
            endpoint_id: knock.endpoint_id.clone(),
            client,
            posture,
            established_at,
            failed: None,
            ending: None,
        });
    }

    /// Ends a connection that is alive; its client comes back if it is of that kind.
    pub(crate) fn end(&mut self, id: &str, asked_at: i64, ended_at: i64) {
        let Some(connection) = self.connections.iter_mut().find(|connection| connection.id == id) else { return };
        connection.ending = Some(Ending { asked_at, ended_at });
        if let Some(delay) = connection.client.reconnects_after {
            self.returning.push(Knock {
                at: ended_at.saturating_add(millis(delay)),
                endpoint_id: connection.endpoint_id.clone(),
                client: connection.client.clone(),
            });
        }
    }

    /// Marks a connection that could not be ended.
    pub(crate) fn fail_to_end(&mut self, id: &str, at: i64, message: &str) {
        if let Some(connection) = self.connections.iter_mut().find(|connection| connection.id == id) {
            connection.failed = Some(Failure { at, message: message.to_owned() });
        }
    }

    fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::state::NewConnection;

    /// A world with one endpoint, `cvpn-endpoint-1`, on a clock that stands still.
    pub(crate) fn shared() -> (Shared, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        let shared = Shared::new(Settings::default(), Arc::clone(&clock) as Arc<dyn Clock>);
        shared.lock().add_endpoint(NewEndpoint::new("cvpn-endpoint-1"), clock.now_millis());
        (shared, clock)
    }

    #[test]
    fn an_endpoint_that_is_added_again_keeps_its_place_and_its_connections() {
        let (shared, _clock) = shared();
        let mut world = shared.lock();
        let client = NewConnection::user("alice");
        world.establish(
            &Knock { at: 0, endpoint_id: "cvpn-endpoint-1".into(), client },
            "cvpn-connection-1".into(),
            vec![],
        );
        world.add_endpoint(NewEndpoint::new("cvpn-endpoint-2"), 5);
        world.add_endpoint(NewEndpoint::new("cvpn-endpoint-1").description("again"), 9);
        assert_eq!(world.connections.len(), 1);
        assert!(world.endpoints["cvpn-endpoint-1"].number < world.endpoints["cvpn-endpoint-2"].number);
        assert_eq!(world.endpoints["cvpn-endpoint-1"].about.description.as_deref(), Some("again"));
    }

    #[test]
    fn removing_an_endpoint_removes_its_connections() {
        let (shared, _clock) = shared();
        let mut world = shared.lock();
        let client = NewConnection::user("alice");
        let knock = Knock { at: 0, endpoint_id: "cvpn-endpoint-1".into(), client };
        world.establish(&knock, "cvpn-connection-1".into(), vec![]);
        assert!(world.remove_endpoint("cvpn-endpoint-1"));
        assert!(!world.remove_endpoint("cvpn-endpoint-1"));
        world.establish(&knock, "cvpn-connection-2".into(), vec![]);
        assert!(world.connections.is_empty());
    }

    #[test]
    fn the_present_can_be_moved_on_any_clock() {
        let (shared, clock) = shared();
        let before = clock.now_millis();
        shared.advance(Duration::from_secs(3));
        assert_eq!(shared.now(), before + 3_000);
    }
}
