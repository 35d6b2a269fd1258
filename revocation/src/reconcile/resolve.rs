//! Who is meant, where an event gives an id and no name.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::admit::ADMISSION;
use super::{Revoker, Run};
use crate::people::{Found, subject};
use crate::signal::{About, Action, Signal};

/// Signals, with names in the place of ids as far as anybody could say.
pub(super) struct Resolved {
    pub(super) signals: Vec<Signal>,
    /// Why the others are not resolved, by their audit chain.
    pub(super) unresolved: BTreeMap<String, String>,
}

impl Revoker {
    /// Asks the directory about every id, side by side, each once.
    pub(super) async fn resolve_all(&self, mut signals: Vec<Signal>, run: &Run) -> Resolved {
        let mut answers = self.ask(&signals, run).await;
        let mut unresolved = BTreeMap::new();
        for signal in &mut signals {
            let mut enabled = Vec::new();
            for about in &mut signal.about {
                let About::Unresolved { producer, id, in_directory } = &*about else { continue };
                let answer = match (in_directory, &self.people) {
                    (false, _) => Err(format!(
                        "nothing here can say whom {producer} means by `{id}`; send a command with the name"
                    )),
                    (true, None) => Err(format!(
                        "`{id}` is an id of an identity store, and none is configured; set VPN_REVOKER_IDENTITY_STORE_ID or send a command with the name"
                    )),
                    (true, Some(_)) => answers
                        .entry(id.clone())
                        .or_insert_with(|| Err(format!("`{id}` could not be looked up in time; it is tried again")))
                        .clone(),
                };
                let found = answer.and_then(|found| {
                    let subject = subject(&found.person)
                        .map_err(|error| format!("the directory's name for `{id}` can't be used: {error}"))?;
                    Ok((found, subject))
                });
                match found {
                    Ok((found, subject)) => {
                        enabled.push(if found.gone { Some(false) } else { found.person.enabled });
                        *about = About::Subject(subject);
                    }
                    Err(why) => {
                        unresolved.insert(about.chain(), why);
                    }
                }
            }
            if signal.action == Action::Ask {
                match answered(signal, &enabled) {
                    Some(action) => signal.action = action,
                    None => {
                        let why = "the event hides whether it was a disable or an enable, and the directory does not say it either; send a command";
                        let chains: Vec<String> = signal.about.iter().map(About::chain).collect();
                        for chain in chains {
                            unresolved.entry(chain).or_insert_with(|| why.to_owned());
                        }
                    }
                }
            }
        }
        Resolved { signals, unresolved }
    }

    /// What the directory says of each id in the signals; nothing of those for which the time was too short.
    async fn ask(&self, signals: &[Signal], run: &Run) -> BTreeMap<String, Result<Found, String>> {
        let mut answers = BTreeMap::new();
        let Some(people) = &self.people else { return answers };
        let mut asked = JoinSet::new();
        let abouts = signals.iter().flat_map(|signal| &signal.about);
        let mut ids: Vec<&String> = abouts
            .filter_map(|about| match about {
                About::Unresolved { id, in_directory: true, .. } => Some(id),
                _ => None,
            })
            .collect();
        ids.sort();
        ids.dedup();
        for id in ids {
            let (people, id) = (people.clone(), id.clone());
            asked.spawn(async move {
                let answer = people.find(&id).await;
                (id, answer)
            });
        }
        let stop_at = run.stop_at.min(self.clock.now().plus(ADMISSION));
        loop {
            tokio::select! {
                biased;
                answer = asked.join_next() => match answer {
                    None => break,
                    Some(Ok((id, answer))) => {
                        answers.insert(id, answer);
                    }
                    Some(Err(error)) => {
                        tracing::error!(error_type = "Panicked", %error, "a fault of ours ended a look-up");
                    }
                },
                () = self.clock.reached(stop_at) => break,
            }
        }
        answers
    }
}

/// What an event that hides its meaning comes to: everybody in it has to be in the same state.
fn answered(signal: &Signal, enabled: &[Option<bool>]) -> Option<Action> {
    let first = (*enabled.first()?)?;
    if enabled.len() != signal.about.len() || enabled.iter().any(|other| *other != Some(first)) {
        return None;
    }
    Some(match first {
        true => Action::Restore { authorities: Some(vec![signal.authority.clone()]) },
        false => Action::Revoke { expires_at: None },
    })
}
