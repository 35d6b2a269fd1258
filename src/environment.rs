//! Environment variables, as both functions read them. Everything that is wrong with them is said at once.

use std::collections::BTreeMap;
use std::fmt;

use revocation::policy::{Mode, Protected};

use crate::arn;

const PREFIX: &str = "VPN_REVOKER_";

/// Everything that one of the functions reads. Each passes over what only the other one reads, so that both may share an
/// environment.
const KNOWN: [&str; 18] = [
    "LOCKS_TABLE",
    "AUDIT_TABLE",
    "MODE",
    "TARGETS",
    "ENDPOINTS",
    "PROTECTED",
    "MAX_CONNECTIONS",
    "MAX_SUBJECTS",
    "SETTLE_SECONDS",
    "VERIFY_SECONDS",
    "EVENT_COMMANDS",
    "SWEEP_DIRECTORY",
    "ALIASES",
    "RULES",
    "IDENTITY_STORE_ID",
    "IDENTITY_STORE_REGION",
    "ON_ERROR",
    "DENY_MESSAGE",
];

/// Stands for a value that is no Unicode; no value that is right holds it.
pub(crate) const NOT_UNICODE: &str = "\u{fffd}";

/// Everything that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(pub(crate) Vec<String>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mistakes = if self.0.len() == 1 { "mistake" } else { "mistakes" };
        write!(f, "the configuration has {} {mistakes}: {}", self.0.len(), self.0.join("; "))
    }
}

impl std::error::Error for SettingsError {}

/// The variables of the process that are ours.
pub(crate) fn ours() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(key, value)| {
        let key = key.into_string().ok()?;
        let wanted = key.starts_with(PREFIX) || key == "AWS_REGION" || key == "AWS_DEFAULT_REGION";
        // What is no Unicode stays recognisable as wrong.
        wanted.then(|| (key, value.into_string().unwrap_or_else(|_| NOT_UNICODE.to_owned())))
    })
}

/// The Region of a table: an ARN names its own.
pub(crate) fn region_of<'a>(table: &'a str, own: &'a str) -> &'a str {
    arn_region(table).unwrap_or(own)
}

/// The Region in a table's ARN, `arn:aws:dynamodb:eu-west-1:111122223333:table/name`.
fn arn_region(table: &str) -> Option<&str> {
    table.starts_with("arn:").then(|| arn::region(table)).filter(|region| !region.is_empty())
}

/// Reads variables by name, and collects what is wrong with them.
pub(crate) struct Reader {
    variables: BTreeMap<String, String>,
    wrong: Vec<String>,
}

impl Reader {
    /// A reader of these variables. One that is unknown is wrong.
    pub(crate) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut reader = Self { variables: variables.into_iter().collect(), wrong: Vec::new() };
        reader.check_names();
        reader
    }

    /// What was read, unless anything was wrong.
    pub(crate) fn finish<T>(self, read: T) -> Result<T, SettingsError> {
        if self.wrong.is_empty() { Ok(read) } else { Err(SettingsError(self.wrong)) }
    }

    /// Notes a mistake.
    pub(crate) fn wrong(&mut self, name: &str, problem: impl fmt::Display) {
        self.wrong.push(format!("{PREFIX}{name} {problem}"));
    }

    /// A misspelt name would silently leave its default in force, which may cut off whom it was to protect.
    fn check_names(&mut self) {
        let names = self.variables.keys().filter_map(|key| key.strip_prefix(PREFIX));
        let unknown: Vec<String> = names.filter(|name| !KNOWN.contains(name)).map(str::to_owned).collect();
        for name in unknown {
            self.wrong(&name, "is not known to this version; correct its name or remove it");
        }
    }

    /// A variable's value, or that of the file that it names.
    pub(crate) fn value(&mut self, name: &str) -> Option<String> {
        let value = self.variables.get(&format!("{PREFIX}{name}"))?.trim().to_owned();
        if value == NOT_UNICODE {
            self.wrong(name, "is no Unicode text");
            return None;
        }
        match value.strip_prefix('@') {
            None => Some(value).filter(|value| !value.is_empty()),
            Some(path) => match std::fs::read_to_string(path) {
                Ok(content) if content.trim().is_empty() => {
                    self.wrong(name, format!("names the file {path}, which is empty"));
                    None
                }
                Ok(content) => Some(content.trim().to_owned()),
                Err(error) => {
                    self.wrong(name, format!("names the file {path}, which can't be read: {error}"));
                    None
                }
            },
        }
    }

    /// A table's name or ARN.
    pub(crate) fn required(&mut self, name: &str) -> String {
        let mistakes = self.wrong.len();
        let value = self.value(name).unwrap_or_default();
        if value.is_empty() && self.wrong.len() == mistakes {
            self.wrong(name, "is missing; give the table's name or ARN");
        }
        // It stands between quotes in PartiQL statements.
        if !value.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:/".contains(c)) {
            self.wrong(name, "is neither a table's name nor its ARN");
        }
        value
    }

    /// The Region that the function runs in.
    pub(crate) fn region(&mut self) -> String {
        let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|key| self.variables.get(*key)).cloned();
        let region = region.filter(|region| !region.trim().is_empty());
        if region.is_none() {
            self.wrong.push("AWS_REGION is missing; Lambda sets it, elsewhere set it yourself".to_owned());
        }
        region.unwrap_or_default()
    }

    /// `MODE`.
    pub(crate) fn mode(&mut self) -> Mode {
        match self.value("MODE").as_deref() {
            None | Some("enforce") => Mode::Enforce,
            Some("shadow") => Mode::Shadow,
            Some(other) => {
                self.wrong("MODE", format!("is `{other}`; give `enforce` or `shadow`"));
                Mode::Shadow
            }
        }
    }

    /// `PROTECTED`.
    pub(crate) fn protected(&mut self) -> Protected {
        let list = self.list("PROTECTED").unwrap_or_default().join(",");
        Protected::parse(&list).unwrap_or_else(|mistakes| {
            for mistake in mistakes {
                self.wrong("PROTECTED", format!("has a mistake: {mistake}"));
            }
            Protected::default()
        })
    }

    /// A comma-separated list.
    pub(crate) fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.value(name)?;
        let items: Vec<String> =
            value.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect();
        if items.is_empty() {
            // A list that was meant to narrow something must not end up as no list.
            self.wrong(name, format!("is `{value}`, which lists nothing; fill it or remove it"));
        }
        Some(items)
    }

    /// Checks that the two tables can be written in one transaction.
    pub(crate) fn check_tables(&mut self, locks_table: &str, audit_table: &str, region: &str) {
        let [locks, audit] = [locks_table, audit_table].map(|table| region_of(table, region));
        if locks_table == audit_table && !locks_table.is_empty() {
            self.wrong("AUDIT_TABLE", "is the locks table; the two have different keys");
        }
        if locks != audit {
            self.wrong("AUDIT_TABLE", format!("is in {audit} and the locks table in {locks}; one transaction writes both, so they must share a Region"));
        }
    }
}
