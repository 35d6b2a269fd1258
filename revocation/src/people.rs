//! Who is behind an id: a [`Directory`], and its answers, kept.

use std::sync::Arc;

use serde::Serialize;

use crate::name::{Name, NameError, Subject};
use crate::ports::{Clock, Directory, KnownPeople, NameKind, Person};
use crate::time::Timestamp;

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
    /// Names that somebody else has now.
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
    /// may be out of date. A name that the directory now gives to somebody else is left out.
    ///
    /// With `keep` false the answer is not kept: a rehearsal leaves no trace.
    ///
    /// # Errors
    /// Why nobody could say.
    pub async fn find(&self, id: &str, keep: bool) -> Result<Found, String> {
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
        let (names, others) = self.own_names(&person, now.is_none()).await?;
        if names.is_empty() {
            return Err(format!(
                "every name that `{id}` was known by is somebody else's now; send a command with the name"
            ));
        }
        Ok(Found { person: Person { names, former: Vec::new(), ..person }, gone: now.is_none(), others })
    }

    /// Parts a person's names, former ones after those of now, from those that the directory gives to somebody else. The
    /// user name of now is nobody else's, and an e-mail address may still be another's user name.
    async fn own_names(&self, person: &Person, gone: bool) -> Result<(Vec<String>, Vec<String>), String> {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for (number, name) in person.names.iter().chain(&person.former).enumerate() {
            let kinds: &[NameKind] = match number {
                0 if !gone => &[],
                _ if !gone && number < person.names.len() => &[NameKind::UserName],
                _ => &[NameKind::UserName, NameKind::Email],
            };
            let mut anothers = false;
            for kind in kinds {
                let holder = self.directory.holder(name, *kind).await.map_err(|error| error.to_string())?;
                anothers |= holder.is_some_and(|holder| holder != person.id);
            }
            if anothers { &mut others } else { &mut own }.push(name.clone());
        }
        Ok((own, others))
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
                    break Some("the time of this invoke ran out; give the function a longer timeout".to_owned());
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

/// A person as a subject: the first name that can be one, and the others beside it.
///
/// # Errors
/// Where none of the names can be a name.
pub(crate) fn subject(person: &Person) -> Result<Subject, NameError> {
    let mut last = NameError::NoIdentity(person.id.clone());
    for (number, name) in person.names.iter().enumerate() {
        match Subject::new(name) {
            Ok(subject) => {
                let others = person.names.iter().skip(number + 1).filter_map(|other| Name::new(other).ok());
                return Ok(subject.also_called(others));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
