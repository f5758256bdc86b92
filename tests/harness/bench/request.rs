//! Requests to functions in this process.

use aias_platform::{
    http::{Gateway, service},
    secrets::Keyring,
};
use serde_json::{Value, json};
use stripe_mock::StripeMock;

use super::{Bench, GatewayResponse, OWNERS_KEY, STRIPE_SECRET, TENANT, respond};

impl Bench {
    /// The response of a function to an event.
    pub async fn respond_to(&self, function: &str, event: &str) -> GatewayResponse {
        self.respond_to_with(Self::keyring(), function, event).await
    }

    async fn respond_to_with(
        &self,
        keyring: Keyring,
        function: &str,
        event: &str,
    ) -> GatewayResponse {
        if function == "console" {
            return respond(&self.console(None), event).await;
        }
        let routes = self.routes(self.api_with(keyring), function);
        respond(&Gateway::new(service(routes)), event).await
    }

    /// Posts a webhook.
    pub async fn post(&self, ingest: &Gateway, event_id: &str, body: &str) -> GatewayResponse {
        let path = format!("/api/webhooks/{TENANT}/{}", "A".repeat(43));
        self.post_to(ingest, &path, event_id, body).await
    }

    /// The response to an event for the endpoint with this path.
    pub async fn post_to(
        &self,
        ingest: &Gateway,
        path: &str,
        event_id: &str,
        body: &str,
    ) -> GatewayResponse {
        let event = json!({
            "rawPath": path,
            "headers": {"content-type": "application/json", "idempotency-key": event_id, "user-agent": "bench"},
            "body": body,
            "requestContext": {"requestId": "r", "http": {"method": "POST"}},
        });
        respond(ingest, &event.to_string()).await
    }

    /// The response to a request of the owner.
    pub async fn request(
        &self,
        function: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> GatewayResponse {
        let event = Self::event_of(method, path, body);
        self.respond_to(function, &event).await
    }

    /// As [`Bench::request`], with another keyring.
    pub async fn request_with(
        &self,
        keyring: Keyring,
        function: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> GatewayResponse {
        let event = Self::event_of(method, path, body);
        self.respond_to_with(keyring, function, &event).await
    }

    /// As [`Bench::request`], a `POST` with an `Idempotency-Key`.
    pub async fn post_once(
        &self,
        function: &str,
        path: &str,
        body: &Value,
        key: &str,
    ) -> GatewayResponse {
        let event = Self::event_of("POST", path, body);
        let mut event: Value = serde_json::from_str(&event).unwrap();
        event["headers"]["idempotency-key"] = key.into();
        self.respond_to(function, &event.to_string()).await
    }

    fn event_of(method: &str, path: &str, body: &Value) -> String {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let token = format!("Bearer {OWNERS_KEY}");
        let event = json!({
            "rawPath": path,
            "rawQueryString": query,
            "headers": {"authorization": token, "content-type": "application/json"},
            "body": if body.is_null() { Value::Null } else { body.to_string().into() },
            "requestContext": {"requestId": "r", "http": {"method": method}},
        });
        event.to_string()
    }

    /// The response to a Stripe event, signed now.
    pub async fn send_stripe_event(
        &self,
        stripe_webhook: &Gateway,
        event: &Value,
    ) -> GatewayResponse {
        let body = event.to_string();
        let at = self.clock.now().as_second();
        let signature = StripeMock::sign(STRIPE_SECRET, at, &body);
        let event = json!({
            "rawPath": "/api/stripe/webhook",
            "headers": {"content-type": "application/json", "stripe-signature": signature},
            "body": body,
            "requestContext": {"requestId": "r", "http": {"method": "POST"}},
        });
        respond(stripe_webhook, &event.to_string()).await
    }
}
