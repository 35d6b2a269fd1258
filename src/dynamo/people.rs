//! A directory's answers, kept: items `#directory/<store>/<id>` in the locks table, and for each name an item
//! `#directory/<store>/name/<name>` with the id of whoever was called so last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use revocation::name::Name;
use revocation::ports::{KnownPeople, Person, StoreError};
use tokio::task::JoinSet;

use super::locks::{DynamoLocks, Item, read_items, text};
use super::{KEY, store_error};
use crate::aws;

/// The most that one batch write takes
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>).
const BATCH: usize = 25;

/// How often writes that a batch left over are tried again.
const LEFTOVERS: u32 = 8;

/// How long to wait before the first time; it doubles.
const LEFTOVER_PAUSE: Duration = Duration::from_millis(50);

/// What is kept of one identity store's answers.
#[derive(Debug, Clone)]
pub struct DynamoPeople {
    table: DynamoLocks,
    store: String,
}

impl DynamoLocks {
    /// What is kept of an identity store's answers in the same table.
    #[must_use]
    pub fn people_of(&self, identity_store: &str) -> DynamoPeople {
        DynamoPeople { table: self.clone(), store: identity_store.to_owned() }
    }
}

impl DynamoPeople {
    fn key(&self, id: &str) -> String {
        format!("#directory/{}/{id}", self.store)
    }

    fn name_key(&self, name: &Name) -> String {
        format!("#directory/{}/name/{name}", self.store)
    }

    /// All items of a person: the answer itself, and for each name whose it is.
    fn items(&self, person: &Person) -> Vec<Item> {
        let names: BTreeSet<Name> = person.names.iter().filter_map(|name| Name::new(name).ok()).collect();
        let by_name = names.iter().map(|name| {
            Item::from([
                (KEY.to_owned(), AttributeValue::S(self.name_key(name))),
                ("id".to_owned(), AttributeValue::S(person.id.clone())),
            ])
        });
        by_name.chain([self.item(person)]).collect()
    }

    fn item(&self, person: &Person) -> Item {
        let mut item = Item::from([
            (KEY.to_owned(), AttributeValue::S(self.key(&person.id))),
            ("names".to_owned(), texts(&person.names)),
        ]);
        if !person.former.is_empty() {
            item.insert("former".to_owned(), texts(&person.former));
        }
        if let Some(enabled) = person.enabled {
            let status = if enabled { "enabled" } else { "disabled" };
            item.insert("status".to_owned(), AttributeValue::S(status.to_owned()));
        }
        item
    }
}

#[async_trait]
impl KnownPeople for DynamoPeople {
    async fn recall_all(&self, ids: &[&str]) -> Result<BTreeMap<String, Person>, StoreError> {
        let keys: Vec<String> = ids.iter().map(|id| self.key(id)).collect();
        let items = read_items(&self.table.client, &self.table.table, &keys).await?;
        let person = |(id, key): (&&str, &String)| Some(kept(id, key, items.get(key)?));
        ids.iter().zip(&keys).filter_map(person).collect()
    }

    async fn by_name(&self, name: &Name) -> Result<Option<String>, StoreError> {
        let key = self.name_key(name);
        let items = read_items(&self.table.client, &self.table.table, std::slice::from_ref(&key)).await?;
        Ok(items.get(&key).and_then(|item| text(item, "id")))
    }

    async fn keep(&self, people: &[Person]) -> Result<(), StoreError> {
        let DynamoLocks { client, table } = &self.table;
        // One name may be two people's one after the other, and a batch takes each key once.
        let items = people.iter().flat_map(|person| self.items(person));
        let items: BTreeMap<String, Item> = items.filter_map(|item| Some((text(&item, KEY)?, item))).collect();
        let items: Vec<Item> = items.into_values().collect();
        // A page of the directory is a dozen batches, and a large directory hundreds of pages in one invoke.
        let mut writing = JoinSet::new();
        for some in items.chunks(BATCH) {
            let requests: Result<Vec<WriteRequest>, _> = some.iter().map(request).collect();
            let requests = requests.map_err(|error| StoreError::unusable(table, &error))?;
            writing.spawn(write_all(client.clone(), table.clone(), requests));
        }
        while let Some(written) = writing.join_next().await {
            written
                .map_err(|_| StoreError::away(&format!("table {table}"), "a fault of ours ended a batch write"))??;
        }
        Ok(())
    }
}

fn request(item: &Item) -> Result<WriteRequest, BuildError> {
    let put = PutRequest::builder().set_item(Some(item.clone())).build()?;
    Ok(WriteRequest::builder().put_request(put).build())
}

/// Writes one batch, until nothing of it is left over.
async fn write_all(client: Client, table: String, mut left: Vec<WriteRequest>) -> Result<(), StoreError> {
    for attempt in 0..LEFTOVERS {
        let answer = client.batch_write_item().request_items(&table, left).send().await;
        let answer = answer.map_err(|error| store_error(&table, &error))?;
        left = answer.unprocessed_items.into_iter().flatten().flat_map(|(_, left)| left).collect();
        if left.is_empty() {
            return Ok(());
        }
        aws::pause(client.config().sleep_impl(), LEFTOVER_PAUSE * 2_u32.pow(attempt.min(6))).await;
    }
    let why = "DynamoDB left items of a batch write over again and again";
    Err(StoreError::away(&format!("table {table}"), why))
}

fn texts(all: &[String]) -> AttributeValue {
    AttributeValue::L(all.iter().map(|text| AttributeValue::S(text.clone())).collect())
}

fn read_texts(key: &str, item: &Item, attribute: &str) -> Result<Vec<String>, StoreError> {
    let listed = item.get(attribute).and_then(|texts| texts.as_l().ok());
    let read = listed.and_then(|all| all.iter().map(|text| text.as_s().ok().cloned()).collect());
    read.ok_or_else(|| {
        let problem = format!("attribute {attribute} is no list of texts; mend or remove it");
        StoreError::unusable(&format!("the item {key}"), &problem)
    })
}

/// A kept answer, with its id.
fn kept(id: &str, key: &str, item: &Item) -> Result<(String, Person), StoreError> {
    let names = read_texts(key, item, "names")?;
    let former = if item.contains_key("former") { read_texts(key, item, "former")? } else { Vec::new() };
    let enabled = text(item, "status").map(|status| status == "enabled");
    Ok((id.to_owned(), Person { id: id.to_owned(), names, former, enabled }))
}
