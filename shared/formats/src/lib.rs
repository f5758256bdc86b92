//! YAML and JSON Schema for the engine. They are in a crate of their own that is compiled for size:
//! in the engine, which is compiled for speed, they were twice as large (`docs/decisions/0019`).

mod schema;

pub use schema::Schema;

use serde_json::Value;

/// Parses YAML 1.2, at most `max_depth` levels deep.
///
/// # Errors
///
/// When it is not valid.
pub fn yaml(text: &[u8], max_depth: usize) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: max_depth },
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(text, options).map_err(|e| e.to_string())
}
