//! Webhooks that are signed by keys which their providers publish.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use aias_domain::verification::KeyRequest;
use aias_platform::{
    client::Client,
    clock::Clock,
    http::{Gateway, service},
    published_keys::{Error, PublishedKeys},
};
use aias_tests::bench::{Bench, OWNERS_KEY, json_of, respond};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::effects::{define, furnished, run_of};

/// A request that is recorded in a source's file.
#[derive(Deserialize)]
struct Recorded {
    secret: String,
    headers: BTreeMap<String, String>,
    body: String,
    at: i64,
    key: String,
}

#[derive(Deserialize)]
struct SourceFile {
    known: Vec<Recorded>,
}

fn recorded(source: &str) -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/domain/sources");
    let text = fs::read_to_string(folder.join(format!("{source}.yaml"))).unwrap();
    serde_saphyr::from_str::<SourceFile>(&text).unwrap().known
}

/// A bench at the time of the recorded requests, and the path of an endpoint for their source.
async fn bench_of(source: &str, requests: &[Recorded]) -> (Bench, String) {
    let mut bench = Bench::new().await;
    bench.clock = Clock::set_to(Timestamp::from_second(requests[0].at).unwrap());
    let workflow = define(&bench, source, json!([{"a": {"set": {"x": 1}}}])).await;
    let body = json!({
        "name": "E", "workflow_id": workflow,
        "verification": {"scheme": source, "secret": requests[0].secret},
    });
    let made = bench.request("webhook-endpoints", "POST", "/api/webhook-endpoints", &body);
    let made = made.await;
    assert_eq!(made.status_code, 201, "{}", made.body);
    let url = json_of(&made)["url"].as_str().unwrap().to_owned();
    let (_, path) = url.split_once("/api/").unwrap();
    (bench, format!("/api/{path}"))
}

fn event(path: &str, request: &Recorded, body: &str) -> String {
    let event = json!({
        "rawPath": path, "headers": request.headers, "body": body,
        "requestContext": {"requestId": "r", "http": {"method": "POST"}},
    });
    event.to_string()
}

const CERTIFICATE: &str = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem";

fn keys_of(request: &Recorded) -> PublishedKeys {
    // Without a resolver that knows a provider's host, nothing but these keys is there.
    let keys = PublishedKeys::default();
    let certificate = KeyRequest::get(CERTIFICATE.to_owned());
    keys.insert(&certificate, Arc::new(request.key.clone().into_bytes()));
    keys
}

#[tokio::test]
async fn sns_notification_runs_once_and_a_forged_one_does_not() {
    let requests = recorded("aws-sns");
    let (bench, path) = bench_of("aws-sns", &requests).await;
    let ingest = bench.ingest_with(keys_of(&requests[0]));
    for (index, request) in requests[..2].iter().enumerate() {
        let forged = request
            .body
            .replace("\"MessageId\": \"d", "\"MessageId\": \"e");
        let refused = respond(&ingest, &event(&path, request, &forged)).await;
        assert_eq!(refused.status_code, 401, "{}", refused.body);
        let taken = respond(&ingest, &event(&path, request, &request.body)).await;
        // Both have the same message id, as if the first one was delivered twice with another text.
        let status = [202, 409][index];
        assert_eq!(taken.status_code, status, "{}", taken.body);
        if index == 0 {
            let id = json_of(&taken)["run_id"].as_str().unwrap().to_owned();
            let input = format!("/api/runs/{id}/input");
            let input = bench.request("runs", "GET", &input, &Value::Null).await;
            // JSON, although SNS says that it is text.
            assert_eq!(json_of(&input)["body"]["Type"], "Notification");
            assert_eq!(run_of(&bench, &id).await.attempts, 0);
        }
    }
}

#[tokio::test]
async fn check_of_a_recorded_request_uses_the_published_key() {
    let requests = recorded("aws-sns");
    let request = &requests[0];
    let bench = Bench::new().await;
    let check = async |keys: PublishedKeys, body: &str| {
        let app = webhook_endpoints::App::new(bench.api_of(None)).with_published_keys(keys);
        let gateway = Gateway::new(service(webhook_endpoints::routes(app)));
        let check = json!({
            "verification": {"scheme": "aws-sns", "secret": request.secret},
            "request": {"headers": request.headers, "body": body},
            "received_at": Timestamp::from_second(request.at).unwrap().to_string(),
        });
        let event = json!({
            "rawPath": "/api/sources/check", "body": check.to_string(),
            "headers": {"content-type": "application/json", "authorization": format!("Bearer {OWNERS_KEY}")},
            "requestContext": {"http": {"method": "POST"}},
        });
        respond(&gateway, &event.to_string()).await
    };
    let checked = check(keys_of(request), &request.body).await;
    assert_eq!(json_of(&checked)["verified"], true, "{}", checked.body);
    let forged = request.body.replace("Notification", "Notificatiom");
    let checked = check(keys_of(request), &forged).await;
    assert_eq!(json_of(&checked)["verified"], false, "{}", checked.body);
    // Without the key, which cannot be fetched here, nothing can be said.
    let checked = check(PublishedKeys::default(), &request.body).await;
    assert_eq!(checked.status_code, 503, "{}", checked.body);
}

#[tokio::test]
async fn subscription_is_confirmed_at_the_provider_only() {
    let requests = recorded("aws-sns");
    let (bench, path) = bench_of("aws-sns", &requests).await;
    let ingest = bench.ingest_with(keys_of(&requests[0]));
    // The host cannot be reached from here, so SNS is asked to repeat its request.
    let confirmation = event(&path, &requests[2], &requests[2].body);
    let answer = respond(&ingest, &confirmation).await;
    assert_eq!(answer.status_code, 503, "{}", answer.body);
    // A URL of somebody else is not signed.
    let forged = requests[2].body.replace(
        "sns.eu-west-1.amazonaws.com/?Action",
        "evil.example/?Action",
    );
    let refused = respond(&ingest, &event(&path, &requests[2], &forged)).await;
    assert_eq!(refused.status_code, 401, "{}", refused.body);
    assert_eq!(bench.runs().await.len(), 0);
}

#[tokio::test]
async fn certificate_of_somebody_else_is_not_fetched() {
    let requests = recorded("aws-sns");
    let (bench, path) = bench_of("aws-sns", &requests).await;
    let ingest = bench.ingest_with(PublishedKeys::default());
    let request = &requests[0];
    let foreign = request.body.replace(
        "sns.eu-west-1.amazonaws.com/Simple",
        "sns.evil.example/Simple",
    );
    assert_ne!(foreign, request.body);
    let refused = respond(&ingest, &event(&path, request, &foreign)).await;
    assert_eq!(refused.status_code, 401, "{}", refused.body);
    // The provider's own host cannot be reached from here: the event is not refused for good.
    let own = respond(&ingest, &event(&path, request, &request.body)).await;
    assert_eq!(own.status_code, 503, "{}", own.body);
}

#[tokio::test]
async fn plaid_webhook_is_verified_by_the_key_of_its_account() {
    let requests = recorded("plaid");
    let (bench, path) = bench_of("plaid", &requests).await;
    let own = &requests[0];
    let (client_id, secret) = own.secret.split_once(':').unwrap();
    let key_id = "bfbd5111-8e33-4643-8ced-b2e642a72f3c";
    let body = json!({"client_id": client_id, "secret": secret, "key_id": key_id});
    let lookup = KeyRequest {
        url: "https://production.plaid.com/webhook_verification_key/get".to_owned(),
        body: Some(body.to_string()),
        secret: Some(own.secret.clone().into_bytes()),
    };
    let keys = PublishedKeys::default();
    // The key of another account is not used.
    let others = KeyRequest {
        body: Some(body.to_string().replace(secret, "other")),
        ..lookup.clone()
    };
    keys.insert(&others, Arc::new(own.key.clone().into_bytes()));
    let ingest = bench.ingest_with(keys);
    let waiting = respond(&ingest, &event(&path, own, &own.body)).await;
    assert_eq!(waiting.status_code, 503, "{}", waiting.body);

    let keys = PublishedKeys::default();
    keys.insert(&lookup, Arc::new(own.key.clone().into_bytes()));
    let ingest = bench.ingest_with(keys);
    let forged = own.body.replace("TRANSACTIONS", "AUTH");
    let refused = respond(&ingest, &event(&path, own, &forged)).await;
    assert_eq!(refused.status_code, 401, "{}", refused.body);
    let taken = respond(&ingest, &event(&path, own, &own.body)).await;
    assert_eq!(taken.status_code, 200, "{}", taken.body);
    let runs = bench.runs().await;
    assert_eq!(
        runs[0].trigger.event_type(),
        Some("TRANSACTIONS.SYNC_UPDATES_AVAILABLE")
    );
}

#[tokio::test]
async fn key_is_looked_up_with_the_credentials_of_an_account() {
    let (_bench, hosts, url) = furnished().await;
    let keys = PublishedKeys::with_client(Client::new());
    let lookup = |secret: &str| KeyRequest {
        url: format!("{url}/echo/key"),
        body: Some(json!({"client_id": "c", "secret": secret, "key_id": "k"}).to_string()),
        secret: Some(secret.as_bytes().to_vec()),
    };
    let first = keys.get(&lookup("one")).await.unwrap();
    let sent: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(sent["method"], "POST", "{sent}");
    assert!(sent.to_string().contains("one"), "{sent}");
    assert_eq!(keys.get(&lookup("one")).await.unwrap(), first);
    assert_eq!(hosts.seen("/echo").len(), 1);
    assert!(matches!(
        keys.get(&lookup("two")).await,
        Err(Error::TooSoon)
    ));
}

#[tokio::test]
async fn keys_are_fetched_once_and_not_in_a_flood() {
    let (_bench, hosts, url) = furnished().await;
    let keys = PublishedKeys::with_client(Client::new());
    let at = |path: &str| KeyRequest::get(format!("{url}/{path}"));
    let first = at("echo/key");
    let key = keys.get(&first).await.unwrap();
    assert!(!key.is_empty());
    assert_eq!(keys.get(&first).await.unwrap(), key);
    assert_eq!(hosts.seen("/echo").len(), 1);
    let other = at("status/404");
    assert!(matches!(keys.get(&other).await, Err(Error::TooSoon)));
    assert_eq!(hosts.seen("/status").len(), 0);
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert!(matches!(keys.get(&other).await, Err(Error::Status(404))));
    let large = at("large/70000");
    assert!(matches!(keys.fetch(&large).await, Err(Error::Request(_))));
    // In production, only public addresses are reached.
    let guarded = PublishedKeys::default();
    let local = KeyRequest::get(first.url.replace("127.0.0.1", "localhost"));
    assert!(matches!(
        guarded.fetch(&local).await,
        Err(Error::Request(_))
    ));
    assert_eq!(hosts.seen("/echo").len(), 1);
}
