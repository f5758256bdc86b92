//! The layers around every route, from the outermost: request log, headers of the response, check
//! of the API version.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderName, HeaderValue, Method,
    header::{
        CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, REFERRER_POLICY,
        STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    },
};
use tower_http::{set_header::SetResponseHeaderLayer, trace::TraceLayer};
use tracing::{Span, field::Empty};

use super::{
    API_VERSION,
    auth::is_secret_form,
    problem::{Problem, kinds},
    request::{Origin, base_url},
    response::WithHeader as _,
    routes::Routes,
};
use crate::telemetry::ErrorChain;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const VERSION: HeaderName = HeaderName::from_static("api-version");

/// Headers of every response that does not set them itself.
const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (REFERRER_POLICY, "no-referrer"),
    (STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// A service of these routes. An unknown route is `404`, a method that a route does not have `405`
/// with `Allow`.
pub fn service(routes: Routes) -> Router {
    let router = routes
        .into_router()
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::new(&kinds::METHOD_NOT_ALLOWED))
        .layer(from_fn(respond));
    let router = SECURITY_HEADERS
        .into_iter()
        .fold(router, |router, (name, value)| {
            let value = HeaderValue::from_static(value);
            router.layer(SetResponseHeaderLayer::if_not_present(name, value))
        });
    router.layer(
        TraceLayer::new_for_http()
            .make_span_with(request_span)
            .on_request(())
            .on_response(log_response)
            .on_failure(()),
    )
}

/// Completes a response: the body of a problem, the request id, the API version.
async fn respond(request: Request, next: Next) -> Response {
    let origin = request.extensions().get().cloned();
    let origin: Origin = origin.unwrap_or_default();
    let base_url = base_url(request.headers(), &origin);
    let path = loggable(request.uri().path());
    let is_head = request.method() == Method::HEAD;
    let mut response = match refusal(&request) {
        None => next.run(request).await,
        Some(problem) => problem.into_response(),
    };
    if let Some(problem) = response.extensions().get::<Problem>() {
        let body = problem.body(&base_url, &path, &origin.request_id);
        response.headers_mut().remove(CONTENT_LENGTH);
        if !is_head {
            *response.body_mut() = Body::from(body);
        }
    }
    response
        .with(REQUEST_ID, origin.request_id)
        .with(VERSION, API_VERSION)
}

/// Why a request is refused before routing: it could not be read, or it requests another API
/// version.
fn refusal(request: &Request) -> Option<Problem> {
    if let Some(problem) = request.extensions().get::<Problem>() {
        return Some(problem.clone());
    }
    let version = request.headers().get(VERSION)?;
    (version != API_VERSION).then(|| {
        Problem::new(&kinds::UNKNOWN_API_VERSION)
            .detail(format!("the only version of this API is {API_VERSION}"))
    })
}

/// The span of a request. Layers and handlers add the tenant, the user and the run to it.
fn request_span(request: &Request) -> Span {
    let origin = request.extensions().get::<Origin>();
    tracing::error_span!(
        "request",
        request_id = origin.map(|origin| origin.request_id.as_str()),
        method = request.method().as_str(),
        path = loggable(request.uri().path()),
        tenant_id = Empty,
        user_id = Empty,
        run_id = Empty,
    )
}

/// Logs the response.
fn log_response<B>(response: &http::Response<B>, latency: Duration, _: &Span) {
    let status = response.status().as_u16();
    let duration_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
    let problem = response.extensions().get::<Problem>();
    let code = problem.map(|problem| problem.kind().code);
    let cause = problem.and_then(Problem::cause);
    let error = cause.map(|cause| ErrorChain(cause).to_string());
    if status >= 500 {
        tracing::error!(event = "request_failed", status, code, duration_ms, error);
    } else {
        tracing::info!(event = "request_answered", status, code, duration_ms, error);
    }
}

/// A path without its secret, which follows the tenant in a webhook URL, however that is spelled.
fn loggable(path: &str) -> String {
    let is_of_webhook = path.split('/').any(|part| part.contains("hooks"));
    let is_tenant = |part: &&str| part.starts_with("ten_");
    let parts = path.split('/');
    let tenant = parts.clone().position(|part| is_tenant(&part));
    let text = match tenant.filter(|_| is_of_webhook) {
        Some(place) if parts.clone().count() > place + 1 => {
            let shown: Vec<&str> = parts.take(place + 1).collect();
            format!("{}/…", shown.join("/"))
        }
        _ => {
            let hidden = |part| if is_secret_form(part) { "…" } else { part };
            parts.map(hidden).collect::<Vec<_>>().join("/")
        }
    };
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_secret_is_not_logged() {
        for (path, logged) in [
            ("/api/webhooks/ten_1/s3cret", "/api/webhooks/ten_1/…"),
            ("/api/webhooks/ten_1/s3cret/x/y", "/api/webhooks/ten_1/…"),
            ("//api//webhooks/ten_1/s3cret", "//api//webhooks/ten_1/…"),
            ("/api/%77ebhooks/ten_1/s3cret", "/api/%77ebhooks/ten_1/…"),
            (
                "/webhook/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                "/webhook/…",
            ),
            (
                "/api/webhook-endpoints/whe_1",
                "/api/webhook-endpoints/whe_1",
            ),
            ("/api/runs/run_1", "/api/runs/run_1"),
        ] {
            assert_eq!(loggable(path), logged);
        }
    }
}
