//! The endpoints: whether they are found, who is asked at their doors, and whether the function may end connections there.

use serde_json::{Value, json};

use super::Findings;
use crate::Settings;
use crate::cli::act::new_id;
use crate::cli::aws::Aws;
use crate::cli::deployment::Deployment;
use crate::cli::function::is_in_shadow;
use crate::cli::handler::{OURS, Row, WATCHING};
use crate::cli::our_handlers::Handlers;
use crate::cli::output::{shown, word};
use crate::cli::targets::Targets;

/// Nobody's name: the function is asked what it would do about it.
const NOBODY: &str = "vpn-revoker-doctor";

pub(super) async fn look(findings: &mut Findings, settings: &Settings, deployment: &Deployment, aws: &Aws) {
    match Targets::of(settings, aws).await {
        Ok(targets) => doors(findings, &targets, deployment, aws).await,
        Err(error) => findings.failed("endpoints", &error),
    }
    permissions(findings, deployment, aws).await;
}

async fn doors(findings: &mut Findings, targets: &Targets, deployment: &Deployment, aws: &Aws) {
    let (doors, troubles) = targets.doors().await;
    for trouble in troubles {
        let (what, text) = ("endpoints", trouble.to_string());
        match trouble.elsewhere {
            true => findings.look(what, text, "below stands whether the function may end connections there"),
            false => findings.wrong(
                what,
                text,
                "check TARGETS and ENDPOINTS of the function, --region, and your own permissions",
            ),
        }
    }
    let ours = match Handlers::of(deployment, aws).await {
        Ok(ours) => ours,
        Err(error) => {
            findings.look("connect handlers", error.to_string(), "vpn-revoker handler status --handler ARN");
            Handlers::unknown()
        }
    };
    let acts = deployment.configuration(aws).await.is_ok_and(|function| !is_in_shadow(&function.variables));
    for (vpn, door) in &doors {
        let row = Row::new(vpn, door, &ours);
        let what = format!("endpoint {}", door.endpoint);
        let found = format!("{}, connect handler: {}", door.status, row.state);
        let attach = format!("vpn-revoker handler attach {}", door.endpoint);
        match (row.state, &door.handler) {
            (WATCHING, _) if acts => findings.wrong(
                &what,
                format!("{found}: it lets in whoever is locked"),
                "deploy the connect handler with Mode=enforce",
            ),
            (OURS | WATCHING, _) => findings.fine(&what, found),
            ("unchecked", _) => {
                findings.look(&what, found, "vpn-revoker handler status --handler ARN tells whether it is ours");
            }
            ("applying", _) => findings.look(&what, found, "it comes into force within minutes"),
            (_, Some(arn)) => findings.look(
                &what,
                format!("{found}, {}", shown(arn)),
                "whoever is locked comes back until a sweep, unless that function asks ours",
            ),
            (_, None) => findings.wrong(&what, format!("{found}: whoever is locked comes back until a sweep"), &attach),
        }
    }
}

/// By EC2's own word: a dry run, made by the function, in its own role.
pub(super) async fn permissions(findings: &mut Findings, deployment: &Deployment, aws: &Aws) {
    let what = "permission to end connections";
    let command =
        json!({"action": "revoke", "subjects": [NOBODY], "reason": "doctor", "id": new_id(), "dry_run": true});
    let asked = match deployment.function(aws).await {
        Ok(function) => function.invoke(&command).await,
        Err(error) => Err(error),
    };
    let receipt = match asked {
        Ok(receipt) => receipt,
        Err(error) => return findings.failed(what, &error),
    };
    let endpoints = receipt.get("endpoints").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut granted = 0_usize;
    for endpoint in &endpoints {
        let [id, error] = ["endpoint_id", "error"].map(|key| shown(&word(endpoint.get(key))));
        match (endpoint.get("permitted").and_then(Value::as_bool), error.is_empty()) {
            (Some(true), _) => granted = granted.saturating_add(1),
            (Some(false), _) => findings.wrong(
                what,
                format!("{id}: {error}"),
                "the function's role needs ec2:TerminateClientVpnConnections there",
            ),
            (None, false) => findings.wrong(
                what,
                format!("the function could not look at {id}: {error}"),
                "check that target's Region, role and permissions",
            ),
            (None, true) => findings.look(
                what,
                format!("{id} was not asked, because something else could not be looked at"),
                "look again when the rest is mended",
            ),
        }
    }
    if granted > 0 {
        findings.fine(what, format!("granted on {granted} endpoints, says EC2's dry run"));
    }
    if endpoints.is_empty() {
        let first = receipt.get("subjects").and_then(|subjects| subjects.get(0));
        let why = shown(&word(first.and_then(|first| first.get("error"))));
        findings.wrong(what, format!("no endpoint was asked: {why}"), "see the function's log");
    }
}
