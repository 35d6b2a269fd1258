//! The answer: one receipt for each signal.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Revoker;
use super::case::{Case, Verdict};
use super::pursuit::Pursuit;
use crate::receipt::{EndpointReceipt, Outcome, Receipt, SubjectReceipt, Timings};
use crate::signal::Signal;
use crate::time::Timestamp;

/// All that was done about the signals of one delivery.
pub(super) struct Done<'a> {
    pub(super) cases: &'a [Case],
    pub(super) verdicts: &'a BTreeMap<usize, Verdict>,
    pub(super) pursuits: &'a [Pursuit],
    /// The endpoints of the last listing.
    pub(super) endpoints: &'a [EndpointReceipt],
}

impl Revoker {
    pub(super) fn receipts(&self, signals: &[Arc<Signal>], done: &Done<'_>) -> Vec<Receipt> {
        signals.iter().enumerate().map(|(index, signal)| self.receipt(index, signal, done)).collect()
    }

    fn receipt(&self, index: usize, signal: &Signal, done: &Done<'_>) -> Receipt {
        let cases = done.cases.iter().enumerate().filter(|(_, case)| case.index == index);
        let all: Vec<_> =
            cases.map(|(number, case)| (case, done.verdicts.get(&number), pursuit_of(done.pursuits, number))).collect();
        let pursuits = || all.iter().filter_map(|(_, _, pursuit)| *pursuit);
        let subjects: Vec<SubjectReceipt> =
            all.iter().map(|(case, verdict, pursuit)| subject_receipt(case, *verdict, *pursuit)).collect();
        let verified_at = last_of_all(all.iter().map(|(_, _, pursuit)| pursuit.and_then(Pursuit::verified_at)));
        // What proved the last of them; a dry run's also says what EC2 would permit, and is the only one.
        let is_proof =
            |pursuit: &&Pursuit| !pursuit.rehearsed && verified_at.is_some() && pursuit.verified_at() == verified_at;
        let proof = pursuits().filter(is_proof).find_map(|pursuit| pursuit.settled_by.clone());
        Receipt {
            signal_id: signal.id.clone(),
            action: signal.action.clone(),
            mode: self.policy.mode,
            outcome: subjects.iter().map(|subject| subject.outcome).max().unwrap_or(Outcome::Incomplete),
            subjects,
            endpoints: match proof {
                Some(listed) => listed.to_vec(),
                None if pursuits().next().is_some() => done.endpoints.to_vec(),
                None => Vec::new(),
            },
            timings: Timings {
                occurred_at: signal.occurred_at,
                received_at: Some(signal.received_at),
                locked_at: all.iter().filter_map(|(_, verdict, _)| verdict.and_then(|verdict| verdict.locked_at)).max(),
                first_terminate_at: pursuits().filter_map(Pursuit::first_terminate_at).min(),
                verified_at,
            },
        }
    }
}

/// The pursuit on which a case hangs.
pub(super) fn pursuit_of(pursuits: &[Pursuit], case_number: usize) -> Option<&Pursuit> {
    pursuits.iter().find(|pursuit| pursuit.cases.contains(&case_number))
}

fn subject_receipt(case: &Case, verdict: Option<&Verdict>, pursuit: Option<&Pursuit>) -> SubjectReceipt {
    SubjectReceipt {
        subject: case.about.label(),
        names: case.named(),
        outcome: verdict.map_or(Outcome::Incomplete, |verdict| verdict.outcome),
        connections: pursuit.map(Pursuit::connections).unwrap_or_default(),
        reconnected: pursuit.map_or(0, |pursuit| pursuit.reconnected),
        refusal: verdict.and_then(|verdict| verdict.refusal),
        error: verdict.and_then(|verdict| verdict.why.clone()).or_else(|| case.left_alone()),
    }
}

/// The last of these times; nothing where any is missing, or there is none.
pub(super) fn last_of_all(times: impl IntoIterator<Item = Option<Timestamp>>) -> Option<Timestamp> {
    times.into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()
}
