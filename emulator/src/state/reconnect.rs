//! Clients that come back by themselves.
//!
//! Terminating a connection disconnects a client and does not keep it out: OpenVPN clients connect again within
//! seconds unless authentication or the connect handler stops them.

use std::time::Duration;

use super::connections::NewConnection;
use super::world::World;
use crate::clock::millis;
use crate::connect_handler::{ConnectAsk, ConnectRequest, ask};
use crate::state::Shared;

/// A denied client that came back with no pause at all would knock for ever within one look at the clock.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);

/// A client at the door.
#[derive(Debug, Clone)]
pub(crate) struct Knock {
    pub(crate) at: i64,
    pub(crate) endpoint_id: String,
    pub(crate) client: NewConnection,
}

impl Shared {
    /// Brings the world up to the present: every client that is due comes back, in the order of time, so that a
    /// handler is asked in the order in which clients knocked. Returns the present.
    pub(crate) fn settle(&self) -> i64 {
        let now = self.now();
        // The world is locked anew for each client: the handler is asked in between, without a lock.
        while let Some(knock) = self.take_due(now) {
            if self.admit(&knock).is_err() {
                let delay = knock.client.reconnects_after.unwrap_or_default().max(SHORTEST_RETRY);
                let at = knock.at.saturating_add(millis(delay));
                let mut world = self.lock();
                // Unless the endpoint went while the handler was thinking.
                if world.endpoints.contains_key(&knock.endpoint_id) {
                    world.returning.push(Knock { at, ..knock });
                }
            }
        }
        now
    }

    fn take_due(&self, now: i64) -> Option<Knock> {
        let mut world = self.lock();
        let due = |(_, knock): &(usize, &Knock)| knock.at <= now;
        let (index, _) = world.returning.iter().enumerate().filter(due).min_by_key(|(_, knock)| knock.at)?;
        Some(world.returning.remove(index))
    }

    /// Asks the connect handler, if there is one, and makes the connection. The error is what a denied client sees.
    pub(crate) fn admit(&self, knock: &Knock) -> Result<String, (String, String)> {
        let (handler, request) = {
            let mut world = self.lock();
            (world.handler.clone(), connect_request(&mut world, knock))
        };
        let connection_id = request.connection_id.clone();
        let Some(handler) = handler else {
            self.lock().establish(knock, connection_id.clone(), Vec::new());
            return Ok(connection_id);
        };
        let answer = ask(&handler, &request);
        let mut world = self.lock();
        let message = if answer.allow { String::new() } else { answer.error_msg_on_denied_connection };
        let asked = ConnectAsk { at_millis: knock.at, request, allowed: answer.allow, message: message.clone() };
        world.handler_requests.push(asked);
        if !answer.allow {
            return Err((connection_id, message));
        }
        world.establish(knock, connection_id.clone(), answer.posture_compliance_statuses);
        Ok(connection_id)
    }
}

fn connect_request(world: &mut World, knock: &Knock) -> ConnectRequest {
    ConnectRequest {
        connection_id: world.ids.connection(),
        endpoint_id: knock.endpoint_id.clone(),
        common_name: knock.client.common_name.clone().unwrap_or_default(),
        username: knock.client.username.clone().unwrap_or_default(),
        platform: "linux".into(),
        platform_version: String::new(),
        public_ip: "203.0.113.7".into(),
        client_openvpn_version: "2.6.12".into(),
        groups: String::new(),
        schema_version: "v2".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clock::ManualClock;
    use crate::connect_handler::{ConnectAnswer, ConnectHandler};
    use crate::state::world::tests::shared;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn comes_back(shared: &Shared, clock: &ManualClock, user: &str, after: u64) -> String {
        let client = NewConnection::user(user).reconnects_after(secs(after));
        let knock = Knock { at: shared.now(), endpoint_id: "cvpn-endpoint-1".into(), client };
        let id = shared.admit(&knock).unwrap();
        clock.advance(secs(1));
        id
    }

    fn end(shared: &Shared, id: &str) {
        let now = shared.settle();
        shared.lock().end(id, now, now);
    }

    fn users(shared: &Shared) -> Vec<String> {
        shared.settle();
        let now = shared.now();
        let world = shared.lock();
        let alive = world.connections.iter().filter(|connection| connection.status(now).is_alive());
        alive.filter_map(|connection| connection.client.username.clone()).collect()
    }

    #[test]
    fn a_client_comes_back_under_a_new_id_every_time() {
        let (shared, clock) = shared();
        let first = comes_back(&shared, &clock, "alice", 5);
        end(&shared, &first);
        clock.advance(secs(4));
        assert!(users(&shared).is_empty());
        clock.advance(secs(1));
        assert_eq!(users(&shared), ["alice"]);
        let second = shared.lock().connections.last().unwrap().id.clone();
        assert_ne!(first, second);
        end(&shared, &second);
        clock.advance(secs(5));
        assert_eq!(users(&shared), ["alice"]);
    }

    #[test]
    fn clients_that_are_due_knock_in_the_order_of_time() {
        let (shared, clock) = shared();
        let (slow, fast) = (comes_back(&shared, &clock, "slow", 30), comes_back(&shared, &clock, "fast", 20));
        end(&shared, &slow);
        end(&shared, &fast);
        clock.advance(secs(60));
        assert_eq!(users(&shared), ["fast", "slow"]);
    }

    #[test]
    fn a_denied_client_knocks_again_until_it_is_let_in() {
        let (shared, clock) = shared();
        let id = comes_back(&shared, &clock, "alice", 10);
        let asked = Arc::new(AtomicUsize::new(0));
        let handler: ConnectHandler = Arc::new({
            let asked = Arc::clone(&asked);
            move |_| match asked.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => ConnectAnswer::deny("not today"),
                _ => ConnectAnswer::allow(),
            }
        });
        shared.lock().handler = Some(handler);
        end(&shared, &id);
        clock.advance(secs(20));
        assert!(users(&shared).is_empty());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        clock.advance(secs(10));
        assert_eq!(users(&shared), ["alice"]);
        let log = shared.lock().handler_requests.clone();
        assert_eq!(log.iter().map(|ask| ask.allowed).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(log[1].at_millis - log[0].at_millis, 10_000);
        assert_eq!(log[0].message, "not today");
    }

    #[test]
    fn a_client_without_a_pause_does_not_knock_for_ever() {
        let (shared, clock) = shared();
        let id = comes_back(&shared, &clock, "alice", 0);
        shared.lock().handler = Some(Arc::new(|_| ConnectAnswer::deny("no")));
        end(&shared, &id);
        clock.advance(secs(3));
        assert!(users(&shared).is_empty());
        assert_eq!(shared.lock().handler_requests.len(), 4);
    }

    #[test]
    fn a_handler_may_look_at_the_emulator() {
        let (shared, clock) = shared();
        let shared = Arc::new(shared);
        let id = comes_back(&shared, &clock, "alice", 1);
        let world = Arc::clone(&shared);
        shared.lock().handler = Some(Arc::new(move |_| {
            world.settle();
            if world.lock().connections.is_empty() { ConnectAnswer::deny("") } else { ConnectAnswer::allow() }
        }));
        end(&shared, &id);
        clock.advance(secs(1));
        assert_eq!(users(&shared), ["alice"]);
        shared.lock().handler = None;
    }

    #[test]
    fn nobody_comes_back_to_an_endpoint_that_is_gone() {
        let (shared, clock) = shared();
        let id = comes_back(&shared, &clock, "alice", 1);
        end(&shared, &id);
        shared.lock().remove_endpoint("cvpn-endpoint-1");
        clock.advance(secs(9));
        assert!(users(&shared).is_empty());
    }
}
