//! A [`Receipt`]: what came of one signal, per subject and per connection. It is the answer to a direct command.

use serde::Serialize;

use crate::audit::Kind;
use crate::connection::{ConnectionId, EndpointId, Status, Target};
use crate::name::Name;
use crate::planted::{self, Fault};
use crate::policy::{BREAKER_OPEN, Mode, Refusal};
use crate::signal::{Action, SignalId};
use crate::time::Timestamp;

/// What came of a subject, or of a whole signal. In rising order of concern: a signal's is the worst of its subjects'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A dry run: what would be done.
    Planned,
    /// Shadow mode: decided and audited, nothing changed.
    Shadowed,
    /// What else the subject is called was changed, and nothing was to be ended for it.
    Aliased,
    /// Nothing of the subject is alive; shown by a full listing.
    Completed,
    /// Holds were lifted, or a circuit breaker was closed.
    Restored,
    /// A newer statement stands against it.
    Superseded,
    /// Policy forbids it.
    Refused,
    /// Nobody could say who is meant. Worth trying again.
    Unresolved,
    /// Something is left, or could not be looked at. Worth trying again.
    Incomplete,
}

impl Outcome {
    /// The word in answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.kind().map_or("planned", Kind::word)
    }

    /// The kind of entry that records it; none for a dry run, which writes nothing.
    #[must_use]
    pub fn kind(self) -> Option<Kind> {
        match self {
            Self::Planned => None,
            Self::Shadowed => Some(Kind::Shadowed),
            Self::Completed => Some(Kind::Completed),
            Self::Restored => Some(Kind::Restored),
            Self::Aliased => Some(Kind::Aliased),
            Self::Superseded => Some(Kind::Superseded),
            Self::Refused => Some(Kind::Refused),
            Self::Unresolved => Some(Kind::Unresolved),
            Self::Incomplete => Some(Kind::Incomplete),
        }
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Unresolved | Self::Incomplete)
    }
}

impl Serialize for Outcome {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What came of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionReceipt {
    /// Its Region.
    pub region: String,
    /// Its account, where known.
    pub account: Option<String>,
    /// Its endpoint.
    pub endpoint_id: EndpointId,
    /// Its id.
    pub connection_id: ConnectionId,
    /// The user name as listed.
    pub username: Option<String>,
    /// The common name as listed.
    pub common_name: Option<String>,
    /// Its status before anything was asked.
    pub previous_status: Status,
    /// Its status as last seen. `terminating` is not `terminated`.
    pub current_status: Status,
    /// What went wrong, or why it was left alone.
    pub error: Option<String>,
    /// AWS's id of the request that ended it, by which CloudTrail and AWS Support know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What came of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubjectReceipt {
    /// The subject as received.
    pub subject: String,
    /// Its names, in normal form.
    pub names: Vec<Name>,
    /// What came of it.
    pub outcome: Outcome,
    /// Its connections.
    pub connections: Vec<ConnectionReceipt>,
    /// How many connections were made while it was being ended, and ended as well.
    #[serde(skip_serializing_if = "is_zero")]
    pub reconnected: usize,
    /// Why policy forbids it, in a word that stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'static str>,
    /// Why the outcome is what it is, where that needs saying.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// One endpoint that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointReceipt {
    /// Its Region.
    pub region: String,
    /// Its account, where known.
    pub account: Option<String>,
    /// Its id.
    pub endpoint_id: EndpointId,
    /// Dry run: whether EC2 would permit it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permitted: Option<bool>,
    /// Why it could not be listed, or is not permitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl EndpointReceipt {
    /// Of an endpoint of this target, and what is wrong with it, if anything.
    pub(crate) fn new(target: &Target, endpoint_id: EndpointId, error: Option<String>) -> Self {
        Self { region: target.region.clone(), account: target.account.clone(), endpoint_id, permitted: None, error }
    }

    /// Whether its endpoint is one of this target.
    pub(crate) fn is_in(&self, target: &Target) -> bool {
        self.region == target.region && self.account == target.account
    }
}

/// When what happened. Accepted, acted and verified are three different facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// By the producer's own word.
    pub occurred_at: Option<Timestamp>,
    /// When it reached us.
    pub received_at: Option<Timestamp>,
    /// When the last lock was durable.
    pub locked_at: Option<Timestamp>,
    /// When the first terminate call was handed over to be made; it may have had to wait for its turn after that.
    pub first_terminate_at: Option<Timestamp>,
    /// When the listing ended that showed nothing alive; absent until every subject is verified.
    pub verified_at: Option<Timestamp>,
}

/// What came of one signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The signal.
    pub signal_id: SignalId,
    /// What it asked for.
    pub action: Action,
    /// Whether the function acts at all.
    pub mode: Mode,
    /// The worst of its subjects'.
    pub outcome: Outcome,
    /// What came of each subject.
    pub subjects: Vec<SubjectReceipt>,
    /// The endpoints that were listed.
    pub endpoints: Vec<EndpointReceipt>,
    /// When what happened.
    pub timings: Timings,
}

impl SubjectReceipt {
    /// What came of a subject of whom nothing else is to be said.
    #[must_use]
    pub fn new(subject: &str, outcome: Outcome) -> Self {
        Self {
            subject: subject.to_owned(),
            names: Vec::new(),
            outcome,
            connections: Vec::new(),
            reconnected: 0,
            refusal: None,
            error: None,
        }
    }

    /// A refusal.
    #[must_use]
    pub fn refused(subject: &str, refusal: &Refusal) -> Self {
        let error = Some(refusal.to_string());
        Self { refusal: Some(refusal.word()), error, ..Self::new(subject, Outcome::Refused) }
    }

    /// Whether trying again can help: also where the circuit breaker is open, since somebody may close it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.outcome.is_retryable() || self.refusal == Some(BREAKER_OPEN)
    }
}

impl Receipt {
    /// Whether trying again can help. Only then may a message fail.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let unfinished = self.outcome.is_retryable() || self.subjects.iter().any(SubjectReceipt::is_retryable);
        unfinished && !planted::is(Fault::AcknowledgeUnfinished)
    }

    /// How many connections ended because of this signal.
    #[must_use]
    pub fn terminated(&self) -> usize {
        self.connections()
            .filter(|connection| connection.previous_status.is_alive() && !connection.current_status.is_alive())
            .count()
    }

    fn connections(&self) -> impl Iterator<Item = &ConnectionReceipt> {
        self.subjects.iter().flat_map(|subject| &subject.connections)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Outcome::{
        Aliased, Completed, Incomplete, Planned, Refused, Restored, Shadowed, Superseded, Unresolved,
    };
    use super::*;

    #[test]
    fn the_worst_outcome_is_the_greatest() {
        let rising = [Planned, Shadowed, Aliased, Completed, Restored, Superseded, Refused, Unresolved, Incomplete];
        assert!(rising.is_sorted());
        assert!(rising.iter().all(|outcome| outcome.is_retryable() == matches!(outcome, Unresolved | Incomplete)));
    }

    #[test]
    fn an_outcome_is_written_as_the_kind_that_records_it() {
        for outcome in [Shadowed, Aliased, Completed, Restored, Superseded, Refused, Unresolved, Incomplete] {
            assert_eq!(json!(outcome), json!(outcome.kind().unwrap()));
            assert_eq!(json!(outcome), json!(format!("{outcome:?}").to_lowercase()));
        }
        assert_eq!((Planned.kind(), json!(Planned)), (None, json!("planned")));
    }

    fn receipt(subjects: Vec<SubjectReceipt>) -> Receipt {
        Receipt {
            signal_id: SignalId::new("s-1"),
            action: Action::Disconnect,
            mode: Mode::Enforce,
            outcome: subjects.iter().map(|subject| subject.outcome).max().unwrap(),
            subjects,
            endpoints: Vec::new(),
            timings: Timings::default(),
        }
    }

    #[test]
    fn only_what_trying_again_can_help_is_retryable() {
        let done = || SubjectReceipt::new("alice", Completed);
        let refused = |refusal: &Refusal| receipt(vec![done(), SubjectReceipt::refused("bob", refusal)]);
        let (authority, since) = (crate::signal::Authority::command(), Timestamp::from_millis(0));
        assert!(refused(&Refusal::BreakerOpen { authority, since, limit: 50 }).is_retryable(), "somebody may close it");
        assert!(!refused(&Refusal::SharedCertificate(2)).is_retryable());
        assert!(!receipt(vec![done()]).is_retryable());
        assert!(receipt(vec![done(), SubjectReceipt::new("bob", Incomplete)]).is_retryable());
        assert!(SubjectReceipt::new("bob", Unresolved).is_retryable() && !done().is_retryable());
    }

    #[test]
    fn a_refused_subject_says_why_in_a_word_and_in_a_sentence() {
        let refusal = Refusal::SharedCertificate(2);
        let subject = SubjectReceipt::refused("Alice", &refusal);
        assert_eq!((subject.subject.as_str(), subject.outcome), ("Alice", Refused));
        assert_eq!((subject.refusal, subject.error), (Some("shared-certificate"), Some(refusal.to_string())));
    }

    #[test]
    fn only_a_connection_that_was_alive_and_is_not_was_terminated() {
        let went = |previous_status: Status, current_status: Status| ConnectionReceipt {
            region: "eu-west-1".to_owned(),
            account: None,
            endpoint_id: EndpointId::new("e"),
            connection_id: ConnectionId::new("c"),
            username: None,
            common_name: None,
            previous_status,
            current_status,
            error: None,
            request_id: None,
        };
        let all = [
            went(Status::Active, Status::Terminated),
            went(Status::FailedToTerminate, Status::Terminated),
            went(Status::Active, Status::Terminating),
            went(Status::Terminated, Status::Terminated),
        ];
        let with = |connections: &[ConnectionReceipt]| SubjectReceipt {
            connections: connections.to_vec(),
            ..SubjectReceipt::new("alice", Completed)
        };
        assert_eq!(receipt(vec![with(&all), with(&all[..1])]).terminated(), 3);
        assert_eq!(receipt(vec![with(&all[2..])]).terminated(), 0);
    }

    #[test]
    fn reconnections_are_told_where_there_were_any() {
        let with = |reconnected| json!(SubjectReceipt { reconnected, ..SubjectReceipt::new("alice", Completed) });
        assert_eq!((with(0).get("reconnected"), with(2).get("reconnected")), (None, Some(&json!(2))));
    }
}
