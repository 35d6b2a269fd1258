//! The audit table, with the heads and markers that stand in the locks table.
//!
//! An entry, its chain's head and its marker are written in one PartiQL transaction. PartiQL's `INSERT` can't write
//! over an item, whatever the permissions, so that the function's role needs `dynamodb:PartiQLInsert` on the audit
//! table and nothing with which an entry could be changed or deleted
//! (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.insert.html>).

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::execute_transaction::ExecuteTransactionError;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, ParameterizedStatement};
use revocation::audit::{Entry, Head, Mark, Marker};
use revocation::ports::{AuditTrail, Commit, StoreError};

use super::convert::to_attribute;
use super::locks::{number, read_items, text};
use super::{KEY, store_error};
use crate::aws;

/// How long a marker stands. It has to outlive every redelivery: SQS keeps a message for at most 14 days, an archive
/// replay comes from a person.
const MARKER_SECONDS: i64 = 400 * 24 * 60 * 60;

/// How often a transaction is tried that meets another one, or a limit.
const ATTEMPTS: u32 = 5;

/// How long to stay back the first time; it doubles.
const STAND_BACK: Duration = Duration::from_millis(20);

/// The audit table.
#[derive(Debug, Clone)]
pub struct DynamoAudit {
    pub(super) client: Client,
    pub(super) entries: String,
    pub(super) locks: String,
}

/// A table's bare name. PartiQL statements take no ARN; the client is in the ARN's Region already, and PartiQL reaches
/// no other account
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/rbac-iam-actions.html>).
fn table_name(table: &str) -> &str {
    table.rsplit_once(":table/").map_or(table, |(_, name)| name)
}

impl DynamoAudit {
    /// The audit and the locks table of these names or ARNs.
    #[must_use]
    pub fn new(client: Client, audit_table: &str, locks_table: &str) -> Self {
        let name = |table: &str| table_name(table).to_owned();
        Self { client, entries: name(audit_table), locks: name(locks_table) }
    }

    fn statements(&self, entry: &Entry, marker: &Marker) -> Result<[ParameterizedStatement; 3], StoreError> {
        let attributes: Vec<(&str, AttributeValue)> =
            entry.attributes().iter().map(|(key, value)| (key.as_str(), to_attribute(value))).collect();
        let chain = AttributeValue::S(head_key(entry.chain()));
        let Head { seq, hash } = entry.head();
        let (seq_now, hash_now) = (AttributeValue::N(seq.to_string()), AttributeValue::S(hash));
        let head = match seq {
            0 | 1 => insert(&self.locks, vec![(KEY, chain), ("seq", seq_now), ("hash", hash_now)]),
            _ => statement(
                format!(r#"UPDATE "{}" SET "seq"=? SET "hash"=? WHERE "{KEY}"=? AND "seq"=? AND "hash"=?"#, self.locks),
                vec![
                    seq_now,
                    hash_now,
                    chain,
                    AttributeValue::N((seq - 1).to_string()),
                    AttributeValue::S(entry.text("prev_hash").unwrap_or_default().to_owned()),
                ],
            ),
        };
        let at = entry.text("at").unwrap_or_default();
        let until = revocation::time::Timestamp::parse(at).map_or(0, |at| at.as_seconds()) + MARKER_SECONDS;
        let mut stands = vec![
            (KEY, AttributeValue::S(marker.key())),
            ("at", AttributeValue::S(at.to_owned())),
            ("ttl", AttributeValue::N(until.to_string())),
        ];
        let words = [("action", marker.action()), ("refusal", marker.refusal())];
        stands.extend(words.iter().filter_map(|(key, word)| Some((*key, AttributeValue::S((*word)?.to_owned())))));
        let built = |statement: Result<ParameterizedStatement, _>| {
            statement.map_err(|e: aws_sdk_dynamodb::error::BuildError| StoreError::unusable(&self.entries, &e))
        };
        Ok([built(insert(&self.entries, attributes))?, built(head)?, built(insert(&self.locks, stands))?])
    }

    pub(super) fn unusable(&self, chain: &str) -> StoreError {
        StoreError::unusable(
            &format!("the audit chain of `{chain}`"),
            &"an item holds what this program never writes; find out who changed it",
        )
    }
}

#[async_trait]
impl AuditTrail for DynamoAudit {
    async fn head(&self, chain: &str) -> Result<Head, StoreError> {
        let heads = self.heads_of(&[chain.to_owned()]).await?;
        Ok(heads.into_iter().next().unwrap_or_else(Head::genesis))
    }

    async fn heads_of(&self, chains: &[String]) -> Result<Vec<Head>, StoreError> {
        let keys: Vec<String> = chains.iter().map(|chain| head_key(chain)).collect();
        let items = read_items(&self.client, &self.locks, &keys).await?;
        let head = |(chain, key): (&String, &String)| {
            let Some(item) = items.get(key) else { return Ok(Head::genesis()) };
            match (number(item, "seq"), text(item, "hash")) {
                (Some(seq), Some(hash)) => Ok(Head { seq, hash }),
                _ => Err(self.unusable(chain)),
            }
        };
        chains.iter().zip(&keys).map(head).collect()
    }

    async fn commit(&self, entry: &Entry, marker: &Marker) -> Result<Commit, StoreError> {
        let statements = self.statements(entry, marker)?;
        for attempt in 0..ATTEMPTS {
            let request = self.client.execute_transaction().set_transact_statements(Some(statements.to_vec()));
            let Err(error) = request.send().await else {
                tracing::info!(kind = entry.text("kind"), seq = entry.seq(), "audit entry written");
                return Ok(Commit::Written);
            };
            let Some(ExecuteTransactionError::TransactionCanceledException(cancelled)) = error.as_service_error()
            else {
                return Err(store_error(&self.entries, &error));
            };
            match verdict(cancelled.cancellation_reasons()) {
                Cancelled::MarkerStands => return Ok(Commit::AlreadyThere),
                Cancelled::HeadMoved => return Ok(Commit::HeadMoved),
                // The SDK does not try a cancelled transaction again.
                Cancelled::InTheWay => {
                    aws::pause(self.client.config().sleep_impl(), stand_back(attempt, &entry.head().hash)).await;
                }
                Cancelled::Otherwise => return Err(store_error(&self.entries, &error)),
            }
        }
        // Others may have written meanwhile: read the head again.
        Ok(Commit::HeadMoved)
    }

    async fn standing(&self, markers: &[Marker]) -> Result<Vec<Option<Mark>>, StoreError> {
        let keys: Vec<String> = markers.iter().map(Marker::key).collect();
        let items = read_items(&self.client, &self.locks, &keys).await?;
        let standing = |key: &String| {
            items.get(key).map(|item| Mark { action: text(item, "action"), refusal: text(item, "refusal") })
        };
        Ok(keys.iter().map(standing).collect())
    }
}

pub(super) fn head_key(chain: &str) -> String {
    format!("#head/{chain}")
}

fn insert(
    table: &str,
    attributes: Vec<(&str, AttributeValue)>,
) -> Result<ParameterizedStatement, aws_sdk_dynamodb::error::BuildError> {
    let fields: Vec<String> = attributes.iter().map(|(key, _)| format!("'{key}': ?")).collect();
    let values = attributes.into_iter().map(|(_, value)| value).collect();
    statement(format!(r#"INSERT INTO "{table}" VALUE {{{}}}"#, fields.join(", ")), values)
}

fn statement(
    text: String,
    parameters: Vec<AttributeValue>,
) -> Result<ParameterizedStatement, aws_sdk_dynamodb::error::BuildError> {
    ParameterizedStatement::builder().statement(text).set_parameters(Some(parameters)).build()
}

/// A growing pause, different for each writer: the hash of what it wants to write is as good as chance.
fn stand_back(attempt: u32, hash: &str) -> Duration {
    let chance = hash.get(..2).and_then(|byte| u32::from_str_radix(byte, 16).ok()).unwrap_or(128);
    STAND_BACK * 2_u32.pow(attempt.min(6)) * (64 + chance) / 192
}

/// Why a transaction was cancelled, by the statement that was in the way.
#[derive(Debug, PartialEq, Eq)]
enum Cancelled {
    MarkerStands,
    HeadMoved,
    /// Another transaction, or a limit: the same again, later, may do.
    InTheWay,
    Otherwise,
}

const IN_THE_WAY: [&str; 4] =
    ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"];

/// Reads the reasons, which stand in the order of the statements: entry, head, marker.
fn verdict(reasons: &[CancellationReason]) -> Cancelled {
    let code = |number: usize| reasons.get(number).and_then(|reason| reason.code()).unwrap_or_default();
    let stood = |number: usize| matches!(code(number), "DuplicateItem" | "ConditionalCheckFailed");
    if stood(2) {
        Cancelled::MarkerStands
    } else if stood(0) || stood(1) {
        Cancelled::HeadMoved
    } else if (0..3).any(|number| IN_THE_WAY.contains(&code(number))) {
        Cancelled::InTheWay
    } else {
        Cancelled::Otherwise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(codes: [&str; 3]) -> Vec<CancellationReason> {
        codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect()
    }

    #[test]
    fn the_marker_decides_whether_an_entry_stands_already() {
        assert_eq!(verdict(&reasons(["None", "None", "DuplicateItem"])), Cancelled::MarkerStands);
        assert_eq!(
            verdict(&reasons(["DuplicateItem", "ConditionalCheckFailed", "DuplicateItem"])),
            Cancelled::MarkerStands
        );
        assert_eq!(verdict(&reasons(["DuplicateItem", "None", "None"])), Cancelled::HeadMoved);
        assert_eq!(verdict(&reasons(["None", "ConditionalCheckFailed", "None"])), Cancelled::HeadMoved);
        assert_eq!(verdict(&reasons(["None", "TransactionConflict", "None"])), Cancelled::InTheWay);
        assert_eq!(verdict(&reasons(["None", "ThrottlingError", "None"])), Cancelled::InTheWay);
        assert_eq!(verdict(&reasons(["None", "ValidationError", "None"])), Cancelled::Otherwise);
        assert_eq!(verdict(&[]), Cancelled::Otherwise);
    }

    #[test]
    fn writers_stay_back_longer_each_time_and_not_alike() {
        assert!(stand_back(3, "00ff") > stand_back(0, "ff00"));
        assert_ne!(stand_back(1, "00"), stand_back(1, "ff"));
    }
}
