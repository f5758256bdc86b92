//! Samples of a workflow: events with the artifacts that the workflow makes of them.
//!
//! A new version is computed on every sample before it is stored. A version that changes an
//! artifact is refused, unless the caller accepts that by the sample's name.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::id::RunId;

/// The most samples of a workflow: all are computed within one request.
pub const MAX_SAMPLES: u32 = 20;

/// The largest input and results of a sample, in bytes of compressed JSON: they are one item of the
/// table.
pub const MAX_SAMPLE_BYTES: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a sample name has 1 to 64 lowercase letters, digits or `-` and starts with a letter or digit"
)]
pub struct SampleNameError;

/// The name of a sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(pattern = "^[a-z0-9][a-z0-9-]{0,63}$", examples("order-paid"))]
pub struct SampleName(String);

impl SampleName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SampleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SampleName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl FromStr for SampleName {
    type Err = SampleNameError;

    fn from_str(text: &str) -> Result<Self, SampleNameError> {
        let fits = (1..=64).contains(&text.len())
            && !text.starts_with('-')
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        fits.then(|| Self(text.to_owned())).ok_or(SampleNameError)
    }
}

/// A sample without its input and results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub name: SampleName,
    /// The version whose artifact it has.
    pub workflow_version: u32,
    /// `sha256:<hex>` of the canonical JSON of the output.
    pub output_digest: String,
    /// The run or the source from which it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub created_at: Timestamp,
    /// When its artifact was last accepted.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_limited() {
        for good in ["a", "order-paid", "0", &"a".repeat(64)] {
            assert_eq!(good.parse::<SampleName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a b", "a#b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<SampleName>().is_err(), "{bad}");
        }
    }
}
