//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeClientVpnEndpoints.html>

use std::io;

use super::{Action, Call};
use crate::clock::endpoint_time;
use crate::faults::FaultKind;
use crate::protocol::error::ApiError;
use crate::protocol::filters::Filters;
use crate::protocol::xml::{Elements, Xml, answer};
use crate::state::{Authentication, Endpoint, Settings};

const ACTION: Action = Action::DescribeEndpoints;
const PARAMETERS: [&str; 5] = ["ClientVpnEndpointId.", "DryRun", "Filter.", "MaxResults", "NextToken"];

pub(super) fn run(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    call.query.check(&PARAMETERS)?;
    let wanted = call.query.list("ClientVpnEndpointId")?;
    let filters = Filters::parse(call.query, &["endpoint-id", "transport-protocol"])?;
    let settings = &call.shared.settings;
    let scope = (&wanted, &filters);
    let page = call.shared.tokens.page(call.query, ACTION, &scope, settings.max_page_size)?;

    let world = call.shared.lock();
    call.permit(ACTION, &world)?;
    if let Some(id) = wanted.iter().find(|id| !world.endpoints.contains_key(**id)) {
        return Err(ApiError::endpoint_not_found(id));
    }

    let mut endpoints: Vec<&Endpoint> = world
        .endpoints
        .values()
        .filter(|endpoint| wanted.is_empty() || wanted.contains(&endpoint.id.as_str()))
        .filter(|endpoint| {
            filters.admit(|name| match name {
                "endpoint-id" => Some(&endpoint.id),
                _ => Some(&endpoint.about.transport_protocol),
            })
        })
        .collect();
    endpoints.sort_by_key(|endpoint| endpoint.number);
    let (rows, more) = page.cut(endpoints.into_iter(), |endpoint| endpoint.number);

    let last = rows.last().map(|endpoint| endpoint.number).or(page.after).unwrap_or_default();
    let next = match call.fault {
        Some(FaultKind::RepeatedToken) => {
            Some(page.token.unwrap_or_else(|| call.shared.tokens.write(ACTION, &scope, last)))
        }
        _ => more.then(|| call.shared.tokens.write(ACTION, &scope, last)),
    };
    answer(ACTION, call.request_id, |xml| {
        // The list's element is singular; no SDK reads any other.
        xml.list("clientVpnEndpoint", rows, |xml, endpoint| write(xml, endpoint, call.now, settings))?;
        xml.maybe("nextToken", next.as_deref())
    })
}

fn write(xml: &mut Xml, endpoint: &Endpoint, now: i64, settings: &Settings) -> io::Result<()> {
    let Settings { region, account, .. } = settings;
    let Endpoint { id, about, .. } = endpoint;
    xml.text("clientVpnEndpointId", id)?;
    xml.maybe("description", about.description.as_deref())?;
    xml.nest("status", |xml| xml.text("code", endpoint.status()))?;
    xml.text("creationTime", &endpoint_time(endpoint.created_at))?;
    xml.text("dnsName", &format!("*.{id}.prod.clientvpn.{region}.amazonaws.com"))?;
    xml.text("clientCidrBlock", "10.200.0.0/16")?;
    xml.text("splitTunnel", "false")?;
    xml.text("vpnProtocol", "openvpn")?;
    xml.text("transportProtocol", &about.transport_protocol)?;
    xml.text("vpnPort", "443")?;
    xml.text("serverCertificateArn", &format!("arn:aws:acm:{region}:{account}:certificate/emulated"))?;
    xml.list("authenticationOptions", &about.authentication, |xml, kind| authentication(xml, *kind, settings))?;
    xml.nest("connectionLogOptions", |xml| xml.text("Enabled", "false"))?;
    xml.list("tagSet", &about.tags, |xml, (key, value)| {
        xml.text("key", key)?;
        xml.text("value", value)
    })?;
    xml.nest("clientConnectOptions", |xml| {
        xml.text("enabled", if about.connect_handler.is_some() { "true" } else { "false" })?;
        xml.maybe("lambdaFunctionArn", about.connect_handler.as_deref())?;
        xml.nest("status", |xml| xml.text("code", endpoint.connect_handler_status(now)))
    })?;
    xml.text("sessionTimeoutHours", "24")?;
    xml.text("disconnectOnSessionTimeout", "true")
}

fn authentication(xml: &mut Xml, kind: Authentication, settings: &Settings) -> io::Result<()> {
    let Settings { region, account, .. } = settings;
    xml.text("type", kind.code())?;
    match kind {
        Authentication::Certificate => xml.nest("mutualAuthentication", |xml| {
            let chain = format!("arn:aws:acm:{region}:{account}:certificate/emulated-clients");
            xml.text("clientRootCertificateChain", &chain)
        }),
        Authentication::DirectoryService => xml.nest("activeDirectory", |xml| xml.text("directoryId", "d-0000000000")),
        Authentication::Federated => xml.nest("federatedAuthentication", |xml| {
            xml.text("samlProviderArn", &format!("arn:aws:iam::{account}:saml-provider/emulated"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, texts};
    use super::*;
    use crate::state::NewEndpoint;

    fn ids(bench: &Bench, parameters: &str) -> Vec<String> {
        let body = bench.ask(ACTION, parameters).unwrap();
        texts(&body, "clientVpnEndpointId").into_iter().map(str::to_owned).collect()
    }

    fn bench() -> Bench {
        let bench = Bench::new(|settings| settings.max_page_size = 2);
        bench.shared.lock().add_endpoint(NewEndpoint::new("cvpn-endpoint-3").transport_protocol("tcp"), 0);
        bench.shared.lock().add_endpoint(NewEndpoint::new("cvpn-endpoint-2"), 0);
        bench
    }

    #[test]
    fn endpoints_are_listed_in_the_order_in_which_they_were_added_page_by_page() {
        let bench = bench();
        let first = bench.ask(ACTION, "").unwrap();
        assert_eq!(texts(&first, "clientVpnEndpointId"), ["cvpn-endpoint-1", "cvpn-endpoint-3"]);
        let next = format!("NextToken={}", texts(&first, "nextToken")[0]);
        assert_eq!(ids(&bench, &next), ["cvpn-endpoint-2"]);
    }

    #[test]
    fn endpoints_are_chosen_by_id_and_by_filter() {
        let bench = bench();
        assert_eq!(ids(&bench, "ClientVpnEndpointId.1=cvpn-endpoint-2"), ["cvpn-endpoint-2"]);
        assert_eq!(ids(&bench, "Filter.1.Name=transport-protocol&Filter.1.Value.1=tcp"), ["cvpn-endpoint-3"]);
        assert_eq!(ids(&bench, "Filter.1.Name=endpoint-id&Filter.1.Value.1=cvpn-endpoint-2"), ["cvpn-endpoint-2"]);
        let unknown = bench.ask(ACTION, "ClientVpnEndpointId.1=cvpn-endpoint-9").unwrap_err();
        assert_eq!(unknown.code, "InvalidClientVpnEndpointId.NotFound");
        assert_eq!(unknown.message, "Endpoint cvpn-endpoint-9 does not exist");
        assert_eq!(bench.code(ACTION, "Filter.1.Name=tag:x&Filter.1.Value.1=y"), "InvalidFilter");
    }

    #[test]
    fn an_endpoint_says_how_clients_sign_in_and_who_is_asked() {
        let bench = Bench::new(|_| {});
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:AWSClientVPN-gate";
        let about = NewEndpoint::new("cvpn-endpoint-1")
            .authentication(&[Authentication::Certificate, Authentication::DirectoryService])
            .connect_handler(arn)
            .description("staff & guests")
            .tag("team", "net");
        bench.shared.lock().add_endpoint(about, 0);
        let body = bench.ask(ACTION, "").unwrap();
        assert_eq!(texts(&body, "type"), ["certificate-authentication", "directory-service-authentication"]);
        assert_eq!(texts(&body, "lambdaFunctionArn"), [arn]);
        assert_eq!(texts(&body, "enabled"), ["true"]);
        assert_eq!(texts(&body, "description"), ["staff &amp; guests"]);
        assert_eq!((texts(&body, "key"), texts(&body, "value")), (vec!["team"], vec!["net"]));
        assert_eq!(texts(&body, "creationTime"), ["2026-01-01T00:00:00"]);
    }

    #[test]
    fn a_repeated_token_leads_back_to_the_same_page() {
        let bench = bench();
        let fault = Some(&FaultKind::RepeatedToken);
        let first = bench.ask_with(ACTION, "", fault).unwrap();
        let token = texts(&first, "nextToken")[0];
        let again = bench.ask_with(ACTION, &format!("NextToken={token}"), fault).unwrap();
        assert_eq!(texts(&again, "nextToken"), [token]);
    }
}
