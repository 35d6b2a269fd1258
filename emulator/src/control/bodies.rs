//! What other processes and seeds say, in JSON.

use std::time::Duration;

use super::fields::{FieldError, Fields, document};
use crate::actions::Action;
use crate::faults::{Fault, FaultKind};
use crate::state::{Authentication, NewConnection, NewEndpoint};

/// Endpoints and connections to begin with.
#[derive(Debug, Clone)]
pub struct Seed {
    pub(crate) endpoints: Vec<NewEndpoint>,
    pub(crate) connections: Vec<(String, NewConnection)>,
}

impl Seed {
    /// Reads a seed: an object with the lists `endpoints` and `connections`, whose entries look like the bodies of
    /// `POST /_emulator/endpoints` and `POST /_emulator/connections`.
    ///
    /// # Errors
    /// When something is missing, misspelt or of the wrong kind; the error names the field.
    pub fn from_json(json: &str) -> Result<Self, FieldError> {
        let mut fields = document(json.as_bytes())?;
        let endpoints = fields.objects("endpoints")?.into_iter().map(endpoint).collect::<Result<_, _>>()?;
        let connections = fields.objects("connections")?.into_iter().map(connection).collect::<Result<_, _>>()?;
        fields.finish()?;
        Ok(Self { endpoints, connections })
    }
}

/// The body of `POST /_emulator/endpoints`.
pub(super) fn endpoint(mut fields: Fields) -> Result<NewEndpoint, FieldError> {
    let mut endpoint = NewEndpoint::generated();
    endpoint.id = fields.optional("endpoint_id")?;
    endpoint.description = fields.optional("description")?;
    if let Some(authentication) = fields.optional::<Vec<Authentication>>("authentication")? {
        endpoint.authentication = authentication;
    }
    endpoint.associated = fields.optional("associated")?.unwrap_or(true);
    endpoint.status = fields.optional("status")?;
    if let Some(protocol) = fields.optional("transport_protocol")? {
        endpoint.transport_protocol = protocol;
    }
    endpoint.connect_handler = fields.optional("connect_handler")?;
    fields.finish()?;
    Ok(endpoint)
}

/// The body of `POST /_emulator/connections`: the endpoint and the client.
pub(super) fn connection(mut fields: Fields) -> Result<(String, NewConnection), FieldError> {
    let endpoint_id = fields.required("endpoint_id")?;
    let username: Option<String> = fields.optional("username")?;
    let common_name: Option<String> = fields.optional("common_name")?;
    let mut client = match (username, common_name) {
        (Some(username), None) => NewConnection::user(username),
        (Some(username), Some(common_name)) => NewConnection::user(username).common_name(common_name),
        (None, Some(common_name)) => NewConnection::certificate(common_name),
        (None, None) => return Err(fields.error("username", "is missing, and so is common_name; give one or both")),
    };
    client.reconnects_after = seconds(&mut fields, "reconnects_after_seconds")?;
    client.established_ago = seconds(&mut fields, "established_seconds_ago")?.unwrap_or_default();
    fields.finish()?;
    Ok((endpoint_id, client))
}

/// The body of `POST /_emulator/clock`.
pub(super) fn advance(mut fields: Fields) -> Result<Duration, FieldError> {
    let name = "advance_seconds";
    let by = seconds(&mut fields, name)?.ok_or_else(|| fields.error(name, "is missing"))?;
    fields.finish()?;
    Ok(by)
}

/// The body of `POST /_emulator/faults`.
pub(super) fn fault(mut fields: Fields) -> Result<Fault, FieldError> {
    let name: String = fields.required("action")?;
    let action = Action::from_name(&name)
        .ok_or_else(|| fields.error("action", format!("there is no action {name}; see the README for the four")))?;
    let kind = fault_kind(&mut fields)?;
    if !kind.applies_to(action) {
        return Err(fields.error("kind", format!("{} cannot happen to {action}", kind.name())));
    }
    let mut fault = Fault::on(action).kind(kind);
    match (fields.optional("times")?, fields.optional("always")?.unwrap_or(false)) {
        (Some(_), true) => return Err(fields.error("always", "cannot be used together with times")),
        (Some(times), false) => fault = fault.times(times),
        (None, true) => fault = fault.always(),
        (None, false) => {}
    }
    if let Some(after) = fields.optional("after")? {
        fault = fault.after(after);
    }
    if let Some(endpoint_id) = fields.optional::<String>("endpoint_id")? {
        fault = fault.endpoint(endpoint_id);
    }
    fields.finish()?;
    Ok(fault)
}

fn fault_kind(fields: &mut Fields) -> Result<FaultKind, FieldError> {
    let kind: String = fields.required("kind")?;
    Ok(match kind.as_str() {
        "error" => FaultKind::Error {
            status: status(fields)?.unwrap_or(503),
            code: fields.required("code")?,
            message: fields.optional("message")?.unwrap_or_default(),
        },
        "bare-status" => FaultKind::BareStatus(status(fields)?.unwrap_or(503)),
        "lost-answer" => FaultKind::LostAnswer,
        "hang" => FaultKind::Hang,
        "repeated-token" => FaultKind::RepeatedToken,
        "failed-to-terminate" => FaultKind::FailedToTerminate(fields.optional("message")?.unwrap_or_default()),
        "unknown-status" => FaultKind::UnknownStatus(fields.required("code")?),
        "empty-statuses" => FaultKind::EmptyStatuses { effect: true },
        "ignored" => FaultKind::EmptyStatuses { effect: false },
        other => return Err(fields.error("kind", format!("there is no fault {other}; see the README for the nine"))),
    })
}

fn status(fields: &mut Fields) -> Result<Option<u16>, FieldError> {
    match fields.optional("status")? {
        Some(status) if !(400..=599).contains(&status) => {
            Err(fields.error("status", "expected an HTTP status from 400 to 599"))
        }
        status => Ok(status),
    }
}

/// A number of seconds, with a fraction if need be.
fn seconds(fields: &mut Fields, name: &str) -> Result<Option<Duration>, FieldError> {
    let seconds: Option<f64> = fields.optional(name)?;
    seconds
        .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(|error| fields.error(name, error.to_string())))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        document(json.as_bytes()).unwrap()
    }

    fn fault_error(json: &str) -> String {
        fault(fields(json)).unwrap_err().to_string()
    }

    #[test]
    fn a_client_has_a_user_name_a_certificate_or_both() {
        let read = |json| connection(fields(json)).map(|(_, client)| (client.username, client.common_name));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read(r#"{"endpoint_id":"e","username":"a"}"#).unwrap(), (some("a"), some("a")));
        assert_eq!(read(r#"{"endpoint_id":"e","common_name":"c"}"#).unwrap(), (None, some("c")));
        let both = r#"{"endpoint_id":"e","username":"a","common_name":"c"}"#;
        assert_eq!(read(both).unwrap(), (some("a"), some("c")));
        assert_eq!(read(r#"{"endpoint_id":"e"}"#).unwrap_err().field, "username");
        assert_eq!(read(r#"{"username":"a"}"#).unwrap_err().field, "endpoint_id");
    }

    #[test]
    fn every_kind_of_fault_can_be_asked_for_by_its_name() {
        for (kind, action, more) in [
            ("error", "TerminateClientVpnConnections", r#","code":"InternalError","status":500"#),
            ("bare-status", "TerminateClientVpnConnections", r#","times":3,"after":1"#),
            ("lost-answer", "TerminateClientVpnConnections", r#","always":true"#),
            ("hang", "DescribeClientVpnEndpoints", ""),
            ("lost-answer", "ModifyClientVpnEndpoint", ""),
            ("repeated-token", "DescribeClientVpnConnections", r#","endpoint_id":"cvpn-endpoint-1""#),
            ("failed-to-terminate", "TerminateClientVpnConnections", r#","message":"no""#),
            ("unknown-status", "DescribeClientVpnConnections", r#","code":"paused""#),
            ("empty-statuses", "TerminateClientVpnConnections", ""),
            ("ignored", "TerminateClientVpnConnections", ""),
        ] {
            assert!(fault(fields(&format!(r#"{{"action":"{action}","kind":"{kind}"{more}}}"#))).is_ok(), "{kind}");
        }
    }

    #[test]
    fn a_fault_that_cannot_be_is_refused_by_field() {
        assert!(fault_error(r#"{"action":"Terminate","kind":"hang"}"#).starts_with("action: "));
        let terminate = r#"{"action":"TerminateClientVpnConnections","kind":"#;
        assert!(fault_error(&format!(r#"{terminate}"flood"}}"#)).starts_with("kind: "));
        assert!(fault_error(&format!(r#"{terminate}"repeated-token"}}"#)).starts_with("kind: "));
        assert!(fault_error(&format!(r#"{terminate}"bare-status","status":200}}"#)).starts_with("status: "));
        assert!(fault_error(&format!(r#"{terminate}"hang","times":1,"always":true}}"#)).starts_with("always: "));
        assert!(fault_error(&format!(r#"{terminate}"hang","time":1}}"#)).starts_with("time: "));
    }

    #[test]
    fn seconds_may_have_a_fraction_and_no_sign() {
        assert_eq!(advance(fields(r#"{"advance_seconds":1.5}"#)).unwrap(), Duration::from_millis(1_500));
        assert_eq!(advance(fields(r#"{"advance_seconds":-1}"#)).unwrap_err().field, "advance_seconds");
        assert_eq!(advance(fields("{}")).unwrap_err().field, "advance_seconds");
    }

    #[test]
    fn an_error_in_a_seed_names_the_place() {
        let seed = r#"{"endpoints":[{"endpoint_id":"e"}],"connections":[{"endpoint_id":"e","user":"a"}]}"#;
        assert_eq!(Seed::from_json(seed).unwrap_err().field, "connections[0].username");
        let seed = r#"{"endpoints":[{"authentication":["saml"]}]}"#;
        assert_eq!(Seed::from_json(seed).unwrap_err().field, "endpoints[0].authentication");
        assert_eq!(Seed::from_json(r#"{"endpoint":[]}"#).unwrap_err().field, "endpoint");
    }

    #[test]
    fn the_seed_that_is_shipped_can_be_read() {
        let seed = Seed::from_json(include_str!("../../examples/seed.json")).unwrap();
        assert!(!seed.endpoints.is_empty() && !seed.connections.is_empty());
    }
}
