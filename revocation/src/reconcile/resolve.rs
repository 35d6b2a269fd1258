//! Who is meant, where an event gives an id and no name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Revoker, Run, next_of};
use crate::audit::{Kind, Marker};
use crate::people::{Found, subject};
use crate::signal::{About, Action, Signal};
use crate::time::Timestamp;

/// How many ids are looked up at the same time, so that a large batch does not make the directory refuse all of them.
const LOOK_UPS_AT_ONCE: usize = 16;

/// What the directory said about one of a signal's people, for the entries about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) id: String,
    /// The directory does not know the person any more, and kept answers say who it was.
    pub(super) kept: bool,
    /// Names of the person's that are left out: somebody else has them now.
    pub(super) others: Vec<String>,
}

/// Which signal, and which audit chain of it.
type Key = (usize, String);

/// Signals, with names in the place of ids as far as anybody could say.
pub(super) struct Resolved {
    pub(super) signals: Vec<Signal>,
    /// Why the others are not resolved.
    pub(super) unresolved: BTreeMap<Key, String>,
    /// Where names come from.
    pub(super) origins: BTreeMap<Key, Origin>,
}

/// What the directory says of the people of one signal.
#[derive(Default)]
struct Word {
    /// Whether each of those who were found is enabled.
    enabled: Vec<Option<bool>>,
    unresolved: Vec<(String, String)>,
}

impl Revoker {
    /// Asks the directory about every id, side by side, each once.
    pub(super) async fn resolve_all(&self, signals: Vec<Signal>, run: &Run) -> Resolved {
        let answers = self.ask(&signals, self.admission_ends(run)).await;
        let mut resolved = Resolved { signals, unresolved: BTreeMap::new(), origins: BTreeMap::new() };
        let mut words = Vec::new();
        for (number, signal) in resolved.signals.iter_mut().enumerate() {
            let mut word = Word::default();
            for about in &mut signal.about {
                match self.answer(about, &answers) {
                    None => {}
                    Some(Ok((found, named))) => {
                        word.enabled.push(if found.gone { Some(false) } else { found.person.enabled });
                        *about = named;
                        let origin = Origin { id: found.person.id, kept: found.gone, others: found.others };
                        resolved.origins.insert((number, about.chain()), origin);
                    }
                    Some(Err(why)) => word.unresolved.push((about.chain(), why)),
                }
            }
            words.push(word);
        }
        let begun = self.begun(&resolved.signals, &words, run).await;
        for (number, (signal, mut word)) in resolved.signals.iter_mut().zip(words).enumerate() {
            if signal.action == Action::Ask {
                let begun = begun.as_ref().map(|begun| begun.contains(&number));
                match self.answered(signal, word.agreed(signal), begun) {
                    Ok(action) => signal.action = action,
                    Err(why) => word.unresolve_all(signal, &why),
                }
            }
            let unresolved = word.unresolved.into_iter();
            resolved.unresolved.extend(unresolved.map(|(chain, why)| ((number, chain), why)));
        }
        resolved
    }

    /// Who is meant by an id; nothing where a name was given.
    fn answer(
        &self,
        about: &About,
        answers: &BTreeMap<String, Result<Found, String>>,
    ) -> Option<Result<(Found, About), String>> {
        let About::Unresolved { producer, id, in_directory } = about else { return None };
        let answer = match (in_directory, &self.people) {
            (false, _) => {
                Err(format!("nothing here can say whom {producer} means by `{id}`; send a command with the name"))
            }
            (true, None) => Err(format!(
                "`{id}` is an id of an identity store, and none is configured; set VPN_REVOKER_IDENTITY_STORE_ID or send a command with the name"
            )),
            (true, Some(_)) => answers
                .get(id)
                .cloned()
                .unwrap_or_else(|| Err(format!("`{id}` could not be looked up in time; it is tried again"))),
        };
        Some(answer.and_then(|found| {
            let named =
                subject(&found).map_err(|error| format!("the directory's name for `{id}` can't be used: {error}"))?;
            Ok((found, About::Subject(named)))
        }))
    }

    /// What the directory says of each id in the signals; nothing of those for which the time was too short.
    async fn ask(&self, signals: &[Signal], stop_at: Timestamp) -> BTreeMap<String, Result<Found, String>> {
        let mut answers = BTreeMap::new();
        let Some(people) = &self.people else { return answers };
        // By id, with whether any of the signals about it is more than a rehearsal.
        let mut ids: BTreeMap<&String, bool> = BTreeMap::new();
        for signal in signals {
            for about in &signal.about {
                if let About::Unresolved { id, in_directory: true, .. } = about {
                    *ids.entry(id).or_default() |= !signal.dry_run;
                }
            }
        }
        let mut asked = JoinSet::new();
        let gate = Arc::new(Semaphore::new(LOOK_UPS_AT_ONCE));
        for (id, keep) in ids {
            let (people, id, gate) = (people.clone(), id.clone(), Arc::clone(&gate));
            let policy = Arc::clone(&self.policy);
            asked.spawn(async move {
                let _turn = gate.acquire().await;
                let answer = people.find(&id, &policy.aliases, keep).await;
                (id, answer)
            });
        }
        while let Some(Some((id, answer))) = self.in_time(stop_at, next_of(&mut asked)).await {
            answers.insert(id, answer);
        }
        answers
    }

    /// What an event that hides its meaning comes to.
    fn answered(&self, signal: &Signal, agreed: Option<bool>, begun: Result<bool, &String>) -> Result<Action, String> {
        let revoke = Action::Revoke { expires_at: None };
        match agreed {
            None => Err("the event hides whether it was a disable or an enable, and the directory does not say it either; send a command".to_owned()),
            Some(false) => Ok(revoke),
            // An earlier attempt was told that the person is disabled, and got as far as saying so: it is finished.
            Some(true) if begun.map_err(Clone::clone)? => Ok(revoke),
            // The directory may not have heard yet what the event is about.
            Some(true) if self.clock.now().since(signal.as_of) < self.policy.settle => {
                Err("the directory was asked too soon after the event to be believed about an enable; it is tried again".to_owned())
            }
            Some(true) => Ok(Action::Restore { authorities: Some(vec![signal.authority.clone()]) }),
        }
    }

    /// Which of the events that hide their meaning, and now seem to mean an enable, began as a disable before. All are
    /// read at once.
    async fn begun(&self, signals: &[Signal], words: &[Word], run: &Run) -> Result<BTreeSet<usize>, String> {
        let enabled = signals
            .iter()
            .zip(words)
            .enumerate()
            .filter(|(_, (signal, word))| signal.action == Action::Ask && word.agreed(signal) == Some(true));
        let marker = |signal: &Signal, about: &About| Marker::new(&signal.id, &about.chain(), Kind::Requested);
        let (numbers, markers): (Vec<usize>, Vec<Marker>) = enabled
            .flat_map(|(number, (signal, _))| signal.about.iter().map(move |about| (number, marker(signal, about))))
            .unzip();
        if markers.is_empty() {
            return Ok(BTreeSet::new());
        }
        let trail = Arc::clone(&self.trail);
        let work = async move { trail.standing(&markers).await };
        match self.guarded(self.admission_ends(run), tracing::Span::current(), work).await {
            Ok(Ok(standing)) => Ok(numbers
                .into_iter()
                .zip(standing)
                .filter(|(_, stands)| stands.is_some())
                .map(|(number, _)| number)
                .collect()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(lost) => Err(lost.why("what an earlier attempt recorded could not be read in time")),
        }
    }
}

impl Word {
    /// The state that everybody in the signal is in, as far as all are in the same.
    fn agreed(&self, signal: &Signal) -> Option<bool> {
        let first = self.enabled.first().copied().flatten();
        first.filter(|_| self.enabled.len() == signal.about.len() && self.enabled.iter().all(|one| *one == first))
    }

    /// Nobody in the signal is resolved: each for its own reason, else for this one.
    fn unresolve_all(&mut self, signal: &Signal, why: &str) {
        let known = |chain: &String| self.unresolved.iter().any(|(other, _)| other == chain);
        let chains = signal.about.iter().map(About::chain).filter(|chain| !known(chain));
        let rest: Vec<_> = chains.map(|chain| (chain, why.to_owned())).collect();
        self.unresolved.extend(rest);
    }
}
