//! Who is behind an id: a [`Directory`], and its answers, kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::alias::Aliases;
use crate::name::{Name, NameError, PersonId, Subject};
use crate::planted::{self, Fault};
use crate::ports::{Clock, Directory, KnownPeople, NameKind, Person};
use crate::time::Timestamp;

/// How many names of one person are asked about at the same time.
const AT_ONCE: usize = 4;

/// The directory, and what is kept of its answers.
#[derive(Clone)]
pub struct People {
    /// Who is behind an id now.
    pub directory: Arc<dyn Directory>,
    /// Who was, when it was last asked.
    pub known: Arc<dyn KnownPeople>,
}

/// Who is behind an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The person, with what the person was called before, as far as nobody else is called so now.
    pub person: Person,
    /// The directory does not know the id any more: the person was deleted.
    pub gone: bool,
    /// Names that somebody else has now: of those that were the person's, and of those that would follow from the
    /// person's by rule.
    pub others: Vec<String>,
}

/// What came of copying a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Synced {
    /// `sync_directory`.
    pub action: &'static str,
    /// `completed`, or `incomplete` where it could not be copied to its end.
    pub outcome: &'static str,
    /// How many people's answers are kept now.
    pub people: usize,
    /// What went wrong, and what to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl People {
    /// Who is behind an id. An answer is kept, so that the id still means somebody after the person was deleted, and
    /// so that a session under a name that the person had before is found.
    ///
    /// Kept answers stand in for the directory only where it says that there is nobody: while it can't be asked, they
    /// may be out of date. A name that the directory now gives to somebody else is left out, and so is what follows from
    /// the person's names by `rule` and is somebody else's: who was `asmith@corp.example` and is called otherwise by now
    /// is not the `asmith` who came later.
    ///
    /// With `keep` false the answer is not kept: a rehearsal leaves no trace.
    ///
    /// # Errors
    /// Why nobody could say.
    pub async fn find(&self, id: &str, rule: &Aliases, keep: bool) -> Result<Found, String> {
        let found = self.look(id, rule, keep).await?;
        if found.person.names.is_empty() {
            return Err(format!(
                "every name that `{id}` was known by is somebody else's now; send a command with the name"
            ));
        }
        Ok(found)
    }

    /// Like [`Self::find`], but also finds somebody all of whose names are somebody else's by now.
    pub(crate) async fn look(&self, id: &str, rule: &Aliases, keep: bool) -> Result<Found, String> {
        let (now, before) = tokio::join!(self.directory.find(id), self.known.recall(id));
        let now = now.map_err(|error| error.to_string())?;
        let before = before.map_err(|error| error.to_string())?;
        let Some(person) = merged(now.clone(), before.as_ref()) else {
            return Err(format!(
                "the directory does not know `{id}`, and no earlier answer is kept; send a command with the name, and run `sync_directory` so that later deletions can be told"
            ));
        };
        if keep
            && before.as_ref() != Some(&person)
            && let Err(error) = self.known.keep(std::slice::from_ref(&person)).await
        {
            tracing::warn!(error_type = "NotKept", %error, "the directory's answer could not be kept for later");
        }
        let (names, mut others) = self.own_names(&person, now.is_none()).await?;
        let of_now = if now.is_some() { person.names.as_slice() } else { &[] };
        let follow = by_rule(rule, &names, of_now, &others);
        let follow = follow.into_iter().map(|(name, kinds)| (name.to_string(), kinds));
        others.extend(self.of_others(&person.id, follow).await?);
        Ok(Found { person: Person { names, former: Vec::new(), ..person }, gone: now.is_none(), others })
    }

    /// Parts a person's names, former ones after those of now, from those that the directory gives to somebody else. The
    /// user name of now is nobody else's, and an e-mail address may still be another's user name.
    async fn own_names(&self, person: &Person, gone: bool) -> Result<(Vec<String>, Vec<String>), String> {
        let names = || person.names.iter().chain(&person.former);
        let asked = names().enumerate().map(|(number, name)| {
            let kinds: &[NameKind] = match number {
                0 if !gone => &[],
                _ if !gone && number < person.names.len() => &[NameKind::UserName],
                _ => &[NameKind::UserName, NameKind::Email],
            };
            (name.clone(), kinds)
        });
        let others = self.of_others(&person.id, asked).await?;
        Ok(names().cloned().partition(|name| !others.contains(name)))
    }

    /// Which of these names, each asked about in these ways, are somebody else's.
    async fn of_others(
        &self,
        id: &str,
        names: impl IntoIterator<Item = (String, &'static [NameKind])>,
    ) -> Result<BTreeSet<String>, String> {
        let (mut asked, gate) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
        for (name, kind) in
            names.into_iter().flat_map(|(name, kinds)| kinds.iter().map(move |kind| (name.clone(), *kind)))
        {
            let (directory, gate) = (Arc::clone(&self.directory), Arc::clone(&gate));
            asked.spawn(async move {
                let _turn = gate.acquire().await;
                directory.holder(&name, kind).await.map(|holder| (name, holder))
            });
        }
        let mut others = BTreeSet::new();
        while let Some(answer) = asked.join_next().await {
            let answer = answer.map_err(|_| "a fault of ours ended a look-up; it is tried again".to_owned())?;
            let (name, holder) = answer.map_err(|error| error.to_string())?;
            if holder.is_some_and(|holder| holder != id) && !planted::is(Fault::MeanWhoeverWas) {
                others.insert(name);
            }
        }
        Ok(others)
    }

    /// Copies the directory, page by page, so that everybody's id means somebody even after the person was deleted.
    ///
    /// Nothing is forgotten: who is not in the directory any more is whom the copy is for.
    pub async fn sync(&self, clock: &dyn Clock, stop_at: Timestamp) -> Synced {
        let mut people = 0;
        let mut after = None;
        let error = loop {
            let page = tokio::select! {
                biased;
                page = self.copy_page(after.as_ref()) => page,
                () = clock.reached(stop_at) => {
                    break Some("the time of this invoke ran out; run it again, since those who are copied already go quickly".to_owned());
                }
            };
            match page {
                Ok((copied, next)) => {
                    people += copied;
                    match next {
                        None => break None,
                        Some(next) if after.as_ref() == Some(&next) => {
                            break Some("the directory named the same page twice; run it again".to_owned());
                        }
                        next => after = next,
                    }
                }
                Err(error) => break Some(error),
            }
        };
        let outcome = if error.is_none() { "completed" } else { "incomplete" };
        Synced { action: "sync_directory", outcome, people, error }
    }

    async fn copy_page(
        &self,
        after: Option<&crate::ports::PageToken>,
    ) -> Result<(usize, Option<crate::ports::PageToken>), String> {
        let (people, next) = self.directory.people(after).await.map_err(|error| error.to_string())?;
        let ids: Vec<&str> = people.iter().map(|person| person.id.as_str()).collect();
        let known = self.known.recall_all(&ids).await.map_err(|error| error.to_string())?;
        let with_earlier = people.iter().map(|person| merged(Some(person.clone()), known.get(&person.id)));
        let people: Vec<Person> = with_earlier.flatten().collect();
        let news: Vec<Person> =
            people.iter().filter(|person| known.get(&person.id) != Some(*person)).cloned().collect();
        self.known.keep(&news).await.map_err(|error| error.to_string())?;
        Ok((people.len(), next))
    }
}

/// What follows from somebody's names by rule and may be somebody else's, by what it would be theirs: as the user name, or,
/// where it follows from a former name only, also as an address.
fn by_rule(
    rule: &Aliases,
    names: &[String],
    of_now: &[String],
    others: &[String],
) -> BTreeMap<Name, &'static [NameKind]> {
    let known: BTreeSet<Name> = names.iter().chain(others).filter_map(|name| Name::new(name).ok()).collect();
    let (now, before): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| of_now.contains(name));
    let follow = |names: Vec<&String>, kinds: &'static [NameKind]| {
        let names = names.into_iter().filter_map(|name| Name::new(name).ok());
        let by_rule: Vec<Name> =
            names.flat_map(|name| rule.names(&name)).filter(|name| !known.contains(name)).collect();
        by_rule.into_iter().map(move |name| (name, kinds))
    };
    let before = follow(before, &[NameKind::UserName, NameKind::Email]);
    before.chain(follow(now, &[NameKind::UserName])).collect()
}

/// The most former names that are kept of a person; the latest are.
const MAX_FORMER: usize = 20;

/// A person as the directory has it now, with what is kept from before.
fn merged(now: Option<Person>, before: Option<&Person>) -> Option<Person> {
    let Some(mut person) = now else { return before.cloned() };
    for name in before.iter().flat_map(|before| before.names.iter().chain(&before.former)) {
        let known = person.names.contains(name) || person.former.contains(name);
        if !known && person.former.len() < MAX_FORMER {
            person.former.push(name.clone());
        }
    }
    Some(person)
}

/// A person as a subject: the first name that can be one, and the others beside it; what is somebody else's is not the
/// person's by rule either.
///
/// # Errors
/// Where none of the names can be a name.
pub(crate) fn subject(Found { person, others, .. }: &Found) -> Result<Subject, NameError> {
    let others = || others.iter().filter_map(|other| Name::new(other).ok());
    let mut last = NameError::NoIdentity(person.id.clone());
    for name in &person.names {
        match Subject::new(name) {
            Ok(subject) => {
                let all = person.names.iter().filter_map(|other| Name::new(other).ok());
                return Ok(subject.also_called(all).not_called(others()).who_is(PersonId::new(&person.id)));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::memory::{Calls, ManualClock, MemoryDirectory, MemoryLocks, Mishap};
    use crate::ports::{DirectoryError, PageToken};

    const ID: &str = "0a1b2c3d-0000-4000-8000-00000000a11c";

    fn person(names: &[&str], former: &[&str]) -> Person {
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect();
        Person { id: ID.to_owned(), names: texts(names), former: texts(former), enabled: Some(true) }
    }

    /// A directory, what is kept of it, and the calls of both.
    fn people() -> (MemoryDirectory, People, Calls) {
        let calls = Calls::new();
        let directory = MemoryDirectory::new(&calls);
        let known = Arc::new(MemoryLocks::new(&calls));
        (directory.clone(), People { directory: Arc::new(directory), known }, calls)
    }

    #[tokio::test]
    async fn a_former_name_is_left_out_where_it_is_anybody_elses_in_any_way() {
        let (directory, people, _) = people();
        directory.put(ID, &["ajones", "asmith@example.com", "asmith", "aj@example.com"], Some(true));
        people.find(ID, &Aliases::default(), true).await.unwrap();
        directory.put(ID, &["ajones"], Some(true));
        directory.put("2", &["other", "asmith@example.com"], Some(true));
        directory.put("3", &["asmith"], Some(true));
        let found = people.find(ID, &Aliases::default(), true).await.unwrap();
        assert_eq!(found.person, person(&["ajones", "aj@example.com"], &[]), "and no other name is handed on");
        assert_eq!(found.others, ["asmith@example.com", "asmith"]);
    }

    #[tokio::test]
    async fn a_user_name_of_now_is_its_persons_and_an_address_of_now_unless_it_is_anothers_user_name() {
        let (directory, people, calls) = people();
        directory.put("0", &["other", "team@example.com"], Some(true));
        directory.put("1", &["alice@old.example"], Some(true));
        directory.put(ID, &["alice", "team@example.com", "alice@old.example"], Some(true));
        let found = people.find(ID, &Aliases::default(), true).await.unwrap();
        assert_eq!(found.person.names, ["alice", "team@example.com"], "two people may have one address");
        assert_eq!((found.others, found.gone), (vec!["alice@old.example".to_owned()], false));
        assert_eq!(calls.count("directory.holder alice"), 1, "nobody is asked whose the user name is");
    }

    #[tokio::test]
    async fn an_answer_is_kept_once_and_by_a_rehearsal_not_at_all() {
        let (directory, people, calls) = people();
        directory.put(ID, &["alice"], Some(true));
        people.find(ID, &Aliases::default(), false).await.unwrap();
        assert_eq!(calls.count("people.keep"), 0);
        for _ in 0..2 {
            people.find(ID, &Aliases::default(), true).await.unwrap();
        }
        assert_eq!(calls.count("people.keep"), 1, "the second time nothing is new");
    }

    #[test]
    fn of_former_names_the_latest_twenty_are_kept_and_none_that_is_one_of_now() {
        let before = person(&["now", "latest"], &["now", "known"]);
        assert_eq!(merged(Some(person(&["now"], &[])), Some(&before)), Some(person(&["now"], &["latest", "known"])));
        let many: Vec<String> = (0..30).map(|n| format!("name-{n}")).collect();
        let before = Person { former: many.clone(), ..person(&["latest"], &[]) };
        let kept = merged(Some(person(&["now"], &[])), Some(&before)).unwrap().former;
        assert_eq!((kept.len(), kept[0].as_str(), &kept[1..]), (20, "latest", &many[..19]));
        assert_eq!(merged(None, Some(&before)), Some(before.clone()), "who is gone is whom we knew");
        assert_eq!(merged(None, None), None);
    }

    #[test]
    fn a_person_is_called_by_the_first_name_that_can_be_one() {
        let subject = |names: &[&str]| {
            let others = vec!["asmith".to_owned(), "alice".to_owned()];
            super::subject(&Found { person: person(names, &["asmith"]), gone: false, others })
        };
        let alice = subject(&["n/a", "Alice", "#head", "alice@example.com"]).unwrap();
        let name = |text: &str| Name::new(text).unwrap();
        assert_eq!((alice.received(), alice.also()), ("Alice", &[name("alice@example.com")][..]));
        assert!(
            alice.others().contains(&name("asmith")) && !alice.others().contains(&name("alice")),
            "what it is called, it is"
        );
        assert_eq!(subject(&["n/a", "#head"]), Err(NameError::Reserved), "why the last can't");
        assert_eq!(subject(&[]), Err(NameError::NoIdentity(ID.to_owned())));
    }

    #[tokio::test]
    async fn what_follows_by_rule_is_left_out_where_it_is_anothers() {
        let (directory, people, calls) = people();
        let rule = Aliases::parse("corp.example: {subject} {local} {local}@vpn.example").unwrap();
        directory.put(ID, &["asmith@corp.example"], Some(true));
        people.find(ID, &rule, true).await.unwrap();
        directory.put(ID, &["ajones@corp.example", "aj@corp.example"], Some(true));
        let others = async |rule: &Aliases| people.find(ID, rule, true).await.unwrap().others;
        assert_eq!(others(&rule).await, [""; 0], "nobody else has any of them");
        directory.put("2", &["asmith"], Some(true));
        directory.put("3", &["other", "asmith@vpn.example", "aj@vpn.example"], Some(true));
        directory.put("4", &["aj"], Some(true));
        assert_eq!(
            others(&rule).await,
            ["aj", "asmith", "asmith@vpn.example"],
            "two people may have an address of now"
        );
        assert_eq!(others(&Aliases::default()).await, [""; 0]);
        let asked = || calls.made().iter().filter(|call| *call == "directory.holder asmith").count();
        let before = asked();
        directory.put("2", &["asmith@corp.example"], Some(true));
        assert_eq!(
            others(&rule).await[0],
            "asmith@corp.example",
            "what follows from another's name is not asked about"
        );
        assert!(before > 0 && asked() == before);
        calls.plan("directory.holder aj", 1, Mishap::Fails);
        assert!(people.find(ID, &rule, true).await.is_err(), "where nobody can say whose it is, it is asked again");
    }

    #[tokio::test]
    async fn of_who_is_gone_what_follows_by_rule_is_left_out_where_it_is_anothers_in_any_way() {
        let (directory, people, _) = people();
        let rule = Aliases::parse("corp.example: {subject} {local}@vpn.example").unwrap();
        directory.put(ID, &["asmith@corp.example"], Some(true));
        people.find(ID, &rule, true).await.unwrap();
        directory.delete(ID);
        directory.put("2", &["other", "asmith@vpn.example"], Some(true));
        assert_eq!(people.find(ID, &rule, true).await.unwrap().others, ["asmith@vpn.example"]);
    }

    /// A directory whose second page is named again after it, for as long as somebody asks within reason.
    struct Endless(AtomicUsize);

    #[async_trait]
    impl Directory for Endless {
        async fn find(&self, _: &str) -> Result<Option<Person>, DirectoryError> {
            Ok(None)
        }

        async fn holder(&self, _: &str, _: NameKind) -> Result<Option<String>, DirectoryError> {
            Ok(None)
        }

        async fn people(&self, _: Option<&PageToken>) -> Result<(Vec<Person>, Option<PageToken>), DirectoryError> {
            let asked = self.0.fetch_add(1, Ordering::SeqCst);
            Ok((vec![person(&["alice"], &[])], (asked < 9).then(|| PageToken("2".to_owned()))))
        }
    }

    #[tokio::test]
    async fn a_directory_that_names_a_page_twice_is_not_copied_without_end() {
        let (_, people, _) = people();
        let endless = People { directory: Arc::new(Endless(AtomicUsize::new(0))), ..people };
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let synced = endless.sync(&clock, Timestamp::from_millis(1_000)).await;
        assert_eq!((synced.outcome, synced.people), ("incomplete", 2));
        assert_eq!(synced.error.as_deref(), Some("the directory named the same page twice; run it again"));
    }
}
