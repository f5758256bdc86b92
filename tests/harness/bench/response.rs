//! Responses of functions in this process.

use std::collections::BTreeMap;

use aias_platform::http::Gateway;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::contract::{self, Exchange};

/// A response in the form of API Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayResponse {
    pub status_code: u16,
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub cookies: Vec<String>,
}

/// The response to an event. It must match the API description.
pub async fn respond(gateway: &Gateway, event: &str) -> GatewayResponse {
    let payload = RawValue::from_string(event.to_owned()).unwrap();
    let response = serde_json::to_value(gateway.respond(&payload).await).unwrap();
    let answer: GatewayResponse = serde_json::from_value(response).unwrap();
    let event: Value = serde_json::from_str(event).unwrap();
    contract::check(&Exchange {
        method: event["requestContext"]["http"]["method"]
            .as_str()
            .unwrap_or_default(),
        path: event["rawPath"].as_str().unwrap_or_default(),
        status: answer.status_code,
        content_type: answer
            .headers
            .get("content-type")
            .map_or("", String::as_str),
        body: answer.body.as_bytes(),
    });
    answer
}

/// The body of a response as JSON.
#[must_use]
pub fn json_of(answer: &GatewayResponse) -> Value {
    serde_json::from_str(&answer.body).unwrap_or(Value::Null)
}
