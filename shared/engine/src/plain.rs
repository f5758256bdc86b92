//! Simple expressions, evaluated without the jq interpreter: paths (`.body.id`, `$item.lines[0]`),
//! literals, and a comparison of two of these. Most expressions of real workflows are of this form.
//!
//! A simple expression has exactly jq's meaning, which a test compares. Anything else, and any case
//! in which jq reports an error, is left to jq.

use jaq_json::{Num, Val};

use crate::value;

/// An expression that needs no interpreter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain {
    Operand(Operand),
    Comparison(Operand, Comparison, Operand),
}

/// A path or a literal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Literal(Val),
    /// A root, and the steps from it.
    Path(Root, Vec<Val>),
}

/// The start of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// `.`
    Dot,
    /// A variable, by its index.
    Variable(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The most digits of an integer literal: it is exact in every number type.
const MAX_DIGITS: usize = 15;

/// Parses an expression if it is simple. `variable` gives the index of a name with its `$`.
pub(crate) fn read(code: &str, variable: &dyn Fn(&str) -> Option<usize>) -> Option<Plain> {
    let mut reader = Reader {
        rest: code,
        variable,
    };
    let left = reader.operand()?;
    reader.space();
    if reader.rest.is_empty() {
        return Some(Plain::Operand(left));
    }
    let comparison = reader.comparison()?;
    let right = reader.operand()?;
    reader.space();
    reader
        .rest
        .is_empty()
        .then_some(Plain::Comparison(left, comparison, right))
}

struct Reader<'a> {
    rest: &'a str,
    variable: &'a dyn Fn(&str) -> Option<usize>,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Option<&'a str> {
        let of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest.find(|c| !of_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let begins = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        // `a::b` is a name in a module.
        if !begins || rest.starts_with("::") {
            return None;
        }
        self.rest = rest;
        Some(word)
    }

    /// A string without escapes and interpolation.
    fn string(&mut self) -> Option<Val> {
        let inside = self.rest.strip_prefix('"')?;
        let (text, rest) = inside.split_once('"')?;
        if text.contains('\\') {
            return None;
        }
        self.rest = rest;
        Some(value::text(text))
    }

    fn integer(&mut self) -> Option<Val> {
        let negative = self.take("-");
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        // The following character may continue the number.
        if !(1..=MAX_DIGITS).contains(&digits.len())
            || rest.starts_with(['.', 'e', 'E', '_'])
            || rest.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            return None;
        }
        self.rest = rest;
        let number: isize = digits.parse().ok()?;
        Some(Val::Num(Num::Int(if negative { -number } else { number })))
    }

    fn operand(&mut self) -> Option<Operand> {
        self.space();
        let first = self.rest.chars().next()?;
        match first {
            '"' => self.string().map(Operand::Literal),
            '-' | '0'..='9' => self.integer().map(Operand::Literal),
            '$' => {
                let begin = self.rest;
                self.rest = self.rest.get(1..)?;
                let name = self.word()?;
                let place = (self.variable)(begin.get(..=name.len())?)?;
                self.steps(Root::Variable(place), Vec::new())
            }
            '.' => {
                self.take(".");
                let mut steps = Vec::new();
                if self.rest.starts_with('"') {
                    steps.push(self.string()?);
                } else if let Some(word) = self.word() {
                    steps.push(value::text(word));
                } else if self.rest.starts_with('.') {
                    return None;
                }
                self.steps(Root::Dot, steps)
            }
            _ => {
                let literal = match self.word()? {
                    "null" => Val::Null,
                    "true" => Val::Bool(true),
                    "false" => Val::Bool(false),
                    _ => return None,
                };
                Some(Operand::Literal(literal))
            }
        }
    }

    /// Any number of `.name`, `."name"`, `["name"]`, `[0]`.
    fn steps(&mut self, root: Root, mut steps: Vec<Val>) -> Option<Operand> {
        loop {
            if self.rest.starts_with('.') {
                self.take(".");
                steps.push(if self.rest.starts_with('"') {
                    self.string()?
                } else {
                    value::text(self.word()?)
                });
            } else if self.take("[") {
                self.space();
                steps.push(if self.rest.starts_with('"') {
                    self.string()?
                } else {
                    self.integer()?
                });
                self.space();
                if !self.take("]") {
                    return None;
                }
            } else if self.rest.starts_with(['?', '"', '(']) {
                return None;
            } else {
                return Some(Operand::Path(root, steps));
            }
        }
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let all = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        all.into_iter()
            .find_map(|(sign, comparison)| self.take(sign).then_some(comparison))
    }
}

impl Plain {
    /// The value; none if jq would report an error. `variable` gives the value at an index.
    pub(crate) fn evaluate<'v>(
        &'v self,
        dot: &'v Val,
        variable: &impl Fn(usize) -> Option<&'v Val>,
    ) -> Option<Val> {
        match self {
            Self::Operand(operand) => operand.value(dot, variable).cloned(),
            Self::Comparison(left, comparison, right) => {
                let (left, right) = (left.value(dot, variable)?, right.value(dot, variable)?);
                Some(Val::Bool(match comparison {
                    Comparison::Equal => left == right,
                    Comparison::NotEqual => left != right,
                    Comparison::Less => left < right,
                    Comparison::LessOrEqual => left <= right,
                    Comparison::Greater => left > right,
                    Comparison::GreaterOrEqual => left >= right,
                }))
            }
        }
    }
}

static NULL: Val = Val::Null;

impl Operand {
    fn value<'v>(
        &'v self,
        dot: &'v Val,
        variable: &impl Fn(usize) -> Option<&'v Val>,
    ) -> Option<&'v Val> {
        let (root, steps) = match self {
            Self::Literal(value) => return Some(value),
            Self::Path(root, steps) => (root, steps),
        };
        let mut value = match root {
            Root::Dot => dot,
            Root::Variable(place) => variable(*place)?,
        };
        for step in steps {
            value = match (value, step) {
                (Val::Null, _) => &NULL,
                (Val::Obj(members), Val::TStr(_)) => members.get(step).unwrap_or(&NULL),
                (Val::Arr(items), Val::Num(Num::Int(index))) => {
                    let index = match usize::try_from(*index) {
                        Ok(index) => Some(index),
                        Err(_) => items.len().checked_sub(index.unsigned_abs()),
                    };
                    index.and_then(|index| items.get(index)).unwrap_or(&NULL)
                }
                _ => return None,
            };
        }
        Some(value)
    }
}
