//! Both tables: whether they are there, and have the keys that everything rests on.

use aws_sdk_dynamodb::types::{KeySchemaElement, KeyType, TableDescription};

use super::Findings;
use crate::cli::CliError;
use crate::cli::aws::Aws;
use crate::cli::deployment::Deployment;
use crate::cli::output::shown;
use crate::failure;

const NEXT: &str = "is that the table of the stack? template.yaml has the keys that it needs";

pub(super) async fn look(findings: &mut Findings, deployment: &Deployment, aws: &Aws) {
    let (names, client) = match deployment.connected(aws).await {
        Ok(connected) => connected,
        Err(error) => return findings.failed("tables", &error),
    };
    for (what, name) in [("locks table", &names.locks), ("audit table", &names.audit)] {
        match describe(&client, name).await {
            Err(error) => findings.failed(what, &error),
            Ok(table) => {
                let mistakes = match what {
                    "locks table" => mistakes_of_locks(&table),
                    _ => mistakes_of_audit(&table),
                };
                match mistakes.is_empty() {
                    true => findings.fine(what, shown(name)),
                    false => findings.wrong(what, format!("{} {}", shown(name), mistakes.join(", ")), NEXT),
                }
            }
        }
    }
}

async fn describe(client: &aws_sdk_dynamodb::Client, name: &str) -> Result<TableDescription, CliError> {
    let failed = |why| CliError::Aws { what: format!("table {} could not be described", shown(name)), why };
    let described = client.describe_table().table_name(name).send().await;
    described
        .map_err(|error| failed(failure::why(&error)))?
        .table
        .ok_or_else(|| failed("no description came".to_owned()))
}

fn mistakes_of_locks(table: &TableDescription) -> Vec<String> {
    let mut mistakes = status(table);
    if keys(table.key_schema()) != [("subject", &KeyType::Hash)] {
        mistakes.push("has other keys than `subject`".to_owned());
    }
    mistakes
}

fn mistakes_of_audit(table: &TableDescription) -> Vec<String> {
    let mut mistakes = status(table);
    if keys(table.key_schema()) != [("subject", &KeyType::Hash), ("seq", &KeyType::Range)] {
        mistakes.push("has other keys than `subject` and `seq`".to_owned());
    }
    let by_day = table.global_secondary_indexes().iter().find(|index| index.index_name() == Some("by-day"));
    match by_day {
        None => mistakes.push("has no index by-day".to_owned()),
        Some(index) if keys(index.key_schema()) != [("day", &KeyType::Hash), ("at", &KeyType::Range)] => {
            mistakes.push("has other keys in its index by-day than `day` and `at`".to_owned());
        }
        Some(_) => {}
    }
    mistakes
}

fn status(table: &TableDescription) -> Vec<String> {
    match table.table_status() {
        Some(status) if status.as_str() == "ACTIVE" || status.as_str() == "UPDATING" => Vec::new(),
        other => vec![format!("is {}", other.map_or("without a status", |status| status.as_str()))],
    }
}

fn keys(schema: &[KeySchemaElement]) -> Vec<(&str, &KeyType)> {
    schema.iter().map(|key| (key.attribute_name(), key.key_type())).collect()
}
