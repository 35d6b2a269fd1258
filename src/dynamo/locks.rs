//! The locks table: one item per name, each write guarded by the version.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use revocation::lock::{Hold, HoldState, Lock};
use revocation::name::{Name, PersonId};
use revocation::ports::{LockedPage, Locks, PageToken, ReadLocks, StoreError, Write};
use revocation::signal::{Authority, SignalId};
use revocation::time::Timestamp;

use super::{KEY, store_error};
use crate::aws;

/// The most keys that one batch read takes
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>).
const BATCH: usize = 100;

/// How often keys that a batch read left over are asked for again.
const LEFTOVERS: u32 = 8;

/// How long to wait before the first time; it doubles.
const LEFTOVER_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// The locks table.
#[derive(Debug, Clone)]
pub struct DynamoLocks {
    pub(super) client: Client,
    pub(super) table: String,
}

impl DynamoLocks {
    /// The table of this name or ARN.
    #[must_use]
    pub fn new(client: Client, table: &str) -> Self {
        Self { client, table: table.to_owned() }
    }

    fn unusable(&self, name: &Name, what: &str) -> StoreError {
        StoreError::unusable(
            &format!("the lock of `{name}` in table {}", self.table),
            &format!("attribute {what} is not what this program writes; mend or remove the item"),
        )
    }

    fn lock(&self, name: &Name, item: &Item) -> Result<Lock, StoreError> {
        let version = number(item, "version").ok_or_else(|| self.unusable(name, "version"))?;
        let stored =
            item.get("holds").and_then(|holds| holds.as_m().ok()).ok_or_else(|| self.unusable(name, "holds"))?;
        let mut holds = BTreeMap::new();
        for (authority, value) in stored {
            let hold =
                value.as_m().ok().and_then(hold).ok_or_else(|| self.unusable(name, &format!("holds.{authority}")))?;
            holds.insert(Authority::named(authority), hold);
        }
        Ok(Lock { name: name.clone(), holds, version })
    }
}

pub(super) type Item = HashMap<String, AttributeValue>;

#[async_trait]
impl ReadLocks for DynamoLocks {
    async fn read(&self, names: &[Name]) -> Result<Vec<Lock>, StoreError> {
        let keys: Vec<String> = names.iter().map(Name::to_string).collect();
        let items = read_items(&self.client, &self.table, &keys).await?;
        let lock = |name: &Name| match items.get(name.as_str()) {
            Some(item) => self.lock(name, item),
            None => Ok(Lock::none(name.clone())),
        };
        names.iter().map(lock).collect()
    }
}

#[async_trait]
impl Locks for DynamoLocks {
    async fn locked(&self, after: Option<&PageToken>) -> Result<LockedPage, StoreError> {
        let from = after.map(|token| Item::from([(KEY.to_owned(), AttributeValue::S(token.0.clone()))]));
        // The table holds markers and heads as well; only locks have a state.
        let scan = self
            .client
            .scan()
            .table_name(&self.table)
            .filter_expression("#state = :locked")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":locked", AttributeValue::S(HoldState::Locked.word().to_owned()))
            .set_exclusive_start_key(from);
        let page = scan.send().await.map_err(|error| store_error(&self.table, &error))?;
        let mut locks = Vec::new();
        for item in page.items() {
            let Some(name) = text(item, KEY).and_then(|key| Name::new(&key).ok()) else { continue };
            locks.push(self.lock(&name, item));
        }
        let next = page.last_evaluated_key().and_then(|key| text(key, KEY)).map(PageToken);
        Ok((locks, next))
    }

    async fn write(&self, lock: &Lock) -> Result<Write, StoreError> {
        let mut put = self.client.put_item().table_name(&self.table).set_item(Some(item(lock)));
        put = match lock.version {
            0 | 1 => put.condition_expression("attribute_not_exists(subject)"),
            version => put
                .condition_expression("version = :before")
                .expression_attribute_values(":before", AttributeValue::N((version - 1).to_string())),
        };
        match put.send().await {
            Ok(_) => Ok(Write::Stored),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {
                Ok(Write::Conflict)
            }
            Err(error) => Err(store_error(&self.table, &error)),
        }
    }
}

/// Strongly consistent reads of items by key; one call for up to a hundred.
pub(super) async fn read_items(
    client: &Client,
    table: &str,
    keys: &[String],
) -> Result<HashMap<String, Item>, StoreError> {
    let mut items = HashMap::new();
    let mut distinct: Vec<&String> = keys.iter().collect();
    distinct.sort();
    distinct.dedup();
    if let [one] = distinct.as_slice() {
        let get = client.get_item().table_name(table).key(KEY, AttributeValue::S((*one).clone())).consistent_read(true);
        let answer = get.send().await.map_err(|error| store_error(table, &error))?;
        items.extend(answer.item.map(|item| ((*one).clone(), item)));
        return Ok(items);
    }
    for some in distinct.chunks(BATCH) {
        let mut wanted: Vec<Item> =
            some.iter().map(|key| Item::from([(KEY.to_owned(), AttributeValue::S((*key).clone()))])).collect();
        for attempt in 0..LEFTOVERS {
            let request = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build();
            let request = request.map_err(|error| StoreError::unusable(table, &error))?;
            let answer = client
                .batch_get_item()
                .request_items(table, request)
                .send()
                .await
                .map_err(|error| store_error(table, &error))?;
            for item in answer.responses.into_iter().flatten().flat_map(|(_, items)| items) {
                if let Some(key) = text(&item, KEY) {
                    items.insert(key, item);
                }
            }
            wanted = answer.unprocessed_keys.into_iter().flatten().flat_map(|(_, left)| left.keys).collect();
            if wanted.is_empty() {
                break;
            }
            aws::pause(client.config().sleep_impl(), LEFTOVER_PAUSE * 2_u32.pow(attempt.min(6))).await;
        }
        if !wanted.is_empty() {
            return Err(StoreError::away(
                &format!("table {table}"),
                "DynamoDB left keys of a batch read over again and again",
            ));
        }
    }
    Ok(items)
}

fn item(lock: &Lock) -> Item {
    let mut item = Item::from([
        (KEY.to_owned(), AttributeValue::S(lock.name.to_string())),
        ("state".to_owned(), AttributeValue::S(lock.state().word().to_owned())),
        ("version".to_owned(), AttributeValue::N(lock.version.to_string())),
    ]);
    if let Some(at) = lock.expires_at() {
        item.insert("expires_at".to_owned(), AttributeValue::S(at.to_string()));
    }
    let holds = lock.holds.iter().map(|(authority, hold)| (authority.to_string(), AttributeValue::M(hold_item(hold))));
    item.insert("holds".to_owned(), AttributeValue::M(holds.collect()));
    item
}

fn hold_item(hold: &Hold) -> Item {
    let mut item = Item::from([
        ("state".to_owned(), AttributeValue::S(hold.state.word().to_owned())),
        ("as_of".to_owned(), AttributeValue::S(hold.as_of.to_string())),
        ("signal_id".to_owned(), AttributeValue::S(hold.signal_id.to_string())),
        (KEY.to_owned(), AttributeValue::S(hold.subject.clone())),
    ]);
    if let Some(at) = hold.expires_at {
        item.insert("expires_at".to_owned(), AttributeValue::S(at.to_string()));
    }
    if let Some(reason) = &hold.reason {
        item.insert("reason".to_owned(), AttributeValue::S(reason.clone()));
    }
    if let Some(person) = &hold.person {
        item.insert("person".to_owned(), AttributeValue::S(person.as_str().to_owned()));
    }
    if let Some(at) = hold.own_lifted_at {
        item.insert("own_lifted_at".to_owned(), AttributeValue::S(at.to_string()));
    }
    if !hold.names.is_empty() {
        let names = hold.names.iter().map(|name| AttributeValue::S(name.to_string())).collect();
        item.insert("names".to_owned(), AttributeValue::L(names));
    }
    item
}

fn hold(item: &Item) -> Option<Hold> {
    Some(Hold {
        state: HoldState::from_word(&text(item, "state")?)?,
        as_of: Timestamp::parse(&text(item, "as_of")?)?,
        // An expiry that can't be read must not make a hold look eternal, or over.
        expires_at: instant(item, "expires_at")?,
        reason: text(item, "reason"),
        signal_id: SignalId::new(&text(item, "signal_id")?),
        subject: text(item, KEY)?,
        person: text(item, "person").map(|person| PersonId::new(&person)),
        own_lifted_at: instant(item, "own_lifted_at")?,
        names: match item.get("names") {
            // A name that can't be read must not be passed over: it would stay locked after a restore.
            Some(names) => {
                names.as_l().ok()?.iter().map(|name| Name::new(name.as_s().ok()?).ok()).collect::<Option<_>>()?
            }
            None => Vec::new(),
        },
    })
}

/// An instant, if there is one; nothing at all where it can't be read.
fn instant(item: &Item, attribute: &str) -> Option<Option<Timestamp>> {
    match item.get(attribute) {
        Some(at) => Timestamp::parse(at.as_s().ok()?).map(Some),
        None => Some(None),
    }
}

pub(super) fn text(item: &Item, attribute: &str) -> Option<String> {
    item.get(attribute)?.as_s().ok().cloned()
}

pub(super) fn number(item: &Item, attribute: &str) -> Option<u64> {
    item.get(attribute)?.as_n().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn instant() -> impl Strategy<Value = Timestamp> {
        (0_i64..4_000_000_000_000).prop_map(Timestamp::from_millis)
    }

    fn any_hold() -> impl Strategy<Value = Hold> {
        let state = prop_oneof![Just(HoldState::Locked), Just(HoldState::Released)];
        let instants = (instant(), prop::option::of(instant()), prop::option::of(instant()));
        let texts = (prop::option::of("[a-z ]{1,9}"), "[a-z:-]{1,9}", "[a-z]{1,9}", prop::option::of("[a-z0-9]{1,9}"));
        let names = prop::collection::vec("[a-z]{1,9}", 0..3);
        (state, instants, texts, names).prop_map(|(state, instants, (reason, signal_id, subject, person), names)| {
            Hold {
                state,
                as_of: instants.0,
                expires_at: instants.1,
                reason,
                signal_id: SignalId::new(&signal_id),
                subject,
                person: person.map(|person| PersonId::new(&person)),
                own_lifted_at: instants.2,
                names: names.iter().map(|name| Name::new(name).unwrap()).collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn a_hold_is_read_as_it_was_written(written in any_hold()) {
            prop_assert_eq!(hold(&hold_item(&written)), Some(written));
        }
    }

    #[test]
    fn a_hold_with_an_instant_that_cannot_be_read_is_none() {
        for attribute in ["as_of", "expires_at", "own_lifted_at"] {
            let mut item = Item::from(
                [("state", "locked"), ("as_of", "2026-03-01T09:30:00Z"), ("signal_id", "c-1"), (KEY, "dana")]
                    .map(|(key, text)| (key.to_owned(), AttributeValue::S(text.to_owned()))),
            );
            assert!(hold(&item).is_some());
            for unreadable in [AttributeValue::S("soon".to_owned()), AttributeValue::N("1770000000".to_owned())] {
                item.insert(attribute.to_owned(), unreadable);
                assert!(hold(&item).is_none(), "{attribute}");
            }
        }
    }
}
