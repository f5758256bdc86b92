//! The catalogue of sources, and a check of a recorded request.

use std::collections::BTreeMap;

use aias_domain::{
    event::{self, Request},
    verification::{Explanation, Handshake, Scheme, SecretOrigin, catalogue, explain, key_bytes},
};
use aias_platform::http::{
    JsonBody, Path, Problem, RequestBody, Result, Viewer,
    response::{json, object},
    whole_list,
};
use axum::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{App, verification::VerificationInput};

/// A source in a list.
#[derive(Serialize, ToSchema)]
#[schema(as = SourceHead)]
pub(crate) struct SourceHead {
    /// The value of `verification.scheme`.
    #[schema(example = "github")]
    name: &'static str,
    #[schema(example = "GitHub")]
    title: String,
    /// Whether the provider proves its requests.
    verified: bool,
    secret_origin: SecretOrigin,
    handshakes: Vec<Handshake>,
    #[schema(format = "uri")]
    docs: String,
}

/// A source.
#[derive(Serialize, ToSchema)]
#[schema(as = Source)]
pub(crate) struct SourceView {
    #[serde(flatten)]
    head: SourceHead,
    /// When this entry was last compared with the documentation; `null` if it was not.
    #[schema(format = "date")]
    checked: Option<String>,
    /// What the secret is.
    secret: Option<String>,
    /// What is to be done at the provider, in order.
    steps: Vec<String>,
    /// What the signature does not prove.
    caution: Option<String>,
    /// The body of an event, with invented values: JSON, or the text of a form.
    #[schema(value_type = Value)]
    sample: Value,
    /// The headers of the sample that a workflow uses.
    sample_headers: BTreeMap<String, String>,
    /// The definition of a workflow that uses an event, as YAML.
    workflow: String,
    /// How requests are verified and answered. A `custom` scheme has the same members.
    scheme: Scheme,
}

fn source(name: &str) -> Option<SourceView> {
    let name = catalogue::names().find(|own| *own == name)?;
    let (scheme, guide) = (catalogue::scheme(name)?, catalogue::guide(name)?);
    let workflow = guide.template(name);
    Some(SourceView {
        head: SourceHead {
            name,
            title: guide.title,
            verified: scheme.is_signed(),
            secret_origin: scheme.secret.origin,
            handshakes: scheme.handshakes.clone(),
            docs: guide.docs,
        },
        checked: guide.checked,
        secret: guide.secret,
        steps: guide.steps,
        caution: guide.caution,
        sample: guide.sample,
        sample_headers: guide.headers,
        workflow,
        scheme,
    })
}

/// List the sources
///
/// The providers whose requests AIAS can verify, by name.
#[utoipa::path(
    get,
    path = "/api/sources",
    tag = "sources",
    responses((status = 200, description = "All sources", body = aias_platform::http::openapi::Page<SourceHead>)),
    extensions(("x-role" = json!("viewer"))),
)]
pub(crate) async fn list_sources(_: Viewer<App>) -> Result {
    let sources: Vec<_> = catalogue::names()
        .filter_map(|name| source(name).map(|source| source.head))
        .collect();
    whole_list(&sources)
}

/// Get a source
///
/// How to connect a provider, and how its requests are verified.
#[utoipa::path(
    get,
    path = "/api/sources/{name}",
    tag = "sources",
    params(("name" = String, Path, description = "The name of the source")),
    responses((
        status = 200, description = "The source", body = SourceView, headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("viewer"))),
)]
pub(crate) async fn get_source(_: Viewer<App>, Path(name): Path<String>) -> Result {
    let source = source(&name).ok_or_else(Problem::not_found)?;
    object(StatusCode::OK, &source)
}

/// A recorded request, and how it should be verified.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceCheck {
    /// As for an endpoint, with `scheme` and `secret`.
    verification: VerificationInput,
    request: RecordedRequest,
    /// When the request was received; now by default.
    #[schema(value_type = Option<String>, format = DateTime)]
    received_at: Option<Timestamp>,
}

impl RequestBody for SourceCheck {}

/// A request as a provider sent it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RecordedRequest {
    /// `POST` by default.
    method: Option<String>,
    /// The URL that the provider called, which some providers sign.
    #[schema(format = "uri")]
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The raw body as text.
    body: Option<String>,
    /// The raw body in base64, if it is not UTF-8.
    body_base64: Option<String>,
}

/// The result of a check.
#[derive(Serialize, ToSchema)]
#[schema(as = SourceCheckResult)]
pub(crate) struct CheckView {
    #[serde(flatten)]
    explanation: Explanation,
    /// The event id that the request would have.
    event_id: Option<String>,
    /// The event type that the request would have.
    event_type: Option<String>,
}

/// Check a recorded request
///
/// Says step by step what was signed, what was expected and where the request differs. Nothing is
/// stored, and the response does not contain the secret. A published key is fetched from the provider;
/// without it the response is `503`.
#[utoipa::path(
    post,
    path = "/api/sources/check",
    tag = "sources",
    request_body = SourceCheck,
    responses((status = 200, description = "Whether the request is verified, and why not", body = CheckView)),
    extensions(("x-role" = json!("viewer"))),
)]
pub(crate) async fn check_source(
    ctx: Viewer<App>,
    JsonBody { value, .. }: JsonBody<SourceCheck>,
) -> Result {
    let (scheme, secret) = value.verification.for_check()?;
    let recorded = value.request;
    let body = match (recorded.body, recorded.body_base64) {
        (Some(_), Some(_)) => {
            let detail = "either `body` or `body_base64`";
            return Err(Problem::invalid_member("/request/body_base64", detail));
        }
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => STANDARD
            .decode(text)
            .map_err(|_| Problem::invalid_member("/request/body_base64", "not base64"))?,
        (None, None) => Vec::new(),
    };
    let headers: Vec<(String, String)> = recorded
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let url = recorded.url.unwrap_or_default();
    let method = recorded.method.unwrap_or_else(|| "POST".to_owned());
    let request = Request {
        method: &method.to_ascii_uppercase(),
        url: &url,
        headers: headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect(),
        query: url.split_once('?').map_or("", |(_, query)| query),
        body: &body,
    };
    let key = key_bytes(scheme.secret.form, &secret);
    let keys = &ctx.app.published_keys;
    let values = keys.values_of(&scheme, key.as_deref(), &request).await?;
    let view = CheckView {
        explanation: explain(
            &scheme,
            &secret,
            &values,
            value.received_at.unwrap_or(ctx.now),
        ),
        event_id: event::event_id(&scheme, &values).ok().flatten(),
        event_type: event::event_type(&scheme, &values),
    };
    json(StatusCode::OK, &view)
}
