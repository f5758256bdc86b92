//! Requests to the API in this process.

mod views;

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode,
        header::{CONTENT_TYPE, ETAG, HOST, IF_MATCH, LOCATION, RETRY_AFTER},
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use aias_platform::http::{Head, Identity};

pub(crate) use views::*;

/// The largest response: that of Lambda.
const MAX_RESPONSE_BYTES: usize = 6 * 1024 * 1024;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[derive(Debug, Clone)]
pub(crate) struct Client(Router);

/// A response of the API that is not an error.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An error response of the API.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ApiProblem {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) detail: Option<String>,
    #[serde(default)]
    pub(crate) request_id: String,
    #[serde(default)]
    pub(crate) errors: Vec<Fault>,
    /// Of `sample-changed`.
    #[serde(default)]
    pub(crate) samples: Vec<ChangedSample>,
    /// The seconds of `Retry-After`.
    #[serde(skip)]
    pub(crate) retry_after: Option<u32>,
}

/// A fault of a body.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Fault {
    pub(crate) pointer: String,
    pub(crate) detail: String,
    pub(crate) line: Option<u64>,
    pub(crate) column: Option<u64>,
}

pub(crate) type ApiResult<T = Reply> = Result<T, ApiProblem>;

impl ApiProblem {
    /// From the body of a response.
    pub(crate) fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body)
            .unwrap_or_else(|_| Self::unreadable("the error has no problem details"))
    }

    fn unreadable(detail: &str) -> Self {
        Self {
            status: 500,
            code: "internal".to_owned(),
            title: "The response of the API cannot be read".to_owned(),
            detail: Some(detail.to_owned()),
            request_id: String::new(),
            errors: Vec::new(),
            samples: Vec::new(),
            retry_after: None,
        }
    }
}

/// A request to the API, as the caller of a page.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    client: &'a Client,
    request: Request<Body>,
}

impl Client {
    pub(crate) fn new(router: Router) -> Self {
        Self(router)
    }

    /// A request on behalf of `identity`. It has the host and the origin of the browser's request,
    /// for URLs and audit entries.
    pub(crate) fn call(
        &self,
        method: Method,
        path: &str,
        identity: Identity,
        head: &Head,
    ) -> Call<'_> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        // A malformed path matches no route.
        *request.uri_mut() = path.parse().unwrap_or_default();
        for name in [HOST, HeaderName::from_static("x-forwarded-proto")] {
            let value = head.header(name.as_str()).map(HeaderValue::from_str);
            if let Some(Ok(value)) = value {
                request.headers_mut().insert(name, value);
            }
        }
        request.extensions_mut().insert(head.origin.clone());
        request.extensions_mut().insert(identity);
        Call {
            client: self,
            request,
        }
    }
}

impl Call<'_> {
    fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.request.headers_mut().insert(name, value);
        }
        self
    }

    /// Refuses the change unless the object has this `ETag`. An empty one is ignored.
    pub(crate) fn if_match(self, etag: &str) -> Self {
        if etag.is_empty() {
            return self;
        }
        self.header(IF_MATCH, etag)
    }

    /// Creates an object once, however often the form is sent.
    pub(crate) fn once(self, key: &str) -> Self {
        if key.is_empty() {
            return self;
        }
        self.header(IDEMPOTENCY_KEY, key)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn yaml(self, body: String) -> Self {
        self.body("application/yaml", body)
    }

    fn body(self, content_type: &str, body: String) -> Self {
        let mut call = self.header(CONTENT_TYPE, content_type);
        *call.request.body_mut() = Body::from(body);
        call
    }

    pub(crate) async fn send(self) -> ApiResult {
        let response = self.client.0.clone().oneshot(self.request).await;
        let response = response.unwrap_or_else(|never| match never {});
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, MAX_RESPONSE_BYTES)
            .await
            .map_err(|_| ApiProblem::unreadable("the response is too large"))?;
        let status = parts.status;
        if status.is_client_error() || status.is_server_error() {
            return Err(problem_of(status, &parts.headers, &body));
        }
        Ok(Reply {
            status,
            headers: parts.headers,
            body,
        })
    }

    /// Sends the request and parses the response.
    pub(crate) async fn get<T: DeserializeOwned>(self) -> ApiResult<T> {
        self.send().await?.parse()
    }
}

fn problem_of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiProblem {
    let retry_after = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
    ApiProblem {
        status: status.as_u16(),
        retry_after: retry_after.and_then(|seconds| seconds.parse().ok()),
        ..ApiProblem::of(body)
    }
}

impl Reply {
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> ApiResult<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            tracing::error!(event = "api_response_unreadable", %error);
            ApiProblem::unreadable("a member is missing or has another type")
        })
    }

    fn text_header(&self, name: HeaderName) -> &str {
        let value = self.headers.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default()
    }

    pub(crate) fn etag(&self) -> &str {
        self.text_header(ETAG)
    }

    pub(crate) fn location(&self) -> &str {
        self.text_header(LOCATION)
    }
}

/// The members of an object that have a value.
pub(crate) fn present_members<const N: usize>(members: [(&str, Value); N]) -> Value {
    let present = |value: &Value| !value.is_null() && value != "";
    members
        .into_iter()
        .filter(|(_, value)| present(value))
        .fold(json!({}), |mut all, (name, value)| {
            all[name] = value;
            all
        })
}
