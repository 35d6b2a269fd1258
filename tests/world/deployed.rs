//! The deployed functions, and what else of AWS the command line asks: Lambda, SQS and STS on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use revocation::ports::Clock;
use serde_json::{Value, json};
use vpn_revoker::{App, ConnectApp};

use super::{ACCOUNT, AUDIT, LOCKS, REGION, World, call};

pub const FUNCTION: &str = "vpn-revoker-revoker";
pub const HANDLER: &str = "AWSClientVPN-vpn-revoker";
pub const QUEUE: &str = "vpn-revoker-signals";
pub const DEAD_LETTERS: &str = "vpn-revoker-dead-letters";

/// A function's ARN.
pub fn arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

struct Shared {
    app: App,
    door: ConnectApp,
    clock: Arc<dyn Clock>,
    invokes: AtomicUsize,
    /// How often it was asked what there is, or how it is configured.
    looks: AtomicUsize,
    functions: Mutex<BTreeMap<String, Value>>,
    /// How many messages are in each queue.
    depths: Mutex<BTreeMap<String, u64>>,
    /// The alias of the connect handler for which executions are kept running.
    kept_warm: Mutex<Option<String>>,
    /// The state of the queue's mapping; none where there is no mapping.
    feeds: Mutex<Option<&'static str>>,
    /// Functions whose environment whoever asks may not read.
    sealed: Mutex<BTreeSet<String>>,
    /// Lambda cuts the function off.
    cut_off: AtomicBool,
}

/// Everything of a deployment that is not Client VPN and not a table.
pub struct Deployed {
    pub url: String,
    shared: Arc<Shared>,
}

impl Deployed {
    /// The stack, its function with variables over the defaults.
    pub async fn start(world: &World, variables: &[(&str, &str)]) -> Self {
        let tables = [("VPN_REVOKER_LOCKS_TABLE", LOCKS), ("VPN_REVOKER_AUDIT_TABLE", AUDIT)];
        let environment = |more: &[(&str, &str)]| -> Value {
            tables.iter().chain(more).map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
        };
        let functions = BTreeMap::from([
            (FUNCTION.to_owned(), environment(variables)),
            (HANDLER.to_owned(), environment(&[])),
            ("somebody-elses".to_owned(), json!({"GREETING": "hello"})),
        ]);
        let shared = Arc::new(Shared {
            app: world.app(variables),
            door: world.door(&[]),
            clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
            invokes: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
            functions: Mutex::new(functions),
            depths: Mutex::new(BTreeMap::from([(QUEUE.to_owned(), 0), (DEAD_LETTERS.to_owned(), 0)])),
            kept_warm: Mutex::default(),
            feeds: Mutex::new(Some("Enabled")),
            sealed: Mutex::default(),
            cut_off: AtomicBool::new(false),
        });
        let routes = Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .route("/2015-03-31/functions/{name}/configuration", get(configuration))
            .route("/2015-03-31/functions", get(functions_there))
            .route("/2015-03-31/event-source-mappings", get(mappings))
            .route("/2019-09-30/functions/{name}/provisioned-concurrency", get(provisioned))
            .route("/", post(queue_or_token))
            .with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, shared }
    }

    /// How often a function was invoked.
    pub fn invokes(&self) -> usize {
        self.shared.invokes.load(Ordering::SeqCst)
    }

    /// How often functions were listed, or one was asked for its configuration.
    pub fn looks(&self) -> usize {
        self.shared.looks.load(Ordering::SeqCst)
    }

    /// Another function stands beside, with this environment.
    pub fn also(&self, name: &str, environment: Value) {
        self.shared.functions.lock().unwrap().insert(name.to_owned(), environment);
    }

    /// A function is no more.
    pub fn without(&self, name: &str) {
        self.shared.functions.lock().unwrap().remove(name);
    }

    /// So many messages are in a queue.
    pub fn holds(&self, queue: &str, messages: u64) {
        self.shared.depths.lock().unwrap().insert(queue.to_owned(), messages);
    }

    /// Executions of the connect handler are kept running, under this alias.
    pub fn keeps_warm(&self, alias: &str) {
        *self.shared.kept_warm.lock().unwrap() = Some(alias.to_owned());
    }

    /// Lambda cuts the function off, once it has done what it was sent.
    pub fn cuts_off(&self) {
        self.shared.cut_off.store(true, Ordering::SeqCst);
    }

    /// No queue feeds the function any more.
    pub fn starves(&self) {
        *self.shared.feeds.lock().unwrap() = None;
    }

    /// The queue's mapping is in this state.
    pub fn feeding(&self, state: &'static str) {
        *self.shared.feeds.lock().unwrap() = Some(state);
    }

    /// A function's environment is encrypted by a key that whoever asks may not use.
    pub fn seals(&self, name: &str) {
        self.shared.sealed.lock().unwrap().insert(name.to_owned());
    }
}

type Answer = (StatusCode, HeaderMap, String);

fn answer(value: &Value) -> Answer {
    (StatusCode::OK, HeaderMap::new(), value.to_string())
}

fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("x-amzn-errortype", code.parse().unwrap());
    (status, headers, json!({"Message": message, "__type": code}).to_string())
}

fn missing() -> Answer {
    error(StatusCode::NOT_FOUND, "ResourceNotFoundException", "Function not found")
}

/// A function's name in a name or an ARN.
fn name_in(text: &str) -> &str {
    text.split(':').nth(6).unwrap_or(text)
}

impl Shared {
    fn described(&self, name: &str, environment: &Value) -> Value {
        let environment = match self.sealed.lock().unwrap().contains(name) {
            true => json!({"Error": {"ErrorCode": "AccessDeniedException", "Message": "Lambda was unable to decrypt"}}),
            false => json!({"Variables": environment}),
        };
        json!({"FunctionName": name, "FunctionArn": arn(name), "Environment": environment})
    }
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
async fn invoke(State(shared): State<Arc<Shared>>, Path(name): Path<String>, body: Bytes) -> Answer {
    let name = name_in(&name);
    if !shared.functions.lock().unwrap().contains_key(name) {
        return missing();
    }
    shared.invokes.fetch_add(1, Ordering::SeqCst);
    if name.starts_with("AWSClientVPN-") {
        return answer(&json!(shared.door.invoke(&body).await));
    }
    match shared.app.invoke(&body, &call(shared.clock.now())).await {
        _ if shared.cut_off.load(Ordering::SeqCst) => {
            failed("Sandbox.Timedout", "RequestId: 8476a536 Error: Task timed out after 120.00 seconds")
        }
        Ok(receipt) => answer(&receipt),
        Err(failure) => failed(failure.error_type, &failure.message),
    }
}

fn failed(error_type: &str, message: &str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-function-error", "Unhandled".parse().unwrap());
    (StatusCode::OK, headers, json!({"errorType": error_type, "errorMessage": message}).to_string())
}

async fn configuration(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Answer {
    shared.looks.fetch_add(1, Ordering::SeqCst);
    let name = name_in(&name);
    match shared.functions.lock().unwrap().get(name) {
        Some(environment) => answer(&shared.described(name, environment)),
        None => missing(),
    }
}

async fn functions_there(State(shared): State<Arc<Shared>>) -> Answer {
    shared.looks.fetch_add(1, Ordering::SeqCst);
    let functions = shared.functions.lock().unwrap();
    let all: Vec<Value> = functions.iter().map(|(name, environment)| shared.described(name, environment)).collect();
    answer(&json!({"Functions": all}))
}

async fn mappings(State(shared): State<Arc<Shared>>, Query(query): Query<BTreeMap<String, String>>) -> Answer {
    assert_eq!(name_in(&query["FunctionName"]), FUNCTION, "its own, and not those of the whole account");
    let arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{QUEUE}");
    let state = *shared.feeds.lock().unwrap();
    let mappings: Vec<Value> =
        state.into_iter().map(|state| json!({"UUID": "1", "EventSourceArn": arn, "State": state})).collect();
    answer(&json!({"EventSourceMappings": mappings}))
}

async fn provisioned(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Answer {
    let kept = shared.kept_warm.lock().unwrap().clone();
    let kept = kept.map(|alias| json!({"FunctionArn": format!("{}:{alias}", arn(&name))}));
    answer(&json!({"ProvisionedConcurrencyConfigs": kept.into_iter().collect::<Vec<_>>()}))
}

/// SQS says in a header what is asked, STS in the body.
async fn queue_or_token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Answer {
    let Some(target) = headers.get("x-amz-target") else {
        if body.contains("Action=AssumeRole") {
            let xml = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>it trusts the function alone</Message></Error></ErrorResponse>";
            return (StatusCode::FORBIDDEN, HeaderMap::new(), xml.to_owned());
        }
        assert!(body.contains("Action=GetCallerIdentity"), "{body}");
        let arn = format!("arn:aws:sts::{ACCOUNT}:assumed-role/security-on-call/jane");
        let xml = format!(
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{arn}</Arn><Account>{ACCOUNT}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
        );
        return (StatusCode::OK, HeaderMap::new(), xml);
    };
    let asked: Value = serde_json::from_str(&body).unwrap();
    match target.to_str().unwrap() {
        "AmazonSQS.GetQueueUrl" => {
            let name = asked["QueueName"].as_str().unwrap();
            answer(&json!({"QueueUrl": format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}")}))
        }
        "AmazonSQS.GetQueueAttributes" => {
            let name = asked["QueueUrl"].as_str().unwrap().rsplit('/').next().unwrap();
            let depth = shared.depths.lock().unwrap()[name];
            let mut attributes = json!({
                "ApproximateNumberOfMessages": depth.to_string(),
                "ApproximateNumberOfMessagesNotVisible": "0",
            });
            if name == QUEUE {
                let target = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{DEAD_LETTERS}");
                attributes["RedrivePolicy"] =
                    json!(json!({"deadLetterTargetArn": target, "maxReceiveCount": 10}).to_string());
            }
            answer(&json!({"Attributes": attributes}))
        }
        other => panic!("{other}"),
    }
}
