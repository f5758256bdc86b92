//! What API Gateway does on AWS: the address of the client, the request's id, CORS, limits.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use aias_platform::{
    clock::{Clock, random_id},
    http::{Head, Origin, Problem, problem::kinds},
};
use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::get,
};
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use tower_http::{cors::CorsLayer, timeout::TimeoutLayer};
use ulid::Ulid;

use crate::{metrics::Metrics, settings::Settings};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How long a request may take, its body included: as API Gateway.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The state of the outermost layer.
#[derive(Debug)]
pub(crate) struct Front {
    proxies: Vec<IpNet>,
    has_tls: bool,
    host: String,
    requests: Semaphore,
    clock: Clock,
    pub metrics: Metrics,
    stopping: AtomicBool,
}

impl Front {
    #[must_use]
    pub(crate) fn new(settings: &Settings, host: String, clock: Clock, metrics: Metrics) -> Self {
        Self {
            proxies: settings.trusted_proxies.clone(),
            has_tls: settings.has_tls(),
            host,
            requests: Semaphore::new(settings.max_requests),
            clock,
            metrics,
            stopping: AtomicBool::new(false),
        }
    }

    /// From now on the process is not ready for requests.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(&peer))
    }

    /// The address of the client: of the connection, or what a trusted proxy says.
    fn client_of(&self, peer: IpAddr, request: &Request) -> IpAddr {
        let forwarded = request.headers().get_all(FORWARDED_FOR);
        let addresses = forwarded.iter().filter_map(|value| value.to_str().ok());
        let addresses = addresses.flat_map(|text| text.split(','));
        let addresses: Vec<IpAddr> = addresses
            .filter_map(|text| text.trim().parse().ok())
            .collect();
        let mut client = peer;
        // Each proxy appends the address of its peer; what is before the first address that is no
        // proxy's is the client's own invention.
        for address in addresses.into_iter().rev() {
            if !self.trusts(client) {
                break;
            }
            client = address;
        }
        client
    }
}

/// A service with the layers around `inner`.
pub(crate) fn layered(front: &Arc<Front>, inner: Router, settings: &Settings) -> Router {
    let origins = settings.allowed_origins.iter();
    let origins: Vec<HeaderValue> = origins.filter_map(|origin| origin.parse().ok()).collect();
    let names = |all: &[&'static str]| {
        all.iter()
            .map(|name| HeaderName::from_static(name))
            .collect::<Vec<_>>()
    };
    // As `CorsConfiguration` of `template.yaml`.
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers(names(&[
            "authorization",
            "content-type",
            "x-tenant-id",
            "idempotency-key",
            "if-match",
            "prefer",
            "api-version",
        ]))
        .expose_headers(names(&[
            "etag",
            "location",
            "retry-after",
            "x-request-id",
            "api-version",
            "ratelimit",
            "ratelimit-policy",
        ]))
        .max_age(Duration::from_secs(3_600));
    let router = if settings.allowed_origins.is_empty() {
        inner
    } else {
        let without_cors = inner.clone();
        // Chosen before a route is: a request is routed once.
        Router::new()
            .fallback_service(inner.layer(cors))
            .layer(from_fn_with_state(without_cors, past_cors))
    };
    let state = Arc::clone(front);
    router
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            TIMEOUT,
        ))
        .layer(from_fn_with_state(Arc::clone(front), admit))
        .merge(
            Router::new()
                .route("/livez", get(async || "ok\n"))
                .route("/readyz", get(async move || readiness(&state))),
        )
}

/// An `OPTIONS` that is no preflight request of a browser, such as that of a `CloudEvents` sender.
async fn past_cors(State(without_cors): State<Router>, request: Request, next: Next) -> Response {
    let is_preflight = request
        .headers()
        .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && !is_preflight {
        return without_cors.oneshot(request).await.into_response();
    }
    next.run(request).await
}

fn readiness(front: &Front) -> Response {
    if front.stopping.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    } else {
        "ok\n".into_response()
    }
}

/// Refuses a request if there are too many, and adds what only the server knows.
async fn admit(
    State(front): State<Arc<Front>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let peer = peer.ip().to_canonical();
    let client = front.client_of(peer, &request);
    if !front.trusts(peer) {
        request.headers_mut().remove(FORWARDED_FOR);
        let scheme = if front.has_tls { "https" } else { "http" };
        request
            .headers_mut()
            .insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    add_host(&mut request);
    let ms = u64::try_from(front.clock.now().as_millisecond()).unwrap_or_default();
    let request_id = Ulid::from_parts(ms, random_id()).to_string();
    let path = request.uri().path().to_owned();
    let origin = Origin {
        request_id,
        source_ip: client.to_string(),
        host: front.host.clone(),
    };
    let response = if let Ok(_permit) = front.requests.try_acquire() {
        request.extensions_mut().insert(origin);
        next.run(request).await
    } else {
        let (parts, _) = request.into_parts();
        let problem = Problem::new(&kinds::UNAVAILABLE)
            .detail("the server has too many requests at once")
            .retry_after(1);
        let body = problem.body(&Head::of(&parts).base_url(), &path, &origin.request_id);
        let mut response = problem.into_response();
        *response.body_mut() = body.into();
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    };
    let seconds = began.elapsed().as_secs_f64();
    front
        .metrics
        .count(&method, response.status().as_u16(), seconds);
    response
}

/// Adds the header `Host` to a request over HTTP/2, which has the host in its URI.
fn add_host(request: &mut Request) {
    let authority = request.uri().authority();
    let host = authority.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn address_of_a_client_is_believed_from_trusted_proxies_only() {
        let settings = Settings {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            ..Settings::default()
        };
        let front = Front::new(
            &settings,
            String::new(),
            Clock::system(),
            Metrics::new().unwrap(),
        );
        for (peer, forwarded, client) in [
            ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("10.0.0.1", "", "10.0.0.1"),
        ] {
            let request = Request::builder()
                .header("x-forwarded-for", forwarded)
                .body(Body::empty())
                .unwrap();
            let found = front.client_of(peer.parse().unwrap(), &request);
            assert_eq!(found.to_string(), client, "{peer} {forwarded}");
        }
    }

    #[test]
    fn url_over_http2_is_that_of_the_request() {
        let request = Request::builder().uri("https://aias.example:8443/api/health");
        let mut request = request.body(Body::empty()).unwrap();
        add_host(&mut request);
        let (parts, _) = request.into_parts();
        assert_eq!(Head::of(&parts).base_url(), "https://aias.example:8443");
    }
}
