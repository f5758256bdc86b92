//! Requests to hosts that a tenant names: limited in time, size and redirects, and only to public
//! addresses. The name of every hop is resolved, checked and pinned ([`Guard`]).

mod authentication;
mod connections;
mod guard;
mod redact;

use std::{io, time::Duration};

use aias_domain::{canonical, id::RunId, id::TenantId};
use aias_engine::journal::{Body, Effect, EffectResult, Failure, HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::dns::{ResolveDns, ResolveDnsError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri,
    header::{AUTHORIZATION, CONTENT_LENGTH},
};
use tokio::time::timeout;

use connections::Connections;
pub(crate) use guard::GuardedResolver;
pub use guard::{Guard, NetworkParseError};
pub use redact::Redactions;

use crate::client::{Client, RequestError, SystemResolver};

/// The time limit of an effect, including redirects and the token request.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Connect timeout. TCP retransmits a lost packet after 1 s and 3 s.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest response body, in bytes.
pub const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// The most redirects of a request.
const MAX_HOPS: usize = 5;

/// The most headers of a response that are kept, and their longest value in bytes.
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 8_192;

const USER_AGENT: &str = concat!("aias/", env!("CARGO_PKG_VERSION"));

/// Headers with credentials, which are not sent to another origin.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Sends requests to hosts that a tenant names.
#[derive(Debug)]
pub struct Outbound {
    connections: Connections,
    guard: Guard,
    tokens: authentication::Tokens,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Error {
    /// The address is not allowed.
    Forbidden(String),
    /// The connection failed or was closed: why.
    Unreachable(String),
    /// The time limit of this host expired.
    TooLate(String),
    /// The response is too large.
    TooLarge,
    /// The request is invalid.
    Malformed(&'static str),
    /// Authentication failed.
    Authentication(String),
}

impl From<RequestError> for Error {
    fn from(why: RequestError) -> Self {
        match why {
            RequestError::TooLarge(_) => Self::TooLarge,
            RequestError::Truncated => {
                Self::Unreachable("the connection was closed within the response".to_owned())
            }
            RequestError::Unreachable(error) => match guard::refused(&error) {
                Some(why) => Self::Forbidden(why),
                None => Self::Unreachable(cause(&error)),
            },
        }
    }
}

/// Why a connection failed, in words for the author of a workflow.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| {
        // An `io::Error` shows the error in it instead of being its source.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref())
            .map(|inner| inner as &(dyn std::error::Error + 'static));
        inner.or_else(|| error.source())
    });
    let mut found = "the connection was closed without a response".to_owned();
    for cause in causes {
        if cause.is::<ResolveDnsError>() {
            return "the name of the host cannot be resolved".to_owned();
        }
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return format!("TLS failed: {error}");
        }
        let Some(error) = cause.downcast_ref::<io::Error>() else {
            continue;
        };
        let is = |kinds: &[io::ErrorKind]| kinds.contains(&error.kind());
        if is(&[io::ErrorKind::ConnectionRefused]) {
            "the connection was refused".clone_into(&mut found);
        } else if is(&[io::ErrorKind::ConnectionReset]) {
            "the connection was reset".clone_into(&mut found);
        } else if is(&[io::ErrorKind::TimedOut]) {
            found = format!("no connection within {} s", CONNECT_TIMEOUT.as_secs());
        } else if is(&[
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::NetworkUnreachable,
        ]) {
            "there is no route to the host".clone_into(&mut found);
        }
    }
    found
}

/// An error with the host to which it happened.
fn at_host(error: Error, host: &str) -> Error {
    match error {
        Error::Unreachable(why) => Error::Unreachable(format!("{host}: {why}")),
        other @ (Error::Forbidden(_)
        | Error::TooLate(_)
        | Error::TooLarge
        | Error::Malformed(_)
        | Error::Authentication(_)) => other,
    }
}

impl Error {
    fn failure(self) -> Failure {
        let (kind, status, title, detail) = match self {
            Self::Forbidden(why) => ("communication", 403, "Forbidden Address", why),
            Self::Unreachable(why) => ("communication", 502, "Bad Gateway", why),
            Self::TooLate(host) => (
                "communication",
                504,
                "Gateway Timeout",
                format!("{host}: no response within {} s", CALL_TIMEOUT.as_secs()),
            ),
            Self::TooLarge => (
                "communication",
                502,
                "Bad Gateway",
                format!("the response has more than {MAX_RESPONSE_BYTES} bytes"),
            ),
            Self::Malformed(why) => ("configuration", 400, "Configuration Error", why.to_owned()),
            Self::Authentication(why) => ("authentication", 401, "Authentication Error", why),
        };
        Failure {
            kind: kind.to_owned(),
            status,
            title: title.to_owned(),
            detail,
        }
    }
}

/// The `Idempotency-Key` of an effect: the same for each attempt, different for every other effect.
fn idempotency_key(run: RunId, effect: &Effect) -> String {
    let name = format!("{}\n{}", effect.key.task, effect.occurrence);
    let digest = canonical::digest(name.as_bytes());
    let short = digest.get(7..39).unwrap_or_default();
    format!("{run}-{short}")
}

impl Outbound {
    /// Uses the resolver of the system, checked by `guard`.
    #[must_use]
    pub fn new(guard: Guard) -> Self {
        Self::with_resolver(guard, SystemResolver)
    }

    /// Uses `resolver`, whose results are checked by `guard`.
    #[must_use]
    pub fn with_resolver(guard: Guard, resolver: impl ResolveDns + Clone + 'static) -> Self {
        let resolver = GuardedResolver::new(guard.clone(), resolver);
        Self {
            connections: Connections::new(move || {
                Client::with_resolver(resolver.clone(), CONNECT_TIMEOUT)
            }),
            guard,
            tokens: authentication::Tokens::default(),
        }
    }

    /// Sends a request and reads its response, whatever the status. The response is redacted: it
    /// contains neither the strings in `redactions` nor the credentials of the request.
    pub async fn call(
        &self,
        tenant: TenantId,
        run: RunId,
        effect: &Effect,
        request: &HttpRequest,
        mut redactions: Redactions,
    ) -> EffectResult {
        let key = idempotency_key(run, effect);
        let calling = self.authenticated(tenant, &key, request, &mut redactions);
        let called = timeout(CALL_TIMEOUT, calling).await;
        let too_late = || Err(Error::TooLate(host_of(&request.uri)));
        match called.unwrap_or_else(|_| too_late()) {
            Ok(response) => EffectResult::Http(redactions.redact(response)),
            Err(error) => EffectResult::Failed(redactions.redact_failure(error.failure())),
        }
    }

    /// Follows redirects to the last response. `authorization`, and headers with one of `secrets`,
    /// are sent to the first origin only; a body with a secret is not sent to another origin.
    async fn follow(
        &self,
        request: &HttpRequest,
        key: Option<&str>,
        authorization: Option<&str>,
        secrets: &Redactions,
    ) -> Result<HttpResponse, Error> {
        let mut requested = request.clone();
        let mut authorization = authorization;
        for _ in 0..=MAX_HOPS {
            let response = self.once(&requested, key, authorization).await?;
            let target = redirection(&response).filter(|_| request.redirect);
            let Some(target) = target else {
                return Ok(response);
            };
            let invalid = "the redirection has an invalid target";
            let from = url::Url::parse(&requested.uri).map_err(|_| Error::Malformed(invalid))?;
            let to = from.join(target).map_err(|_| Error::Malformed(invalid))?;
            let is_other_origin = to.origin() != from.origin();
            if is_other_origin {
                authorization = None;
                requested.headers.retain(|(name, value)| {
                    !CREDENTIALS.contains(&name.as_str()) && !secrets.occur_in(value)
                });
            }
            // RFC 9110, section 15.4: a 303 is followed with GET, as is by convention a redirect of
            // a POST.
            let fetched = response.status == 303
                || (matches!(response.status, 301 | 302) && requested.method == "POST");
            if fetched && requested.method != "HEAD" {
                "GET".clone_into(&mut requested.method);
                requested.body = None;
                requested.headers.retain(|(name, _)| name != "content-type");
            }
            let sends_secret = |body: &String| is_other_origin && secrets.occur_in(body);
            if requested.body.as_ref().is_some_and(sends_secret) {
                return Err(Error::Malformed(
                    "the response redirects a body with a secret to another origin",
                ));
            }
            requested.uri = to.into();
        }
        Err(Error::Malformed("too many redirections"))
    }

    /// Sends one request, without redirects.
    async fn once(
        &self,
        request: &HttpRequest,
        key: Option<&str>,
        authorization: Option<&str>,
    ) -> Result<HttpResponse, Error> {
        let url = url::Url::parse(&request.uri).map_err(|_| Error::Malformed("invalid URI"))?;
        self.guard.check(&url).map_err(Error::Forbidden)?;
        let uri: Uri = url
            .as_str()
            .parse()
            .map_err(|_| Error::Malformed("invalid URI"))?;
        let body = request.body.as_ref();
        let mut sent = Request::new(body.map_or_else(Vec::new, |text| text.clone().into_bytes()));
        *sent.method_mut() = request
            .method
            .parse()
            .map_err(|_| Error::Malformed("invalid method"))?;
        *sent.uri_mut() = uri;
        let headers = sent.headers_mut();
        for (name, value) in &request.headers {
            append(headers, name, value)?;
        }
        let own = [("user-agent", USER_AGENT), ("accept", "*/*")];
        let key = key.map(|key| ("idempotency-key", key));
        for (name, value) in own.into_iter().chain(key) {
            if !headers.contains_key(name) {
                append(headers, name, value)?;
            }
        }
        if let Some(authorization) = authorization {
            headers.remove(AUTHORIZATION);
            append(headers, AUTHORIZATION.as_str(), authorization)?;
        }
        if let Some(body) = body {
            headers.insert(CONTENT_LENGTH, body.len().into());
        }
        let (head, bytes) = self
            .connections
            .client(url.authority())
            .send(sent, MAX_RESPONSE_BYTES)
            .await
            .map_err(|error| at_host(error.into(), url.host_str().unwrap_or_default()))?
            .into_parts();
        let headers = head.headers.iter().filter_map(|(name, value)| {
            let text = str::from_utf8(value.as_bytes()).ok()?;
            (text.len() <= MAX_HEADER_BYTES).then(|| (name.as_str().to_owned(), text.to_owned()))
        });
        let headers = headers.take(MAX_HEADERS).collect();
        Ok(HttpResponse {
            status: head.status.as_u16(),
            headers,
            body: match String::from_utf8(bytes) {
                Ok(text) => Body::Text(text),
                Err(bytes) => Body::Base64(STANDARD.encode(bytes.as_bytes())),
            },
        })
    }
}

fn host_of(uri: &str) -> String {
    let url = url::Url::parse(uri).ok();
    let host = url.as_ref().and_then(|url| url.host_str());
    host.unwrap_or_default().to_owned()
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Error> {
    let unsendable = Error::Malformed("invalid header");
    let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
        return Err(unsendable);
    };
    headers
        .try_append(name, value)
        .map(|_| ())
        .map_err(|_| unsendable)
}

fn header<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    let mut headers = response.headers.iter();
    headers
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.as_str())
}

/// The target of a redirect.
fn redirection(response: &HttpResponse) -> Option<&str> {
    matches!(response.status, 301 | 302 | 303 | 307 | 308)
        .then(|| header(response, "location"))
        .flatten()
}
