//! JSON values and jq values.

use std::collections::HashMap;

use jaq_json::{Map, Num, Val};
use jaq_std::ValT as _;
use serde_json::{Number, Value};

/// A jq value of a JSON value.
pub(crate) fn from_json(value: &Value) -> Val {
    read(value, &mut Names::default())
}

/// The names of members that were seen, since objects of a list have the same ones.
type Names<'a> = HashMap<&'a str, Val>;

/// How many names are remembered.
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

pub(crate) fn text(s: &str) -> Val {
    // Of bytes, which are kept as they are; a `String` would be kept in a box of its own.
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

/// Why a jq value is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotJson {
    #[error("a string that is not UTF-8 cannot be written as JSON")]
    Bytes,
    #[error("an object's member whose name is not a string cannot be written as JSON")]
    Name,
    #[error("deeper than {} levels", aias_domain::json::MAX_STORED_DEPTH)]
    Depth,
}

/// The JSON value of a jq value. As in jq, a number that is not finite becomes `null` (NaN) or the
/// largest double (the infinities).
pub(crate) fn to_json(value: &Val) -> Result<Value, NotJson> {
    convert(value, 0)
}

fn convert(value: &Val, depth: usize) -> Result<Value, NotJson> {
    if depth > aias_domain::json::MAX_STORED_DEPTH {
        return Err(NotJson::Depth);
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
                    return Err(NotJson::Name);
                };
                Ok((utf8(name)?.to_owned(), convert(value, depth + 1)?))
            };
            let members: Result<_, _> = members.iter().map(member).collect();
            Value::Object(members?)
        }
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, NotJson> {
    std::str::from_utf8(bytes).map_err(|_| NotJson::Bytes)
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
    // `clamp` leaves NaN as it is, and `from_f64` refuses it.
    Number::from_f64(float.clamp(f64::MIN, f64::MAX)).map_or(Value::Null, Value::Number)
}

/// The member of an object, if the value is one.
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
    fn json_comes_back_as_it_was() {
        let value = json!({"a": [1, -2, 1.5, u64::MAX, i64::MIN, "ü", null, true], "b": {}});
        assert_eq!(to_json(&from_json(&value)), Ok(value));
    }

    #[test]
    fn what_json_cannot_hold_is_said() {
        assert_eq!(to_json(&Val::from(f64::NAN)), Ok(Value::Null));
        assert_eq!(to_json(&Val::from(f64::INFINITY)), Ok(json!(f64::MAX)));
        assert_eq!(to_json(&Val::utf8_str(vec![0xff])), Err(NotJson::Bytes));
        assert_eq!(
            to_json(&Val::obj([(Val::Null, Val::Null)].into_iter().collect())),
            Err(NotJson::Name)
        );
        let deep = (0..200).fold(Val::Null, |v, _| std::iter::once(v).collect());
        assert_eq!(to_json(&deep), Err(NotJson::Depth));
    }
}
