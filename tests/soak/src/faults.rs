//! Calls that fail at random.

use aias_platform::clock::random_id;
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpClient,
            SharedHttpConnector, http_client_fn,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;

/// A connection whose calls fail.
#[derive(Debug)]
struct Faulty {
    inner: SharedHttpConnector,
    percent: u64,
}

/// A client of which `percent` of all calls are throttled, as many fail with a `5xx`, and of as many
/// the answer is lost though they took effect.
pub(crate) fn faulty(client: SharedHttpClient, percent: u64) -> SharedHttpClient {
    http_client_fn(move |settings, components| {
        SharedHttpConnector::new(Faulty {
            inner: client.http_connector(settings, components),
            percent,
        })
    })
}

fn response(status: u16, kind: &str) -> HttpConnectorFuture {
    let body = SdkBody::from(format!(r#"{{"__type":"{kind}","message":"at random"}}"#));
    let status = StatusCode::try_from(status).expect("a valid status");
    HttpConnectorFuture::ready(Ok(HttpResponse::new(status, body)))
}

impl HttpConnector for Faulty {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let dice = u64::try_from(random_id() % 100).unwrap_or_default();
        match dice / self.percent.max(1) {
            _ if self.percent == 0 => self.inner.call(request),
            0 => response(400, "ThrottlingException"),
            1 => response(500, "InternalServerError"),
            2 => {
                let call = self.inner.call(request);
                HttpConnectorFuture::new(async move {
                    call.await?;
                    Err(ConnectorError::io("the answer is lost".into()))
                })
            }
            _ => self.inner.call(request),
        }
    }
}
