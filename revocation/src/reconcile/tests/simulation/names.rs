//! Who was called what, and when; and what must hold of names.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use super::checks::action;
use super::company::Company;
use super::directory::People;
use super::events::Word;
use super::schedule::{ALIASES, FURTHER};
use super::watch::{Invariant, Watch, names_in};
use crate::alias::Aliases;
use crate::audit::Entry;
use crate::lock::{Hold, HoldState, Lock};
use crate::name::Name;
use crate::ports::Clock;
use crate::time::Timestamp;

/// Longer than an invoke works: whoever read a name that long ago has read again since, or is gone.
pub(super) const ONE_INVOKE: Duration = Duration::from_secs(110);

static BY_RULE: LazyLock<Aliases> = LazyLock::new(|| Aliases::parse(ALIASES).unwrap());

/// That a name was given to a subject, and when it was taken away again.
#[derive(Debug, Clone)]
struct Had {
    subject: Name,
    name: Name,
    from: Timestamp,
    until: Option<Timestamp>,
}

/// Who was called what.
#[derive(Default)]
pub(super) struct Names(Vec<Had>);

impl Names {
    /// A name is given or taken away.
    pub(super) fn sees(&mut self, subject: &Name, name: &Name, given: bool, now: Timestamp) {
        if given {
            self.0.push(Had { subject: subject.clone(), name: name.clone(), from: now, until: None });
            return;
        }
        let is_it = |had: &&mut Had| had.until.is_none() && had.subject == *subject && had.name == *name;
        self.0.iter_mut().filter(is_it).for_each(|had| had.until = Some(now));
    }

    /// What was given to a subject: to any of the names that it has by rule.
    fn given(&self, subject: &Name) -> impl Iterator<Item = &Had> {
        let own = BY_RULE.names(subject);
        self.0.iter().filter(move |had| own.contains(&had.subject))
    }

    /// To whom any of the names was ever given.
    pub(super) fn anybody_called<'a>(&'a self, names: &'a [&Name]) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(|had| names.contains(&&had.name)).map(|had| had.subject.as_str())
    }

    /// Whether it was ever the subject's name.
    pub(super) fn ever(&self, subject: &Name, name: &Name) -> bool {
        self.since(subject, name, Timestamp::from_millis(0))
    }

    /// Whether anybody ever had it who is not called so in the first place.
    pub(super) fn is_another(&self, name: &Name) -> bool {
        name.as_str() == "dana" || self.0.iter().any(|had| had.name == *name)
    }

    /// Whether several subjects had it, at the same time or after each other.
    fn is_shared(&self, name: &Name, people: &People) -> bool {
        let subjects: BTreeSet<&Name> = self.0.iter().filter(|had| had.name == *name).map(|had| &had.subject).collect();
        subjects.len() > 1
            || subjects.iter().any(|subject| subject.as_str() == "dana" || people.called(subject).len() > 1)
    }

    /// Whether anybody else ever had it.
    pub(super) fn is_anothers(&self, name: &Name, own: &str) -> bool {
        let by_rule = name.as_str() == "dana" && own != "dana@corp.example";
        by_rule || self.0.iter().any(|had| had.name == *name && had.subject.as_str() != own)
    }

    /// Whether it is the subject's name, or was at that instant or later.
    fn since(&self, subject: &Name, name: &Name, at: Timestamp) -> bool {
        let by_rule = BY_RULE.names(subject).contains(name);
        by_rule || self.given(subject).any(|had| had.name == *name && had.until.is_none_or(|until| until >= at))
    }

    /// The names that were the subject's from one instant until another, those by rule among them; without what was given
    /// to a name that is somebody else's.
    fn all_along(
        &self,
        subject: &Name,
        anothers: &BTreeSet<Name>,
        from: Timestamp,
        until: Timestamp,
    ) -> BTreeSet<Name> {
        let given = self.given(subject).filter(|had| had.subject == *subject || !anothers.contains(&had.subject));
        let given = given.filter(|had| had.from <= from && had.until.is_none_or(|at| at > until));
        BY_RULE.names(subject).into_iter().chain(given.map(|had| had.name.clone())).collect()
    }

    /// What is wrong with a change of a lock: it is about a subject that does not have the name. What was said there
    /// about the same subject may go on, or be lifted; nothing may begin.
    pub(super) fn wronged(
        &self,
        people: &People,
        before: Option<&Lock>,
        after: &Lock,
        now: Timestamp,
    ) -> Option<String> {
        let (name, recent) = (&after.name, now.minus(ONE_INVOKE));
        for (authority, hold) in &after.holds {
            let old = before.and_then(|before| before.hold_of(authority));
            let Some(subject) = hold.about().filter(|_| old != Some(hold)) else { continue };
            let is_about = |hold: &Hold| hold.about().as_ref() == Some(&subject);
            // Whoever lifts another's word has spoken there as well.
            let lifts =
                hold.state == HoldState::Released && before.is_some_and(|lock| lock.holds.values().any(is_about));
            let goes_on = lifts || old.is_some_and(is_about);
            let none = Lock::none(name.clone());
            let begins = before.unwrap_or(&none).newly_held(after, authority, now);
            let called = people.called(&subject);
            let mut names = called.iter().copied().chain([&subject]);
            let has_it = called.contains(name) || names.any(|own| self.since(own, name, recent));
            if (begins || !goes_on) && !has_it {
                let word = hold.state.word();
                return Some(format!("{name} was {word} by {authority} as a name of {subject}, which it was not"));
            }
        }
        None
    }
}

/// `completed` is about every name that was the subject's from well before the work began until it was verified, but
/// for those that were let in by themselves and those that are somebody else's.
pub(super) fn completed_means_every_name(skew: Duration, entries: &[Entry], entry: &Entry, watch: &mut Watch) {
    let Some(verified) = entry.instant("verified_at").filter(|_| action(entry) == "revoke") else { return };
    let (Some(chain), Some(id)) = (entry.text("subject"), entry.text("signal_id")) else { return };
    let Ok(subject) = Name::new(chain) else { return };
    let is_it = |entry: &&Entry| entry.text("signal_id") == Some(id) && entry.text("kind") == Some("requested");
    let Some(begun) = entries.iter().find(is_it).and_then(|entry| entry.text("at").and_then(Timestamp::parse)) else {
        return;
    };
    let detail = |of: &str| -> BTreeSet<Name> {
        let names = entry.detail(of).and_then(|names| names.as_array());
        names.into_iter().flatten().filter_map(|name| Name::new(name.as_str()?).ok()).collect()
    };
    let (let_in, anothers) = (detail("let_in"), detail("others_names"));
    let had = watch.names.all_along(&subject, &anothers, begun.minus(ONE_INVOKE + skew), verified.plus(skew));
    let named = names_in(entry);
    let is_told = |name: &&Name| named.contains(name) || let_in.contains(name) || anothers.contains(name);
    if let Some(missing) = had.iter().find(|name| !is_told(name)) {
        watch.breaks(Invariant::Survivor, format!("{id} says completed for {subject} and not for {missing}"));
    }
}

/// At the end, a further name is kept out for a subject just as its own name is. A name that was spoken of by itself
/// has a story of its own; so has a subject of whom something was said in shadow mode, maybe when it was half done.
pub(super) fn further_names_go_with_their_subject(company: &Company, watch: &mut Watch) {
    let now = company.clock.now();
    let spoken: BTreeSet<String> = {
        let heard = company.heard.lock().unwrap();
        let decides = |word: Word| !matches!(word, Word::Alias(_) | Word::Unalias(_) | Word::Disconnect);
        heard.values().filter(|heard| decides(heard.said.word)).flat_map(|heard| heard.said.chains()).collect()
    };
    let recorded = company.recorded();
    let is_shadowed = |subject: &Name| {
        let of_it = recorded.iter().filter(|((_, chain), _)| chain == subject.as_str());
        of_it.map(|(_, kinds)| kinds).any(|kinds| kinds.contains("shadowed"))
    };
    let is_held = |name: &Name, by: &dyn Fn(&crate::signal::Authority, &Hold) -> bool| {
        let lock = company.locks.stored(name).unwrap_or_else(|| Lock::none(name.clone()));
        lock.holds.iter().any(|(authority, hold)| lock.held_by(now).contains(authority) && by(authority, hold))
    };
    let further = FURTHER.into_iter().chain(["dana"]).filter(|name| !spoken.contains(*name));
    for name in further.map(|name| Name::new(name).unwrap()) {
        let lock = company.locks.stored(&name).unwrap_or_else(|| Lock::none(name.clone()));
        for authority in lock.held_by(now) {
            let Some(subject) = lock.hold_of(&authority).and_then(Hold::about) else { continue };
            if is_shadowed(&subject) {
                continue;
            }
            // Where the subject's own name was given to somebody else, it may have been let in as theirs; and what two
            // subjects have in common is kept out for whichever of them is to be kept out longer.
            let shared = watch.names.is_another(&subject) || watch.names.is_shared(&name, &watch.people);
            if !shared && !is_held(&subject, &|by, _| *by == authority) {
                let what = format!("{authority} keeps {name} out as a name of {subject}, whom it does not keep out");
                watch.breaks(Invariant::NewestFact, what);
            }
        }
        let aliases = company.locks.aliases();
        let by_rule = (name.as_str() == "dana").then(|| Name::new("dana@corp.example").unwrap());
        let of_whom = aliases.get(&name).filter(|of| of.as_str() != "dana").cloned().into_iter().chain(by_rule);
        for subject in of_whom.filter(|subject| !is_shadowed(subject)) {
            let is_about = |_: &_, hold: &Hold| hold.about().as_ref() == Some(&subject);
            if is_held(&subject, &is_about) && !is_held(&name, &|_, _| true) {
                watch
                    .breaks(Invariant::Survivor, format!("{subject} is kept out and {name}, a name of theirs, is not"));
            }
        }
    }
}
