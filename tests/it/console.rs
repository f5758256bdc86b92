//! The console in this process: sessions, forms, and what of the API it uses.

use std::time::Instant;

use aias_domain::{
    id::RunId,
    run::{ERROR_PAGES, Run, RunError, Trigger},
};
use aias_platform::{
    http::{Gateway, Problem, kinds},
    runs::new_run,
    store::Input,
};
use aias_testkit::wire::Side;
use aias_tests::{
    bench::{Bench, GatewayResponse, OWNERS_KEY, WORKFLOW, json_of, respond},
    errors::run_codes,
};
use serde_json::{Value, json};

async fn request(
    console: &Gateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    form: &str,
) -> GatewayResponse {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut all =
        json!({"host": "aias.example", "content-type": "application/x-www-form-urlencoded"});
    for (name, value) in headers {
        all[*name] = json!(value);
    }
    let event = json!({
        "rawPath": path, "rawQueryString": query, "headers": all, "body": form,
        "requestContext": {"requestId": "r-1", "http": {"method": method, "sourceIp": "192.0.2.1"}},
    });
    respond(console, &event.to_string()).await
}

/// The cookie of a session of the owner's key.
async fn signed_in(console: &Gateway) -> String {
    let form = format!("api_key={OWNERS_KEY}&return_to=/dashboard/runs");
    let response = request(console, "POST", "/dashboard/sign-in", &[], &form).await;
    assert_eq!(response.status_code, 303, "{}", response.body);
    assert_eq!(response.headers["location"], "/dashboard/runs");
    response.cookies[0].split(';').next().unwrap().to_owned()
}

/// The token of a page's forms.
fn csrf(page: &GatewayResponse) -> String {
    let (_, rest) = page.body.split_once("name=\"csrf\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

const PAGES: [&str; 16] = [
    "",
    "/runs",
    "/runs/run_01JD3V4ZK8QW5R7T9X1B3C5D7F",
    "/workflows",
    "/workflows/new",
    "/endpoints",
    "/endpoints/check",
    "/artifacts",
    "/secrets",
    "/members",
    "/api-keys",
    "/audit-log",
    "/billing",
    "/diagnostics",
    "/settings",
    "/docs/errors",
];

#[tokio::test]
async fn every_page_needs_a_session() {
    let bench = Bench::new().await;
    let console = bench.console(None);
    for page in PAGES {
        let path = format!("/dashboard{page}");
        let response = request(&console, "GET", &path, &[], "").await;
        assert_eq!(response.status_code, 303, "{path}");
        assert!(response.headers["location"].starts_with("/dashboard/sign-in?return_to="));
        // A polled part says so instead of showing the sign-in page within the page.
        let polled = [("hx-request", "true")];
        let response = request(&console, "GET", &path, &polled, "").await;
        assert_eq!(response.status_code, 401, "{path}");
    }
    let response = request(
        &console,
        "POST",
        "/dashboard/secrets",
        &[],
        "name=a&value=b",
    )
    .await;
    assert_eq!(response.status_code, 401);
    // A cookie that this installation has not sealed.
    let forged = [("cookie", "__Host-aias-session=k1.AAAA")];
    let response = request(&console, "GET", "/dashboard/runs", &forged, "").await;
    assert_eq!(response.status_code, 303);
    assert!(
        response.cookies[0].contains("Max-Age=0"),
        "{:?}",
        response.cookies
    );
}

#[tokio::test]
async fn type_of_every_error_leads_to_its_page_without_a_session() {
    let bench = Bench::new().await;
    let console = bench.console(None);
    for kind in kinds::ALL {
        let problem = Problem::new(kind).body("https://aias.example", "/", "r-1");
        let problem: Value = serde_json::from_str(&problem).unwrap();
        let url = problem["type"].as_str().unwrap();
        let path = url.strip_prefix("https://aias.example").unwrap();
        let page = request(&console, "GET", path, &[], "").await;
        assert_eq!(page.status_code, 200, "{url}");
        let heading = format!("{}: {}", kind.status, kind.title);
        let text = page.body.replace("&#39;", "'");
        assert!(text.contains(&heading), "{url}: {}", page.body);
    }
    for code in run_codes() {
        let path = RunError::platform(code, "", "").kind;
        let page = request(&console, "GET", &path, &[], "").await;
        assert_eq!(page.status_code, 200, "{path}");
        assert!(
            page.body.contains("Error of a run"),
            "{path}: {}",
            page.body
        );
    }
    let unknown = format!("{ERROR_PAGES}/unknown");
    let page = request(&console, "GET", &unknown, &[], "").await;
    assert_eq!(page.status_code, 404);
}

#[tokio::test]
async fn failing_dependency_is_a_page_and_one_panel_does_not_take_the_others() {
    let bench = Bench::new().await;
    let console = bench.console(None);
    let cookie = signed_in(&console).await;
    let headers = [("cookie", cookie.as_str())];
    // Without the table, nobody can be authenticated.
    bench.wire.reset();
    bench.wire.break_at(0, Side::Before);
    let page = request(&console, "GET", "/dashboard", &headers, "").await;
    assert_eq!(page.status_code, 503, "{}", page.body);
    assert!(page.body.contains("A dependency is down") && page.body.contains("Try again"));
    assert!(
        page.body.contains("r-1"),
        "the page has the id of the request"
    );
    // After the authentication, the page is shown without the parts that fail.
    bench.wire.reset();
    bench.wire.break_at(2, Side::Before);
    let page = request(&console, "GET", "/dashboard", &headers, "").await;
    assert_eq!(page.status_code, 200, "{}", page.body);
    assert!(page.body.contains("A dependency is down") && page.body.contains("This month"));
    bench.wire.reset();
}

#[tokio::test]
async fn form_needs_the_token_of_its_session() {
    let bench = Bench::new().await;
    let console = bench.console(None);
    let (own, other) = (signed_in(&console).await, signed_in(&console).await);
    let page = request(
        &console,
        "GET",
        "/dashboard/secrets",
        &[("cookie", &own)],
        "",
    )
    .await;
    let token = csrf(&page);
    for (cookie, form, headers) in [
        (&own, "name=a&value=hush-hush".to_owned(), vec![]),
        (
            &other,
            format!("name=a&value=hush-hush&csrf={token}"),
            vec![],
        ),
        (
            &own,
            format!("name=a&value=hush-hush&csrf={token}"),
            vec![("sec-fetch-site", "cross-site")],
        ),
        (
            &own,
            format!("name=a&value=hush-hush&csrf={token}"),
            vec![("origin", "https://evil.example")],
        ),
    ] {
        let mut headers = headers;
        headers.push(("cookie", cookie));
        let response = request(&console, "POST", "/dashboard/secrets", &headers, &form).await;
        assert_eq!(response.status_code, 403, "{form} {headers:?}");
    }
    let headers = [("cookie", own.as_str()), ("sec-fetch-site", "same-origin")];
    let form = format!("name=a&value=hush-hush&csrf={token}");
    let response = request(&console, "POST", "/dashboard/secrets", &headers, &form).await;
    assert_eq!(response.status_code, 303, "{}", response.body);
}

#[tokio::test]
async fn change_in_the_console_has_the_audit_entry_of_the_api() {
    let bench = Bench::new().await;
    let console = bench.console(None);
    let cookie = signed_in(&console).await;
    let headers = [("cookie", cookie.as_str())];
    let path = format!("/dashboard/workflows/{WORKFLOW}");
    let page = request(&console, "GET", &path, &headers, "").await;
    let form = format!("csrf={}", csrf(&page));
    let response = request(
        &console,
        "POST",
        &format!("{path}/disable"),
        &headers,
        &form,
    )
    .await;
    assert_eq!(response.status_code, 303, "{}", response.body);
    let log = request(&console, "GET", "/dashboard/audit-log", &headers, "").await;
    assert!(log.body.contains("workflow.updated") && log.body.contains("192.0.2.1"));
}

/// How many runs the list has in the test of its cost.
const RUNS: u32 = 2_000;

#[tokio::test]
async fn list_costs_the_same_whatever_the_number_of_runs() {
    let bench = Bench::new().await;
    let console = bench.console(None);
    let cookie = signed_in(&console).await;
    let headers = [("cookie", cookie.as_str())];
    let cost = async || {
        bench.wire.reset();
        let started = Instant::now();
        let page = request(&console, "GET", "/dashboard/runs", &headers, "").await;
        assert_eq!(page.status_code, 200, "{}", page.body);
        println!(
            "the list took {:?}, {} bytes",
            started.elapsed(),
            page.body.len()
        );
        bench.wire.calls().len()
    };
    let store = bench.store();
    let own = bench.tenant(&store);
    let create = async |number: u32| {
        let id = RunId::new(bench.now(), u128::from(number) << 60 | u128::from(number));
        let run = Run::pending(
            id,
            WORKFLOW.parse().unwrap(),
            None,
            Trigger::Api,
            "sha256:00".into(),
        );
        let input = Input::inline(b"{}").unwrap().unwrap();
        own.create_run(&new_run(run, input, 90)).await.unwrap();
    };
    // More than a page.
    for number in 0..60 {
        create(number).await;
    }
    let few = cost().await;
    for number in 60..RUNS {
        create(number).await;
    }
    assert_eq!(cost().await, few);
}

#[tokio::test]
async fn assets_are_compressed_and_kept_for_a_year() {
    let bench = Bench::new().await;
    let console = bench.console(None);
    let page = request(&console, "GET", "/dashboard/sign-in", &[], "").await;
    let (_, rest) = page.body.split_once("/dashboard/assets/").unwrap();
    let name = rest.split('"').next().unwrap();
    let path = format!("/dashboard/assets/{name}");
    let asset = request(&console, "GET", &path, &[], "").await;
    assert_eq!(asset.status_code, 200);
    assert_eq!(
        asset.headers["cache-control"],
        "public, max-age=31536000, immutable"
    );
    assert_eq!(asset.headers["content-encoding"], "gzip");
    let other = request(&console, "GET", "/dashboard/assets/style-0000.css", &[], "").await;
    assert_eq!(other.status_code, 404);
}

/// The AWS calls of each page for a free tenant, with two for the session and the tenant.
#[tokio::test]
async fn pages_make_few_calls_in_two_rounds() {
    let bench = Bench::new().await;
    let console = bench.console(None);
    let cookie = signed_in(&console).await;
    let headers = [("cookie", cookie.as_str())];
    for page in PAGES {
        let expected = match page {
            "" => 16,
            "/diagnostics" => 18,
            "/billing" => 12,
            "/runs/run_01JD3V4ZK8QW5R7T9X1B3C5D7F" => 11,
            // With the names of the workflows.
            "/runs" | "/endpoints" | "/artifacts" | "/members" => 4,
            "/workflows/new" | "/endpoints/check" | "/settings" | "/docs/errors" => 2,
            _ => 3,
        };
        bench.wire.reset();
        let path = format!("/dashboard{page}");
        request(&console, "GET", &path, &headers, "").await;
        let calls = bench.wire.calls();
        assert_eq!(calls.len(), expected, "{page}: {calls:?}");
        assert!(bench.wire.rounds() <= 2, "{page}");
    }
}

/// The run and what belongs to it, then what only the run names: input, output, version, workflow.
#[tokio::test]
async fn page_of_an_ended_run_takes_two_rounds() {
    let bench = Bench::new().await;
    let (ingest, executor) = (bench.ingest(), bench.executor());
    // The input and the output are in the bucket.
    let body =
        json!({"id": "order-1", "pad": "x".repeat(100), "noise": (0..9_000).collect::<Vec<_>>()});
    let accepted = bench.post(&ingest, "order-1", &body.to_string()).await;
    let run = json_of(&accepted)["run_id"].as_str().unwrap().to_owned();
    let messages = bench.messages().await;
    bench.deliver(&executor, &messages, 1).await;
    let console = bench.console(None);
    let cookie = signed_in(&console).await;
    let headers = [("cookie", cookie.as_str())];
    bench.wire.reset();
    let path = format!("/dashboard/runs/{run}");
    let page = request(&console, "GET", &path, &headers, "").await;
    assert!(
        page.body.contains("data-status=\"completed\""),
        "{}",
        page.body
    );
    let calls = bench.wire.calls();
    assert_eq!((calls.len(), bench.wire.rounds()), (16, 2), "{calls:?}");
}
