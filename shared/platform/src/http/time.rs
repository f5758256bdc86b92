//! Times in queries.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Deserializer, de::Error as _};

/// A time: RFC 3339, or a date, which is its first instant in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryTime(pub Timestamp);

impl<'de> Deserialize<'de> for QueryTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom("use a time such as 2026-11-26T08:00:00Z, or a date"))
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let date: Date = text
        .parse()
        .ok()
        .filter(|_| text.len() == "2026-11-26".len())?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_is_its_first_instant() {
        let of = |text: &str| parse(text).map(|time| time.to_string());
        assert_eq!(of("2026-11-26").as_deref(), Some("2026-11-26T00:00:00Z"));
        let time = "2026-11-26T08:00:00+01:00";
        assert_eq!(of(time).as_deref(), Some("2026-11-26T07:00:00Z"));
        for bad in [
            "",
            "yesterday",
            "2026-11",
            "2026-13-01",
            "2026-11-26T08:00:00",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
