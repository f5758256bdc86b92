//! Query strings, parsed into types that refuse unknown parameters.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use utoipa::IntoParams;

use super::{
    api::HasApi,
    context::Context,
    problem::{Problem, kinds, shown},
    request::Head,
    response::{self, Result},
};
use crate::store::{Cursor, Listing, Page};

/// The query of a route.
pub trait Query: Sized + Send {
    /// Parses the query of a request.
    ///
    /// # Errors
    ///
    /// `400` for an unknown or malformed parameter.
    fn read(head: &Head) -> Result<Self>;
}

/// Every request may name its tenant in the query.
const TENANT: &str = "tenant_id";

type Pair = (String, String);

/// The parameters of a query except for the tenant.
fn pairs(head: &Head) -> Vec<Pair> {
    form_urlencoded::parse(head.query().as_bytes())
        .filter(|(name, _)| name != TENANT)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// Parses parameters into a type that refuses unknown ones (`#[serde(deny_unknown_fields)]`).
fn deserialize<T: DeserializeOwned + IntoParams>(pairs: &[Pair], paged: bool) -> Result<T> {
    let text = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    let parsed = form_urlencoded::parse(text.as_bytes());
    let deserializer = serde_urlencoded::Deserializer::new(parsed);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let known: Vec<String> = T::into_params(|| None)
            .into_iter()
            .map(|parameter| parameter.name)
            .chain(
                paged
                    .then_some(["limit", "cursor"])
                    .into_iter()
                    .flatten()
                    .map(str::to_owned),
            )
            .collect();
        let unknown = pairs.iter().find(|(name, _)| !known.contains(name));
        if let Some((name, _)) = unknown {
            return unknown_parameter(name, &known);
        }
        let name = error.path().to_string();
        let why = error.inner().to_string();
        Problem::new(&kinds::BAD_PARAMETER).detail(format!("`{}`: {}", shown(&name), shown(&why)))
    })
}

fn unknown_parameter(name: &str, known: &[String]) -> Problem {
    let known = if known.is_empty() {
        "this route has no query parameters".to_owned()
    } else {
        format!("the parameters are {}", known.join(", "))
    };
    Problem::new(&kinds::UNKNOWN_PARAMETER).detail(format!(
        "unknown query parameter `{}`: {known}",
        shown(name)
    ))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoQuery;

impl Query for NoQuery {
    fn read(head: &Head) -> Result<Self> {
        match pairs(head).first() {
            None => Ok(Self),
            Some((name, _)) => Err(unknown_parameter(name, &[])),
        }
    }
}

/// The parameters of a list without a filter.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NoFilter {}

/// The parameters of a route that is not a list.
#[derive(Debug, Clone)]
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned + IntoParams + Send> Query for Parameters<T> {
    fn read(head: &Head) -> Result<Self> {
        deserialize(&pairs(head), false).map(Self)
    }
}

/// The parameters of a list: a filter and a page.
#[derive(Debug, Clone)]
pub struct List<F = NoFilter> {
    pub filter: F,
    limit: usize,
    cursor: Option<String>,
    /// The path and the filter. A cursor is bound to them and to the tenant.
    name: String,
}

/// The page of a list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `List` reads")]
pub struct PageParams {
    /// The most items of a page.
    #[param(minimum = 1, maximum = 100, default = 25)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    #[param(min_length = 1, max_length = 1024, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

const DEFAULT_LIMIT: usize = 25;
const MAX_LIMIT: usize = 100;

impl<F: DeserializeOwned + IntoParams + Send> Query for List<F> {
    fn read(head: &Head) -> Result<Self> {
        let (page, filter): (Vec<Pair>, Vec<Pair>) = pairs(head)
            .into_iter()
            .partition(|(name, _)| matches!(name.as_str(), "limit" | "cursor"));
        let find = |wanted: &str| {
            let mut found = page.iter().filter(|(name, _)| name == wanted);
            match (found.next(), found.next()) {
                (_, Some(_)) => Err(Problem::new(&kinds::BAD_PARAMETER)
                    .detail(format!("`{wanted}` must occur only once"))),
                (first, None) => Ok(first.map(|(_, value)| value.as_str())),
            }
        };
        let limit = match find("limit")? {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| {
                    Problem::new(&kinds::BAD_LIMIT)
                        .detail(format!("`limit` must be a number from 1 to {MAX_LIMIT}"))
                })?,
        };
        let shown: Vec<String> = filter
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Ok(Self {
            limit,
            cursor: find("cursor")?.map(str::to_owned),
            name: format!("{} {}", head.uri.path(), shown.join("&")),
            filter: deserialize(&filter, true)?,
        })
    }
}

impl<A: HasApi, F> Context<A, List<F>> {
    /// Responds with a page of the list: `{"data": […], "next_cursor": …}`.
    ///
    /// # Errors
    ///
    /// `400` for a cursor of another list, or the error of `fetch`.
    pub async fn page<T, V: Serialize>(
        &self,
        fetch: impl AsyncFnOnce(Listing) -> Result<Page<T>>,
        view: impl Fn(T) -> V,
    ) -> Result {
        let list = &self.query;
        let name = format!("{} {}", self.caller.tenant.id, list.name);
        let keyring = self.app.api().auth.keyring().await?;
        let after = match &list.cursor {
            None => None,
            Some(text) => Some(Cursor::open(&keyring, &name, text).map_err(|_| {
                Problem::new(&kinds::BAD_CURSOR).detail("`cursor` is not from this list")
            })?),
        };
        let listing = Listing {
            limit: list.limit,
            after,
        };
        let page = fetch(listing).await?;
        let next = page.next.map(|cursor| cursor.seal(&keyring, &name));
        let data: Vec<V> = page.items.into_iter().map(view).collect();
        response::json(StatusCode::OK, &json!({"data": data, "next_cursor": next}))
    }
}

/// A list that always fits into one page.
///
/// # Errors
///
/// As [`response::json`].
pub fn whole_list<V: Serialize>(data: &[V]) -> Result {
    response::json(StatusCode::OK, &json!({"data": data, "next_cursor": null}))
}
