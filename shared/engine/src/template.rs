//! Values with expressions in them: `{total: "${ .a + .b }", currency: EUR}`.

use jaq_json::Val;
use serde_json::Value;

use crate::{expression::Expression, value};

/// A value that is known once its expressions are evaluated.
#[derive(Debug, Clone)]
pub(crate) enum Template {
    /// Nothing in it to evaluate.
    Constant(Val),
    /// Evaluated as a whole.
    Expression(Expression),
    /// Member by member.
    Object(Vec<(Val, Self)>),
    /// Item by item.
    Array(Vec<Self>),
}

impl Template {
    /// Reads a value; `expression` compiles a text that is marked as one.
    pub(crate) fn read(
        value: &Value,
        expression: &mut impl FnMut(&str) -> Option<Expression>,
    ) -> Self {
        match value {
            Value::String(text) if crate::expression::marked(text).is_some() => {
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
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, v)| (value::text(name), Self::read(v, expression)))
                    .collect();
                if members.iter().all(|(_, v)| v.is_constant()) {
                    return Self::Constant(value::from_json(value));
                }
                Self::Object(members)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Self::Constant(value::from_json(value))
            }
        }
    }

    fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// The value, given what its expressions evaluate to.
    pub(crate) fn fill<E>(
        &self,
        evaluate: &mut impl FnMut(Expression) -> Result<Val, E>,
    ) -> Result<Val, E> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Expression(expression) => evaluate(*expression),
            Self::Array(items) => items.iter().map(|item| item.fill(evaluate)).collect(),
            Self::Object(members) => {
                let mut filled = jaq_json::Map::default();
                for (name, member) in members {
                    filled.insert(name.clone(), member.fill(evaluate)?);
                }
                Ok(Val::obj(filled))
            }
        }
    }
}
