//! One request to the EC2 API: read, judged, carried out, logged, answered.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, Response};

use super::respond;
use super::transport::HangUp;
use crate::actions::{Action, Call};
use crate::faults::FaultKind;
use crate::protocol::error::ApiError;
use crate::protocol::query::Query;
use crate::protocol::xml;
use crate::requests::RequestRecord;
use crate::state::Shared;

const XML: &str = "text/xml;charset=UTF-8";

/// Far above what 200 filter values need.
const LARGEST_BODY: usize = 1024 * 1024;

/// What is to be done with the TCP connection once a request has had its effect.
enum Reply {
    Answer { status: u16, code: Option<String>, body: Vec<u8> },
    HangUp,
    Hang,
}

impl Reply {
    fn refusal(error: ApiError, request_id: &str) -> Self {
        Self::Answer { status: error.status, body: xml::error(&error, request_id), code: Some(error.code) }
    }
}

/// The one address of the EC2 API.
pub(super) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(hang_up): ConnectInfo<HangUp>,
    request: Request,
) -> Response<Body> {
    let due = tokio::time::Instant::now() + shared.settings.latency;
    let request_id = shared.lock().ids.request();
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST && parts.method != Method::GET {
        let message = format!("{} is not a method of this service; use POST or GET", parts.method);
        return refuse(&ApiError::malformed(405, message), &request_id);
    }
    let body = match to_bytes(body, LARGEST_BODY).await {
        Ok(body) => body,
        Err(error) => {
            return refuse(&ApiError::malformed(400, format!("the body cannot be read: {error}")), &request_id);
        }
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default(), &body);

    // No lock and no borrow of the world may live across the waits below.
    let reply = carry_out(&shared, &query, &request_id);

    // The wait stands between the effect and the answer, so that a test which has seen the effect can still stop the
    // program under test before it learns of it. The work for the answer is part of it.
    if !shared.settings.latency.is_zero() {
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = stopped(&shared) => {}
        }
    }
    match reply {
        Reply::Answer { status, body, .. } => respond(status, XML, &request_id, body),
        Reply::HangUp => {
            hang_up.hang_up();
            respond(500, XML, &request_id, Vec::new())
        }
        Reply::Hang => {
            stopped(&shared).await;
            hang_up.hang_up();
            respond(500, XML, &request_id, Vec::new())
        }
    }
}

/// Until the emulator stops: no request may keep it from doing so.
async fn stopped(shared: &Shared) {
    // An error would mean that the emulator is gone, which is as good a reason.
    let _ = shared.stopping.subscribe().wait_for(|stopping| *stopping).await;
}

/// Any other address.
pub(super) async fn elsewhere(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let request_id = shared.lock().ids.request();
    let message = format!("there is nothing at {}; the EC2 API is at /", request.uri().path());
    refuse(&ApiError::malformed(404, message), &request_id)
}

fn refuse(error: &ApiError, request_id: &str) -> Response<Body> {
    respond(error.status, XML, request_id, xml::error(error, request_id))
}

/// Does what the request says, or what a fault makes of it, and writes it down.
fn carry_out(shared: &Shared, query: &Query, request_id: &str) -> Reply {
    let now = shared.settle();
    let (reply, fault) = match Action::from_name(&query.action) {
        Some(action) => act(shared, query, request_id, now, action),
        None if query.action.is_empty() => (Reply::refusal(ApiError::missing_parameter("Action"), request_id), None),
        None => (Reply::refusal(ApiError::invalid_action(&query.action), request_id), None),
    };
    let (status, code) = match &reply {
        Reply::Answer { status, code, .. } => (*status, code.clone()),
        Reply::HangUp | Reply::Hang => (0, None),
    };
    shared.record(RequestRecord {
        at_millis: now,
        action: query.action.clone(),
        parameters: query.parameters.clone(),
        status,
        code,
        fault: fault.map(|fault| fault.name()),
    });
    reply
}

fn act(shared: &Shared, query: &Query, request_id: &str, now: i64, action: Action) -> (Reply, Option<FaultKind>) {
    let fault = {
        let mut world = shared.lock();
        // A request that is turned away at the door meets no fault behind it.
        if shared.settings.buckets && !world.buckets.take(action, now) {
            return (Reply::refusal(ApiError::throttled(), request_id), None);
        }
        world.faults.next(action, &query.endpoints())
    };
    let run = || {
        let call = Call { shared, query, request_id, now, fault: fault.as_ref() };
        match call.run(action) {
            Ok(body) => Reply::Answer { status: 200, code: None, body },
            Err(error) => Reply::refusal(error, request_id),
        }
    };
    let reply = match &fault {
        Some(FaultKind::Error { status, code, message }) => {
            Reply::refusal(ApiError::new(*status, code, message), request_id)
        }
        Some(FaultKind::BareStatus(status)) => Reply::Answer { status: *status, code: None, body: Vec::new() },
        Some(FaultKind::Hang) => Reply::Hang,
        Some(FaultKind::LostAnswer) => {
            run();
            Reply::HangUp
        }
        _ => run(),
    };
    (reply, fault)
}
