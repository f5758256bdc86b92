//! Display names.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to {} characters, none of them a control character",
    Name::MAX_CHARS
)]
pub struct NameError;

/// A display name: 1 to 128 characters after trimming, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(
    min_length = 1,
    max_length = 128,
    pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
    examples("Orders")
)]
pub struct Name(String);

impl Name {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 128;

    /// Trims and checks a name.
    ///
    /// # Errors
    ///
    /// When it is empty, too long, or has a control character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let fits = text.chars().count() <= Self::MAX_CHARS && !text.chars().any(char::is_control);
        let text = text.trim();
        if fits && !text.is_empty() {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError)
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_limited() {
        assert!(Name::new(&"é".repeat(128)).is_ok());
        for bad in ["", "  ", "a\nb", &"é".repeat(129)] {
            assert_eq!(Name::new(bad), Err(NameError), "{bad:?}");
        }
        assert_eq!(Name::new(" a ").unwrap().as_str(), "a");
    }
}
