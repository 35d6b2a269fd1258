//! Explicit aliases: items `#alias/<name>` in the locks table, each with a string set `names`.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use revocation::name::Name;
use revocation::ports::{AliasBook, StoreError};

use super::locks::{DynamoLocks, Item, read_items};
use super::{KEY, store_error};

fn key(subject: &Name) -> String {
    format!("#alias/{subject}")
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
}

#[async_trait]
impl AliasBook for DynamoLocks {
    async fn names(&self, subjects: &[Name]) -> Result<Vec<Vec<Name>>, StoreError> {
        let keys: Vec<String> = subjects.iter().map(key).collect();
        let items = read_items(&self.client, &self.table, &keys).await?;
        subjects.iter().zip(&keys).map(|(subject, key)| self.alias_names(subject, items.get(key))).collect()
    }

    async fn change(&self, subject: &Name, names: &[Name], remove: bool) -> Result<Vec<Name>, StoreError> {
        // ADD and DELETE work on the set itself, so that two changes at once both take effect.
        let verb = if remove { "DELETE" } else { "ADD" };
        let names = AttributeValue::Ss(names.iter().map(Name::to_string).collect());
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(HashMap::from([(KEY.to_owned(), AttributeValue::S(key(subject)))])))
            .update_expression(format!("{verb} #names :names"))
            .expression_attribute_names("#names", "names")
            .expression_attribute_values(":names", names)
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(|error| store_error(&self.table, &error))?;
        self.alias_names(subject, answer.attributes.as_ref())
    }
}
