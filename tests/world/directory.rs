//! IAM Identity Center's identity store on loopback: DescribeUser and ListUsers, as the SDK asks for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

pub const STORE: &str = "d-1234567890";

type Users = Arc<Mutex<BTreeMap<String, Value>>>;

/// An identity store.
pub struct Directory {
    pub url: String,
    users: Users,
}

impl Directory {
    pub async fn start() -> Self {
        let users = Users::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&users));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, users }
    }

    pub fn put(&self, id: &str, name: &str, email: &str, status: &str) {
        let user = json!({
            "IdentityStoreId": STORE, "UserId": id, "UserName": name, "UserStatus": status,
            "Emails": [{"Value": email, "Type": "work", "Primary": true}],
        });
        self.users.lock().unwrap().insert(id.to_owned(), user);
    }

    pub fn delete(&self, id: &str) {
        self.users.lock().unwrap().remove(id);
    }
}

/// Two users to a page.
const PAGE: usize = 2;

async fn answer(State(users): State<Users>, headers: HeaderMap, body: String) -> Response {
    let request: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(request["IdentityStoreId"], STORE);
    let users = users.lock().unwrap();
    let answer = match headers["x-amz-target"].to_str().unwrap() {
        "AWSIdentityStore.DescribeUser" => match users.get(request["UserId"].as_str().unwrap()) {
            Some(user) => user.clone(),
            None => {
                let error = json!({"__type": "ResourceNotFoundException", "Message": "USER not found.", "ResourceType": "USER"});
                return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
            }
        },
        "AWSIdentityStore.ListUsers" => {
            let from: usize = request["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let page: Vec<&Value> = users.values().skip(from).take(PAGE).collect();
            let mut answer = json!({"Users": page});
            if users.len() > from + PAGE {
                answer["NextToken"] = json!((from + PAGE).to_string());
            }
            answer
        }
        other => panic!("{other} is not asked of an identity store"),
    };
    ([("content-type", "application/x-amz-json-1.1")], answer.to_string()).into_response()
}
