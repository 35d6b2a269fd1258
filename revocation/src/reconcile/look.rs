//! What one listing of everything in scope has shown so far, of whom, and which calls follow. No call is made in here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Scope;
use super::listing::Listed;
use super::orders::Order;
use super::pursuit::{Goal, Pursuit, Spared, State};
use crate::connection::{Connection, ConnectionId, Endpoint};
use crate::name::Name;
use crate::plan::{Certificates, Match, OnEndpoint, calls, matches, needs_a_call};
use crate::planted::{self, Fault};
use crate::policy::{Policy, Protected};
use crate::receipt::EndpointReceipt;
use crate::time::Timestamp;

/// What one listing shows of one subject, until calls follow from it.
#[derive(Default)]
struct Sighting {
    /// Its connections that may be ended now, by endpoint.
    ready: BTreeMap<usize, Vec<Connection>>,
    /// Those that are left as they are: protected, or ending already.
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

/// A listing of everything in scope, as far as it has come.
pub(super) struct Look<'a> {
    scope: &'a Scope,
    policy: &'a Policy,
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
    pub(super) locks_read_at: Timestamp,
}

impl<'a> Look<'a> {
    pub(super) fn new(scope: &'a Scope, policy: &'a Policy, pursuits: &[Pursuit], locks_read_at: Timestamp) -> Self {
        Self {
            scope,
            policy,
            index: Index::new(pursuits),
            certificates: Certificates::default(),
            sightings: pursuits.iter().map(|_| Sighting::default()).collect(),
            rows_seen: 0,
            wholes: BTreeSet::new(),
            done: BTreeSet::new(),
            failed: BTreeMap::new(),
            locks_read_at,
        }
    }

    pub(super) fn rows_seen(&self) -> usize {
        self.rows_seen
    }

    /// Takes in what a listing reports.
    pub(super) fn hear(&mut self, pursuits: &mut [Pursuit], report: Listed) {
        match report {
            Listed::Page { on, rows, whole } => {
                self.rows_seen += rows.len();
                if whole {
                    self.wholes.insert(on);
                }
                for row in &rows {
                    self.sight(pursuits, on, row);
                }
            }
            Listed::Failed { on, error } => drop(self.failed.insert(on, error.to_string())),
            Listed::Done { on } => drop(self.done.insert(on)),
        }
    }

    /// Takes note of a row, for everybody whose it may be.
    fn sight(&mut self, pursuits: &mut [Pursuit], on: usize, row: &Connection) {
        let Some((target, endpoint)) = self.scope.endpoints.get(on) else { return };
        let candidates = self.index.candidates(row);
        if !candidates.is_empty() {
            self.certificates.note(row);
        }
        for number in candidates {
            if let (Some(pursuit), Some(sighting)) = (pursuits.get_mut(number), self.sightings.get_mut(number)) {
                sighting.note(pursuit, &self.policy.protected, (on, *target, endpoint), row);
            }
        }
    }

    /// Whether calls may follow for anybody whose lock must be in force for that.
    pub(super) fn may_lead_to_calls(&self, pursuits: &[Pursuit]) -> bool {
        let mut both = pursuits.iter().zip(&self.sightings);
        both.any(|(pursuit, sighting)| !pursuit.names_to_hold().is_empty() && sighting.may_lead_to_calls())
    }

    /// Leaves out what was seen under names that were let in since.
    pub(super) fn leave_let_in(&mut self, pursuits: &[Pursuit]) {
        for (pursuit, sighting) in pursuits.iter().zip(&mut self.sightings) {
            sighting.leave_let_in(&pursuit.goal);
        }
    }

    /// Decides about certificates once everything was seen: shared ones are left alone.
    ///
    /// Where anything could not be listed, the other users of a certificate may be there, and its connections are left
    /// for the next listing.
    pub(super) fn settle_unsure(&mut self, pursuits: &mut [Pursuit], all_seen: bool) {
        for (pursuit, sighting) in pursuits.iter_mut().zip(&mut self.sightings) {
            for (on, row) in std::mem::take(&mut sighting.unsure) {
                let Some((target, endpoint)) = self.scope.endpoints.get(on) else { continue };
                if self.certificates.is_shared(&row) {
                    pursuit.sees(*target, endpoint, &row, Some(Spared::SharedCertificate));
                } else if all_seen {
                    sighting.take(pursuit, on, *target, endpoint, &row);
                }
            }
        }
    }

    /// The calls that follow from what was seen since it was last asked.
    pub(super) fn due(&mut self, pursuits: &mut [Pursuit]) -> Vec<Order> {
        let limit = self.policy.max_connections;
        let mut due = Vec::new();
        for (number, (pursuit, sighting)) in pursuits.iter_mut().zip(&mut self.sightings).enumerate() {
            if !pursuit.is_open() || pursuit.rehearsed || pursuit.blocked.is_some() {
                continue;
            }
            if sighting.found > limit && !pursuit.force {
                pursuit.state = State::Refused(pursuit.too_many(sighting.found, limit));
                continue;
            }
            for (on, ready) in std::mem::take(&mut sighting.ready) {
                let Some((target, endpoint)) = self.scope.endpoints.get(on) else { continue };
                let others = sighting.others.get(&on).map(Vec::as_slice).unwrap_or_default();
                // A call by user name can't tell a protected common name apart, should one come up meanwhile.
                let may_go_by_user =
                    self.wholes.contains(&on) && pursuit.goal.may_go_by_user() && self.policy.protected.is_empty();
                // Nor is one of use that failed for them before.
                let by_user = may_go_by_user && !ready.iter().any(|row| pursuit.failed(*target, endpoint, &row.id));
                let on_endpoint = OnEndpoint {
                    to_end: ready.iter().collect(),
                    others: others.iter().collect(),
                    by_user: if by_user { pursuit.goal.names() } else { &[] },
                };
                let at = (number, *target, endpoint);
                due.extend(calls(&on_endpoint).into_iter().map(|call| Order::new(pursuit, at, call, &ready)));
            }
        }
        due
    }

    /// Nothing more is heard: a wanted endpoint that reported neither its end nor a failure has failed by a fault of ours.
    /// Says why it is not a full listing, if it is not.
    pub(super) fn close(&mut self, is_wanted: impl Fn(&Endpoint) -> bool) -> Vec<String> {
        let mut troubles = self.scope.complaints();
        for (on, (_, endpoint)) in self.scope.endpoints.iter().enumerate() {
            if is_wanted(endpoint) && !self.done.contains(&on) {
                let why = self.failed.entry(on).or_insert_with(|| "a fault of ours ended the listing".to_owned());
                troubles.push(format!("{} could not be listed: {why}", endpoint.id));
            }
        }
        troubles
    }

    /// A connection seen before is not alive where a full listing of its endpoint no longer shows it, or the endpoint is
    /// gone.
    pub(super) fn forget_unlisted(&self, pursuits: &mut [Pursuit]) {
        let scope = self.scope;
        for pursuit in pursuits.iter_mut().filter(|pursuit| pursuit.is_open()) {
            for (target, endpoint, id) in pursuit.unseen() {
                let known = scope.endpoints.iter().position(|known| *known == (target, endpoint.clone()));
                let listed = known.map_or(scope.troubles.is_empty(), |on| self.done.contains(&on));
                if listed {
                    pursuit.hears(target, &endpoint, &id, None);
                }
            }
        }
    }

    /// The endpoints that were looked at, and what is wrong with the scope.
    pub(super) fn endpoint_receipts(&self) -> Vec<EndpointReceipt> {
        let was_looked_at = |on: &usize| self.done.contains(on) || self.failed.contains_key(on);
        let looked_at = self.scope.endpoints.iter().enumerate().filter(|(on, _)| was_looked_at(on));
        let receipt = |(on, (_, endpoint)): (usize, &(usize, Endpoint))| {
            EndpointReceipt::new(&endpoint.target, endpoint.id.clone(), self.failed.get(&on).cloned())
        };
        looked_at.map(receipt).chain(self.scope.troubles.iter().cloned()).collect()
    }
}

impl Sighting {
    /// Takes note of a row that may be a pursuit's.
    fn note(
        &mut self,
        pursuit: &mut Pursuit,
        protected: &Protected,
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
            match (protected.on(row), matched) {
                (Some(name), _) => {
                    pursuit.sees(target, endpoint, row, Some(Spared::Protected(name)));
                    self.others.entry(on).or_default().push(row.clone());
                }
                (None, Match::CertificateUnderOtherUser) => self.unsure.push((on, row.clone())),
                (None, Match::User | Match::Certificate) => self.take(pursuit, on, target, endpoint, row),
            }
        }
    }

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
            let policy = Policy::default();
            let mut all = [alice];
            let mut look = Look::new(&scope, &policy, &all, Timestamp::from_millis(0));
            look.done = if done { [0, 1].into() } else { [0].into() };
            look.forget_unlisted(&mut all);
            all[0].left()
        };
        assert_eq!((left(true, true, true), left(true, false, true)), (0, 1));
        assert_eq!((left(false, false, true), left(false, false, false)), (0, 1), "a target that was not asked has it");
    }
}
