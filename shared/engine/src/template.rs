//! Values that contain expressions: `{total: "${ .a + .b }", currency: EUR}`.

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
    /// Parses a value; `expression` compiles a string of the form `${ … }`.
    pub(crate) fn read(
        value: &Value,
        expression: &mut impl FnMut(&str) -> Option<Expression>,
    ) -> Self {
        match value {
            Value::String(text) if crate::expression::expression_in(text).is_some() => {
                expression(text).map_or(Self::Constant(Val::Null), Self::Expression)
            }
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|v| Self::read(v, expression)).collect();
                if items.iter().all(Self::is_constant) {
                    return Self::Constant(value::from_json(value));
                }
                Self::Array(items)
            }
            Value::Object(members) => {
                let names = members.keys().map(|name| (value::text(name), Val::Null));
                let names = names.collect();
                let members: Vec<_> = members
                    .values()
                    .map(|v| Self::read(v, expression))
                    .collect();
                if members.iter().all(Self::is_constant) {
                    return Self::Constant(value::from_json(value));
                }
                Self::Object(names, members)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Self::Constant(value::from_json(value))
            }
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
