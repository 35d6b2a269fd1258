//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeClientVpnConnections.html>

use std::io;

use super::{Action, Call, associated};
use crate::clock::{connection_time, millis};
use crate::faults::FaultKind;
use crate::protocol::error::ApiError;
use crate::protocol::filters::Filters;
use crate::protocol::xml::{Elements, Xml, answer};
use crate::state::{Connection, Status};

const ACTION: Action = Action::DescribeConnections;
const PARAMETERS: [&str; 5] = ["ClientVpnEndpointId", "DryRun", "Filter.", "MaxResults", "NextToken"];

pub(super) fn run(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    call.query.check(&PARAMETERS)?;
    let endpoint_id = call.query.required("ClientVpnEndpointId")?;
    let filters = Filters::parse(call.query, &["connection-id", "username"])?;
    let settings = &call.shared.settings;
    let scope = (endpoint_id, &filters);
    let page = call.shared.tokens.page(call.query, ACTION, &scope, settings.max_page_size)?;

    let world = call.shared.lock();
    call.permit(ACTION, &world)?;
    associated(&world, endpoint_id)?;

    let lag = millis(settings.listing_lag);
    let listed = world.connections.iter().filter(|connection| {
        connection.endpoint_id == endpoint_id
            && connection.is_listed(call.now, lag)
            && filters.admit(|name| match name {
                "connection-id" => Some(&connection.id),
                _ => connection.client.username.as_deref(),
            })
    });
    let (rows, more) = page.cut(listed, |connection| connection.number);

    let last = rows.last().map(|connection| connection.number).or(page.after).unwrap_or_default();
    let next = match call.fault {
        Some(FaultKind::RepeatedToken) => {
            Some(page.token.unwrap_or_else(|| call.shared.tokens.write(ACTION, &scope, last)))
        }
        _ => more.then(|| call.shared.tokens.write(ACTION, &scope, last)),
    };
    let row = Row {
        now: call.now,
        seen_at: call.now.saturating_sub(lag),
        status: match call.fault {
            Some(FaultKind::UnknownStatus(code)) => Some(code),
            _ => None,
        },
    };
    answer(ACTION, call.request_id, |xml| {
        xml.list("connections", rows, |xml, connection| row.write(xml, connection))?;
        xml.maybe("nextToken", next.as_deref())
    })
}

/// How a connection is shown.
struct Row<'a> {
    now: i64,
    seen_at: i64,
    /// A status code in place of the real one.
    status: Option<&'a str>,
}

impl Row<'_> {
    fn write(&self, xml: &mut Xml, connection: &Connection) -> io::Result<()> {
        let status = connection.status(self.seen_at);
        let ended_at = connection.ended_at(self.seen_at);
        let traffic = Traffic::of(connection, ended_at.unwrap_or(self.seen_at));
        xml.text("clientVpnEndpointId", &connection.endpoint_id)?;
        // "The current date and time", says the reference; in its samples it is the end of an ended connection.
        xml.text("timestamp", &connection_time(ended_at.unwrap_or(self.now)))?;
        xml.text("connectionId", &connection.id)?;
        xml.maybe("username", connection.client.username.as_deref())?;
        xml.text("connectionEstablishedTime", &connection_time(connection.established_at))?;
        xml.text("ingressBytes", &traffic.ingress_bytes.to_string())?;
        xml.text("egressBytes", &traffic.egress_bytes.to_string())?;
        xml.text("ingressPackets", &traffic.ingress_packets.to_string())?;
        xml.text("egressPackets", &traffic.egress_packets.to_string())?;
        xml.text("clientIp", &client_ip(connection.number))?;
        xml.maybe("commonName", connection.client.common_name.as_deref())?;
        xml.nest("status", |xml| {
            let code = self.status.filter(|_| status != Status::Terminated).unwrap_or(status.code());
            xml.text("code", code)?;
            let failure = connection.failed.as_ref().filter(|_| status == Status::FailedToTerminate);
            xml.maybe("message", failure.map(|failure| failure.message.as_str()))
        })?;
        xml.text("connectionEndTime", ended_at.map(connection_time).as_deref().unwrap_or("-"))?;
        xml.list("postureComplianceStatusSet", &connection.posture, |xml, status| xml.content(status))
    }
}

/// Counters that grow with the age of the connection, so that they look alive and are the same in every run.
struct Traffic {
    ingress_bytes: i64,
    egress_bytes: i64,
    ingress_packets: i64,
    egress_packets: i64,
}

impl Traffic {
    fn of(connection: &Connection, until: i64) -> Self {
        let seconds = until.saturating_sub(connection.established_at).max(0) / 1_000;
        Self {
            ingress_bytes: 4_096 + seconds * 512,
            egress_bytes: 8_192 + seconds * 2_048,
            ingress_packets: 32 + seconds * 4,
            egress_packets: 48 + seconds * 8,
        }
    }
}

/// An address in the endpoint's client range, 10.200.0.0/16, without the first and the last of each /24.
fn client_ip(number: u64) -> String {
    format!("10.200.{}.{}", (number / 250) % 256, 2 + number % 250)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{Bench, texts};
    use super::*;
    use crate::state::NewConnection;

    const ENDPOINT: &str = "ClientVpnEndpointId=cvpn-endpoint-1";

    fn list(bench: &Bench, more: &str) -> String {
        bench.ask(ACTION, &format!("{ENDPOINT}{more}")).unwrap()
    }

    #[test]
    fn a_row_is_written_as_the_reference_shows_it() {
        let bench = Bench::new(|_| {});
        let id = bench.connect(NewConnection::user("alice@example.com").common_name("laptop"));
        bench.clock.advance(Duration::from_secs(2));
        assert!(list(&bench, "").ends_with(&format!(
            "<requestId>r</requestId><connections><item><clientVpnEndpointId>cvpn-endpoint-1</clientVpnEndpointId>\
             <timestamp>2026-01-01 00:00:02</timestamp><connectionId>{id}</connectionId>\
             <username>alice@example.com</username>\
             <connectionEstablishedTime>2026-01-01 00:00:00</connectionEstablishedTime>\
             <ingressBytes>5120</ingressBytes><egressBytes>12288</egressBytes><ingressPackets>40</ingressPackets>\
             <egressPackets>64</egressPackets><clientIp>10.200.0.4</clientIp><commonName>laptop</commonName>\
             <status><code>active</code></status><connectionEndTime>-</connectionEndTime>\
             <postureComplianceStatusSet></postureComplianceStatusSet></item></connections>\
             </DescribeClientVpnConnectionsResponse>"
        )));
    }

    #[test]
    fn a_certificate_only_client_has_no_username_element() {
        let bench = Bench::new(|_| {});
        bench.connect(NewConnection::certificate("laptop"));
        let body = list(&bench, "");
        assert!(!body.contains("username"));
        assert_eq!(texts(&body, "commonName"), ["laptop"]);
    }

    #[test]
    fn filters_select_rows() {
        let bench = Bench::new(|_| {});
        let alice = bench.connect(NewConnection::user("alice"));
        bench.connect(NewConnection::user("bob"));
        let filter = "&Filter.1.Name=username&Filter.1.Value.1=alice";
        assert_eq!(texts(&list(&bench, filter), "connectionId"), [alice.as_str()]);
        let filter = format!("&Filter.1.Name=connection-id&Filter.1.Value.1={alice}");
        assert_eq!(texts(&list(&bench, &filter), "username"), ["alice"]);
    }

    #[test]
    fn pages_stay_consistent_while_rows_change_and_leave() {
        let bench = Bench::new(|settings| settings.max_page_size = 2);
        let ids: Vec<_> = (0..5).map(|n| bench.connect(NewConnection::user(format!("u{n}")))).collect();
        let first = list(&bench, "");
        assert_eq!(texts(&first, "connectionId"), &ids[..2]);
        let token = texts(&first, "nextToken")[0].to_owned();
        // One row of the first page leaves the listing, one of the second changes.
        let now = bench.shared.now();
        bench.shared.lock().end(&ids[0], now - 7_200_000, now - 7_200_000);
        bench.shared.lock().end(&ids[3], now, now);
        let second = list(&bench, &format!("&NextToken={token}"));
        assert_eq!(texts(&second, "connectionId"), &ids[2..4]);
        assert_eq!(texts(&second, "code"), ["active", "terminated"]);
        let third = list(&bench, &format!("&NextToken={}", texts(&second, "nextToken")[0]));
        assert_eq!(texts(&third, "connectionId"), &ids[4..]);
        assert!(texts(&third, "nextToken").is_empty());
    }

    #[test]
    fn a_token_of_another_listing_is_refused() {
        let bench = Bench::new(|settings| settings.max_page_size = 1);
        bench.connect(NewConnection::user("a"));
        bench.connect(NewConnection::user("a"));
        let token = texts(&list(&bench, ""), "nextToken")[0].to_owned();
        let other = format!("{ENDPOINT}&NextToken={token}&Filter.1.Name=username&Filter.1.Value.1=a");
        assert_eq!(bench.code(ACTION, &other), "InvalidPaginationToken");
    }

    #[test]
    fn a_lagging_listing_shows_the_past() {
        let bench = Bench::new(|settings| settings.listing_lag = Duration::from_secs(5));
        let id = bench.connect(NewConnection::user("alice"));
        assert!(texts(&list(&bench, ""), "code").is_empty());
        bench.clock.advance(Duration::from_secs(5));
        let now = bench.shared.now();
        bench.shared.lock().end(&id, now, now);
        assert_eq!(texts(&list(&bench, ""), "code"), ["active"]);
        bench.clock.advance(Duration::from_secs(5));
        assert_eq!(texts(&list(&bench, ""), "code"), ["terminated"]);
    }

    #[test]
    fn a_repeated_token_leads_back_to_the_same_page() {
        let bench = Bench::new(|_| {});
        bench.connect(NewConnection::user("alice"));
        let fault = Some(&FaultKind::RepeatedToken);
        let first = bench.ask_with(ACTION, ENDPOINT, fault).unwrap();
        let token = texts(&first, "nextToken")[0];
        let again = bench.ask_with(ACTION, &format!("{ENDPOINT}&NextToken={token}"), fault).unwrap();
        assert_eq!(texts(&again, "nextToken"), [token]);
    }

    #[test]
    fn an_unknown_status_replaces_that_of_rows_which_have_not_ended() {
        let bench = Bench::new(|_| {});
        let ended = bench.connect(NewConnection::user("a"));
        bench.connect(NewConnection::user("b"));
        let now = bench.shared.now();
        bench.shared.lock().end(&ended, now, now);
        let fault = FaultKind::UnknownStatus("paused".into());
        let body = bench.ask_with(ACTION, ENDPOINT, Some(&fault)).unwrap();
        assert_eq!(texts(&body, "code"), ["terminated", "paused"]);
    }

    #[test]
    fn the_endpoint_is_required_and_misspelt_parameters_are_refused() {
        let bench = Bench::new(|_| {});
        assert_eq!(bench.code(ACTION, ""), "MissingParameter");
        assert_eq!(bench.code(ACTION, &format!("{ENDPOINT}&Username=a")), "UnknownParameter");
        assert_eq!(bench.code(ACTION, &format!("{ENDPOINT}&MaxResults=4")), "InvalidParameterValue");
    }
}
