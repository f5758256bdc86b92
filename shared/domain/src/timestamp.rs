//! The timestamp format of the API.

use jiff::Timestamp;

/// RFC 3339 in UTC with milliseconds, the only timestamp format of the API.
#[must_use]
pub fn format(at: Timestamp) -> String {
    format!("{at:.3}")
}
