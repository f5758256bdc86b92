//! Native jq functions of our own, where jaq's are different from jq's or slow.

use jaq_core::{
    Error, ValR,
    native::{Fun, run, unary, v},
};
use jaq_json::Val;

use crate::value::Data;

/// Their names, which replace jaq's.
const NAMES: [&str; 1] = ["join"];

pub(crate) fn is_native(name: &str) -> bool {
    NAMES.contains(&name)
}

pub(crate) fn all() -> [Fun<Data>; 1] {
    [run(("join", v(1), |cv| {
        unary(cv, |v, separator| join(&v, &separator))
    }))]
}

/// Joins the items as strings; `null` is the empty string.
fn join(value: &Val, separator: &Val) -> ValR<Val> {
    let Val::TStr(separator) = separator else {
        return Err(Error::str("the separator of `join` must be a string"));
    };
    let mut joined: Vec<u8> = Vec::new();
    let mut first = true;
    let mut add = |item: &Val| {
        if !std::mem::take(&mut first) {
            joined.extend_from_slice(separator);
        }
        match item {
            Val::Null => {}
            Val::TStr(text) | Val::BStr(text) => joined.extend_from_slice(text),
            Val::Bool(_) | Val::Num(_) => joined.extend_from_slice(item.to_string().as_bytes()),
            Val::Arr(_) | Val::Obj(_) => {
                return Err(Error::str("an array or an object cannot be joined"));
            }
        }
        Ok(())
    };
    match value {
        Val::Arr(items) => items.iter().try_for_each(&mut add)?,
        Val::Obj(members) => members.values().try_for_each(&mut add)?,
        Val::Null | Val::Bool(_) | Val::Num(_) | Val::TStr(_) | Val::BStr(_) => {
            return Err(Error::str("only arrays and objects can be joined"));
        }
    }
    Ok(Val::utf8_str(joined))
}
