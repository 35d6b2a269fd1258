//! What a sweep found of one subject.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Sweep;
use crate::audit::hex_digest;
use crate::connection::ConnectionId;
use crate::lock::{Hold, Lock};
use crate::name::{Name, Subject};
use crate::policy::Policy;
use crate::signal::{About, Action, Authority, Signal, SignalId};
use crate::time::Timestamp;

/// One subject's names with something connected under them.
pub(super) struct Hit {
    pub(super) names: Vec<Name>,
    /// A name of the subject's that is protected by now, if any is.
    pub(super) protected: Option<Name>,
    authority: Authority,
    hold: Hold,
    connections: BTreeSet<ConnectionId>,
}

/// What is known while hits are gathered.
pub(super) struct Known<'a> {
    pub(super) policy: &'a Policy,
    pub(super) locks: &'a HashMap<Name, Lock>,
    pub(super) now: Timestamp,
}

/// What was found, by subject: a subject's names are ended together, and its own chain tells of it.
pub(super) fn hits(
    confirmed: &[Lock],
    found: &BTreeMap<Name, BTreeSet<ConnectionId>>,
    known: &Known<'_>,
) -> BTreeMap<String, Hit> {
    let mut hits: BTreeMap<String, Hit> = BTreeMap::new();
    for lock in confirmed {
        // Of those who share a name, one who is protected by now keeps no call from the others.
        let mut holds: Vec<_> = lock.holds_in_force(known.now).map(|held| (known.protected(held), held)).collect();
        holds.sort_by_key(|(protected, _)| protected.is_some());
        let Some((protected, (authority, hold))) = holds.into_iter().next() else { continue };
        let Some(connections) = found.get(&lock.name) else { continue };
        let own = Name::new(&hold.subject).unwrap_or_else(|_| lock.name.clone());
        let hit = hits.entry(own.to_string()).or_insert_with(|| Hit {
            names: Vec::new(),
            protected: None,
            authority: authority.clone(),
            hold: hold.clone(),
            connections: BTreeSet::new(),
        });
        let itself = Some(&lock.name).filter(|name| known.policy.protected.covers(name)).cloned();
        hit.protected = hit.protected.take().or(protected).or(itself);
        hit.names.push(lock.name.clone());
        hit.connections.extend(connections.iter().cloned());
    }
    hits
}

impl Known<'_> {
    /// A protected one of a subject's names: the own one, or one of those that the hold on it was said of as well and that
    /// follow by rule, or are still kept out as the subject's or by themselves.
    fn protected(&self, (authority, hold): (&Authority, &Hold)) -> Option<Name> {
        let own = hold.about()?;
        let said_of = self.locks.get(&own).and_then(|lock| lock.hold_of(authority)).map_or(&[][..], |hold| &hold.names);
        let by_rule = self.policy.aliases.names(&own);
        let is_kept = |name: &Name| {
            let lock = self.locks.get(name);
            lock.is_some_and(|lock| lock.is_held_about(&own, self.now) || lock.is_held_about(name, self.now))
        };
        let further = said_of.iter().filter(|name| by_rule.contains(name) || is_kept(name)).cloned();
        std::iter::once(own.clone()).chain(further).find(|name| self.policy.protected.covers(name))
    }
}

impl Hit {
    /// What is recorded of it: the lock's own word, and who asked for the sweep and why, if somebody did, under an id that another sweep at the same time arrives at too.
    pub(super) fn signal(&self, order: &Sweep) -> Signal {
        let ids: Vec<&str> = self.connections.iter().map(ConnectionId::as_str).collect();
        let names: Vec<&str> = self.names.iter().map(Name::as_str).collect();
        let digest = hex_digest(format!("{}\n{}", names.join("\n"), ids.join("\n")).as_bytes());
        let named = Subject::new(&self.hold.subject).or_else(|error| match self.names.first() {
            Some(name) => Subject::new(name.as_str()),
            None => Err(error),
        });
        Signal {
            id: SignalId::new(&format!("sweep:{}", digest.get(..32).unwrap_or(&digest))),
            action: Action::Sweep,
            about: named.map(About::Subject).into_iter().collect(),
            authority: self.authority.clone(),
            as_of: self.hold.as_of,
            occurred_at: None,
            received_at: order.received_at,
            source: format!("sweep {}", order.id),
            actor: order.actor.clone(),
            reason: order.reason.clone().or_else(|| self.hold.reason.clone()),
            dry_run: order.dry_run,
            force: false,
            replay: None,
            via: order.via,
        }
    }
}
