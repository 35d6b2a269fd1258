//! What an event that a rule knows says: a [`Signal`].

use std::collections::BTreeSet;

use serde_json::Value;

use super::rules::Rule;
use super::table::ActionWord;
use super::{Delivery, Event};
use crate::name::{Name, PersonId, Subject};
use crate::signal::{About, Action, Authority, Signal, SignalId};
use crate::time::Timestamp;

/// One person has no more names than this in one event. Whoever says more means a crowd, which only the circuit breaker
/// may let pass: then nobody is meant.
const MAX_ALSO: usize = 10;

impl Rule {
    /// The signal in an event; none where the rule says that the event means nothing.
    pub(super) fn signal(&self, event: &Event, delivery: &Delivery) -> Option<Signal> {
        let (document, places) = (&event.document, &self.places);
        let own_id = places.id.text(document);
        let id = match &own_id {
            Some(own) => SignalId::of_producer(&self.producer, own),
            None => SignalId::new(event.id.as_deref().unwrap_or(&delivery.id)),
        };
        let tenant = places.tenant.text(document).map(|tenant| tenant.to_lowercase());
        let authority = Authority::producer(&self.producer, tenant.as_deref()).apart(self.hold.as_deref());
        let action = match self.action {
            ActionWord::Revoke => Action::Revoke { expires_at: None },
            ActionWord::Disconnect => Action::Disconnect,
            // A producer's word lifts its own hold and no other.
            ActionWord::Restore => Action::Restore { authorities: Some(vec![authority.clone()]) },
            ActionWord::Ask => Action::Ask,
            ActionWord::Ignore => return None,
        };
        let occurred_at = places.occurred_at.text(document).and_then(|text| Timestamp::parse_any(&text));
        Some(Signal {
            about: self.people(document, own_id.as_deref().unwrap_or(id.as_str())),
            id,
            action,
            authority,
            as_of: Timestamp::as_of(occurred_at, delivery.received_at),
            occurred_at,
            received_at: delivery.received_at,
            source: event.text("source").map_or_else(|| format!("{} event", self.producer), str::to_owned),
            actor: places.actor.text(document),
            reason: places.reason.text(document),
            dry_run: false,
            force: false,
            replay: None,
            via: delivery.via,
        })
    }

    /// The people that the event is about. It is one of those that mean somebody: where it names nobody, that must not
    /// pass in silence.
    fn people(&self, document: &Value, event_id: &str) -> Vec<About> {
        let people = self.places.who.as_ref().map(|who| who.each.query(document).all()).unwrap_or_default();
        let nobody = |number: usize| About::unresolved(&self.producer, &format!("event {event_id}/{number}"), false);
        let mut about: Vec<About> = Vec::new();
        for number in 0..people.len().max(1) {
            let person = people.get(number).and_then(|person| self.person(person));
            let person = person.unwrap_or_else(|| nobody(number));
            if !about.contains(&person) {
                about.push(person);
            }
        }
        about
    }

    /// The person that an object in the event stands for, by name or at least by id.
    fn person(&self, person: &Value) -> Option<About> {
        let who = self.places.who.as_ref()?;
        let id = who.id.text(person);
        match (who.name.text(person).map(|name| Subject::new(&name)), id) {
            (Some(Ok(subject)), id) => {
                let also: BTreeSet<Name> =
                    who.also.texts(person).iter().filter_map(|name| Name::new(name).ok()).collect();
                if also.len() > MAX_ALSO {
                    return None;
                }
                let subject = subject.also_called(also);
                Some(About::Subject(match id {
                    Some(id) => subject.who_is(PersonId::new(&id)),
                    None => subject,
                }))
            }
            (_, id) => id.map(|id| About::unresolved(&self.producer, &id, who.directory)),
        }
    }
}
