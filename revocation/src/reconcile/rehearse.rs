//! Rehearsals, which change nothing: a dry run says what a command would do, shadow mode records what an event would
//! have done.

use serde_json::json;
use tokio::task::JoinSet;

use super::pursuit::{Goal, Pursuit, State};
use super::{Case, Revoker, Verdict, all_of};
use crate::connection::{ConnectionId, EndpointId};
use crate::planted::{self, Fault};
use crate::policy::Mode;
use crate::ports::{VpnError, Which};
use crate::receipt::{EndpointReceipt, Outcome};

impl Revoker {
    /// Nothing is to be changed: a dry run, or shadow mode.
    pub(super) fn is_rehearsal(&self, case: &Case) -> bool {
        let is_shadowed = self.mode(case) == Mode::Shadow && !planted::is(Fault::ActInShadow);
        case.signal.dry_run || is_shadowed
    }

    /// The mode in which a case is taken: what is replayed from an archive is only audited.
    pub(super) fn mode(&self, case: &Case) -> Mode {
        if case.signal.replay.is_some() { Mode::Shadow } else { self.policy.mode }
    }

    /// What a verdict becomes where nothing was to be changed.
    ///
    /// A dry run tells the truth about what would be refused; shadow mode records everything as `shadowed`, with what
    /// it would have been.
    pub(super) fn rehearsed_verdict(&self, case: &Case, mut verdict: Verdict) -> Verdict {
        if verdict.repeated || verdict.outcome.is_retryable() {
            return verdict;
        }
        if case.signal.dry_run {
            if matches!(verdict.outcome, Outcome::Completed | Outcome::Restored | Outcome::Aliased) {
                verdict.outcome = Outcome::Planned;
            }
        } else if self.mode(case) == Mode::Shadow {
            verdict.detail.insert("would_be".to_owned(), json!(verdict.outcome));
            verdict.outcome = Outcome::Shadowed;
        }
        verdict
    }

    /// Asks EC2 whether it would permit what a dry run plans, on every endpoint that was listed.
    pub(super) async fn ask_permission(&self, pursuits: &[Pursuit], endpoints: &mut [EndpointReceipt]) {
        let mut asked = JoinSet::new();
        let rehearsed = || pursuits.iter().filter(|pursuit| pursuit.dry_run && pursuit.state == State::Rehearsed);
        for (number, endpoint) in endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.error.is_none()) {
            let Some(which) = rehearsed().find_map(|pursuit| what_to_ask(pursuit, &endpoint.endpoint_id)) else {
                continue;
            };
            let Some(vpn) = self.vpn.iter().find(|vpn| endpoint.is_in(vpn.target())).cloned() else { continue };
            let id = endpoint.endpoint_id.clone();
            asked.spawn(async move { (number, vpn.may_terminate(&id, &which).await) });
        }
        for (number, answer) in all_of(asked).await {
            if let Some(endpoint) = endpoints.get_mut(number) {
                endpoint.permitted = Some(answer.is_ok());
                endpoint.error = answer.err().map(|error: VpnError| error.to_string());
            }
        }
    }
}

/// What to ask about: a connection that would be ended, else the one that is sought there, or the name as it would be.
fn what_to_ask(pursuit: &Pursuit, endpoint: &EndpointId) -> Option<Which> {
    let found: Option<ConnectionId> = pursuit.some_connection_on(endpoint);
    match (found, &pursuit.goal) {
        (Some(id), _) => Some(Which::Id(id)),
        (None, Goal::One { endpoint: on, connection }) => {
            Some(Which::Id(connection.clone())).filter(|_| on.id == *endpoint)
        }
        (None, goal) => goal.names().first().map(|name| Which::User(name.as_str().to_owned())),
    }
}
