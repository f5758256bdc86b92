//! Parses definitions.

use aias_domain::{canonical, json, workflow::MAX_DEFINITION_BYTES};
pub use aias_formats::{Position, Positions};
use serde_json::Value;

use crate::reader::Fault;

/// The format of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 8259.
    Json,
    /// Version 1.2.
    Yaml,
}

/// Why a text is not a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    pub fault: Fault,
    /// Of a text that is not YAML.
    pub position: Option<Position>,
}

fn fault(pointer: String, detail: String) -> ReadError {
    ReadError {
        fault: Fault { pointer, detail },
        position: None,
    }
}

/// Parses a definition.
///
/// # Errors
///
/// When it is too large or not in its format.
pub fn read(text: &[u8], format: Format) -> Result<Value, ReadError> {
    if text.len() > MAX_DEFINITION_BYTES {
        let detail = format!("a definition has at most {MAX_DEFINITION_BYTES} bytes");
        return Err(fault(String::new(), detail));
    }
    parse(text, format)
}

/// Parses a definition of any size.
pub(crate) fn parse(text: &[u8], format: Format) -> Result<Value, ReadError> {
    match format {
        Format::Json => json::parse(text).map_err(|e| fault(e.pointer, e.detail)),
        Format::Yaml => {
            let value = aias_formats::yaml(text, json::MAX_DEPTH).map_err(|error| ReadError {
                position: error.position,
                ..fault(String::new(), error.detail)
            })?;
            // Parsed as JSON once more, so that both formats have the same limits.
            json::parse(&canonical_order_kept(&value)).map_err(|e| fault(e.pointer, e.detail))
        }
    }
}

/// Where the members of a definition, or of a JSON text that contains it, are; none if the text
/// cannot be parsed.
#[must_use]
pub fn positions(text: &[u8]) -> Option<Positions> {
    Positions::read(text, json::MAX_DEPTH)
}

fn canonical_order_kept(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// The digest of a version: that of its RFC 8785 form.
#[must_use]
pub fn digest(definition: &Value) -> String {
    canonical::digest(&canonical::to_vec(definition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_yaml_parse_to_same_value() {
        let yaml = b"document: {dsl: '1.0.3', n: 1}\ndo:\n  - a: {set: {x: yes, y: true}}\n";
        let json = br#"{"document": {"dsl": "1.0.3", "n": 1}, "do": [{"a": {"set": {"x": "yes", "y": true}}}]}"#;
        let (yaml, json) = (
            read(yaml, Format::Yaml).unwrap(),
            read(json, Format::Json).unwrap(),
        );
        assert_eq!(yaml, json);
        assert_eq!(digest(&yaml), digest(&json));
    }

    #[test]
    fn size_limit_is_exact() {
        let text = |n: usize| format!("\"{}\"", "x".repeat(n - 2)).into_bytes();
        assert!(read(&text(MAX_DEFINITION_BYTES), Format::Json).is_ok());
        assert!(read(&text(MAX_DEFINITION_BYTES + 1), Format::Json).is_err());
    }

    #[test]
    fn hostile_yaml_is_refused() {
        let bomb = (1..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
            format!("{text}a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)
        });
        for bad in [
            bomb.as_str(),
            "a: 1\na: 2\n",
            "a: [",
            "\u{0}",
            &"[".repeat(10_000),
            "a: .nan\nb: !!js x: y: z",
        ] {
            assert!(read(bad.as_bytes(), Format::Yaml).is_err(), "{bad:.40}");
        }
    }
}
