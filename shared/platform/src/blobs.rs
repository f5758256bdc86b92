//! The bucket: inputs too large for an item, and artifacts. Every key begins with its tenant.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::{Client, config::StalledStreamProtectionConfig, presigning::PresigningConfig};
use aws_smithy_runtime_api::{client::result::SdkError, http::Response};
use aws_smithy_types::byte_stream::ByteStream;

use crate::store::TenantStore;

/// How long a download's URL opens.
pub const PRESIGNED_FOR: Duration = Duration::from_secs(300);

/// What the bucket did.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may answer later.
    #[error("the bucket cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It does not do this.
    #[error("the bucket refused")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An object is larger than anything that was put.
    #[error("an object is larger than it can be")]
    TooLarge,
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Broken(_) | Self::TooLarge => false,
        }
    }
}

/// A key in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object(String);

impl Object {
    /// A run's input. `content` names its bytes, so that a second attempt writes beside the first.
    #[must_use]
    pub fn input(store: &TenantStore<'_>, content: &str) -> Self {
        Self(format!("{}/inputs/{}", store.tenant_id(), hex_of(content)))
    }

    /// A run's artifact. Its digest is in its key, so that what is there is what is meant.
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

    /// An entry of a run's journal, named by its digest.
    #[must_use]
    pub fn journal(store: &TenantStore<'_>, run: aias_domain::id::RunId, digest: &str) -> Self {
        Self(format!(
            "{}/journal/{run}/{}",
            store.tenant_id(),
            hex_of(digest)
        ))
    }

    /// A key that was stored; `None` when it is another tenant's.
    #[must_use]
    pub fn stored(store: &TenantStore<'_>, key: &str) -> Option<Self> {
        key.starts_with(&format!("{}/", store.tenant_id()))
            .then(|| Self(key.to_owned()))
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn hex_of(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// The bucket.
#[derive(Debug, Clone)]
pub struct Blobs {
    client: Client,
    bucket: String,
}

impl Blobs {
    /// The bucket of this name.
    #[must_use]
    pub fn new(aws: &SdkConfig, bucket: String) -> Self {
        let config = aws_sdk_s3::config::Builder::from(aws)
            // The local AWS answers at one host for all buckets.
            .force_path_style(aws.endpoint_url().is_some())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self {
            client: Client::from_conf(config),
            bucket,
        }
    }

    /// Writes an object if there is none; that there is one is as good, because its key names its
    /// bytes.
    ///
    /// # Errors
    /// When the bucket does not take it.
    pub async fn put(
        &self,
        object: &Object,
        bytes: Vec<u8>,
        content_type: &str,
    ) -> Result<(), Error> {
        let result = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(object.as_str())
            .if_none_match("*")
            .content_type(content_type)
            .body(ByteStream::from(bytes))
            .send()
            .await;
        match result {
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(412) => Ok(()),
            Err(error) => Err(classify(error)),
        }
    }

    /// An object's bytes, at most `max` of them; `None` when it is not there.
    ///
    /// # Errors
    /// When the bucket does not answer, or the object is larger.
    pub async fn get(&self, object: &Object, max: usize) -> Result<Option<Vec<u8>>, Error> {
        self.read(object, None, max).await
    }

    /// The first bytes of an object.
    ///
    /// # Errors
    /// When the bucket does not answer.
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
            // 416: nothing is at byte 0 of an empty object.
            Err(error) if status(&error) == Some(416) => return Ok(Some(Vec::new())),
            Err(error) if status(&error) == Some(404) => return Ok(None),
            // Who may not list the bucket is told that of an object that is not there.
            Err(error) if status(&error) == Some(403) => {
                tracing::warn!(
                    key = object.as_str(),
                    "an object is not there, or may not be read"
                );
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

    /// A URL that opens an object for [`PRESIGNED_FOR`], as a file called `name`.
    ///
    /// # Errors
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

    /// Whether the bucket answers.
    ///
    /// # Errors
    /// When it does not.
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
