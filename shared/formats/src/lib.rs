//! YAML and JSON Schema, for the engine. A crate of their own, so that these two are built for size: a
//! generic library is built where it is used, and in the engine, which is built for speed, they were
//! twice as large (`docs/decisions/0019`).

mod schema;

pub use schema::Schema;

use serde_json::Value;

/// The value of a YAML 1.2 text, at most `max_depth` deep.
///
/// # Errors
/// Why it has none.
pub fn yaml(text: &[u8], max_depth: usize) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: max_depth },
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(text, options).map_err(|e| e.to_string())
}
