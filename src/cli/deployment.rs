//! What is deployed: the function, its configuration, and the tables.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::Region;
use aws_config::timeout::TimeoutConfig;
use clap::Args;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::CliError;
use super::aws::Aws;
use super::function::Function;
use super::output::shown;
use crate::arn;
use crate::environment::region_of;
use crate::{DynamoAudit, DynamoLocks, Settings};

/// The function answers within its timeout of two minutes.
const ANSWERS_WITHIN: Duration = Duration::from_secs(150);
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);

/// What of the configuration says which tables, and where to look for connections. A command that only looks needs no
/// more of it, and a file that is only in the function is not in its way.
const TABLES: [&str; 2] = ["LOCKS_TABLE", "AUDIT_TABLE"];
const WHERE: [&str; 4] = ["LOCKS_TABLE", "AUDIT_TABLE", "TARGETS", "ENDPOINTS"];

/// What a file has to say of, even if it is nothing, before the function's code is run here by it: a default would know
/// nobody who is protected, and no other account.
const NEEDED: [&str; 7] = ["LOCKS_TABLE", "AUDIT_TABLE", "MODE", "TARGETS", "ENDPOINTS", "PROTECTED", "ALIASES"];

/// Where vpn-revoker is deployed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Deployment (without any of these: the only one there is in the Region)")]
pub(super) struct Deployment {
    /// The stack: its function, and that function's tables. Counts for more than what follows
    #[arg(long, global = true, value_name = "NAME")]
    stack: Option<String>,
    /// The deployed function's name or ARN; output RevokerArn of the stack
    #[arg(long, global = true, value_name = "NAME", env = "VPN_REVOKER_FUNCTION")]
    function: Option<String>,
    /// The locks table, where not the function's own
    #[arg(long, global = true, value_name = "NAME", env = "VPN_REVOKER_LOCKS_TABLE")]
    locks_table: Option<String>,
    /// The audit table, where not the function's own
    #[arg(long, global = true, value_name = "NAME", env = "VPN_REVOKER_AUDIT_TABLE")]
    audit_table: Option<String>,
    /// A file with the function's configuration instead of asking for it, as JSON: {"VPN_REVOKER_LOCKS_TABLE": "…", …}
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "stack")]
    config: Option<PathBuf>,
    /// The only function there is, once it was looked for.
    #[arg(skip)]
    only: OnceCell<String>,
    /// The configuration, once it was asked for.
    #[arg(skip)]
    known: OnceCell<Configuration>,
}

/// The tables' names or ARNs.
pub(super) struct Names {
    pub(super) locks: String,
    pub(super) audit: String,
    /// The Region of a name that is no ARN.
    region: String,
}

/// A configuration, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Configuration {
    /// The function, or the file.
    pub(super) of: String,
    /// The function's ARN; none for a file.
    pub(super) arn: Option<String>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) region: String,
}

impl Deployment {
    pub(super) async fn audit(&self, aws: &Aws) -> Result<DynamoAudit, CliError> {
        let (names, client) = self.connected(aws).await?;
        Ok(DynamoAudit::new(client, &names.audit, &names.locks))
    }

    pub(super) async fn locks(&self, aws: &Aws) -> Result<DynamoLocks, CliError> {
        // Whoever names a locks table and looks only there needs no audit table.
        let names = match self.tables() {
            (Some(locks), None) => {
                self.hold_against_the_function(aws).await?;
                Names { locks: locks.to_owned(), audit: String::new(), region: aws.region().await? }
            }
            _ => self.names(aws).await?,
        };
        Ok(DynamoLocks::new(client(aws, &names).await?, &names.locks))
    }

    /// Both tables' names, and a client that reaches them.
    pub(super) async fn connected(&self, aws: &Aws) -> Result<(Names, aws_sdk_dynamodb::Client), CliError> {
        let names = self.names(aws).await?;
        let client = client(aws, &names).await?;
        Ok((names, client))
    }

    /// The tables that are named, unless a stack or a file says which.
    fn tables(&self) -> (Option<&str>, Option<&str>) {
        match (&self.stack, &self.config) {
            (None, None) => (self.locks_table.as_deref(), self.audit_table.as_deref()),
            _ => (None, None),
        }
    }

    async fn names(&self, aws: &Aws) -> Result<Names, CliError> {
        match self.tables() {
            (Some(locks), Some(audit)) => {
                self.hold_against_the_function(aws).await?;
                Ok(Names { locks: locks.to_owned(), audit: audit.to_owned(), region: aws.region().await? })
            }
            (Some(_), None) | (None, Some(_)) => Err(CliError::Usage(
                "give both --locks-table and --audit-table, or neither to take the function's".to_owned(),
            )),
            (None, None) => {
                let configuration = self.configuration(aws).await?;
                let settings = configuration.some(&TABLES)?;
                Ok(Names {
                    locks: settings.locks_table,
                    audit: settings.audit_table,
                    region: configuration.region.clone(),
                })
            }
        }
    }

    /// Where a function is named beside tables, which a shell may export, they have to be one deployment's.
    async fn hold_against_the_function(&self, aws: &Aws) -> Result<(), CliError> {
        if self.function.is_some() {
            self.configuration(aws).await?;
        }
        Ok(())
    }

    /// The deployed function.
    pub(super) async fn function(&self, aws: &Aws) -> Result<Function, CliError> {
        if self.config.is_some() {
            return Err(CliError::Usage(
                "--config takes the place of the function's configuration, and this goes to the function itself; leave it out, or say --local".to_owned(),
            ));
        }
        // A call that was cut off may be made again: the command carries an id, so it is the same one.
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECTS_WITHIN).operation_attempt_timeout(ANSWERS_WITHIN);
        let client = aws_sdk_lambda::Client::new(&aws.config(timeouts.build()).await?);
        match (&self.stack, &self.function) {
            (Some(stack), _) => Ok(Function::named(client, &format!("{stack}-revoker"))),
            (None, Some(name)) => Ok(Function::named(client, name)),
            (None, None) => {
                let name = self.only.get_or_try_init(|| self.find_the_only_one(client.clone(), aws)).await?;
                Ok(Function::named(client, name))
            }
        }
    }

    async fn find_the_only_one(&self, client: aws_sdk_lambda::Client, aws: &Aws) -> Result<String, CliError> {
        let found = Function::the_only_one(client).await?;
        // Whoever names tables means the function that they belong to, which may be in another Region.
        if self.tables() != (None, None) {
            self.agree(&found.configuration().await?, &aws.region().await?)?;
        }
        Ok(found.name)
    }

    /// The function's configuration, or that of the file; asked for once.
    pub(super) async fn configuration(&self, aws: &Aws) -> Result<&Configuration, CliError> {
        self.known.get_or_try_init(|| Box::pin(self.read_configuration(aws))).await
    }

    async fn read_configuration(&self, aws: &Aws) -> Result<Configuration, CliError> {
        let Some(path) = &self.config else {
            let configuration = self.function(aws).await?.configuration().await?;
            self.agree(&configuration, &aws.region().await?)?;
            return Ok(configuration);
        };
        let failed = |error| CliError::File { path: path.display().to_string(), error };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let variables = variables(&path.display().to_string(), &text)?;
        let region = match variables.get("AWS_REGION").filter(|region| !region.is_empty()) {
            Some(region) => region.clone(),
            None => aws.region().await?,
        };
        Ok(Configuration { of: path.display().to_string(), arn: None, variables, region })
    }

    /// Looking at one deployment's tables and acting in another would be worse than doing nothing.
    fn agree(&self, configuration: &Configuration, region: &str) -> Result<(), CliError> {
        let (locks, audit) = self.tables();
        for (named, name) in [(locks, "VPN_REVOKER_LOCKS_TABLE"), (audit, "VPN_REVOKER_AUDIT_TABLE")] {
            let own = configuration.variables.get(name).map(String::as_str).unwrap_or_default();
            let is_other = |named: &&str| !is_same_table((named, region), (own, &configuration.region));
            if let Some(named) = named.filter(is_other) {
                return Err(CliError::Usage(format!(
                    "the table {} was named, and {} has {}; name the function that goes with the table, or no table (is {name} exported?)",
                    shown(named),
                    shown(&configuration.of),
                    shown(own)
                )));
            }
        }
        Ok(())
    }

    /// Where to look: tables, targets and endpoints. Whoever names both tables and no function looks in the own account
    /// and Region.
    pub(super) async fn scope(&self, aws: &Aws) -> Result<Settings, CliError> {
        if let ((Some(locks), Some(audit)), None) = (self.tables(), &self.function) {
            let tables = [("VPN_REVOKER_LOCKS_TABLE", locks), ("VPN_REVOKER_AUDIT_TABLE", audit)];
            let variables = tables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let region = ("AWS_REGION".to_owned(), aws.region().await?);
            return Settings::read(variables.into_iter().chain([region]))
                .map_err(|error| CliError::Usage(error.to_string()));
        }
        self.configuration(aws).await?.some(&WHERE)
    }
}

/// Whether two names or ARNs mean one table; each with the Region that counts where it is no ARN.
pub(super) fn is_same_table(one: (&str, &str), other: (&str, &str)) -> bool {
    let name = |text: &str| text.rsplit_once(":table/").map_or(text, |(_, name)| name).to_owned();
    let account = |text: &str| text.starts_with("arn:").then(|| arn::account(text).to_owned());
    let accounts = [account(one.0), account(other.0)];
    // A name alone is in the account of whoever asks, which nobody said.
    let same_account = matches!(&accounts, [Some(one), Some(other)] if one == other) || accounts.contains(&None);
    name(one.0) == name(other.0) && region_of(one.0, one.1) == region_of(other.0, other.1) && same_account
}

impl Configuration {
    /// Whether it names files, which are in the function and not here.
    pub(super) fn has_files(&self) -> bool {
        let names_file = |(name, value): (&String, &String)| {
            name.starts_with("VPN_REVOKER_")
                && (value.starts_with('@') || name.ends_with("_RULES") && !value.is_empty())
        };
        self.variables.iter().any(names_file)
    }

    /// All settings.
    pub(super) fn all(&self) -> Result<Settings, CliError> {
        self.read(|_| true)
    }

    /// The settings of these variables alone. A file of the function's is not on this machine, and one of the same path may
    /// be another's.
    fn some(&self, wanted: &[&str]) -> Result<Settings, CliError> {
        let is_file = |name: &String| self.variables.get(name).is_some_and(|value| value.trim().starts_with('@'));
        let mut names = wanted.iter().map(|name| format!("VPN_REVOKER_{name}"));
        if let Some(name) = names.find(|name| self.arn.is_some() && is_file(name)) {
            return Err(CliError::Unfit(format!(
                "{} has {name} in a file of its own, which is not on this machine; give --config FILE with its content in its place (to `handler`, name the handler with --handler as well)",
                shown(&self.of)
            )));
        }
        self.read(|name| wanted.contains(&name))
    }

    /// All settings, to run the function's code here by them. Whatever can't be the function's own is refused.
    pub(super) fn to_run_here(&self) -> Result<Settings, CliError> {
        let of = shown(&self.of);
        if self.arn.is_some() && self.has_files() {
            return Err(CliError::Unfit(format!(
                "{of} has values in files of its own, which are not on this machine; give --config FILE with their content in their place"
            )));
        }
        let missing: Vec<&str> = (NEEDED.into_iter())
            .filter(|name| self.arn.is_none() && !self.variables.contains_key(&format!("VPN_REVOKER_{name}")))
            .collect();
        if !missing.is_empty() {
            return Err(CliError::Unfit(format!(
                "{of} says nothing of VPN_REVOKER_{}; give the function's whole configuration (an empty text stands for nothing)",
                missing.join(", VPN_REVOKER_")
            )));
        }
        let settings = self.all()?;
        let table_region = settings.table_region();
        let names_targets = self.variables.get("VPN_REVOKER_TARGETS").is_some_and(|targets| !targets.is_empty());
        // Of a function its Region is certain; of a file it is the shell's, unless it says so.
        if self.arn.is_none() && !names_targets && table_region != self.region {
            return Err(CliError::Unfit(format!(
                "{of} has its tables in {table_region} and names no targets, and this would look in {}; give --region, or AWS_REGION in the file",
                self.region
            )));
        }
        Ok(settings)
    }

    fn read(&self, wanted: impl Fn(&str) -> bool) -> Result<Settings, CliError> {
        let ours = |name: &String| name.strip_prefix("VPN_REVOKER_").is_some_and(&wanted);
        let variables = self.variables.iter().filter(|(name, _)| ours(name));
        let variables = variables.map(|(name, value)| (name.clone(), value.clone()));
        let region = [("AWS_REGION".to_owned(), self.region.clone())];
        Settings::read(variables.chain(region))
            .map_err(|error| CliError::Unfit(format!("{}: {error}", shown(&self.of))))
    }
}

/// A client for the Region that the tables are in.
async fn client(aws: &Aws, names: &Names) -> Result<aws_sdk_dynamodb::Client, CliError> {
    let config = aws.config(crate::aws::timeouts()).await?;
    let region = Region::new(region_of(&names.locks, &names.region).to_owned());
    Ok(aws_sdk_dynamodb::Client::from_conf(crate::aws::tables(&config).region(region).build()))
}

/// The variables in a file; numbers as well as texts.
fn variables(path: &str, text: &str) -> Result<BTreeMap<String, String>, CliError> {
    let unfit = |why: &str| {
        CliError::Unfit(format!(
            "{path} {why}; `aws lambda get-function-configuration --function-name … --query Environment.Variables` writes such a file"
        ))
    };
    let value: Value = serde_json::from_str(text).map_err(|error| unfit(&format!("is no JSON: {error}")))?;
    let Value::Object(fields) = value else { return Err(unfit("is no JSON object")) };
    let variable = |(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        _ => Err(unfit(&format!("has no text for {name}"))),
    };
    fields.into_iter().map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_the_same_by_name_and_by_arn_and_nowhere_else() {
        let arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/locks";
        let others = arn.replace("1111", "4444");
        let same = |one, other| is_same_table(one, other) && is_same_table(other, one);
        assert!(same(("locks", "eu-west-1"), ("locks", "eu-west-1")));
        assert!(same((arn, "us-east-1"), ("locks", "eu-west-1")));
        assert!(!same(("locks", "us-east-1"), ("locks", "eu-west-1")), "another Region");
        assert!(!same((arn, ""), ("locks", "us-east-1")), "another Region");
        assert!(!same((arn, ""), (&others, "")), "another account");
        assert!(!same(("locks", "eu-west-1"), ("audit", "eu-west-1")));
    }
}
