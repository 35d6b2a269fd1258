//! AWS STS on loopback: AssumeRole, as the SDK asks for it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;

#[derive(Default)]
struct Shared {
    requests: Vec<String>,
    refused: Vec<String>,
    expires: Option<&'static str>,
}

/// A security token service.
pub struct Sts {
    pub url: String,
    shared: Arc<Mutex<Shared>>,
}

impl Sts {
    pub async fn start() -> Self {
        let shared = Arc::<Mutex<Shared>>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    /// Nobody may assume this role.
    pub fn refuse(&self, role: &str) {
        self.shared.lock().unwrap().refused.push(encoded(role));
    }

    /// Credentials run out then; far in the future otherwise.
    pub fn expires(&self, at: &'static str) {
        self.shared.lock().unwrap().expires = Some(at);
    }

    /// The bodies of all requests.
    pub fn requests(&self) -> Vec<String> {
        self.shared.lock().unwrap().requests.clone()
    }
}

/// As it stands in a form.
fn encoded(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

async fn answer(State(shared): State<Arc<Mutex<Shared>>>, body: String) -> Response {
    let (refused, expires) = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push(body.clone());
        let refused = shared.refused.iter().any(|role| body.contains(role));
        (refused, shared.expires.unwrap_or("2999-01-01T00:00:00Z"))
    };
    assert!(body.contains("Action=AssumeRole&"), "{body}");
    if refused {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>";
        return (StatusCode::FORBIDDEN, error).into_response();
    }
    let answer = format!(
        "<AssumeRoleResponse><AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROADEMO:vpn-revoker</AssumedRoleId><Arn>arn:aws:sts::444455556666:assumed-role/vpn/vpn-revoker</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIADEMO</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken><Expiration>{expires}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    );
    ([("content-type", "text/xml")], answer).into_response()
}
