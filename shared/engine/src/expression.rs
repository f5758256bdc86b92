//! jq expressions. Each is checked and then compiled on its own, with only the jq definitions and
//! DSL arguments that it uses. Compiling takes microseconds, and evaluation prepares nothing that
//! the expression does not use.

use std::{collections::BTreeSet, sync::OnceLock};

use jaq_core::{
    Compiler, Ctx, Filter, Vars,
    load::{self, Arena, File, Loader, lex, parse::Def},
    unwrap_valr,
};
use jaq_json::Val;

use crate::{
    error::cut,
    natives,
    plain::{self, Plain},
    prelude,
    reader::Faults,
    suggest::did_you_mean,
    value::Data,
};

/// The arguments that the DSL gives to every expression, in order. Those that do not exist in a
/// place are `null`.
pub(crate) const ARGUMENTS: [&str; 8] = [
    "$context",
    "$input",
    "$output",
    "$secrets",
    "$authorization",
    "$task",
    "$workflow",
    "$runtime",
];

const CLOCK: &str = "$__now";

/// The prefix of an expression that uses the current time.
const CLOCK_DEFINITION: &str = "def now: $__now; ";

/// How many expressions one definition may have.
const MAX_EXPRESSIONS: usize = 2_000;

/// How many outputs one expression may have.
const MAX_OUTPUTS: usize = 100_000;

/// The index of an expression in its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expression(usize);

#[derive(Debug)]
struct Source {
    code: String,
    pointer: String,
    /// The variables in scope, with their `$`.
    locals: Vec<String>,
    plain: Option<Plain>,
}

/// Collects the expressions of a definition.
#[derive(Debug, Default)]
pub(crate) struct Expressions {
    sources: Vec<Source>,
    wants: UsedArguments,
    /// In `input.from`.
    pub(crate) may_use_secrets: bool,
    /// The names in `use.secrets`.
    pub(crate) secrets: BTreeSet<String>,
}

/// The arguments that at least one expression uses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UsedArguments {
    pub(crate) task: bool,
    pub(crate) workflow: bool,
    pub(crate) runtime: bool,
    pub(crate) secrets: bool,
    pub(crate) debug: bool,
}

/// The content of `${ … }`; none if the string is not of that form.
pub(crate) fn expression_in(text: &str) -> Option<&str> {
    text.trim()
        .strip_prefix("${")?
        .strip_suffix('}')
        .map(str::trim)
}

/// Checks a string that is not an expression for signs that it should be one.
pub(crate) fn check_constant(faults: &mut Faults, text: &str, pointer: &str) {
    let trimmed = text.trim();
    if trimmed.starts_with("${") {
        faults.add(pointer, "`${` is not closed: an expression ends with `}`");
    } else if text.contains("${") {
        faults.warn(pointer, TEXT_WITH_EXPRESSION);
    } else if looks_like_jq(trimmed) {
        let fix = format!(
            "this is a string, not an expression; to evaluate it, write `${{ {trimmed:.120} }}`"
        );
        faults.warn(pointer, fix);
    }
}

const TEXT_WITH_EXPRESSION: &str = "`${ }` is evaluated only as a whole string; to insert a value into text, write `${ \"text \\(.value)\" }`";

/// Whether a string is a path such as `.body.total`, or starts with an argument of the DSL.
fn looks_like_jq(text: &str) -> bool {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let path = text.strip_prefix('.');
    let is_path = path.is_some_and(|rest| {
        let word = |part: &str| {
            let name = part.split('[').next().unwrap_or_default();
            name.starts_with(is_start)
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let first = rest.split(" | ").next().unwrap_or_default();
        // One word is rather a file name or an extension.
        first.split('.').all(word) && (rest.contains(['.', '[', '|']))
    });
    let of_argument = || ARGUMENTS.iter().any(|argument| mentions(text, argument));
    is_path || (text.starts_with('$') && of_argument())
}

/// The names after `$secrets` in an expression.
fn secret_names(code: &str) -> impl Iterator<Item = &str> {
    const VARIABLE: &str = "$secrets";
    code.match_indices(VARIABLE).filter_map(|(at, _)| {
        let rest = code.get(at + VARIABLE.len()..)?;
        let quoted = rest
            .strip_prefix(".\"")
            .or_else(|| rest.strip_prefix("[\""));
        if let Some(quoted) = quoted {
            return quoted.split('"').next();
        }
        let rest = rest.strip_prefix('.')?;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        rest.get(..end.unwrap_or(rest.len()))
            .filter(|name| !name.is_empty())
    })
}

/// An expression in a message.
pub(crate) fn shown(code: &str) -> String {
    format!("`{}`", cut(code, MAX_SHOWN))
}

/// How much of an expression is in a message, in characters.
const MAX_SHOWN: usize = 120;

/// Whether a variable is used, not just one with the same prefix.
fn mentions(code: &str, variable: &str) -> bool {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let ends = |(at, _)| {
        let rest = code.get(at + variable.len()..).unwrap_or_default();
        !rest.starts_with(goes_on)
    };
    code.match_indices(variable).any(ends)
}

/// The index of a variable: first the arguments, then the variables in scope, of which the
/// innermost counts.
fn variable_index(name: &str, locals: &[String]) -> Option<usize> {
    let local = locals.iter().rposition(|local| local == name);
    let argument = || ARGUMENTS.iter().position(|argument| *argument == name);
    local.map(|place| ARGUMENTS.len() + place).or_else(argument)
}

impl Expressions {
    /// Adds an expression, with or without `${ }`. `locals` are the variables in scope, without
    /// `$`.
    pub(crate) fn add(
        &mut self,
        faults: &mut Faults,
        locals: &[String],
        text: &str,
        pointer: &str,
    ) -> Option<Expression> {
        let code = expression_in(text).unwrap_or(text);
        if let Err(detail) = check_syntax(code) {
            let hint = if code.contains("${") {
                format!("; {TEXT_WITH_EXPRESSION}")
            } else if code.contains('\'') {
                "; jq strings have double quotes".to_owned()
            } else {
                String::new()
            };
            faults.add(pointer, format!("{detail} of {}{hint}", shown(code)));
            return None;
        }
        if self.sources.len() == MAX_EXPRESSIONS {
            faults.add(
                pointer,
                format!("the definition has more than {MAX_EXPRESSIONS} expressions"),
            );
            return None;
        }
        self.wants.task |= code.contains("$task");
        self.wants.workflow |= code.contains("$workflow");
        self.wants.runtime |= code.contains("$runtime");
        self.wants.debug |= code.contains("debug");
        if mentions(code, "$secrets") {
            self.wants.secrets = true;
            if !self.may_use_secrets {
                // DSL, "Runtime expression arguments": secrets must not spread.
                faults.add(pointer, "`$secrets` can only be used in `input.from`");
            }
            for name in secret_names(code).filter(|name| !self.secrets.contains(*name)) {
                let near = did_you_mean(name, self.secrets.iter().map(String::as_str));
                let detail = format!("`use.secrets` does not declare `{name:.64}`{near}");
                faults.add(pointer, detail);
            }
        }
        let locals: Vec<String> = locals.iter().map(|name| format!("${name}")).collect();
        let plain = plain::read(code, &|name| variable_index(name, &locals));
        self.sources.push(Source {
            code: code.to_owned(),
            pointer: pointer.to_owned(),
            locals,
            plain,
        });
        Some(Expression(self.sources.len() - 1))
    }

    pub(crate) fn compile(self, faults: &mut Faults) -> Filters {
        let mut filters = Vec::new();
        for source in self.sources {
            let compiled = OnceLock::new();
            // A simple expression rarely needs jq, and is compiled when it does.
            if source.plain.is_none() {
                match compile(&source) {
                    Ok(own) => {
                        // The cell is empty at this point.
                        let _ = compiled.set(Some(own));
                    }
                    Err(details) => {
                        for detail in details {
                            faults.add(&source.pointer, detail);
                        }
                    }
                }
            }
            filters.push(CompiledExpression { source, compiled });
        }
        Filters {
            filters,
            wants: self.wants,
        }
    }
}

fn check_syntax(code: &str) -> Result<(), String> {
    let arena = Arena::default();
    let Err(errors) = Loader::new([]).load(&arena, File { code, path: () }) else {
        return Ok(());
    };
    let detail = errors.into_iter().find_map(|(_, error)| match error {
        load::Error::Io(mut errors) => errors
            .pop()
            .map(|(at, _)| (at, "modules cannot be loaded".to_owned())),
        load::Error::Lex(mut errors) => errors.pop().map(|(expected, at)| {
            #[expect(clippy::wildcard_enum_match_arm, reason = "jaq's own enum may grow")]
            let expected = match expected {
                lex::Expect::Delim(open) => format!("the end of `{open}`"),
                other => other.as_str().to_owned(),
            };
            (at, format!("expected {expected}"))
        }),
        load::Error::Parse(mut errors) => errors
            .pop()
            .map(|(expected, at)| (at, format!("expected {}", expected.as_str()))),
    });
    Err(match detail {
        Some((at, what)) => located(code, at, &what),
        None => "not a jq expression".to_owned(),
    })
}

fn located(code: &str, at: &str, what: &str) -> String {
    // An empty remainder that jaq creates is not inside the string.
    let inside = code.as_bytes().as_ptr_range().contains(&at.as_ptr());
    let before = if inside {
        code.get(..load::span(code, at).start)
    } else {
        Some(code)
    };
    let before = before.unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    format!("jq: {what} at line {line}, column {column}")
}

struct Compiled {
    filter: Filter<Data>,
    /// Whether it uses the current time.
    clock: bool,
    /// The indexes of the variables that it uses.
    variables: Vec<usize>,
}

fn compile(source: &Source) -> Result<Compiled, Vec<String>> {
    let term = load::parse(source.code.as_str(), |parser| parser.term());
    let reached = term.as_ref().map(prelude::reached_by);
    // If a definition is missing after all, compile with all definitions.
    let narrow =
        reached.and_then(|names| compile_with(source, prelude::of(&names), Some(&names)).ok());
    match narrow {
        Some(compiled) => Ok(compiled),
        None => compile_with(source, prelude::all(), None),
    }
}

fn compile_with(
    source: &Source,
    definitions: Vec<Def<&'static str>>,
    natives: Option<&BTreeSet<&str>>,
) -> Result<Compiled, Vec<String>> {
    let clock = source.code.contains("now");
    let begin = if clock { CLOCK_DEFINITION } else { "" };
    let code = format!("{begin}{}", source.code);
    let own = code.get(begin.len()..).unwrap_or_default();
    let names: BTreeSet<&str> = ARGUMENTS
        .into_iter()
        .chain(source.locals.iter().map(String::as_str))
        .filter(|name| source.code.contains(name))
        .collect();
    let variables = names
        .iter()
        .filter_map(|name| variable_index(name, &source.locals));
    let variables = variables.collect();
    let globals = clock.then_some(CLOCK).into_iter().chain(names);
    let funs = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .filter(|(name, _, _)| !prelude::is_absent(name) && !natives::is_native(name))
        .chain(natives::all())
        .filter(|(name, _, _)| natives.is_none_or(|natives| natives.contains(name)));
    let arena = Arena::default();
    let file = File {
        code: code.as_str(),
        path: (),
    };
    let modules = Loader::new(definitions)
        .load(&arena, file)
        .map_err(|_| vec!["jq: not an expression of its own".to_owned()])?;
    let compiled = Compiler::default()
        .with_funs(funs)
        .with_global_vars(globals)
        .compile(modules);
    match compiled {
        Ok(filter) => Ok(Compiled {
            filter,
            clock,
            variables,
        }),
        Err(errors) => Err(errors
            .into_iter()
            .flat_map(|(_, errors)| errors)
            .map(|(name, undefined)| {
                let what = format!("undefined {} {name}", undefined.as_str());
                let near = if name.starts_with('$') {
                    let locals = source.locals.iter().map(String::as_str);
                    did_you_mean(name, ARGUMENTS.into_iter().chain(locals))
                } else {
                    did_you_mean(name, prelude::names())
                };
                format!("{} of {}{near}", located(own, name, &what), shown(own))
            })
            .collect()),
    }
}

/// The values in scope of an expression.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    /// In the order of [`ARGUMENTS`].
    pub(crate) values: [Val; 8],
    /// Seconds since 1970.
    pub(crate) now: f64,
}

impl Arguments {
    fn at<'a>(&'a self, place: usize, locals: &'a [Val]) -> Option<&'a Val> {
        match place.checked_sub(ARGUMENTS.len()) {
            None => self.values.get(place),
            Some(place) => locals.get(place),
        }
    }
}

struct CompiledExpression {
    source: Source,
    compiled: OnceLock<Option<Compiled>>,
}

pub(crate) struct Filters {
    filters: Vec<CompiledExpression>,
    pub(crate) wants: UsedArguments,
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filters({})", self.filters.len())
    }
}

impl Filters {
    /// The code of an expression and its pointer.
    pub(crate) fn source(&self, expression: Expression) -> (&str, &str) {
        let one = self.filters.get(expression.0);
        one.map_or(("", ""), |one| {
            (one.source.code.as_str(), one.source.pointer.as_str())
        })
    }

    /// Evaluates an expression on `dot`. `locals` are the values of the variables in scope.
    pub(crate) fn evaluate(
        &self,
        expression: Expression,
        dot: &Val,
        arguments: &Arguments,
        locals: &[Val],
    ) -> Result<Val, String> {
        let one = self.filters.get(expression.0).ok_or(NONE)?;
        let variable = |place| arguments.at(place, locals);
        if let Some(plain) = &one.source.plain
            && let Some(value) = plain.evaluate(dot, &variable)
        {
            return Ok(value);
        }
        one.interpret(dot.clone(), arguments, locals)
    }
}

const NONE: &str = "no such expression";

impl CompiledExpression {
    /// Evaluates with jq.
    fn interpret(&self, dot: Val, arguments: &Arguments, locals: &[Val]) -> Result<Val, String> {
        let compiled = self.compiled.get_or_init(|| compile(&self.source).ok());
        let compiled = compiled.as_ref().ok_or(NONE)?;
        let clock = compiled.clock.then(|| Val::from(arguments.now));
        let value = |place: &usize| arguments.at(*place, locals).cloned().unwrap_or_default();
        let vars = clock
            .into_iter()
            .chain(compiled.variables.iter().map(value));
        let ctx = Ctx::<Data>::new(&compiled.filter.lut, Vars::new(vars));
        let mut outputs = compiled.filter.id.run((ctx, dot)).map(unwrap_valr);
        let first = match outputs.next() {
            None => return Ok(Val::Null),
            Some(first) => first.map_err(|e| e.to_string())?,
        };
        let Some(second) = outputs.next() else {
            return Ok(first);
        };
        let mut all = vec![first, second.map_err(|e| e.to_string())?];
        for output in outputs {
            if all.len() == MAX_OUTPUTS {
                return Err(format!(
                    "the expression has more than {MAX_OUTPUTS} outputs"
                ));
            }
            all.push(output.map_err(|e| e.to_string())?);
        }
        Ok(all.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
