//! The S3 bucket: artifacts, and inputs that are too large for an item. Every key starts with the
//! tenant.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::{Client, config::StalledStreamProtectionConfig, presigning::PresigningConfig};
use aws_smithy_runtime_api::{client::result::SdkError, http::Response};
use aws_smithy_types::byte_stream::ByteStream;

use crate::store::TenantStore;

/// How long a presigned download URL is valid.
pub const PRESIGNED_FOR: Duration = Duration::from_secs(300);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The same call may succeed later.
    #[error("the bucket cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// S3 refused the call.
    #[error("S3 refused the call")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The object is larger than the caller accepts.
    #[error("the object is larger than expected")]
    TooLarge,
}

impl Error {
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Broken(_) | Self::TooLarge => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object(String);

impl Object {
    /// A run's input. The key contains a digest of the content, so that a second attempt does not
    /// overwrite the first.
    #[must_use]
    pub fn input(store: &TenantStore<'_>, content: &str) -> Self {
        Self(format!("{}/inputs/{}", store.tenant_id(), hex_of(content)))
    }

    /// A run's artifact. The key contains its digest, so that an existing object has the expected
    /// content.
    #[must_use]
    pub fn artifact(
        store: &TenantStore<'_>,
        id: aias_domain::id::ArtifactId,
        digest: &str,
    ) -> Self {
        Self(format!(
            "{}/artifacts/{id}/{}",
            store.tenant_id(),
            hex_of(digest)
        ))
    }

    /// An entry of a run's journal; the key contains its digest.
    #[must_use]
    pub fn journal(store: &TenantStore<'_>, run: aias_domain::id::RunId, digest: &str) -> Self {
        Self(format!(
            "{}/journal/{run}/{}",
            store.tenant_id(),
            hex_of(digest)
        ))
    }

    /// A key read from an item; `None` when it belongs to another tenant.
    #[must_use]
    pub fn stored(store: &TenantStore<'_>, key: &str) -> Option<Self> {
        key.starts_with(&format!("{}/", store.tenant_id()))
            .then(|| Self(key.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn hex_of(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

#[derive(Debug, Clone)]
pub struct Blobs {
    client: Client,
    bucket: String,
}

impl Blobs {
    #[must_use]
    pub fn new(aws: &SdkConfig, bucket: String) -> Self {
        let config = aws_sdk_s3::config::Builder::from(aws)
            // The local AWS has one host for all buckets.
            .force_path_style(aws.endpoint_url().is_some())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self {
            client: Client::from_conf(config),
            bucket,
        }
    }

    /// Writes an object. An existing one has the same content, since the key contains a digest of it;
    /// it is written again, so that it is kept as long as its newest run.
    ///
    /// # Errors
    ///
    /// When S3 refuses the call or is unavailable.
    pub async fn put(
        &self,
        object: &Object,
        bytes: Vec<u8>,
        content_type: &str,
    ) -> Result<(), Error> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(object.as_str())
            .content_type(content_type)
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map(|_| ())
            .map_err(classify)
    }

    /// Reads an object of at most `max` bytes; `None` when it does not exist.
    ///
    /// # Errors
    ///
    /// When S3 is unavailable, or the object is larger.
    pub async fn get(&self, object: &Object, max: usize) -> Result<Option<Vec<u8>>, Error> {
        self.read(object, None, max).await
    }

    /// Reads the first bytes of an object.
    ///
    /// # Errors
    ///
    /// When S3 is unavailable.
    pub async fn get_start(&self, object: &Object, bytes: usize) -> Result<Option<Vec<u8>>, Error> {
        self.read(
            object,
            Some(format!("bytes=0-{}", bytes.saturating_sub(1))),
            bytes,
        )
        .await
    }

    async fn read(
        &self,
        object: &Object,
        range: Option<String>,
        max: usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        let result = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(object.as_str())
            .set_range(range)
            .send()
            .await;
        let answer = match result {
            Ok(answer) => answer,
            // 416: an empty object has no byte 0.
            Err(error) if status(&error) == Some(416) => return Ok(Some(Vec::new())),
            Err(error) if status(&error) == Some(404) => return Ok(None),
            // S3 returns 403 instead of 404 to a caller without the right to list the bucket.
            Err(error) if status(&error) == Some(403) => {
                tracing::warn!(event = "object_missing_or_denied", key = object.as_str());
                return Ok(None);
            }
            Err(error) => return Err(classify(error)),
        };
        if answer
            .content_length()
            .is_some_and(|length| length.unsigned_abs() > max as u64)
        {
            return Err(Error::TooLarge);
        }
        let bytes = answer
            .body
            .collect()
            .await
            .map_err(|e| Error::Unavailable(Box::new(e)))?;
        Ok(Some(bytes.to_vec()))
    }

    /// A URL from which an object can be downloaded as a file called `name`, for [`PRESIGNED_FOR`].
    ///
    /// # Errors
    ///
    /// When there are no credentials to sign it with.
    pub async fn presigned(&self, object: &Object, name: &str) -> Result<String, Error> {
        let config =
            PresigningConfig::expires_in(PRESIGNED_FOR).map_err(|e| Error::Broken(Box::new(e)))?;
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(object.as_str())
            .response_content_disposition(format!("attachment; filename=\"{name}\""))
            .presigned(config)
            .await
            .map_err(classify)?;
        Ok(request.uri().to_owned())
    }

    /// Checks that the bucket is reachable.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub async fn check(&self) -> Result<(), Error> {
        let result = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix("health/")
            .max_keys(1)
            .send()
            .await;
        result.map(|_| ()).map_err(classify)
    }
}

fn status<E>(error: &SdkError<E, Response>) -> Option<u16> {
    error
        .raw_response()
        .map(|response| response.status().as_u16())
}

fn classify<E>(error: SdkError<E, Response>) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    match status(&error) {
        Some(400..=499) => Error::Broken(Box::new(error)),
        _ => Error::Unavailable(Box::new(error)),
    }
}
