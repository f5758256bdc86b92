//! Workflow secrets, and the placeholders that a run has instead of their values.
//!
//! The engine never has the value of a secret. `$secrets.token` evaluates to a placeholder that
//! contains the run's nonce, so nobody outside the run can write it. The executor replaces
//! placeholders with values when it sends a request. No log, error, journal entry or output of a
//! run contains a value, and a run gives the same result when it is computed again after the secret
//! has changed.

use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The longest value, in bytes of JSON.
pub const MAX_VALUE_BYTES: usize = 8 * 1024;

/// The shortest string that can be a secret, in bytes. A shorter one could be guessed and could not
/// be redacted from a response that repeats it.
pub const MIN_STRING_BYTES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret name has 1 to 64 letters, digits, `_`, `-` or `.` and starts with a letter or digit"
)]
pub struct NameError;

/// The name of a workflow secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", examples("crm.token"))]
pub struct SecretName(String);

impl SecretName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl FromStr for SecretName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let first = text.bytes().next();
        let fits = first.is_some_and(|b| b.is_ascii_alphanumeric())
            && text.len() <= 64
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        fits.then(|| Self(text.to_owned())).ok_or(NameError)
    }
}

/// A workflow secret without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowSecret {
    /// Its name.
    pub name: SecretName,
    /// The value, sealed for this tenant and name.
    pub sealed: String,
    /// When it was first set.
    pub created_at: Timestamp,
    /// When it was last set.
    pub updated_at: Timestamp,
}

/// Why a value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("the value must be a string, or an object that configures an authentication policy")]
    Kind,
    #[error("a string must have at least {MIN_STRING_BYTES} bytes")]
    Short,
    #[error("the value must have at most {MAX_VALUE_BYTES} bytes")]
    Long,
}

/// Checks a value.
///
/// # Errors
///
/// When the value cannot be a secret.
pub fn check_value(value: &Value) -> Result<(), ValueError> {
    match value {
        Value::String(text) if text.len() < MIN_STRING_BYTES => return Err(ValueError::Short),
        Value::String(_) => {}
        Value::Object(members) if !members.is_empty() => {}
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Err(ValueError::Kind);
        }
    }
    if value.to_string().len() > MAX_VALUE_BYTES {
        return Err(ValueError::Long);
    }
    Ok(())
}

/// The strings in a value that must be redacted.
#[must_use]
pub fn sensitive_strings(value: &Value) -> Vec<&str> {
    let mut texts = Vec::new();
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        match value {
            Value::String(text) if text.len() >= MIN_STRING_BYTES => texts.push(text.as_str()),
            Value::Array(items) => left.extend(items),
            Value::Object(members) => left.extend(members.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    texts
}

/// The start of every placeholder.
const PREFIX: &str = "aias_secret_";

/// The placeholder for a secret. It consists of letters, digits and `_`, so that it passes through
/// headers, URIs and JSON unchanged.
#[must_use]
pub fn placeholder(secret_nonce: &str, name: &str) -> String {
    format!("{PREFIX}{secret_nonce}_{}_", hex::encode(name))
}

/// Replaces placeholders with values.
///
/// # Errors
///
/// The error of `value`.
pub fn fill_placeholders<E>(
    text: &str,
    secret_nonce: &str,
    mut value: impl FnMut(&SecretName) -> Result<String, E>,
) -> Result<String, E> {
    if secret_nonce.is_empty() {
        return Ok(text.to_owned());
    }
    let begin = format!("{PREFIX}{secret_nonce}_");
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(&begin) {
        filled.push_str(before);
        match name_at(after) {
            Some((name, after)) => {
                filled.push_str(&value(&name)?);
                rest = after;
            }
            None => {
                filled.push_str(&begin);
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

fn name_at(text: &str) -> Option<(SecretName, &str)> {
    let (name, after) = text.split_once('_')?;
    let name = String::from_utf8(hex::decode(name).ok()?).ok()?;
    Some((name.parse().ok()?, after))
}

/// Replaces each placeholder in the strings of a value with `$secrets.<name>`.
pub fn name_placeholders(value: &mut Value, secret_nonce: &str) {
    if secret_nonce.is_empty() {
        return;
    }
    match value {
        Value::String(text) if text.contains(PREFIX) => {
            let named =
                |name: &SecretName| Ok::<_, std::convert::Infallible>(format!("$secrets.{name}"));
            let Ok(named) = fill_placeholders(text, secret_nonce, named);
            *text = named;
        }
        Value::Array(items) => {
            for item in items {
                name_placeholders(item, secret_nonce);
            }
        }
        Value::Object(members) => {
            for member in members.values_mut() {
                name_placeholders(member, secret_nonce);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The names of all secrets whose placeholders are in a string.
#[must_use]
pub fn placeholder_names(text: &str, secret_nonce: &str) -> BTreeSet<SecretName> {
    let mut names = BTreeSet::new();
    let noted = fill_placeholders(text, secret_nonce, |name| {
        names.insert(name.clone());
        Ok::<_, std::convert::Infallible>(String::new())
    });
    noted.map_or_else(|never| match never {}, |_| names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn placeholder_is_replaced_only_with_its_nonce() {
        let one = placeholder("m1", "a.b-c_d");
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        let text = format!("Bearer {one}{one}, {}", placeholder("m2", "x"));
        let filled = fill_placeholders(&text, "m1", |name| {
            assert_eq!(name.as_str(), "a.b-c_d");
            Ok::<_, ()>("v".to_owned())
        });
        assert_eq!(filled, Ok(format!("Bearer vv, {}", placeholder("m2", "x"))));
        assert_eq!(placeholder_names(&text, "m1").len(), 1);
        assert_eq!(placeholder_names(&text, "").len(), 0);
        for junk in ["aias_secret_m1_", "aias_secret_m1_zz_", "aias_secret_m1_61"] {
            assert_eq!(
                fill_placeholders(junk, "m1", |_| Err(())),
                Ok(junk.to_owned())
            );
        }
        // Values are not searched for placeholders.
        let again = fill_placeholders(&one, "m1", |_| Ok::<_, ()>(placeholder("m1", "y")));
        assert_eq!(again, Ok(placeholder("m1", "y")));
    }

    #[test]
    fn names_and_values_are_limited() {
        for name in ["a", "A1", "stripe.key", "x_-", &"n".repeat(64)] {
            assert!(name.parse::<SecretName>().is_ok(), "{name}");
        }
        for name in ["", ".a", "-", "a b", "ä", "a/b", &"n".repeat(65)] {
            assert!(name.parse::<SecretName>().is_err(), "{name}");
        }
        assert_eq!(check_value(&json!("12345678")), Ok(()));
        assert_eq!(check_value(&json!("1234567")), Err(ValueError::Short));
        assert_eq!(check_value(&json!({"token": "t"})), Ok(()));
        assert_eq!(check_value(&json!({})), Err(ValueError::Kind));
        assert_eq!(check_value(&json!(["12345678"])), Err(ValueError::Kind));
        let long = "x".repeat(MAX_VALUE_BYTES);
        assert_eq!(check_value(&json!(long)), Err(ValueError::Long));
    }
}
