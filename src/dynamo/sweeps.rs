//! When the schedule's last sweep was, in the locks table: an item `#sweep`. A sweep that finds nothing leaves no entry in the audit
//! trail, and whoever looks after the deployment has to be able to tell that from no sweep at all.

use aws_sdk_dynamodb::types::AttributeValue;
use revocation::ports::StoreError;
use revocation::receipt::Outcome;
use revocation::time::Timestamp;

use super::locks::DynamoLocks;
use super::{KEY, store_error};

const SWEEP: &str = "#sweep";

impl DynamoLocks {
    /// Keeps that a sweep began then, and how it ended. One that began earlier and ends later does not count.
    ///
    /// # Errors
    /// Where the table can't be written.
    pub(crate) async fn note_sweep(&self, at: Timestamp, outcome: Outcome) -> Result<(), StoreError> {
        let note = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(KEY, AttributeValue::S(SWEEP.to_owned()))
            .update_expression("SET begun_at = :at, outcome = :outcome")
            .condition_expression("attribute_not_exists(begun_at) OR begun_at < :at")
            .expression_attribute_values(":at", AttributeValue::S(at.to_string()))
            .expression_attribute_values(":outcome", AttributeValue::S(outcome.word().to_owned()));
        match note.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(()),
            Err(error) => Err(store_error(&self.table, &error)),
        }
    }

    /// When the last sweep began, and how it ended.
    ///
    /// # Errors
    /// Where the table can't be read.
    #[cfg(feature = "cli")]
    pub(crate) async fn last_sweep(&self) -> Result<Option<(Timestamp, String)>, StoreError> {
        use super::locks::{read_items, text};
        let key = SWEEP.to_owned();
        let items = read_items(&self.client, &self.table, std::slice::from_ref(&key)).await?;
        let swept = items.get(&key).and_then(|item| {
            let at = text(item, "begun_at").and_then(|at| Timestamp::parse(&at))?;
            Some((at, text(item, "outcome").unwrap_or_default()))
        });
        Ok(swept)
    }
}
