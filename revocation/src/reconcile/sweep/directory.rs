//! What a directory says of those who are connected: an event that never came is made good.

use std::collections::{BTreeSet, HashMap};

use super::super::admit::ADMISSION;
use super::super::{Revoker, Run};
use super::{Seen, Sweep};
use crate::lock::{HoldState, Lock};
use crate::name::Name;
use crate::people::People;
use crate::ports::NameKind;
use crate::receipt::Receipt;
use crate::signal::{About, Action, Authority, Signal, SignalId};

/// The producer, and the authority, of what a sweep learns from the directory.
const DIRECTORY: &str = "directory";

impl Revoker {
    /// Asks the directory about some of those who are connected, and about those whom its word locked before: who is
    /// disabled or gone is locked, and who is enabled again is let in.
    pub(super) async fn heed_directory(
        &self,
        order: &Sweep,
        locks: &HashMap<Name, Lock>,
        seen: &Seen,
        run: &Run,
    ) -> Vec<Receipt> {
        let at_most = self.policy.sweep_directory;
        let Some(people) = self.people.as_ref().filter(|_| at_most > 0) else { return Vec::new() };
        let stop_at = run.stop_at.min(self.clock.now().plus(ADMISSION));
        let asking = self.ask_directory(order, locks, seen, people);
        let signals = self.in_time(stop_at, asking).await.unwrap_or_default();
        if signals.is_empty() { Vec::new() } else { self.handle(signals, run).await }
    }

    /// What the directory has to say.
    async fn ask_directory(
        &self,
        order: &Sweep,
        locks: &HashMap<Name, Lock>,
        seen: &Seen,
        people: &People,
    ) -> Vec<Signal> {
        let at_most = self.policy.sweep_directory;
        let others: Vec<Name> = seen.others.iter().cloned().collect();
        let mut signals = Vec::new();
        for name in self.some(&others, at_most) {
            match self.whom_to_lock(people, &name).await {
                Ok(None) => {}
                Ok(Some(id)) => signals.push(self.word(order, &id, Action::Revoke { expires_at: None })),
                Err(error) => {
                    tracing::warn!(error_type = "DirectoryAway", %error, "the directory could not be asked; the next sweep asks again");
                    break;
                }
            }
        }
        let authority = Authority::producer(DIRECTORY, None);
        for id in self.some(&held_by_directory(locks, &authority), at_most) {
            if let Ok(Some(person)) = people.directory.find(&id).await
                && person.enabled == Some(true)
            {
                let lift = Action::Restore { authorities: Some(vec![authority.clone()]) };
                signals.push(self.word(order, &id, lift));
            }
        }
        signals
    }

    /// Some of many: another part with every minute, so that each has its turn.
    fn some<T: Clone>(&self, all: &[T], at_most: usize) -> Vec<T> {
        let minute = self.clock.now().as_millis().div_euclid(60_000).unsigned_abs();
        let turn = usize::try_from(minute).unwrap_or_default();
        let from = if all.len() > at_most { turn.wrapping_mul(at_most) % all.len() } else { 0 };
        all.iter().skip(from).chain(all.iter().take(from)).take(at_most).cloned().collect()
    }

    /// The id of whoever has this name, where the directory says that the person is disabled, or gone. Whom it never
    /// knew is none of its people: somebody of another directory, or a machine.
    async fn whom_to_lock(&self, people: &People, name: &Name) -> Result<Option<String>, String> {
        let error = |error: &dyn std::fmt::Display| error.to_string();
        let mut holder = None;
        for kind in [NameKind::UserName, NameKind::Email] {
            holder = people.directory.holder(name.as_str(), kind).await.map_err(|e| error(&e))?;
            if holder.is_some() {
                break;
            }
        }
        let id = match holder {
            Some(id) => Some(id),
            None => people.known.by_name(name).await.map_err(|e| error(&e))?,
        };
        let Some(id) = id else { return Ok(None) };
        let out = match people.directory.find(&id).await.map_err(|e| error(&e))? {
            Some(person) => person.enabled == Some(false),
            None => true,
        };
        // A person who was let in again by a command, although the directory says otherwise, stays in.
        let lock = self.lock_of(name).await.map_err(|e| error(&e))?;
        let authority = Authority::producer(DIRECTORY, None);
        let let_in = lock
            .hold_of(&authority)
            .is_some_and(|hold| hold.state == HoldState::Released && !hold.signal_id.as_str().starts_with(DIRECTORY));
        Ok(Some(id).filter(|_| out && !let_in))
    }

    fn word(&self, order: &Sweep, id: &str, action: Action) -> Signal {
        let now = self.clock.now();
        Signal {
            id: SignalId::of_producer(DIRECTORY, &format!("{id}:{}", now.day())),
            action,
            about: vec![About::unresolved(DIRECTORY, id, true)],
            authority: Authority::producer(DIRECTORY, None),
            as_of: now,
            occurred_at: None,
            received_at: now,
            source: format!("sweep {}", order.id),
            actor: None,
            reason: Some("the directory says so of somebody connected".to_owned()),
            dry_run: order.dry_run,
            force: false,
            replay: None,
            via: order.via,
        }
    }
}

/// The ids of those whom the directory's word keeps out.
fn held_by_directory(locks: &HashMap<Name, Lock>, authority: &Authority) -> Vec<String> {
    let holds = locks.values().filter_map(|lock| lock.hold_of(authority));
    let held = holds.filter(|hold| hold.state == HoldState::Locked);
    let ids: BTreeSet<String> = held
        .filter_map(|hold| Some(hold.signal_id.as_str().strip_prefix("directory:")?.rsplit_once(':')?.0.to_owned()))
        .collect();
    ids.into_iter().collect()
}
