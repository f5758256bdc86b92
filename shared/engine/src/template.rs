//! Values that contain expressions: `{total: "${ .a + .b }", currency: EUR}`.

use aias_domain::json::push_token;
use jaq_json::Val;
use serde_json::Value;

use crate::{expression::Expression, value};

/// A value whose expressions are evaluated at run time.
#[derive(Debug, Clone)]
pub(crate) enum Template {
    /// Contains no expression.
    Constant(Val),
    /// Is an expression.
    Expression(Expression),
    /// An object with the names in order, and a template per member.
    Object(jaq_json::Map, Vec<Self>),
    Array(Vec<Self>),
}

impl Template {
    /// A value without expressions.
    pub(crate) fn constant(value: &Value) -> Self {
        Self::Constant(value::from_json(value))
    }

    /// Parses the value at `pointer`; `read_text` reads the string at a pointer.
    pub(crate) fn read(
        value: &Value,
        pointer: &str,
        read_text: &mut impl FnMut(&str, &str) -> Self,
    ) -> Self {
        let at = |token: &str| {
            let mut pointer = pointer.to_owned();
            push_token(&mut pointer, token);
            pointer
        };
        match value {
            Value::String(text) => read_text(text, pointer),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                let items: Vec<_> = items
                    .map(|(index, item)| Self::read(item, &at(&index.to_string()), read_text))
                    .collect();
                if items.iter().all(Self::is_constant) {
                    return Self::constant(value);
                }
                Self::Array(items)
            }
            Value::Object(members) => {
                let names = members.keys().map(|name| (value::text(name), Val::Null));
                let names = names.collect();
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, member)| Self::read(member, &at(name), read_text))
                    .collect();
                if members.iter().all(Self::is_constant) {
                    return Self::constant(value);
                }
                Self::Object(names, members)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::constant(value),
        }
    }

    /// The string, if the template is one without expressions.
    pub(crate) fn constant_text(&self) -> Option<String> {
        match self {
            Self::Constant(value) => {
                let json = value::to_json(value).ok()?;
                json.as_str().map(str::to_owned)
            }
            Self::Expression(_) | Self::Object(..) | Self::Array(_) => None,
        }
    }

    fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// The value after evaluation.
    pub(crate) fn fill<E>(
        &self,
        evaluate: &mut impl FnMut(Expression) -> Result<Val, E>,
    ) -> Result<Val, E> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Expression(expression) => evaluate(*expression),
            Self::Array(items) => items.iter().map(|item| item.fill(evaluate)).collect(),
            Self::Object(names, members) => {
                // The names are hashed only once, when the template is parsed.
                let mut filled = names.clone();
                for (value, member) in filled.values_mut().zip(members) {
                    *value = member.fill(evaluate)?;
                }
                Ok(Val::obj(filled))
            }
        }
    }
}
