//! The endpoints in scope, and what keeps the scope from being complete.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::{Revoker, next_of};
use crate::connection::{Endpoint, EndpointId, Target};
use crate::planted::{self, Fault};
use crate::ports::VpnError;
use crate::receipt::EndpointReceipt;

/// How long a target may take to name its endpoints, before the others go on without it.
const ENDPOINTS_IN: Duration = Duration::from_secs(8);

/// Stands in an answer for every endpoint of a target, where none could be named.
pub(super) const EVERY: &str = "*";

/// The endpoints in scope, and the targets that could not be asked for theirs.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// Each with the number of its target's port in [`Revoker::vpn`]. An endpoint's own number in this list is called `on`.
    pub(super) endpoints: Vec<(usize, Endpoint)>,
    pub(super) troubles: Vec<EndpointReceipt>,
}

impl Revoker {
    /// The same scope for all of a delivery, asked for by whoever needs it first.
    pub(super) async fn scope_once<'a>(&self, scope: &'a OnceCell<Scope>) -> &'a Scope {
        scope.get_or_init(|| self.scope()).await
    }

    /// The endpoints in scope, asked for once per listing.
    pub(super) async fn scope(&self) -> Scope {
        let mut scope = Scope::default();
        let mut asked = JoinSet::new();
        for (number, vpn) in self.vpn.iter().cloned().enumerate() {
            asked.spawn(async move { (number, vpn.endpoints().await) });
        }
        let late_at = self.clock.now().plus(ENDPOINTS_IN);
        let mut answers: Vec<_> = Vec::new();
        while let Some(Some(answer)) = self.in_time(late_at, next_of(&mut asked)).await {
            answers.push(answer);
        }
        for (number, vpn) in self.vpn.iter().enumerate() {
            let target = Arc::new(vpn.target().clone());
            match answers.iter().find(|(answered, _)| *answered == number) {
                Some((_, Ok(ids))) => {
                    let in_scope = ids.iter().filter(|id| self.policy.in_scope(id));
                    scope
                        .endpoints
                        .extend(in_scope.map(|id| (number, Endpoint { target: Arc::clone(&target), id: id.clone() })));
                }
                Some((_, Err(error))) => scope.trouble(&target, EndpointId::new(EVERY), error),
                None => {
                    let error = VpnError::late(&target);
                    scope.trouble(&target, EndpointId::new(EVERY), &error);
                }
            }
        }
        if planted::is(Fault::WaitForEveryTarget) && !scope.troubles.is_empty() {
            scope.endpoints.clear();
        }
        self.note_missing_endpoints(&mut scope);
        if planted::is(Fault::ForgetSilentTarget) {
            scope.troubles.clear();
        }
        scope
    }

    /// Nothing is taken for "nobody is connected" that may be a mistake of the configuration: an endpoint that is named
    /// there and is nowhere, or a target without any endpoint, as in the wrong Region.
    fn note_missing_endpoints(&self, scope: &mut Scope) {
        let found = |id: &EndpointId| scope.endpoints.iter().any(|(_, endpoint)| endpoint.id == *id);
        let missing: Vec<EndpointId> = self.policy.endpoints.iter().filter(|id| !found(id)).cloned().collect();
        let answered = |target: &Target| !scope.troubles.iter().any(|trouble| trouble.is_in(target));
        let has_any = |number: usize| scope.endpoints.iter().any(|(of, _)| *of == number);
        let targets = self.vpn.iter().map(|vpn| vpn.target().clone()).enumerate();
        let empty: Vec<Target> = targets
            .filter(|(number, target)| self.policy.endpoints.is_empty() && answered(target) && !has_any(*number))
            .map(|(_, target)| target)
            .collect();
        for target in empty {
            scope.trouble(&target, EndpointId::new(EVERY), &VpnError::no_endpoints(&target.region));
        }
        // Where a target could not be asked, the endpoint may be there.
        if !scope.troubles.is_empty() {
            return;
        }
        let Some(target) = self.vpn.first().map(|vpn| vpn.target().clone()) else { return };
        for id in missing {
            let error = VpnError::no_such_endpoint(&id);
            scope.trouble(&target, id, &error);
        }
    }
}

impl Scope {
    /// Notes why the scope is not complete: something is wrong with an endpoint, or with [`EVERY`] one of a target.
    pub(super) fn trouble(&mut self, target: &Target, endpoint_id: EndpointId, error: &VpnError) {
        self.troubles.push(EndpointReceipt::new(target, endpoint_id, Some(error.to_string())));
    }

    /// What is wrong, in words.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.troubles.iter().filter_map(|receipt| receipt.error.clone()).collect()
    }
}
