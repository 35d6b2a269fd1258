//! The configuration of the `connect-handler` function.

use revocation::connect::{ConnectPolicy, DenyMessage, OnError};

use crate::environment::{self, Reader, SettingsError};

/// The configuration of the `connect-handler` function.
#[derive(Debug, Clone)]
pub struct ConnectSettings {
    /// The locks table's name or ARN.
    pub locks_table: String,
    /// The audit table's name or ARN.
    pub audit_table: String,
    /// The Region of the function and its endpoints.
    pub region: String,
    /// What may be done.
    pub policy: ConnectPolicy,
}

impl ConnectSettings {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// One error that lists everything wrong or missing.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(environment::ours())
    }

    /// Reads variables by name. A value that begins with `@` is the path of a file that holds it. What only the
    /// `revoker` function reads is passed over, right or wrong.
    ///
    /// # Errors
    /// One error that lists everything wrong or missing.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(variables);
        let settings = Self {
            locks_table: reader.required("LOCKS_TABLE"),
            audit_table: reader.required("AUDIT_TABLE"),
            region: reader.region(),
            policy: ConnectPolicy {
                mode: reader.mode(),
                protected: reader.protected(),
                on_error: reader.on_error(),
                message: reader.deny_message(),
            },
        };
        reader.check_tables(&settings.locks_table, &settings.audit_table, &settings.region);
        reader.finish(settings)
    }

    /// The Region of the tables: an ARN names its own.
    pub(super) fn table_region(&self) -> &str {
        environment::region_of(&self.locks_table, &self.region)
    }
}

/// What only this function reads.
impl Reader {
    fn on_error(&mut self) -> OnError {
        match self.value("ON_ERROR").as_deref() {
            None | Some("deny") => OnError::Deny,
            Some("allow") => OnError::Allow,
            Some(other) => {
                self.wrong("ON_ERROR", format!("is `{other}`; give `deny` or `allow`"));
                OnError::Deny
            }
        }
    }

    fn deny_message(&mut self) -> DenyMessage {
        let Some(text) = self.value("DENY_MESSAGE") else { return DenyMessage::default() };
        DenyMessage::new(&text).unwrap_or_else(|mistake| {
            self.wrong("DENY_MESSAGE", mistake);
            DenyMessage::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use revocation::policy::Mode;

    use super::*;

    fn read(extra: &[(&str, &str)]) -> Result<ConnectSettings, SettingsError> {
        let base =
            [("VPN_REVOKER_LOCKS_TABLE", "locks"), ("VPN_REVOKER_AUDIT_TABLE", "audit"), ("AWS_REGION", "eu-west-1")];
        ConnectSettings::read(base.iter().chain(extra).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_defaults_keep_out() {
        let policy = read(&[]).unwrap().policy;
        assert_eq!((policy.mode, policy.on_error), (Mode::Enforce, OnError::Deny));
        assert_eq!(policy.message, DenyMessage::default());
    }

    #[test]
    fn every_mistake_is_said_at_once() {
        let long = "x".repeat(256);
        let mistakes = [
            ("VPN_REVOKER_AUDIT_TABLE", ""),
            ("VPN_REVOKER_LOCKS_TABLE", "locks\" WHERE"),
            ("AWS_REGION", " "),
            ("VPN_REVOKER_MODE", "audit"),
            ("VPN_REVOKER_PROTECTED", "*"),
            ("VPN_REVOKER_ON_ERROR", "permit"),
            ("VPN_REVOKER_DENY_MESSAGE", &long),
            ("VPN_REVOKER_ON_EROR", "allow"),
        ];
        let error = read(&mistakes).unwrap_err();
        for (name, _) in mistakes {
            assert!(error.to_string().contains(name), "{name} is not in: {error}");
        }
        assert_eq!(error.0.len(), mistakes.len(), "{error}");
    }

    #[test]
    fn a_message_may_stand_in_a_file_and_is_held_to_the_same_rules() {
        let path = std::env::temp_dir().join(format!("vpn-revoker-message-{}", std::process::id()));
        let with = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&[("VPN_REVOKER_DENY_MESSAGE", &format!("@{}", path.display()))])
        };
        let one_line = with("Please call the help desk.\n");
        let two_lines = with("Please call\nthe help desk.\n");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(one_line.unwrap().policy.message, DenyMessage::new("Please call the help desk.").unwrap());
        assert!(two_lines.unwrap_err().to_string().contains("line break"));
    }

    #[test]
    fn what_only_the_revoker_reads_is_none_of_our_business() {
        let theirs = [("VPN_REVOKER_RULES", "/does/not/exist.json"), ("VPN_REVOKER_MAX_CONNECTIONS", "many")];
        assert!(read(&theirs).is_ok());
    }

    #[test]
    fn the_tables_may_be_in_another_region_than_the_function() {
        let arn = |name: &str| format!("arn:aws:dynamodb:us-east-1:111122223333:table/{name}");
        let (locks, audit) = (arn("locks"), arn("audit"));
        let settings = read(&[("VPN_REVOKER_LOCKS_TABLE", &locks), ("VPN_REVOKER_AUDIT_TABLE", &audit)]).unwrap();
        assert_eq!(settings.table_region(), "us-east-1");
    }
}
