//! JSON Schema, for the input and output of workflows and tasks, and for the context.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// The most faults of a value that are reported.
const MAX_REPORTED: usize = 5;

#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// Compiles an inline schema. Patterns run in linear time, and external references are not
    /// loaded.
    ///
    /// # Errors
    ///
    /// When it is not a valid schema.
    pub fn compile(document: &Value) -> Result<Self, String> {
        jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .build(document)
            .map(Self)
            .map_err(|e| e.to_string())
    }

    /// The faults of a value; none if it is valid.
    #[must_use]
    pub fn faults(&self, value: &Value) -> Option<String> {
        let faults: Vec<String> = self
            .0
            .iter_errors(value)
            .take(MAX_REPORTED)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn decimal_fractions_are_exact() {
        let schema = Schema::compile(&json!({"multipleOf": 0.01})).unwrap();
        assert_eq!(schema.faults(&json!(19.99)), None);
        assert!(schema.faults(&json!(19.995)).is_some());
    }

    #[test]
    fn external_schema_is_not_loaded() {
        for outside in ["https://example.com/schema.json", "file:///etc/passwd"] {
            assert!(
                Schema::compile(&json!({"$ref": outside})).is_err(),
                "{outside}"
            );
        }
    }

    #[test]
    fn patterns_take_linear_time() {
        let schema = Schema::compile(&json!({"pattern": "^(a+)+$"})).unwrap();
        assert!(schema.faults(&json!("a".repeat(10_000) + "b")).is_some());
        assert!(Schema::compile(&json!({"pattern": "(?=a)b"})).is_err());
    }
}
