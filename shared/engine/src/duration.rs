//! Durations of the DSL: `{minutes: 5}`, `PT5M`, `${ .after }`.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::expression::{Expression, expression_in};

/// The longest duration: 366 days.
pub(crate) const MAX_MS: i64 = 366 * DAY;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Duration {
    /// In milliseconds.
    Fixed(i64),
    /// Evaluates to an ISO 8601 string or an object of units.
    Expression(Expression),
}

const UNITS: [(&str, i64); 5] = [
    ("days", DAY),
    ("hours", HOUR),
    ("minutes", MINUTE),
    ("seconds", SECOND),
    ("milliseconds", 1),
];

/// The milliseconds of a duration.
pub(crate) fn milliseconds(value: &Value) -> Result<i64, String> {
    let sum = match value {
        Value::String(text) => iso8601(text).ok_or("must be an ISO 8601 duration, such as PT5M")?,
        Value::Object(members) if !members.is_empty() => {
            let mut sum = 0_i64;
            for (name, value) in members {
                let unit = UNITS.iter().find(|(unit, _)| unit == name);
                let (Some((_, unit)), Some(number)) = (unit, value.as_i64()) else {
                    let units = UNITS.map(|(name, _)| name).join(", ");
                    return Err(format!("must have integers named {units}"));
                };
                sum = sum.saturating_add(number.saturating_mul(*unit));
            }
            sum
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Err("must be a duration, such as {minutes: 5} or PT5M".to_owned());
        }
    };
    if (0..=MAX_MS).contains(&sum) {
        Ok(sum)
    } else {
        Err("must be between 0 and 366 days".to_owned())
    }
}

/// ISO 8601-1:2019, section 5.5.2.4. A year is 365 days and a month is 30, since the duration has
/// no start date.
fn iso8601(text: &str) -> Option<i64> {
    const DATE: [(char, i64); 4] = [
        ('Y', 365 * DAY),
        ('M', 30 * DAY),
        ('W', 7 * DAY),
        ('D', DAY),
    ];
    const TIME: [(char, i64); 3] = [('H', HOUR), ('M', MINUTE), ('S', SECOND)];
    let text = text.strip_prefix('P')?;
    let (date, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None if text.is_empty() => return None,
        None => (text, ""),
    };
    Some(parts(date, &DATE)?.saturating_add(parts(time, &TIME)?))
}

fn parts(mut text: &str, mut units: &[(char, i64)]) -> Option<i64> {
    let mut sum = 0_i64;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(end);
        let designator = rest.chars().next()?;
        let place = units.iter().position(|(unit, _)| *unit == designator)?;
        let (_, unit) = units.get(place)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        sum = sum.saturating_add(whole.parse::<i64>().ok()?.saturating_mul(*unit));
        let fraction: f64 = format!("0.{fraction}").parse().ok()?;
        sum = sum.saturating_add((fraction * *unit as f64) as i64);
        units = units.get(place + 1..)?;
        text = rest.get(designator.len_utf8()..)?;
    }
    Some(sum)
}

/// `at` plus `ms` milliseconds.
pub(crate) fn after(at: Timestamp, ms: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_millis(ms))
        .unwrap_or(Timestamp::MAX)
}

/// Whether a duration must be evaluated at run time.
pub(crate) fn is_expression(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| expression_in(text).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_parsed() {
        for (value, ms) in [
            (json!("PT30S"), 30_000),
            (json!("PT0.25S"), 250),
            (json!("P1DT2H3M4S"), 93_784_000),
            (json!("P2W"), 14 * DAY),
            (json!({"hours": 1, "milliseconds": 5}), 3_600_005),
            (json!({"seconds": 0}), 0),
        ] {
            assert_eq!(milliseconds(&value), Ok(ms), "{value}");
        }
    }

    #[test]
    fn invalid_duration_is_refused() {
        for value in [
            json!("P"),
            json!("PT"),
            json!("5M"),
            json!("PT5"),
            json!("PTS"),
            json!("PT1S1M"),
            json!("P1H"),
            json!("PT1.S"),
            json!("PT-1S"),
            json!("P367D"),
            json!("P1Y2M3W"),
            json!({}),
            json!({"weeks": 1}),
            json!({"seconds": 1.5}),
            json!({"seconds": -1}),
            json!({"days": i64::MAX}),
            json!(5),
        ] {
            assert!(milliseconds(&value).is_err(), "{value}");
        }
    }
}
