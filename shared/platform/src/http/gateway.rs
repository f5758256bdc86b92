//! Adapts a router to the events of an API Gateway HTTP API (payload format 2.0).
//!
//! `lambda_http` converts an event to a request and a response to the response of the event. It
//! panics on a body that is not base64 although the event says so, and on an invalid host, path or
//! query. An event with a header that the `http` crate refuses is rejected before the adapter, and
//! that crate panics on more than 24,576 headers. [`Gateway`] checks for all of these first and
//! responds with `400`, since a panic would be a bare `502` to the caller.

use std::{borrow::Cow, collections::HashMap, convert::Infallible, future::ready, pin::Pin};

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{Uri, header::CONTENT_LENGTH, header::HOST, request::Parts},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lambda_http::{
    Adapter, Body as EventBody, IntoResponse, request::LambdaRequest, tower::ServiceExt as _,
};
use lambda_runtime::{Context, LambdaEvent, Service as _, service_fn};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};
use url::Url;

use super::{
    problem::{Problem, kinds},
    request::{Origin, text_of},
};

/// Serves a router's requests until the execution environment ends.
///
/// # Errors
/// When the Lambda runtime itself fails.
pub async fn run(router: Router) -> Result<(), lambda_runtime::Error> {
    let gateway = &Gateway::new(router);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        Ok::<_, Infallible>(gateway.respond(&event.payload).await)
    }))
    .await
}

#[derive(Debug, Clone)]
pub struct Gateway {
    router: Router,
}

impl Gateway {
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self { router }
    }

    /// The response to an event, in the form of API Gateway.
    pub async fn respond(&self, payload: &RawValue) -> impl Serialize + use<> {
        let (event, request) = match read(payload) {
            Ok((event, body)) => {
                let origin = origin_of(&event);
                (event, ReadRequest::Taken(origin, body))
            }
            Err(problem) => (
                ApiGatewayV2httpRequest::default(),
                ReadRequest::Refused(origin_in(payload), problem),
            ),
        };
        let router = self.router.clone();
        let mut request = Some(request);
        let mut adapter = Adapter::from(service_fn(move |event: lambda_http::Request| {
            let (parts, _) = event.into_parts();
            let request = request.take().unwrap_or_default().with(parts);
            let response = router.clone().oneshot(request);
            async move {
                let response = response.await.unwrap_or_else(|never| match never {});
                Ok::<_, Infallible>(EventResponse::of(response).await)
            }
        }));
        // Otherwise the adapter would replace the sender's trace header by the trace id of the
        // invocation.
        let context = Context::default();
        let event = LambdaEvent::new(LambdaRequest::ApiGatewayV2(event), context);
        adapter
            .call(event)
            .await
            .unwrap_or_else(|never| match never {})
    }
}

/// The parts of a request that the adapter's request lacks.
#[derive(Debug, Default)]
enum ReadRequest {
    Taken(Origin, Bytes),
    Refused(Origin, Problem),
    #[default]
    Answered,
}

impl ReadRequest {
    fn with(self, mut parts: Parts) -> Request {
        let body = match self {
            Self::Taken(origin, body) => {
                parts.extensions.insert(origin);
                Body::from(body)
            }
            Self::Refused(origin, problem) => {
                parts.extensions.insert(origin);
                parts.extensions.insert(problem);
                Body::empty()
            }
            Self::Answered => Body::empty(),
        };
        Request::from_parts(parts, body)
    }
}

/// How many headers an event may have. API Gateway accepts 10 KB of them; the `http` crate holds 24,576.
const MAX_HEADERS: usize = 20_000;

/// The headers of an event, without the limit of the `http` crate.
#[derive(Deserialize)]
struct Headers<'a> {
    #[serde(borrow, default)]
    headers: Option<HashMap<Cow<'a, str>, IgnoredAny>>,
}

/// Whether an event has too many headers. Only an event of 140 KB or more can, so smaller ones are
/// not parsed for this.
fn has_too_many_headers(payload: &str) -> bool {
    const FEWEST_BYTES: usize = "\"a\":\"\",".len();
    if payload.len() < MAX_HEADERS * FEWEST_BYTES {
        return false;
    }
    let event: Result<Headers<'_>, _> = serde_json::from_str(payload);
    let headers = event.ok().and_then(|event| event.headers);
    headers.is_some_and(|headers| headers.len() > MAX_HEADERS)
}

/// An event that the adapter can convert, and its body.
fn read(payload: &RawValue) -> Result<(ApiGatewayV2httpRequest, Bytes), Problem> {
    let refuse = |detail: &str| Problem::new(&kinds::MALFORMED_REQUEST).detail(detail);
    if has_too_many_headers(payload.get()) {
        return Err(refuse("the request has too many headers"));
    }
    let mut event: ApiGatewayV2httpRequest = serde_json::from_str(payload.get())
        .map_err(|error| refuse("the method or a header is malformed").because(error))?;
    let text = event.body.take().unwrap_or_default();
    let body = if event.is_base64_encoded {
        let bytes = STANDARD.decode(text).map_err(|error| {
            Problem::new(&kinds::MALFORMED_BODY)
                .detail("the body is not base64")
                .because(error)
        })?;
        bytes.into()
    } else {
        text.into()
    };
    match uri_of(&event) {
        Some(_) => Ok((event, body)),
        None => Err(refuse("the host, the path or the query is malformed")),
    }
}

/// The URI that the adapter builds from an event.
fn uri_of(event: &ApiGatewayV2httpRequest) -> Option<Uri> {
    let header = |name: &str| event.headers.get(name)?.to_str().ok();
    let domain = event.request_context.domain_name.as_deref();
    let host = header(HOST.as_str()).or(domain).unwrap_or("localhost");
    let scheme = header("x-forwarded-proto").unwrap_or("https");
    let path = event.raw_path.as_deref().unwrap_or_default();
    let stage = event.request_context.stage.as_deref();
    let prefix = stage.filter(|stage| *stage != "$default");
    let prefix = prefix.map(|stage| format!("/{stage}")).unwrap_or_default();
    let mut uri = Url::parse(&format!("{scheme}://{host}{prefix}{path}"))
        .ok()?
        .to_string();
    if let Some(query) = event.raw_query_string.as_deref().filter(|q| !q.is_empty()) {
        uri.push('?');
        uri.push_str(query);
    }
    let uri: Uri = uri.parse().ok()?;
    uri.path().starts_with('/').then_some(uri)
}

fn origin_of(event: &ApiGatewayV2httpRequest) -> Origin {
    let context = &event.request_context;
    Origin {
        request_id: context.request_id.clone().unwrap_or_default(),
        source_ip: context.http.source_ip.clone().unwrap_or_default(),
        host: context.domain_name.clone().unwrap_or_default(),
    }
}

/// The origin of an event that cannot be parsed.
fn origin_in(payload: &RawValue) -> Origin {
    let event: Value = serde_json::from_str(payload.get()).unwrap_or_default();
    let context = &event["requestContext"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Origin {
        request_id: text(&context["requestId"]),
        source_ip: text(&context["http"]["sourceIp"]),
        host: text(&context["domainName"]),
    }
}

/// A response with its body in memory: text if it is UTF-8, otherwise base64.
struct EventResponse(lambda_http::Response<EventBody>);

impl EventResponse {
    async fn of(response: axum::response::Response) -> Self {
        let (mut parts, body) = response.into_parts();
        // Handlers return bodies in memory, so reading one cannot fail.
        let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
        parts.headers.remove(CONTENT_LENGTH);
        // API Gateway accepts only UTF-8 in header values.
        let invalid: Vec<_> = parts
            .headers
            .iter()
            .filter(|(_, value)| text_of(value).is_none())
            .map(|(name, _)| name.clone())
            .collect();
        for name in invalid {
            parts.headers.remove(name);
        }
        let body = match String::from_utf8(bytes.into()) {
            Ok(text) if text.is_empty() => EventBody::Empty,
            Ok(text) => EventBody::Text(text),
            Err(error) => EventBody::Binary(error.into_bytes()),
        };
        Self(lambda_http::Response::from_parts(parts, body))
    }
}

type ResponseFuture = Pin<Box<dyn Future<Output = lambda_http::Response<EventBody>> + Send>>;

impl IntoResponse for EventResponse {
    fn into_response(self) -> ResponseFuture {
        Box::pin(ready(self.0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::{Routes, service};

    #[tokio::test]
    async fn request_with_too_many_headers_is_refused() {
        let gateway = Gateway::new(service(Routes::new()));
        let status = async |headers: usize| {
            let all: serde_json::Map<String, Value> = (0..headers)
                .map(|number| (format!("x-{number}"), "".into()))
                .collect();
            let event = json!({
                "rawPath": "/", "headers": all, "requestContext": {"http": {"method": "GET"}},
            });
            let payload = RawValue::from_string(event.to_string()).unwrap();
            let response = serde_json::to_value(gateway.respond(&payload).await).unwrap();
            response["statusCode"].as_u64().unwrap()
        };
        assert_eq!(status(20_000).await, 404);
        assert_eq!(status(20_001).await, 400);
        // The `http` crate panics on this many.
        assert_eq!(status(40_000).await, 400);
    }
}
