//! AWS as the functions reach it: the Client VPN emulator and a DynamoDB engine, the latter behind a relay that sees
//! what is asked, and makes it wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client_vpn_emulator::{Authentication, Emulator, EmulatorBuilder, NewConnection, NewEndpoint};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const REGION: &str = "eu-west-1";
pub const LOCKS: &str = "locks";
pub const AUDIT: &str = "audit";

/// AWS in one account and Region.
pub struct Aws {
    pub emulator: Emulator,
    pub database: dynoxide::Database,
    pub relay: Relay,
    endpoints: Vec<String>,
}

impl Aws {
    /// With so many endpoints, and so much time on every call.
    pub async fn start(
        endpoints: usize,
        latency: Duration,
        adjust: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder,
    ) -> Self {
        let emulator = adjust(Emulator::builder().region(REGION).latency(latency)).start().await.expect("a port");
        let federated = || NewEndpoint::generated().authentication(&[Authentication::Federated]);
        let endpoints = (0..endpoints).map(|_| emulator.add_endpoint(federated())).collect();
        let database = dynoxide::Database::memory().expect("memory");
        create_tables(&database);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let engine = listener.local_addr().expect("an address").to_string();
        tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
        let relay = Relay::to(engine, latency).await;
        Self { emulator, database, relay, endpoints }
    }

    /// A user's connection on one of the endpoints.
    pub fn connect(&self, endpoint: usize, user: &str) -> String {
        self.emulator.connect(&self.endpoints[endpoint], NewConnection::user(user)).expect("the endpoint is there")
    }

    /// So many people who have nothing to do with anything, on every endpoint.
    pub fn crowd(&self, people: usize) {
        for endpoint in 0..self.endpoints.len() {
            for number in 0..people {
                self.connect(endpoint, &format!("colleague-{endpoint}-{number}@example.com"));
            }
        }
    }

    /// What a function has to know to find all this, and whatever else it is told.
    pub fn variables(&self, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let found = [
            ("AWS_ENDPOINT_URL_DYNAMODB", self.relay.url.clone()),
            ("AWS_ENDPOINT_URL_EC2", self.emulator.url()),
            ("VPN_REVOKER_LOCKS_TABLE", LOCKS.to_owned()),
            ("VPN_REVOKER_AUDIT_TABLE", AUDIT.to_owned()),
        ];
        let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
        found.into_iter().chain(more).collect()
    }

    /// How many requests of an EC2 action there were; all of them without one.
    pub fn ec2_calls(&self, action: Option<&str>) -> usize {
        self.emulator.requests().iter().filter(|request| action.is_none_or(|action| request.action == action)).count()
    }

    /// All items of a table, as DynamoDB writes them.
    pub fn items(&self, table: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut from = Value::Null;
        loop {
            let mut scan = json!({"TableName": table});
            if !from.is_null() {
                scan["ExclusiveStartKey"] = from;
            }
            let page = self.database.scan(serde_json::from_value(scan).expect("a request")).expect("an answer");
            let mut page = serde_json::to_value(page).expect("JSON");
            items.extend(page["Items"].as_array().expect("items").iter().cloned());
            from = page["LastEvaluatedKey"].take();
            if from.is_null() {
                return items;
            }
        }
    }

    /// How long a call takes about which nothing is to be done: the least of several.
    pub async fn round_trip(&self) -> std::io::Result<Duration> {
        let address = self.relay.url.trim_start_matches("http://");
        let mut engine = TcpStream::connect(address).await?;
        engine.set_nodelay(true)?;
        let head = "POST / HTTP/1.1\r\nhost: localhost\r\nx-amz-target: DynamoDB_20120810.ListTables\r\n";
        let request = format!("{head}content-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{{}}");
        let mut least = Duration::MAX;
        let mut answer = vec![0; 1 << 12];
        for _ in 0..20 {
            let begun = Instant::now();
            engine.write_all(request.as_bytes()).await?;
            if engine.read(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            least = least.min(begun.elapsed());
        }
        Ok(least)
    }

    /// Forgets every call so far.
    pub fn forget_calls(&self) {
        self.emulator.clear_requests();
        self.relay.state.calls.lock().expect("no panic").clear();
    }
}

/// Milliseconds since 1970, as the emulator's log of requests has them.
pub fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    i64::try_from(since.as_millis()).expect("not yet")
}

/// Both tables, as the deployment makes them.
fn create_tables(database: &dynoxide::Database) {
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let attribute = |name: &str, kind: &str| json!({"AttributeName": name, "AttributeType": kind});
    let locks = json!({
        "TableName": LOCKS, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [attribute("subject", "S")], "KeySchema": [key("subject", "HASH")],
    });
    let audit = json!({
        "TableName": AUDIT, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            attribute("subject", "S"), attribute("seq", "N"), attribute("day", "S"), attribute("at", "S"),
        ],
        "KeySchema": [key("subject", "HASH"), key("seq", "RANGE")],
        "GlobalSecondaryIndexes": [{
            "IndexName": "by-day", "KeySchema": [key("day", "HASH"), key("at", "RANGE")],
            "Projection": {"ProjectionType": "ALL"},
        }],
    });
    for table in [locks, audit] {
        database.create_table(serde_json::from_value(table).expect("a table")).expect("a new table");
    }
}

/// Stands before DynamoDB: notes which operations are asked for, lets each wait, and loses some.
pub struct Relay {
    pub url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    latency: Duration,
    calls: Mutex<Vec<(Instant, String)>>,
    /// How many calls to one that is lost; 0 for none.
    losing: AtomicUsize,
    seen: AtomicUsize,
}

impl Relay {
    async fn to(engine: String, latency: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State { latency, ..State::default() });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (engine, state) = (engine.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let server = TcpStream::connect(engine).await?;
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    relay(client, server, &state).await
                });
            }
        });
        Self { url, state }
    }

    /// The operations so far, and when they were asked for.
    pub fn calls(&self) -> Vec<(Instant, String)> {
        self.state.calls.lock().expect("no panic").clone()
    }

    /// Loses one call in so many, by turns the call itself and its answer; none with 0.
    pub fn lose_one_in(&self, calls: usize) {
        self.state.losing.store(calls, Ordering::Relaxed);
    }
}

/// Takes bytes both ways until either side has enough.
async fn relay(mut client: TcpStream, mut server: TcpStream, state: &State) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let asks = async {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let length = from_client.read(&mut bytes).await?;
            if length == 0 {
                return to_server.shutdown().await;
            }
            if let Some(operation) = operation(&bytes[..length]) {
                state.calls.lock().expect("no panic").push((Instant::now(), operation));
                if !state.latency.is_zero() {
                    tokio::time::sleep(state.latency).await;
                }
                let (seen, losing) = (state.seen.fetch_add(1, Ordering::Relaxed), state.losing.load(Ordering::Relaxed));
                if losing > 0 && seen.is_multiple_of(losing) {
                    if (seen / losing).is_multiple_of(2) {
                        to_server.write_all(&bytes[..length]).await?;
                    }
                    return Err(std::io::ErrorKind::ConnectionReset.into());
                }
            }
            to_server.write_all(&bytes[..length]).await?;
        }
    };
    let answers = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::try_join!(asks, answers).map(|_| ())
}

/// The operation that a request's header names; a client asks for one thing at a time on a connection.
fn operation(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let (_, rest) = text.split_once("DynamoDB_20120810.")?;
    Some(rest.chars().take_while(char::is_ascii_alphabetic).collect())
}
