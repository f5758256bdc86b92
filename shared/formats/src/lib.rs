//! YAML and JSON Schema for the engine. They are in a crate of their own that is compiled for size:
//! in the engine, which is compiled for speed, they were twice as large (`docs/decisions/0019`).

mod positions;
mod schema;

pub use positions::{Position, Positions};
pub use schema::Schema;

use serde_json::Value;
use serde_saphyr::{Error, MessageFormatter as _, Options, UserMessageFormatter};

fn options(max_depth: usize) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: max_depth },
        strict_booleans: true,
        with_snippet: false,
    }
}

/// Why a text is not YAML, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    pub detail: String,
    pub position: Option<Position>,
}

/// Parses YAML 1.2, at most `max_depth` levels deep.
///
/// # Errors
///
/// When it is not valid.
pub fn yaml(text: &[u8], max_depth: usize) -> Result<Value, YamlError> {
    serde_saphyr::from_slice_with_options(text, options(max_depth)).map_err(|e| explain(&e))
}

/// A value as YAML, in the order of its members.
#[must_use]
pub fn to_yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_default()
}

fn explain(error: &Error) -> YamlError {
    let error = error.without_snippet();
    let position = error.location().map(|place| Position {
        line: place.line(),
        column: place.column(),
    });
    let detail = if let Error::DuplicateMappingKey { key: Some(key), .. } = error {
        format!("the key `{key}` occurs twice in one mapping")
    } else {
        UserMessageFormatter.format_message(error).into_owned()
    };
    YamlError { detail, position }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_says_what_is_wrong_and_where() {
        for (text, detail, line, column) in [
            ("a: 1\na: 2\n", "the key `a` occurs twice", 2, 1),
            ("a: [1\nb: 2\n", "illegal placement of ':'", 2, 2),
            ("a: *b\n", "unknown value", 1, 4),
        ] {
            let error = yaml(text.as_bytes(), 128).unwrap_err();
            let position = Position { line, column };
            assert!(error.detail.contains(detail), "{error:?}");
            assert_eq!(error.position, Some(position), "{error:?}");
        }
    }
}
