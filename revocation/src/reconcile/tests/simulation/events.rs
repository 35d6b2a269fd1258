//! What is said, as the bytes in which it arrives: events of producers, commands, and what nobody can read.

use std::time::Duration;

use serde_json::{Value, json};

use crate::name::Subject;
use crate::signal::{About, Authority, SignalId};
use crate::time::Timestamp;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    Okta,
    JumpCloud,
    /// AWS's own directory, which speaks of ids.
    IdentityCenter,
    /// A person's command.
    Command,
}

impl Voice {
    pub(super) fn authority(self) -> Authority {
        match self {
            Self::Okta => Authority::producer("okta", Some("acme")),
            Self::JumpCloud => Authority::producer("jumpcloud", Some("acme")),
            Self::IdentityCenter => Authority::producer("identity-center", None),
            Self::Command => Authority::command(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Revoke {
        /// After so many seconds.
        lapses_in: Option<u64>,
    },
    /// What this authority said is lifted.
    Restore,
    /// What anybody said is lifted: a command's alone.
    RestoreAll,
    Disconnect,
    /// Whether somebody was disabled or enabled is not said.
    Hidden,
    /// These are further names of the subject's from now on.
    Alias(&'static [&'static str]),
    Unalias(&'static [&'static str]),
}

/// One statement.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// Its own id, without the producer.
    pub(super) id: String,
    pub(super) by: Voice,
    pub(super) word: Word,
    pub(super) about: Vec<String>,
    /// How long before it was sent it had happened, by the producer's word.
    pub(super) ago: Duration,
}

/// What does not speak to us, and must not keep its neighbours from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noise {
    /// No JSON.
    Garbage,
    /// JSON that no rule knows.
    Unknown,
    /// Not even an object.
    Number,
    /// A command without the envelope that it needs in a queue.
    BareCommand,
    /// A command with a mistake.
    WrongCommand,
    /// A producer's word about an attempt that failed.
    Failed,
    /// A signed token.
    Token,
}

pub(super) const NOISES: [Noise; 7] = [
    Noise::Garbage,
    Noise::Unknown,
    Noise::Number,
    Noise::BareCommand,
    Noise::WrongCommand,
    Noise::Failed,
    Noise::Token,
];

#[derive(Debug, Clone)]
pub(super) enum Item {
    Says(Said),
    Noise(Noise),
}

/// What is around the items of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrap {
    /// Nothing: there is one.
    None,
    /// A topic's notification around one.
    Sns,
    /// A pipe's array.
    Array,
    /// Okta's event hook.
    Hook,
}

/// One message.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) items: Vec<Item>,
    pub(super) wrap: Wrap,
}

impl Said {
    pub(super) fn signal_id(&self) -> SignalId {
        match self.by {
            Voice::Okta => SignalId::of_producer("okta", &self.id),
            Voice::JumpCloud => SignalId::of_producer("jumpcloud", &self.id),
            Voice::IdentityCenter => SignalId::of_producer("identity-center", &self.id),
            Voice::Command => SignalId::new(&self.id),
        }
    }

    /// The audit chains of those it is about; of an id, that of the id.
    pub(super) fn chains(&self) -> Vec<String> {
        let about = |name: &String| match self.by {
            Voice::IdentityCenter => About::unresolved("identity-center", name, true),
            _ => About::Subject(Subject::new(name).unwrap()),
        };
        let mut chains: Vec<String> = self.about.iter().map(|name| about(name).chain()).collect();
        chains.sort();
        chains.dedup();
        chains
    }

    pub(super) fn may_be_about_several(&self) -> bool {
        !matches!(self.by, Voice::JumpCloud | Voice::IdentityCenter)
            && !matches!(self.word, Word::Alias(_) | Word::Unalias(_))
    }

    pub(super) fn action(&self) -> &'static str {
        match self.word {
            Word::Revoke { .. } => "revoke",
            Word::Restore | Word::RestoreAll => "restore",
            Word::Disconnect => "disconnect",
            Word::Hidden => "ask",
            Word::Alias(_) => "alias",
            Word::Unalias(_) => "unalias",
        }
    }

    pub(super) fn in_words(&self) -> String {
        let further = match self.word {
            Word::Alias(names) | Word::Unalias(names) => format!(" {}", names.join(" and ")),
            Word::RestoreAll => " by everybody's word".to_owned(),
            _ => String::new(),
        };
        let about = self.about.join(" and ");
        format!("{} {} {} {about}{further}", self.signal_id(), self.by.authority(), self.action())
    }

    /// The whole payload of a direct invoke.
    pub(super) fn command(&self) -> Value {
        let mut command =
            json!({ "action": self.action(), "subjects": self.about, "id": self.id, "reason": "as planned" });
        match self.word {
            Word::Revoke { lapses_in: Some(seconds) } => command["expires_in"] = json!(format!("PT{seconds}S")),
            // A command's restore without authorities would lift what the producers said.
            Word::Restore => command["authorities"] = json!(["command"]),
            Word::Alias(names) | Word::Unalias(names) => command["names"] = json!(names),
            _ => {}
        }
        command
    }

    fn event(&self, at: Timestamp) -> Value {
        match self.by {
            Voice::Okta => self.envelope("aws.partner/okta.com/acme/system-log", "SystemLog", &self.okta(at)),
            Voice::JumpCloud => self.envelope("acme.jumpcloud-relay", "Directory Insights", &self.jumpcloud(at)),
            Voice::IdentityCenter => {
                self.envelope("aws.sso-directory", "AWS API Call via CloudTrail", &self.identity_center(at))
            }
            Voice::Command => self.envelope("vpn-revoker", "VPN Revoker Command", &self.command()),
        }
    }

    fn envelope(&self, source: &str, detail_type: &str, detail: &Value) -> Value {
        json!({ "version": "0", "id": format!("event-{}", self.id), "source": source, "detail-type": detail_type, "detail": detail })
    }

    fn okta(&self, at: Timestamp) -> Value {
        let what = match self.word {
            Word::Restore => "user.lifecycle.unsuspend",
            _ => "user.lifecycle.suspend",
        };
        let users =
            self.about.iter().map(|name| json!({ "type": "User", "id": format!("00u-{name}"), "alternateId": name }));
        json!({
            "uuid": self.id,
            "eventType": what,
            "published": at,
            "outcome": { "result": "SUCCESS" },
            "actor": { "type": "User", "alternateId": "it.admin@example.com" },
            "target": users.collect::<Vec<_>>(),
        })
    }

    fn identity_center(&self, at: Timestamp) -> Value {
        let (source, name) = match self.word {
            Word::Restore => ("sso-directory.amazonaws.com", "EnableUser"),
            Word::Hidden => ("identitystore-scim.amazonaws.com", "PatchUser"),
            _ => ("sso-directory.amazonaws.com", "DisableUser"),
        };
        json!({
            "eventID": self.id,
            "eventSource": source,
            "eventName": name,
            "eventTime": at,
            "requestParameters": { "userId": self.about.first(), "httpBody": { "operations": [{ "path": "active" }] } },
        })
    }

    fn jumpcloud(&self, at: Timestamp) -> Value {
        let suspended = !matches!(self.word, Word::Restore);
        json!({
            "id": self.id,
            "event_type": "user_update",
            "organization": "acme",
            "success": true,
            "timestamp": at,
            "resource": { "type": "user", "username": self.about.first() },
            "changes": [{ "field": "suspended", "from": !suspended, "to": suspended }],
        })
    }
}

impl Noise {
    fn value(self) -> Value {
        match self {
            // Only a notification can carry what is no JSON and be JSON itself.
            Self::Garbage => notification("{\"detail\": {\"eventType\": \"user.lifecy"),
            Self::Unknown => {
                json!({ "source": "somebody", "detail-type": "Something", "detail": { "username": "alice" } })
            }
            Self::Number => json!(7),
            Self::BareCommand => json!({ "action": "revoke", "subjects": ["alice", "bob"], "id": "bare" }),
            Self::WrongCommand => json!({
                "source": "vpn-revoker",
                "detail-type": "VPN Revoker Command",
                "detail": { "action": "revoke", "subject": "alice", "id": "wrong" },
            }),
            Self::Failed => json!({
                "source": "aws.partner/okta.com/acme/system-log",
                "detail-type": "SystemLog",
                "detail": {
                    "uuid": "failed",
                    "eventType": "user.lifecycle.suspend",
                    "outcome": { "result": "FAILURE" },
                    "target": [{ "type": "User", "alternateId": "alice" }],
                },
            }),
            Self::Token => json!("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"),
        }
    }
}

fn notification(message: &str) -> Value {
    json!({ "Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:events", "Message": message })
}

impl Parcel {
    pub(super) fn said(&self) -> Vec<Said> {
        let said = self.items.iter().filter_map(|item| match item {
            Item::Says(said) => Some(said.clone()),
            Item::Noise(_) => None,
        });
        said.collect()
    }

    pub(super) fn noises(&self) -> usize {
        self.items.len() - self.said().len()
    }

    /// The message's body; `at` is when each statement's fact happened.
    pub(super) fn body(&self, at: impl Fn(&Said) -> Timestamp) -> Vec<u8> {
        let event = |item: &Item| match item {
            Item::Says(said) => said.event(at(said)),
            Item::Noise(noise) => noise.value(),
        };
        let hooked = |item: &Item| match item {
            Item::Says(said) => said.okta(at(said)),
            Item::Noise(noise) => noise.value(),
        };
        let body = match (self.wrap, self.items.as_slice()) {
            (Wrap::None, [Item::Noise(Noise::Garbage)]) => return b"\xff\xfe{ no JSON".to_vec(),
            (Wrap::None, [only]) => event(only),
            (Wrap::Sns, [only]) => notification(&event(only).to_string()),
            (Wrap::Hook, items) => json!({
                "eventType": "com.okta.event_hook",
                "source": "https://acme.okta.com/api/v1/eventHooks/who1",
                "data": { "events": items.iter().map(hooked).collect::<Vec<_>>() },
            }),
            (Wrap::None | Wrap::Sns | Wrap::Array, items) => Value::Array(items.iter().map(event).collect()),
        };
        body.to_string().into_bytes()
    }

    pub(super) fn in_words(&self) -> String {
        let item = |item: &Item| match item {
            Item::Says(said) => said.in_words(),
            Item::Noise(noise) => format!("{noise:?}"),
        };
        let items: Vec<String> = self.items.iter().map(item).collect();
        match self.wrap {
            Wrap::None => items.join("; "),
            wrap => format!("{wrap:?}[{}]", items.join("; ")),
        }
    }
}
