//! What Client VPN is told.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::request::SchemaVersion;

/// The longest message that Client VPN takes. AWS doesn't say what it counts, so what counts here is UTF-16, in which no
/// text is shorter than in characters.
pub const MAX_MESSAGE_LENGTH: usize = 255;

/// Why a text can't be shown to whoever is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Nothing to show.
    #[error("is empty; say what whoever is refused is to do")]
    Empty,
    /// Client VPN would take the whole answer for malformed.
    #[error("is {0} characters long; Client VPN takes at most {MAX_MESSAGE_LENGTH}")]
    TooLong(usize),
    /// A line break, for example.
    #[error("holds a line break or another control character; write one line")]
    Control,
}

/// What whoever is refused gets to read: one line that Client VPN takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenyMessage(String);

impl DenyMessage {
    /// Checks a text.
    ///
    /// # Errors
    /// Where Client VPN would not take it, or nobody could read it.
    pub fn new(text: &str) -> Result<Self, MessageError> {
        if text.trim().is_empty() {
            return Err(MessageError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(MessageError::Control);
        }
        match text.encode_utf16().count() {
            length if length > MAX_MESSAGE_LENGTH => Err(MessageError::TooLong(length)),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl Default for DenyMessage {
    fn default() -> Self {
        Self("Your VPN access is suspended. Please contact your IT department.".to_owned())
    }
}

/// An answer that Client VPN takes, whatever the request was: every field that its version requires, and no message
/// longer than allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectAnswer {
    version: SchemaVersion,
    refusal: Option<DenyMessage>,
}

impl ConnectAnswer {
    /// Lets the client in.
    #[must_use]
    pub fn allow(version: SchemaVersion) -> Self {
        Self { version, refusal: None }
    }

    /// Keeps the client out.
    #[must_use]
    pub fn deny(version: SchemaVersion, message: DenyMessage) -> Self {
        Self { version, refusal: Some(message) }
    }

    /// Whether the client is let in.
    #[must_use]
    pub fn allows(&self) -> bool {
        self.refusal.is_none()
    }
}

impl Serialize for ConnectAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.refusal.as_ref().map_or("", |message| message.0.as_str());
        let mut fields = serializer.serialize_map(Some(4))?;
        fields.serialize_entry("allow", &self.allows())?;
        fields.serialize_entry(self.version.message_field(), message)?;
        fields.serialize_entry::<_, [&str; 0]>("posture-compliance-statuses", &[])?;
        fields.serialize_entry("schema-version", &self.version)?;
        fields.end()
    }
}
