//! The configuration of the `revoker` function.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use revocation::alias::Aliases;
use revocation::connection::EndpointId;
use revocation::intake::{Intake, RulesError};
use revocation::policy::Policy;
use revocation::signal::EVENT_COMMANDS;

use crate::environment::{self, Reader, SettingsError};
use crate::targets::{self, TargetSettings};

/// The configuration of the `revoker` function.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The locks table's name or ARN.
    pub locks_table: String,
    /// The audit table's name or ARN.
    pub audit_table: String,
    /// The Region of the function and its endpoints.
    pub region: String,
    /// The accounts and Regions to act in.
    pub targets: Vec<TargetSettings>,
    /// What may be done.
    pub policy: Policy,
    /// How events are read.
    pub intake: Arc<Intake>,
    /// The identity store to ask for names.
    pub identity_store: Option<String>,
    /// Its Region: IAM Identity Center has one home, often not the VPN's.
    pub identity_store_region: String,
}

impl Settings {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// One error that lists everything wrong or missing.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(environment::ours())
    }

    /// Reads variables by name. A value that begins with `@` is the path of a file that holds it.
    ///
    /// # Errors
    /// One error that lists everything wrong or missing.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, SettingsError> {
        let (mut reader, default) = (Reader::new(variables), Policy::default());
        let settings = Self {
            locks_table: reader.required("LOCKS_TABLE"),
            audit_table: reader.required("AUDIT_TABLE"),
            region: reader.region(),
            targets: Vec::new(),
            policy: Policy {
                mode: reader.mode(),
                protected: reader.protected(),
                endpoints: reader.endpoints(),
                max_connections: reader.count("MAX_CONNECTIONS", default.max_connections, 1..=100_000),
                max_subjects: reader.count("MAX_SUBJECTS", default.max_subjects, 1..=10_000),
                settle: reader.seconds("SETTLE_SECONDS", default.settle, 0..=600),
                verify: reader.seconds("VERIFY_SECONDS", default.verify, 0..=840),
                event_commands: reader.event_commands(),
                sweep_directory: reader.count("SWEEP_DIRECTORY", default.sweep_directory, 0..=1000),
                aliases: reader.aliases(),
            },
            intake: reader.intake(),
            identity_store: reader.identity_store(),
            identity_store_region: String::new(),
        };
        let identity_store_region = reader.value("IDENTITY_STORE_REGION").unwrap_or_else(|| settings.region.clone());
        let targets = reader.targets(&settings.region);
        let settings = Self { identity_store_region, targets, ..settings };
        reader.check_tables(&settings.locks_table, &settings.audit_table, &settings.region);
        reader.finish(settings)
    }

    /// The Region of the tables: an ARN names its own.
    pub(crate) fn table_region(&self) -> &str {
        environment::region_of(&self.locks_table, &self.region)
    }
}

/// What only this function reads.
impl Reader {
    fn endpoints(&mut self) -> Vec<EndpointId> {
        let ids = self.list("ENDPOINTS").unwrap_or_default();
        for id in ids.iter().filter(|id| !id.starts_with("cvpn-endpoint-")) {
            self.wrong("ENDPOINTS", format!("has `{id}`; endpoint ids look like cvpn-endpoint-…"));
        }
        ids.iter().map(|id| EndpointId::new(id)).collect()
    }

    fn count(&mut self, name: &str, default: usize, range: RangeInclusive<u64>) -> usize {
        self.number(name, default as u64, range) as usize
    }

    fn seconds(&mut self, name: &str, default: Duration, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, default.as_secs(), range))
    }

    fn number(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let Some(text) = self.value(name) else { return default };
        match text.parse::<u64>() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.wrong(name, format!("is `{text}`; give a whole number from {} to {}", range.start(), range.end()));
                default
            }
        }
    }

    fn aliases(&mut self) -> Aliases {
        let text = self.value("ALIASES").unwrap_or_default();
        Aliases::parse(&text).unwrap_or_else(|mistakes| {
            for mistake in mistakes {
                self.wrong("ALIASES", format!("has a mistake: {mistake}"));
            }
            Aliases::default()
        })
    }

    /// The built-in rules, with the user's own over them.
    fn intake(&mut self) -> Arc<Intake> {
        let path = self.value("RULES");
        let own = match path.as_deref().map(|path| std::fs::read_to_string(path).map(|text| (path, text))) {
            None => None,
            Some(Ok(own)) => Some(own),
            Some(Err(error)) => {
                self.wrong(
                    "RULES",
                    format!("is to be the path of a file, without `@`, and that can't be read: {error}"),
                );
                None
            }
        };
        let own = own.as_ref().map(|(path, text)| (*path, text.as_str()));
        Arc::new(Intake::with_rules(own).unwrap_or_else(|error: RulesError| {
            self.wrong("RULES", format!("has mistakes: {error}"));
            // What is wrong with the rest is said as well; with a mistake nothing starts.
            Intake::default()
        }))
    }

    fn targets(&mut self, region: &str) -> Vec<TargetSettings> {
        let Some(text) = self.value("TARGETS") else { return vec![TargetSettings::own(region)] };
        targets::parse(&text).unwrap_or_else(|mistakes| {
            mistakes.into_iter().for_each(|mistake| self.wrong("TARGETS", mistake));
            Vec::new()
        })
    }

    fn identity_store(&mut self) -> Option<String> {
        let id = self.value("IDENTITY_STORE_ID")?;
        // https://docs.aws.amazon.com/singlesignon/latest/IdentityStoreAPIReference/API_DescribeUser.html
        let rest = id.strip_prefix("d-").unwrap_or(&id);
        if rest.is_empty() || !rest.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c) || c == '-') {
            self.wrong("IDENTITY_STORE_ID", format!("is `{id}`; identity store ids look like d-1234567890"));
        }
        Some(id)
    }

    fn event_commands(&mut self) -> Vec<String> {
        let Some(words) = self.list("EVENT_COMMANDS") else { return Policy::default().event_commands };
        for word in words.iter().filter(|word| !EVENT_COMMANDS.contains(&word.as_str())) {
            self.wrong("EVENT_COMMANDS", format!("has `{word}`; commands are {}", EVENT_COMMANDS.join(", ")));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use revocation::policy::Mode;

    use super::*;
    use crate::environment::NOT_UNICODE;

    fn read(extra: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let base =
            [("VPN_REVOKER_LOCKS_TABLE", "locks"), ("VPN_REVOKER_AUDIT_TABLE", "audit"), ("AWS_REGION", "eu-west-1")];
        Settings::read(base.iter().chain(extra).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.policy.mode, Mode::Enforce);
        assert_eq!((settings.policy.max_connections, settings.policy.max_subjects), (25, 50));
        assert_eq!(settings.policy.sweep_directory, 0);
        assert!(settings.policy.protected.is_empty() && settings.identity_store.is_none());
        assert_eq!(settings.targets.len(), 1);
        assert_eq!((settings.policy.settle.as_secs(), settings.policy.verify.as_secs()), (10, 60));
        assert_eq!(settings.policy.event_commands, ["revoke", "disconnect"]);
        assert!(settings.policy.endpoints.is_empty());
    }

    #[test]
    fn every_mistake_is_said_at_once() {
        let mistakes = [
            ("VPN_REVOKER_AUDIT_TABLE", ""),
            ("VPN_REVOKER_LOCKS_TABLE", "locks\" WHERE"),
            ("AWS_REGION", " "),
            ("VPN_REVOKER_MODE", "audit"),
            ("VPN_REVOKER_PROTECTED", "ceo,*"),
            ("VPN_REVOKER_ENDPOINTS", "vpn-1"),
            ("VPN_REVOKER_TARGETS", "[]"),
            ("VPN_REVOKER_MAX_CONNECTIONS", "many"),
            ("VPN_REVOKER_MAX_SUBJECTS", "0"),
            ("VPN_REVOKER_SWEEP_DIRECTORY", "all"),
            ("VPN_REVOKER_SETTLE_SECONDS", "-1"),
            ("VPN_REVOKER_VERIFY_SECONDS", "86400"),
            ("VPN_REVOKER_EVENT_COMMANDS", "revoke,explode"),
            ("VPN_REVOKER_ALIASES", "*: {local}"),
            ("VPN_REVOKER_RULES", "/does/not/exist.json"),
            ("VPN_REVOKER_IDENTITY_STORE_ID", "d-90ABCDEF12"),
            ("VPN_REVOKER_PROTECTD", "alice"),
        ];
        let error = read(&mistakes).unwrap_err();
        for (name, _) in mistakes {
            assert!(error.to_string().contains(name), "{name} is not in: {error}");
        }
        assert_eq!(error.0.len(), mistakes.len(), "{error}");
    }

    #[test]
    fn a_value_may_stand_in_a_file() {
        let path = std::env::temp_dir().join(format!("vpn-revoker-settings-{}", std::process::id()));
        std::fs::write(&path, "ceo@example.com, svc-*\n").unwrap();
        let settings = read(&[("VPN_REVOKER_PROTECTED", &format!("@{}", path.display()))]).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(settings.policy.protected.covers(&revocation::name::Name::new("svc-backup").unwrap()));
        let error = read(&[("VPN_REVOKER_AUDIT_TABLE", "@/does/not/exist")]).unwrap_err();
        assert_eq!(error.0.len(), 1);
        assert!(error.to_string().contains("/does/not/exist"));
    }

    #[test]
    fn rules_of_ones_own_are_checked_at_the_start() {
        let path = std::env::temp_dir().join(format!("vpn-revoker-rules-{}.json", std::process::id()));
        let with = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&[("VPN_REVOKER_RULES", &path.display().to_string())])
        };
        let settings = with(r#"{"on":["okta-account-locked"]}"#).unwrap();
        let error = with(r#"{"on":["okta-acount-locked"]}"#).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(settings.intake.rules().any(|rule| rule.name == "okta-account-locked" && rule.on));
        assert!(error.contains("`okta-acount-locked`"), "{error}");
    }

    #[test]
    fn a_list_of_nothing_is_no_list() {
        for name in ["VPN_REVOKER_ENDPOINTS", "VPN_REVOKER_PROTECTED", "VPN_REVOKER_EVENT_COMMANDS"] {
            assert!(read(&[(name, " , ")]).unwrap_err().to_string().contains(name));
            assert!(read(&[(name, NOT_UNICODE)]).unwrap_err().to_string().contains(name));
            assert!(read(&[(name, "")]).is_ok(), "an empty parameter of a template stands for the default");
        }
        assert!(read(&[("VPN_REVOKER_AUDIT_TABLE", "locks")]).is_err());
    }

    #[test]
    fn the_connect_handlers_variables_are_none_of_our_business() {
        assert!(read(&[("VPN_REVOKER_ON_ERROR", "allow"), ("VPN_REVOKER_DENY_MESSAGE", "no")]).is_ok());
    }

    #[test]
    fn tables_may_be_arns_and_must_share_a_region() {
        let arn = |region: &str, name: &str| format!("arn:aws:dynamodb:{region}:111122223333:table/{name}");
        let (locks, audit) = (arn("us-east-1", "locks"), arn("us-east-1", "audit"));
        let settings = read(&[("VPN_REVOKER_LOCKS_TABLE", &locks), ("VPN_REVOKER_AUDIT_TABLE", &audit)]).unwrap();
        assert_eq!(settings.table_region(), "us-east-1");
        assert!(read(&[("VPN_REVOKER_LOCKS_TABLE", &locks)]).is_err());
    }
}
