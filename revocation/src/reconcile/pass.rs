//! One listing of everything in scope, and the terminate calls that follow from it.
//!
//! Endpoints are listed side by side and pages judged as they arrive, so that the largest endpoint needs no more
//! memory than its pages in flight. Calls go out when the listing is complete or, where it is long, as pages arrive.
//! What a listing shows, and of whom, is in `look`.

use std::time::Duration;

use super::listing::is_listed;
use super::look::Look;
use super::orders::{LOCKS_FRESH_FOR, Orders};
use super::pursuit::Pursuit;
use super::{Revoker, Scope};
use crate::connection::Endpoint;
use crate::name::Name;
use crate::planted::{self, Fault};
use crate::receipt::EndpointReceipt;
use crate::time::Timestamp;

/// Up to this many rows a listing is judged whole, so that a refusal for too many connections ends none at all, and a
/// certificate is known to be shared before anything is asked. A longer one is acted on as its pages arrive.
const JUDGED_WHOLE: usize = 5_000;

/// How long a listing is judged whole. One endpoint that does not answer must not keep the others' people connected:
/// after this, what is there is acted on, and the rest as it arrives.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many endpoints are listed, and how many terminate calls made to one target, at the same time.
pub(super) const SIDE_BY_SIDE: usize = 16;

/// What a listing of everything in scope came to.
pub(super) struct Pass {
    pub(super) begun_at: Timestamp,
    /// When the last page was there. The calls that followed from it may have taken longer.
    pub(super) listed_at: Timestamp,
    pub(super) endpoints: Vec<EndpointReceipt>,
    /// Why it is not a full listing, if it is not.
    pub(super) trouble: Option<String>,
}

impl Pass {
    /// Why an endpoint was not listed to its end, if it was not.
    pub(super) fn trouble_on(&self, endpoint: &Endpoint) -> Option<String> {
        let is_it = |listed: &&EndpointReceipt| listed.endpoint_id == endpoint.id && listed.is_in(&endpoint.target);
        match self.endpoints.iter().find(is_it) {
            Some(listed) => listed.error.clone(),
            None => self.trouble.clone(),
        }
    }
}

impl Revoker {
    /// Lists everything in scope once, makes the terminate calls that follow, and waits for their answers until `until`.
    pub(super) async fn pass(&self, pursuits: &mut [Pursuit], scope: &Scope, until: Timestamp) -> Pass {
        let begun_at = self.clock.now();
        pursuits.iter_mut().for_each(Pursuit::begin_listing);
        let (_listings, mut listed) = self.list_for(pursuits, scope);
        // Read beside the listing, and known before the first call that follows from it.
        let locks_read_at = self.clock.now();
        self.stop_where_lifted(pursuits).await;

        let mut look = Look::new(scope, &self.policy, pursuits, locks_read_at);
        let mut orders = Orders::new(self.vpn.len());
        let mut late = false;
        loop {
            tokio::select! {
                biased;
                report = listed.recv() => match report {
                    Some(report) => look.hear(pursuits, report),
                    None => break,
                },
                () = self.clock.reached(begun_at.plus(PATIENCE)), if !late => late = true,
            }
            if late || look.rows_seen() > JUDGED_WHOLE {
                self.stop_where_lifted_since(pursuits, &mut look).await;
                orders.send(self, look.due(pursuits), look.locks_read_at);
            }
        }
        let listed_at = self.clock.now();
        let troubles = look.close(|endpoint| is_listed(pursuits, endpoint));
        self.stop_where_lifted_since(pursuits, &mut look).await;
        look.settle_unsure(pursuits, troubles.is_empty());
        orders.send(self, look.due(pursuits), look.locks_read_at);
        look.forget_unlisted(pursuits);
        let endpoints = look.endpoint_receipts();
        for (order, answers) in orders.answers(self, until).await {
            if let Some(pursuit) = pursuits.get_mut(order.pursuit) {
                pursuit.told(&order, &answers);
            }
        }
        Pass { begun_at, listed_at, endpoints, trouble: (!troubles.is_empty()).then(|| troubles.join("; ")) }
    }

    /// Reads the locks again where calls are about to follow, and what is known of the locks has grown old.
    async fn stop_where_lifted_since(&self, pursuits: &mut [Pursuit], look: &mut Look<'_>) {
        let now = self.clock.now();
        if now.since(look.locks_read_at) < LOCKS_FRESH_FOR || !look.may_lead_to_calls(pursuits) {
            return;
        }
        look.locks_read_at = now;
        self.stop_where_lifted(pursuits).await;
        look.leave_let_in(pursuits);
    }

    /// Reads the locks again before anything is ended under them: lifted means stop.
    async fn stop_where_lifted(&self, pursuits: &mut [Pursuit]) {
        let names: Vec<Name> = pursuits.iter().flat_map(Pursuit::names_to_hold).cloned().collect();
        if names.is_empty() || planted::is(Fault::IgnoreRestore) {
            return;
        }
        match self.locks.read(&names).await {
            Ok(locks) => {
                let now = self.clock.now();
                pursuits.iter_mut().for_each(|pursuit| pursuit.heed_locks(&locks, now));
            }
            // Not knowing, nothing is ended in this round.
            Err(error) => {
                for pursuit in pursuits.iter_mut().filter(|pursuit| !pursuit.names_to_hold().is_empty()) {
                    pursuit.blocked = Some(error.to_string());
                }
            }
        }
    }
}
