//! DynamoDB in this process, empty, with the table that the template declares.

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
        KeyType, Projection, ProjectionType, ScalarAttributeType,
    },
};
use dynoxide::Database;
use tokio::net::TcpListener;

use crate::{aws, wire::Wire};

/// The table's name.
pub const TABLE: &str = "aias";

/// Starts a database and makes the table; returns its endpoint.
pub async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let database = Database::memory().unwrap();
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    make_table(&Client::new(&aws::config(&endpoint, &Wire::default()))).await;
    endpoint
}

/// Sets a number of an item of a database that was started.
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
