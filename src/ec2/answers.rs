//! Whatever bytes come for an answer of EC2's, they are read as an answer or as an error, and never as less than they say.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{AsyncSleep, BehaviorVersion, Credentials, Sleep};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use proptest::prelude::*;

use super::*;

const LISTING: &str = include_str!("../../fuzz/seeds/ec2/listing.xml");

const TERMINATED: &str = include_str!("../../fuzz/seeds/ec2/terminated.xml");

const ENDPOINTS: &str = include_str!("../../fuzz/seeds/ec2/endpoints.xml");

const REFUSED: &str = include_str!("../../fuzz/seeds/ec2/refused.xml");

/// Gives the same answer to every request.
#[derive(Clone)]
struct Says(Arc<Mutex<(u16, Vec<u8>)>>);

impl fmt::Debug for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Says")
    }
}

impl HttpConnector for Says {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let (status, body) = self.0.lock().unwrap().clone();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(StatusCode::try_from(status).unwrap(), body.into())))
    }
}

/// Time that goes on when somebody waits, and only then.
#[derive(Debug, Clone, Default)]
struct Waits(Arc<AtomicU64>);

impl TimeSource for Waits {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl AsyncSleep for Waits {
    fn sleep(&self, pause: Duration) -> Sleep {
        let millis = u64::try_from(pause.as_millis()).unwrap().max(1);
        self.0.fetch_add(millis, Ordering::SeqCst);
        Sleep::new(std::future::ready(()))
    }
}

/// Client VPN as it looks through these answers.
fn vpn(status: u16, body: &[u8]) -> Ec2ClientVpn {
    let connector = SharedHttpConnector::new(Says(Arc::new(Mutex::new((status, body.to_vec())))));
    let http: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
    let time = Waits::default();
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(aws_sdk_ec2::config::Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests"))
        .retry_config(aws_sdk_ec2::config::retry::RetryConfig::disabled())
        .time_source(time.clone())
        .sleep_impl(time)
        .http_client(http)
        .build();
    Ec2ClientVpn::new(Ec2::new(Client::from_conf(config)), Target { region: "eu-west-1".to_owned(), account: None })
}

/// What all three actions make of an answer; whatever it is, the same rows are in it.
struct Read {
    endpoints: Result<Vec<EndpointId>, VpnError>,
    page: Result<Page, VpnError>,
    ended: Result<Vec<Ended>, VpnError>,
}

fn read(status: u16, body: &[u8]) -> Read {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (vpn, endpoint) = (vpn(status, body), EndpointId::new("cvpn-endpoint-0123456789abcdef0"));
    runtime.block_on(async {
        Read {
            endpoints: vpn.endpoints().await,
            page: vpn.connections(&endpoint, &[], None).await,
            ended: vpn.terminate(&endpoint, &Which::User("dana.reyes@example.com".to_owned())).await,
        }
    })
}

#[test]
fn whole_answers_are_read_whole() {
    let page = read(200, LISTING.as_bytes()).page.unwrap();
    assert_eq!(page.next, Some(PageToken("AAAA".to_owned())));
    let names: Vec<_> =
        page.connections.iter().map(|row| (row.username.as_deref(), row.common_name.as_deref())).collect();
    assert_eq!(names, [(Some("dana.reyes@example.com"), Some("laptop-7")), (None, Some("büro & co"))]);
    let ended = read(200, TERMINATED.as_bytes()).ended.unwrap();
    assert_eq!(
        (ended[0].previous.clone(), ended[0].current.clone()),
        (Some(Status::Active), Some(Status::Terminating))
    );
    assert_eq!(
        read(200, ENDPOINTS.as_bytes()).endpoints.unwrap(),
        [EndpointId::new("cvpn-endpoint-0123456789abcdef0")]
    );
    assert_eq!(read(503, REFUSED.as_bytes()).page.unwrap_err().kind, VpnErrorKind::Throttled);
}

#[test]
fn a_row_without_an_id_proves_nothing() {
    for id in ["", "<connectionId/>", "<connectionId></connectionId>", "<connectionId> </connectionId>"] {
        let body = LISTING.replace("<connectionId>cvpn-connection-0000000000000002</connectionId>", id);
        let error = read(200, body.as_bytes()).page.unwrap_err();
        assert!(error.to_string().contains("without an id"), "{id}: {error}");
    }
}

#[test]
fn an_endpoint_without_an_id_proves_nothing() {
    let body = ENDPOINTS.replace("cvpn-endpoint-0123456789abcdef0", "");
    let error = read(200, body.as_bytes()).endpoints.unwrap_err();
    assert!(error.to_string().contains("an endpoint was listed without an id"), "{error}");
}

#[test]
fn an_answer_that_was_cut_off_is_no_answer() {
    for (length, _) in LISTING.char_indices() {
        assert!(read(200, &LISTING.as_bytes()[..length]).page.is_err(), "cut off after {length} bytes");
    }
    let error = read(200, &LISTING.as_bytes()[..300]).page.unwrap_err();
    assert_eq!(error.kind, VpnErrorKind::Unavailable, "it is tried again: {error}");
    assert!(error.to_string().contains("cut off"), "{error}");
    for length in [TERMINATED.len() - 1, 150] {
        assert!(read(200, &TERMINATED.as_bytes()[..length]).ended.is_err(), "cut off after {length} bytes");
    }
    for length in [ENDPOINTS.len() - 1, 150] {
        assert!(read(200, &ENDPOINTS.as_bytes()[..length]).endpoints.is_err(), "cut off after {length} bytes");
    }
}

/// What may become of an answer on its way.
#[derive(Debug, Clone)]
enum Damage {
    Cut(prop::sample::Index),
    Lose(prop::sample::Index, usize),
    Change(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let pieces = prop::sample::select(vec![
        &b"<item>"[..],
        b"</item>",
        b"<item/>",
        b"<connections>",
        b"<status>",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"&#0;",
        b"&amp",
        b"<nextToken></nextToken>",
        b"<?xml?>",
        b"\xff\xfe",
        b"<!DOCTYPE x [<!ENTITY a \"aaaa\">]>",
    ]);
    prop_oneof![
        at().prop_map(Damage::Cut),
        (at(), 1..60_usize).prop_map(|(at, length)| Damage::Lose(at, length)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Change(at, byte)),
        (at(), pieces).prop_map(|(at, piece)| Damage::Insert(at, piece.to_vec())),
        (at(), 1..300_usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
    ]
}

fn damaged(body: &str, damages: &[Damage]) -> Vec<u8> {
    let mut body = body.as_bytes().to_vec();
    for damage in damages {
        if body.is_empty() {
            break;
        }
        match damage {
            Damage::Cut(at) => body.truncate(at.index(body.len())),
            Damage::Lose(at, length) => {
                let from = at.index(body.len());
                body.drain(from..(from + length).min(body.len()));
            }
            Damage::Change(at, byte) => {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            Damage::Insert(at, piece) => {
                let at = at.index(body.len());
                body.splice(at..at, piece.iter().copied());
            }
            Damage::Repeat(at, length) => {
                let from = at.index(body.len());
                let again = body[from..(from + length).min(body.len())].to_vec();
                body.splice(from..from, again);
            }
        }
    }
    body
}

proptest! {
    /// `PROPTEST_CASES=1000000` goes on for longer.
    #[test]
    fn whatever_comes_is_an_answer_or_an_error(
        body in prop::sample::select(vec![LISTING, TERMINATED, ENDPOINTS, REFUSED]),
        status in prop::sample::select(vec![200_u16, 400, 403, 503]),
        damages in prop::collection::vec(damage(), 0..6),
    ) {
        let body = damaged(body, &damages);
        let Read { endpoints, page, ended } = read(status, &body);
        if status != 200 {
            prop_assert!(endpoints.is_err() && page.is_err() && ended.is_err(), "{status} is no success");
        }
        let page = page.map(|page| page.connections).unwrap_or_default();
        prop_assert!(page.iter().all(|row| !row.id.as_str().trim().is_empty()), "a connection that nobody can end");
        prop_assert!(ended.unwrap_or_default().iter().all(|row| !row.id.as_str().trim().is_empty()));
        prop_assert!(endpoints.unwrap_or_default().iter().all(|id| !id.as_str().trim().is_empty()));
    }
}
