//! How a producer's table is written. The user's own rules have the same form.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extract::Place;

/// The user's own rules: a file beside the tables that come with the program.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RulesFile {
    /// Where editors find the schema of this file; not read.
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<String>,
    /// Rules to switch on, by name.
    #[serde(default)]
    pub(super) on: BTreeSet<String>,
    /// Rules to switch off, by name.
    #[serde(default)]
    pub(super) off: BTreeSet<String>,
    /// What to do with events that EventBridge replays from an archive.
    #[serde(default)]
    pub(super) replays: Replays,
    /// Tables of further producers, or further rules of known ones. A rule that has the name of one that comes with
    /// the program replaces it.
    #[serde(default)]
    pub(super) tables: Vec<Table>,
}

/// What to do with events that EventBridge replays from an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(super) enum Replays {
    /// Decide and audit as in shadow mode, and change nothing.
    #[default]
    Audit,
    /// Treat them as any other event.
    Act,
}

/// A producer's table.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// Who speaks; with the tenant it is the authority.
    pub(super) producer: String,
    /// Events that are packed around others.
    #[serde(default)]
    pub(super) envelopes: Vec<EnvelopeRow>,
    /// Where things stand in this producer's events.
    #[serde(default)]
    pub(super) places: Places,
    /// Events that say something about a person.
    #[serde(default)]
    pub(super) rules: Vec<RuleRow>,
}

/// A kind of event that holds others.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct EnvelopeRow {
    pub(super) name: String,
    /// Which events these are: an EventBridge pattern.
    pub(super) pattern: Value,
    /// Where the events inside stand: a JSONPath (RFC 9535).
    pub(super) events: String,
}

/// A kind of event that says something about a person.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RuleRow {
    /// What it is switched on, off or replaced by.
    pub(super) name: String,
    /// What the event says, in a few words for people.
    #[serde(default)]
    pub(super) about: String,
    /// How its shape is known.
    #[serde(default)]
    pub(super) evidence: Evidence,
    /// Whether it counts without being switched on.
    #[serde(default = "yes")]
    pub(super) on: bool,
    /// Which events these are: an EventBridge pattern.
    pub(super) pattern: Value,
    /// What the pattern language can't say; all of it must hold.
    #[serde(default, rename = "where")]
    pub(super) conditions: Vec<ConditionRow>,
    /// What they ask for.
    pub(super) action: ActionWord,
    /// Sets this kind's holds apart from the producer's others, so that what lifts one leaves the others: whoever is
    /// unlocked after wrong passwords may still be disabled.
    #[serde(default)]
    pub(super) hold: Option<String>,
    /// Where things stand, as far as this kind differs from the producer's others.
    #[serde(default)]
    pub(super) places: Places,
}

fn yes() -> bool {
    true
}

/// How the shape of an event is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// From a real event that was captured.
    Capture,
    /// From the producer's documentation only.
    #[default]
    Documentation,
}

/// Something that must stand in an event.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct ConditionRow {
    /// Where: a JSONPath (RFC 9535).
    pub(super) path: String,
    /// A regular expression that a text, number or truth value there must match.
    pub(super) matches: String,
}

/// Where things stand in an event.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Places {
    /// Whom it is about.
    pub(super) who: Option<Who>,
    /// The producer's own id of the event.
    pub(super) id: Option<Vec<Place>>,
    /// When it happened.
    pub(super) occurred_at: Option<Vec<Place>>,
    /// The producer's customer.
    pub(super) tenant: Option<Vec<Place>>,
    /// Who caused it: never the person it is about.
    pub(super) actor: Option<Vec<Place>>,
    /// Why.
    pub(super) reason: Option<Vec<Place>>,
}

/// Whom an event is about.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    /// The people in the event: a JSONPath (RFC 9535) to one or more objects.
    pub(super) each: String,
    /// The name, within each.
    #[serde(default)]
    pub(super) name: Vec<Place>,
    /// Further names of the same person, within each: all that stand at the first of these places that has any, ten at the
    /// most.
    #[serde(default)]
    pub(super) also: Vec<Place>,
    /// The producer's id of the person, within each; said where no name is.
    #[serde(default)]
    pub(super) id: Vec<Place>,
    /// The id is one of IAM Identity Center's, whose identity store can be asked for the name.
    #[serde(default)]
    pub(super) directory: bool,
}

/// What an event asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(super) enum ActionWord {
    /// Lock the person and end the connections.
    Revoke,
    /// End the connections that exist.
    Disconnect,
    /// Lift this producer's own hold.
    Restore,
    /// The event hides whether the person was disabled or enabled: ask the directory.
    Ask,
    /// Nothing: the event is known, and means nothing here.
    Ignore,
}

impl ActionWord {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Revoke => "revoke",
            Self::Disconnect => "disconnect",
            Self::Restore => "restore",
            Self::Ask => "ask",
            Self::Ignore => "ignore",
        }
    }
}
