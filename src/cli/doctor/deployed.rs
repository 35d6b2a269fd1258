//! The function, its configuration, and its last sweep.

use std::sync::Arc;
use std::time::Duration;

use revocation::breaker::Brake;
use revocation::ports::Clock;

use super::Findings;
use crate::SystemClock;
use crate::cli::aws::Aws;
use crate::cli::deployment::{Configuration, Deployment};
use crate::cli::function::is_in_shadow;
use crate::cli::output::shown;

/// The rarest sweep that the stack offers comes every fifteen minutes.
const SWEPT_WITHIN: Duration = Duration::from_secs(20 * 60);

pub(super) async fn look(findings: &mut Findings, deployment: &Deployment, aws: &Aws) {
    match deployment.configuration(aws).await {
        Ok(configuration) => look_at(findings, configuration),
        Err(error) => findings.failed("function", &error),
    }
    match deployment.locks(aws).await {
        Ok(locks) => {
            last_sweep(findings, &locks).await;
            breakers(findings, locks).await;
        }
        Err(error) => findings.failed("locks", &error),
    }
}

fn look_at(findings: &mut Findings, configuration: &Configuration) {
    let of = shown(&configuration.of);
    findings.fine("function", of.clone());
    match is_in_shadow(&configuration.variables) {
        false => findings.fine("mode", "enforce"),
        true => findings.look(
            "mode",
            "shadow: it decides and records, and changes nothing",
            "when the trail shows what you expect, deploy with Mode=enforce",
        ),
    }
    match configuration.all() {
        Ok(_) => {}
        // A value in a file of the function's can't be read from here; the function itself says at its start what is
        // wrong with it.
        Err(error) if configuration.has_files() => findings.look(
            "configuration",
            error.to_string(),
            "its values are in files of the function's own; its log says at the start if any is wrong",
        ),
        Err(error) => findings.wrong("configuration", error.to_string(), "correct it and deploy again"),
    }
}

async fn last_sweep(findings: &mut Findings, locks: &crate::DynamoLocks) {
    let what = "last scheduled sweep";
    let next = "is the schedule enabled? docs/operations.md, sweep silent";
    match locks.last_sweep().await {
        Err(error) => findings.wrong(what, error.cause(), "check the locks table and your permissions on it"),
        Ok(None) => findings.wrong(what, "there was none yet", next),
        Ok(Some((at, outcome))) => {
            let ago = SystemClock.now().since(at);
            let found = format!("{at}, {} minutes ago: {}", ago.as_secs() / 60, shown(&outcome));
            match (ago > SWEPT_WITHIN, outcome.as_str()) {
                (true, _) => findings.wrong(what, found, next),
                (false, "incomplete" | "unresolved") => {
                    findings.wrong(what, found, "its receipt says why: docs/operations.md, sweep incomplete");
                }
                (false, "refused") => findings.look(
                    what,
                    found,
                    "somebody who is locked is still connected: vpn-revoker sessions; docs/operations.md, refused",
                ),
                (false, _) => findings.fine(what, found),
            }
        }
    }
}

async fn breakers(findings: &mut Findings, locks: crate::DynamoLocks) {
    let what = "circuit breakers";
    let authorities = match locks.authorities().await {
        Ok(authorities) => authorities,
        Err(error) => return findings.wrong(what, error.cause(), "check the locks table and your permissions on it"),
    };
    let brake = Brake::new(Arc::new(locks), Arc::new(SystemClock));
    let mut open = Vec::new();
    for authority in &authorities {
        match brake.standing(authority).await {
            Err(error) => return findings.failed(what, &error),
            Ok(standing) if standing.opened_at.is_some() => open.push(shown(authority.as_str())),
            Ok(_) => {}
        }
    }
    match open.is_empty() {
        true => findings.fine(what, "all are closed"),
        false => findings.wrong(
            what,
            format!("open for {}: what it says is refused", open.join(", ")),
            "find out whether so many did leave, then vpn-revoker breaker close",
        ),
    }
}
