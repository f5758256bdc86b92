//! Signing in to the console at an issuer that misbehaves (authorization code flow with PKCE).

use aias_platform::http::{Gateway, Issuer};
use aias_testkit::stack;
use aias_tests::{
    bench::{Bench, GatewayResponse, respond},
    client,
};
use axum::{
    Form, Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

/// An issuer whose tokens the local issuer signs. A code is `<behaviour>.<nonce>.<challenge>`.
async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/token", post(token))
        .with_state(url.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn discovery(State(url): State<String>) -> Json<Value> {
    let keys = format!("{}/jwks.json", stack::get().issuer());
    Json(json!({
        "issuer": url,
        "jwks_uri": keys,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
    }))
}

async fn token(State(url): State<String>, Form(form): Form<Vec<(String, String)>>) -> Response {
    let field = |name: &str| {
        let found = form.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let code = field("code");
    let mut parts = code.splitn(3, '.');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (behaviour, nonce, challenge) = (part(), part(), part());
    assert_eq!(field("grant_type"), "authorization_code");
    let verifier = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
    assert_eq!(verifier, challenge, "PKCE");
    let mut claims = json!({"sub": "owner", "iss": url, "aud": field("client_id"), "nonce": nonce});
    match behaviour.as_str() {
        "other-nonce" => claims["nonce"] = "another".into(),
        "no-nonce" => drop(claims.as_object_mut().unwrap().remove("nonce")),
        // A token for the API is not one of a sign-in.
        "other-audience" => claims["aud"] = "aias".into(),
        "other-issuer" => claims["iss"] = stack::get().issuer().into(),
        "expired" => claims["expires_in"] = (-3600).into(),
        "unsigned" => claims["alg"] = "none".into(),
        "refused" => {
            let body = Json(json!({"error": "invalid_grant"}));
            return (StatusCode::BAD_REQUEST, body).into_response();
        }
        "broken" => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "huge" => return "x".repeat(1_000_000).into_response(),
        "without-token" => return Json(json!({"access_token": "a"})).into_response(),
        _ => {}
    }
    let signed = tokio::task::spawn_blocking(move || client::token(stack::get(), &claims));
    Json(json!({"id_token": signed.await.unwrap(), "token_type": "Bearer"})).into_response()
}

async fn get_page(console: &Gateway, path: &str, cookie: &str) -> GatewayResponse {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let event = json!({
        "rawPath": path, "rawQueryString": query,
        "headers": {"host": "aias.example", "cookie": cookie},
        "requestContext": {"requestId": "r-1", "http": {"method": "GET", "sourceIp": "192.0.2.1"}},
    });
    respond(console, &event.to_string()).await
}

/// The response to the issuer's redirect with a code of this behaviour.
async fn returned(console: &Gateway, behaviour: &str) -> GatewayResponse {
    let start = "/dashboard/sign-in/start?return_to=/dashboard/runs";
    let started = get_page(console, start, "").await;
    assert_eq!(started.status_code, 303, "{}", started.body);
    let url = &started.headers["location"];
    let parameter = |name: &str| {
        let (_, rest) = url.split_once(&format!("{name}=")).unwrap();
        rest.split('&').next().unwrap().to_owned()
    };
    assert_eq!(parameter("response_type"), "code");
    assert_eq!(parameter("code_challenge_method"), "S256");
    let cookie = started.cookies[0].split(';').next().unwrap();
    let code = format!(
        "{behaviour}.{}.{}",
        parameter("nonce"),
        parameter("code_challenge")
    );
    let state = parameter("state");
    let path = format!("/dashboard/sign-in/callback?code={code}&state={state}");
    get_page(console, &path, cookie).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_valid_token_of_this_sign_in_is_accepted() {
    let bench = Bench::new().await;
    let issuer = Issuer::new(&start().await, "aias").unwrap();
    let console = bench.console(Some(issuer));
    let accepted = returned(&console, "good").await;
    assert_eq!(accepted.status_code, 303, "{}", accepted.body);
    assert_eq!(accepted.headers["location"], "/dashboard/runs");
    assert!(accepted.cookies[0].starts_with("__Host-aias-session="));
    // The state of the sign-in is deleted.
    assert!(accepted.cookies[1].starts_with("__Host-aias-sign-in=;"));

    for (behaviour, status) in [
        ("other-nonce", 401),
        ("no-nonce", 401),
        ("other-audience", 401),
        ("other-issuer", 401),
        ("expired", 401),
        ("unsigned", 401),
        ("refused", 401),
        ("broken", 503),
        ("huge", 503),
        ("without-token", 503),
    ] {
        let response = returned(&console, behaviour).await;
        assert_eq!(
            response.status_code, status,
            "{behaviour}: {}",
            response.body
        );
        assert!(
            response.cookies.is_empty(),
            "{behaviour}: {:?}",
            response.cookies
        );
    }
    // A state that this browser has not, and no cookie at all.
    let path = "/dashboard/sign-in/callback?code=good&state=0";
    for cookie in ["", "__Host-aias-sign-in=k1.AAAA"] {
        assert_eq!(get_page(&console, path, cookie).await.status_code, 400);
    }
}
