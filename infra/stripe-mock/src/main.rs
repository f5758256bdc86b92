//! Runs the mock of Stripe's API as a process for local stacks. The settings are a line of JSON on
//! standard input: `{"port", "api_key", "webhook_url", "webhook_secret"}`.

#![expect(clippy::unwrap_used, reason = "a mock that cannot start must not run")]

use stripe_mock::{StripeMock, Webhook};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&line).unwrap();
    let text = |name: &str| settings[name].as_str().unwrap().to_owned();
    let webhook = Webhook {
        url: text("webhook_url"),
        secret: text("webhook_secret"),
    };
    let port = settings["port"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok());
    let listener = TcpListener::bind(("127.0.0.1", port.unwrap()))
        .await
        .unwrap();
    StripeMock::new(&text("api_key"), Some(webhook))
        .serve(listener)
        .await;
}
