//! Who is behind an id: a [`Directory`], and its answers, kept.

use std::sync::Arc;

use serde::Serialize;

use crate::name::{Name, NameError, Subject};
use crate::ports::{Clock, Directory, KnownPeople, Person};
use crate::time::Timestamp;

/// The directory, and what is kept of its answers.
#[derive(Clone)]
pub struct People {
    /// Who is behind an id now.
    pub directory: Arc<dyn Directory>,
    /// Who was, when it was last asked.
    pub known: Arc<dyn KnownPeople>,
}

/// Who is behind an id, and whether the directory still has the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The person.
    pub person: Person,
    /// The directory does not know the id any more: the person was deleted.
    pub gone: bool,
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
    /// Who is behind an id. An answer is kept, so that the id still means somebody after the person was deleted.
    ///
    /// Kept answers stand in only where the directory says that there is nobody: while it can't be asked, they may be
    /// out of date.
    ///
    /// # Errors
    /// Why nobody could say.
    pub async fn find(&self, id: &str) -> Result<Found, String> {
        match self.directory.find(id).await {
            Ok(Some(person)) => {
                if let Err(error) = self.known.keep(std::slice::from_ref(&person)).await {
                    tracing::warn!(error_type = "NotKept", %error, "the directory's answer could not be kept for later");
                }
                Ok(Found { person, gone: false })
            }
            Ok(None) => match self.known.recall(id).await {
                Ok(Some(person)) => Ok(Found { person, gone: true }),
                Ok(None) => Err(format!(
                    "the directory does not know `{id}`, and no earlier answer is kept; send a command with the name, and run `sync_directory` so that later deletions can be told"
                )),
                Err(error) => Err(error.to_string()),
            },
            Err(error) => Err(error.to_string()),
        }
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
        self.known.keep(&people).await.map_err(|error| error.to_string())?;
        Ok((people.len(), next))
    }
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
