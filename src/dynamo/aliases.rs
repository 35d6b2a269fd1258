//! Explicit aliases, in the locks table: items `#alias/<subject>`, each with a string set `names`, and for each name
//! an item `#alias-of/<name>` that says whose it is, so that no two subjects share one.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use revocation::name::Name;
use revocation::ports::{AliasBook, Given, StoreError};

use super::locks::{DynamoLocks, Item, read_items, text};
use super::{KEY, store_error};

fn of_subject(subject: &Name) -> Item {
    HashMap::from([(KEY.to_owned(), AttributeValue::S(format!("#alias/{subject}")))])
}

fn of_name(name: &Name) -> Item {
    HashMap::from([(KEY.to_owned(), AttributeValue::S(format!("#alias-of/{name}")))])
}

impl DynamoLocks {
    fn alias_names(&self, subject: &Name, item: Option<&Item>) -> Result<Vec<Name>, StoreError> {
        let Some(set) = item.and_then(|item| item.get("names")) else { return Ok(Vec::new()) };
        let names = set.as_ss().ok().and_then(|names| names.iter().map(|name| Name::new(name).ok()).collect());
        // A name that can't be read must not be passed over: its holder would stay connected.
        names.ok_or_else(|| {
            StoreError::unusable(
                &format!("the aliases of `{subject}` in table {}", self.table),
                &"attribute names is no set of names; mend or remove the item",
            )
        })
    }

    /// Writes down whose a name is; who it is, where that is somebody else.
    async fn claim(&self, subject: &Name, name: &Name) -> Result<Option<String>, StoreError> {
        let claimed = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(of_name(name)))
            .update_expression("SET #of = :me")
            .condition_expression("attribute_not_exists(#of) OR #of = :me")
            .expression_attribute_names("#of", "of")
            .expression_attribute_values(":me", AttributeValue::S(subject.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = claimed else { return Ok(None) };
        match error.as_service_error() {
            Some(service) if service.is_conditional_check_failed_exception() => match service {
                aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(failed) => {
                    let by = failed.item().and_then(|item| text(item, "of"));
                    Ok(Some(by.unwrap_or_else(|| "somebody else".to_owned())))
                }
                _ => Ok(Some("somebody else".to_owned())),
            },
            _ => Err(store_error(&self.table, &error)),
        }
    }

    /// Strikes out whose a name is, where it is the subject's.
    async fn disclaim(&self, subject: &Name, name: &Name) -> Result<(), StoreError> {
        let struck = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(of_name(name)))
            .update_expression("REMOVE #of")
            .condition_expression("#of = :me")
            .expression_attribute_names("#of", "of")
            .expression_attribute_values(":me", AttributeValue::S(subject.to_string()))
            .send()
            .await;
        match struck {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(()),
            Err(error) => Err(store_error(&self.table, &error)),
        }
    }

    /// Strikes out whose these names are, but for those that the subject had before they were claimed: what is refused
    /// changes nothing.
    async fn disclaim_new(&self, subject: &Name, claimed: &[Name]) -> Result<(), StoreError> {
        let had = self.names(std::slice::from_ref(subject)).await.into_iter().next().transpose()?.unwrap_or_default();
        for name in claimed.iter().filter(|name| !had.contains(name)) {
            self.disclaim(subject, name).await?;
        }
        Ok(())
    }

    /// ADD and DELETE work on the set itself, so that two changes at once both take effect.
    async fn change_set(&self, subject: &Name, names: &[Name], verb: &str) -> Result<(), StoreError> {
        let names = AttributeValue::Ss(names.iter().map(Name::to_string).collect());
        let change = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(of_subject(subject)))
            .update_expression(format!("{verb} #names :names"))
            .expression_attribute_names("#names", "names")
            .expression_attribute_values(":names", names);
        change.send().await.map(|_| ()).map_err(|error| store_error(&self.table, &error))
    }
}

#[async_trait]
impl AliasBook for DynamoLocks {
    async fn names(&self, names: &[Name]) -> Vec<Result<Vec<Name>, StoreError>> {
        let keys: Vec<String> = names.iter().map(|name| format!("#alias/{name}")).collect();
        match read_items(&self.client, &self.table, &keys).await {
            Ok(items) => names.iter().zip(&keys).map(|(name, key)| self.alias_names(name, items.get(key))).collect(),
            Err(error) => names.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn give(&self, subject: &Name, names: &[Name]) -> Result<Given, StoreError> {
        for (claimed, name) in names.iter().enumerate() {
            if let Some(by) = self.claim(subject, name).await? {
                self.disclaim_new(subject, names.get(..claimed).unwrap_or_default()).await?;
                return Ok(Given::Taken { name: name.clone(), by });
            }
        }
        self.change_set(subject, names, "ADD").await?;
        Ok(Given::Stored)
    }

    async fn take(&self, subject: &Name, names: &[Name]) -> Result<(), StoreError> {
        self.change_set(subject, names, "DELETE").await?;
        for name in names {
            self.disclaim(subject, name).await?;
        }
        Ok(())
    }
}
