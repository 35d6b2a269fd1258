//! What Client VPN asks.

use std::collections::HashMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::name::Name;

/// The version that is answered where the request names none.
const DEFAULT_VERSION: &str = "v2";

/// The version whose answers call the message otherwise than all later ones.
const FIRST_VERSION: &str = "v1";

/// How many characters of what a client says of itself are kept.
const LONGEST_TEXT: usize = 255;

/// The version of the request's schema; the answer names the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaVersion(String);

impl SchemaVersion {
    /// A version by its text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The name of the answer's field for the message. AWS documents none for v3; it takes v2's.
    pub(super) fn message_field(&self) -> &'static str {
        match self.0.as_str() {
            FIRST_VERSION => "error-msg-on-failed-posture-compliance",
            _ => "error-msg-on-denied-connection",
        }
    }
}

impl Default for SchemaVersion {
    fn default() -> Self {
        Self::new(DEFAULT_VERSION)
    }
}

impl Serialize for SchemaVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Who knocks can't be read from a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the request can't be read: {0}; check that Client VPN invokes this function, and nobody else")]
pub struct Unreadable(String);

/// Who knocks, as received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The Active Directory user name or the SAML `NameID`; empty with certificates alone.
    pub username: Option<String>,
    /// The common name of the client's certificate.
    pub common_name: Option<String>,
}

impl Identity {
    /// Both names in normal form, the user name first. Placeholders and empty texts are no names.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        let found = [&self.username, &self.common_name].map(|text| Name::found(text.as_deref()));
        let mut names: Vec<Name> = found.into_iter().flatten().collect();
        names.dedup();
        names
    }
}

/// A question of Client VPN, in schema version 1, 2 or 3.
///
/// Each field may be absent, null or new, so that a later version still gets an answer. `groups` is a text or a list and
/// is not read: nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The schema's version.
    pub version: SchemaVersion,
    /// Who knocks. A name that is there and no text is an error: somebody may be meant.
    pub who: Result<Identity, Unreadable>,
    /// The connection that is about to be made.
    pub connection_id: Option<String>,
    /// The endpoint it is made to.
    pub endpoint_id: Option<String>,
    /// The client's operating system, by its own word.
    pub platform: Option<String>,
    /// The client's public address.
    pub public_ip: Option<String>,
}

impl ConnectRequest {
    /// Reads a payload, whatever it is.
    #[must_use]
    pub fn read(payload: &[u8]) -> Self {
        match serde_json::from_slice(payload) {
            Ok(fields) => Self::of(&Fields(fields)),
            Err(error) => Self {
                who: Err(Unreadable(format!("it is no JSON object ({error})"))),
                ..Self::of(&Fields(HashMap::new()))
            },
        }
    }

    fn of(fields: &Fields) -> Self {
        let version = fields.text("schema-version").ok().flatten();
        let text = |key| fields.text(key).ok().flatten().filter(|text| !text.is_empty()).map(|text| shortened(&text));
        Self {
            version: version.map_or_else(SchemaVersion::default, SchemaVersion),
            who: fields.identity(),
            connection_id: text("connection-id"),
            endpoint_id: text("endpoint-id"),
            platform: text("platform"),
            public_ip: text("public-ip"),
        }
    }

    /// The endpoint's id, also where the request has none.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.endpoint_id.as_deref().unwrap_or("unknown")
    }
}

/// A JSON object whose values stay as they are until they are asked for: what nobody asks for can't be wrong.
struct Fields(HashMap<String, Box<RawValue>>);

impl Fields {
    fn text(&self, key: &str) -> Result<Option<String>, Unreadable> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        serde_json::from_str(value.get()).map_err(|_| Unreadable(format!("its `{key}` is no text")))
    }

    fn identity(&self) -> Result<Identity, Unreadable> {
        Ok(Identity { username: self.text("username")?, common_name: self.text("common-name")? })
    }
}

/// A text as it is logged and recorded: a client's word about itself has no bounds of its own.
pub(super) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect()
}
