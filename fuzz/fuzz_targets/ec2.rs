//! Whatever comes for an answer of EC2's is read as an answer or as an error, through the real SDK; a refusal is never
//! read as an answer, and a listing that is whole never as a shorter one, since whoever is missing stays connected.

#![no_main]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::{AsyncSleep, BehaviorVersion, Config, Credentials, Region, Sleep};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use libfuzzer_sys::fuzz_target;
use quick_xml::Reader;
use quick_xml::events::Event;
use revocation::connection::{EndpointId, Target};
use revocation::ports::{ClientVpn, Which};
use tokio::runtime::{Builder, Runtime};
use vpn_revoker::{Ec2, Ec2ClientVpn};

/// Where the rows of a listing stand.
const LISTING: &str = "/DescribeClientVpnConnectionsResponse/connections";

/// The answer to every request.
#[derive(Debug, Clone, Default)]
struct Says(Arc<Mutex<(u16, Vec<u8>)>>);

impl Says {
    fn say(&self, status: u16, body: &[u8]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (status, body.to_vec());
    }
}

impl HttpConnector for Says {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let (status, body) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let status = StatusCode::try_from(status).expect("a status of HTTP");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, body.into())))
    }
}

/// Time that every pause moves on at once: what EC2 refuses for coming too soon is asked for again, for seconds.
#[derive(Debug, Clone, Default)]
struct Time(Arc<AtomicU64>);

impl AsyncSleep for Time {
    fn sleep(&self, pause: Duration) -> Sleep {
        self.0.fetch_add(u64::try_from(pause.as_millis()).expect("a short pause"), Ordering::Relaxed);
        Sleep::new(std::future::ready(()))
    }
}

impl TimeSource for Time {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_770_000_000_000 + self.0.load(Ordering::Relaxed))
    }
}

static SAYS: LazyLock<Says> = LazyLock::new(Says::default);

static VPN: LazyLock<Ec2ClientVpn> = LazyLock::new(|| {
    let (connector, time) = (SharedHttpConnector::new(SAYS.clone()), Time::default());
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "fuzz"))
        .retry_config(RetryConfig::disabled())
        .time_source(time.clone())
        .sleep_impl(time)
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .build();
    let target = Target { region: "eu-west-1".to_owned(), account: None };
    Ec2ClientVpn::new(Ec2::new(Client::from_conf(config)), target)
});

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime starts"));

fuzz_target!(|bytes: &[u8]| {
    let endpoint = EndpointId::new("cvpn-endpoint-0123456789abcdef0");
    let user = Which::User("dana.reyes@example.com".to_owned());
    SAYS.say(200, bytes);
    let (endpoints, page, ended) = RUNTIME.block_on(async {
        (VPN.endpoints().await, VPN.connections(&endpoint, &[], None).await, VPN.terminate(&endpoint, &user).await)
    });
    let listed = elements(bytes).map_or(0, |elements| rows(&elements, LISTING));
    if let Ok(endpoints) = endpoints {
        assert!(endpoints.iter().all(|id| !id.as_str().trim().is_empty()), "an endpoint has an id");
    }
    if let Ok(page) = page {
        assert!(page.connections.iter().all(|row| !row.id.as_str().trim().is_empty()), "a connection has an id");
        assert!(page.connections.len() >= listed, "{} of {listed} rows were read", page.connections.len());
    }
    assert!(ended.unwrap_or_default().iter().all(|row| !row.id.as_str().trim().is_empty()), "what ended has an id");
    SAYS.say(400, bytes);
    let refused = RUNTIME.block_on(VPN.connections(&endpoint, &[], None));
    assert!(refused.is_err(), "400 is no success");
});

/// How many elements there are of each path, read by another parser; nothing where that takes it for no whole document.
fn elements(bytes: &[u8]) -> Option<BTreeMap<String, usize>> {
    let mut reader = Reader::from_reader(bytes);
    let (mut elements, mut path) = (BTreeMap::new(), String::new());
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) => {
                path = format!("{path}/{}", element.name().as_ref());
                *elements.entry(path.clone()).or_default() += 1;
            }
            Event::Empty(element) => {
                let path = format!("{path}/{}", element.name().as_ref());
                *elements.entry(path).or_default() += 1;
            }
            Event::End(_) => path.truncate(path.rfind('/')?),
            Event::Eof => break,
            _ => {}
        }
    }
    let roots: usize = elements.iter().filter(|(path, _)| path.matches('/').count() == 1).map(|(_, count)| count).sum();
    (path.is_empty() && roots == 1).then_some(elements)
}

/// How many rows stand in a list that is there once.
fn rows(elements: &BTreeMap<String, usize>, list: &str) -> usize {
    let count = |path: &str| elements.get(path).copied().unwrap_or_default();
    if count(list) == 1 { count(&format!("{list}/item")) } else { 0 }
}
