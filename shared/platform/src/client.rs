//! HTTP/1.1 with persistent connections, for all outgoing requests of a function
//! (`docs/decisions/0020`).

use std::{
    net::SocketAddr,
    sync::LazyLock,
    task::{Context, Poll},
    time::Duration,
    vec::IntoIter,
};

use aws_smithy_runtime_api::client::{
    connection::{CaptureSmithyConnection, ConnectionMetadata},
    dns::{DnsFuture, ResolveDns, ResolveDnsError, SharedDnsResolver},
    http::{
        HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        self,
        connect::{CaptureConnection, HttpConnector as Tcp, capture_connection, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tower_service::Service;

/// Connect timeout within AWS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The CA certificates of the system, read once. Without any, no host is trusted.
static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system_certificates());
    if roots.is_empty() {
        tracing::error!(event = "ca_certificates_missing");
    }
    let trusting = ClientConfig::builder().with_root_certificates(roots);
    trusting.with_no_client_auth()
});

/// The certificates of the system's file. By default the system also has a folder with a file for each
/// of them, which takes a tenth of a function's initialization to read.
fn system_certificates() -> Vec<CertificateDer<'static>> {
    // `SSL_CERT_FILE` and `SSL_CERT_DIR` say what to read.
    if !openssl_probe::has_ssl_cert_env_vars()
        && let Some(file) = openssl_probe::probe().cert_file
    {
        let found = rustls_native_certs::load_certs_from_paths(Some(&file), None);
        if !found.certs.is_empty() {
            return found.certs;
        }
    }
    rustls_native_certs::load_native_certs().certs
}

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The connection failed or was closed before a response.
    #[error("there is no response")]
    Unreachable(#[source] legacy::Error),
    /// The connection was closed within the response.
    #[error("the connection was closed within the response")]
    Truncated,
    #[error("the response has more than {0} bytes")]
    TooLarge(usize),
}

/// How long a connection to a host that a tenant names is kept, and how many to one host.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_IDLE_PER_HOST: usize = 2;

/// An HTTP client. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Client(legacy::Client<HttpsConnector<Tcp<HyperResolver>>, SdkBody>);

impl Client {
    /// A client for AWS and other hosts of the installation, with a short connect timeout.
    #[must_use]
    pub fn new() -> Self {
        Self::build(
            SystemResolver,
            CONNECT_TIMEOUT,
            &mut legacy::Client::builder(TokioExecutor::new()),
        )
    }

    /// A client for any hosts, which connects only to addresses returned by `resolver`, with a given
    /// connect timeout. It keeps few idle connections, since they are descriptors that sandbox
    /// children need.
    #[must_use]
    pub fn with_resolver(resolver: impl ResolveDns + 'static, connect_timeout: Duration) -> Self {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST);
        Self::build(resolver, connect_timeout, &mut builder)
    }

    fn build(
        resolver: impl ResolveDns + 'static,
        connect_timeout: Duration,
        builder: &mut legacy::Builder,
    ) -> Self {
        let mut tcp = Tcp::new_with_resolver(HyperResolver(SharedDnsResolver::new(resolver)));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(TLS.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Self(builder.pool_timer(TokioTimer::new()).build(tls))
    }

    /// Sends a request and reads the response, whatever its status, if its body has at most
    /// `max_bytes`.
    ///
    /// # Errors
    ///
    /// When there is no response, or not all of it.
    pub async fn send(
        &self,
        request: Request<Vec<u8>>,
        max_bytes: usize,
    ) -> Result<Response<Vec<u8>>, RequestError> {
        let answered = self.0.request(request.map(SdkBody::from)).await;
        let (head, body) = answered.map_err(RequestError::Unreachable)?.into_parts();
        let read = Limited::new(body, max_bytes).collect().await;
        let read = read.map_err(|error| {
            if error.is::<LengthLimitError>() {
                RequestError::TooLarge(max_bytes)
            } else {
                RequestError::Truncated
            }
        })?;
        Ok(Response::from_parts(head, read.to_bytes().into()))
    }

    /// The HTTP client for AWS clients.
    #[must_use]
    pub fn shared(self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self);
        http_client_fn(move |_, _| connector.clone())
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpConnector for Client {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let captured = capture_connection(&mut request);
        if let Some(requested) = request.extensions().get::<CaptureSmithyConnection>() {
            requested.set_connection_retriever(move || poisonable(&captured));
        }
        let answered = self.0.request(request);
        HttpConnectorFuture::new(async move {
            // There was no response, so the SDK may retry the call.
            let response = answered.await.map_err(|e| ConnectorError::io(e.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|e| ConnectorError::other(e.into(), None))
        })
    }
}

/// Lets the SDK close a connection to a host that reported a problem.
fn poisonable(captured: &CaptureConnection) -> Option<ConnectionMetadata> {
    captured.connection_metadata().as_ref()?;
    let captured = captured.clone();
    let poison = move || {
        if let Some(connection) = captured.connection_metadata().as_ref() {
            connection.poison();
        }
    };
    Some(
        ConnectionMetadata::builder()
            .proxied(false)
            .poison_fn(poison)
            .build(),
    )
}

/// The resolver of the system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemResolver;

impl ResolveDns for SystemResolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((name, 0)).await;
            let found = found.map_err(ResolveDnsError::new)?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// An adapter from the SDK's resolvers to those of `hyper`.
#[derive(Debug, Clone)]
struct HyperResolver(SharedDnsResolver);

impl Service<Name> for HyperResolver {
    type Response = IntoIter<SocketAddr>;
    type Error = ResolveDnsError;
    type Future = BoxFuture<'static, Result<IntoIter<SocketAddr>, ResolveDnsError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveDnsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.resolve_dns(name.as_str()).await?;
            // The connector takes the port from the URL.
            let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(addresses.collect::<Vec<_>>().into_iter())
        })
    }
}
