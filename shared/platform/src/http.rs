//! HTTP behind API Gateway: from an event to an answer, whatever comes.
//!
//! ```text
//! event ──Request──▶ who calls (auth) ──▶ endpoint ──▶ Response ──▶ answer
//!                        ╰────── Problem ──────╯
//! ```
//! Nothing in here fails: an error would reach the caller as a bare 502.

mod api;
mod audit;
mod auth;
mod idempotent;
mod json;
mod oidc;
mod problem;
mod rate;
mod request;
mod response;
mod tokens;

use std::{future::Future, time::Instant};

pub use api::{Api, run};
pub use audit::{Changed, entry, shown};
pub use auth::{
    Actor, Auth, Caller, Identity, Issuer, SECRET_LENGTH, TOKEN_PREFIX, is_secret_form,
    parts_of_key,
};
pub use idempotent::Once;
pub use json::{parse_body, parse_body_of};
pub use problem::{Fault, Problem};
pub use request::{HttpEvent, Method, Request};
pub use response::{HttpAnswer, Response};

use crate::{narrow, telemetry::Chain};

/// The version of the API that these functions speak.
pub const API_VERSION: &str = "2026-11-01";

/// What is known of a request by the time it is answered, for its log line.
#[derive(Debug, Default)]
pub struct Seen {
    tenant_id: Option<String>,
    user_id: Option<String>,
    run_id: Option<String>,
}

impl Seen {
    /// Who called.
    pub fn caller(&mut self, caller: &Caller) {
        self.tenant_id = Some(caller.tenant.id.to_string());
        self.user_id = Some(caller.actor.to_string());
    }

    /// Whose it is.
    pub fn tenant(&mut self, id: aias_domain::id::TenantId) {
        self.tenant_id = Some(id.to_string());
    }

    /// Which run it is about.
    pub fn run(&mut self, id: aias_domain::id::RunId) {
        self.run_id = Some(id.to_string());
    }
}

/// Answers an event: reads it, lets `endpoint` answer, turns a problem into an answer, and writes
/// the request's one log line.
pub async fn serve<F>(event: HttpEvent, endpoint: impl FnOnce(Request, SeenCell) -> F) -> HttpAnswer
where
    F: Future<Output = Result<Response, Problem>>,
{
    let began = Instant::now();
    let seen = SeenCell::default();
    let (method, path, request_id) = event.summary();
    let is_head = method == "HEAD";
    let result = match Request::read(event) {
        Err(problem) => Err(problem),
        Ok(request) => match request.header("api-version") {
            None | Some(API_VERSION) => {
                Box::pin(narrow::scope(endpoint(request, seen.clone()))).await
            }
            Some(_) => Err(
                Problem::bad_request("unknown-api-version", "Unknown API version")
                    .detail(format!("this API speaks {API_VERSION}")),
            ),
        },
    };
    let error = result
        .as_ref()
        .err()
        .and_then(Problem::cause)
        .map(|cause| Chain(cause).to_string());
    let (response, code) = match result {
        Ok(response) => (response, None),
        Err(problem) => (problem.answer(&path, &request_id), Some(problem.code())),
    };
    let status = response.status();
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let seen = seen.0.borrow();
    let (tenant_id, user_id, run_id) = (
        seen.tenant_id.as_deref(),
        seen.user_id.as_deref(),
        seen.run_id.as_deref(),
    );
    let path = loggable(&path);
    if status >= 500 {
        tracing::error!(
            request_id,
            method,
            path,
            status,
            code,
            tenant_id,
            user_id,
            run_id,
            duration_ms,
            error,
            "the request failed"
        );
    } else {
        tracing::info!(
            request_id,
            method,
            path,
            status,
            code,
            tenant_id,
            user_id,
            run_id,
            duration_ms,
            error,
            "the request was answered"
        );
    }
    response.into_answer(&request_id, is_head)
}

/// A path without what is secret in it: the last part of a webhook's URL.
fn loggable(path: &str) -> String {
    let mut parts: Vec<&str> = path.splitn(6, '/').collect();
    if parts.get(2) == Some(&"webhooks") && parts.len() >= 5 {
        parts.truncate(4);
        parts.push("…");
    }
    let text = parts.join("/");
    text.chars().take(200).collect()
}

/// [`Seen`], shared with the endpoint that fills it.
#[derive(Debug, Clone, Default)]
pub struct SeenCell(std::rc::Rc<std::cell::RefCell<Seen>>);

impl SeenCell {
    /// Notes something.
    pub fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.0.borrow_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_secret_is_not_logged() {
        assert_eq!(
            loggable("/api/webhooks/ten_1/s3cret"),
            "/api/webhooks/ten_1/…"
        );
        assert_eq!(
            loggable("/api/webhooks/ten_1/s3cret/x/y"),
            "/api/webhooks/ten_1/…"
        );
        assert_eq!(loggable("/api/runs/run_1"), "/api/runs/run_1");
    }
}
