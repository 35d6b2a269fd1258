//! Commands: what a person, a playbook or a script asks for in so many words.

use serde_json::{Map, Value};

use super::{Delivery, Rejected};
use crate::connection::{ConnectionId, EndpointId};
use crate::name::{Name, Subject};
use crate::reconcile::Sweep;
use crate::signal::{About, Action, Authority, EVENT_COMMANDS, Signal, SignalId, Via};
use crate::time::Timestamp;

/// Every field a command may have.
const FIELDS: [&str; 16] = [
    "action",
    "subjects",
    "username",
    "names",
    "endpoint_id",
    "endpoints",
    "targets",
    "connection_id",
    "authorities",
    "authority",
    "reason",
    "requested_by",
    "id",
    "expires_in",
    "dry_run",
    "force",
];

/// The command that checks everything connected against every lock.
const SWEEP: &str = "sweep";

/// The fields that it may have.
const SWEEP_FIELDS: [&str; 7] = ["action", "endpoints", "targets", "reason", "requested_by", "id", "dry_run"];

/// The command that lets an authority speak again.
const CLOSE_BREAKER: &str = "close_breaker";

/// The command that copies the directory: it is about nobody, and no signal.
const SYNC_DIRECTORY: &str = "sync_directory";

/// The fields that it may have.
const SYNC_FIELDS: [&str; 4] = ["action", "reason", "requested_by", "id"];

/// The most names that one command gives: more is no person.
const MAX_NAMES: usize = 20;

/// The most subjects of one command: a hundred times the ordinary, and small enough for one invoke.
const MAX_SUBJECTS: usize = 1000;

/// How many unknown fields an error names.
const MAX_SHOWN: usize = 20;

/// The longest id, reason and the like.
const MAX_TEXT: usize = 1024;

/// Whether a payload is a command, by its `action`.
pub(super) fn is_command(payload: &Value) -> bool {
    match payload.get("action") {
        Some(Value::String(action)) => actions().any(|known| known == action) || has_only_our_fields(payload),
        Some(_) => has_only_our_fields(payload),
        None => false,
    }
}

/// Whether a payload that no rule knows was meant as a command, with a mistake in it.
pub(super) fn is_meant_as_command(payload: &Value) -> bool {
    let ours = ["subjects", "username", "connection_id"].iter().any(|key| payload.get(key).is_some());
    let action = payload.get("action").and_then(Value::as_str).unwrap_or_default();
    payload.get("subjects").is_some()
        || actions().any(|known| known.eq_ignore_ascii_case(action))
        || (ours && has_only_our_fields(payload))
}

fn has_only_our_fields(payload: &Value) -> bool {
    payload.as_object().is_some_and(|fields| fields.keys().all(|key| FIELDS.contains(&key.as_str())))
}

/// Whether a command asks for a copy of the directory.
///
/// # Errors
/// Where it has a mistake.
pub(super) fn is_sync(payload: &Value) -> Result<bool, Rejected> {
    let Value::Object(fields) = payload else { return Ok(false) };
    let is_sync = is_of(payload, SYNC_DIRECTORY, &SYNC_FIELDS)?;
    for field in SYNC_FIELDS.iter().filter(|_| is_sync) {
        Fields(fields).text(field)?;
    }
    Ok(is_sync)
}

/// The sweep that a command asks for, if it does.
///
/// # Errors
/// Where it has a mistake.
pub(super) fn sweep(payload: &Value, delivery: &Delivery) -> Result<Option<Sweep>, Rejected> {
    let Value::Object(fields) = payload else { return Ok(None) };
    if !is_of(payload, SWEEP, &SWEEP_FIELDS)? {
        return Ok(None);
    }
    let fields = Fields(fields);
    let texts = |field| Ok(fields.texts(field)?.unwrap_or_default());
    let mut endpoints = Vec::new();
    for (number, id) in texts("endpoints")?.into_iter().enumerate() {
        fields.id_shape(&format!("endpoints[{number}]"), id, "cvpn-endpoint-")?;
        endpoints.push(EndpointId::new(id));
    }
    Ok(Some(Sweep {
        id: SignalId::new(&fields.text("id")?.unwrap_or_else(|| delivery.id.clone())),
        received_at: delivery.received_at,
        via: delivery.via,
        commanded: true,
        endpoints,
        targets: texts("targets")?.into_iter().map(str::to_owned).collect(),
        dry_run: fields.flag("dry_run")?,
        actor: fields.text("requested_by")?,
        reason: fields.text("reason")?,
    }))
}

/// Whether a command has this action, and only fields that go with it.
fn is_of(payload: &Value, action: &str, its_fields: &[&str]) -> Result<bool, Rejected> {
    if payload.get("action").and_then(Value::as_str) != Some(action) {
        return Ok(false);
    }
    let fields = payload.as_object().into_iter().flatten().map(|(key, _)| key);
    match others(fields, its_fields).as_slice() {
        [] => Ok(true),
        [first, rest @ ..] => {
            let nor: String = rest.iter().map(|field| format!(", nor does `{field}`")).collect();
            let problem = format!("does not go with `{action}`{nor}; it has {}", its_fields.join(", "));
            Err(Rejected::field(first, problem))
        }
    }
}

/// The fields that are none of those known, as an error names them.
fn others<'a>(fields: impl Iterator<Item = &'a String>, known: &[&str]) -> Vec<String> {
    let others = fields.filter(|key| !known.contains(&key.as_str())).take(MAX_SHOWN);
    others.map(|key| key.chars().filter(|c| !c.is_control()).take(60).collect()).collect()
}

/// Reads a command.
pub(super) fn read(payload: &Value, delivery: &Delivery, source: Option<&str>) -> Result<Signal, Rejected> {
    let Value::Object(fields) = payload else {
        return Err(Rejected::field("detail", "must be an object that holds the command"));
    };
    let fields = Fields(fields);
    if let [first, rest @ ..] = others(fields.0.keys(), &FIELDS).as_slice() {
        let so: String = rest.iter().map(|field| format!(", and so is `{field}`")).collect();
        return Err(Rejected::field(first, format!("is unknown{so}; a command has {}", FIELDS.join(", "))));
    }
    let action = fields.action(delivery.received_at)?;
    let about = fields.about(&action)?;
    let reason = fields.text("reason")?;
    if action == Action::CloseBreaker && reason.is_none() {
        return Err(Rejected::field("reason", "is missing; say why the authority is to be believed again"));
    }
    let force = fields.flag("force")?;
    if force && reason.is_none() {
        return Err(Rejected::field("force", "needs a `reason` beside it"));
    }
    if force && !matches!(action, Action::Revoke { .. } | Action::Disconnect) {
        return Err(Rejected::field("force", format!("has no meaning for `{}`", action.word())));
    }
    Ok(Signal {
        id: SignalId::new(&fields.text("id")?.unwrap_or_else(|| delivery.id.clone())),
        action,
        about,
        authority: Authority::command(),
        // A command counts from when it is received: its sender can't backdate it.
        as_of: delivery.received_at,
        occurred_at: None,
        received_at: delivery.received_at,
        source: source
            .unwrap_or(match delivery.via {
                Via::Direct => "direct invoke",
                Via::Event => "event",
            })
            .to_owned(),
        actor: fields.text("requested_by")?,
        reason,
        dry_run: fields.flag("dry_run")?,
        force,
        replay: None,
        via: delivery.via,
    })
}

fn known_actions() -> String {
    actions().map(|action| format!("`{action}`")).collect::<Vec<_>>().join(", ")
}

/// The words of all commands.
fn actions() -> impl Iterator<Item = &'static str> {
    EVENT_COMMANDS.into_iter().chain([SYNC_DIRECTORY])
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn text(&self, field: &str) -> Result<Option<String>, Rejected> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => {
                Err(Rejected::field(field, "is empty; leave it out or fill it"))
            }
            Some(Value::String(text)) if text.chars().count() > MAX_TEXT => {
                Err(Rejected::field(field, format!("is longer than {MAX_TEXT} characters; shorten it")))
            }
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Rejected::field(field, "must be a string")),
        }
    }

    fn flag(&self, field: &str) -> Result<bool, Rejected> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Rejected::field(field, "must be true or false")),
        }
    }

    fn texts(&self, field: &str) -> Result<Option<Vec<&str>>, Rejected> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let texts: Option<Vec<&str>> = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
        match texts {
            Some(texts) if !texts.is_empty() => Ok(Some(texts)),
            _ => Err(Rejected::field(field, "must be a list of one or more strings")),
        }
    }

    fn action(&self, received_at: Timestamp) -> Result<Action, Rejected> {
        let word = self
            .text("action")?
            .ok_or_else(|| Rejected::field("action", format!("is missing; give one of {}", known_actions())))?;
        let expires_at = match self.text("expires_in")? {
            None => None,
            Some(duration) => {
                let at = received_at.after_iso_duration(&duration);
                Some(at.map_err(|problem| Rejected::field("expires_in", problem))?)
            }
        };
        let authorities = self.texts("authorities")?.map(|names| names.into_iter().map(authority).collect());
        if expires_at.is_some() && word != "revoke" {
            return Err(Rejected::field("expires_in", "goes with the action `revoke` only"));
        }
        if authorities.is_some() && word != "restore" {
            return Err(Rejected::field("authorities", "goes with the action `restore` only"));
        }
        if let Some(field) = ["endpoints", "targets"].iter().find(|field| self.get(field).is_some()) {
            return Err(Rejected::field(field, "goes with the action `sweep` only"));
        }
        if word == CLOSE_BREAKER {
            return Ok(Action::CloseBreaker);
        }
        if self.get("authority").is_some() {
            return Err(Rejected::field("authority", "goes with the action `close_breaker` only"));
        }
        let names = self.names()?;
        if names.is_some() && !matches!(word.as_str(), "alias" | "unalias") {
            return Err(Rejected::field("names", "goes with the actions `alias` and `unalias` only"));
        }
        match word.as_str() {
            "alias" | "unalias" => match names {
                Some(names) => Ok(Action::Alias { names, remove: word == "unalias" }),
                None => Err(Rejected::field("names", "is missing; say what else the subject is called on the VPN")),
            },
            SYNC_DIRECTORY => Err(Rejected::field("action", "can't come as an event; invoke the function directly")),
            "revoke" => Ok(Action::Revoke { expires_at }),
            "disconnect" => Ok(Action::Disconnect),
            "restore" => Ok(Action::Restore { authorities }),
            _ => Err(Rejected::field("action", format!("is unknown; give one of {}", known_actions()))),
        }
    }

    fn names(&self) -> Result<Option<Vec<Name>>, Rejected> {
        let Some(texts) = self.texts("names")? else { return Ok(None) };
        if texts.len() > MAX_NAMES {
            return Err(Rejected::field("names", format!("has more than {MAX_NAMES}; send several commands")));
        }
        let mut names = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            let name = Name::new(text)
                .map_err(|error| Rejected::field(&format!("names[{number}]"), format!("can't be used: {error}")))?;
            // Two spellings are one name.
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(Some(names))
    }

    fn about(&self, action: &Action) -> Result<Vec<About>, Rejected> {
        if *action == Action::CloseBreaker {
            return self.breaker();
        }
        let connection = (self.text("endpoint_id")?, self.text("connection_id")?);
        let named = self.subjects()?;
        if matches!(action, Action::Alias { .. }) && named.as_ref().is_some_and(|subjects| subjects.len() > 1) {
            return Err(Rejected::field("subjects", "must be one; two people can't share a name"));
        }
        match (named, connection) {
            (Some(_), (Some(_), _)) => {
                Err(Rejected::field("endpoint_id", "goes with `connection_id` and without a subject"))
            }
            (Some(_), (None, Some(_))) => {
                Err(Rejected::field("connection_id", "can't stand beside a subject; give one of the two"))
            }
            (Some(subjects), (None, None)) => Ok(subjects),
            (None, (None, None)) if matches!(action, Action::Disconnect) => {
                Err(Rejected::field("subjects", "is missing; give `subjects`, or `endpoint_id` with `connection_id`"))
            }
            (None, (None, None)) => Err(Rejected::field("subjects", "is missing; say who is meant")),
            (None, (Some(_), None)) => {
                Err(Rejected::field("connection_id", "is missing; an `endpoint_id` alone ends nothing"))
            }
            (None, (None, Some(_))) => {
                Err(Rejected::field("endpoint_id", "is missing; Client VPN looks a connection up by its endpoint"))
            }
            (None, (Some(_), Some(_))) if !matches!(action, Action::Disconnect) => {
                Err(Rejected::field("connection_id", "goes with the action `disconnect` only"))
            }
            (None, (Some(endpoint), Some(connection))) => {
                self.id_shape("endpoint_id", &endpoint, "cvpn-endpoint-")?;
                self.id_shape("connection_id", &connection, "cvpn-connection-")?;
                Ok(vec![About::Connection(EndpointId::new(&endpoint), ConnectionId::new(&connection))])
            }
        }
    }

    fn breaker(&self) -> Result<Vec<About>, Rejected> {
        let others = ["subjects", "username", "names", "endpoint_id", "connection_id"];
        if let Some(other) = others.iter().find(|other| self.get(other).is_some()) {
            return Err(Rejected::field(other, "does not go with `close_breaker`"));
        }
        match self.text("authority")? {
            Some(named) => Ok(vec![About::Breaker(authority(&named))]),
            None => Err(Rejected::field("authority", "is missing; say whose circuit breaker, such as `okta:acme`")),
        }
    }

    fn id_shape(&self, field: &str, id: &str, prefix: &str) -> Result<(), Rejected> {
        let rest = id.strip_prefix(prefix).unwrap_or_default();
        if !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Ok(());
        }
        Err(Rejected::field(field, format!("must look like `{prefix}…`")))
    }

    fn subjects(&self) -> Result<Option<Vec<About>>, Rejected> {
        let listed: Vec<(String, &str)> = match (self.get("username"), self.texts("subjects")?) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(Rejected::field("username", "can't stand beside `subjects`; give one of the two"));
            }
            (Some(Value::String(name)), None) => vec![("username".to_owned(), name)],
            (Some(_), None) => return Err(Rejected::field("username", "must be a string")),
            (None, Some(names)) if names.len() > MAX_SUBJECTS => {
                return Err(Rejected::field(
                    "subjects",
                    format!("has more than {MAX_SUBJECTS}; send several commands"),
                ));
            }
            (None, Some(names)) => {
                names.into_iter().enumerate().map(|(number, name)| (format!("subjects[{number}]"), name)).collect()
            }
        };
        let subject = |(field, name): (String, &str)| match Subject::new(name) {
            Ok(subject) => Ok(About::Subject(subject)),
            Err(error) => Err(Rejected::field(&field, format!("can't be used: {error}"))),
        };
        listed.into_iter().map(subject).collect::<Result<Vec<_>, _>>().map(Some)
    }
}

/// An authority as somebody wrote it. Those of producers are in lower case.
fn authority(text: &str) -> Authority {
    Authority::named(&text.trim().to_lowercase())
}
