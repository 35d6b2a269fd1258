//! The tables as an auditor reads them: with nothing but DynamoDB, JSON and SHA-256, and none of this program's code.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::tables::scan;
use super::{AUDIT, LOCKS, World};

/// A DynamoDB value as plain JSON.
fn plain(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!(text),
        AttributeValue::N(digits) => json!(digits.parse::<u64>().unwrap()),
        AttributeValue::Bool(flag) => json!(flag),
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::L(items) => items.iter().map(plain).collect(),
        AttributeValue::Ss(texts) => json!(texts),
        AttributeValue::M(fields) => plain_item(fields),
        other => panic!("no entry holds {other:?}"),
    }
}

fn plain_item(item: &HashMap<String, AttributeValue>) -> Value {
    Value::Object(item.iter().map(|(key, value)| (key.clone(), plain(value))).collect::<Map<_, _>>())
}

/// JSON with its keys in order and no white space: RFC 8785, for what entries hold.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            let fields: Vec<String> =
                sorted.iter().map(|(key, value)| format!("{}:{}", json!(key), canonical(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

impl World {
    /// Every chain of the audit table, checked: no gap, each hash follows, the head agrees, and no kind stands twice
    /// for one signal and subject.
    pub async fn chains(&self) -> BTreeMap<String, Vec<Value>> {
        let mut chains: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for item in scan(&self.clients.tables, AUDIT).await {
            let entry = plain_item(&item);
            chains.entry(entry["subject"].as_str().unwrap().to_owned()).or_default().push(entry);
        }
        let own: BTreeMap<String, Value> = self.locks_table().await;
        for (chain, entries) in &mut chains {
            entries.sort_by_key(|entry| entry["seq"].as_u64());
            let mut before = "0".repeat(64);
            let mut once = Vec::new();
            for (number, entry) in entries.iter().enumerate() {
                assert_eq!(entry["seq"], json!(number + 1), "{chain} has a gap");
                assert_eq!(entry["prev_hash"], json!(before), "{chain} is not linked at {number}");
                let mut hashed = entry.clone();
                hashed.as_object_mut().unwrap().remove("hash");
                let hash: String =
                    Sha256::digest(canonical(&hashed)).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(entry["hash"], json!(hash), "{chain} was changed at {number}");
                before = hash;
                assert_eq!(entry["day"].as_str().unwrap(), &entry["at"].as_str().unwrap()[..10]);
                if entry["kind"] != "incomplete" {
                    let key = (entry["signal_id"].clone(), entry["kind"].clone());
                    assert!(!once.contains(&key), "{chain} has {key:?} twice");
                    let marker = format!("#done/{}/{chain}/{}", key.0.as_str().unwrap(), key.1.as_str().unwrap());
                    assert!(own.contains_key(&marker), "{marker} is missing");
                    once.push(key);
                }
            }
            let head = &own[&format!("#head/{chain}")];
            assert_eq!(
                (&head["seq"], &head["hash"]),
                (&json!(entries.len()), &json!(before)),
                "the head of {chain} disagrees"
            );
        }
        chains
    }

    /// The kinds of the entries about a subject, in order.
    pub async fn kinds(&self, chain: &str) -> Vec<String> {
        let entries = self.chains().await.remove(chain).unwrap_or_default();
        entries.iter().map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// The locks table, by key.
    pub async fn locks_table(&self) -> BTreeMap<String, Value> {
        let items = scan(&self.clients.tables, LOCKS).await;
        items.iter().map(plain_item).map(|item| (item["subject"].as_str().unwrap().to_owned(), item)).collect()
    }

    /// The lock on a name.
    pub async fn lock(&self, name: &str) -> Option<Value> {
        self.locks_table().await.remove(name)
    }
}

/// One of the project's sample events.
pub fn sample(path: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(path);
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}
