//! Where one subject stands on its way to nothing alive: what is sought, what was seen, and what that means. No call is
//! made in here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::Case;
use super::orders::{Answer, Begun, Order};
use super::pass::Pass;
use crate::connection::{Connection, ConnectionId, Endpoint, EndpointId, Status};
use crate::lock::Lock;
use crate::name::Name;
use crate::planted::{self, Fault};
use crate::policy::{Policy, Refusal};
use crate::ports::{Ended, VpnError, VpnErrorKind};
use crate::receipt::{ConnectionReceipt, EndpointReceipt};
use crate::time::Timestamp;

/// What is to be brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    /// Nothing alive under these names, for as long as they are locked.
    Locked { names: Vec<Name> },
    /// Nothing alive under these names that was established by `cutoff`.
    Existing { names: Vec<Name>, cutoff: Timestamp },
    /// One connection is over.
    One { endpoint: Endpoint, connection: ConnectionId },
}

impl Goal {
    /// The names to look for.
    pub(super) fn names(&self) -> &[Name] {
        match self {
            Self::Locked { names } | Self::Existing { names, .. } => names,
            Self::One { .. } => &[],
        }
    }

    /// Whether calls may go by user name. A disconnect spares what came after it, which such a call can't.
    pub(super) fn may_go_by_user(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// Whether a connection existed when it was asked to go. One whose beginning can't be read did.
    pub(super) fn covers(&self, connection: &Connection) -> bool {
        match self {
            Self::Existing { cutoff, .. } => connection.established_at.is_none_or(|at| at <= *cutoff),
            Self::Locked { .. } | Self::One { .. } => true,
        }
    }
}

/// Where a pursuit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Not there yet.
    Open,
    /// A full listing, which ended at this instant, showed nothing alive.
    Verified(Timestamp),
    /// A rehearsal saw all there is.
    Rehearsed,
    /// Policy forbids to go on.
    Refused(Refusal),
    /// The lock was lifted meanwhile.
    Superseded(String),
    /// Given up for this attempt.
    Incomplete(String),
}

/// A connection seen alive, and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Tracked {
    connection: Connection,
    previous: Status,
    /// A terminate call was answered, so that what came before is known from Client VPN itself.
    answered: bool,
    /// AWS's id of the latest terminate request that was answered.
    request_id: Option<String>,
    /// When the latest call for it was answered, or given up.
    asked_at: Option<Timestamp>,
    error: Option<String>,
    /// How the latest call for it failed, if it did.
    failure: Option<VpnErrorKind>,
    spared: Option<Spared>,
    /// The listing under way has shown it.
    seen: bool,
    /// A listing that should have shown it did not.
    unlisted: bool,
}

/// Why a connection of the subject's is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Spared {
    #[error("left alone: `{0}` is protected")]
    Protected(Name),
    #[error("left alone: its common name is a shared certificate, and another's user name stands on it")]
    SharedCertificate,
}

/// A connection, by the number of its target's port, endpoint and id.
type Key = (usize, Endpoint, ConnectionId);

/// One subject's way to nothing alive.
#[derive(Debug, Clone)]
pub(super) struct Pursuit {
    pub(super) goal: Goal,
    /// The cases that hang on it.
    pub(super) cases: Vec<usize>,
    /// How many subjects its signal names: an incident's one does not wait for everybody of a reorganisation.
    pub(super) subjects_in_signal: usize,
    pub(super) force: bool,
    /// Look, and change nothing.
    pub(super) rehearsed: bool,
    /// And ask EC2 whether the change would be permitted.
    pub(super) dry_run: bool,
    /// The subject's own name, where that is among those to be held: it decides.
    own: Option<Name>,
    /// Why the locks could not be read again, so that nothing may be ended in this round.
    pub(super) blocked: Option<String>,
    /// When the lock, or what stands for it, was known to be durable.
    pub(super) durable_at: Timestamp,
    pub(super) state: State,
    tracked: BTreeMap<Key, Tracked>,
    /// Every call that was ordered for it.
    pub(super) orders: Vec<Begun>,
    pub(super) reconnected: usize,
    /// Listings so far.
    rounds: usize,
    /// A listing has shown something of it, alive or over.
    pub(super) was_listed: bool,
    /// How many connections of the subject's the latest listing showed alive, those spared left out.
    pub(super) alive_in_listing: usize,
    /// When the latest listing began that showed any of them.
    last_alive_at: Option<Timestamp>,
    trouble: Option<String>,
    /// The endpoints of the listing by which it was settled: others' may go on, and see fewer or more.
    pub(super) settled_by: Option<Arc<[EndpointReceipt]>>,
    /// Log lines about it carry its signal's id.
    pub(super) span: tracing::Span,
}

impl Pursuit {
    pub(super) fn new(case_number: usize, goal: Goal, case: &Case, rehearsed: bool, durable_at: Timestamp) -> Self {
        let own = case.subject().map(|subject| subject.name().clone()).filter(|own| goal.names().contains(own));
        Self {
            goal,
            own,
            cases: vec![case_number],
            subjects_in_signal: case.signal.about.len(),
            force: case.signal.force,
            rehearsed,
            dry_run: case.signal.dry_run,
            blocked: None,
            durable_at,
            state: State::Open,
            tracked: BTreeMap::new(),
            orders: Vec::new(),
            reconnected: 0,
            rounds: 0,
            was_listed: false,
            alive_in_listing: 0,
            last_alive_at: None,
            trouble: None,
            settled_by: None,
            span: case.span(),
        }
    }

    /// Whether one reconciliation serves both.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.goal == other.goal
            && self.rehearsed == other.rehearsed
            && self.dry_run == other.dry_run
            && self.force == other.force
    }

    pub(super) fn join(&mut self, other: Self) {
        self.cases.extend(other.cases);
        self.subjects_in_signal = self.subjects_in_signal.min(other.subjects_in_signal);
        self.durable_at = self.durable_at.max(other.durable_at);
    }

    /// The names whose locks must be in force for it to go on.
    pub(super) fn names_to_hold(&self) -> &[Name] {
        match &self.goal {
            Goal::Locked { names } if self.is_open() && !self.rehearsed => names,
            _ => &[],
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(super) fn verified_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Verified(at) => Some(at),
            _ => None,
        }
    }

    /// Goes on under the locks that are in force, and stops where none is.
    pub(super) fn heed_locks(&mut self, locks: &[Lock], now: Timestamp) {
        if !self.is_open() || self.rehearsed {
            return;
        }
        self.blocked = None;
        if let Goal::Locked { names } = &mut self.goal {
            let lock_of = |name: &Name| locks.iter().find(|lock| lock.name == *name);
            // One of several names may have been let in again by itself.
            names.retain(|name| lock_of(name).is_some_and(|lock| lock.in_force(now)));
            // With the own one the subject was: what is left for it are names that are still kept out as the subject's, as
            // where a newcomer was let in who is called so, and not those that somebody said by themselves.
            if let Some(own) = self.own.as_ref().filter(|own| !names.contains(own)) {
                names.retain(|name| lock_of(name).is_some_and(|lock| lock.is_held_about(own, now)));
            }
            if names.is_empty() {
                self.state = State::Superseded("the lock was lifted, or lapsed, while this was under way".to_owned());
            }
        }
    }

    /// Takes note of a connection that is the subject's and alive, and why it is to be spared, if it is.
    pub(super) fn sees(&mut self, target: usize, endpoint: &Endpoint, connection: &Connection, spared: Option<Spared>) {
        let key = (target, endpoint.clone(), connection.id.clone());
        if spared.is_none() {
            self.alive_in_listing += 1;
            // Made after the lock, as far as the listing's whole seconds tell.
            let made_since =
                connection.established_at.is_none_or(|at| at.plus(Duration::from_secs(1)) > self.durable_at);
            if self.rounds > 0 && made_since && !self.tracked.contains_key(&key) {
                self.reconnected += 1;
            }
        }
        let tracked = self.tracked.entry(key).or_insert_with(|| Tracked {
            connection: connection.clone(),
            previous: connection.status.clone(),
            answered: false,
            request_id: None,
            asked_at: None,
            error: None,
            failure: None,
            spared: None,
            seen: true,
            unlisted: false,
        });
        tracked.connection.status = connection.status.clone();
        tracked.seen = true;
        tracked.unlisted = false;
        tracked.spared = spared;
    }

    /// Takes note of what a listing says of connections seen before; `None` where it should show one and does not.
    pub(super) fn hears(&mut self, target: usize, endpoint: &Endpoint, id: &ConnectionId, status: Option<&Status>) {
        let Some(tracked) = self.tracked.get_mut(&(target, endpoint.clone(), id.clone())) else {
            return;
        };
        tracked.seen = true;
        tracked.unlisted = status.is_none();
        if let Some(status) = status {
            tracked.connection.status = status.clone();
        }
        if !tracked.connection.status.is_alive() {
            tracked.error = None;
        }
    }

    /// A listing begins.
    pub(super) fn begin_listing(&mut self) {
        self.alive_in_listing = 0;
        self.tracked.values_mut().for_each(|tracked| tracked.seen = false);
    }

    /// The connections known from before that the listing under way has not shown.
    pub(super) fn unseen(&self) -> Vec<Key> {
        self.tracked.iter().filter(|(_, tracked)| !tracked.seen).map(|(key, _)| key.clone()).collect()
    }

    /// Takes note of what an order was answered.
    pub(super) fn told(&mut self, order: &Order, answers: &[Answer]) {
        for answer in answers {
            let made_at = Some(answer.at).filter(|_| answer.was_made());
            for id in &answer.ids {
                let Some(tracked) = self.tracked.get_mut(&(order.target, order.endpoint.clone(), id.clone())) else {
                    continue;
                };
                tracked.asked_at = tracked.asked_at.max(made_at);
                tracked.told(id, &answer.ended);
            }
        }
    }

    /// When Client VPN was first asked to end any of it, if it was.
    pub(super) fn first_terminate_at(&self) -> Option<Timestamp> {
        self.orders.iter().filter_map(Begun::at).min()
    }

    /// Whether the latest call for a connection failed, and not for coming too soon.
    pub(super) fn failed(&self, target: usize, endpoint: &Endpoint, id: &ConnectionId) -> bool {
        let tracked = self.tracked.get(&(target, endpoint.clone(), id.clone()));
        tracked.is_some_and(|tracked| tracked.failure.is_some() && !tracked.came_too_soon())
    }

    /// Whether a call is still to be made, or to be made again, that there was no time for among others.
    pub(super) fn waits_for_a_turn(&self) -> bool {
        // No call can be made for what the listing did not come to show.
        let waits = |tracked: &Tracked| tracked.seen && (tracked.asked_at.is_none() || tracked.came_too_soon());
        let is_free = self.is_open() && !self.rehearsed && self.blocked.is_none();
        is_free && self.to_call().any(waits)
    }

    /// The oldest of the times at which these connections were last asked to end; nothing if any never was.
    pub(super) fn asked_at(&self, target: usize, endpoint: &Endpoint, ids: &[ConnectionId]) -> Option<Timestamp> {
        let tracked = |id: &ConnectionId| self.tracked.get(&(target, endpoint.clone(), id.clone()));
        ids.iter().map(|id| tracked(id).and_then(|tracked| tracked.asked_at)).min().flatten()
    }

    fn to_end(&self) -> impl Iterator<Item = (&Key, &Tracked)> {
        self.tracked.iter().filter(|(_, tracked)| {
            tracked.connection.status.is_alive() && tracked.spared.is_none() && !tracked.unlisted
        })
    }

    /// What a listing means for it.
    pub(super) fn judge(&mut self, pass: &Pass, policy: &Policy) {
        self.rounds += 1;
        if self.alive_in_listing > 0 {
            self.last_alive_at = Some(pass.begun_at);
        }
        // One connection is looked for on its own endpoint only, and nothing is wrong with it where that was listed.
        let trouble = match &self.goal {
            Goal::One { endpoint, .. } => pass.trouble_on(endpoint),
            Goal::Locked { .. } | Goal::Existing { .. } => pass.trouble.clone(),
        };
        self.trouble = self.blocked.clone().or(trouble);
        if self.trouble.is_some() {
            return;
        }
        let (found, limit) = (self.alive_in_listing, policy.max_connections);
        let to_call = self.to_call().count();
        if self.rehearsed && to_call > limit && !self.force {
            self.state = State::Refused(self.too_many(to_call, limit));
        } else if self.rehearsed {
            self.state = self.spared_refusal().map_or(State::Rehearsed, State::Refused);
        } else if self.is_denied() {
            self.state = State::Incomplete(self.what_is_left());
        } else if found == 0
            && (pass.begun_at >= self.provable_from(policy.settle) || planted::is(Fault::CompleteEarly))
        {
            self.state = self.spared_refusal().map_or(State::Verified(pass.listed_at), State::Refused);
        }
    }

    /// From when on a listing that shows nothing proves something: EC2's listings lag behind, so the settle time has to
    /// pass after the lock; and a client may be back soon after it was cut off, so it has to pass after the latest call,
    /// which may have had to wait, and after a client that came back was last seen.
    pub(super) fn provable_from(&self, settle: Duration) -> Timestamp {
        let came_back_at = self.last_alive_at.filter(|_| self.reconnected > 0);
        let asked_at = self.tracked.values().filter_map(|tracked| tracked.asked_at);
        asked_at.chain(came_back_at).fold(self.durable_at, Timestamp::max).plus(settle)
    }

    /// From when on a listing may prove that it is over; nothing where something is left to end, or it is settled.
    pub(super) fn proof_is_due(&self, settle: Duration) -> Option<Timestamp> {
        (self.is_open() && self.left() == 0).then(|| self.provable_from(settle))
    }

    /// The connections that are to end and are not known to have.
    pub(super) fn ids_to_end(&self) -> Vec<Key> {
        self.to_end().map(|(key, _)| key.clone()).collect()
    }

    /// How many of the subject's connections are alive, those spared left out.
    pub(super) fn left(&self) -> usize {
        self.to_end().count()
    }

    /// Whether every connection that is left was denied to us, so that trying on is of no use.
    fn is_denied(&self) -> bool {
        self.left() > 0 && self.to_end().all(|(_, tracked)| tracked.failure == Some(VpnErrorKind::Denied))
    }

    /// Whether any connection is alive and not on its way out, so that waiting won't help.
    pub(super) fn needs_a_call(&self) -> bool {
        self.blocked.is_some() || self.to_call().next().is_some()
    }

    /// The connections that are alive and not on their way out.
    fn to_call(&self) -> impl Iterator<Item = &Tracked> {
        let tracked = self.to_end().map(|(_, tracked)| tracked);
        tracked.filter(|tracked| tracked.connection.status != Status::Terminating)
    }

    pub(super) fn connections(&self) -> Vec<ConnectionReceipt> {
        let receipt = |((_, endpoint, id), tracked): (&Key, &Tracked)| ConnectionReceipt {
            region: endpoint.target.region.clone(),
            account: endpoint.target.account.clone(),
            endpoint_id: endpoint.id.clone(),
            connection_id: id.clone(),
            username: tracked.connection.username.clone(),
            common_name: tracked.connection.common_name.clone(),
            previous_status: tracked.previous.clone(),
            current_status: tracked.connection.status.clone(),
            error: tracked.spared.as_ref().map(ToString::to_string).or_else(|| tracked.error.clone()),
            request_id: tracked.request_id.clone(),
        };
        self.tracked.iter().map(receipt).collect()
    }

    /// A connection on `endpoint` that would be ended.
    pub(super) fn some_connection_on(&self, endpoint: &EndpointId) -> Option<ConnectionId> {
        self.to_end().find(|((_, on, _), _)| on.id == *endpoint).map(|((_, _, id), _)| id.clone())
    }

    /// The refusal of more connections than the limit.
    pub(super) fn too_many(&self, found: usize, limit: usize) -> Refusal {
        Refusal::TooManyConnections {
            found,
            limit,
            locked: matches!(self.goal, Goal::Locked { .. }) && !self.rehearsed,
        }
    }

    /// The refusal owed to connections that were spared and live on.
    pub(super) fn spared_refusal(&self) -> Option<Refusal> {
        let spared: Vec<&Spared> = (self.tracked.values())
            .filter(|tracked| tracked.connection.status.is_alive() && !tracked.unlisted)
            .filter_map(|tracked| tracked.spared.as_ref())
            .collect();
        match spared.len() {
            0 => None,
            count => match spared.iter().filter(|spared| ***spared == Spared::SharedCertificate).count() {
                0 => Some(Refusal::ProtectedConnections(count)),
                shared => Some(Refusal::SharedCertificate(shared)),
            },
        }
    }

    /// What to say when giving up.
    pub(super) fn what_is_left(&self) -> String {
        let left = self.left();
        match (&self.trouble, left) {
            (Some(trouble), 0) => trouble.clone(),
            (Some(trouble), _) => format!("still alive: {left}; {trouble}"),
            (None, 0) => "the listing that would prove it could not begin in time; it is tried again".to_owned(),
            (None, _) => format!("still alive: {left}; it is tried again"),
        }
    }
}

impl Tracked {
    fn came_too_soon(&self) -> bool {
        self.failure.is_some_and(VpnErrorKind::is_too_soon)
    }

    fn told(&mut self, id: &ConnectionId, answer: &Result<Vec<Ended>, VpnError>) {
        match answer {
            Ok(ended) => {
                self.failure = None;
                if let Some(ended) = ended.iter().find(|ended| ended.id == *id) {
                    self.took(ended);
                }
            }
            Err(error) => {
                self.error = Some(error.to_string());
                self.failure = Some(error.kind);
            }
        }
    }

    fn took(&mut self, ended: &Ended) {
        if let Some(previous) = ended.previous.as_ref().filter(|_| !self.answered) {
            self.previous = previous.clone();
        }
        self.answered = true;
        self.request_id = ended.request_id.clone();
        if let Some(current) = &ended.current {
            self.connection.status = current.clone();
        }
        self.error = match (&ended.current, &ended.message) {
            (Some(Status::FailedToTerminate), message) => {
                Some(format!("Client VPN failed to terminate it: {}", message.as_deref().unwrap_or("no reason given")))
            }
            _ => None,
        };
    }
}

#[cfg(test)]
pub(super) mod tests;
