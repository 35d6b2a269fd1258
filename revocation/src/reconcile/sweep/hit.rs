//! What a sweep found of one subject.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Sweep;
use crate::alias::Aliases;
use crate::audit::hex_digest;
use crate::connection::ConnectionId;
use crate::lock::{Hold, Lock};
use crate::name::{Name, Subject};
use crate::policy::Protected;
use crate::signal::{About, Action, Authority, Signal, SignalId};
use crate::time::Timestamp;

/// One subject's names with something connected under them.
pub(super) struct Hit {
    pub(super) names: Vec<Name>,
    authority: Authority,
    hold: Hold,
    connections: BTreeSet<ConnectionId>,
}

/// What was found, by subject: a subject's names are ended together, and its own chain tells of it.
pub(super) fn hits(
    confirmed: &[Lock],
    found: &BTreeMap<Name, BTreeSet<ConnectionId>>,
    protected: &Protected,
    now: Timestamp,
) -> BTreeMap<String, Hit> {
    let mut hits: BTreeMap<String, Hit> = BTreeMap::new();
    for lock in confirmed {
        // Of those who share a name, one who is protected by now keeps no call from the others.
        let is_free = |hold: &Hold| hold.about().is_none_or(|subject| !protected.covers(&subject));
        let free = lock.holds_in_force(now).find(|(_, hold)| is_free(hold));
        let Some((authority, hold)) = free.or_else(|| lock.held(now)) else { continue };
        let Some(connections) = found.get(&lock.name) else { continue };
        let own = Name::new(&hold.subject).unwrap_or_else(|_| lock.name.clone());
        let hit = hits.entry(own.to_string()).or_insert_with(|| Hit {
            names: Vec::new(),
            authority: authority.clone(),
            hold: hold.clone(),
            connections: BTreeSet::new(),
        });
        hit.names.push(lock.name.clone());
        hit.connections.extend(connections.iter().cloned());
    }
    hits
}

impl Hit {
    /// The names found, the subject's own with those that follow by rule, and those that its hold was said of as well and
    /// that are still kept out.
    pub(super) fn all_names(&self, rule: &Aliases, locks: &HashMap<Name, Lock>, now: Timestamp) -> BTreeSet<Name> {
        let by_rule = self.hold.about().map(|own| rule.names(&own)).unwrap_or_default();
        let is_kept = |name: &&Name| locks.get(name).is_some_and(|lock| lock.in_force(now));
        let further = self.hold.names.iter().filter(is_kept);
        self.names.iter().chain(&by_rule).chain(further).cloned().collect()
    }

    /// What is recorded of it: the lock's own word, under an id that another sweep at the same time arrives at too.
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
            actor: None,
            reason: self.hold.reason.clone(),
            dry_run: order.dry_run,
            force: false,
            replay: None,
            via: order.via,
        }
    }
}
