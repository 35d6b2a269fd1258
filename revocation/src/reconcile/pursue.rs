//! Pursuit: from "admitted" to "nothing alive", or to a reason why not.
//!
//! All pursuits of a delivery share their listings. Between two listings the connections that were asked to end are
//! polled by id, with growing pauses; the last word has a full listing begun after the settle time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::listing::{MAX_FILTER_VALUES, all_pages};
use super::pass::Pass;
use super::pursuit::{Pursuit, State};
use super::{Revoker, Run, Scope, all_of, in_own_task};
use crate::connection::{ConnectionId, Endpoint};
use crate::planted::{self, Fault};
use crate::receipt::EndpointReceipt;
use crate::time::Timestamp;

/// Kept free before the end of the work for a last listing.
const LAST_LISTING: Duration = Duration::from_secs(2);

/// Kept free for judging what a listing showed, whoever is still being waited for.
const JUDGING: Duration = Duration::from_millis(500);

/// Proofs that are due within this time of one another share a listing.
const TOGETHER: Duration = Duration::from_secs(1);

/// Pauses between polls begin here and double.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// And end here.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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
            self.in_time(run.stop_at, self.pursue(&mut pursuits, scope, run, &mut endpoints)).await;
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
        let mut patient_until = self.clock.now().plus(patience);
        let mut scope = scope.get_or_init(|| self.scope()).await.clone();
        for round in 0.. {
            let pass = self.pass(pursuits, &scope, run.stop_at.minus(JUDGING)).await;
            *endpoints = pass.endpoints.clone();
            for pursuit in pursuits.iter_mut().filter(|pursuit| pursuit.is_open()) {
                pursuit.judge(&pass, &self.policy);
            }
            let listed: Arc<[EndpointReceipt]> = pass.endpoints.as_slice().into();
            for pursuit in pursuits.iter_mut().filter(|pursuit| !pursuit.is_open() && pursuit.settled_by.is_none()) {
                pursuit.settled_by = Some(Arc::clone(&listed));
            }
            self.ask_permission(pursuits, endpoints).await;
            if !pursuits.iter().any(Pursuit::is_open) {
                return;
            }
            // Waiting for a turn is no reason to give up, nor for a proof that is due late: whoever tried next would have
            // to wait as well.
            if pursuits.iter().any(Pursuit::waits_for_a_turn) {
                patient_until = self.clock.now().plus(patience);
            }
            let proofs = pursuits.iter().filter_map(|pursuit| pursuit.proof_is_due(self.policy.settle));
            let give_up = proofs.fold(patient_until, Timestamp::max).min(run.stop_at.minus(LAST_LISTING));
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

    /// Waits until the next listing can do something: prove that a subject is out, or end what needs another call.
    ///
    /// Never without a pause where the listing went wrong or showed anything alive, whatever was said of it since, or
    /// where the locks could not be read again: a listing may lag behind the truth, and asking again at once would only
    /// ask the same.
    async fn wait(&self, pursuits: &mut [Pursuit], pass: &Pass, mut pauses: Pauses, give_up: Timestamp) {
        let mut paused = false;
        loop {
            let open = || pursuits.iter().filter(|pursuit| pursuit.is_open());
            let provable: Vec<Timestamp> =
                pursuits.iter().filter_map(|pursuit| pursuit.proof_is_due(self.policy.settle)).collect();
            // Those that can be proven within a moment of the first share its listing.
            let shared = provable.iter().min().map(|first| first.plus(TOGETHER));
            let next_proof = provable.iter().filter(|at| shared.is_some_and(|shared| **at <= shared)).max().copied();
            let calm = |pursuit: &Pursuit| {
                let blocked = pursuit.blocked.is_some() && !planted::is(Fault::AskWithoutPause);
                pursuit.alive_in_listing == 0 && !blocked
            };
            let quiet = pass.trouble.is_none() && open().all(calm);
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
        for (target, endpoint, id) in pursuits.iter().filter(|p| p.is_open()).flat_map(Pursuit::ids_to_end) {
            by_endpoint.entry((target, endpoint)).or_default().push(id);
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
        for (target, endpoint, asked, answer) in all_of(polls).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_each_round_begins_with_a_longer_one() {
        let of_round = |round: u32| {
            let mut pauses = Pauses::of_round(round);
            std::array::from_fn::<u128, 6, _>(|_| pauses.next().as_millis())
        };
        assert_eq!(of_round(0), [250, 500, 1_000, 2_000, 4_000, 5_000]);
        assert_eq!(of_round(2), [1_000, 2_000, 4_000, 5_000, 5_000, 5_000]);
        assert_eq!(of_round(u32::MAX), [5_000; 6]);
    }
}
