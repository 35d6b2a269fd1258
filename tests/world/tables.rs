//! The tables, in a DynamoDB engine inside this process, reached over HTTP.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};

use super::{AUDIT, LOCKS};

pub struct Tables {
    pub url: String,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Tables {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Tables {
    pub async fn start() -> Self {
        let database = dynoxide::Database::memory().unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(dynoxide::server::serve_on(listener, database));
        Self { url, server }
    }

    /// Both tables, as the deployment makes them.
    pub async fn create(&self, client: &Client) {
        client
            .create_table()
            .table_name(LOCKS)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute("subject", ScalarAttributeType::S))
            .key_schema(key("subject", KeyType::Hash))
            .send()
            .await
            .unwrap();
        let by_day = GlobalSecondaryIndex::builder()
            .index_name("by-day")
            .key_schema(key("day", KeyType::Hash))
            .key_schema(key("at", KeyType::Range))
            .projection(Projection::builder().projection_type(ProjectionType::All).build())
            .build()
            .unwrap();
        client
            .create_table()
            .table_name(AUDIT)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute("subject", ScalarAttributeType::S))
            .attribute_definitions(attribute("seq", ScalarAttributeType::N))
            .attribute_definitions(attribute("day", ScalarAttributeType::S))
            .attribute_definitions(attribute("at", ScalarAttributeType::S))
            .key_schema(key("subject", KeyType::Hash))
            .key_schema(key("seq", KeyType::Range))
            .global_secondary_indexes(by_day)
            .send()
            .await
            .unwrap();
    }
}

fn attribute(name: &str, kind: ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
}

/// All items of a table.
pub async fn scan(client: &Client, table: &str) -> Vec<std::collections::HashMap<String, AttributeValue>> {
    let mut items = client.scan().table_name(table).consistent_read(true).into_paginator().items().send();
    let mut all = Vec::new();
    while let Some(item) = items.next().await {
        all.push(item.unwrap());
    }
    all
}
