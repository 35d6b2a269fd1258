//! What admission needs to know of everybody in a delivery, read at once and beside the aliases: each read is a round
//! trip on the way to the first call that ends anything, and a call for each person of a batch.
//!
//! Nothing rests on it. What is written is guarded, so that what is out of date by then is read again; what is decided
//! without a write is read again first; and where the reading ahead goes wrong, each case reads for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Case, Revoker};
use crate::audit::{Head, Kind, Mark, Marker};
use crate::lock::Lock;
use crate::name::Name;
use crate::policy::Mode;
use crate::ports::StoreError;
use crate::receipt::Outcome;
use crate::signal::{Action, Authority};

/// How long it may take, before each case reads for itself.
const READ_AHEAD_WITHIN: Duration = Duration::from_secs(2);

/// What is on record of a signal and a subject from earlier deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    /// An attempt got as far as the `requested` entry, so its lock was durable.
    Requested,
    /// It is settled.
    Settled(Outcome),
    /// Another action was settled under the same id.
    SettledOtherwise(Outcome),
}

/// What is known of a case before it is admitted.
#[derive(Debug, Clone)]
pub(super) struct Ahead {
    pub(super) before: Before,
    /// The lock of the subject's own name, where the signal is about to change it.
    pub(super) lock: Option<Lock>,
    /// The head of the subject's chain, where an entry is to follow soon.
    pub(super) head: Option<Head>,
}

/// Where to look whether an earlier delivery of a case was recorded.
struct Marks {
    action: &'static str,
    finals: &'static [Outcome],
    markers: Vec<Marker>,
}

impl Marks {
    fn before(&self, standing: &[Option<Mark>]) -> Before {
        let is_another = |mark: &Mark| mark.action.as_ref().is_some_and(|action| action != self.action);
        let settled = self.finals.iter().zip(standing).find_map(|(outcome, mark)| Some((outcome, mark.as_ref()?)));
        match (settled, standing.last()) {
            (Some((outcome, mark)), _) if is_another(mark) => Before::SettledOtherwise(*outcome),
            (Some((outcome, _)), _) => Before::Settled(*outcome),
            // What was requested under this id as another action has locked nothing for this one.
            (None, Some(Some(mark))) if !is_another(mark) => Before::Requested,
            _ => Before::Nothing,
        }
    }
}

/// What is to be read for a case.
struct Wanted {
    number: usize,
    marks: Marks,
    own: Option<Name>,
    chain: String,
    /// Whose breaker is about to count.
    counted_for: Option<Authority>,
}

impl Revoker {
    /// Reads ahead for the first case of every subject; the ones after it depend on what that one does.
    ///
    /// An alias and a breaker have no order by `as_of`, so that it must be known whether they were dealt with before, as
    /// late as can be.
    pub(super) async fn read_ahead(&self, cases: &[Case]) -> BTreeMap<usize, Ahead> {
        let mut chains = BTreeSet::new();
        let mut wanted = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            let is_first = chains.insert(case.chain());
            let is_ordered = !matches!(case.signal.action, Action::Alias { .. } | Action::CloseBreaker);
            if is_first && is_ordered && case.stuck.is_none() {
                wanted.push(self.wanted(number, case));
            }
        }
        if wanted.is_empty() {
            return BTreeMap::new();
        }
        let (revoker, late_at) = (self.clone(), self.clock.now().plus(READ_AHEAD_WITHIN));
        let work = async move { revoker.read_all(wanted).await };
        match self.guarded(late_at, tracing::Span::current(), work).await {
            Ok(Ok(ahead)) => ahead,
            _ => BTreeMap::new(),
        }
    }

    fn wanted(&self, number: usize, case: &Case) -> Wanted {
        let locks = matches!(case.signal.action, Action::Revoke { .. } | Action::Restore { .. });
        let own = case.subject().map(|subject| subject.name().clone()).filter(|_| locks);
        let counts = matches!(case.signal.action, Action::Revoke { .. }) && !self.is_rehearsal(case);
        let counted_for = Some(case.signal.authority.clone()).filter(|authority| {
            counts && *authority != Authority::command() && self.policy.admit(&case.signal, &case.named()).is_ok()
        });
        Wanted { number, marks: self.marks(case), own, chain: case.chain(), counted_for }
    }

    async fn read_all(&self, wanted: Vec<Wanted>) -> Result<BTreeMap<usize, Ahead>, StoreError> {
        let markers: Vec<Marker> = wanted.iter().flat_map(|one| one.marks.markers.clone()).collect();
        let names: Vec<Name> = wanted.iter().filter_map(|one| one.own.clone()).collect();
        let chains: Vec<String> = wanted.iter().map(|one| one.chain.clone()).collect();
        let standing = async { if markers.is_empty() { Ok(Vec::new()) } else { self.trail.standing(&markers).await } };
        let locks = async { if names.is_empty() { Ok(Vec::new()) } else { self.locks.read(&names).await } };
        let brakes: BTreeSet<&Authority> = wanted.iter().filter_map(|one| one.counted_for.as_ref()).collect();
        brakes.into_iter().for_each(|authority| self.brake.look_ahead(authority));
        let (standing, locks, heads) = tokio::join!(standing, locks, self.trail.heads_of(&chains));
        let (mut standing, mut locks, mut heads) = (standing?.into_iter(), locks?.into_iter(), heads?.into_iter());
        let mut ahead = BTreeMap::new();
        for one in wanted {
            let stands: Vec<Option<Mark>> = standing.by_ref().take(one.marks.markers.len()).collect();
            let lock = one.own.as_ref().and_then(|_| locks.next());
            ahead.insert(one.number, Ahead { before: one.marks.before(&stands), lock, head: heads.next() });
        }
        Ok(ahead)
    }

    /// The same for one case by itself, without the head, which is read with the entry.
    pub(super) async fn read_one(&self, case: &Case) -> Result<Ahead, StoreError> {
        let marks = self.marks(case);
        let before = match marks.markers.is_empty() {
            true => Before::Nothing,
            false => marks.before(&self.trail.standing(&marks.markers).await?),
        };
        Ok(Ahead { before, lock: None, head: None })
    }

    /// `refused`, `incomplete` and `unresolved` are looked at anew: configuration may have changed since.
    fn marks(&self, case: &Case) -> Marks {
        let is_directorys = case.signal.authority == Authority::directory();
        let finals: &[Outcome] = match (self.mode(case), &case.signal.action) {
            (Mode::Shadow, _) => &[Outcome::Shadowed],
            // What is newer than a sweep's word may be newer by a clock that differs. The next sweep says it anew.
            (Mode::Enforce, Action::Restore { .. }) if is_directorys => &[Outcome::Restored],
            (Mode::Enforce, Action::Revoke { .. }) if is_directorys => &[Outcome::Completed],
            (Mode::Enforce, Action::Restore { .. } | Action::CloseBreaker) => &[Outcome::Restored, Outcome::Superseded],
            (Mode::Enforce, Action::Alias { .. }) => &[Outcome::Aliased, Outcome::Completed],
            (Mode::Enforce, _) => &[Outcome::Completed, Outcome::Superseded],
        };
        let action = case.signal.action.word();
        if case.signal.dry_run {
            return Marks { action, finals, markers: Vec::new() };
        }
        let chain = case.chain();
        let kinds = finals.iter().filter_map(|outcome| outcome.kind()).chain([Kind::Requested]);
        let markers = kinds.map(|kind| Marker::new(&case.signal.id, &chain, kind)).collect();
        Marks { action, finals, markers }
    }
}
