//! What a directory says of those who are connected: an event that never came is made good.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::super::{Revoker, Run};
use super::{Seen, Sweep};
use crate::alias::Aliases;
use crate::audit::hex_digest;
use crate::lock::{Hold, Lock};
use crate::name::{Name, PersonId, Subject};
use crate::people::People;
use crate::planted::{self, Fault};
use crate::ports::{NameKind, Person};
use crate::receipt::Receipt;
use crate::signal::{About, Action, Authority, DIRECTORY, Signal, SignalId};
use crate::time::Timestamp;

/// How its signals' ids begin.
const ID_PREFIX: &str = "directory:";

/// Why somebody is let in.
const LET_IN: &str = "the directory says that they are enabled";

/// How many people are asked about at the same time.
const AT_ONCE: usize = 16;

/// What an answer of the directory asks for.
struct Word {
    about: About,
    action: Action,
    /// Why, for the audit trail.
    reason: &'static str,
    /// The state that it changes: the same answer to the same state is the same word.
    of: String,
}

impl Revoker {
    /// The directory, where sweeps ask it.
    pub(in crate::reconcile) fn directory_to_ask(&self) -> Option<&People> {
        self.people.as_ref().filter(|_| self.policy.sweep_directory > 0)
    }

    /// Asks the directory about some of those who are connected, and about those whom its word locked before. Somebody who
    /// is disabled or gone is locked; somebody who is enabled again is let in, and so is a newcomer who has such a name. Also
    /// says why not everybody could be asked about, if so.
    pub(super) async fn heed_directory(
        &self,
        order: &Sweep,
        locks: &HashMap<Name, Lock>,
        seen: &Seen,
        run: &Run,
    ) -> (Vec<Receipt>, Option<String>) {
        let at_most = self.policy.sweep_directory;
        let Some(people) = self.directory_to_ask() else { return (Vec::new(), None) };
        let mut asked: JoinSet<Result<Option<Word>, String>> = JoinSet::new();
        let gate = Arc::new(Semaphore::new(AT_ONCE));
        // A name that nobody can have been given is nobody's.
        let connected = seen.others.iter().filter(|name| name.is_lockable());
        for name in order.some(connected.cloned(), Name::to_string, at_most) {
            let (revoker, people, gate) = (self.clone(), people.clone(), Arc::clone(&gate));
            asked.spawn(async move {
                let _turn = gate.acquire().await;
                revoker.about_connected(&people, &name).await
            });
        }
        for (hold, of) in order.some(held_by_directory(locks), |(hold, _)| hold.subject.clone(), at_most) {
            let (people, gate, policy) = (people.clone(), Arc::clone(&gate), Arc::clone(&self.policy));
            asked.spawn(async move {
                let _turn = gate.acquire().await;
                about_held(&people, &policy.aliases, &hold, of).await
            });
        }
        for further in order.some(held_as_anothers(locks), |further| further.name.to_string(), at_most) {
            let (people, gate, policy) = (people.clone(), Arc::clone(&gate), Arc::clone(&self.policy));
            asked.spawn(async move {
                let _turn = gate.acquire().await;
                about_further(&people, &policy.aliases, further).await
            });
        }
        let (signals, unanswered) = self.words(order, asked, run).await;
        let receipts = if signals.is_empty() { Vec::new() } else { self.handle(signals, run).await };
        (receipts, unanswered)
    }

    /// What came of the questions in time, and why some have no answer. Another sweep asks those.
    async fn words(
        &self,
        order: &Sweep,
        mut asked: JoinSet<Result<Option<Word>, String>>,
        run: &Run,
    ) -> (Vec<Signal>, Option<String>) {
        let stop_at = self.admission_ends(run);
        let (mut signals, mut unanswered) = (Vec::new(), None);
        loop {
            match self.in_time(stop_at, asked.join_next()).await {
                Some(None) => break,
                Some(Some(Ok(Ok(word)))) => signals.extend(word.map(|word| self.signal_of(order, word))),
                Some(Some(Ok(Err(error)))) => unanswered = Some(error),
                Some(Some(Err(_))) => unanswered = Some("a fault of ours ended a question".to_owned()),
                None => {
                    unanswered = Some("no answer came in time".to_owned());
                    break;
                }
            }
        }
        let unanswered = unanswered.map(|error| {
            tracing::warn!(error_type = "DirectoryAway", %error, "the directory could not be asked about everybody; another sweep asks again");
            format!("the directory could not be asked about everybody: {error}; the next sweep asks again")
        });
        (signals, unanswered)
    }

    /// What the directory says of whoever is connected under this name. Whom it never knew is none of its people:
    /// somebody of another directory, or a machine.
    async fn about_connected(&self, people: &People, name: &Name) -> Result<Option<Word>, String> {
        let id = match holder(people, name.as_str()).await? {
            Some(id) => Some(id),
            None => people.known.by_name(name).await.map_err(|error| error.to_string())?,
        };
        let Some(id) = id else { return Ok(None) };
        let person = find(people, Some(&id)).await?;
        let user_name = person.as_ref().and_then(|person| names(&person.names).into_iter().next());
        let asked: BTreeSet<Name> = std::iter::once(name.clone()).chain(user_name).collect();
        let asked: Vec<Name> = asked.into_iter().collect();
        let locks = self.locks.read(&asked).await.map_err(|error| error.to_string())?;
        let is_theirs = |hold: &&Hold| hold.person.as_ref() == Some(&PersonId::new(&id));
        // Under the name that is connected; or under the user name, where this very person was locked under that.
        let counts = |lock: &Lock| lock.name == *name || lock.holds.values().any(|hold| is_theirs(&hold));
        // That the directory said the same since counts for every name of the person.
        let agreed = locks.iter().filter_map(|lock| lock.hold_of(&Authority::directory()));
        let agreed_at =
            agreed.filter(|hold| !hold.is_locked() && is_its_own(hold)).filter(is_theirs).map(|hold| hold.as_of);
        let agreed_at = agreed_at.max();
        let let_in_as = locks.iter().find(|lock| let_in_at(lock) > agreed_at && counts(lock));
        // A version is one name's: another name of the same person may be as old.
        let of = |lock: &Lock| format!("{id}:{}", digest([(&lock.name, lock.version)]));
        match (person, let_in_as) {
            // Until the directory says the same: from then on its word counts again.
            (Some(person), Some(lock)) if is_on(&person) => {
                let found = people.look(&id, &self.policy.aliases, false).await?;
                let (also, not) = (names(&found.person.names), names(&found.others));
                Ok(let_in(lock.name.as_str(), &person, of(lock), (also, not)))
            }
            // A person who was let in by a command, although the directory says otherwise, stays in.
            (_, Some(_)) => Ok(None),
            (Some(person), None) if person.enabled != Some(false) => Ok(None),
            (_, None) if planted::is(Fault::IgnoreDirectory) => Ok(None),
            (_, None) => {
                let about = About::unresolved(DIRECTORY, &id, true);
                let (action, reason) =
                    (Action::Revoke { expires_at: None }, "the directory says so of somebody connected");
                let connected = locks.iter().find(|lock| lock.name == *name);
                Ok(connected.map(|lock| Word { about, action, reason, of: of(lock) }))
            }
        }
    }

    fn signal_of(&self, order: &Sweep, word: Word) -> Signal {
        let now = self.clock.now();
        Signal {
            id: SignalId::new(&format!("{ID_PREFIX}{}", word.of)),
            action: word.action,
            about: vec![word.about],
            authority: Authority::directory(),
            as_of: now,
            occurred_at: None,
            received_at: now,
            source: format!("sweep {}", order.id),
            actor: None,
            reason: Some(word.reason.to_owned()),
            dry_run: order.dry_run,
            force: false,
            replay: None,
            via: order.via,
        }
    }
}

impl Sweep {
    /// Some of many: others with every sweep, so that each has its turn.
    fn some<T>(&self, all: impl IntoIterator<Item = T>, key: impl Fn(&T) -> String, at_most: usize) -> Vec<T> {
        let drawn = all.into_iter().map(|one| (hex_digest(format!("{} {}", self.id, key(&one)).as_bytes()), one));
        let drawn: BTreeMap<String, T> = drawn.collect();
        drawn.into_values().take(at_most).collect()
    }
}

fn lift() -> Action {
    Action::Restore { authorities: Some(vec![Authority::directory()]) }
}

/// The id of whoever has this name now: as the user name, else as an e-mail address.
async fn holder(people: &People, name: &str) -> Result<Option<String>, String> {
    for kind in [NameKind::UserName, NameKind::Email] {
        let holder = people.directory.holder(name, kind).await.map_err(|error| error.to_string())?;
        if holder.is_some() {
            return Ok(holder);
        }
    }
    Ok(None)
}

/// What the directory says of somebody whom its word keeps out. Whoever was deleted and created again has another id, and
/// who was renamed may have left the name to somebody else: to them their own names are opened, and no other that is held.
async fn about_held(people: &People, rule: &Aliases, hold: &Hold, of: String) -> Result<Option<Word>, String> {
    let subject = hold.subject.as_str();
    let by_word =
        || hold.signal_id.as_str().strip_prefix(ID_PREFIX).and_then(|rest| rest.split_once(':')).map(|(id, _)| id);
    let mut person = find(people, hold.person.as_ref().and_then(PersonId::one).or_else(by_word)).await?;
    if !person.as_ref().is_some_and(|person| is_called(person, subject))
        && let Some(id) = holder(people, subject).await?
    {
        person = find(people, Some(&id)).await?;
    }
    let Some(person) = person.filter(is_on) else { return Ok(None) };
    // Those that are somebody else's user name are not among them.
    let found = people.look(&person.id, rule, false).await?;
    Ok(let_in(subject, &person, of, (names(&found.person.names), names(&found.others))))
}

/// What the directory says of a name that its word keeps out as a further one of somebody's. By now it may be the user name
/// of somebody else; or that somebody is called otherwise, so that what is said of the subject is not about them any more.
async fn about_further(people: &People, rule: &Aliases, further: Further) -> Result<Option<Word>, String> {
    let Further { name, subject, own_is_held, person, of } = further;
    let let_in = async |person: &Person| {
        let others = people.look(&person.id, rule, false).await?.others;
        Ok(let_in(name.as_str(), person, of, (Vec::new(), names(&others))))
    };
    let who = |kind| people.directory.holder(name.as_str(), kind);
    let user = who(NameKind::UserName).await.map_err(|error| error.to_string())?;
    if let Some(newcomer) = find(people, user.as_deref()).await?.filter(is_on) {
        return let_in(&newcomer).await;
    }
    let Some(id) = person.as_ref().and_then(PersonId::one) else { return Ok(None) };
    let anyone = match user {
        Some(user) => Some(user),
        None => who(NameKind::Email).await.map_err(|error| error.to_string())?,
    };
    if anyone.is_some_and(|anyone| person != Some(PersonId::new(&anyone))) {
        return Ok(None);
    }
    // Where they are called so still, the word on the own name decides, and this name goes with it. Where none stands there
    // any more, a restore was cut off before it came to this name.
    let goes_with_own = |person: &Person| own_is_held && is_called(person, &subject);
    match find(people, Some(id)).await?.filter(|person| is_on(person) && !goes_with_own(person)) {
        Some(person) => let_in(&person).await,
        None => Ok(None),
    }
}

fn names(all: &[String]) -> Vec<Name> {
    all.iter().filter_map(|name| Name::new(name).ok()).collect()
}

async fn find(people: &People, id: Option<&str>) -> Result<Option<Person>, String> {
    match id {
        Some(id) => people.directory.find(id).await.map_err(|error| error.to_string()),
        None => Ok(None),
    }
}

fn is_on(person: &Person) -> bool {
    person.enabled == Some(true)
}

fn is_called(person: &Person, subject: &str) -> bool {
    person.names.iter().any(|name| Name::new(name).ok() == Name::new(subject).ok())
}

/// That a name is to be let in, what else is this person's, and what is somebody else's.
fn let_in(name: &str, person: &Person, of: String, (also, not): (Vec<Name>, Vec<Name>)) -> Option<Word> {
    let subject = Subject::new(name).ok()?.also_called(also).not_called(not).who_is(PersonId::new(&person.id));
    Some(Word { about: About::Subject(subject), action: lift(), reason: LET_IN, of })
}

/// Names at these versions of their locks, in a few letters: ids must stay short enough to be read back.
fn digest<'a>(versions: impl IntoIterator<Item = (&'a Name, u64)>) -> String {
    let text: String = versions.into_iter().map(|(name, version)| format!("{name}\n{version}\n")).collect();
    hex_digest(text.as_bytes()).chars().take(32).collect()
}

/// Whether a sweep said so, and not a command that lifted what the directory had said.
fn is_its_own(hold: &Hold) -> bool {
    hold.signal_id.as_str().starts_with(ID_PREFIX)
}

/// When a command let the name in, where the directory has said nothing of its own there since. Where nobody but commands
/// ever spoke of it, one took back another, and overruled nobody.
fn let_in_at(lock: &Lock) -> Option<Timestamp> {
    let directory = Authority::directory();
    let own: Option<Timestamp> = lock.hold_of(&directory).filter(|hold| is_its_own(hold)).map(|hold| hold.as_of);
    let command = lock.hold_of(&Authority::command()).filter(|_| lock.holds.len() > 1);
    let said = [lock.hold_of(&directory), command].into_iter().flatten();
    let commands = said.filter(|hold| !hold.is_locked() && !is_its_own(hold));
    commands.map(|hold| hold.as_of).max().filter(|commanded| Some(*commanded) > own)
}

/// Those whom the directory's word keeps out by their own name, or of whom it is not known who they are: each once, with
/// that word and the state of all locks that say so.
fn held_by_directory(locks: &HashMap<Name, Lock>) -> Vec<(Hold, String)> {
    let mut held: BTreeMap<&str, (&Hold, BTreeMap<&Name, u64>)> = BTreeMap::new();
    for (lock, hold) in by_its_word(locks) {
        let known = held.entry(&hold.subject).or_insert_with(|| (hold, BTreeMap::new()));
        known.1.insert(&lock.name, lock.version);
        // The hold on the own name says by whose word; on a further one another's may have been before.
        if is_own(lock, hold) {
            known.0 = hold;
        }
    }
    let owns = own_names(locks);
    let held = held.into_values().filter(|(hold, _)| owns.contains(&hold.about()) || hold.person.is_none());
    held.map(|(hold, versions)| (hold.clone(), digest(versions))).collect()
}

/// A name that the directory's word keeps out as somebody's whose own name is another.
struct Further {
    name: Name,
    subject: String,
    /// Whether that one's own name is kept out by the directory's word as well.
    own_is_held: bool,
    person: Option<PersonId>,
    /// The state of its lock.
    of: String,
}

fn held_as_anothers(locks: &HashMap<Name, Lock>) -> Vec<Further> {
    let owns = own_names(locks);
    let anothers = by_its_word(locks).filter(|(lock, hold)| hold.about().is_some() && !is_own(lock, hold));
    let further = |(lock, hold): (&Lock, &Hold)| Further {
        name: lock.name.clone(),
        subject: hold.subject.clone(),
        own_is_held: owns.contains(&hold.about()),
        person: hold.person.clone(),
        of: digest([(&lock.name, lock.version)]),
    };
    anothers.map(further).collect()
}

/// Of whom the directory's word keeps out the own name.
fn own_names(locks: &HashMap<Name, Lock>) -> BTreeSet<Option<Name>> {
    by_its_word(locks).filter(|(lock, hold)| is_own(lock, hold)).map(|(_, hold)| hold.about()).collect()
}

/// Whether a hold stands on the own name of whom it is about.
fn is_own(lock: &Lock, hold: &Hold) -> bool {
    hold.about().as_ref() == Some(&lock.name)
}

/// The locks by which the directory's word keeps somebody out, each with that word.
fn by_its_word(locks: &HashMap<Name, Lock>) -> impl Iterator<Item = (&Lock, &Hold)> {
    let directory = Authority::directory();
    locks.values().filter_map(move |lock| {
        let hold = lock.hold_of(&directory).filter(|hold| hold.is_locked())?;
        Some((lock, hold))
    })
}
