//! Client VPN in every target of the deployment.

use std::fmt;

use revocation::connection::{EndpointId, Target};
use revocation::policy::Policy;
use revocation::ports::{ClientVpn, VpnError};

use super::CliError;
use super::aws::Aws;
use super::error::{cause, with_next};
use super::output::shown;
use crate::ec2::Door;
use crate::{Ec2ClientVpn, Settings};

/// Where a target's role can't be assumed from here.
const NOT_OURS: &str = "where its trust is for the function alone, as it should be, look with a profile of that account, and name both tables";

/// What could not be looked at, and why.
pub(super) struct Trouble {
    text: String,
    /// In another account, to which only the function has a way.
    pub(super) elsewhere: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Client VPN in every target, as this machine reaches it.
pub(super) struct Targets {
    pub(super) vpn: Vec<Ec2ClientVpn>,
    /// Which endpoints are the function's to act on.
    pub(super) scope: Policy,
}

impl Targets {
    pub(super) async fn of(settings: &Settings, aws: &Aws) -> Result<Self, CliError> {
        let config = aws.config(crate::aws::timeouts()).await?;
        let mut vpn = Vec::new();
        for target in &settings.targets {
            let about = Target { region: target.region.clone(), account: target.account().map(str::to_owned) };
            let ec2 = target.client(&config, &config).await;
            vpn.push(Ec2ClientVpn::new(ec2, about).acting_as(target.role_arn.as_deref(), NOT_OURS));
        }
        Ok(Self { vpn, scope: settings.policy.clone() })
    }

    /// The doors of all endpoints in scope, with the target that each is in, and what could not be looked at.
    pub(super) async fn doors(&self) -> (Vec<(&Ec2ClientVpn, Door)>, Vec<Trouble>) {
        let (mut doors, mut troubles) = (Vec::new(), Vec::new());
        for vpn in &self.vpn {
            match vpn.doors().await {
                // As the function sees it: its Region may be wrong.
                Ok(found) if found.is_empty() && self.scope.endpoints.is_empty() => {
                    troubles.push(trouble(&place(vpn.target()), &VpnError::no_endpoints(&vpn.target().region)));
                }
                Ok(found) => {
                    let in_scope = found.into_iter().filter(|door| self.scope.in_scope(&door.endpoint));
                    doors.extend(in_scope.map(|door| (vpn, door)));
                }
                Err(error) => troubles.push(trouble(&place(vpn.target()), &error)),
            }
        }
        let is_there = |id: &EndpointId| doors.iter().any(|(_, door): &(_, Door)| door.endpoint == *id);
        // Where a target could not be asked, it may be there.
        if troubles.is_empty() {
            let missing = self.scope.endpoints.iter().filter(|id| !is_there(id));
            let missing = missing.map(|id| VpnError::no_such_endpoint(id).to_string());
            troubles.extend(missing.map(|text| Trouble { text, elsewhere: false }));
        }
        (doors, troubles)
    }
}

/// A target in words.
pub(super) fn place(target: &Target) -> String {
    match &target.account {
        Some(account) => format!("{} of {account}", target.region),
        None => target.region.clone(),
    }
}

/// Why something could not be looked at.
pub(super) fn trouble(at: &str, error: &VpnError) -> Trouble {
    let why = cause(error);
    let elsewhere = why.contains(NOT_OURS);
    // What to do stands in it then.
    let why = if elsewhere { shown(&why) } else { with_next(&why) };
    Trouble { text: format!("{at} could not be looked at: {why}"), elsewhere }
}
