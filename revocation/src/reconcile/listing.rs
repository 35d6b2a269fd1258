//! Listing: every endpoint side by side, every page of each, as they arrive.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::pass::SIDE_BY_SIDE;
use super::pursuit::{Goal, Pursuit};
use super::{Revoker, Scope};
use crate::connection::{Connection, ConnectionId, Endpoint};
use crate::planted::{self, Fault};
use crate::ports::{ClientVpn, Page, PageToken, VpnError, VpnErrorKind};

/// The most ids that one filter takes
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>).
pub(super) const MAX_FILTER_VALUES: usize = 200;

/// What a listing task reports.
pub(super) enum Listed {
    Page { on: usize, rows: Vec<Connection>, whole: bool },
    Failed { on: usize, error: VpnError },
    Done { on: usize },
}

/// Whether an endpoint has to be looked at: all of them, unless single connections are all that is sought.
pub(super) fn is_listed(pursuits: &[Pursuit], endpoint: &Endpoint) -> bool {
    pursuits.iter().filter(|pursuit| pursuit.is_open()).any(|pursuit| match &pursuit.goal {
        Goal::One { endpoint: wanted, .. } => wanted == endpoint,
        Goal::Locked { .. } | Goal::Existing { .. } => true,
    })
}

impl Revoker {
    /// Lists what the pursuits need.
    pub(super) fn list_for(&self, pursuits: &[Pursuit], scope: &Scope) -> (JoinSet<()>, mpsc::Receiver<Listed>) {
        let only: Vec<ConnectionId> = (pursuits.iter().filter(|pursuit| pursuit.is_open()))
            .map(|pursuit| match &pursuit.goal {
                Goal::One { connection, .. } => Some(connection.clone()),
                Goal::Locked { .. } | Goal::Existing { .. } => None,
            })
            .collect::<Option<Vec<_>>>()
            .filter(|ids| ids.len() <= MAX_FILTER_VALUES)
            .unwrap_or_default();
        self.list_all(scope, 0, &only, |endpoint| is_listed(pursuits, endpoint))
    }

    /// Lists the endpoints that are wanted, side by side, those from `first` on before the others; of each only some
    /// connections, if any are named.
    pub(super) fn list_all(
        &self,
        scope: &Scope,
        first: usize,
        only: &[ConnectionId],
        wanted: impl Fn(&Endpoint) -> bool,
    ) -> (JoinSet<()>, mpsc::Receiver<Listed>) {
        let (report, listed) = mpsc::channel(SIDE_BY_SIDE);
        let mut listings = JoinSet::new();
        let gate = Arc::new(Semaphore::new(SIDE_BY_SIDE));
        let numbered = || scope.endpoints.iter().enumerate();
        for (on, (target, endpoint)) in numbered().skip(first).chain(numbered().take(first)) {
            let Some(vpn) = self.vpn.get(*target).cloned() else {
                continue;
            };
            if !wanted(endpoint) {
                continue;
            }
            let (report, endpoint, only, gate) = (report.clone(), endpoint.clone(), only.to_vec(), Arc::clone(&gate));
            listings.spawn(async move {
                let _turn = gate.acquire().await;
                list(&*vpn, on, &endpoint, &only, &report).await;
            });
        }
        (listings, listed)
    }
}

/// The tokens of the pages asked for so far.
#[derive(Default)]
struct Tokens(Vec<PageToken>);

impl Tokens {
    fn last(&self) -> Option<&PageToken> {
        self.0.last()
    }

    /// Whether there is a next page. One that was there before would never come to an end.
    fn go_on(&mut self, next: Option<PageToken>, endpoint: &Endpoint) -> Result<bool, VpnError> {
        let Some(token) = next else { return Ok(false) };
        if self.0.contains(&token) {
            return Err(VpnError::endless_listing(&endpoint.id));
        }
        self.0.push(token);
        Ok(true)
    }
}

/// Lists one endpoint, page by page, as it goes.
async fn list(
    vpn: &dyn ClientVpn,
    on: usize,
    endpoint: &Endpoint,
    only: &[ConnectionId],
    report: &mpsc::Sender<Listed>,
) {
    let mut tokens = Tokens::default();
    let last = loop {
        let is_first = tokens.last().is_none();
        match vpn.connections(&endpoint.id, only, tokens.last()).await {
            Ok(Page { connections, next }) => {
                let whole = is_first && next.is_none() && only.is_empty();
                if report.send(Listed::Page { on, rows: connections, whole }).await.is_err() {
                    return;
                }
                match tokens.go_on(next, endpoint) {
                    Ok(true) if !planted::is(Fault::SkipLaterPages) => {}
                    Ok(_) => break Listed::Done { on },
                    Err(error) => break Listed::Failed { on, error },
                }
            }
            // An endpoint that is attached to no network holds no session. One that is said not to exist proves
            // nothing: EC2 has just named it, and will not name it again if it is gone.
            Err(error) if error.kind == VpnErrorKind::NoAssociation && is_first => break Listed::Done { on },
            Err(error) => break Listed::Failed { on, error },
        }
    };
    // Nobody listens any more where the run was cut off.
    let _ = report.send(last).await;
}

/// Every row of a listing narrowed to some ids.
pub(super) async fn all_pages(
    vpn: &dyn ClientVpn,
    endpoint: &Endpoint,
    only: &[ConnectionId],
) -> Result<Vec<Connection>, VpnError> {
    let mut rows = Vec::new();
    let mut tokens = Tokens::default();
    loop {
        let Page { connections, next } = vpn.connections(&endpoint.id, only, tokens.last()).await?;
        rows.extend(connections);
        if !tokens.go_on(next, endpoint)? {
            return Ok(rows);
        }
    }
}

#[cfg(test)]
mod tests;
