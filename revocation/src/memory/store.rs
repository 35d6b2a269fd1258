//! Tables in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{Calls, Mishap, lock};
use crate::audit::{Entry, Head, Mark, Marker};
use crate::lock::{HoldState, Lock};
use crate::name::Name;
use crate::planted::{self, Fault};
use crate::ports::{
    AliasBook, AuditTrail, Commit, Directory, DirectoryError, Given, KnownPeople, LockedPage, Locks, NameKind,
    PageToken, Person, ReadLocks, ReadTrail, StoreError, Write,
};

/// Sees every lock that is written: what stood before, and what stands now.
type LockWatcher = Arc<dyn Fn(Option<&Lock>, &Lock) + Send + Sync>;

/// Sees every name that becomes a subject's, and every one that does not stay it: the subject, the name, and which.
type AliasWatcher = Arc<dyn Fn(&Name, &Name, bool) + Send + Sync>;

/// Locks in memory.
#[derive(Clone)]
pub struct MemoryLocks {
    watcher: Arc<Mutex<Option<LockWatcher>>>,
    alias_watcher: Arc<Mutex<Option<AliasWatcher>>>,
    locks: Arc<Mutex<BTreeMap<Name, Lock>>>,
    /// Whose each name is.
    aliases: Arc<Mutex<BTreeMap<Name, Name>>>,
    people: Arc<Mutex<BTreeMap<String, Person>>>,
    /// The id of whoever was last kept under a name.
    called_so: Arc<Mutex<BTreeMap<Name, String>>>,
    calls: Calls,
}

impl MemoryLocks {
    /// No locks.
    #[must_use]
    pub fn new(calls: &Calls) -> Self {
        Self {
            watcher: Arc::default(),
            alias_watcher: Arc::default(),
            locks: Arc::default(),
            aliases: Arc::default(),
            people: Arc::default(),
            called_so: Arc::default(),
            calls: calls.clone(),
        }
    }

    /// Shows this every lock that is written.
    pub fn watch(&self, watcher: impl Fn(Option<&Lock>, &Lock) + Send + Sync + 'static) {
        *lock(&self.watcher) = Some(Arc::new(watcher));
    }

    /// Shows this every name that is given and taken.
    pub fn watch_aliases(&self, watcher: impl Fn(&Name, &Name, bool) + Send + Sync + 'static) {
        *lock(&self.alias_watcher) = Some(Arc::new(watcher));
    }

    fn show(&self, subject: &Name, names: &[Name], given: bool) {
        if let Some(watcher) = lock(&self.alias_watcher).as_ref() {
            names.iter().for_each(|name| watcher(subject, name, given));
        }
    }

    /// Whose each name is.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<Name, Name> {
        lock(&self.aliases).clone()
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

impl std::fmt::Debug for MemoryLocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLocks").field("locks", &self.locks).finish_non_exhaustive()
    }
}

#[async_trait]
impl ReadLocks for MemoryLocks {
    async fn read(&self, names: &[Name]) -> Result<Vec<Lock>, StoreError> {
        match self.calls.make(format!("locks.read {names:?}")).await {
            None => {}
            Some(Mishap::Spoilt) => return Err(StoreError::unusable("locks", &"planned to be spoilt")),
            Some(_) => return Err(StoreError::away("locks", "planned to fail")),
        }
        let stored = lock(&self.locks);
        Ok(names.iter().map(|name| stored.get(name).cloned().unwrap_or_else(|| Lock::none(name.clone()))).collect())
    }
}

#[async_trait]
impl Locks for MemoryLocks {
    async fn locked(&self, after: Option<&PageToken>) -> Result<LockedPage, StoreError> {
        if self.calls.make("locks.locked".to_owned()).await.is_some() {
            return Err(StoreError::away("locks", "planned to fail"));
        }
        // Three to a page.
        let stored = lock(&self.locks);
        let held = stored.values().filter(|lock| lock.state() == HoldState::Locked);
        let left: Vec<&Lock> =
            held.filter(|lock| after.is_none_or(|after| lock.name.as_str() > after.0.as_str())).collect();
        let next = left.get(2).filter(|_| left.len() > 3).map(|last| PageToken(last.name.to_string()));
        Ok((left.iter().take(3).map(|&lock| Ok(lock.clone())).collect(), next))
    }

    async fn write(&self, next: &Lock) -> Result<Write, StoreError> {
        let mishap = self.calls.make(format!("locks.write {}", next.name)).await;
        if mishap.is_some_and(|mishap| mishap != Mishap::AnswerLost) {
            return Err(StoreError::away("locks", "planned to fail"));
        }
        let mut stored = lock(&self.locks);
        let version = stored.get(&next.name).map_or(0, |lock| lock.version);
        if version + 1 != next.version && !planted::is(Fault::LoseConditionalWrite) {
            return Ok(Write::Conflict);
        }
        let before = stored.insert(next.name.clone(), next.clone());
        if let Some(watcher) = lock(&self.watcher).as_ref() {
            watcher(before.as_ref(), next);
        }
        match mishap {
            None => Ok(Write::Stored),
            Some(_) => Err(StoreError::away("locks", "the answer was lost, as planned")),
        }
    }
}

#[async_trait]
impl AliasBook for MemoryLocks {
    async fn names(&self, names: &[Name]) -> Vec<Result<Vec<Name>, StoreError>> {
        if self.calls.make(format!("aliases.names {names:?}")).await.is_some() {
            return names.iter().map(|_| Err(StoreError::away("aliases", "planned to fail"))).collect();
        }
        let aliases = lock(&self.aliases);
        let given = |name: &Name| {
            let given = aliases.iter().filter(|(_, subject)| *subject == name);
            given.map(|(name, _)| name.clone()).collect()
        };
        names.iter().map(|name| Ok(given(name))).collect()
    }

    async fn give(&self, subject: &Name, names: &[Name]) -> Result<Given, StoreError> {
        let mishap = self.calls.make(format!("aliases.give {subject}")).await;
        if mishap.is_some_and(|mishap| mishap != Mishap::AnswerLost) {
            return Err(StoreError::away("aliases", "planned to fail"));
        }
        let fresh: Vec<Name> = {
            let mut aliases = lock(&self.aliases);
            let anothers = names.iter().find_map(|name| Some((name, aliases.get(name).filter(|by| *by != subject)?)));
            if let Some((name, by)) = anothers {
                return Ok(Given::Taken { name: name.clone(), by: by.to_string() });
            }
            let fresh = names.iter().filter(|name| !aliases.contains_key(name)).cloned().collect();
            aliases.extend(names.iter().map(|name| (name.clone(), subject.clone())));
            fresh
        };
        self.show(subject, &fresh, true);
        match mishap {
            None => Ok(Given::Stored),
            Some(_) => Err(StoreError::away("aliases", "the answer was lost, as planned")),
        }
    }

    async fn take(&self, subject: &Name, names: &[Name]) -> Result<(), StoreError> {
        let mishap = self.calls.make(format!("aliases.take {subject}")).await;
        if mishap.is_some_and(|mishap| mishap != Mishap::AnswerLost) {
            return Err(StoreError::away("aliases", "planned to fail"));
        }
        let is_taken = |name: &Name, by: &mut Name| *by == *subject && names.contains(name);
        let taken: Vec<Name> = lock(&self.aliases).extract_if(.., is_taken).map(|(name, _)| name).collect();
        self.show(subject, &taken, false);
        match mishap {
            None => Ok(()),
            Some(_) => Err(StoreError::away("aliases", "the answer was lost, as planned")),
        }
    }
}

#[async_trait]
impl KnownPeople for MemoryLocks {
    async fn recall_all(&self, ids: &[&str]) -> Result<BTreeMap<String, Person>, StoreError> {
        match self.calls.make(format!("people.recall {ids:?}")).await {
            None => {
                let people = lock(&self.people);
                let known = ids.iter().filter_map(|id| Some(((*id).to_owned(), people.get(*id)?.clone())));
                Ok(known.collect())
            }
            Some(_) => Err(StoreError::away("people", "planned to fail")),
        }
    }

    async fn by_name(&self, name: &Name) -> Result<Option<String>, StoreError> {
        match self.calls.make(format!("people.by-name {name}")).await {
            None => Ok(lock(&self.called_so).get(name).cloned()),
            Some(_) => Err(StoreError::away("people", "planned to fail")),
        }
    }

    async fn keep(&self, people: &[Person]) -> Result<(), StoreError> {
        if self.calls.make("people.keep".to_owned()).await.is_some() {
            return Err(StoreError::away("people", "planned to fail"));
        }
        for person in people {
            let names = person.names.iter().filter_map(|name| Name::new(name).ok());
            lock(&self.called_so).extend(names.map(|name| (name, person.id.clone())));
            lock(&self.people).insert(person.id.clone(), person.clone());
        }
        Ok(())
    }
}

/// A directory in memory.
#[derive(Debug, Clone)]
pub struct MemoryDirectory {
    people: Arc<Mutex<BTreeMap<String, Person>>>,
    calls: Calls,
}

impl MemoryDirectory {
    /// Nobody in it.
    #[must_use]
    pub fn new(calls: &Calls) -> Self {
        Self { people: Arc::default(), calls: calls.clone() }
    }

    /// Puts somebody in.
    pub fn put(&self, id: &str, names: &[&str], enabled: Option<bool>) {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        lock(&self.people).insert(id.to_owned(), Person { id: id.to_owned(), names, former: Vec::new(), enabled });
    }

    /// Takes somebody out.
    pub fn delete(&self, id: &str) {
        lock(&self.people).remove(id);
    }
}

#[async_trait]
impl Directory for MemoryDirectory {
    async fn find(&self, id: &str) -> Result<Option<Person>, DirectoryError> {
        match self.calls.make(format!("directory.find {id}")).await {
            None => Ok(lock(&self.people).get(id).cloned()),
            Some(_) => Err(DirectoryError("the directory is away, as planned".to_owned())),
        }
    }

    async fn holder(&self, name: &str, kind: NameKind) -> Result<Option<String>, DirectoryError> {
        if self.calls.make(format!("directory.holder {name}")).await.is_some() {
            return Err(DirectoryError("the directory is away, as planned".to_owned()));
        }
        let people = lock(&self.people);
        let has = |person: &&Person| match kind {
            NameKind::UserName => person.names.first().is_some_and(|own| own.eq_ignore_ascii_case(name)),
            NameKind::Email => person.names.iter().skip(1).any(|own| own.eq_ignore_ascii_case(name)),
        };
        Ok(people.values().find(has).map(|person| person.id.clone()))
    }

    async fn people(&self, after: Option<&PageToken>) -> Result<(Vec<Person>, Option<PageToken>), DirectoryError> {
        if self.calls.make("directory.people".to_owned()).await.is_some() {
            return Err(DirectoryError("the directory is away, as planned".to_owned()));
        }
        // One to a page.
        let people = lock(&self.people);
        let mut left = people.values().filter(|person| after.is_none_or(|after| person.id > after.0)).cloned();
        let page: Vec<Person> = left.next().into_iter().collect();
        let next = page.last().filter(|_| left.next().is_some()).map(|last| PageToken(last.id.clone()));
        Ok((page, next))
    }
}

#[derive(Debug, Default)]
struct Trail {
    chains: BTreeMap<String, Vec<Entry>>,
    markers: BTreeMap<String, Mark>,
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

    /// Looks at every chain there is, where they stand.
    pub fn look<T>(&self, look: impl FnOnce(&BTreeMap<String, Vec<Entry>>) -> T) -> T {
        look(&lock(&self.trail).chains)
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

    async fn heads_of(&self, chains: &[String]) -> Result<Vec<Head>, StoreError> {
        match self.calls.make("audit.heads".to_owned()).await {
            None => Ok(chains.iter().map(|chain| self.head_of(chain)).collect()),
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
        if trail.markers.contains_key(&marker.key()) {
            return Ok(Commit::AlreadyThere);
        }
        if entry.text("prev_hash") != Some(head.hash.as_str()) || entry.seq() != Some(head.seq + 1) {
            return Ok(Commit::HeadMoved);
        }
        trail.markers.insert(
            marker.key(),
            Mark { action: marker.action().map(str::to_owned), refusal: marker.refusal().map(str::to_owned) },
        );
        trail.chains.entry(entry.chain().to_owned()).or_default().push(entry.clone());
        match mishap {
            None => Ok(Commit::Written),
            Some(_) => Err(StoreError::away("audit", "the answer was lost, as planned")),
        }
    }

    async fn standing(&self, markers: &[Marker]) -> Result<Vec<Option<Mark>>, StoreError> {
        let keys: Vec<String> = markers.iter().map(Marker::key).collect();
        if self.calls.make(format!("audit.standing {keys:?}")).await.is_some() {
            return Err(StoreError::away("audit", "planned to fail"));
        }
        let trail = lock(&self.trail);
        Ok(keys.iter().map(|key| trail.markers.get(key).cloned()).collect())
    }
}

#[async_trait]
impl ReadTrail for MemoryAudit {
    async fn entries(&self, chain: &str) -> Result<Vec<Entry>, StoreError> {
        match self.calls.make(format!("audit.entries {chain}")).await {
            None => Ok(lock(&self.trail).chains.get(chain).cloned().unwrap_or_default()),
            Some(_) => Err(StoreError::away("audit", "planned to fail")),
        }
    }
}
