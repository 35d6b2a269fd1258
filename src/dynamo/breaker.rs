//! The circuit breaker's counts, in the locks table: an item `#breaker/<authority>` with the round and, where it is
//! open, since when; and for each minute an item `#breaker/<authority>/<round>/<minute>` with the set of holds counted.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use revocation::breaker::{Counted, KEPT, Minute, Standing};
use revocation::ports::{Breaker, StoreError};
use revocation::signal::Authority;
use revocation::time::Timestamp;

use super::locks::{DynamoLocks, Item, number, read_items, text};
use super::{KEY, store_error};

/// How the key of each of these items begins.
const PREFIX: &str = "#breaker/";

/// In which a breaker is that was never closed.
const FIRST_ROUND: u64 = 0;

fn state_key(authority: &Authority) -> String {
    format!("{PREFIX}{authority}")
}

fn minute_key(authority: &Authority, round: u64, minute: Minute) -> String {
    // An authority is text from outside; a round and a minute at the end can't be taken for a part of it.
    format!("{PREFIX}{authority}/{round}/{}", minute.begins_at())
}

fn key(text: String) -> Item {
    HashMap::from([(KEY.to_owned(), AttributeValue::S(text))])
}

/// What is counted in the item of a minute.
fn counted_in(item: &Item) -> BTreeSet<Counted> {
    let holds = item.get("holds").and_then(|holds| holds.as_ss().ok());
    holds.into_iter().flatten().map(|text| Counted::kept(text)).collect()
}

impl DynamoLocks {
    /// Every authority of which anything is counted, or whose breaker was ever closed.
    ///
    /// # Errors
    /// Where the table can't be read.
    #[cfg(feature = "cli")]
    pub(crate) async fn authorities(&self) -> Result<BTreeSet<Authority>, StoreError> {
        let scan = self
            .client
            .scan()
            .table_name(&self.table)
            .filter_expression("begins_with(#key, :breaker)")
            .expression_attribute_names("#key", KEY)
            .expression_attribute_values(":breaker", AttributeValue::S(PREFIX.to_owned()));
        let mut items = scan.into_paginator().items().send();
        let mut found = BTreeSet::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| store_error(&self.table, &error))?;
            let key = text(&item, KEY).unwrap_or_default();
            let Some(rest) = key.strip_prefix(PREFIX) else { continue };
            // A count's key goes on with its round and minute.
            let name = match item.contains_key("holds") {
                true => rest.rsplitn(3, '/').nth(2).unwrap_or_default(),
                false => rest,
            };
            found.insert(Authority::named(name));
        }
        Ok(found)
    }

    /// The round that a breaker is in, and since when it is open; `item` is what the table has of it.
    fn breaker_state(
        &self,
        authority: &Authority,
        item: Option<&Item>,
    ) -> Result<(u64, Option<Timestamp>), StoreError> {
        let Some(item) = item else { return Ok((FIRST_ROUND, None)) };
        let unusable = |what: &str| {
            let what = format!("attribute {what} is not what this program writes; mend or remove the item");
            StoreError::unusable(&format!("the breaker of {authority} in table {}", self.table), &what)
        };
        let round = number(item, "round").ok_or_else(|| unusable("round"))?;
        let opened_at = match text(item, "opened_at") {
            // An instant that can't be read must not make an open breaker look closed.
            Some(at) => Some(Timestamp::parse(&at).ok_or_else(|| unusable("opened_at"))?),
            None => None,
        };
        Ok((round, opened_at))
    }
}

#[async_trait]
impl Breaker for DynamoLocks {
    async fn standing(&self, authority: &Authority, minutes: &[Minute]) -> Result<Standing, StoreError> {
        let state = state_key(authority);
        let of_round = |round: u64| minutes.iter().map(move |minute| minute_key(authority, round, *minute));
        // Most breakers were never closed: all that there is of them is read at once.
        let keys: Vec<String> = std::iter::once(state.clone()).chain(of_round(FIRST_ROUND)).collect();
        let mut items = read_items(&self.client, &self.table, &keys).await?;
        let (round, opened_at) = self.breaker_state(authority, items.remove(&state).as_ref())?;
        if round != FIRST_ROUND {
            let keys: Vec<String> = of_round(round).collect();
            items = read_items(&self.client, &self.table, &keys).await?;
        }
        let counted = items.values().flat_map(counted_in).collect();
        Ok(Standing { round, opened_at, counted })
    }

    async fn count(
        &self,
        authority: &Authority,
        round: u64,
        minute: Minute,
        holds: &[Counted],
    ) -> Result<BTreeSet<Counted>, StoreError> {
        let until = minute.begins_at().plus(KEPT).as_seconds();
        // DynamoDB takes no set that has something twice.
        let counted: BTreeSet<&str> = holds.iter().map(Counted::as_str).collect();
        let counted = counted.into_iter().map(str::to_owned).collect();
        let add = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(minute_key(authority, round, minute))))
            .update_expression("ADD #holds :counted SET #ttl = :ttl")
            .expression_attribute_names("#holds", "holds")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":counted", AttributeValue::Ss(counted))
            .expression_attribute_values(":ttl", AttributeValue::N(until.to_string()))
            .return_values(ReturnValue::UpdatedOld);
        let added = add.send().await.map_err(|error| store_error(&self.table, &error))?;
        Ok(added.attributes().map(counted_in).unwrap_or_default())
    }

    async fn open(&self, authority: &Authority, round: u64, at: Timestamp) -> Result<(), StoreError> {
        let open = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(state_key(authority))))
            .update_expression("SET #round = :round, opened_at = if_not_exists(opened_at, :at)")
            .condition_expression("attribute_not_exists(#round) OR #round = :round")
            .expression_attribute_names("#round", "round")
            .expression_attribute_values(":round", AttributeValue::N(round.to_string()))
            .expression_attribute_values(":at", AttributeValue::S(at.to_string()));
        match open.send().await {
            Ok(_) => Ok(()),
            // Somebody closed it meanwhile.
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(()),
            Err(error) => Err(store_error(&self.table, &error)),
        }
    }

    async fn close(&self, authority: &Authority) -> Result<(), StoreError> {
        let close = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(state_key(authority))))
            .update_expression("ADD #round :one REMOVE opened_at")
            .expression_attribute_names("#round", "round")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        close.send().await.map(|_| ()).map_err(|error| store_error(&self.table, &error))
    }
}
