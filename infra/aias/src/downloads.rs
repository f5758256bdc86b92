//! Download URLs: the SDK signs them as those of S3, and this process checks and serves them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aias_platform::http::{Problem, Result, WithHeader as _};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use axum::{
    Router,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{
        StatusCode, Uri,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    response::Response,
    routing::get,
};
use jiff::{civil::DateTime, tz::TimeZone};
use subtle::ConstantTimeEq as _;
use tokio::task::spawn_blocking;
use url::form_urlencoded;

use crate::{objects::ObjectError, services::Services, settings::names};

/// The longest validity of a URL, as of S3.
const MAX_EXPIRES: u64 = 604_800;

/// The state of the route: the services, and the URL that clients use.
#[derive(Debug)]
pub(crate) struct Downloads {
    pub services: Arc<Services>,
    pub public_url: String,
}

/// The route of download URLs.
pub(crate) fn downloads(services: &Arc<Services>, public_url: &str) -> Router {
    let state = Arc::new(Downloads {
        services: Arc::clone(services),
        public_url: public_url.to_owned(),
    });
    Router::new()
        .route(&format!("/{}/{{*key}}", names::BUCKET), get(get_object))
        .with_state(state)
}

/// Serves an object to the holder of a URL. A wrong and an expired signature are the same `404`, as
/// is an object that does not exist.
async fn get_object(
    State(downloads): State<Arc<Downloads>>,
    Path(key): Path<String>,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let query = query.unwrap_or_default();
    let url = format!("{}{}", downloads.public_url, uri.path());
    let credentials = &downloads.services.credentials;
    let name =
        checked(&url, &query, credentials, SystemTime::now()).ok_or_else(Problem::not_found)?;
    let objects = downloads.services.objects.clone();
    let read = spawn_blocking(move || objects.get(&key, None)).await;
    let bytes = match read {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(ObjectError::Io(error))) => return Err(Problem::unavailable(error)),
        Ok(Err(_)) => return Err(Problem::not_found()),
        Err(error) => return Err(Problem::unavailable(error)),
    };
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = StatusCode::OK;
    Ok(response
        .with(CONTENT_TYPE, "application/octet-stream")
        .with(CONTENT_DISPOSITION, name))
}

/// The `Content-Disposition` of a URL whose signature is valid at this time.
fn checked(url: &str, query: &str, credentials: &Credentials, now: SystemTime) -> Option<String> {
    let parameters: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
    let parameter = |name: &str| parameters.get(name).map(AsRef::as_ref);
    let at = DateTime::strptime("%Y%m%dT%H%M%SZ", parameter("X-Amz-Date")?).ok()?;
    let at = SystemTime::from(at.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let seconds: u64 = parameter("X-Amz-Expires")?.parse().ok()?;
    let expires = Duration::from_secs(seconds);
    if seconds > MAX_EXPIRES || now > at + expires {
        return None;
    }
    let token = parameter("X-Amz-Security-Token");
    let (id, secret) = (credentials.access_key_id(), credentials.secret_access_key());
    let signer = Credentials::new(id, secret, token.map(str::to_owned), None, "aias");
    // The signer adds its own parameters.
    let parts = query.split('&').filter(|part| !part.starts_with("X-Amz-"));
    let url = format!("{url}?{}", parts.collect::<Vec<_>>().join("&"));
    let expected = signature(url, signer, at, expires)?;
    let given = parameter("X-Amz-Signature")?;
    let is_valid: bool = expected.as_bytes().ct_eq(given.as_bytes()).into();
    is_valid.then(|| parameter("response-content-disposition").map(str::to_owned))?
}

/// The signature of a download URL of S3, made at this time.
fn signature(
    url: String,
    signer: Credentials,
    at: SystemTime,
    expires: Duration,
) -> Option<String> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(expires);
    let identity = signer.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(names::REGION)
        .name("s3")
        .time(at)
        .settings(settings)
        .build()
        .ok()?
        .into();
    let (no_headers, no_body) = (std::iter::empty(), SignableBody::UnsignedPayload);
    let request = SignableRequest::new("GET", url, no_headers, no_body).ok()?;
    Some(sign(request, &params).ok()?.signature().to_owned())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn url_ends_after_its_time() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let credentials =
            |token: &str| Credentials::new("id", "secret", Some(token.to_owned()), None, "test");
        let url = "http://127.0.0.1:4566/aias-objects/ten_1/artifacts/a";
        let own = "response-content-disposition=attachment&x-id=GetObject";
        let seconds = Duration::from_secs(300);
        let made = signature(format!("{url}?{own}"), credentials("t"), at, seconds).unwrap();
        let date = Timestamp::try_from(at).unwrap().strftime("%Y%m%dT%H%M%SZ");
        let query = format!(
            "{own}&X-Amz-Date={date}&X-Amz-Expires=300&X-Amz-Security-Token=t&X-Amz-Signature={made}"
        );
        let valid = |query: &str, after: u64| {
            checked(
                url,
                query,
                &credentials("ignored"),
                at + Duration::from_secs(after),
            )
        };
        assert_eq!(valid(&query, 0).as_deref(), Some("attachment"));
        assert_eq!(valid(&query, 300).as_deref(), Some("attachment"));
        assert_eq!(valid(&query, 301), None);
        assert_eq!(
            valid(&query.replace("Expires=300", "Expires=900"), 301),
            None
        );
        assert_eq!(valid(own, 0), None);
    }
}
