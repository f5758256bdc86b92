//! Misbehaving OIDC issuers.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The misbehaviours: the first segment of an issuer's URL path.
pub const WRONGS: [&str; 8] = [
    "silent",
    "slow",
    "huge",
    "malformed",
    "another",
    "unsafe",
    "symmetric",
    "crowded",
];

/// The secret that the issuer `symmetric` publishes as its key, in base64url.
pub const SYMMETRIC_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Starts the issuers and returns their base URL, to which `/<misbehaviour>` is added.
pub async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/{wrong}/.well-known/openid-configuration", get(discovery))
        .route("/{wrong}/jwks.json", get(keys))
        .with_state(url.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn answer(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

async fn discovery(State(url): State<String>, Path(wrong): Path<String>) -> Response {
    let issuer = format!("{url}/{wrong}");
    let jwks = format!("{issuer}/jwks.json");
    match wrong.as_str() {
        "silent" => std::future::pending().await,
        "another" => answer(&json!({"issuer": "https://elsewhere.example", "jwks_uri": jwks})),
        "unsafe" => answer(&json!({"issuer": issuer, "jwks_uri": "http://169.254.169.254/keys"})),
        _ => answer(&json!({"issuer": issuer, "jwks_uri": jwks})),
    }
}

async fn keys(Path(wrong): Path<String>) -> Response {
    let key = |kid: &str| json!({"kty": "oct", "kid": kid, "k": SYMMETRIC_KEY, "alg": "HS256"});
    match wrong.as_str() {
        "slow" => {
            tokio::time::sleep(Duration::from_secs(10)).await;
            answer(&json!({"keys": []}))
        }
        "huge" => "x".repeat(4 * 1024 * 1024).into_response(),
        "malformed" => "{".into_response(),
        "crowded" => {
            let all: Vec<Value> = (0..500).map(|n| key(&format!("k{n}"))).collect();
            answer(&json!({ "keys": all }))
        }
        _ => answer(&json!({"keys": [key("k1")]})),
    }
}
