//! Answers.

use std::collections::BTreeMap;

use aias_domain::canonical;
use serde::Serialize;

use super::{API_VERSION, problem::Problem, request::Request};

/// An answer, as API Gateway's payload format 2.0 wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAnswer {
    /// The status code.
    pub status_code: u16,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// None; `cargo lambda watch` wants the member all the same.
    pub cookies: [String; 0],
    /// The body, which is always text.
    pub body: String,
    /// Always false.
    pub is_base64_encoded: bool,
}

/// An answer under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Response {
    /// A JSON answer.
    ///
    /// # Errors
    /// When the view cannot be written as JSON, which none here does.
    pub fn json<T: Serialize>(status: u16, view: &T) -> Result<Self, Problem> {
        let body = serde_json::to_string(view).map_err(Problem::internal)?;
        Ok(Self::text_of(status, "application/json", body))
    }

    /// One object, with the `ETag` of its state.
    ///
    /// # Errors
    /// As [`Response::json`].
    pub fn object<T: Serialize>(status: u16, view: &T) -> Result<Self, Problem> {
        let response = Self::json(status, view)?;
        let etag = etag_of(&response.body);
        Ok(response.header("etag", etag))
    }

    pub(super) fn text_of(status: u16, content_type: &str, body: String) -> Self {
        Self {
            status,
            headers: BTreeMap::new(),
            body,
        }
        .header("content-type", content_type)
        .header("cache-control", "no-store")
        .header("x-content-type-options", "nosniff")
    }

    /// A text that a provider wants to see again.
    #[must_use]
    pub fn plain(body: String) -> Self {
        Self::text_of(200, "text/plain; charset=utf-8", body)
    }

    /// JSON that is already text.
    #[must_use]
    pub fn raw_json(status: u16, body: String) -> Self {
        Self::text_of(status, "application/json", body)
    }

    /// Nothing to say.
    #[must_use]
    pub fn no_content() -> Self {
        Self {
            status: 204,
            headers: BTreeMap::new(),
            body: String::new(),
        }
    }

    /// Elsewhere.
    #[must_use]
    pub fn found(url: String) -> Self {
        Self {
            status: 302,
            headers: BTreeMap::new(),
            body: String::new(),
        }
        .header("location", url)
        .header("cache-control", "no-store")
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_owned(), value.into());
        self
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn body(&self) -> &str {
        &self.body
    }

    pub(super) fn headers(&self) -> &BTreeMap<String, String> {
        &self.headers
    }

    pub(super) fn of_parts(status: u16, headers: BTreeMap<String, String>, body: String) -> Self {
        Self {
            status,
            headers,
            body,
        }
    }

    pub(super) fn into_answer(self, request_id: &str, is_head: bool) -> HttpAnswer {
        let mut headers = self.headers;
        headers.insert("x-request-id".to_owned(), request_id.to_owned());
        headers.insert("api-version".to_owned(), API_VERSION.to_owned());
        HttpAnswer {
            status_code: self.status,
            headers,
            cookies: [],
            body: if is_head { String::new() } else { self.body },
            is_base64_encoded: false,
        }
    }
}

fn etag_of(body: &str) -> String {
    let digest = canonical::digest(body.as_bytes());
    format!("\"{}\"", digest.get(7..39).unwrap_or_default())
}

impl Request {
    /// Refuses a change to an object whose state is not the one that `If-Match` names.
    ///
    /// # Errors
    /// `412` when it is another.
    pub fn check_if_match<T: Serialize>(&self, view: &T) -> Result<(), Problem> {
        let Some(wanted) = self.header("if-match") else {
            return Ok(());
        };
        let body = serde_json::to_string(view).map_err(Problem::internal)?;
        let etag = etag_of(&body);
        let matches = wanted
            .split(',')
            .map(str::trim)
            .any(|one| one == "*" || one == etag);
        if matches {
            Ok(())
        } else {
            Err(Problem::precondition_failed())
        }
    }
}
