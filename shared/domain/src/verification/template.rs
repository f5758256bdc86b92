//! Texts made from a request: the signed string, and the event id.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::place::{Place, Values};

/// A text with placeholders: `{timestamp}.{body}`.
///
/// | placeholder | value |
/// |---|---|
/// | `{body}` | the raw body |
/// | `{timestamp}` | the signed timestamp, as received |
/// | `{method}` | the method, in upper case |
/// | `{url}` | the URL that was called, with its query |
/// | `{form}` | names and values of the form's fields, ordered by name, without separators |
/// | `{secret}` | the signing secret |
/// | `{body-sha256}` | the SHA-256 of the raw body, in hex |
/// | `{body-crc32}` | the CRC-32 of the raw body, in decimal |
/// | `{header:x}` and other places | the value there; with `?` at the end it may be missing |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Body,
    Timestamp,
    Method,
    Url,
    Form,
    Secret,
    BodySha256,
    BodyCrc32,
    Value { place: Place, is_optional: bool },
}

/// The longest template, in characters.
const MAX_LENGTH: usize = 1_024;

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("a template has at most {MAX_LENGTH} characters"));
        }
        let (mut parts, mut rest) = (Vec::new(), text.as_str());
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| format!("`{text}` has a placeholder without its end"))?;
            parts.push(placeholder(name)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }
}

fn placeholder(name: &str) -> Result<Part, String> {
    Ok(match name {
        "body" => Part::Body,
        "timestamp" => Part::Timestamp,
        "method" => Part::Method,
        "url" => Part::Url,
        "form" => Part::Form,
        "secret" => Part::Secret,
        "body-sha256" => Part::BodySha256,
        "body-crc32" => Part::BodyCrc32,
        _ => {
            let (place, is_optional) = match name.strip_suffix('?') {
                Some(place) => (place, true),
                None => (name, false),
            };
            Part::Value {
                place: place.to_owned().try_into()?,
                is_optional,
            }
        }
    })
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        let part = |part: Part| match part {
            Part::Text(text) => text,
            Part::Body => "{body}".to_owned(),
            Part::Timestamp => "{timestamp}".to_owned(),
            Part::Method => "{method}".to_owned(),
            Part::Url => "{url}".to_owned(),
            Part::Form => "{form}".to_owned(),
            Part::Secret => "{secret}".to_owned(),
            Part::BodySha256 => "{body-sha256}".to_owned(),
            Part::BodyCrc32 => "{body-crc32}".to_owned(),
            Part::Value { place, is_optional } => {
                format!("{{{place}{}}}", if is_optional { "?" } else { "" })
            }
        };
        template.0.into_iter().map(part).collect()
    }
}

/// A placeholder whose value the request does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MissingValue(pub(super) String);

impl Template {
    /// The parts of the text for a request.
    pub(super) fn fill<'a>(
        &'a self,
        values: &'a Values<'_>,
        timestamp: Option<&'a str>,
        secret: &'a [u8],
    ) -> Result<Vec<Cow<'a, [u8]>>, MissingValue> {
        let missing = |name: &str| MissingValue(name.to_owned());
        let mut filled = Vec::with_capacity(self.0.len());
        for part in &self.0 {
            filled.push(match part {
                Part::Text(text) => Cow::Borrowed(text.as_bytes()),
                Part::Body => Cow::Borrowed(values.request.body),
                Part::Timestamp => {
                    Cow::Borrowed(timestamp.ok_or_else(|| missing("timestamp"))?.as_bytes())
                }
                Part::Method => Cow::Borrowed(values.request.method.as_bytes()),
                Part::Url => Cow::Borrowed(values.request.url.as_bytes()),
                Part::Form => Cow::Owned(sorted_form(values.form())),
                Part::Secret => Cow::Borrowed(secret),
                Part::BodySha256 => {
                    Cow::Owned(hex::encode(Sha256::digest(values.request.body)).into_bytes())
                }
                Part::BodyCrc32 => {
                    let crc = crc32fast::hash(values.request.body);
                    Cow::Owned(crc.to_string().into_bytes())
                }
                Part::Value { place, is_optional } => match values.get(place) {
                    Some(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
                    Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
                    None if *is_optional => Cow::Borrowed(b"".as_slice()),
                    None => return Err(missing(&place.to_string())),
                },
            });
        }
        Ok(filled)
    }

    /// The text for a request, if it has all values and is UTF-8.
    #[must_use]
    pub fn text(&self, values: &Values<'_>) -> Option<String> {
        let parts = self.fill(values, None, &[]).ok()?;
        String::from_utf8(parts.concat()).ok()
    }

    /// Whether the form's fields are signed instead of the raw body.
    pub(super) fn reads_form(&self) -> bool {
        self.0.contains(&Part::Form)
    }
}

/// Names and values, ordered by name and then by value.
fn sorted_form(fields: &[(String, String)]) -> Vec<u8> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort();
    let texts = fields.iter().flat_map(|(name, value)| [name, value]);
    texts.flat_map(|text| text.bytes()).collect()
}
