//! The catalogue of sources: a file for each provider in `sources/`, which the build script puts
//! into this table.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::scheme::Scheme;

/// A source as it is built in: the name, and the JSON of its scheme and of its guide.
struct Row {
    name: &'static str,
    scheme: &'static str,
    guide: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// How to connect a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Guide {
    /// The provider's own name.
    #[schema(example = "GitHub")]
    pub title: String,
    /// The provider's documentation of its signatures.
    #[schema(format = "uri")]
    pub docs: String,
    /// When this entry was last compared with the documentation; absent if it was written from
    /// knowledge of the provider alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "date", nullable = false)]
    pub checked: Option<String>,
    /// What the secret is, and where the provider shows or takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub secret: Option<String>,
    /// What is to be done at the provider, in order.
    pub steps: Vec<String>,
    /// What the signature does not prove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub caution: Option<String>,
    /// The body of an event, in the form that the provider documents, with invented values.
    pub sample: Value,
}

/// The names of all sources, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

fn row(name: &str) -> Option<&'static Row> {
    let index = ROWS.binary_search_by_key(&name, |row| row.name).ok()?;
    ROWS.get(index)
}

/// How requests of a source are verified.
#[must_use]
pub fn scheme(name: &str) -> Option<Scheme> {
    serde_json::from_str(row(name)?.scheme).ok()
}

/// How to connect a source.
#[must_use]
pub fn guide(name: &str) -> Option<Guide> {
    serde_json::from_str(row(name)?.guide).ok()
}
