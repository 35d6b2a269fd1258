//! The handle that a test holds.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinHandle;

use crate::actions::Action;
use crate::builder::EmulatorBuilder;
use crate::connect_handler::{ConnectAnswer, ConnectAsk, ConnectRequest};
use crate::control::Seed;
use crate::error::EmulatorError;
use crate::faults::Fault;
use crate::requests::RequestRecord;
use crate::state::{Authentication, ConnectionView, Knock, NewConnection, NewEndpoint, Shared};

/// A running emulator. It stops when it is dropped.
pub struct Emulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: Option<JoinHandle<()>>,
}

/// An endpoint as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EndpointView {
    /// Its identifier.
    pub endpoint_id: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its status code.
    pub status: String,
    /// How clients prove who they are.
    pub authentication: Vec<Authentication>,
    /// Whether it has a target network.
    pub associated: bool,
    /// The Lambda function that is listed as its connect handler.
    pub connect_handler: Option<String>,
    /// `applying` while a change of that is on its way, `applied` otherwise.
    pub connect_handler_status: String,
}

impl Emulator {
    /// Sets an emulator up.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::new()
    }

    pub(crate) fn new(shared: Arc<Shared>, address: SocketAddr, server: JoinHandle<()>) -> Self {
        Self { shared, address, server: Some(server) }
    }

    /// `http://127.0.0.1:PORT`, to be used as the endpoint of EC2.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The Region it was set up with.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.shared.settings.region
    }

    /// Adds an endpoint and returns its identifier. One of the same identifier is replaced; its connections stay.
    pub fn add_endpoint(&self, endpoint: NewEndpoint) -> String {
        let now = self.shared.settle();
        self.shared.lock().add_endpoint(endpoint, now)
    }

    /// Removes an endpoint with all of its connections; says whether there was one.
    pub fn remove_endpoint(&self, endpoint_id: &str) -> bool {
        self.shared.settle();
        self.shared.lock().remove_endpoint(endpoint_id)
    }

    /// All endpoints, in the order in which they were added.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointView> {
        endpoints(&self.shared)
    }

    /// Connects a client and returns the identifier of the connection. The connect handler is asked, if there is one.
    ///
    /// # Errors
    /// When there is no such endpoint, when it has no target network, or when the handler denies the connection; a
    /// client that was denied here does not try again.
    pub fn connect(&self, endpoint_id: &str, client: NewConnection) -> Result<String, EmulatorError> {
        connect(&self.shared, endpoint_id, client)
    }

    /// The client hangs up: its connection has ended at once and does not come back.
    ///
    /// # Errors
    /// When there is no such connection. One that has ended already stays as it is.
    pub fn disconnect(&self, connection_id: &str) -> Result<(), EmulatorError> {
        let now = self.shared.settle();
        let mut world = self.shared.lock();
        let connection = world
            .connections
            .iter_mut()
            .find(|connection| connection.id == connection_id)
            .ok_or_else(|| EmulatorError::UnknownConnection(connection_id.to_owned()))?;
        connection.client.reconnects_after = None;
        if connection.status(now).is_alive() {
            world.end(connection_id, now, now);
        }
        Ok(())
    }

    /// All connections there ever were, those that left the listing too, in the order in which they were made.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionView> {
        connections(&self.shared)
    }

    /// The connections of this user name or common name whose tunnel is up and which nobody is ending.
    #[must_use]
    pub fn alive(&self, name: &str) -> Vec<ConnectionView> {
        let is = |field: &Option<String>| field.as_deref() == Some(name);
        let mut rows = self.connections();
        rows.retain(|row| row.status.is_alive() && (is(&row.username) || is(&row.common_name)));
        rows
    }

    /// Makes things go wrong.
    pub fn inject(&self, fault: Fault) {
        self.shared.lock().faults.add(fault);
    }

    /// Forgets all faults, the spent and the waiting.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Takes the permission for an action away: 403 `UnauthorizedOperation`.
    pub fn deny(&self, action: Action) {
        self.shared.lock().denied.insert(action);
    }

    /// Gives the permission back.
    pub fn permit(&self, action: Action) {
        self.shared.lock().denied.remove(&action);
    }

    /// Asks `handler` before any client is let in, on every endpoint, from now on.
    pub fn set_connect_handler(&self, handler: Arc<dyn Fn(&ConnectRequest) -> ConnectAnswer + Send + Sync>) {
        self.shared.settle();
        self.shared.lock().handler = Some(handler);
    }

    /// What the connect handler was asked and answered, in the order of asking.
    #[must_use]
    pub fn handler_requests(&self) -> Vec<ConnectAsk> {
        self.shared.settle();
        self.shared.lock().handler_requests.clone()
    }

    /// All requests to the EC2 API, in the order in which they took effect.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.lock().requests.clone()
    }

    /// Empties the log of requests; [`seen`](Self::seen) counts from nothing again.
    pub fn clear_requests(&self) {
        self.shared.lock().requests.clear();
    }

    /// Waits until `n` requests of this action have been served, from the start or from the last
    /// [`clear_requests`](Self::clear_requests). A request is served when its effect is done; its answer may still be
    /// on its way, by [`EmulatorBuilder::latency`] or for ever. One that was refused counts too.
    pub async fn seen(&self, action: impl AsRef<str>, n: usize) {
        let action = action.as_ref();
        let mut served = self.shared.served.subscribe();
        loop {
            let count = self.shared.lock().requests.iter().filter(|request| request.action == action).count();
            // An error would mean that the emulator is gone, and `self` proves that it is not.
            if count >= n || served.changed().await.is_err() {
                return;
            }
        }
    }

    /// The emulated time in milliseconds since 1970.
    #[must_use]
    pub fn now_millis(&self) -> i64 {
        self.shared.now()
    }

    /// Moves the emulated time forward, on any clock.
    pub fn advance(&self, by: Duration) {
        self.shared.advance(by);
    }

    /// Adds what a seed describes.
    ///
    /// # Errors
    /// When a connection cannot be made, see [`connect`](Self::connect). What came before it stays.
    pub fn seed(&self, seed: &Seed) -> Result<(), EmulatorError> {
        for endpoint in &seed.endpoints {
            self.add_endpoint(endpoint.clone());
        }
        for (endpoint_id, client) in &seed.connections {
            self.connect(endpoint_id, client.clone())?;
        }
        Ok(())
    }

    /// Stops and waits until the port is free. Requests that hang or wait are let go.
    pub async fn shutdown(mut self) {
        self.shared.stopping.send_replace(true);
        if let Some(server) = self.server.take() {
            // The server does not panic, and there is nobody left to tell if it did.
            let _ = server.await;
        }
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.shared.stopping.send_replace(true);
    }
}

pub(crate) fn connect(shared: &Shared, endpoint_id: &str, client: NewConnection) -> Result<String, EmulatorError> {
    let at = shared.settle();
    let associated = shared.lock().endpoints.get(endpoint_id).map(|endpoint| endpoint.about.associated);
    match associated {
        None => Err(EmulatorError::UnknownEndpoint(endpoint_id.to_owned())),
        Some(false) => Err(EmulatorError::NoAssociation(endpoint_id.to_owned())),
        Some(true) => shared
            .admit(&Knock { at, endpoint_id: endpoint_id.to_owned(), client })
            .map_err(|(connection_id, message)| EmulatorError::Denied { connection_id, message }),
    }
}

pub(crate) fn connections(shared: &Shared) -> Vec<ConnectionView> {
    let now = shared.settle();
    shared.lock().connections.iter().map(|connection| connection.view(now)).collect()
}

pub(crate) fn endpoints(shared: &Shared) -> Vec<EndpointView> {
    let now = shared.now();
    let world = shared.lock();
    let mut endpoints: Vec<_> = world.endpoints.values().collect();
    endpoints.sort_by_key(|endpoint| endpoint.number);
    endpoints
        .into_iter()
        .map(|endpoint| EndpointView {
            endpoint_id: endpoint.id.clone(),
            description: endpoint.about.description.clone(),
            status: endpoint.status().to_owned(),
            authentication: endpoint.about.authentication.clone(),
            associated: endpoint.about.associated,
            connect_handler: endpoint.about.connect_handler.clone(),
            connect_handler_status: endpoint.connect_handler_status(now).to_owned(),
        })
        .collect()
}
