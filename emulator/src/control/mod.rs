//! The control API: what a library user does with [`crate::Emulator`], for other processes.

mod bodies;
mod fields;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::emulator::{connect, connections, endpoints};
use crate::error::EmulatorError;
use crate::server::respond;
use crate::state::Shared;

pub use bodies::Seed;
pub use fields::FieldError;

/// What can be asked under `/_emulator`.
pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/state", get(state))
        .route("/endpoints", post(add_endpoint))
        .route("/connections", post(add_connection))
        .route("/faults", post(add_fault).delete(clear_faults))
        .route("/clock", post(advance))
        .route("/requests", get(requests).delete(clear_requests))
}

type Answer = Result<Value, EmulatorError>;

async fn state(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let connections = connections(&shared);
    let state = json!({
        "now_millis": shared.now(),
        "endpoints": endpoints(&shared),
        "connections": connections,
        "connect_handler_requests": shared.lock().handler_requests,
    });
    write(&shared, Ok(state))
}

async fn add_endpoint(State(shared): State<Arc<Shared>>, body: Bytes) -> Response<Body> {
    let add = || -> Answer {
        let endpoint = bodies::endpoint(fields::document(&body)?)?;
        let now = shared.settle();
        Ok(json!({ "endpoint_id": shared.lock().add_endpoint(endpoint, now) }))
    };
    write(&shared, add())
}

async fn add_connection(State(shared): State<Arc<Shared>>, body: Bytes) -> Response<Body> {
    let add = || -> Answer {
        let (endpoint_id, client) = bodies::connection(fields::document(&body)?)?;
        Ok(json!({ "connection_id": connect(&shared, &endpoint_id, client)? }))
    };
    write(&shared, add())
}

async fn add_fault(State(shared): State<Arc<Shared>>, body: Bytes) -> Response<Body> {
    let add = || -> Answer {
        let fault = bodies::fault(fields::document(&body)?)?;
        shared.lock().faults.add(fault);
        Ok(json!({}))
    };
    write(&shared, add())
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> Response<Body> {
    shared.lock().faults.clear();
    write(&shared, Ok(json!({})))
}

async fn advance(State(shared): State<Arc<Shared>>, body: Bytes) -> Response<Body> {
    let advance = || -> Answer {
        shared.advance(bodies::advance(fields::document(&body)?)?);
        Ok(json!({ "now_millis": shared.settle() }))
    };
    write(&shared, advance())
}

async fn requests(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let requests = json!({ "requests": shared.lock().requests });
    write(&shared, Ok(requests))
}

async fn clear_requests(State(shared): State<Arc<Shared>>) -> Response<Body> {
    shared.lock().requests.clear();
    write(&shared, Ok(json!({})))
}

/// 200 with the value; 400 naming the field; 404 or 409 when the state of the world stands in the way.
fn write(shared: &Shared, answer: Answer) -> Response<Body> {
    let (status, value) = match answer {
        Ok(value) => (200, value),
        Err(error) => {
            let mut value = json!({ "error": error.to_string() });
            let status = match &error {
                EmulatorError::Field(field) => {
                    value = json!({ "error": error.to_string(), "field": field.field });
                    400
                }
                EmulatorError::UnknownEndpoint(_) | EmulatorError::UnknownConnection(_) => 404,
                EmulatorError::NoAssociation(_) | EmulatorError::Denied { .. } | EmulatorError::Bind { .. } => 409,
            };
            (status, value)
        }
    };
    let request_id = shared.lock().ids.request();
    respond(status, "application/json", &request_id, value.to_string().into_bytes())
}
