//! HTTP on loopback.

mod ec2;
mod transport;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::routing::any;
use tokio::net::TcpListener;

use crate::control;
use crate::state::Shared;
use transport::{HangUp, HangUpListener};

/// Serves until the emulator stops.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut stopping = shared.stopping.subscribe();
    let router = Router::new()
        .nest("/_emulator", control::router())
        .route("/", any(ec2::serve))
        .fallback(ec2::elsewhere)
        .with_state(shared);
    let service = router.into_make_service_with_connect_info::<HangUp>();
    let stopped = async move {
        // An error means that the emulator is gone, which is as good a reason to stop.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    // `axum::serve` retries what can be retried and never ends with an error.
    let _ = axum::serve(HangUpListener(listener), service).with_graceful_shutdown(stopped).await;
}

/// An answer, built so that nothing in it can fail.
pub(crate) fn respond(status: u16, content_type: &'static str, request_id: &str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
