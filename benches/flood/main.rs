//! Many people off-boarded at once, under EC2's request limits: how long until nobody of them is connected, beside how
//! long the limits alone take. It is in virtual time: nothing waits, and what takes long is the emulator's work
//! (ten thousand people take it an hour):
//!
//!     cargo bench -p vpn-revoker --bench flood              # the table
//!     cargo bench -p vpn-revoker --bench flood -- 300x3     # three hundred people with three connections each
//!     cargo bench -p vpn-revoker --bench flood -- 300x1+10000  # with one each, among ten thousand on each endpoint
//!
//! The function is called within this process, and reaches the emulator and a DynamoDB engine over HTTP through the real
//! SDK. `benches/run flood` plays some of it in real time, with the packaged function.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

mod distance;
mod time;

#[path = "../processes/src/crowd.rs"]
mod crowd;
#[path = "../processes/src/queue.rs"]
#[allow(dead_code)]
mod queue;
#[path = "../../tests/world/mod.rs"]
mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_ec2::config::SharedHttpClient;
use client_vpn_emulator::{Authentication, Emulator, NewConnection, NewEndpoint};
use revocation::time::Timestamp;
use tokio::task::JoinSet;
use vpn_revoker::{App, Clients, Ec2, Metrics, Trust, aws, http_client};

use crowd::{CONCURRENCY, ENDPOINTS, Size};
use distance::Distant;
use queue::Queue;
use time::Time;
use world::tables::Tables;

const SIZES: [Size; 7] = [
    Size::of((100, 1)),
    Size::of((1_000, 1)),
    Size::of((10_000, 1)),
    Size::of((100, 3)),
    Size::of((300, 3)),
    Size::of((1_000, 3)),
    Size { others: 10_000, ..Size::of((300, 1)) },
];

/// What `cargo test` plays.
const SMALL: [Size; 1] = [Size::of((60, 1))];

/// How long each call takes.
const AWAY: Duration = Duration::from_millis(30);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut sizes: Vec<Size> = arguments.iter().filter_map(|argument| size(argument)).collect();
    // `cargo test` runs benches once to see that they work.
    let is_test = sizes.is_empty() && !arguments.iter().any(|argument| argument == "--bench");
    if sizes.is_empty() {
        sizes.extend(if is_test { &SMALL[..] } else { &SIZES[..] });
    }
    println!("{}", crowd::HEAD);
    for size in sizes {
        let came = flood(size).await;
        println!("{}", came.row);
        if is_test {
            assert_eq!((came.refused, came.again), (0, 0), "so few are refused nothing, and nothing comes again");
        }
    }
}

/// What a flood came to.
struct Came {
    row: String,
    /// How many calls EC2 refused.
    refused: usize,
    /// How many messages came again.
    again: usize,
}

/// `300x3`: three hundred people with three connections each; `300x1+10000`: among so many others on each endpoint.
fn size(argument: &str) -> Option<Size> {
    let (leavers, others) = argument.split_once('+').unwrap_or((argument, "0"));
    let (people, each) = leavers.split_once('x')?;
    Some(Size { others: others.parse().ok()?, ..Size::of((people.parse().ok()?, each.parse().ok()?)) })
}

/// What the functions of a flood share.
#[derive(Clone)]
struct Flood {
    time: Time,
    begun: Timestamp,
    emulator: Arc<Emulator>,
    queue: Arc<Mutex<Queue>>,
}

async fn flood(size: Size) -> Came {
    let begun = Timestamp::parse(world::START).unwrap();
    let time = Time::new(begun);
    let emulator = Emulator::builder().region(world::REGION).account(world::ACCOUNT).buckets(true);
    let emulator = Arc::new(emulator.clock(Arc::new(time.clone())).start().await.unwrap());
    let federated = || NewEndpoint::generated().authentication(&[Authentication::Federated]);
    let endpoints: Vec<String> = (0..ENDPOINTS).map(|_| emulator.add_endpoint(federated())).collect();
    for (endpoint, user) in size.connections() {
        emulator.connect(&endpoints[endpoint], NewConnection::user(&user)).unwrap();
    }
    let flood = Flood { time, begun, emulator, queue: Arc::new(Mutex::new(size.queue())) };
    let tables = Tables::start().await;
    let [out, verified] = tokio::select! {
        biased;
        seconds = flood.goes(&tables) => seconds,
        never = flood.time.passes() => match never {},
    };
    let again = flood.queue.lock().unwrap().again;
    let requests = flood.emulator.requests();
    let refused = requests.iter().filter(|request| request.code.is_some()).count();
    Came { row: crowd::row(size, [out, verified], &requests, again), refused, again }
}

impl Flood {
    /// How many seconds until nobody is connected, and until the last message is settled.
    async fn goes(&self, tables: &Tables) -> [f64; 2] {
        let clients = self.clients(&tables.url);
        tables.create(&clients.tables).await;
        let mut environments = JoinSet::new();
        for _ in 0..CONCURRENCY {
            // So many at once are meant: the circuit breaker would stop at 50, unless whoever deploys it says so too.
            let settings = world::settings(&[("VPN_REVOKER_MAX_SUBJECTS", "10000")]);
            let app = App::new(settings, self.clients(&tables.url), Arc::new(self.time.clone()), Metrics::to(|_| ()));
            environments.spawn(self.clone().environment(app));
        }
        let out = tokio::spawn(self.clone().nobody_is_connected());
        environments.join_all().await;
        let verified = self.seconds();
        [out.await.unwrap(), verified]
    }

    /// One execution environment, for as long as there is anything in the queue.
    async fn environment(self, app: App) {
        loop {
            let event = {
                let mut queue = self.queue.lock().unwrap();
                if queue.is_empty() {
                    return;
                }
                queue.receive(self.time.now().since(self.begun))
            };
            let Some(event) = event else {
                self.time.pause(Duration::from_millis(200)).await;
                continue;
            };
            let call = world::call(self.time.now());
            // A function that fails leaves its whole batch in the queue.
            if let Ok(answer) = app.invoke(event.to_string().as_bytes(), &call).await {
                self.queue.lock().unwrap().settle(&event, &answer);
            }
        }
    }

    /// When nobody is connected any more.
    async fn nobody_is_connected(self) -> f64 {
        while self
            .emulator
            .connections()
            .iter()
            .any(|row| row.status.is_alive() && crowd::leaves(row.username.as_deref()))
        {
            self.time.pause(Duration::from_millis(500)).await;
        }
        self.seconds()
    }

    fn seconds(&self) -> f64 {
        self.time.now().since(self.begun).as_secs_f64()
    }

    /// Clients of an environment's own, as the function has them.
    fn clients(&self, tables: &str) -> Clients {
        let client = SharedHttpClient::new(http_client(&Trust::BuiltIn));
        let distant = Distant { client, time: self.time.clone(), away: AWAY };
        let config = world::config_with(aws::retries(), aws::timeouts(), self.time.clone(), self.time.clone());
        let config: SdkConfig = config.into_builder().http_client(distant).build();
        let ec2 = aws_sdk_ec2::config::Builder::from(&config).endpoint_url(self.emulator.url()).build();
        let tables = aws_sdk_dynamodb::config::Builder::from(&config).endpoint_url(tables).build();
        Clients {
            ec2: vec![Ec2::new(aws_sdk_ec2::Client::from_conf(ec2))],
            identity_store: aws_sdk_identitystore::Client::new(&config),
            tables: aws_sdk_dynamodb::Client::from_conf(tables),
        }
    }
}
