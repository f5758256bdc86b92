//! Conversion between JSON values and jq values.

use std::{cell::RefCell, collections::HashMap};

use jaq_json::{Map, Num, Val};
use jaq_std::ValT as _;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// The data type with which jaq filters are compiled.
pub(crate) type Data = jaq_core::data::JustLut<Val>;

pub(crate) fn from_json(value: &Value) -> Val {
    read(value, &mut Names::default())
}

/// Member names that occurred before: the objects of a list usually have the same ones.
type Names<'a> = HashMap<&'a str, Val>;

/// How many names are cached.
const MAX_NAMES: usize = 256;

fn read<'a>(value: &'a Value, names: &mut Names<'a>) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Bool(b) => Val::Bool(*b),
        Value::Number(n) => Val::Num(number(n)),
        Value::String(s) => text(s),
        Value::Array(items) => items.iter().map(|item| read(item, names)).collect(),
        Value::Object(members) => {
            let mut object = Map::with_capacity_and_hasher(members.len(), Default::default());
            for (name, value) in members {
                let value = read(value, names);
                let name = match names.get(name.as_str()) {
                    Some(known) => known.clone(),
                    None => {
                        let new = text(name);
                        if names.len() < MAX_NAMES {
                            names.insert(name, new.clone());
                        }
                        new
                    }
                };
                object.insert(name, value);
            }
            Val::obj(object)
        }
    }
}

/// The type of a value with its article, as jq's `type` names it.
pub(crate) fn type_name(value: &Val) -> &'static str {
    match value {
        Val::Null => "null",
        Val::Bool(_) => "a boolean",
        Val::Num(_) => "a number",
        Val::TStr(_) | Val::BStr(_) => "a string",
        Val::Arr(_) => "an array",
        Val::Obj(_) => "an object",
    }
}

/// Parses JSON into a jq value. Of two members with the same name the last one counts. The depth is
/// not limited.
pub(crate) fn parse(json: &[u8]) -> Result<Val, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    deserializer.disable_recursion_limit();
    let names = RefCell::default();
    let value = ValueSeed(&names).deserialize(&mut deserializer)?;
    deserializer.end().map(|()| value)
}

/// A deserializer with the cache of names.
#[derive(Clone, Copy)]
struct ValueSeed<'a>(&'a RefCell<HashMap<String, Val>>);

impl ValueSeed<'_> {
    fn name(self, name: &str) -> Val {
        let mut names = self.0.borrow_mut();
        if let Some(known) = names.get(name) {
            return known.clone();
        }
        let new = text(name);
        if names.len() < MAX_NAMES {
            names.insert(name.to_owned(), new.clone());
        }
        new
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Val, E> {
        Ok(Val::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Val, E> {
        Ok(Val::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Val, E> {
        Ok(Val::Num(number(&n.into())))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Val, E> {
        Ok(Val::Num(number(&n.into())))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Val, E> {
        Ok(Val::Num(Num::Float(n)))
    }

    fn visit_str<E>(self, s: &str) -> Result<Val, E> {
        Ok(text(s))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Val, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(array.into_iter().collect())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Val, A::Error> {
        let mut object = Map::default();
        while let Some(name) = members.next_key_seed(Name(self))? {
            object.insert(name, members.next_value_seed(self)?);
        }
        Ok(Val::obj(object))
    }
}

struct Name<'a>(ValueSeed<'a>);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Val, E> {
        Ok(self.0.name(name))
    }
}

pub(crate) fn text(s: &str) -> Val {
    // Bytes are stored inline; a `String` would be boxed.
    Val::utf8_str(s.as_bytes().to_vec())
}

pub(crate) fn object<const N: usize>(members: [(&str, Val); N]) -> Val {
    Val::obj(members.into_iter().map(|(k, v)| (text(k), v)).collect())
}

fn number(n: &Number) -> Num {
    n.as_i64()
        .map(Num::from_integral)
        .or_else(|| n.as_u64().map(Num::from_integral))
        .unwrap_or_else(|| Num::Float(n.as_f64().unwrap_or_default()))
}

/// Why a jq value cannot be written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("a string that is not UTF-8 cannot be written as JSON")]
    Bytes,
    #[error("an object's member whose name is not a string cannot be written as JSON")]
    Name,
    #[error("nested more than {} levels deep", aias_domain::json::MAX_STORED_DEPTH)]
    Depth,
}

/// The JSON value of a jq value. As in jq, NaN becomes `null` and an infinity the largest double.
pub(crate) fn to_json(value: &Val) -> Result<Value, JsonError> {
    convert(value, 0)
}

fn convert(value: &Val, depth: usize) -> Result<Value, JsonError> {
    if depth > aias_domain::json::MAX_STORED_DEPTH {
        return Err(JsonError::Depth);
    }
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(b) => Value::Bool(*b),
        Val::Num(n) => json_number(n),
        Val::TStr(bytes) | Val::BStr(bytes) => Value::String(utf8(bytes)?.to_owned()),
        Val::Arr(items) => {
            let items: Result<_, _> = items.iter().map(|v| convert(v, depth + 1)).collect();
            Value::Array(items?)
        }
        Val::Obj(members) => {
            let member = |(name, value): (&Val, &Val)| {
                let (Val::TStr(name) | Val::BStr(name)) = name else {
                    return Err(JsonError::Name);
                };
                Ok((utf8(name)?.to_owned(), convert(value, depth + 1)?))
            };
            let members: Result<_, _> = members.iter().map(member).collect();
            Value::Object(members?)
        }
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(bytes).map_err(|_| JsonError::Bytes)
}

fn json_number(n: &Num) -> Value {
    match n {
        Num::Int(i) => Value::from(*i as i64),
        Num::BigInt(_) | Num::Dec(_) | Num::Float(_) => {
            let text = n.to_string();
            text.parse::<u64>()
                .map(Value::from)
                .unwrap_or_else(|_| float(n))
        }
    }
}

fn float(n: &Num) -> Value {
    let float = Val::Num(n.clone()).as_f64().unwrap_or(f64::NAN);
    // `clamp` keeps NaN, and `from_f64` refuses it.
    Number::from_f64(float.clamp(f64::MIN, f64::MAX)).map_or(Value::Null, Value::Number)
}

/// A member of an object; none for any other value.
pub(crate) fn member<'a>(value: &'a Val, name: &str) -> Option<&'a Val> {
    let Val::Obj(members) = value else {
        return None;
    };
    let members: &Map = members;
    members.get(&text(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_round_trips() {
        let value = json!({"a": [1, -2, 1.5, u64::MAX, i64::MIN, "ü", null, true], "b": {}});
        assert_eq!(to_json(&from_json(&value)), Ok(value));
    }

    #[test]
    fn parse_equals_from_json() {
        for json in [
            r#"{"a": [1, -2, 1.5, 18446744073709551615, -9223372036854775808, "\u00fc\n", null, true], "b": {}, "a b": [[]]}"#,
            r#"{"x": 1, "y": 2, "x": [{"x": 3}, {"x": 4}]}"#,
            "1e400",
            "123456789012345678901234567890",
            "-0",
            "-0.0",
            "1.0",
            "\"\"",
        ] {
            let value = serde_json::from_str::<Value>(json).map(|value| from_json(&value));
            let parsed = parse(json.as_bytes());
            // Compared as strings, since -0.0 equals 0.
            let shown = |value: Result<Val, serde_json::Error>| value.map(|v| v.to_string()).ok();
            assert_eq!(shown(parsed), shown(value), "{json}");
        }
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        assert!(parse(deep.as_bytes()).is_ok());
        for bad in ["", "[1,]", "{} {}", "\u{0}", "nul"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_outside_json_are_reported() {
        assert_eq!(to_json(&Val::from(f64::NAN)), Ok(Value::Null));
        assert_eq!(to_json(&Val::from(f64::INFINITY)), Ok(json!(f64::MAX)));
        assert_eq!(to_json(&Val::utf8_str(vec![0xff])), Err(JsonError::Bytes));
        assert_eq!(
            to_json(&Val::obj([(Val::Null, Val::Null)].into_iter().collect())),
            Err(JsonError::Name)
        );
        let deep = (0..200).fold(Val::Null, |v, _| std::iter::once(v).collect());
        assert_eq!(to_json(&deep), Err(JsonError::Depth));
    }
}
