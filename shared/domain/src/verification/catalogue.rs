//! The catalogue of sources: a file for each provider in `sources/`, which the build script puts
//! into this table.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{place::Values, scheme::Scheme};
use crate::{
    event::{self, Request},
    id::EndpointId,
};

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
    /// The body of an event, in the form that the provider documents, with invented values. A text
    /// is not JSON.
    pub sample: Value,
    /// Headers of the sample that a workflow uses, with lower-case names. The content type is
    /// `application/json` by default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What the template of a workflow takes from an event: the names of members, and expressions.
    pub workflow: BTreeMap<String, String>,
}

impl Guide {
    /// The definition of a workflow that uses an event of this source, as YAML.
    #[must_use]
    pub fn template(&self, name: &str) -> String {
        let mut text = format!(
            "document: {{dsl: 1.0.3, namespace: default, name: {name}-events, version: 1.0.0}}\n\
             do:\n  - summary:\n      set:\n"
        );
        let (event, others): (Vec<_>, Vec<_>) =
            self.workflow.iter().partition(|(own, _)| *own == "event");
        for (member, expression) in event.into_iter().chain(others) {
            let expression = format!("${{ {expression} }}");
            // Where a plain scalar of YAML would end.
            let is_plain = !expression.contains(": ") && !expression.contains(" #");
            let quoted = format!("'{}'", expression.replace('\'', "''"));
            let value = if is_plain { expression } else { quoted };
            let _ = writeln!(text, "        {member}: {value}");
        }
        text
    }
}

/// The input of a run with the sample of a source.
#[must_use]
pub fn sample_event(name: &str, received_at: Timestamp) -> Option<Value> {
    let (scheme, guide) = (scheme(name)?, guide(name)?);
    let text = guide.sample.as_str().map(str::to_owned);
    let body = text.unwrap_or_else(|| guide.sample.to_string());
    let json = ("content-type".to_owned(), "application/json".to_owned());
    let headers = BTreeMap::from([json]).into_iter().chain(guide.headers);
    let headers: BTreeMap<String, String> = headers.collect();
    let request = Request {
        method: "POST",
        url: "",
        headers: headers.iter().map(|(n, v)| (&**n, &**v)).collect(),
        query: "",
        body: body.as_bytes(),
    };
    let body = event::read_body(&scheme, Values::new(&request)).ok()?;
    let body = event::unwrap_payload(&scheme, body).ok()?;
    let endpoint = EndpointId::new(Timestamp::UNIX_EPOCH, 0);
    let id = format!("{name}-sample");
    event::workflow_input(&id, endpoint, received_at, &scheme, &request, body).ok()
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
