//! Tables in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{Calls, Mishap, lock};
use crate::audit::{Entry, Head, Marker};
use crate::lock::Lock;
use crate::name::Name;
use crate::ports::{AuditTrail, Commit, Locks, StoreError, Write};

/// Locks in memory.
#[derive(Debug, Clone)]
pub struct MemoryLocks {
    locks: Arc<Mutex<BTreeMap<Name, Lock>>>,
    calls: Calls,
}

impl MemoryLocks {
    /// No locks.
    #[must_use]
    pub fn new(calls: &Calls) -> Self {
        Self { locks: Arc::default(), calls: calls.clone() }
    }

    /// The lock of a name, as stored.
    #[must_use]
    pub fn stored(&self, name: &Name) -> Option<Lock> {
        lock(&self.locks).get(name).cloned()
    }

    /// Stores a lock, as another process would.
    pub fn put(&self, stored: Lock) {
        lock(&self.locks).insert(stored.name.clone(), stored);
    }
}

#[async_trait]
impl Locks for MemoryLocks {
    async fn read(&self, names: &[Name]) -> Result<Vec<Lock>, StoreError> {
        if self.calls.make(format!("locks.read {names:?}")).await.is_some() {
            return Err(StoreError::away("locks", "planned to fail"));
        }
        let stored = lock(&self.locks);
        Ok(names.iter().map(|name| stored.get(name).cloned().unwrap_or_else(|| Lock::none(name.clone()))).collect())
    }

    async fn write(&self, next: &Lock) -> Result<Write, StoreError> {
        let mishap = self.calls.make(format!("locks.write {}", next.name)).await;
        if mishap.is_some_and(|mishap| mishap != Mishap::AnswerLost) {
            return Err(StoreError::away("locks", "planned to fail"));
        }
        let mut stored = lock(&self.locks);
        if stored.get(&next.name).map_or(0, |lock| lock.version) + 1 != next.version {
            return Ok(Write::Conflict);
        }
        stored.insert(next.name.clone(), next.clone());
        match mishap {
            None => Ok(Write::Stored),
            Some(_) => Err(StoreError::away("locks", "the answer was lost, as planned")),
        }
    }
}

#[derive(Debug, Default)]
struct Trail {
    chains: BTreeMap<String, Vec<Entry>>,
    markers: BTreeSet<String>,
}

/// An audit trail in memory.
#[derive(Debug, Clone)]
pub struct MemoryAudit {
    trail: Arc<Mutex<Trail>>,
    calls: Calls,
}

impl MemoryAudit {
    /// No entries.
    #[must_use]
    pub fn new(calls: &Calls) -> Self {
        Self { trail: Arc::default(), calls: calls.clone() }
    }

    /// Every chain there is, with its entries.
    #[must_use]
    pub fn chains(&self) -> BTreeMap<String, Vec<Entry>> {
        lock(&self.trail).chains.clone()
    }

    fn head_of(&self, chain: &str) -> Head {
        lock(&self.trail).chains.get(chain).and_then(|entries| entries.last()).map_or_else(Head::genesis, Entry::head)
    }
}

#[async_trait]
impl AuditTrail for MemoryAudit {
    async fn head(&self, chain: &str) -> Result<Head, StoreError> {
        match self.calls.make(format!("audit.head {chain}")).await {
            None => Ok(self.head_of(chain)),
            Some(_) => Err(StoreError::away("audit", "planned to fail")),
        }
    }

    async fn commit(&self, entry: &Entry, marker: &Marker) -> Result<Commit, StoreError> {
        let kind = entry.text("kind").unwrap_or_default();
        let mishap = self.calls.make(format!("audit.commit {} {kind}", entry.chain())).await;
        if mishap.is_some_and(|mishap| mishap != Mishap::AnswerLost) {
            return Err(StoreError::away("audit", "planned to fail"));
        }
        let head = self.head_of(entry.chain());
        let mut trail = lock(&self.trail);
        if trail.markers.contains(&marker.key()) {
            return Ok(Commit::AlreadyThere);
        }
        if entry.text("prev_hash") != Some(head.hash.as_str()) || entry.seq() != Some(head.seq + 1) {
            return Ok(Commit::HeadMoved);
        }
        trail.markers.insert(marker.key());
        trail.chains.entry(entry.chain().to_owned()).or_default().push(entry.clone());
        match mishap {
            None => Ok(Commit::Written),
            Some(_) => Err(StoreError::away("audit", "the answer was lost, as planned")),
        }
    }

    async fn standing(&self, markers: &[Marker]) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<String> = markers.iter().map(Marker::key).collect();
        if self.calls.make(format!("audit.standing {keys:?}")).await.is_some() {
            return Err(StoreError::away("audit", "planned to fail"));
        }
        let trail = lock(&self.trail);
        Ok(keys.iter().map(|key| trail.markers.contains(key)).collect())
    }

    async fn entries(&self, chain: &str) -> Result<Vec<Entry>, StoreError> {
        match self.calls.make(format!("audit.entries {chain}")).await {
            None => Ok(lock(&self.trail).chains.get(chain).cloned().unwrap_or_default()),
            Some(_) => Err(StoreError::away("audit", "planned to fail")),
        }
    }
}
