//! Pursuit: from "admitted" to "nothing alive", or to a reason why not.
//!
//! All pursuits of a delivery share their listings. Between two listings the connections that were asked to end are
//! polled by id, with growing pauses; the last word has a full listing begun after the settle time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::{Case, JoinAllOrSkip, Revoker, Run, Scope, in_own_task};
use crate::connection::{Connection, ConnectionId, Endpoint, EndpointId, Status};
use crate::name::Name;
use crate::policy::Refusal;
use crate::ports::{ClientVpn, Ended, Page, PageToken, VpnError};
use crate::receipt::{ConnectionReceipt, EndpointReceipt};
use crate::time::Timestamp;

/// The most ids that one filter takes
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>).
pub(super) const MAX_FILTER_VALUES: usize = 200;

/// Kept free before the end of the work for a last listing.
const LAST_LISTING: Duration = Duration::from_secs(2);

/// Proofs that are due within this time of one another share a listing.
const TOGETHER: Duration = Duration::from_secs(1);

/// Pauses between polls begin here and double.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// And end here.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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
    error: Option<String>,
    denied: bool,
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

/// One subject's way to nothing alive.
#[derive(Debug, Clone)]
pub(super) struct Pursuit {
    pub(super) goal: Goal,
    /// The cases that hang on it.
    pub(super) cases: Vec<usize>,
    pub(super) force: bool,
    /// Look, and change nothing.
    pub(super) rehearsed: bool,
    /// And ask EC2 whether the change would be permitted.
    pub(super) dry_run: bool,
    /// Why the locks could not be read again, so that nothing may be ended in this round.
    pub(super) blocked: Option<String>,
    /// When the lock, or what stands for it, was known to be durable.
    pub(super) durable_at: Timestamp,
    pub(super) state: State,
    tracked: BTreeMap<(usize, Endpoint, ConnectionId), Tracked>,
    pub(super) first_terminate_at: Option<Timestamp>,
    pub(super) reconnected: usize,
    /// Listings so far.
    rounds: usize,
    /// How many connections of the subject's the latest listing showed alive, those spared left out.
    pub(super) alive_in_listing: usize,
    /// When the latest listing began that showed any of them.
    last_alive_at: Option<Timestamp>,
    trouble: Option<String>,
    /// Log lines about it carry its signal's id.
    pub(super) span: tracing::Span,
}

impl Pursuit {
    pub(super) fn new(case_number: usize, goal: Goal, case: &Case, rehearsed: bool, durable_at: Timestamp) -> Self {
        Self {
            goal,
            cases: vec![case_number],
            force: case.signal.force,
            rehearsed,
            dry_run: case.signal.dry_run,
            blocked: None,
            durable_at,
            state: State::Open,
            tracked: BTreeMap::new(),
            first_terminate_at: None,
            reconnected: 0,
            rounds: 0,
            alive_in_listing: 0,
            last_alive_at: None,
            trouble: None,
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
        self.durable_at = self.durable_at.max(other.durable_at);
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
            error: None,
            denied: false,
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
    pub(super) fn unseen(&self) -> Vec<(usize, Endpoint, ConnectionId)> {
        self.tracked.iter().filter(|(_, tracked)| !tracked.seen).map(|(key, _)| key.clone()).collect()
    }

    /// Takes note of a terminate call's answer.
    pub(super) fn told(
        &mut self,
        target: usize,
        endpoint: &Endpoint,
        ids: &[ConnectionId],
        answer: &Result<Vec<Ended>, VpnError>,
    ) {
        for id in ids {
            let Some(tracked) = self.tracked.get_mut(&(target, endpoint.clone(), id.clone())) else {
                continue;
            };
            match answer {
                Ok(ended) => {
                    tracked.denied = false;
                    if let Some(ended) = ended.iter().find(|ended| ended.id == *id) {
                        tracked.took(ended);
                    }
                }
                Err(error) => {
                    tracked.error = Some(error.to_string());
                    tracked.denied = error.kind == crate::ports::VpnErrorKind::Denied;
                }
            }
        }
    }

    fn to_end(&self) -> impl Iterator<Item = (&(usize, Endpoint, ConnectionId), &Tracked)> {
        self.tracked.iter().filter(|(_, tracked)| {
            tracked.connection.status.is_alive() && tracked.spared.is_none() && !tracked.unlisted
        })
    }

    /// How many of the subject's connections are alive, those spared left out.
    pub(super) fn left(&self) -> usize {
        self.to_end().count()
    }

    /// Whether every connection that is left was denied to us, so that trying on is of no use.
    fn is_denied(&self) -> bool {
        self.left() > 0 && self.to_end().all(|(_, tracked)| tracked.denied)
    }

    /// Whether any connection is alive and not on its way out, so that waiting won't help.
    fn needs_a_call(&self) -> bool {
        self.blocked.is_some() || self.to_end().any(|(_, tracked)| tracked.connection.status != Status::Terminating)
    }

    pub(super) fn connections(&self) -> Vec<ConnectionReceipt> {
        let receipt = |((_, endpoint, id), tracked): (&(usize, Endpoint, ConnectionId), &Tracked)| ConnectionReceipt {
            region: endpoint.target.region.clone(),
            account: endpoint.target.account.clone(),
            endpoint_id: endpoint.id.clone(),
            connection_id: id.clone(),
            username: tracked.connection.username.clone(),
            common_name: tracked.connection.common_name.clone(),
            previous_status: tracked.previous.clone(),
            current_status: tracked.connection.status.clone(),
            error: tracked.spared.as_ref().map(ToString::to_string).or_else(|| tracked.error.clone()),
        };
        self.tracked.iter().map(receipt).collect()
    }

    /// A connection on `endpoint` that would be ended.
    pub(super) fn some_connection_on(&self, endpoint: &EndpointId) -> Option<ConnectionId> {
        self.to_end().find(|((_, on, _), _)| on.id == *endpoint).map(|((_, _, id), _)| id.clone())
    }

    /// What to say when giving up.
    fn what_is_left(&self) -> String {
        let left = self.left();
        match (&self.trouble, left) {
            (Some(trouble), 0) => trouble.clone(),
            (Some(trouble), _) => format!("{left} connections are still alive; {trouble}"),
            (None, 0) => "the listing that would prove it could not begin in time; it is tried again".to_owned(),
            (None, _) => format!("{left} connections are still alive; it is tried again"),
        }
    }
}

impl Tracked {
    fn took(&mut self, ended: &Ended) {
        if let Some(previous) = ended.previous.as_ref().filter(|_| !self.answered) {
            self.previous = previous.clone();
        }
        self.answered = true;
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

impl Revoker {
    /// Pursues all, in the same listings, and says which endpoints were looked at.
    pub(super) async fn pursue_all(
        &self,
        pursuits: Vec<Pursuit>,
        scope: Arc<OnceCell<Scope>>,
        run: &Run,
    ) -> (Vec<Pursuit>, Vec<EndpointReceipt>) {
        let (revoker, run, mut as_admitted) = (self.clone(), run.clone(), pursuits.clone());
        let work = async move { revoker.pursue_in_time(pursuits, &scope, &run).await };
        let (mut pursuits, endpoints) = match in_own_task(tracing::Span::current(), work).await {
            Some(result) => result,
            None => {
                let fault = || State::Incomplete("a fault of ours; it is tried again".to_owned());
                as_admitted.iter_mut().for_each(|pursuit| pursuit.state = fault());
                (as_admitted, Vec::new())
            }
        };
        for pursuit in pursuits.iter_mut().filter(|pursuit| pursuit.is_open()) {
            let left = pursuit.what_is_left();
            pursuit.state = State::Incomplete(format!("the time of this invoke ran out: {left}"));
        }
        (pursuits, endpoints)
    }

    async fn pursue_in_time(
        &self,
        mut pursuits: Vec<Pursuit>,
        scope: &OnceCell<Scope>,
        run: &Run,
    ) -> (Vec<Pursuit>, Vec<EndpointReceipt>) {
        let mut endpoints = Vec::new();
        if !pursuits.is_empty() {
            tokio::select! {
                biased;
                () = self.pursue(&mut pursuits, scope, run, &mut endpoints) => {}
                () = self.clock.reached(run.stop_at) => {}
            }
        }
        (pursuits, endpoints)
    }

    async fn pursue(
        &self,
        pursuits: &mut [Pursuit],
        scope: &OnceCell<Scope>,
        run: &Run,
        endpoints: &mut Vec<EndpointReceipt>,
    ) {
        let patience = self.policy.verify.max(self.policy.settle);
        let give_up = self.clock.now().plus(patience).min(run.stop_at.minus(LAST_LISTING));
        let mut scope = scope.get_or_init(|| self.scope()).await.clone();
        for round in 0.. {
            let pass = self.pass(pursuits, &scope).await;
            *endpoints = pass.endpoints.clone();
            for pursuit in pursuits.iter_mut().filter(|pursuit| pursuit.is_open()) {
                self.judge(pursuit, &pass);
            }
            self.ask_permission(pursuits, endpoints).await;
            if !pursuits.iter().any(Pursuit::is_open) {
                return;
            }
            if self.clock.now() >= give_up {
                break;
            }
            self.wait(pursuits, &pass, Pauses::of_round(round), give_up).await;
            scope = self.scope().await;
        }
        for pursuit in pursuits.iter_mut().filter(|pursuit| pursuit.is_open()) {
            pursuit.state = State::Incomplete(pursuit.what_is_left());
        }
    }

    /// What a listing means for a pursuit.
    fn judge(&self, pursuit: &mut Pursuit, pass: &super::pass::Pass) {
        pursuit.rounds += 1;
        if pursuit.alive_in_listing > 0 {
            pursuit.last_alive_at = Some(pass.begun_at);
        }
        pursuit.trouble = pursuit.blocked.clone().or_else(|| pass.trouble.clone());
        if pursuit.trouble.is_some() {
            return;
        }
        let (found, limit) = (pursuit.alive_in_listing, self.policy.max_connections);
        if pursuit.rehearsed && found > limit && !pursuit.force {
            pursuit.state = State::Refused(Refusal::TooManyConnections { found, limit });
        } else if pursuit.rehearsed {
            pursuit.state = pursuit.spared_refusal().map_or(State::Rehearsed, State::Refused);
        } else if pursuit.is_denied() {
            pursuit.state = State::Incomplete(pursuit.what_is_left());
        } else if found == 0 && pass.begun_at >= self.provable_from(pursuit) {
            pursuit.state = pursuit.spared_refusal().map_or(State::Verified(pass.ended_at), State::Refused);
        }
    }

    /// From when on a listing that shows nothing proves something: EC2's listings lag behind, so the settle time has to
    /// pass after the lock, and after a client that came back was last seen, since it may be back once more.
    fn provable_from(&self, pursuit: &Pursuit) -> Timestamp {
        let came_back_at = pursuit.last_alive_at.filter(|_| pursuit.reconnected > 0);
        came_back_at.map_or(pursuit.durable_at, |at| at.max(pursuit.durable_at)).plus(self.policy.settle)
    }

    /// Waits until the next listing can do something: prove that a subject is out, or end what needs another call.
    ///
    /// Never without a pause where the listing went wrong or showed anything alive, whatever was said of it since: a
    /// listing may lag behind the truth, and asking again at once would only ask the same.
    async fn wait(&self, pursuits: &mut [Pursuit], pass: &super::pass::Pass, mut pauses: Pauses, give_up: Timestamp) {
        let mut paused = false;
        loop {
            let open = || pursuits.iter().filter(|pursuit| pursuit.is_open());
            let provable: Vec<Timestamp> =
                open().filter(|pursuit| pursuit.left() == 0).map(|pursuit| self.provable_from(pursuit)).collect();
            // Those that can be proven within a moment of the first share its listing.
            let shared = provable.iter().min().map(|first| first.plus(TOGETHER));
            let next_proof = provable.iter().filter(|at| shared.is_some_and(|shared| **at <= shared)).max().copied();
            let quiet = pass.trouble.is_none() && open().all(|pursuit| pursuit.alive_in_listing == 0);
            let now = self.clock.now();
            let proof_is_due = next_proof.is_some_and(|at| at <= now);
            let call_is_due = paused && (pass.trouble.is_some() || open().any(Pursuit::needs_a_call));
            if now >= give_up || call_is_due || (proof_is_due && (paused || quiet)) {
                return;
            }
            let until_proof = next_proof.filter(|at| *at > now).map(|at| at.since(now));
            let pause = match until_proof {
                Some(until) if quiet => until,
                Some(until) => until.min(pauses.next()),
                None => pauses.next(),
            };
            self.clock.sleep(pause.min(give_up.since(now))).await;
            self.poll(pursuits).await;
            paused = true;
        }
    }

    /// Asks for the status of every connection that is being ended, and of no other.
    async fn poll(&self, pursuits: &mut [Pursuit]) {
        let mut by_endpoint: BTreeMap<(usize, Endpoint), Vec<ConnectionId>> = BTreeMap::new();
        for ((target, endpoint, id), _) in pursuits.iter().filter(|p| p.is_open()).flat_map(Pursuit::to_end) {
            by_endpoint.entry((*target, endpoint.clone())).or_default().push(id.clone());
        }
        let mut polls = JoinSet::new();
        for ((target, endpoint), ids) in by_endpoint {
            let Some(vpn) = self.vpn.get(target).cloned() else {
                continue;
            };
            for some in ids.chunks(MAX_FILTER_VALUES) {
                let (vpn, endpoint, some) = (Arc::clone(&vpn), endpoint.clone(), some.to_vec());
                polls.spawn(async move {
                    let answer = all_pages(&*vpn, &endpoint, &some).await;
                    (target, endpoint, some, answer)
                });
            }
        }
        for (target, endpoint, asked, answer) in polls.join_all_or_skip().await {
            // A poll that failed proves nothing and costs nothing: the next listing decides.
            let Ok(rows) = answer else { continue };
            for id in asked {
                let status = rows.iter().find(|row| row.id == id).map(|row| &row.status);
                for pursuit in pursuits.iter_mut() {
                    pursuit.hears(target, &endpoint, &id, status);
                }
            }
        }
    }
}

impl Pursuit {
    /// The refusal owed to connections that were spared and live on.
    pub(super) fn spared_refusal(&self) -> Option<Refusal> {
        let spared: Vec<&Spared> = (self.tracked.values())
            .filter(|tracked| tracked.connection.status.is_alive() && !tracked.unlisted)
            .filter_map(|tracked| tracked.spared.as_ref())
            .collect();
        match spared.len() {
            0 => None,
            count if spared.contains(&&Spared::SharedCertificate) => Some(Refusal::SharedCertificate(count)),
            count => Some(Refusal::ProtectedConnections(count)),
        }
    }
}

/// Every row of a listing narrowed to some ids.
async fn all_pages(
    vpn: &dyn ClientVpn,
    endpoint: &Endpoint,
    only: &[ConnectionId],
) -> Result<Vec<Connection>, VpnError> {
    let mut rows = Vec::new();
    let mut tokens: Vec<PageToken> = Vec::new();
    loop {
        let Page { connections, next } = vpn.connections(&endpoint.id, only, tokens.last()).await?;
        rows.extend(connections);
        match next {
            None => return Ok(rows),
            Some(token) if tokens.contains(&token) => return Err(VpnError::endless_listing(&endpoint.id)),
            Some(token) => tokens.push(token),
        }
    }
}

/// Growing pauses.
struct Pauses(Duration);

impl Pauses {
    /// Each round begins with a longer pause than the one before it.
    fn of_round(round: u32) -> Self {
        Self(FIRST_PAUSE.saturating_mul(1 << round.min(8)).min(LONGEST_PAUSE))
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

impl Revoker {
    /// The names whose locks must be in force for their pursuits to go on.
    pub(super) fn names_to_hold(pursuits: &[Pursuit]) -> Vec<Name> {
        let held = pursuits.iter().filter(|pursuit| pursuit.is_open() && !pursuit.rehearsed);
        held.flat_map(|pursuit| match &pursuit.goal {
            Goal::Locked { names } => names.clone(),
            Goal::Existing { .. } | Goal::One { .. } => Vec::new(),
        })
        .collect()
    }
}

/// Whether calls by user name are allowed for what a case asks.
pub(super) fn may_go_by_user(goal: &Goal) -> bool {
    // A disconnect spares what came after it, which a call by user name can't.
    matches!(goal, Goal::Locked { .. })
}
