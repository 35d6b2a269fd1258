//! The connect handler in a world, and tables that keep it waiting.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::{AsyncSleep, Sleep};
use aws_smithy_async::time::SystemTimeSource;
use client_vpn_emulator::{ConnectAnswer, ConnectRequest};
use revocation::memory::ManualClock;
use revocation::ports::Clock;
use revocation::time::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use vpn_revoker::{ConnectApp, ConnectSettings, Metrics, connect};

use super::{AUDIT, LOCKS, REGION, World, config_with};

impl World {
    /// The connect handler, with variables over the defaults.
    pub fn door(&self, variables: &[(&str, &str)]) -> ConnectApp {
        self.door_at(&self.tables.url, variables)
    }

    /// The same, with its tables somewhere else.
    pub fn door_at(&self, tables: &str, variables: &[(&str, &str)]) -> ConnectApp {
        self.door_by(Arc::clone(&self.clock) as Arc<dyn Clock>, tables, variables)
    }

    fn door_by(&self, clock: Arc<dyn Clock>, tables: &str, variables: &[(&str, &str)]) -> ConnectApp {
        let base = [("VPN_REVOKER_LOCKS_TABLE", LOCKS), ("VPN_REVOKER_AUDIT_TABLE", AUDIT), ("AWS_REGION", REGION)];
        let variables = base.iter().chain(variables).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let settings = ConnectSettings::read(variables).unwrap();
        let sleep = DoorSleep(Arc::clone(&clock), Arc::clone(&self.clock));
        let config = config_with(
            connect::Patience::NEAR.retries(),
            connect::Patience::NEAR.timeouts(),
            sleep,
            SystemTimeSource::new(),
        );
        let client = aws_sdk_dynamodb::config::Builder::from(&config).endpoint_url(tables).build();
        let metrics = Arc::clone(&self.metrics);
        let metrics = Metrics::to(move |line| metrics.lock().unwrap().push(line.clone()))
            .of(Some("function-under-test".to_owned()));
        ConnectApp::new(settings, aws_sdk_dynamodb::Client::from_conf(client), clock, metrics)
    }

    /// From now on the emulator asks the real connect handler. It needs a runtime of several threads.
    ///
    /// The handler's own deadlines never come: other people's pauses move the clock while it reads.
    pub fn guard(&self, variables: &[(&str, &str)]) {
        let app = self.door_by(Arc::new(Unhurried(Arc::clone(&self.clock))), &self.tables.url, variables);
        let runtime = tokio::runtime::Handle::current();
        self.emulator.set_connect_handler(Arc::new(move |request: &ConnectRequest| {
            let payload = json!(request).to_string();
            let answer = tokio::task::block_in_place(|| runtime.block_on(app.invoke(payload.as_bytes())));
            serde_json::from_value::<ConnectAnswer>(json!(answer)).unwrap()
        }));
    }
}

/// Asks the connect handler.
pub async fn ask(door: &ConnectApp, request: &Value) -> Value {
    json!(door.invoke(request.to_string().as_bytes()).await)
}

/// The world's clock, for somebody who has time.
struct Unhurried(Arc<ManualClock>);

#[async_trait::async_trait]
impl Clock for Unhurried {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep(&self, pause: Duration) {
        self.0.sleep(pause).await;
    }

    async fn reached(&self, _: Timestamp) {
        std::future::pending::<()>().await;
    }
}

/// The longest pause of the connect handler's SDK between attempts; its timeouts are longer.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Pauses between attempts are over at once and move the world's clock; timeouts come when that clock gets there.
#[derive(Clone)]
struct DoorSleep(Arc<dyn Clock>, Arc<ManualClock>);

impl std::fmt::Debug for DoorSleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DoorSleep")
    }
}

impl AsyncSleep for DoorSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        let Self(clock, moved) = self.clone();
        if duration <= LONGEST_PAUSE {
            moved.advance(duration);
            return Sleep::new(std::future::ready(()));
        }
        let end = clock.now().plus(duration);
        // A task, because the SDK wants a future that several threads may share.
        let reached = tokio::spawn(async move { clock.reached(end).await });
        Sleep::new(async move { drop(reached.await) })
    }
}

/// The way to the tables, on which the first connections hear nothing.
pub struct Detour {
    pub url: String,
    asked: watch::Receiver<usize>,
}

impl Detour {
    /// The first `silent` connections are taken, and nobody answers on them.
    pub async fn start(world: &World, silent: usize) -> Self {
        let tables = world.tables.url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (count, asked) = watch::channel(0);
        tokio::spawn(async move {
            for number in 0.. {
                let (mut client, _) = listener.accept().await.unwrap();
                let (count, tables) = (count.clone(), tables.clone());
                tokio::spawn(async move {
                    if number < silent {
                        let _ = client.read(&mut [0; 64]).await;
                        count.send_modify(|count| *count += 1);
                        return std::future::pending().await;
                    }
                    let mut server = TcpStream::connect(tables).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { url, asked }
    }

    /// Waits until `n` requests were met with silence.
    pub async fn asked(&mut self, n: usize) {
        self.asked.wait_for(|asked| *asked >= n).await.unwrap();
    }
}

/// A port where nobody listens any more.
pub async fn nowhere() -> String {
    let gone = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    format!("http://{}", gone.local_addr().unwrap())
}
