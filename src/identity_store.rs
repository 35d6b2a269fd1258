//! [`Directory`] on IAM Identity Center's identity store.

use async_trait::async_trait;
use aws_sdk_identitystore::Client;
use aws_sdk_identitystore::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_identitystore::types::{Email, User, UserStatus};
use revocation::ports::{Directory, DirectoryError, PageToken, Person};

use crate::failure;

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
        let why = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            _ => failure::chain(error),
        };
        let next = match error.code() {
            Some("AccessDeniedException") => "allow identitystore:DescribeUser and ListUsers to the function's role",
            _ => "it is tried again",
        };
        DirectoryError(format!("identity store {} could not be asked: {why}; {next}", self.id))
    }
}

#[async_trait]
impl Directory for IdentityStore {
    async fn find(&self, id: &str) -> Result<Option<Person>, DirectoryError> {
        // https://docs.aws.amazon.com/singlesignon/latest/IdentityStoreAPIReference/API_DescribeUser.html
        match self.client.describe_user().identity_store_id(&self.id).user_id(id).send().await {
            Ok(user) => Ok(Some(Person {
                id: id.to_owned(),
                names: names(user.user_name(), user.emails()),
                enabled: enabled(user.user_status()),
            })),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                Ok(None)
            }
            Err(error) => Err(self.error(&error)),
        }
    }

    async fn people(&self, after: Option<&PageToken>) -> Result<(Vec<Person>, Option<PageToken>), DirectoryError> {
        let after = after.map(|token| token.0.clone());
        let page = self.client.list_users().identity_store_id(&self.id).set_next_token(after).send().await;
        let page = page.map_err(|error| self.error(&error))?;
        let person = |user: &User| Person {
            id: user.user_id().to_owned(),
            names: names(user.user_name(), user.emails()),
            enabled: enabled(user.user_status()),
        };
        Ok((page.users().iter().map(person).collect(), page.next_token().map(|token| PageToken(token.to_owned()))))
    }
}

/// The user name, and the e-mail addresses, which no two users of a store share: `GetUserId` takes either for a unique
/// attribute (<https://docs.aws.amazon.com/singlesignon/latest/IdentityStoreAPIReference/API_GetUserId.html>). Which of
/// them the VPN knows depends on how the SAML application maps its subject.
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
