//! The last step: what came of each case goes to the audit trail, and only then into the answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::admit::SUBJECTS_AT_ONCE;
use super::pursuit::{Goal, Pursuit, State};
use super::{Case, Revoker, Run, Verdict, all_of, pursuit_of, refused};
use crate::audit::{Appended, Draft, Kind, Marker, append_after};
use crate::ports::StoreError;
use crate::receipt::{ConnectionReceipt, EndpointReceipt, Outcome};
use crate::signal::Action;

/// How many connections an entry lists; DynamoDB takes 400 KB an item. The count says how many there were.
const LISTED_AT_MOST: usize = 200;

/// How many characters of a text an entry holds.
const LONGEST_TEXT: usize = 400;

impl Revoker {
    /// Decides what became of every pursuit, and records every case: subjects side by side, the cases of one subject
    /// in order.
    pub(super) async fn record_all(
        &self,
        cases: &[Case],
        verdicts: &mut BTreeMap<usize, Verdict>,
        pursuits: &[Pursuit],
        endpoints: &[EndpointReceipt],
        run: &Run,
    ) {
        let mut by_subject: BTreeMap<String, Vec<(usize, Case, Verdict)>> = BTreeMap::new();
        for (number, case) in cases.iter().enumerate() {
            let verdict = match (verdicts.remove(&number), pursuit_of(pursuits, number)) {
                (Some(verdict), _) => verdict,
                (None, Some(pursuit)) => verdict_of(pursuit, endpoints),
                (None, None) => Verdict::because(Outcome::Incomplete, "a fault of ours; it is tried again"),
            };
            let verdict = match self.is_rehearsal(case) {
                true => self.rehearsed_verdict(case, verdict),
                false => verdict,
            };
            by_subject.entry(case.chain()).or_default().push((number, case.clone(), verdict));
        }
        let mut subjects = JoinSet::new();
        let gate = Arc::new(Semaphore::new(SUBJECTS_AT_ONCE));
        for queue in by_subject.into_values() {
            let (revoker, run, gate) = (self.clone(), run.clone(), Arc::clone(&gate));
            subjects.spawn(async move {
                let _turn = gate.acquire().await;
                let mut recorded = Vec::new();
                for (number, case, verdict) in queue {
                    recorded.push((number, revoker.record_in_time(case, verdict, &run).await));
                }
                recorded
            });
        }
        verdicts.extend(all_of(subjects).await.into_iter().flatten());
    }

    async fn record_in_time(&self, case: Case, verdict: Verdict, run: &Run) -> Verdict {
        let (revoker, attempt, decided, span) = (self.clone(), run.attempt.clone(), verdict.clone(), case.span());
        let work = async move { revoker.record(&case, &decided, &attempt).await };
        let unrecorded = |why: String| Verdict {
            outcome: Outcome::Incomplete,
            why: Some(match &verdict.why {
                Some(first) if verdict.outcome == Outcome::Incomplete => {
                    format!("{first}; nor could that be recorded: {why}")
                }
                _ => format!("{} but not recorded: {why}", verdict.outcome.word()),
            }),
            ..verdict.clone()
        };
        match self.guarded(run.answer_by, span, work).await {
            Ok(Ok(())) => verdict,
            Ok(Err(error)) => unrecorded(error.to_string()),
            Err(lost) => unrecorded(lost.why("the time of this invoke ran out")),
        }
    }

    async fn record(&self, case: &Case, verdict: &Verdict, attempt: &str) -> Result<(), StoreError> {
        log(verdict);
        let Some(kind) = verdict.outcome.kind().filter(|_| !verdict.repeated && !case.signal.dry_run) else {
            return Ok(());
        };
        let mut detail = self.circumstances(case);
        detail.extend(verdict.detail.clone());
        if let Some(refusal) = verdict.refusal {
            detail.insert("refusal".to_owned(), json!(refusal));
        }
        if let Some(at) = verdict.locked_at {
            detail.insert("locked_at".to_owned(), json!(at));
        }
        if let Some(why) = &verdict.why {
            detail.insert("why".to_owned(), json!(shortened(why)));
        }
        let draft = |kind| Draft::new(&case.signal, &case.chain(), kind, self.clock.now(), detail.clone());
        let draft_of_kind = match verdict.outcome {
            Outcome::Incomplete => draft(kind).once_per_attempt(attempt),
            _ => draft(kind).refused_because(verdict.refusal),
        };
        let (appended, _) = append_after(&*self.trail, &draft_of_kind, case.head.clone()).await?;
        // One refusal stands for each signal. Where it was another one, as when the breaker has been closed since, the
        // trail must not end with what is not so any more.
        if appended == Appended::AlreadyThere
            && verdict.outcome == Outcome::Refused
            && self.is_refused_otherwise(&draft_of_kind.marker).await?
        {
            // Once for each reason, however often it comes again.
            let draft = draft(Kind::Incomplete).once_per_attempt(verdict.refusal.unwrap_or(attempt));
            append_after(&*self.trail, &draft, None).await?;
        }
        Ok(())
    }

    /// Whether the refusal that stands has another reason than this one.
    async fn is_refused_otherwise(&self, marker: &Marker) -> Result<bool, StoreError> {
        let standing = self.trail.standing(std::slice::from_ref(marker)).await?;
        let why = standing.into_iter().flatten().find_map(|mark| mark.refusal);
        Ok(why.is_some_and(|why| Some(why.as_str()) != marker.refusal()))
    }

    /// What every entry about a case says.
    pub(super) fn circumstances(&self, case: &Case) -> Map<String, Value> {
        let signal = &case.signal;
        let mut detail = Map::new();
        detail.insert("action".to_owned(), json!(signal.action));
        detail.insert("mode".to_owned(), json!(self.mode(case)));
        if let Some(replay) = &signal.replay {
            detail.insert("replay".to_owned(), json!(replay));
        }
        detail.insert("names".to_owned(), json!(case.named()));
        if !case.let_in.is_empty() {
            detail.insert("let_in".to_owned(), json!(case.let_in));
        }
        if let Some(person) = signal.person(&case.about.label()) {
            detail.insert("person".to_owned(), json!(person.as_str()));
        }
        if let Some(origin) = &case.origin {
            detail.insert("directory_id".to_owned(), json!(origin.id));
            if origin.kept {
                detail.insert("directory_kept".to_owned(), json!(true));
            }
        }
        let others = case.others_names();
        if !others.is_empty() {
            detail.insert("others_names".to_owned(), json!(others));
        }
        case.note_alias(&mut detail);
        detail.insert("as_of".to_owned(), json!(signal.as_of));
        detail.insert("received_at".to_owned(), json!(signal.received_at));
        if let Some(occurred_at) = signal.occurred_at {
            detail.insert("occurred_at".to_owned(), json!(occurred_at));
        }
        if let Action::Revoke { expires_at: Some(expires_at) } = &signal.action {
            detail.insert("expires_at".to_owned(), json!(expires_at));
        }
        if signal.force {
            detail.insert("force".to_owned(), json!(true));
        }
        if let Action::Restore { authorities: Some(authorities) } = &signal.action {
            detail.insert("authorities".to_owned(), json!(authorities));
        }
        detail
    }
}

fn log(verdict: &Verdict) {
    let (outcome, why) = (verdict.outcome.word(), verdict.why.as_deref().unwrap_or_default());
    match verdict.outcome {
        Outcome::Incomplete | Outcome::Unresolved | Outcome::Refused => tracing::warn!(outcome, why, "signal settled"),
        _ => tracing::info!(outcome, why, repeated = verdict.repeated, "signal settled"),
    }
}

/// What became of a pursuit, and the evidence for it.
fn verdict_of(pursuit: &Pursuit, endpoints: &[EndpointReceipt]) -> Verdict {
    let mut verdict = match &pursuit.state {
        State::Verified(_) if matches!(pursuit.goal, Goal::One { .. }) && !pursuit.was_listed => Verdict::because(
            Outcome::Completed,
            "that endpoint lists no connection of this id, neither alive nor ended within the hour; where it should, check both ids",
        ),
        State::Verified(_) | State::Rehearsed => Verdict::new(Outcome::Completed),
        State::Refused(refusal) => refused(refusal),
        State::Superseded(why) => Verdict::because(Outcome::Superseded, why),
        State::Incomplete(why) => Verdict::because(Outcome::Incomplete, why),
        State::Open => Verdict::because(Outcome::Incomplete, "it was not finished; it is tried again"),
    };
    if matches!(pursuit.goal, Goal::Locked { .. }) && !pursuit.rehearsed {
        verdict.locked_at = Some(pursuit.durable_at);
    }
    let mut put = |key: &str, value: Value| verdict.detail.insert(key.to_owned(), value);
    if let Some(at) = pursuit.first_terminate_at() {
        put("first_terminate_at", json!(at));
    }
    if let Some(at) = pursuit.verified_at() {
        put("verified_at", json!(at));
    }
    if pursuit.reconnected > 0 {
        put("reconnected", json!(pursuit.reconnected));
    }
    let connections = pursuit.connections();
    put("connection_count", json!(connections.len()));
    let listed: Vec<Value> = connections.iter().take(LISTED_AT_MOST).map(evidence).collect();
    put("connections", Value::Array(listed));
    let endpoints = pursuit.settled_by.as_deref().unwrap_or(endpoints);
    put("endpoints", json!(endpoints.iter().map(|endpoint| &endpoint.endpoint_id).collect::<Vec<_>>()));
    verdict
}

/// A connection as an entry shows it: what is absent is left out.
fn evidence(connection: &ConnectionReceipt) -> Value {
    match json!(connection) {
        Value::Object(all) => {
            let present = all.into_iter().filter(|(_, value)| !value.is_null());
            present
                .map(|(key, value)| (key, value.as_str().map_or(value.clone(), |text| json!(shortened(text)))))
                .collect()
        }
        other => other,
    }
}

/// A text as an entry holds it, so that no error message, however long, makes an entry too large to be written.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{ConnectionId, EndpointId, Status};

    #[test]
    fn an_entry_holds_the_beginning_of_a_long_text_and_nothing_that_is_absent() {
        let longest = "é".repeat(LONGEST_TEXT);
        assert_eq!(shortened(&longest), longest);
        assert_eq!(shortened(&format!("{longest}é")), format!("{longest}…"));
        let connection = ConnectionReceipt {
            region: "eu-west-1".to_owned(),
            account: None,
            endpoint_id: EndpointId::new("e"),
            connection_id: ConnectionId::new("c"),
            username: Some(format!("{longest}é")),
            common_name: None,
            previous_status: Status::Active,
            current_status: Status::Terminated,
            error: None,
            request_id: None,
        };
        let expected = json!({
            "region": "eu-west-1", "endpoint_id": "e", "connection_id": "c", "username": format!("{longest}…"),
            "previous_status": "active", "current_status": "terminated",
        });
        assert_eq!(evidence(&connection), expected);
    }
}
