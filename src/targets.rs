//! The accounts and Regions to act in, and the roles to assume there.

use aws_config::SdkConfig;
use aws_config::identity::IdentityCache;
use aws_config::sts::AssumeRoleProvider;
use aws_sdk_ec2::config::{Region, SharedCredentialsProvider};
use serde::Deserialize;

use crate::{Ec2, arn, aws};

/// How the sessions of assumed roles are named, in CloudTrail for one.
const SESSION: &str = "vpn-revoker";

/// What an external id may hold beside letters and digits
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).
const IN_EXTERNAL_ID: &str = "_+=,.@:/-";

/// One account and Region to act in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSettings {
    /// The Region.
    pub region: String,
    /// The role to assume there; without one, the function acts as itself.
    pub role_arn: Option<String>,
    /// What the role's trust policy may ask for, so that nobody else makes us act there.
    pub external_id: Option<String>,
}

impl TargetSettings {
    /// The function's own account, in this Region.
    #[must_use]
    pub fn own(region: &str) -> Self {
        Self { region: region.to_owned(), role_arn: None, external_id: None }
    }

    /// The account that the role is in.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.role_arn.as_deref().map(arn::account)
    }

    /// EC2 in this account and Region. No call is made before the first use: a role that can't be assumed is that
    /// target's failure and nobody else's.
    ///
    /// `config` says how EC2 is reached, and `sts` how STS is: the same, but in tests.
    pub async fn client(&self, config: &SdkConfig, sts: &SdkConfig) -> Ec2 {
        let region = Region::new(self.region.clone());
        let config = config.to_builder().region(region);
        let Some(role) = &self.role_arn else { return self.client_of(&config.build()) };
        // Of STS where the function is: in a Region that has to be enabled first, this account may not have done so.
        let mut provider = AssumeRoleProvider::builder(role).session_name(SESSION).configure(sts);
        if let Some(id) = &self.external_id {
            provider = provider.external_id(id);
        }
        let credentials = SharedCredentialsProvider::new(provider.build().await);
        // A cache of its own keeps the credentials over many calls and has new ones before they run out.
        let config = config.credentials_provider(credentials).identity_cache(IdentityCache::lazy().build());
        self.client_of(&config.build())
    }

    fn client_of(&self, config: &SdkConfig) -> Ec2 {
        let name = format!("{} {}", self.region, self.role_arn.as_deref().unwrap_or_default());
        let config = aws_sdk_ec2::config::Builder::from(config).retry_partition(aws::unlimited_retries(name));
        Ec2::new(aws_sdk_ec2::Client::from_conf(config.build()))
    }

    /// What is wrong with it, field by field.
    fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if !is_region(&self.region) {
            wrong.push(("region", format!("is `{}`; Regions look like eu-west-1", self.region)));
        }
        if self.role_arn.as_deref().is_some_and(|arn| !is_role(arn)) {
            wrong.push(("role_arn", "is no role; it must look like arn:aws:iam::111122223333:role/name".to_owned()));
        }
        match (&self.role_arn, &self.external_id) {
            (None, Some(_)) => wrong.push(("external_id", "goes with `role_arn` only".to_owned())),
            (_, Some(id)) if !is_external_id(id) => wrong.push((
                "external_id",
                format!("must have 2 to 1224 characters: letters, digits and any of {IN_EXTERNAL_ID}"),
            )),
            _ => {}
        }
        wrong
    }
}

/// Reads a list of targets, and says everything that is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<TargetSettings>, Vec<String>> {
    let targets: Vec<TargetSettings> = serde_json::from_str(text).map_err(|error| {
        vec![format!(r#"must be JSON such as [{{"region":"eu-west-1","role_arn":"…","external_id":"…"}}]: {error}"#)]
    })?;
    let mut wrong = Vec::new();
    if targets.is_empty() {
        wrong.push("names no target; leave it out for the function's own account and Region".to_owned());
    }
    for (number, target) in targets.iter().enumerate() {
        let mistakes = target.mistakes().into_iter();
        wrong.extend(mistakes.map(|(field, problem)| format!("has a mistake: [{number}].{field} {problem}")));
        let same = |other: &TargetSettings| other.region == target.region && other.account() == target.account();
        if targets.iter().take(number).any(same) {
            wrong.push(format!("has a mistake: [{number}] is the same account and Region as one before it"));
        }
    }
    if wrong.is_empty() { Ok(targets) } else { Err(wrong) }
}

fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let word = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    parts.len() >= 3 && parts.iter().all(word) && parts.last().is_some_and(|last| last.parse::<u8>().is_ok())
}

fn is_role(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, "iam", "", account, resource] => {
            let is_account = account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
            let name = resource.strip_prefix("role/").unwrap_or_default();
            !partition.is_empty() && is_account && !name.is_empty() && !name.contains(char::is_whitespace)
        }
        _ => false,
    }
}

fn is_external_id(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || IN_EXTERNAL_ID.contains(c);
    (2..=1224).contains(&text.chars().count()) && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::444455556666:role/path/vpn-revoker";

    #[test]
    fn targets_may_have_roles_and_external_ids() {
        let text = format!(
            r#"[{{"region":"eu-west-1"}},{{"region":"us-gov-west-1","role_arn":"{ROLE}","external_id":"a.b@c:1"}}]"#
        );
        let targets = parse(&text).unwrap();
        assert_eq!(targets[0], TargetSettings::own("eu-west-1"));
        assert_eq!((targets[1].account(), targets[0].account()), (Some("444455556666"), None));
    }

    #[test]
    fn every_mistake_names_its_target_and_field() {
        let text = r#"[{"region":"Ireland"},{"region":"eu-west-1","role_arn":"arn:aws:iam::1:role/x"},
            {"region":"eu-west-2","external_id":"xx"},{"region":"eu-west-3","role_arn":"arn:aws:iam::444455556666:role/x","external_id":"x y"},
            {"region":"eu-west-3","role_arn":"arn:aws:iam::444455556666:role/other"}]"#;
        let wrong = parse(text).unwrap_err();
        for (wrong, expected) in
            wrong.iter().zip(["[0].region", "[1].role_arn", "[2].external_id", "[3].external_id", "[4] is the same"])
        {
            assert!(wrong.contains(expected), "{wrong} for {expected}");
        }
        assert_eq!(wrong.len(), 5, "{wrong:?}");
        for text in ["", "[]", "{}", r#"[{"regoin":"eu-west-1"}]"#] {
            assert_eq!(parse(text).unwrap_err().len(), 1, "{text}");
        }
    }
}
