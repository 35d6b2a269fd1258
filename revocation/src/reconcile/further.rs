//! The locks of a subject's further names, which follow that of its own.

use std::collections::BTreeSet;

use super::Revoker;
use super::admit::MAX_RACES;
use crate::lock::{Hold, Lock, Transition};
use crate::name::Name;
use crate::planted::{self, Fault};
use crate::ports::{StoreError, Write};
use crate::signal::Authority;

impl Revoker {
    /// Brings what is in force on a subject's own name to further names, some of which are `given` only now; says whether
    /// anything is.
    ///
    /// The own name's lock is told of them first, so that whoever lifts it lifts them too, and looked at again at the
    /// end, since it may have been lifted meanwhile.
    ///
    /// What is said there of others, to whom the subject's own name was given as a further one, goes no further: names
    /// that are given to a further name are not theirs, whichever was given first. Of whom it is another name by rule or
    /// by the directory's word, the own name's lock is told as well.
    pub(super) async fn extend_lock(
        &self,
        own: &Name,
        further: &[Name],
        given: &[Name],
        rehearsed: bool,
    ) -> Result<bool, StoreError> {
        for race in 0..MAX_RACES {
            let now = self.clock.now();
            let lock = self.lock_of(own).await?;
            let others = self.others_called(own, &lock).await?;
            let is_held = lock.without_subjects(&others).in_force(now);
            if rehearsed || !is_held || planted::is(Fault::GiveWithoutLocking) {
                if race > 0 {
                    // It was lifted while the names followed, and whoever lifted it may have missed them.
                    self.follow_all(&lock.without_subjects(&others), further, given).await?;
                }
                return Ok(is_held);
            }
            self.tell_subjects(&lock.without_subjects(&others), further).await?;
            let told = match lock.extend(further, &others, now) {
                Transition::Changed(next) if self.locks.write(&next).await? == Write::Conflict => continue,
                Transition::Changed(next) => next,
                Transition::Unchanged | Transition::Superseded { .. } => lock,
            };
            self.follow_all(&told.without_subjects(&others), further, given).await?;
            if self.lock_of(own).await?.version == told.version {
                return Ok(true);
            }
        }
        Err(StoreError::busy(own.as_str()))
    }

    async fn follow_all(&self, own: &Lock, further: &[Name], given: &[Name]) -> Result<(), StoreError> {
        for name in further {
            self.follow(own, name, given.contains(name)).await?;
        }
        Ok(())
    }

    /// Tells the own locks of those whom a lock is about, under another of their names, of names that follow it: a restore
    /// looks there for what it is to lift.
    async fn tell_subjects(&self, lock: &Lock, further: &[Name]) -> Result<(), StoreError> {
        let about = lock.holds.iter().filter_map(|(authority, hold)| Some((authority, hold.about()?)));
        for (authority, subject) in about.filter(|(_, subject)| *subject != lock.name) {
            self.tell(&subject, authority, further).await?;
        }
        Ok(())
    }

    async fn tell(&self, subject: &Name, authority: &Authority, further: &[Name]) -> Result<(), StoreError> {
        for _ in 0..MAX_RACES {
            match self.lock_of(subject).await?.extend_hold_of(authority, further) {
                Transition::Changed(next) if self.locks.write(&next).await? == Write::Conflict => {}
                _ => return Ok(()),
            }
        }
        Err(StoreError::busy(subject.as_str()))
    }

    /// Those subjects that a lock speaks of and that are not called so by themselves.
    pub(super) async fn others_called(&self, name: &Name, lock: &Lock) -> Result<BTreeSet<Name>, StoreError> {
        let mut others: BTreeSet<Name> = lock.holds.values().filter_map(Hold::about).collect();
        for subject in others.clone() {
            if self.is_called(&subject, name).await? {
                others.remove(&subject);
            }
        }
        Ok(others)
    }

    /// Whether a name is the subject's own, or one that follows from it by rule or by the directory's word. A name that
    /// was given to it is not one of them, and may be taken away again.
    async fn is_called(&self, subject: &Name, name: &Name) -> Result<bool, StoreError> {
        let by_rule = |subject: &Name| self.policy.aliases.names(subject).contains(name);
        if by_rule(subject) {
            return Ok(true);
        }
        let Some(people) = &self.people else { return Ok(false) };
        let Some(id) = people.known.by_name(subject).await? else { return Ok(false) };
        // Former names are among them, and those that somebody else has by now are not.
        let found = people.look(&id, &self.policy.aliases, false).await;
        let found = found.map_err(|error| StoreError::away("the directory", &error))?;
        let is_others = found.others.iter().any(|other| Name::new(other).as_ref() == Ok(name));
        Ok(!is_others && found.person.names.iter().filter_map(|own| Name::new(own).ok()).any(|own| by_rule(&own)))
    }

    /// Whether a subject has a name: is called so by itself, or was given it.
    async fn has(&self, subject: &Name, name: &Name) -> Result<bool, StoreError> {
        if self.is_called(subject, name).await? {
            return Ok(true);
        }
        for given in self.aliases.names(&self.policy.aliases.names(subject)).await {
            if given?.contains(name) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A lock as if these authorities had said nothing but of the name by itself, where what they lifted there was about
    /// somebody who does not have the name any more.
    pub(super) async fn without_former(
        &self,
        lock: Lock,
        authorities: &[Authority],
        subject: &Name,
    ) -> Result<Lock, StoreError> {
        let mut former = Vec::new();
        for authority in authorities {
            if let Some(other) = lock.lifted_of_another(authority, subject)
                && !self.has(&other, &lock.name).await?
            {
                former.push(authority.clone());
            }
        }
        Ok(if former.is_empty() { lock } else { lock.without_holds_about_others(&former) })
    }

    /// Lets a name follow its subject's own, unless that was written since: then whoever asks begins again with what
    /// stands there now. A restore writes the own name first, so that none is missed.
    ///
    /// What was lifted here since stands, whoever it was said of, unless the name `is_given` only now.
    pub(super) async fn follow(&self, own: &Lock, name: &Name, is_given: bool) -> Result<(), StoreError> {
        for _ in 0..MAX_RACES {
            let authorities: Vec<Authority> = own.holds.keys().cloned().collect();
            let lock = self.without_former(self.lock_of(name).await?, &authorities, &own.name).await?;
            let lifted = authorities.iter().filter(|authority| !is_given && lock.was_lifted_since(own, authority));
            match lock.follow(&own.without_holds_of(&lifted.cloned().collect::<Vec<_>>()), self.clock.now()) {
                Transition::Changed(next) => {
                    if self.lock_of(&own.name).await?.version != own.version {
                        return Ok(());
                    }
                    if self.locks.write(&next).await? == Write::Stored {
                        tracing::info!(subject = %name, version = next.version, "lock follows another name's");
                        return Ok(());
                    }
                }
                Transition::Unchanged | Transition::Superseded { .. } => return Ok(()),
            }
        }
        Err(StoreError::busy(name.as_str()))
    }

    pub(super) async fn lock_of(&self, name: &Name) -> Result<Lock, StoreError> {
        let read = self.locks.read(std::slice::from_ref(name)).await?;
        Ok(read.into_iter().next().unwrap_or_else(|| Lock::none(name.clone())))
    }
}
