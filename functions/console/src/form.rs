//! Forms: fields of a query or a body, and the check that a form was sent by a page of its session.

use std::sync::Arc;

use aias_platform::{http::Head, secrets::is_equal};
use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::{
    App,
    failure::Failure,
    visit::{Browser, Visitor, t},
};

/// An id in a path. Anything that could lead to another path of the API is not found.
#[derive(Debug, Clone)]
pub(crate) struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not an id"))
    }
}

impl Id {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_id = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_valid = (1..=64).contains(&text.len()) && text.chars().all(is_id);
        is_valid.then(|| Self(text.to_owned()))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::ops::Deref for Id {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The number of a version in a field.
pub(crate) fn version(browser: &Browser, text: &str) -> Result<u32, Failure> {
    text.parse()
        .map_err(|_| Failure::bad_request(&t!(browser, "bad-version")))
}

/// A JSON value in a field.
pub(crate) fn json_value(browser: &Browser, label: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        Failure::bad_request(&t!(browser, "not-json", name = label, reason = reason))
    })
}

/// The largest form, in bytes: a definition of 256 KiB, percent-encoded.
pub(crate) const MAX_FORM_BYTES: usize = 1024 * 1024;

/// The field that has the session's token.
pub(crate) const CSRF: &str = "csrf";

/// The fields of a query or of a form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The value of a field, without spaces around it; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The value of a field as it was entered.
    pub(crate) fn raw(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let fields = self.0.iter().filter(move |(found, _)| found == name);
        fields.map(|(_, value)| value.as_str())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A query of these fields that are not empty, with these changes.
    pub(crate) fn query_with(&self, changes: &[(&str, &str)]) -> String {
        let kept = self.iter().filter(|(name, value)| {
            !value.is_empty() && !changes.iter().any(|(changed, _)| changed == name)
        });
        let changed = changes
            .iter()
            .copied()
            .filter(|(_, value)| !value.is_empty());
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept.chain(changed))
            .finish()
    }
}

/// A form that was sent by a page of this session.
#[derive(Debug)]
pub(crate) struct Form(pub(crate) Fields);

impl FromRequest<Arc<App>> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Failure> {
        let visitor = request.extensions().get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(Failure::not_found)?;
        let fields = read(request, &visitor.browser).await?;
        let token = fields.raw(CSRF);
        if !is_equal(token.as_bytes(), visitor.session.csrf.as_bytes()) {
            return Err(Failure::forged());
        }
        Ok(Self(fields))
    }
}

/// A form of a page without a session.
#[derive(Debug)]
pub(crate) struct PublicForm(pub(crate) Fields);

impl FromRequest<Arc<App>> for PublicForm {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Failure> {
        let browser = request.extensions().get::<Browser>().cloned();
        let browser = browser.ok_or_else(Failure::not_found)?;
        read(request, &browser).await.map(Self)
    }
}

async fn read(request: Request, browser: &Browser) -> Result<Fields, Failure> {
    if !is_same_origin(&browser.head) {
        return Err(Failure::forged());
    }
    let body = to_bytes(request.into_body(), MAX_FORM_BYTES).await;
    let body = body.map_err(|_| Failure::bad_request(&t!(browser, "form-too-large")))?;
    let text = std::str::from_utf8(&body);
    let text = text.map_err(|_| Failure::bad_request(&t!(browser, "form-not-utf8")))?;
    Ok(Fields::parse(text))
}

/// Whether a page of this site sent the request. A client that is not a browser sends neither header,
/// and has no cookies that others could misuse.
fn is_same_origin(head: &Head) -> bool {
    match (head.header("sec-fetch-site"), head.header("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin == head.base_url(),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_of_another_site_is_refused() {
        let is_accepted = |headers: &[(&str, &str)]| {
            let mut request = axum::http::Request::builder().header("host", "aias.example");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            is_same_origin(&Head::of(&parts))
        };
        assert!(is_accepted(&[("sec-fetch-site", "same-origin")]));
        assert!(is_accepted(&[("origin", "https://aias.example")]));
        assert!(is_accepted(&[]));
        assert!(!is_accepted(&[("sec-fetch-site", "cross-site")]));
        assert!(!is_accepted(&[("sec-fetch-site", "same-site")]));
        assert!(!is_accepted(&[("origin", "https://evil.example")]));
        assert!(!is_accepted(&[("origin", "null")]));
    }

    #[test]
    fn query_keeps_filters() {
        let fields = Fields::parse("status=faulted&cursor=abc&from=&workflow_id=wf_1");
        let next = fields.query_with(&[("cursor", "d&f")]);
        assert_eq!(next, "status=faulted&workflow_id=wf_1&cursor=d%26f");
    }
}
