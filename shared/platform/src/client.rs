//! HTTP/1.1 over kept connections, for everything that a function calls (`docs/decisions/0020`).

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
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        self,
        connect::{CaptureConnection, HttpConnector as Tcp, capture_connection, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

/// How long a connection to what is near may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Whom all clients trust: the system's authorities, read once. Where it has none, nobody.
static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    let trusting = ClientConfig::builder().with_native_roots();
    let trusting = trusting.unwrap_or_else(|error| {
        tracing::error!(error = %error, "no host is trusted: the system has no authorities");
        ClientConfig::builder().with_root_certificates(RootCertStore::empty())
    });
    trusting.with_no_client_auth()
});

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// No connection, or it broke off before an answer came.
    #[error("no answer")]
    Unreachable(#[source] legacy::Error),
    /// The connection broke off within the answer.
    #[error("the answer broke off")]
    BrokenOff,
    /// The answer is larger than it may be.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// A client; copies share its connections.
#[derive(Debug, Clone)]
pub struct Client(legacy::Client<HttpsConnector<Tcp<Names>>, SdkBody>);

impl Client {
    /// One for AWS and its like: hosts by the system's names, reached soon or not at all.
    #[must_use]
    pub fn new() -> Self {
        Self::with_resolver(System, CONNECT_TIMEOUT)
    }

    /// One that finds hosts by the names of `resolver` and connects to nothing else; a connection may
    /// take so long to be made.
    #[must_use]
    pub fn with_resolver(resolver: impl ResolveDns + 'static, connect_timeout: Duration) -> Self {
        let mut tcp = Tcp::new_with_resolver(Names(SharedDnsResolver::new(resolver)));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(TLS.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(tls);
        Self(client)
    }

    /// Sends a request and reads the whole answer, whatever its status, if its body has no more bytes
    /// than `max_bytes`.
    ///
    /// # Errors
    /// When there is no answer, or not all of it.
    pub async fn ask(
        &self,
        request: Request<Vec<u8>>,
        max_bytes: usize,
    ) -> Result<Response<Vec<u8>>, NoAnswer> {
        let answered = self.0.request(request.map(SdkBody::from)).await;
        let (head, body) = answered.map_err(NoAnswer::Unreachable)?.into_parts();
        let read = Limited::new(body, max_bytes).collect().await;
        let read = read.map_err(|error| {
            if error.is::<LengthLimitError>() {
                NoAnswer::TooLarge(max_bytes)
            } else {
                NoAnswer::BrokenOff
            }
        })?;
        Ok(Response::from_parts(head, read.to_bytes().into()))
    }

    /// The same under AWS clients.
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
        if let Some(asked) = request.extensions().get::<CaptureSmithyConnection>() {
            asked.set_connection_retriever(move || poisonable(&captured));
        }
        let answered = self.0.request(request);
        HttpConnectorFuture::new(async move {
            // Whatever broke, nothing was answered: it may be tried again.
            let response = answered.await.map_err(|e| ConnectorError::io(e.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|e| ConnectorError::other(e.into(), None))
        })
    }
}

/// How the SDK has a connection closed over which a host said that it is not well.
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

/// The system's names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct System;

impl ResolveDns for System {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((name, 0)).await;
            let found = found.map_err(ResolveDnsError::new)?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// A resolver as connections want it.
#[derive(Debug, Clone)]
struct Names(SharedDnsResolver);

impl Service<Name> for Names {
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
            // The port is the URL's.
            let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(addresses.collect::<Vec<_>>().into_iter())
        })
    }
}
