//! One listing of everything in scope, and the terminate calls that follow from it.
//!
//! Endpoints are listed side by side and pages judged as they arrive, so that the largest endpoint needs no more
//! memory than its pages in flight. Calls go out when the listing is complete or, where it is long, as pages arrive.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::listing::Listed;
use super::orders::{LOCKS_COUNT_FOR, Order, Orders};
use super::pursuit::{Goal, Pursuit, Spared, State};
use super::{Revoker, Scope};
use crate::connection::{Connection, ConnectionId, Endpoint};
use crate::lock::Lock;
use crate::name::Name;
use crate::plan::{Certificates, Match, OnEndpoint, calls, matches, needs_a_call};
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

/// What one listing shows of one subject, until calls follow from it.
#[derive(Default)]
struct Sighting {
    /// Its connections that may be ended now, by endpoint.
    ready: BTreeMap<usize, Vec<Connection>>,
    /// Those that are left as they are: protected, shared, or ending already.
    others: BTreeMap<usize, Vec<Connection>>,
    /// Those that are the subject's only if their certificate turns out not to be shared.
    unsure: Vec<(usize, Connection)>,
    /// How many were ready so far in this listing.
    found: usize,
}

/// Looks up whose a row may be, without comparing it with every pursuit.
struct Index {
    by_name: HashMap<Name, Vec<usize>>,
    by_id: HashMap<ConnectionId, Vec<usize>>,
}

impl Index {
    fn new(pursuits: &[Pursuit]) -> Self {
        let mut index = Self { by_name: HashMap::new(), by_id: HashMap::new() };
        for (number, pursuit) in pursuits.iter().enumerate().filter(|(_, pursuit)| pursuit.is_open()) {
            for name in pursuit.goal.names() {
                index.by_name.entry(name.clone()).or_default().push(number);
            }
            if let Goal::One { connection, .. } = &pursuit.goal {
                index.by_id.entry(connection.clone()).or_default().push(number);
            }
        }
        index
    }

    fn candidates(&self, row: &Connection) -> BTreeSet<usize> {
        let names = [row.user(), row.certificate()];
        if planted::is(Fault::MatchBySubstring) {
            return self.by_name.values().flatten().copied().collect();
        }
        let named = names.iter().flatten().filter_map(|name| self.by_name.get(name));
        named.chain(self.by_id.get(&row.id)).flatten().copied().collect()
    }
}

/// A listing of everything in scope, as far as it has come, and the calls that followed from it so far.
struct Look<'a> {
    scope: &'a Scope,
    index: Index,
    certificates: Certificates,
    /// What it shows of each pursuit.
    sightings: Vec<Sighting>,
    rows_seen: usize,
    /// The endpoints that stood on one page.
    wholes: BTreeSet<usize>,
    /// Those that were listed to their end.
    done: BTreeSet<usize>,
    /// Those that could not be, and why.
    failed: BTreeMap<usize, String>,
    /// Since when it is known which locks are in force.
    locks_read_at: Timestamp,
    orders: Orders,
}

impl<'a> Look<'a> {
    fn new(scope: &'a Scope, pursuits: &[Pursuit], locks_read_at: Timestamp, targets: usize) -> Self {
        Self {
            scope,
            index: Index::new(pursuits),
            certificates: Certificates::default(),
            sightings: pursuits.iter().map(|_| Sighting::default()).collect(),
            rows_seen: 0,
            wholes: BTreeSet::new(),
            done: BTreeSet::new(),
            failed: BTreeMap::new(),
            locks_read_at,
            orders: Orders::new(targets),
        }
    }

    /// Why it is not a full listing, if it is not; `is_wanted` says of which endpoints it should be.
    fn troubles(&mut self, is_wanted: impl Fn(&Endpoint) -> bool) -> Vec<String> {
        let mut troubles = self.scope.complaints();
        for (on, (_, endpoint)) in self.scope.endpoints.iter().enumerate() {
            if is_wanted(endpoint) && !self.done.contains(&on) {
                let why = self.failed.entry(on).or_insert_with(|| "a fault of ours ended the listing".to_owned());
                troubles.push(format!("{} could not be listed: {why}", endpoint.id));
            }
        }
        troubles
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

        let mut look = Look::new(scope, pursuits, locks_read_at, self.vpn.len());
        let mut late = false;
        loop {
            tokio::select! {
                biased;
                report = listed.recv() => match report {
                    Some(report) => self.hear(pursuits, &mut look, report),
                    None => break,
                },
                () = self.clock.reached(begun_at.plus(PATIENCE)), if !late => late = true,
            }
            if late || look.rows_seen > JUDGED_WHOLE {
                self.act(pursuits, &mut look).await;
            }
        }
        let listed_at = self.clock.now();
        let troubles = look.troubles(|endpoint| self.is_listed(pursuits, endpoint));
        self.stop_where_lifted_since(pursuits, &mut look).await;
        self.settle_unsure(pursuits, &mut look, troubles.is_empty());
        self.order(pursuits, &mut look);
        forget_unlisted(pursuits, scope, &look.done);
        let endpoints = endpoint_receipts(scope, &look.done, &look.failed);
        for (order, answers) in look.orders.answers(self, until).await {
            if let Some(pursuit) = pursuits.get_mut(order.pursuit) {
                pursuit.told(&order, &answers);
            }
        }
        Pass { begun_at, listed_at, endpoints, trouble: (!troubles.is_empty()).then(|| troubles.join("; ")) }
    }

    /// Takes in what a listing reports.
    fn hear(&self, pursuits: &mut [Pursuit], look: &mut Look<'_>, report: Listed) {
        match report {
            Listed::Page { on, rows, whole } => {
                look.rows_seen += rows.len();
                if whole {
                    look.wholes.insert(on);
                }
                for row in &rows {
                    self.sight(pursuits, look, on, row);
                }
            }
            Listed::Failed { on, error } => drop(look.failed.insert(on, error.to_string())),
            Listed::Done { on } => drop(look.done.insert(on)),
        }
    }

    /// Acts on what was seen so far, while the listing goes on.
    async fn act(&self, pursuits: &mut [Pursuit], look: &mut Look<'_>) {
        self.stop_where_lifted_since(pursuits, look).await;
        self.order(pursuits, look);
    }

    /// Reads the locks again where calls are about to follow, and what is known of the locks has grown old.
    async fn stop_where_lifted_since(&self, pursuits: &mut [Pursuit], look: &mut Look<'_>) {
        let waits = |(pursuit, sighting): (&Pursuit, &Sighting)| {
            !pursuit.names_to_hold().is_empty() && sighting.may_lead_to_calls()
        };
        let now = self.clock.now();
        if now.since(look.locks_read_at) < LOCKS_COUNT_FOR || !pursuits.iter().zip(&look.sightings).any(waits) {
            return;
        }
        look.locks_read_at = now;
        self.stop_where_lifted(pursuits).await;
        for (pursuit, sighting) in pursuits.iter().zip(&mut look.sightings) {
            sighting.leave_let_in(&pursuit.goal);
        }
    }

    /// Reads the locks again before anything is ended under them: lifted means stop.
    async fn stop_where_lifted(&self, pursuits: &mut [Pursuit]) {
        let names: Vec<Name> = pursuits.iter().flat_map(Pursuit::names_to_hold).cloned().collect();
        if names.is_empty() || planted::is(Fault::IgnoreRestore) {
            return;
        }
        let locks = match self.locks.read(&names).await {
            Ok(locks) => locks,
            Err(error) => {
                // Not knowing, nothing is ended in this round.
                for pursuit in pursuits.iter_mut().filter(|pursuit| !pursuit.names_to_hold().is_empty()) {
                    pursuit.blocked = Some(error.to_string());
                }
                return;
            }
        };
        let now = self.clock.now();
        for pursuit in pursuits.iter_mut().filter(|pursuit| pursuit.is_open() && !pursuit.rehearsed) {
            pursuit.blocked = None;
            if let Goal::Locked { names } = &mut pursuit.goal {
                let in_force = |name: &Name| locks.iter().any(|lock: &Lock| lock.name == *name && lock.in_force(now));
                // One of several names may have been let in again by itself.
                names.retain(in_force);
                if names.is_empty() {
                    pursuit.state =
                        State::Superseded("the lock was lifted, or lapsed, while this was under way".to_owned());
                }
            }
        }
    }

    /// Takes note of a row, for everybody whose it may be.
    fn sight(&self, pursuits: &mut [Pursuit], look: &mut Look<'_>, on: usize, row: &Connection) {
        let Some((target, endpoint)) = look.scope.endpoints.get(on) else { return };
        let candidates = look.index.candidates(row);
        if !candidates.is_empty() {
            look.certificates.note(row);
        }
        for number in candidates {
            if let (Some(pursuit), Some(sighting)) = (pursuits.get_mut(number), look.sightings.get_mut(number)) {
                self.sight_for(pursuit, sighting, (on, *target, endpoint), row);
            }
        }
    }

    /// Takes note of a row that may be a pursuit's.
    fn sight_for(
        &self,
        pursuit: &mut Pursuit,
        sighting: &mut Sighting,
        (on, target, endpoint): (usize, usize, &Endpoint),
        row: &Connection,
    ) {
        let matched = match &pursuit.goal {
            Goal::One { endpoint: wanted, connection } if wanted == endpoint && *connection == row.id => {
                Some(Match::User)
            }
            Goal::One { .. } => None,
            Goal::Locked { names } | Goal::Existing { names, .. } => matches(row, names),
        };
        let Some(matched) = matched else { return };
        pursuit.was_listed = true;
        if !row.status.is_alive() {
            pursuit.hears(target, endpoint, &row.id, Some(&row.status));
        } else if pursuit.goal.covers(row) {
            match (self.policy.protected.on(row), matched) {
                (Some(name), _) => {
                    pursuit.sees(target, endpoint, row, Some(Spared::Protected(name)));
                    sighting.others.entry(on).or_default().push(row.clone());
                }
                (None, Match::CertificateUnderOtherUser) => sighting.unsure.push((on, row.clone())),
                (None, Match::User | Match::Certificate) => sighting.take(pursuit, on, target, endpoint, row),
            }
        }
    }

    /// Decides about certificates once everything was seen: shared ones are left alone.
    ///
    /// Where anything could not be listed, the other users of a certificate may be there, and its connections are left
    /// for the next listing.
    fn settle_unsure(&self, pursuits: &mut [Pursuit], look: &mut Look<'_>, all_seen: bool) {
        for (pursuit, sighting) in pursuits.iter_mut().zip(&mut look.sightings) {
            for (on, row) in std::mem::take(&mut sighting.unsure) {
                let Some((target, endpoint)) = look.scope.endpoints.get(on) else { continue };
                if look.certificates.is_shared(&row) {
                    pursuit.sees(*target, endpoint, &row, Some(Spared::SharedCertificate));
                } else if all_seen {
                    sighting.take(pursuit, on, *target, endpoint, &row);
                }
            }
        }
    }

    /// Sends out the calls that follow from what was seen so far.
    fn order(&self, pursuits: &mut [Pursuit], look: &mut Look<'_>) {
        let limit = self.policy.max_connections;
        let mut ordered = Vec::new();
        for (number, (pursuit, sighting)) in pursuits.iter_mut().zip(&mut look.sightings).enumerate() {
            if !pursuit.is_open() || pursuit.rehearsed || pursuit.blocked.is_some() {
                continue;
            }
            if sighting.found > limit && !pursuit.force {
                pursuit.state = State::Refused(pursuit.too_many(sighting.found, limit));
                continue;
            }
            for (on, ready) in std::mem::take(&mut sighting.ready) {
                let Some((target, endpoint)) = look.scope.endpoints.get(on) else { continue };
                let others = sighting.others.get(&on).map(Vec::as_slice).unwrap_or_default();
                // A call by user name can't tell a protected common name apart, should one come up meanwhile.
                let may_go_by_user =
                    look.wholes.contains(&on) && pursuit.goal.may_go_by_user() && self.policy.protected.is_empty();
                // Nor is one of use that failed for them before.
                let by_user = may_go_by_user && !ready.iter().any(|row| pursuit.failed(*target, endpoint, &row.id));
                let on_endpoint = OnEndpoint {
                    to_end: ready.iter().collect(),
                    others: others.iter().collect(),
                    by_user: if by_user { pursuit.goal.names() } else { &[] },
                };
                let at = (number, *target, endpoint);
                ordered.extend(calls(&on_endpoint).into_iter().map(|call| Order::new(pursuit, at, call, &ready)));
            }
        }
        look.orders.send(self, ordered, look.locks_read_at);
    }
}

impl Sighting {
    fn may_lead_to_calls(&self) -> bool {
        !self.ready.is_empty() || !self.unsure.is_empty()
    }

    /// Leaves out what was seen under a name that was let in since.
    fn leave_let_in(&mut self, goal: &Goal) {
        let Goal::Locked { names } = goal else { return };
        for rows in self.ready.values_mut() {
            let before = rows.len();
            // One whose certificate may be shared is judged by the next listing.
            rows.retain(|row| matches!(matches(row, names), Some(Match::User | Match::Certificate)));
            self.found = self.found.saturating_sub(before - rows.len());
        }
        self.unsure.retain(|(_, row)| matches(row, names).is_some());
    }

    /// A connection that is the subject's and alive: to be ended, or on its way out already.
    fn take(&mut self, pursuit: &mut Pursuit, on: usize, target: usize, endpoint: &Endpoint, row: &Connection) {
        pursuit.sees(target, endpoint, row, None);
        let side = if needs_a_call(row) {
            self.found += 1;
            &mut self.ready
        } else {
            &mut self.others
        };
        side.entry(on).or_default().push(row.clone());
    }
}

/// A connection seen before is not alive where a full listing of its endpoint no longer shows it, or the endpoint is
/// gone.
fn forget_unlisted(pursuits: &mut [Pursuit], scope: &Scope, done: &BTreeSet<usize>) {
    for pursuit in pursuits.iter_mut().filter(|pursuit| pursuit.is_open()) {
        for (target, endpoint, id) in pursuit.unseen() {
            let known = scope.endpoints.iter().position(|known| *known == (target, endpoint.clone()));
            let listed = known.map_or(scope.troubles.is_empty(), |on| done.contains(&on));
            if listed {
                pursuit.hears(target, &endpoint, &id, None);
            }
        }
    }
}

fn endpoint_receipts(scope: &Scope, done: &BTreeSet<usize>, failed: &BTreeMap<usize, String>) -> Vec<EndpointReceipt> {
    let looked_at = scope.endpoints.iter().enumerate().filter(|(on, _)| done.contains(on) || failed.contains_key(on));
    let receipt = |(on, (_, endpoint)): (usize, &(usize, Endpoint))| {
        EndpointReceipt::new(&endpoint.target, endpoint.id.clone(), failed.get(&on).cloned())
    };
    let mut receipts: Vec<EndpointReceipt> = looked_at.map(receipt).collect();
    receipts.extend(scope.troubles.iter().cloned());
    receipts
}

#[cfg(test)]
mod tests {
    use super::super::pursuit::tests::{connection, endpoint, pursuit};
    use super::*;
    use crate::connection::EndpointId;
    use crate::ports::VpnError;

    #[test]
    fn a_connection_is_gone_only_where_its_endpoint_was_listed_to_the_end_or_is_gone_itself() {
        let left = |known: bool, done: bool, all_asked: bool| {
            let (on, mut alice) = (endpoint("cvpn-endpoint-a"), pursuit());
            alice.sees(0, &on, &connection("c-1", 0), None);
            alice.begin_listing();
            let mut scope = Scope::default();
            scope.endpoints.push((0, endpoint("cvpn-endpoint-b")));
            if known {
                scope.endpoints.push((0, on.clone()));
            }
            if !all_asked {
                scope.trouble(&on.target, EndpointId::new("*"), &VpnError::late(&on.target));
            }
            let done: BTreeSet<usize> = if done { [0, 1].into() } else { [0].into() };
            let mut all = [alice];
            forget_unlisted(&mut all, &scope, &done);
            all[0].left()
        };
        assert_eq!((left(true, true, true), left(true, false, true)), (0, 1));
        assert_eq!((left(false, false, true), left(false, false, false)), (0, 1), "a target that was not asked has it");
    }
}
