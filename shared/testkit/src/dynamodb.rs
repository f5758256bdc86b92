//! An in-process DynamoDB with the table of the template.

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
        KeyType, Projection, ProjectionType, ScalarAttributeType,
    },
};
use std::io::Read as _;

use dynoxide::Database;
use flate2::read::DeflateDecoder;
use tokio::net::TcpListener;

use crate::{aws, wire::Wire};

pub const TABLE: &str = "aias";

/// Starts a database with an empty table and returns its endpoint.
pub async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let database = Database::memory().unwrap();
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    make_table(&Client::new(&aws::config(&endpoint, &Wire::default()))).await;
    endpoint
}

/// Sets a number attribute of an item.
pub async fn set_number(endpoint: &str, (pk, sk): (&str, &str), name: &str, number: u64) {
    Client::new(&aws::config(endpoint, &Wire::default()))
        .update_item()
        .table_name(TABLE)
        .key("PK", AttributeValue::S(pk.to_owned()))
        .key("SK", AttributeValue::S(sk.to_owned()))
        .update_expression("SET #name = :number")
        .expression_attribute_names("#name", name)
        .expression_attribute_values(":number", AttributeValue::N(number.to_string()))
        .send()
        .await
        .unwrap();
}

/// All attribute values of a tenant's items as bytes. Compressed values are also decompressed.
pub async fn everything(endpoint: &str, table: &str, tenant: &str) -> Vec<Vec<u8>> {
    let client = Client::new(&aws::config(endpoint, &Wire::default()));
    let (mut all, mut start) = (Vec::new(), None);
    loop {
        let scan = client
            .scan()
            .table_name(table)
            .set_exclusive_start_key(start);
        let page = scan.send().await.unwrap();
        for item in page.items() {
            let of_tenant = |value: &AttributeValue| value.as_s().is_ok_and(|s| s.contains(tenant));
            if item.values().any(of_tenant) {
                item.values().for_each(|value| bytes_of(value, &mut all));
            }
        }
        start = page.last_evaluated_key().cloned();
        if start.is_none() {
            return all;
        }
    }
}

fn bytes_of(value: &AttributeValue, all: &mut Vec<Vec<u8>>) {
    if let AttributeValue::B(blob) = value {
        all.extend(spellings(blob.as_ref()));
    } else if let AttributeValue::L(items) = value {
        items.iter().for_each(|item| bytes_of(item, all));
    } else if let AttributeValue::M(members) = value {
        members.values().for_each(|value| bytes_of(value, all));
    } else {
        all.push(format!("{value:?}").into_bytes());
    }
}

/// A value, and its decompressed form if it is compressed.
#[must_use]
pub fn spellings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut inflated = Vec::new();
    let read = DeflateDecoder::new(bytes).read_to_end(&mut inflated);
    let mut all = vec![bytes.to_vec()];
    all.extend(read.is_ok().then_some(inflated));
    all
}

async fn make_table(client: &Client) {
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap()
    };
    let key = |name: &str, kind: KeyType| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .unwrap()
    };
    let index = GlobalSecondaryIndex::builder()
        .index_name("active")
        .key_schema(key("active_hour", KeyType::Hash))
        .key_schema(key("PK", KeyType::Range))
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::KeysOnly)
                .build(),
        )
        .build()
        .unwrap();
    client
        .create_table()
        .table_name(TABLE)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("PK"))
        .attribute_definitions(attribute("SK"))
        .attribute_definitions(attribute("active_hour"))
        .key_schema(key("PK", KeyType::Hash))
        .key_schema(key("SK", KeyType::Range))
        .global_secondary_indexes(index)
        .send()
        .await
        .unwrap();
}
