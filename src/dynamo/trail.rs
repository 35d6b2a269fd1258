//! [`ReadTrail`] and all that reading takes: the functions hold no permission for any of it.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use revocation::audit::{Entry, Head};
use revocation::ports::{ReadTrail, StoreError};
use serde_json::Value;

use super::audit::{DynamoAudit, head_key};
use super::convert::from_attribute;
use super::locks::{Item, number, read_items, text};
use super::{KEY, store_error};

/// Where the next page begins; opaque.
#[derive(Debug, Clone)]
pub(crate) struct After(Item);

/// Entries, and where more of them begin.
pub(crate) type EntryPage = (Vec<Entry>, Option<After>);

/// Heads by chain, and where more of them begin. `None` for a head that is none the functions write.
pub(crate) type HeadPage = (Vec<(String, Option<Head>)>, Option<After>);

impl DynamoAudit {
    /// One page of the whole trail. Each chain comes in its order; the order of chains is the table's own.
    ///
    /// # Errors
    /// Where the table can't be read.
    pub(crate) async fn page(&self, after: Option<After>) -> Result<EntryPage, StoreError> {
        let from = after.map(|after| after.0);
        let scan = self.client.scan().table_name(&self.entries).consistent_read(true).set_exclusive_start_key(from);
        let page = scan.send().await.map_err(|error| store_error(&self.entries, &error))?;
        Ok((read(page.items()), page.last_evaluated_key().cloned().map(After)))
    }

    /// One page of the entries of a day, in the order of time. The index behind it may lag by moments.
    ///
    /// # Errors
    /// Where the table can't be read.
    pub(crate) async fn day(&self, day: &str, after: Option<After>) -> Result<EntryPage, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.entries)
            .index_name("by-day")
            .key_condition_expression("#day = :day")
            .expression_attribute_names("#day", "day")
            .expression_attribute_values(":day", AttributeValue::S(day.to_owned()))
            .set_exclusive_start_key(after.map(|after| after.0));
        let page = query.send().await.map_err(|error| store_error(&self.entries, &error))?;
        Ok((read(page.items()), page.last_evaluated_key().cloned().map(After)))
    }

    /// One page of the heads, which stand in the locks table.
    ///
    /// # Errors
    /// Where the table can't be read.
    pub(crate) async fn heads(&self, after: Option<After>) -> Result<HeadPage, StoreError> {
        let scan = self
            .client
            .scan()
            .table_name(&self.locks)
            .consistent_read(true)
            .filter_expression("begins_with(#key, :head)")
            .expression_attribute_names("#key", KEY)
            .expression_attribute_values(":head", AttributeValue::S(head_key("")))
            .set_exclusive_start_key(after.map(|after| after.0));
        let page = scan.send().await.map_err(|error| store_error(&self.locks, &error))?;
        let mut heads = Vec::new();
        for item in page.items() {
            let key = text(item, KEY).unwrap_or_default();
            heads.push((key.strip_prefix(&head_key("")).unwrap_or_default().to_owned(), head(item)));
        }
        Ok((heads, page.last_evaluated_key().cloned().map(After)))
    }

    /// A chain's head; none where there is none, and `Some(None)` for one that the functions did not write.
    ///
    /// # Errors
    /// Where the table can't be read.
    pub(crate) async fn stored_head(&self, chain: &str) -> Result<Option<Option<Head>>, StoreError> {
        let key = head_key(chain);
        let items = read_items(&self.client, &self.locks, std::slice::from_ref(&key)).await?;
        Ok(items.get(&key).map(head))
    }
}

fn head(item: &Item) -> Option<Head> {
    Some(Head { seq: number(item, "seq")?, hash: text(item, "hash")? })
}

/// Items as entries. What no entry holds, a set or bytes that somebody put there, becomes a text in its place: its hash
/// then gives it away, and the others can still be read.
fn read(items: &[HashMap<String, AttributeValue>]) -> Vec<Entry> {
    let attribute = |value: &AttributeValue| from_attribute(value).unwrap_or_else(|| Value::from(format!("{value:?}")));
    let entry = |item: &Item| item.iter().map(|(key, value)| (key.clone(), attribute(value))).collect();
    items.iter().map(entry).map(Entry::from_attributes).collect()
}

#[async_trait]
impl ReadTrail for DynamoAudit {
    async fn entries(&self, chain: &str) -> Result<Vec<Entry>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.entries)
            .key_condition_expression("subject = :chain")
            .expression_attribute_values(":chain", AttributeValue::S(chain.to_owned()))
            .consistent_read(true);
        let mut pages = query.into_paginator().send();
        let mut entries = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| store_error(&self.entries, &error))?;
            entries.extend(read(page.items()));
        }
        Ok(entries)
    }
}
