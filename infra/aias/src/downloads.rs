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
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use subtle::ConstantTimeEq as _;
use tokio::task::spawn_blocking;

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
    let (mut signed, mut parameters) = (Vec::new(), HashMap::new());
    for part in query.split('&') {
        let (name, _) = part.split_once('=')?;
        if !name.starts_with("X-Amz-") {
            signed.push(part);
        }
    }
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        parameters.insert(name.into_owned(), value.into_owned());
    }
    let at: DateTime = DateTime::strptime("%Y%m%dT%H%M%SZ", parameters.get("X-Amz-Date")?).ok()?;
    let at: Timestamp = at.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let at = SystemTime::from(at);
    let seconds = parameters
        .get("X-Amz-Expires")?
        .parse()
        .ok()
        .filter(|s| *s <= MAX_EXPIRES)?;
    let expires = Duration::from_secs(seconds);
    if now > at + expires {
        return None;
    }
    let token = parameters.get("X-Amz-Security-Token").cloned();
    let identity = Credentials::new(
        credentials.access_key_id(),
        credentials.secret_access_key(),
        token,
        None,
        "aias",
    )
    .into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(expires);
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(names::REGION)
        .name("s3")
        .time(at)
        .settings(settings)
        .build()
        .ok()?
        .into();
    let url = format!("{url}?{}", signed.join("&"));
    let request = SignableRequest::new(
        "GET",
        url,
        std::iter::empty(),
        SignableBody::UnsignedPayload,
    );
    let (_, expected) = sign(request.ok()?, &params).ok()?.into_parts();
    let given = parameters.get("X-Amz-Signature")?;
    let is_valid: bool = expected.as_bytes().ct_eq(given.as_bytes()).into();
    is_valid.then(|| parameters.remove("response-content-disposition"))?
}
