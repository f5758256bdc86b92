//! The AWS services of this process. The SDK reaches them through [`Services`], where it would
//! otherwise open a connection.

use std::{sync::Arc, time::Duration};

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
            http_client_fn,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::{
    objects::{ObjectError, Objects},
    queue::Queue,
    secrets::Secrets,
    settings::names,
    table::Table,
};

/// All services.
#[derive(Debug)]
pub(crate) struct Services {
    pub table: Table,
    pub objects: Objects,
    pub queue: Queue,
    pub secrets: Secrets,
    pub credentials: Credentials,
}

/// A response before it has the form of the SDK.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            body: body.to_string().into_bytes(),
        }
    }

    fn xml(status: u16, body: String) -> Self {
        Self {
            status,
            body: body.into_bytes(),
        }
    }
}

/// Leads the SDK to services of this process.
#[derive(Debug, Clone)]
struct InProcess(Arc<Services>);

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let services = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move { services.respond(request).await })
    }
}

impl Services {
    /// The HTTP client of the SDK.
    #[must_use]
    pub(crate) fn client(self: &Arc<Self>) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(InProcess(Arc::clone(self)));
        http_client_fn(move |_, _| connector.clone())
    }

    async fn respond(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request
            .try_into_http1x()
            .map_err(|e| ConnectorError::user(e.into()))?;
        let (parts, body) = request.into_parts();
        let collected;
        let body = match body.bytes() {
            Some(bytes) => bytes,
            None => {
                collected = body
                    .collect()
                    .await
                    .map_err(ConnectorError::user)?
                    .to_bytes();
                &collected
            }
        };
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let answer = match header("x-amz-target").and_then(|target| target.split_once('.')) {
            Some(("DynamoDB_20120810", operation)) => {
                let response = self.table.respond(operation, body).await;
                Answer {
                    status: response.status,
                    body: response.body,
                }
            }
            Some(("AmazonSQS", operation)) => self.queue_call(operation, body).await,
            Some(("secretsmanager", "GetSecretValue")) => self.secret(body),
            Some(_) => Answer::json(400, &json!({"__type": "UnknownOperationException"})),
            None if parts.method == http::Method::POST => self.session(body),
            None => {
                self.object(&parts.method, &parts.uri, header("range"), body)
                    .await
            }
        };
        let status = StatusCode::try_from(answer.status)
            .map_err(|e| ConnectorError::other(e.into(), None))?;
        Ok(HttpResponse::new(status, SdkBody::from(answer.body)))
    }

    /// SQS, in its JSON protocol.
    async fn queue_call(&self, operation: &str, body: &[u8]) -> Answer {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        match operation {
            "SendMessage" => {
                let text = request["MessageBody"].as_str().unwrap_or_default();
                let delay =
                    Duration::from_secs(request["DelaySeconds"].as_u64().unwrap_or_default());
                match self.queue.send(text, delay).await {
                    Ok(id) => Answer::json(200, &json!({"MessageId": id})),
                    Err(error) => {
                        tracing::error!(event = "message_not_stored", %error);
                        Answer::json(500, &json!({"__type": "InternalError"}))
                    }
                }
            }
            "GetQueueAttributes" => {
                let depth = self.queue.depth();
                let (messages, in_flight, delayed) =
                    if request["QueueUrl"] == names::DEAD_LETTER_QUEUE {
                        (depth.dead, 0, 0)
                    } else {
                        (depth.ready, depth.in_flight, depth.delayed)
                    };
                Answer::json(
                    200,
                    &json!({"Attributes": {
                        "ApproximateNumberOfMessages": messages.to_string(),
                        "ApproximateNumberOfMessagesNotVisible": in_flight.to_string(),
                        "ApproximateNumberOfMessagesDelayed": delayed.to_string(),
                    }}),
                )
            }
            _ => Answer::json(400, &json!({"__type": "UnsupportedOperation"})),
        }
    }

    /// Secrets Manager.
    fn secret(&self, body: &[u8]) -> Answer {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let name = request["SecretId"].as_str().unwrap_or_default();
        match self.secrets.get(name) {
            Ok(Some(text)) => Answer::json(
                200,
                &json!({"ARN": name, "Name": name, "SecretString": text}),
            ),
            Ok(None) => Answer::json(400, &json!({"__type": "ResourceNotFoundException"})),
            Err(error) => {
                tracing::error!(event = "secrets_unreadable", %error);
                Answer::json(500, &json!({"__type": "InternalServiceError"}))
            }
        }
    }

    /// STS. A session has the rights of the whole process: in one process there is no IAM, and only
    /// the types separate tenants.
    fn session(&self, body: &[u8]) -> Answer {
        if !body.starts_with(b"Action=AssumeRole&") {
            return Answer::xml(400, error_xml("InvalidAction"));
        }
        let (id, secret) = (
            self.credentials.access_key_id(),
            self.credentials.secret_access_key(),
        );
        Answer::xml(
            200,
            format!(
                "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{id}</AccessKeyId>\
             <SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{SESSION_TOKEN}</SessionToken>\
             <Expiration>2999-12-31T23:59:59Z</Expiration></Credentials></AssumeRoleResult>\
             </AssumeRoleResponse>"
            ),
        )
    }

    /// S3, of which the functions write new objects, read them, and list none.
    async fn object(
        &self,
        method: &http::Method,
        uri: &http::Uri,
        range: Option<&str>,
        body: &[u8],
    ) -> Answer {
        let path = uri.path().trim_matches('/');
        let Some(rest) = path.strip_prefix(names::BUCKET) else {
            return Answer::xml(404, error_xml("NoSuchBucket"));
        };
        let key = rest.trim_start_matches('/').to_owned();
        if key.is_empty() {
            // The health check.
            return Answer::xml(
                200,
                format!(
                    "<ListBucketResult><Name>{}</Name></ListBucketResult>",
                    names::BUCKET
                ),
            );
        }
        let objects = self.objects.clone();
        let done = if method == http::Method::PUT {
            let bytes = body.to_vec();
            spawn_blocking(move || objects.put(&key, &bytes).map(|()| Vec::new())).await
        } else {
            let range = range.and_then(bytes_of_range);
            spawn_blocking(move || objects.get(&key, range)).await
        };
        match done {
            Ok(Ok(body)) => Answer { status: 200, body },
            Ok(Err(error)) => {
                let (status, code) = match &error {
                    ObjectError::Key => (400, "InvalidRequest"),
                    ObjectError::Missing => (404, "NoSuchKey"),
                    ObjectError::Range => (416, "InvalidRange"),
                    ObjectError::Io(error) => {
                        tracing::error!(event = "object_failed", %error);
                        (500, "InternalError")
                    }
                };
                Answer::xml(status, error_xml(code))
            }
            Err(error) => {
                tracing::error!(event = "object_failed", %error);
                Answer::xml(500, error_xml("InternalError"))
            }
        }
    }
}

/// STS requires one. It gives no rights.
pub(crate) const SESSION_TOKEN: &str = "embedded";

fn error_xml(code: &str) -> String {
    format!("<Error><Code>{code}</Code></Error>")
}

/// The first and the last byte of `bytes=0-99`.
fn bytes_of_range(header: &str) -> Option<(u64, u64)> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}
