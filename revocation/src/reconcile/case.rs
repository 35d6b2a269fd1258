//! A case: one signal for one of its subjects, what is known of it on its way, and what is decided.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::ahead::Ahead;
use super::pursuit::Pursuit;
use super::resolve::{Origin, Resolved};
use crate::audit::Head;
use crate::name::{Name, Subject};
use crate::policy::Refusal;
use crate::receipt::Outcome;
use crate::signal::{About, Action, Signal};
use crate::time::Timestamp;

/// One signal for one of its subjects.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) signal: Arc<Signal>,
    /// Which of the delivery's signals.
    pub(super) index: usize,
    pub(super) about: About,
    /// The names by which the subject is known on the VPN.
    pub(super) names: Vec<Name>,
    /// Names that somebody let in again one by one: they are left alone.
    pub(super) let_in: Vec<Name>,
    /// Names that only an earlier hold knows of: somebody else may have them by now.
    pub(super) remembered: Vec<Name>,
    /// Names that turned out, while locks were changed, to be somebody else's by now: they are left alone.
    pub(super) lost: Vec<Name>,
    /// What the directory said, where the event gave an id.
    pub(super) origin: Option<Origin>,
    /// Decided ahead of admission: nobody knows who is meant, or by which names.
    pub(super) stuck: Option<Verdict>,
    /// What was read of it ahead of admission.
    pub(super) ahead: Option<Ahead>,
    /// The head of its chain, as far as it is known.
    pub(super) head: Option<Head>,
}

impl Case {
    pub(super) fn new(signal: Arc<Signal>, index: usize, about: About) -> Self {
        Self {
            signal,
            index,
            about,
            names: Vec::new(),
            let_in: Vec::new(),
            remembered: Vec::new(),
            lost: Vec::new(),
            origin: None,
            stuck: None,
            ahead: None,
            head: None,
        }
    }

    pub(super) fn chain(&self) -> String {
        self.about.chain()
    }

    /// Whom it is about, where that is a person.
    pub(super) fn subject(&self) -> Option<&Subject> {
        match &self.about {
            About::Subject(subject) => Some(subject),
            About::Connection(..) | About::Unresolved { .. } | About::Breaker(_) => None,
        }
    }

    /// What was given or taken, for the entries about it.
    pub(super) fn note_alias(&self, detail: &mut Map<String, Value>) {
        if let Action::Alias { names, remove } = &self.signal.action {
            detail.insert(if *remove { "taken" } else { "given" }.to_owned(), json!(names));
        }
    }

    /// The names that count.
    pub(super) fn named(&self) -> Vec<Name> {
        let left_alone =
            |name: &&Name| self.let_in.contains(name) || self.lost.contains(name) || self.is_to_let_go(name);
        self.names.iter().filter(|name| !left_alone(name)).cloned().collect()
    }

    /// Adds names that were said of the subject before, and that it may not have any more.
    pub(super) fn remember(&mut self, names: Vec<Name>) {
        let unknown: Vec<Name> = names.into_iter().filter(|name| !self.names.contains(name)).collect();
        self.remembered.extend(unknown.iter().cloned());
        self.names.extend(unknown);
    }

    /// Whether a name only goes with a restore, which is to lift what was said there of this person before it was somebody
    /// else's.
    pub(super) fn is_to_let_go(&self, name: &Name) -> bool {
        let is_restore = matches!(self.signal.action, Action::Restore { .. });
        let others = self.subject().map(Subject::others).unwrap_or_default();
        is_restore && self.remembered.contains(name) && others.contains(name)
    }

    /// Names that were or would be the subject's, and are somebody else's by now.
    pub(super) fn others_names(&self) -> BTreeSet<&str> {
        let of_directory = self.origin.iter().flat_map(|origin| origin.others.iter().map(String::as_str));
        of_directory.chain(self.lost.iter().map(Name::as_str)).collect()
    }

    /// What a receipt says of those. Whoever is known under them is not cut off, and may be the very person all the same.
    pub(super) fn left_alone(&self) -> Option<String> {
        let named = self.named();
        let is_left = |other: &&str| named.iter().all(|name| name.as_str() != *other);
        let others: Vec<&str> = self.others_names().into_iter().filter(is_left).collect();
        let decides = matches!(self.signal.action, Action::Revoke { .. });
        (decides && !others.is_empty())
            .then(|| format!("left alone, being somebody else's by now: {}", others.join(", ")))
    }

    /// Takes note of names that were let in while their connections were being ended.
    pub(super) fn note_let_in(&mut self, pursuit: &Pursuit) {
        let by_locks = matches!(self.signal.action, Action::Revoke { .. } | Action::Alias { .. } | Action::Sweep);
        if by_locks && !pursuit.goal.names().is_empty() {
            let lifted = self.named().into_iter().filter(|name| !pursuit.goal.names().contains(name));
            self.let_in.extend(lifted);
        }
    }

    /// The names beside the subject's own.
    pub(super) fn further(&self) -> Vec<Name> {
        self.names.iter().skip(1).cloned().collect()
    }

    pub(super) fn span(&self) -> tracing::Span {
        tracing::info_span!("signal", signal_id = %self.signal.id, action = self.signal.action.word())
    }
}

/// What is decided about a case, before it is recorded.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) why: Option<String>,
    pub(super) refusal: Option<&'static str>,
    pub(super) detail: Map<String, Value>,
    /// An earlier delivery recorded it already.
    pub(super) repeated: bool,
    pub(super) locked_at: Option<Timestamp>,
}

impl Verdict {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { outcome, why: None, refusal: None, detail: Map::new(), repeated: false, locked_at: None }
    }

    pub(super) fn because(outcome: Outcome, why: &(impl ToString + ?Sized)) -> Self {
        Self { why: Some(why.to_string()), ..Self::new(outcome) }
    }
}

pub(super) fn refused(refusal: &Refusal) -> Verdict {
    Verdict { refusal: Some(refusal.word()), ..Verdict::because(Outcome::Refused, refusal) }
}

/// The signals taken apart by subject, in the order in which they apply: within a subject by `as_of`.
pub(super) fn cases_of(signals: &[Arc<Signal>], resolved: &Resolved) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (index, signal) in signals.iter().enumerate() {
        // The same subject twice in one signal is one subject.
        let mut chains = BTreeSet::new();
        let distinct = signal.about.iter().filter(|about| chains.insert(about.chain()));
        cases.extend(distinct.map(|about| {
            let key = (index, about.chain());
            let why = resolved.unresolved.get(&key);
            Case {
                origin: resolved.origins.get(&key).cloned(),
                stuck: why.map(|why| Verdict::because(Outcome::Unresolved, why)),
                ..Case::new(Arc::clone(signal), index, about.clone())
            }
        }));
    }
    // Restores before revocations of the same instant, which then win.
    cases.sort_by_key(|case| (case.signal.as_of, !matches!(case.signal.action, Action::Restore { .. })));
    cases
}
