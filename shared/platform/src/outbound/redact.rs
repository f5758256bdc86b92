//! Redacts credentials from responses, since a host can repeat what it was sent.

use aias_domain::secret::{MIN_STRING_BYTES, sensitive_strings};
use aias_engine::journal::{Body, Failure, HttpResponse};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Replaces a credential in a response.
const REDACTED: &str = "[secret]";

/// How often a JSON document may be nested as a string in another.
const JSON_IN_JSON: usize = 3;

/// Strings to redact from responses.
#[derive(Default)]
pub struct Redactions(Vec<String>);

impl std::fmt::Debug for Redactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactions({})", self.0.len())
    }
}

impl Redactions {
    /// Adds the value of a secret, in all encodings that a response may contain.
    pub fn add(&mut self, value: &Value) {
        for text in sensitive_strings(value) {
            self.add_text(text);
            // In JSON, in JSON nested as a string in JSON, and once more nested.
            let mut spelled = text.to_owned();
            for _ in 0..JSON_IN_JSON {
                let json = Value::from(spelled).to_string();
                spelled = json.get(1..json.len() - 1).unwrap_or_default().to_owned();
                self.add_text(&spelled);
            }
            self.add_text(&utf8_percent_encode(text, NON_ALPHANUMERIC).to_string());
            let form: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            self.add_text(&form);
            // As a host name.
            self.add_text(&text.to_lowercase());
            self.add_text(STANDARD.encode(text).trim_end_matches('='));
        }
    }

    /// Adds the credentials of an `Authorization` header.
    pub(super) fn add_authorization(&mut self, value: &str) {
        if let Some((_, credentials)) = value.split_once(' ') {
            self.add_text(credentials);
        }
    }

    fn add_text(&mut self, text: &str) {
        if text.len() >= MIN_STRING_BYTES && !self.0.iter().any(|known| known == text) {
            self.0.push(text.to_owned());
            // Longest first, since one may be part of another.
            self.0.sort_by_key(|text| std::cmp::Reverse(text.len()));
        }
    }

    /// Whether a string contains a secret.
    pub(super) fn occur_in(&self, text: &str) -> bool {
        self.0.iter().any(|secret| text.contains(secret.as_str()))
    }

    /// Redacts a response.
    pub(super) fn redact(&self, mut response: HttpResponse) -> HttpResponse {
        if self.0.is_empty() {
            return response;
        }
        for (name, value) in &mut response.headers {
            self.redact_string(name);
            self.redact_string(value);
        }
        match &mut response.body {
            Body::Text(text) => self.redact_string(text),
            Body::Base64(text) => {
                let bytes = STANDARD.decode(text.as_bytes()).unwrap_or_default();
                if let Some(cleaned) = self.redacted_bytes(&bytes) {
                    *text = STANDARD.encode(cleaned);
                }
            }
        }
        response
    }

    /// Redacts a failure, since a host name may contain a secret.
    pub(super) fn redact_failure(&self, mut failure: Failure) -> Failure {
        self.redact_string(&mut failure.detail);
        failure
    }

    fn redact_string(&self, text: &mut String) {
        for credential in &self.0 {
            if text.contains(credential.as_str()) {
                *text = text.replace(credential.as_str(), REDACTED);
            }
        }
    }

    /// Redacts bytes that are not UTF-8; none if there is nothing to redact.
    fn redacted_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut cleaned: Option<Vec<u8>> = None;
        for credential in &self.0 {
            let needle = credential.as_bytes();
            let from = cleaned.as_deref().unwrap_or(bytes);
            let Some(mut at) = find(from, needle) else {
                continue;
            };
            let (mut into, mut rest) = (Vec::with_capacity(from.len()), from);
            loop {
                into.extend_from_slice(rest.get(..at).unwrap_or_default());
                into.extend_from_slice(REDACTED.as_bytes());
                rest = rest.get(at + needle.len()..).unwrap_or_default();
                match find(rest, needle) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            into.extend_from_slice(rest);
            cleaned = Some(into);
        }
        cleaned
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let starts = bytes.iter().enumerate().filter(|(_, b)| *b == first);
    starts.map(|(at, _)| at).find(|at| {
        bytes
            .get(*at..)
            .is_some_and(|rest| rest.starts_with(needle))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn response(body: Body) -> HttpResponse {
        HttpResponse {
            status: 200,
            headers: vec![("x-echo".to_owned(), "Bearer s3cret/\"va lue".to_owned())],
            body,
        }
    }

    #[test]
    fn repeated_secret_is_redacted() {
        let mut redactions = Redactions::default();
        redactions.add(&json!({"deep": [{"token": "s3cret/\"va lue"}], "short": "abc"}));
        redactions.add_authorization("Basic dXNlcjpwYXNzd29yZA==");
        let text = "raw s3cret/\"va lue json s3cret/\\\"va lue twice s3cret/\\\\\\\"va lue form s3cret%2F%22va+lue \
            percent s3cret%2F%22va%20lue base64 czNjcmV0LyJ2YSBsdWU= basic dXNlcjpwYXNzd29yZA== abc";
        let cleaned = redactions.redact(response(Body::Text(text.to_owned())));
        assert_eq!(cleaned.headers[0].1, "Bearer [secret]");
        let Body::Text(text) = cleaned.body else {
            panic!()
        };
        assert_eq!(
            text,
            "raw [secret] json [secret] twice [secret] form [secret] percent [secret] base64 [secret]= basic [secret] abc"
        );
        let bytes = [b"\xff\xfe s3cret/\"va lue, s3cret/\"va lue\xff".as_slice()].concat();
        let cleaned = redactions.redact(response(Body::Base64(STANDARD.encode(bytes))));
        let Body::Base64(text) = cleaned.body else {
            panic!()
        };
        assert_eq!(
            STANDARD.decode(text).unwrap(),
            b"\xff\xfe [secret], [secret]\xff"
        );
    }
}
