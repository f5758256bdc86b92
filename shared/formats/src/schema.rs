//! JSON Schema at the points that the DSL names: workflow and task input, output, and context.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// How many faults of one value are told.
const MAX_TOLD: usize = 5;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// Compiles an inline schema. Patterns run in linear time; nothing outside is loaded.
    ///
    /// # Errors
    /// Why it is none.
    pub fn compile(document: &Value) -> Result<Self, String> {
        jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .build(document)
            .map(Self)
            .map_err(|e| e.to_string())
    }

    /// What does not fit, or nothing.
    #[must_use]
    pub fn faults(&self, value: &Value) -> Option<String> {
        let told: Vec<String> = self
            .0
            .iter_errors(value)
            .take(MAX_TOLD)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}
