//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyClientVpnEndpoint.html>

use super::{Action, Call};
use crate::clock::millis;
use crate::protocol::error::ApiError;
use crate::protocol::query::Query;
use crate::protocol::xml::{Elements, answer};

const ACTION: Action = Action::ModifyEndpoint;
const ENABLED: &str = "ClientConnectOptions.Enabled";
const FUNCTION: &str = "ClientConnectOptions.LambdaFunctionArn";

/// AWS knows more of them. They are refused here: a program must not believe that they took effect.
const PARAMETERS: [&str; 4] = ["ClientVpnEndpointId", "DryRun", ENABLED, FUNCTION];

/// "The name of the Lambda function must begin with the AWSClientVPN- prefix."
/// <https://docs.aws.amazon.com/vpn/latest/clientvpn-admin/connection-authorization.html>
const PREFIX: &str = "AWSClientVPN-";

pub(super) fn run(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    call.query.check(&PARAMETERS)?;
    let endpoint_id = call.query.required("ClientVpnEndpointId")?;
    let function = function(call.query)?;

    let mut world = call.shared.lock();
    call.permit(ACTION, &world)?;
    // No target network is needed: a handler can be attached before the first client can connect.
    let endpoint = world.endpoints.get_mut(endpoint_id).ok_or_else(|| ApiError::endpoint_not_found(endpoint_id))?;
    let applied_at = call.now.saturating_add(millis(call.shared.settings.apply_delay));
    endpoint.set_connect_handler(function, applied_at);

    answer(ACTION, call.request_id, |xml| xml.text("return", "true"))
}

/// The function that is the connect handler from now on; nothing when there is to be none.
fn function(query: &Query) -> Result<Option<&str>, ApiError> {
    // What AWS changes without this parameter is undocumented, and nothing else can be changed here.
    let enabled = query.flag(ENABLED)?.ok_or_else(|| ApiError::missing_parameter(ENABLED))?;
    let function = query.get(FUNCTION);
    if let Some(arn) = function.filter(|arn| !can_be_handler(arn)) {
        let expected = format!("Expecting the ARN of a Lambda function whose name begins with {PREFIX}.");
        return Err(ApiError::invalid_value(FUNCTION, arn, &expected));
    }
    match (enabled, function) {
        (true, Some(arn)) => Ok(Some(arn)),
        (true, None) => Err(ApiError::missing_parameter(FUNCTION)),
        (false, _) => Ok(None),
    }
}

/// Whether this is the ARN of a function with such a name. "Qualified Lambda functions are supported."
fn can_be_handler(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    match parts.as_slice() {
        ["arn", _, "lambda", _, _, "function", name] | ["arn", _, "lambda", _, _, "function", name, _] => {
            name.starts_with(PREFIX)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{Bench, texts};
    use super::*;
    use crate::state::{NewConnection, NewEndpoint, Settings, Status};

    const ENDPOINT: &str = "ClientVpnEndpointId=cvpn-endpoint-1";
    const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:AWSClientVPN-gate";

    fn slow(settings: &mut Settings) {
        settings.apply_delay = Duration::from_secs(10);
    }

    fn modify(bench: &Bench, options: &str) -> Result<String, ApiError> {
        bench.ask(ACTION, &format!("{ENDPOINT}&{options}"))
    }

    fn attach(bench: &Bench) {
        modify(bench, &format!("{ENABLED}=true&{FUNCTION}={ARN}")).unwrap();
    }

    fn code(bench: &Bench, options: &str) -> String {
        modify(bench, options).unwrap_err().code
    }

    /// What the listing says of the handler: whether there is one, its ARN, and how far it is applied.
    fn listed(bench: &Bench) -> (String, Vec<String>, String) {
        let body = bench.ask(Action::DescribeEndpoints, "").unwrap();
        let options = texts(&body, "clientConnectOptions")[0];
        let arns = texts(options, "lambdaFunctionArn").into_iter().map(str::to_owned).collect();
        (texts(options, "enabled")[0].to_owned(), arns, texts(options, "code")[0].to_owned())
    }

    fn attached(status: &str) -> (String, Vec<String>, String) {
        ("true".into(), vec![ARN.into()], status.into())
    }

    fn detached(status: &str) -> (String, Vec<String>, String) {
        ("false".into(), Vec::new(), status.into())
    }

    #[test]
    fn the_answer_is_a_return_value() {
        let bench = Bench::new(|_| {});
        let body = modify(&bench, &format!("{ENABLED}=true&{FUNCTION}={ARN}")).unwrap();
        assert!(
            body.ends_with("<requestId>r</requestId><return>true</return></ModifyClientVpnEndpointResponse>"),
            "{body}"
        );
    }

    #[test]
    fn a_handler_is_attached_and_detached_at_once_unless_that_takes_time() {
        let bench = Bench::new(|_| {});
        assert_eq!(listed(&bench), detached("applied"));
        attach(&bench);
        assert_eq!(listed(&bench), attached("applied"));
        modify(&bench, &format!("{ENABLED}=false")).unwrap();
        assert_eq!(listed(&bench), detached("applied"));
    }

    #[test]
    fn options_are_applying_until_the_delay_is_over() {
        let bench = Bench::new(slow);
        assert_eq!(listed(&bench), detached("applied"));
        attach(&bench);
        assert_eq!(listed(&bench), attached("applying"));
        bench.clock.advance(Duration::from_millis(9_999));
        assert_eq!(listed(&bench), attached("applying"));
        bench.clock.advance(Duration::from_millis(1));
        assert_eq!(listed(&bench), attached("applied"));
        modify(&bench, &format!("{ENABLED}=false")).unwrap();
        assert_eq!(listed(&bench), detached("applying"));
    }

    #[test]
    fn each_change_is_applied_anew() {
        let bench = Bench::new(slow);
        attach(&bench);
        bench.clock.advance(Duration::from_secs(6));
        attach(&bench);
        bench.clock.advance(Duration::from_secs(6));
        assert_eq!(listed(&bench), attached("applying"));
        bench.clock.advance(Duration::from_secs(4));
        assert_eq!(listed(&bench), attached("applied"));
    }

    #[test]
    fn an_endpoint_that_is_added_again_has_nothing_left_to_apply() {
        let bench = Bench::new(slow);
        attach(&bench);
        bench.shared.lock().add_endpoint(NewEndpoint::new("cvpn-endpoint-1"), bench.shared.now());
        assert_eq!(listed(&bench), detached("applied"));
    }

    #[test]
    fn a_function_that_is_given_while_disabled_is_checked_and_forgotten() {
        let bench = Bench::new(|_| {});
        attach(&bench);
        assert_eq!(code(&bench, &format!("{ENABLED}=false&{FUNCTION}=gate")), "InvalidParameterValue");
        assert_eq!(listed(&bench), attached("applied"));
        modify(&bench, &format!("{ENABLED}=false&{FUNCTION}={ARN}")).unwrap();
        assert_eq!(listed(&bench), detached("applied"));
    }

    #[test]
    fn only_a_lambda_function_of_the_right_name_can_be_the_handler() {
        for (arn, can) in [
            (ARN, true),
            ("arn:aws-cn:lambda:cn-north-1:123456789012:function:AWSClientVPN-gate:live", true),
            ("arn:aws:lambda:eu-west-1:123456789012:function:gate", false),
            ("arn:aws:lambda:eu-west-1:123456789012:function:awsclientvpn-gate", false),
            ("arn:aws:lambda:eu-west-1:123456789012:function:my-AWSClientVPN-gate", false),
            ("arn:aws:lambda:eu-west-1:123456789012:function:gate:AWSClientVPN-live", false),
            ("arn:aws:lambda:eu-west-1:123456789012:layer:AWSClientVPN-gate", false),
            ("arn:aws:states:eu-west-1:123456789012:function:AWSClientVPN-gate", false),
            ("arn:aws:lambda:eu-west-1:123456789012:function:AWSClientVPN-gate:live:1", false),
            ("AWSClientVPN-gate", false),
        ] {
            let bench = Bench::new(|_| {});
            let answer = modify(&bench, &format!("{ENABLED}=true&{FUNCTION}={arn}"));
            let code = answer.err().map(|error| error.code);
            assert_eq!(code.as_deref(), (!can).then_some("InvalidParameterValue"), "{arn}");
            assert_eq!(listed(&bench).0, can.to_string(), "{arn}");
        }
    }

    #[test]
    fn odd_requests_are_refused() {
        let bench = Bench::new(|_| {});
        assert_eq!(bench.code(ACTION, &format!("{ENABLED}=false")), "MissingParameter");
        let missing = modify(&bench, &format!("{ENABLED}=true")).unwrap_err();
        assert_eq!((missing.status, missing.code.as_str()), (400, "MissingParameter"));
        assert!(missing.message.contains(FUNCTION), "{}", missing.message);
        assert_eq!(code(&bench, &format!("{ENABLED}=true&{FUNCTION}=")), "MissingParameter");
        assert_eq!(code(&bench, ""), "MissingParameter");
        assert_eq!(code(&bench, &format!("{FUNCTION}={ARN}")), "MissingParameter");
        assert_eq!(code(&bench, &format!("{ENABLED}=yes&{FUNCTION}={ARN}")), "InvalidParameterValue");
        assert_eq!(code(&bench, &format!("{ENABLED}=false&ClientConnectOptions.Lambda={ARN}")), "UnknownParameter");
    }

    #[test]
    fn what_aws_could_change_besides_is_refused_and_nothing_changes() {
        for other in [
            "ClientLoginBannerOptions.Enabled=true",
            "ClientRouteEnforcementOptions.Enforced=true",
            "ConnectionLogOptions.Enabled=false",
            "Description=x",
            "DisconnectOnSessionTimeout=false",
            "DnsServers.Enabled=false",
            "SecurityGroupId.1=sg-1",
            "SelfServicePortal=disabled",
            "ServerCertificateArn=arn",
            "SessionTimeoutHours=8",
            "SplitTunnel=true",
            "VpcId=vpc-1",
            "VpnPort=1194",
        ] {
            let bench = Bench::new(|_| {});
            let refused = modify(&bench, &format!("{ENABLED}=true&{FUNCTION}={ARN}&{other}")).unwrap_err();
            assert_eq!(refused.code, "UnknownParameter", "{other}");
            assert!(refused.message.contains(other.split('=').next().unwrap()), "{}", refused.message);
            assert_eq!(listed(&bench), detached("applied"), "{other}");
        }
    }

    #[test]
    fn permission_comes_before_the_dry_run_and_that_before_existence() {
        let bench = Bench::new(|_| {});
        let missing = format!("ClientVpnEndpointId=cvpn-endpoint-9&{ENABLED}=true&{FUNCTION}={ARN}");
        assert_eq!(bench.code(ACTION, &missing), "InvalidClientVpnEndpointId.NotFound");
        assert_eq!(bench.code(ACTION, &format!("{missing}&DryRun=true")), "DryRunOperation");
        bench.shared.lock().denied.insert(ACTION);
        assert_eq!(bench.code(ACTION, &format!("{missing}&DryRun=true")), "UnauthorizedOperation");
        assert_eq!(code(&bench, &format!("{ENABLED}=true&{FUNCTION}={ARN}")), "UnauthorizedOperation");
        assert_eq!(listed(&bench), detached("applied"));
    }

    #[test]
    fn a_dry_run_changes_nothing() {
        let bench = Bench::new(slow);
        assert_eq!(code(&bench, &format!("{ENABLED}=true&{FUNCTION}={ARN}&DryRun=true")), "DryRunOperation");
        assert_eq!(listed(&bench), detached("applied"));
    }

    #[test]
    fn an_endpoint_without_association_can_be_modified() {
        let bench = Bench::new(|_| {});
        bench.shared.lock().add_endpoint(NewEndpoint::new("cvpn-endpoint-1").without_association(), 0);
        attach(&bench);
        assert_eq!(listed(&bench), attached("applied"));
    }

    #[test]
    fn other_endpoints_and_existing_connections_are_left_alone() {
        let bench = Bench::new(|_| {});
        bench.shared.lock().add_endpoint(NewEndpoint::new("cvpn-endpoint-2"), 0);
        bench.connect(NewConnection::user("alice"));
        attach(&bench);
        let body = bench.ask(Action::DescribeEndpoints, "").unwrap();
        assert_eq!(texts(&body, "enabled"), ["true", "false"]);
        assert_eq!(bench.shared.lock().connections[0].status(bench.shared.now()), Status::Active);
    }
}
