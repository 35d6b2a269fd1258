//! [`Directory`] on IAM Identity Center's identity store.

use async_trait::async_trait;
use aws_sdk_identitystore::Client;
use aws_sdk_identitystore::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_identitystore::operation::describe_user::DescribeUserError;
use aws_sdk_identitystore::operation::get_user_id::GetUserIdError;
use aws_sdk_identitystore::types::error::ResourceNotFoundException;
use aws_sdk_identitystore::types::{AlternateIdentifier, Email, ResourceType, UniqueAttribute, User, UserStatus};
use revocation::ports::{Directory, DirectoryError, NameKind, PageToken, Person};

use crate::failure;

/// No user name there has more characters than this.
const MAX_USER_NAME: usize = 128;

/// One identity store.
#[derive(Debug, Clone)]
pub struct IdentityStore {
    client: Client,
    id: String,
}

impl IdentityStore {
    /// The identity store of this id.
    #[must_use]
    pub fn new(client: Client, id: &str) -> Self {
        Self { client, id: id.to_owned() }
    }

    fn error<E, R>(&self, error: &SdkError<E, R>) -> DirectoryError
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        R: std::fmt::Debug,
    {
        let why = failure::why(error);
        let next = match error.code() {
            Some("AccessDeniedException") => {
                "allow identitystore:DescribeUser, GetUserId and ListUsers to the function's role, and kms:Decrypt where the store has a key of its own"
            }
            Some("ResourceNotFoundException") => {
                "check VPN_REVOKER_IDENTITY_STORE_ID, VPN_REVOKER_IDENTITY_STORE_REGION and the store's encryption key"
            }
            Some("ValidationException") => "it takes no such id or name; send a command with the name that the VPN has",
            _ => "it is tried again",
        };
        DirectoryError(format!("identity store {} could not be asked: {why}; {next}", self.id))
    }
}

/// Whether the directory says that there is no such user, and not that it can't find the store or its key.
fn is_no_user(error: &ResourceNotFoundException) -> bool {
    error.resource_type() == Some(&ResourceType::User) && error.reason().is_none()
}

/// Whether a user there can be called so: letters, marks, symbols, digits and punctuation
/// (<https://docs.aws.amazon.com/singlesignon/latest/IdentityStoreAPIReference/API_User.html>). The store answers to
/// anything else with an error, and the name of a certificate may well have a space in it.
fn can_be_user_name(name: &str) -> bool {
    let is_allowed = |c: char| !c.is_whitespace() && !c.is_control();
    (1..=MAX_USER_NAME).contains(&name.chars().count()) && name.chars().all(is_allowed)
}

#[async_trait]
impl Directory for IdentityStore {
    async fn find(&self, id: &str) -> Result<Option<Person>, DirectoryError> {
        // https://docs.aws.amazon.com/singlesignon/latest/IdentityStoreAPIReference/API_DescribeUser.html
        match self.client.describe_user().identity_store_id(&self.id).user_id(id).send().await {
            Ok(user) => Ok(Some(Person {
                id: id.to_owned(),
                names: names(user.user_name(), user.emails()),
                former: Vec::new(),
                enabled: enabled(user.user_status()),
            })),
            Err(error) => match error.as_service_error() {
                Some(DescribeUserError::ResourceNotFoundException(missing)) if is_no_user(missing) => Ok(None),
                _ => Err(self.error(&error)),
            },
        }
    }

    async fn holder(&self, name: &str, kind: NameKind) -> Result<Option<String>, DirectoryError> {
        if kind == NameKind::UserName && !can_be_user_name(name) {
            return Ok(None);
        }
        // https://docs.aws.amazon.com/singlesignon/latest/IdentityStoreAPIReference/API_GetUserId.html
        let path = match kind {
            NameKind::UserName => "userName",
            NameKind::Email => "emails.value",
        };
        let attribute = UniqueAttribute::builder().attribute_path(path).attribute_value(name.into()).build();
        let attribute = attribute.map_err(|error| DirectoryError(error.to_string()))?;
        let by = AlternateIdentifier::UniqueAttribute(attribute);
        match self.client.get_user_id().identity_store_id(&self.id).alternate_identifier(by).send().await {
            Ok(found) => Ok(Some(found.user_id().to_owned())),
            Err(error) => match error.as_service_error() {
                Some(GetUserIdError::ResourceNotFoundException(missing)) if is_no_user(missing) => Ok(None),
                _ => Err(self.error(&error)),
            },
        }
    }

    async fn people(&self, after: Option<&PageToken>) -> Result<(Vec<Person>, Option<PageToken>), DirectoryError> {
        let after = after.map(|token| token.0.clone());
        let page = self.client.list_users().identity_store_id(&self.id).set_next_token(after).send().await;
        let page = page.map_err(|error| self.error(&error))?;
        let person = |user: &User| Person {
            id: user.user_id().to_owned(),
            names: names(user.user_name(), user.emails()),
            former: Vec::new(),
            enabled: enabled(user.user_status()),
        };
        Ok((page.users().iter().map(person).collect(), page.next_token().map(|token| PageToken(token.to_owned()))))
    }
}

/// The user name first, and the e-mail addresses. Which of them the VPN knows depends on how the SAML application maps
/// its subject.
fn names(user_name: Option<&str>, emails: &[Email]) -> Vec<String> {
    let emails = emails.iter().filter_map(Email::value);
    user_name.into_iter().chain(emails).map(str::to_owned).collect()
}

fn enabled(status: Option<&UserStatus>) -> Option<bool> {
    match status {
        Some(UserStatus::Enabled) => Some(true),
        Some(UserStatus::Disabled) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_user_name_is_asked_about() {
        let longest = "x".repeat(MAX_USER_NAME);
        for name in ["alice", "alice@example.com", "CORP\\alice", "o'neil+vpn", "mañana", longest.as_str()] {
            assert!(can_be_user_name(name), "{name}");
        }
        for name in ["", "Alice Example", "alice\t", "\u{0}", &format!("{longest}x")] {
            assert!(!can_be_user_name(name), "{name:?}");
        }
    }
}
