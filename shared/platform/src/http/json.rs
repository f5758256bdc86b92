//! JSON in and lists out.

use aias_domain::json;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    api::Api,
    problem::{Fault, Problem},
    request::Request,
    response::Response,
};
use crate::{
    secrets::Keyring,
    store::{Cursor, Listing, Page, TenantStore},
};

/// The largest body of a request that is not a definition, an input or an event.
const MAX_BODY: usize = 64 * 1024;

/// The request's body as `T`. Members that `T` does not have are refused.
///
/// # Errors
/// `400` with the place of the fault, `413`, `415`.
pub fn parse_body<T: DeserializeOwned>(request: &Request) -> Result<T, Problem> {
    parse_body_of(request, MAX_BODY)
}

/// The same for a body of at most `max` bytes.
///
/// # Errors
/// `400` with the place of the fault, `413`, `415`.
pub fn parse_body_of<T: DeserializeOwned>(request: &Request, max: usize) -> Result<T, Problem> {
    if request.body.len() > max {
        return Err(Problem::too_large(max));
    }
    let content_type = request.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Problem::unsupported_media_type(
            "the body has to be application/json",
        ));
    }
    if request
        .header("content-encoding")
        .is_some_and(|coding| coding != "identity")
    {
        return Err(Problem::unsupported_media_type(
            "the body must not be compressed",
        ));
    }
    let value = json::parse(&request.body).map_err(|e| {
        let fault = Fault {
            pointer: e.pointer,
            detail: e.detail,
        };
        Problem::invalid(vec![fault])
    })?;
    read(value)
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let mut pointer = String::new();
        for segment in e.path() {
            match segment {
                serde_path_to_error::Segment::Seq { index } => {
                    json::push_token(&mut pointer, &index.to_string());
                }
                serde_path_to_error::Segment::Map { key } => json::push_token(&mut pointer, key),
                serde_path_to_error::Segment::Enum { variant } => {
                    json::push_token(&mut pointer, variant);
                }
                serde_path_to_error::Segment::Unknown => {}
            }
        }
        Problem::invalid_member(&pointer, e.inner().to_string())
    })
}

/// The name of a list: what its cursors are bound to.
fn list_name(store: &TenantStore<'_>, request: &Request) -> String {
    let query: Vec<String> = form_urlencoded::parse(request.query.as_bytes())
        .filter(|(name, _)| !matches!(name.as_ref(), "cursor" | "limit" | "tenant_id"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!(
        "{} {} {}",
        store.tenant_id(),
        request.segments.join("/"),
        query.join("&")
    )
}

impl Api {
    /// Answers a request for a list that also has the query parameters `own`.
    ///
    /// # Errors
    /// `400` for a bad `limit`, `cursor` or unknown parameter, or what `fetch` says.
    pub async fn list<T, V: Serialize>(
        &self,
        store: &TenantStore<'_>,
        request: &Request,
        own: &[&str],
        fetch: impl AsyncFnOnce(Listing) -> Result<Page<T>, Problem>,
        view: impl Fn(T) -> V,
    ) -> Result<Response, Problem> {
        let allowed: Vec<&str> = ["limit", "cursor"].iter().chain(own).copied().collect();
        request.only_parameters(&allowed)?;
        let keyring = self.auth.keyring().await?;
        let listing = listing(request, &keyring, store)?;
        page_of(request, &keyring, store, fetch(listing).await?, view)
    }
}

/// How much of a list the request asks for: `limit` (1 to 100, 25 unless told) and `cursor`.
///
/// # Errors
/// `400` when either is not one.
fn listing(
    request: &Request,
    keyring: &Keyring,
    store: &TenantStore<'_>,
) -> Result<Listing, Problem> {
    let limit = match request.parameter("limit") {
        None => 25,
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=100).contains(n))
            .ok_or_else(|| {
                Problem::bad_request("bad-limit", "Bad limit")
                    .detail("`limit` is a number from 1 to 100")
            })?,
    };
    let after = match request.parameter("cursor") {
        None => None,
        Some(text) => {
            let cursor = Cursor::open(keyring, &list_name(store, request), &text);
            Some(cursor.map_err(|_| {
                Problem::bad_request("bad-cursor", "Bad cursor")
                    .detail("`cursor` is not from this list")
            })?)
        }
    };
    Ok(Listing { limit, after })
}

/// A page's answer: `{"data": […], "next_cursor": …}`.
///
/// # Errors
/// As [`Response::json`].
fn page_of<T, V: Serialize>(
    request: &Request,
    keyring: &Keyring,
    store: &TenantStore<'_>,
    page: Page<T>,
    view: impl Fn(T) -> V,
) -> Result<Response, Problem> {
    let next = page
        .next
        .map(|cursor| cursor.seal(keyring, &list_name(store, request)));
    let data: Vec<V> = page.items.into_iter().map(view).collect();
    Response::json(200, &json!({ "data": data, "next_cursor": next }))
}
