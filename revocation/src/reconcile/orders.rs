//! Terminate calls on their way: which goes first, how long they count, and what came of each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::pass::SIDE_BY_SIDE;
use super::pursuit::{Goal, Pursuit};
use super::{Revoker, next_of};
use crate::connection::{Connection, ConnectionId, Endpoint};
use crate::name::Name;
use crate::plan::{Call, one_by_one};
use crate::planted::{self, Fault};
use crate::ports::{Ended, VpnError, VpnErrorKind, Which};
use crate::time::Timestamp;

/// How old what is known of the locks may be when calls follow from it; a call may wait in its lane after that.
pub(super) const LOCKS_FRESH_FOR: Duration = Duration::from_secs(2);

/// How long an order may wait for its turn. After that its connections are looked at anew, and the locks too.
const ORDER_VALID_FOR: Duration = Duration::from_secs(10);

/// How long answers are waited for once everything is ordered: as long as an order waits for its turn, a call for its own
/// in its lane (five seconds), and a second. What came of one that hangs, the next listing tells; others are not to be
/// kept waiting for it.
const ANSWERED_IN: Duration = Duration::from_secs(16);

/// A terminate call that is to be made.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) pursuit: usize,
    pub(super) target: usize,
    pub(super) endpoint: Endpoint,
    call: Call,
    /// The locked name that its connections were seen under, where it follows from a lock.
    under: Option<Name>,
    /// The oldest of the times at which its connections were last asked to end; nothing if any never was.
    asked_at: Option<Timestamp>,
    /// How many subjects the signal names.
    subjects_in_signal: usize,
    span: tracing::Span,
    begun: Begun,
}

/// When a call was handed over, from where it may wait its turn for some seconds before EC2 has it; `None` where it was not
/// yet, or had no turn.
#[derive(Debug, Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Option<Timestamp>>>);

impl Begun {
    pub(super) fn set(&self, at: Option<Timestamp>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    pub(super) fn at(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a call was answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// The connections it was meant for.
    pub(super) ids: Vec<ConnectionId>,
    pub(super) at: Timestamp,
    pub(super) ended: Result<Vec<Ended>, VpnError>,
}

impl Answer {
    /// Whether the call was made. If so it may have been accepted, whatever it was answered.
    pub(super) fn was_made(&self) -> bool {
        !matches!(&self.ended, Err(error) if error.kind == VpnErrorKind::NoTurn)
    }

    fn says_to_wait(&self) -> bool {
        matches!(&self.ended, Err(error) if error.kind.is_too_soon())
    }
}

impl Order {
    /// A call for some of the rows that a listing showed of a pursuit.
    pub(super) fn new(
        pursuit: &mut Pursuit,
        (number, target, endpoint): (usize, usize, &Endpoint),
        call: Call,
        rows: &[Connection],
    ) -> Self {
        let under = match &pursuit.goal {
            Goal::Locked { names } => {
                // All rows of a call by user name stand under the same one.
                let row = rows.iter().find(|row| call.ids.contains(&row.id));
                let seen_under = row.into_iter().flat_map(|row| [row.user(), row.certificate()]).flatten();
                seen_under.into_iter().find(|name| names.contains(name))
            }
            Goal::Existing { .. } | Goal::One { .. } => None,
        };
        let begun = Begun::default();
        pursuit.orders.push(begun.clone());
        Self {
            pursuit: number,
            target,
            endpoint: endpoint.clone(),
            asked_at: pursuit.asked_at(target, endpoint, &call.ids),
            call,
            under,
            subjects_in_signal: pursuit.subjects_in_signal,
            span: pursuit.span.clone(),
            begun,
        }
    }
}

/// The terminate calls of one listing.
pub(super) struct Orders {
    /// Through which they go, one for each target: one that is asked to go slowly must not hold the others up.
    gates: Vec<Arc<Semaphore>>,
    on_their_way: JoinSet<(usize, Vec<Answer>)>,
    /// Those of which nothing was heard yet.
    sent: BTreeMap<usize, Order>,
    next: usize,
}

impl Orders {
    pub(super) fn new(targets: usize) -> Self {
        let gates = (0..targets).map(|_| Arc::new(Semaphore::new(SIDE_BY_SIDE))).collect();
        Self { gates, on_their_way: JoinSet::new(), sent: BTreeMap::new(), next: 0 }
    }

    /// Sends calls out that follow from locks read at this instant. Where they can't all be made in time, it must not be
    /// the same ones in each listing that are not: first go those for connections that were not asked for yet, or longest
    /// ago, and of these the ones of few people.
    pub(super) fn send(&mut self, revoker: &Revoker, mut orders: Vec<Order>, locks_read_at: Timestamp) {
        orders.sort_by_key(|order| (order.asked_at, order.subjects_in_signal));
        let sent_at = revoker.clock.now();
        for order in orders {
            let Some(gate) = self.gates.get(order.target).cloned() else { continue };
            let (revoker, number, sent) = (revoker.clone(), self.next, order.clone());
            let span = order.span.clone();
            let since = Since { locks_read_at, sent_at };
            let work = async move { (number, revoker.carry_out(&sent, &gate, since).await) };
            self.on_their_way.spawn(work.instrument(span));
            self.sent.insert(number, order);
            self.next += 1;
        }
    }

    /// What they were answered, each with one answer a call, once all were or there was time enough.
    pub(super) async fn answers(mut self, revoker: &Revoker, until: Timestamp) -> Vec<(Order, Vec<Answer>)> {
        let until = revoker.clock.now().plus(ANSWERED_IN).min(until);
        let mut all = Vec::new();
        while let Some(Some((number, answers))) = revoker.in_time(until, next_of(&mut self.on_their_way)).await {
            all.extend(self.sent.remove(&number).map(|order| (order, answers)));
        }
        let now = revoker.clock.now();
        for order in self.sent.into_values().filter(|order| order.begun.at().is_some()) {
            let ended = Err(VpnError::unanswered(&order.endpoint.id));
            let answers = vec![Answer { ids: order.call.ids.clone(), at: now, ended }];
            all.push((order, answers));
        }
        all
    }
}

/// When an order was sent, and when its lock was last known to be in force.
#[derive(Debug, Clone, Copy)]
struct Since {
    locks_read_at: Timestamp,
    sent_at: Timestamp,
}

impl Revoker {
    /// Makes one terminate call when it is its turn; where one by user name fails, one for each connection.
    async fn carry_out(&self, order: &Order, gate: &Semaphore, since: Since) -> Vec<Answer> {
        let turn = self.in_time(since.sent_at.plus(ORDER_VALID_FOR), gate.acquire()).await;
        if !matches!(turn, Some(Ok(_))) || !self.is_still_valid(order, since).await {
            tracing::info!(endpoint_id = %order.endpoint.id, "a terminate call was not made: its turn came too late, or the lock is not in force");
            return Vec::new();
        }
        order.begun.set(Some(self.clock.now()));
        let answer = self.terminate(order, &order.call).await;
        if !answer.was_made() {
            order.begun.set(None);
        }
        let (by_user, waits) = (matches!(order.call.which, Which::User(_)), answer.says_to_wait());
        let mut answers = vec![answer];
        if let (true, false, [Answer { ended: Err(error), .. }]) = (by_user, waits, answers.as_slice()) {
            tracing::info!(endpoint_id = %order.endpoint.id, %error, "terminating by user name failed; going by connection id");
            for call in one_by_one(&order.call) {
                if !self.is_still_valid(order, since).await {
                    break;
                }
                let answer = self.terminate(order, &call).await;
                let waits = answer.says_to_wait();
                answers.push(answer);
                if waits {
                    break;
                }
            }
        }
        answers
    }

    async fn terminate(&self, order: &Order, call: &Call) -> Answer {
        let ended = match self.vpn.get(order.target) {
            Some(vpn) => vpn.terminate(&order.endpoint.id, &call.which).await,
            None => Err(VpnError::late(&order.endpoint.target)),
        };
        Answer { ids: call.ids.clone(), at: self.clock.now(), ended }
    }

    /// Whether an order is still to be carried out. Somebody may have been let in while it waited; where that can't be
    /// known, nothing is ended.
    async fn is_still_valid(&self, order: &Order, since: Since) -> bool {
        let now = self.clock.now();
        match &order.under {
            _ if now.since(since.sent_at) > ORDER_VALID_FOR => false,
            Some(name) if now.since(since.locks_read_at) >= LOCKS_FRESH_FOR && !planted::is(Fault::IgnoreRestore) => {
                self.lock_of(name).await.is_ok_and(|lock| lock.in_force(self.clock.now()))
            }
            _ => true,
        }
    }
}
