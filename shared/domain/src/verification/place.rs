//! Places of a request, and what a request has there.

use std::{borrow::Cow, cell::OnceCell, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::published::KeyRequest;
use crate::{event::Request, json};

/// Where a value of a request is: `header:name`, `query:name`, `form:name`, `body:/json/pointer`,
/// or `field:name` for a `name=value` pair of the signature header. In a pointer, `*` stands for all
/// items of an array, which must have the same value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// A header, in lower case.
    Header(String),
    /// A parameter of the query.
    Query(String),
    /// A field of a form.
    Form(String),
    /// A JSON pointer into the body.
    Body(String),
    /// A pair of the signature header.
    Field(String),
}

/// The longest name, in characters.
const MAX_NAME: usize = 256;

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected =
            || format!("`{text}` must be header:, query:, form:, body: or field: and a name");
        let (kind, name) = text.split_once(':').ok_or_else(expected)?;
        if name.is_empty() || name.len() > MAX_NAME || name.contains(['{', '}']) {
            return Err(expected());
        }
        let name = name.to_owned();
        match kind {
            "header" if is_token(&name) => Ok(Self::Header(name.to_ascii_lowercase())),
            "query" => Ok(Self::Query(name)),
            "form" => Ok(Self::Form(name)),
            "body" if name.starts_with('/') => Ok(Self::Body(name)),
            "field" => Ok(Self::Field(name)),
            _ => Err(expected()),
        }
    }
}

/// Whether a text is a header name (RFC 9110, section 5.1).
pub(super) fn is_token(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(token)
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        match place {
            Place::Header(name) => format!("header:{name}"),
            Place::Query(name) => format!("query:{name}"),
            Place::Form(name) => format!("form:{name}"),
            Place::Body(pointer) => format!("body:{pointer}"),
            Place::Field(name) => format!("field:{name}"),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from(self.clone()))
    }
}

/// The values of a request. Body, form and query are parsed at most once, and only if a scheme reads
/// them.
#[derive(Debug)]
pub struct Values<'a> {
    pub request: &'a Request<'a>,
    json: OnceCell<Result<Value, json::ParseError>>,
    form: OnceCell<Vec<(String, String)>>,
    query: OnceCell<Vec<(String, String)>>,
    published_key: Option<(KeyRequest, Arc<Vec<u8>>)>,
}

/// The most fields of a form or query that are read.
const MAX_FIELDS: usize = 1_000;

fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(bytes)
        .take(MAX_FIELDS)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

impl<'a> Values<'a> {
    #[must_use]
    pub fn new(request: &'a Request<'a>) -> Self {
        Self {
            request,
            json: OnceCell::new(),
            form: OnceCell::new(),
            query: OnceCell::new(),
            published_key: None,
        }
    }

    /// With the response to the [`super::key_request`].
    #[must_use]
    pub fn with_published_key(self, request: KeyRequest, key: Arc<Vec<u8>>) -> Self {
        Self {
            published_key: Some((request, key)),
            ..self
        }
    }

    pub(super) fn published_key(&self) -> Option<(&KeyRequest, &[u8])> {
        let (request, key) = self.published_key.as_ref()?;
        Some((request, key))
    }

    /// The value at a place; the scalars of JSON as text. A name that a form or query has twice has
    /// its first value.
    #[must_use]
    pub fn get(&self, place: &Place) -> Option<Cow<'_, str>> {
        let first = |pairs: &'_ [(String, String)], name: &str| {
            let found = pairs.iter().find(|(own, _)| own == name);
            found.map(|(_, value)| value.clone().into())
        };
        match place {
            Place::Header(name) => self.request.header(name).map(Cow::Borrowed),
            Place::Query(name) => first(self.query(), name),
            Place::Form(name) => first(self.form(), name),
            Place::Body(pointer) => match pointer.split_once("/*") {
                None => scalar(self.json()?.pointer(pointer)?),
                Some((array, rest)) => common(self.json()?.pointer(array)?.as_array()?, rest),
            },
            Place::Field(_) => None,
        }
    }

    /// The body as JSON, whatever its media type says.
    #[must_use]
    pub fn json(&self) -> Option<&Value> {
        self.parsed().as_ref().ok()
    }

    fn parsed(&self) -> &Result<Value, json::ParseError> {
        self.json.get_or_init(|| json::parse(self.request.body))
    }

    /// The body as JSON, without parsing it again if a scheme has read it.
    ///
    /// # Errors
    ///
    /// When the body is not JSON.
    pub fn into_json(self) -> Result<Value, json::ParseError> {
        let body = self.request.body;
        self.json.into_inner().unwrap_or_else(|| json::parse(body))
    }

    /// The fields of the body, if it is a form.
    #[must_use]
    pub fn form(&self) -> &[(String, String)] {
        self.form.get_or_init(|| {
            if self.is_form() {
                pairs(self.request.body)
            } else {
                Vec::new()
            }
        })
    }

    #[must_use]
    pub fn is_form(&self) -> bool {
        self.request.media_type() == "application/x-www-form-urlencoded"
    }

    fn query(&self) -> &[(String, String)] {
        let parse = || pairs(self.request.query.as_bytes());
        self.query.get_or_init(parse)
    }
}

/// The value that all items of an array have at a pointer.
fn common<'a>(items: &'a [Value], pointer: &str) -> Option<Cow<'a, str>> {
    let mut values = items.iter().map(|item| scalar(item.pointer(pointer)?));
    let first = values.next()??;
    values
        .all(|value| value.as_ref() == Some(&first))
        .then_some(first)
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(truth) => Some(truth.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
