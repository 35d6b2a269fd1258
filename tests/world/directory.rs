//! IAM Identity Center's identity store on loopback: DescribeUser, GetUserId and ListUsers, as the SDK asks for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

pub const STORE: &str = "d-1234567890";

#[derive(Default)]
struct Store {
    users: BTreeMap<String, Value>,
    /// The store itself can't be found.
    lost: bool,
}

type Shared = Arc<Mutex<Store>>;

/// An identity store.
pub struct Directory {
    pub url: String,
    store: Shared,
}

impl Directory {
    pub async fn start() -> Self {
        let store = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&store));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, store }
    }

    pub fn put(&self, id: &str, name: &str, email: &str, status: &str) {
        let user = json!({
            "IdentityStoreId": STORE, "UserId": id, "UserName": name, "UserStatus": status,
            "Emails": [{"Value": email, "Type": "work", "Primary": true}],
        });
        self.store.lock().unwrap().users.insert(id.to_owned(), user);
    }

    pub fn delete(&self, id: &str) {
        self.store.lock().unwrap().users.remove(id);
    }
}

impl Directory {
    /// From now on the store itself can't be found.
    pub fn lose_store(&self) {
        self.store.lock().unwrap().lost = true;
    }
}

fn not_found(what: &str) -> Response {
    let error =
        json!({"__type": "ResourceNotFoundException", "Message": format!("{what} not found."), "ResourceType": what});
    (StatusCode::BAD_REQUEST, error.to_string()).into_response()
}

/// Two users to a page.
const PAGE: usize = 2;

async fn answer(State(store): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let request: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(request["IdentityStoreId"], STORE);
    let store = store.lock().unwrap();
    if store.lost {
        return not_found("IDENTITY_STORE");
    }
    let users = &store.users;
    let answer = match headers["x-amz-target"].to_str().unwrap() {
        "AWSIdentityStore.DescribeUser" => match users.get(request["UserId"].as_str().unwrap()) {
            Some(user) => user.clone(),
            None => return not_found("USER"),
        },
        "AWSIdentityStore.GetUserId" => {
            let attribute = &request["AlternateIdentifier"]["UniqueAttribute"];
            let is = |value: &Value| {
                value.as_str().unwrap().eq_ignore_ascii_case(attribute["AttributeValue"].as_str().unwrap())
            };
            let has = |user: &&Value| match attribute["AttributePath"].as_str().unwrap() {
                "userName" => is(&user["UserName"]),
                "emails.value" => is(&user["Emails"][0]["Value"]),
                other => panic!("{other} is no unique attribute"),
            };
            match users.values().find(has) {
                Some(user) => json!({"IdentityStoreId": STORE, "UserId": user["UserId"]}),
                None => return not_found("USER"),
            }
        }
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
