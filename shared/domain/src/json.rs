//! A strict JSON parser: UTF-8, no duplicate member names, at most [`MAX_DEPTH`] levels.
//!
//! `serde_json` alone keeps the last of two members with the same name and has its own depth limit.
//! Here a string has one meaning, or is refused with a pointer to the error.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How many arrays and objects may be nested.
pub const MAX_DEPTH: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ParseError {
    /// An RFC 6901 pointer to the error; empty for the whole document.
    pub pointer: String,
    pub detail: String,
}

/// The depth of values that AIAS builds itself: a body of [`MAX_DEPTH`] levels inside a workflow
/// input, inside the output of a workflow.
pub const MAX_STORED_DEPTH: usize = MAX_DEPTH + 16;

/// Parses JSON.
///
/// # Errors
///
/// When the bytes are not UTF-8, not JSON, have a duplicate member name, or are nested too deep.
pub fn parse(bytes: &[u8]) -> Result<Value, ParseError> {
    parse_within(bytes, MAX_DEPTH)
}

/// Parses JSON that AIAS stored, up to [`MAX_STORED_DEPTH`] levels.
///
/// # Errors
///
/// As for [`parse`].
pub fn parse_stored(bytes: &[u8]) -> Result<Value, ParseError> {
    parse_within(bytes, MAX_STORED_DEPTH)
}

fn parse_within(bytes: &[u8], depth: usize) -> Result<Value, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|e| ParseError {
        pointer: String::new(),
        detail: format!("not UTF-8 at byte {}", e.valid_up_to()),
    })?;
    let path = RefCell::new(Path::default());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let strict = Strict {
        path: &path,
        left: depth,
    };
    let value = strict
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|e| ParseError {
        pointer: path.borrow_mut().fault.take().unwrap_or_default(),
        detail: e.to_string(),
    })
}

/// Whether a JSON string nests more than `depth` arrays and objects. The result for a string that
/// is not JSON is unspecified; its parser reports the error.
#[must_use]
pub fn is_deeper(bytes: &[u8], depth: usize) -> bool {
    let (mut level, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                level += 1;
                if level > depth {
                    return true;
                }
            }
            b']' | b'}' if !in_text => level = level.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Appends a token to a JSON pointer, escaped (RFC 6901).
pub fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    for c in token.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

#[derive(Default)]
struct Path {
    tokens: Vec<String>,
    fault: Option<String>,
}

impl Path {
    fn record_path(&mut self) {
        let mut pointer = String::new();
        for token in &self.tokens {
            push_token(&mut pointer, token);
        }
        self.fault = Some(pointer);
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    path: &'a RefCell<Path>,
    /// Remaining levels.
    left: usize,
}

impl Strict<'_> {
    fn descend<E: serde::de::Error>(self) -> Result<Self, E> {
        let Some(left) = self.left.checked_sub(1) else {
            self.path.borrow_mut().record_path();
            return Err(E::custom("nested more than 128 levels deep"));
        };
        Ok(Self { left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v)
            .map(Value::Number)
            .ok_or_else(|| E::custom("the number is out of range"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.descend()?;
        let mut items = Vec::new();
        loop {
            self.path.borrow_mut().tokens.push(items.len().to_string());
            let Some(item) = seq.next_element_seed(inner)? else {
                break;
            };
            self.path.borrow_mut().tokens.pop();
            items.push(item);
        }
        self.path.borrow_mut().tokens.pop();
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.descend()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            self.path.borrow_mut().tokens.push(name.clone());
            if members.contains_key(&name) {
                self.path.borrow_mut().record_path();
                return Err(A::Error::custom(
                    "the member name occurs twice in this object",
                ));
            }
            let value = map.next_value_seed(inner)?;
            self.path.borrow_mut().tokens.pop();
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_limit_is_exact() {
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        let error = parse(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err();
        assert!(error.detail.starts_with("nested more than"), "{error:?}");
        assert_eq!(error.pointer, "/0".repeat(MAX_DEPTH));
        assert!(parse(nested(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn depth_is_measured_without_parsing() {
        for (text, depth) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a": [1, {"b": []}], "c": [[]]}"#, 4),
            (r#"["[[[[", "\"[[", "\\", []]"#, 2),
        ] {
            assert!(!is_deeper(text.as_bytes(), depth), "{text}");
            assert!(
                depth == 0 || is_deeper(text.as_bytes(), depth - 1),
                "{text}"
            );
        }
        assert!(is_deeper(
            "[".repeat(1_000_000).as_bytes(),
            MAX_STORED_DEPTH
        ));
    }

    #[test]
    fn duplicate_member_is_refused_with_pointer() {
        let error = parse(br#"{"a/b": [{}, {"x": 1, "x": 2}]}"#).unwrap_err();
        assert_eq!(error.pointer, "/a~1b/1/x");
        assert!(
            error.detail.starts_with("the member name occurs twice"),
            "{error:?}"
        );
    }

    #[test]
    fn invalid_json_is_refused() {
        for bad in [
            &b"\xff"[..],
            b"",
            b"{",
            b"1 2",
            b"NaN",
            b"1e999",
            b"{'a':1}",
            b"\"\\ud800\"",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse(b" 18446744073709551615 ").unwrap(), u64::MAX);
    }
}
