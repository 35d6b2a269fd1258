//! The answer: one receipt for each signal.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Revoker;
use super::case::{Case, Verdict};
use super::pursuit::Pursuit;
use crate::receipt::{EndpointReceipt, Outcome, Receipt, SubjectReceipt, Timings};
use crate::signal::Signal;
use crate::time::Timestamp;

impl Revoker {
    pub(super) fn receipts(
        &self,
        signals: &[Arc<Signal>],
        cases: &[Case],
        verdicts: &BTreeMap<usize, Verdict>,
        pursuits: &[Pursuit],
        endpoints: &[EndpointReceipt],
    ) -> Vec<Receipt> {
        let receipt = |(index, signal): (usize, &Arc<Signal>)| {
            let is_of = |pursuit: &&Pursuit| {
                pursuit.cases.iter().any(|number| cases.get(*number).is_some_and(|case| case.index == index))
            };
            let mut timings = Timings {
                occurred_at: signal.occurred_at,
                received_at: Some(signal.received_at),
                ..Timings::default()
            };
            let mut subjects = Vec::new();
            let mut verified = Vec::new();
            let mut looked = false;
            for (number, case) in cases.iter().enumerate().filter(|(_, case)| case.index == index) {
                let pursuit = pursuits.iter().find(|pursuit| pursuit.cases.contains(&number));
                let verdict = verdicts.get(&number);
                looked |= pursuit.is_some();
                timings.locked_at = timings.locked_at.max(verdict.and_then(|verdict| verdict.locked_at));
                timings.first_terminate_at =
                    earliest(timings.first_terminate_at, pursuit.and_then(Pursuit::first_terminate_at));
                verified.push(pursuit.and_then(Pursuit::verified_at));
                subjects.push(SubjectReceipt {
                    subject: case.about.label(),
                    names: case.named(),
                    outcome: verdict.map_or(Outcome::Incomplete, |verdict| verdict.outcome),
                    connections: pursuit.map(Pursuit::connections).unwrap_or_default(),
                    reconnected: pursuit.map_or(0, |pursuit| pursuit.reconnected),
                    refusal: verdict.and_then(|verdict| verdict.refusal),
                    error: verdict.and_then(|verdict| verdict.why.clone()).or_else(|| case.left_alone()),
                });
            }
            timings.verified_at =
                verified.into_iter().collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
            // What proved the last of them; a dry run's also says what EC2 would permit, and is the only one.
            let proofs = pursuits.iter().filter(|pursuit| {
                !pursuit.rehearsed && timings.verified_at.is_some() && pursuit.verified_at() == timings.verified_at
            });
            let proof = proofs.filter(is_of).find_map(|pursuit| pursuit.settled_by.clone());
            Receipt {
                signal_id: signal.id.clone(),
                action: signal.action.clone(),
                mode: self.policy.mode,
                outcome: subjects.iter().map(|subject| subject.outcome).max().unwrap_or(Outcome::Incomplete),
                subjects,
                endpoints: match proof {
                    Some(listed) => listed.to_vec(),
                    None if looked => endpoints.to_vec(),
                    None => Vec::new(),
                },
                timings,
            }
        };
        signals.iter().enumerate().map(receipt).collect()
    }
}

pub(super) fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
