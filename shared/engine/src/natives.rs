//! Native jq functions of our own, where jaq's are different from jq's or slow.

use std::{cell::RefCell, fmt::Write};

use jaq_core::{
    Error, ValR,
    native::{Fun, run, unary, v},
};
use jaq_json::Val;

use crate::value::Data;

/// Their names, which replace jaq's.
const NAMES: [&str; 2] = ["debug_empty", "join"];

pub(crate) fn is_native(name: &str) -> bool {
    NAMES.contains(&name)
}

pub(crate) fn all() -> [Fun<Data>; 2] {
    [
        run(("join", v(1), |cv| {
            unary(cv, |v, separator| join(&v, &separator))
        })),
        // Definitions of jq call it for `debug` and `debug(message)`.
        run(("debug_empty", v(0), |cv| {
            note(&cv.1);
            Box::new(std::iter::empty())
        })),
    ]
}

/// The most debug messages of one evaluation, and the longest, in bytes.
const MAX_MESSAGES: usize = 100;
const MAX_MESSAGE_BYTES: usize = 1_000;

thread_local! {
    /// The messages of the evaluation that this thread executes.
    static MESSAGES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note(value: &Val) {
    MESSAGES.with_borrow_mut(|messages| {
        if messages.len() < MAX_MESSAGES {
            let mut message = Bounded(String::new());
            // An error is the end of a long message.
            let _ = write!(message, "{value}");
            messages.push(message.0);
        }
    });
}

/// The messages of `debug` since the last call.
pub(crate) fn take_messages() -> Vec<String> {
    MESSAGES.with_borrow_mut(std::mem::take)
}

/// A string that ends at [`MAX_MESSAGE_BYTES`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = MAX_MESSAGE_BYTES.saturating_sub(self.0.len());
        let end = text.floor_char_boundary(room);
        self.0.push_str(text.get(..end).unwrap_or_default());
        if end < text.len() {
            self.0.push('…');
            return Err(std::fmt::Error);
        }
        Ok(())
    }
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
