//! `emit`: a `CloudEvent` 1.0 in JSON format.

use aias_domain::timestamp;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::template::Template;

/// The attributes and the data of an event.
#[derive(Debug)]
pub(crate) struct Emit(pub(crate) Template);

/// The attributes of the specification that the DSL lets a definition set.
pub(crate) const ATTRIBUTES: [&str; 8] = [
    "id",
    "source",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "dataschema",
    "data",
];

/// The longest attribute value, in bytes.
const MAX_ATTRIBUTE_BYTES: usize = 1_024;

/// The largest event, in bytes of JSON.
const MAX_EVENT_BYTES: usize = 256 * 1024;

/// Whether a name is allowed for an attribute (`CloudEvents` 1.0, "Naming Conventions").
pub(crate) fn is_attribute_name(name: &str) -> bool {
    (1..=20).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Builds the event. Missing `id`, `specversion`, `time` and `datacontenttype` are added.
///
/// # Errors
///
/// When the specification does not allow the event.
pub(crate) fn event(with: Value, id: &str, now: Timestamp) -> Result<Value, String> {
    let Value::Object(mut with) = with else {
        return Err("the properties of an event must be an object".to_owned());
    };
    // An expression that evaluates to null omits the attribute.
    with.retain(|name, value| name == "data" || !value.is_null());
    let mut event = Map::new();
    event.insert("specversion".to_owned(), json!("1.0"));
    event.insert("id".to_owned(), json!(id));
    event.insert("time".to_owned(), json!(timestamp::format(now)));
    if with.contains_key("data") {
        event.insert("datacontenttype".to_owned(), json!("application/json"));
    }
    event.extend(with);
    for name in ["id", "source", "type"] {
        if event
            .get(name)
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            return Err(format!("`{name}` must be a string that is not empty"));
        }
    }
    for (name, value) in &event {
        if name == "data" {
            continue;
        }
        let fits = match value {
            Value::String(text) => text.len() <= MAX_ATTRIBUTE_BYTES,
            Value::Number(number) => {
                number.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
                    && !ATTRIBUTES.contains(&name.as_str())
            }
            Value::Bool(_) => !ATTRIBUTES.contains(&name.as_str()),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        if !fits {
            return Err(format!(
                "`{name}` must be a string of at most {MAX_ATTRIBUTE_BYTES} bytes"
            ));
        }
    }
    let time = event
        .get("time")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if time.parse::<Timestamp>().is_err() {
        return Err("`time` must be an RFC 3339 timestamp".to_owned());
    }
    let event = Value::Object(event);
    if event.to_string().len() > MAX_EVENT_BYTES {
        return Err(format!("an event has at most {MAX_EVENT_BYTES} bytes"));
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_attributes_are_added() {
        let with = json!({"source": "https://a.example", "type": "b", "data": null, "subject": null, "tries": 3});
        assert_eq!(
            event(with, "run_1-1", Timestamp::UNIX_EPOCH).unwrap(),
            json!({
                "specversion": "1.0", "id": "run_1-1", "time": "1970-01-01T00:00:00.000Z",
                "datacontenttype": "application/json",
                "source": "https://a.example", "type": "b", "data": null, "tries": 3,
            })
        );
    }

    #[test]
    fn invalid_event_is_reported() {
        for (with, what) in [
            (json!([]), "object"),
            (json!({"type": "b"}), "`source`"),
            (json!({"source": "a", "type": ""}), "`type`"),
            (json!({"source": "a", "type": "b", "id": 7}), "`id`"),
            (json!({"source": "a", "type": "b", "time": "now"}), "`time`"),
            (
                json!({"source": "a", "type": "b", "subject": {}}),
                "`subject`",
            ),
            (json!({"source": "a", "type": "b", "extra": 1.5}), "`extra`"),
            (
                json!({"source": "a", "type": "b", "data": "x".repeat(MAX_EVENT_BYTES)}),
                "bytes",
            ),
            (
                json!({"source": "a".repeat(2_000), "type": "b"}),
                "`source`",
            ),
        ] {
            let error = event(with, "i", Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
