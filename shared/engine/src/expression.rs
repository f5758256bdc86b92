//! jq: each expression is checked by itself, then all that see the same variables are compiled
//! into one filter, so that jq's own definitions are compiled once and not once an expression.
//!
//! What reaches outside or changes from run to run is not there: `env`, `$ENV`, `input`, `inputs`,
//! `debug`, `stderr`, `halt`, local time. `now` is the run's own time.

use std::{collections::BTreeMap, fmt::Write as _, ops::Range};

use jaq_core::{
    Compiler, Ctx, Filter, Vars,
    data::JustLut,
    load::{self, Arena, File, Loader, lex},
    unwrap_valr,
};
use jaq_json::Val;

use crate::{
    plain::{self, Plain},
    reader::Faults,
};

type Data = JustLut<Val>;

/// The arguments that the DSL gives to every expression, in order. Those that a place does not
/// have are `null` there.
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

const SELECTOR: &str = "$__expression";
const CLOCK: &str = "$__now";

/// How many expressions one definition may have.
const MAX_EXPRESSIONS: usize = 2_000;

/// How many outputs of one expression are taken.
const MAX_OUTPUTS: usize = 100_000;

/// Natives that reach outside, and definitions that are made of them.
const ABSENT: [&str; 12] = [
    "env",
    "now",
    "halt",
    "halt_error",
    "debug",
    "debug_empty",
    "stderr",
    "stderr_empty",
    "localtime",
    "strflocaltime",
    "input",
    "inputs",
];

/// An expression of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expression {
    filter: usize,
    index: usize,
    /// Its place among the plain ones, if it is one.
    plain: Option<usize>,
}

#[derive(Debug)]
struct Source {
    code: String,
    pointer: String,
}

/// Expressions on their way to being compiled.
#[derive(Debug, Default)]
pub(crate) struct Expressions {
    /// By the local variables that they see, and whether they are plain: those are seldom left to
    /// jq, and would only be in the way of the others.
    scopes: BTreeMap<(Vec<String>, bool), usize>,
    sources: Vec<Vec<Source>>,
    plains: Vec<Plain>,
    count: usize,
    wants: Wants,
}

/// Which arguments any expression mentions: the others need not be made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wants {
    pub(crate) task: bool,
    pub(crate) workflow: bool,
    pub(crate) runtime: bool,
}

/// The inside of `${ … }`, or nothing when the text is not one.
pub(crate) fn marked(text: &str) -> Option<&str> {
    text.trim()
        .strip_prefix("${")?
        .strip_suffix('}')
        .map(str::trim)
}

impl Expressions {
    /// Takes an expression's text, with or without `${ }`. `locals` are the names, without `$`,
    /// of the variables around it.
    pub(crate) fn add(
        &mut self,
        faults: &mut Faults,
        locals: &[String],
        text: &str,
        pointer: &str,
    ) -> Option<Expression> {
        let code = marked(text).unwrap_or(text);
        if let Err(detail) = check_syntax(code) {
            faults.add(pointer, detail);
            return None;
        }
        if self.count == MAX_EXPRESSIONS {
            faults.add(pointer, format!("more than {MAX_EXPRESSIONS} expressions"));
        }
        if self.count >= MAX_EXPRESSIONS {
            return None;
        }
        self.count += 1;
        self.wants.task |= code.contains("$task");
        self.wants.workflow |= code.contains("$workflow");
        self.wants.runtime |= code.contains("$runtime");
        let variable = |name: &str| {
            let local = || {
                locals
                    .iter()
                    .rposition(|local| name.strip_prefix('$') == Some(local))
            };
            let argument = || ARGUMENTS.iter().position(|argument| *argument == name);
            local()
                .map(|place| ARGUMENTS.len() + place)
                .or_else(argument)
        };
        let plain = plain::read(code, &variable).map(|plain| {
            self.plains.push(plain);
            self.plains.len() - 1
        });
        let next = self.scopes.len();
        let scope = (locals.to_vec(), plain.is_some());
        let filter = *self.scopes.entry(scope).or_insert(next);
        if filter == self.sources.len() {
            self.sources.push(Vec::new());
        }
        let sources = self.sources.get_mut(filter)?;
        sources.push(Source {
            code: code.to_owned(),
            pointer: pointer.to_owned(),
        });
        Some(Expression {
            filter,
            index: sources.len() - 1,
            plain,
        })
    }

    /// Compiles them all.
    pub(crate) fn compile(self, faults: &mut Faults) -> Filters {
        let mut filters: Vec<_> = self.sources.iter().map(|_| None).collect();
        for ((locals, _), filter) in self.scopes {
            if let (Some(sources), Some(slot)) = (self.sources.get(filter), filters.get_mut(filter))
            {
                *slot = compile_scope(faults, &locals, sources);
            }
        }
        Filters {
            compiled: filters.into_iter().flatten().collect(),
            plains: self.plains,
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
    // An empty rest that jaq makes itself does not lie inside the text.
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

/// `if $i < 2 then (…) else (…) end`, nested: finding one of n takes log n comparisons.
fn dispatch(sources: &[Source], first: usize, code: &mut String, spans: &mut Vec<Range<usize>>) {
    match sources {
        [] => code.push_str("null"),
        [source] => {
            code.push('(');
            let start = code.len();
            code.push_str(&source.code);
            spans.push(start..code.len());
            // The line ends a comment, and the second one a comment that ends in a backslash.
            code.push_str("\n\n)");
        }
        _ => {
            let (left, right) = sources.split_at(sources.len() / 2);
            let _ = write!(code, "if {SELECTOR} < {} then ", first + left.len());
            dispatch(left, first, code, spans);
            code.push_str(" else ");
            dispatch(right, first + left.len(), code, spans);
            code.push_str(" end");
        }
    }
}

fn compile_scope(faults: &mut Faults, locals: &[String], sources: &[Source]) -> Option<Scope> {
    // A variable that nobody mentions costs an allocation in every evaluation.
    let mentioned = |name: &&str| sources.iter().any(|source| source.code.contains(*name));
    let arguments: Vec<usize> = (0..ARGUMENTS.len())
        .filter(|place| ARGUMENTS.get(*place).is_some_and(&mentioned))
        .collect();
    let mut code = format!("def now: {CLOCK};\n");
    let mut spans = Vec::new();
    dispatch(sources, 0, &mut code, &mut spans);
    let defs = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .filter(|def| !ABSENT.contains(&def.name));
    let funs = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .filter(|(name, _, _)| !ABSENT.contains(name));
    let locals: Vec<String> = locals.iter().map(|name| format!("${name}")).collect();
    let globals = [SELECTOR, CLOCK]
        .into_iter()
        .chain(
            arguments
                .iter()
                .filter_map(|place| ARGUMENTS.get(*place).copied()),
        )
        .chain(locals.iter().map(String::as_str));
    let arena = Arena::default();
    let blame_all = |faults: &mut Faults| {
        for source in sources {
            faults.add(&source.pointer, "jq: not an expression of its own");
        }
    };
    let Ok(modules) = Loader::new(defs).load(
        &arena,
        File {
            code: code.as_str(),
            path: (),
        },
    ) else {
        blame_all(faults);
        return None;
    };
    let compiled = Compiler::default()
        .with_funs(funs)
        .with_global_vars(globals)
        .compile(modules);
    match compiled {
        Ok(filter) => Some(Scope { filter, arguments }),
        Err(errors) => {
            for (name, undefined) in errors.into_iter().flat_map(|(_, errors)| errors) {
                let at = load::span(&code, name).start;
                let found = spans.iter().position(|span| span.contains(&at));
                let Some(source) = found.and_then(|index| sources.get(index)) else {
                    blame_all(faults);
                    continue;
                };
                let start = found
                    .and_then(|index| spans.get(index))
                    .map_or(0, |span| span.start);
                let own = code.get(start..).unwrap_or_default();
                let what = format!("undefined {} {name}", undefined.as_str());
                faults.add(&source.pointer, located(own, name, &what));
            }
            None
        }
    }
}

/// The values that an expression sees.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    /// In the order of [`ARGUMENTS`].
    pub(crate) values: [Val; 8],
    /// Seconds since 1970.
    pub(crate) now: f64,
}

/// Expressions that are compiled together.
struct Scope {
    filter: Filter<Data>,
    /// The arguments that it has, by their place.
    arguments: Vec<usize>,
}

/// The compiled expressions of one program.
pub(crate) struct Filters {
    compiled: Vec<Scope>,
    plains: Vec<Plain>,
    pub(crate) wants: Wants,
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filters({})", self.compiled.len())
    }
}

impl Filters {
    /// Evaluates an expression on `dot`; `locals` are the values of the variables around it.
    pub(crate) fn evaluate(
        &self,
        expression: Expression,
        dot: &Val,
        arguments: &Arguments,
        locals: &[Val],
    ) -> Result<Val, String> {
        let variable = |place: usize| match place.checked_sub(ARGUMENTS.len()) {
            None => arguments.values.get(place),
            Some(place) => locals.get(place),
        };
        let plain = expression.plain.and_then(|place| self.plains.get(place));
        if let Some(value) = plain.and_then(|plain| plain.evaluate(dot, &variable)) {
            return Ok(value);
        }
        self.interpret(expression, dot.clone(), arguments, locals)
    }

    /// The same, by jq.
    fn interpret(
        &self,
        expression: Expression,
        dot: Val,
        arguments: &Arguments,
        locals: &[Val],
    ) -> Result<Val, String> {
        let scope = self
            .compiled
            .get(expression.filter)
            .ok_or("no such expression")?;
        let filter = &scope.filter;
        let selector = [Val::from(expression.index), Val::from(arguments.now)];
        let values = scope.arguments.iter();
        let vars = selector
            .into_iter()
            .chain(values.filter_map(|place| arguments.values.get(*place).cloned()))
            .chain(locals.iter().cloned());
        let ctx = Ctx::<Data>::new(&filter.lut, Vars::new(vars));
        let mut outputs = filter.id.run((ctx, dot)).map(unwrap_valr);
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
                return Err(format!("more than {MAX_OUTPUTS} outputs"));
            }
            all.push(output.map_err(|e| e.to_string())?);
        }
        Ok(all.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(codes: &[&str]) -> Result<(Filters, Vec<Expression>), Vec<crate::Fault>> {
        let (mut faults, mut expressions) = (Faults::default(), Expressions::default());
        let mut all = Vec::new();
        for (index, code) in codes.iter().enumerate() {
            all.extend(expressions.add(&mut faults, &["item".into()], code, &format!("/{index}")));
        }
        let filters = expressions.compile(&mut faults);
        faults.into_result((filters, all))
    }

    fn evaluate(code: &str) -> Result<String, String> {
        let (filters, all) = compile(&["1", code, "2"]).map_err(|f| f[0].detail.clone())?;
        let arguments = Arguments {
            values: Default::default(),
            now: 5.0,
        };
        let dot = Val::obj(
            [(Val::from("a".to_owned()), Val::from(3_isize))]
                .into_iter()
                .collect(),
        );
        filters
            .evaluate(all[1], &dot, &arguments, &[Val::from(7_isize)])
            .map(|v| v.to_string())
    }

    #[test]
    fn one_output_none_and_many() {
        assert_eq!(evaluate("${ .a }").unwrap(), "3");
        assert_eq!(evaluate(".a, $item").unwrap(), "[3,7]");
        assert_eq!(evaluate("empty").unwrap(), "null");
        assert_eq!(evaluate(".a # why\\").unwrap(), "3");
        assert_eq!(
            evaluate("range(1e6)").unwrap_err(),
            "more than 100000 outputs"
        );
        assert!(evaluate("error(\"no\")").unwrap_err().contains("no"));
    }

    #[test]
    fn what_is_plain_means_what_jq_means() {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(serde_json::json!(null)),
            any::<bool>().prop_map(Into::into),
            (-3_i64..4).prop_map(Into::into),
            (-3.0..3.0_f64).prop_map(Into::into),
            "[ab]{0,2}".prop_map(Into::into),
        ];
        let document = leaf.prop_recursive(3, 20, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
                prop::collection::btree_map("[ab]", inner, 0..3)
                    .prop_map(|m| m.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        });
        let path = "(\\.|\\$item|\\$input)((\\.[ab]|\\.\"a\"|\\[\"b\"\\]|\\[-?[0-2]\\]){0,3})";
        let operand = prop_oneof![
            path.prop_map(|text| text.replace("..", ".")),
            "-?[0-9]{1,3}|\"[ab ]{0,2}\"|null|true|false",
        ];
        let code = (
            operand.clone(),
            prop::option::of(("==|!=|<|<=|>|>=", operand)),
        );
        let code = code.prop_map(|(left, right)| match right {
            None => left,
            Some((sign, right)) => format!("{left} {sign}{right}"),
        });
        let (read, compared) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        proptest!(ProptestConfig::with_cases(3_000), |(
            code in code,
            dot in document.clone(),
            item in document.clone(),
            input in document.clone(),
        )| {
            let Ok((filters, all)) = compile(&[&code]) else { return Ok(()); };
            let mut arguments = Arguments { values: Default::default(), now: 5.0 };
            let [dot, item, input] = [dot, item, input].map(|v| crate::value::from_json(&v));
            arguments.values[1] = input;
            let locals = [item];
            let by_jq = filters.interpret(all[0], dot.clone(), &arguments, &locals);
            prop_assert_eq!(filters.evaluate(all[0], &dot, &arguments, &locals), by_jq, "{}", code);
            read.set(read.get() + usize::from(all[0].plain.is_some()));
            compared.set(compared.get() + 1);
        });
        // And most of them are read here, or this compares jq with itself.
        assert!(
            read.get() * 10 > compared.get() * 9,
            "{read:?} of {compared:?}"
        );
    }

    #[test]
    fn what_is_not_plain_is_left_to_jq() {
        let plain =
            |code: &str| plain::read(code, &|name| (name == "$item").then_some(8)).is_some();
        for code in [
            ".",
            ".a.b",
            ".[\"a b\"][0]",
            "$item.a",
            " .a >= 3 ",
            "\"x\"",
            "-7",
            "null != .a",
        ] {
            assert!(plain(code), "{code}");
        }
        for code in [
            "..",
            ".a?",
            ".a | .b",
            ".a // 1",
            "1.5",
            "1e3",
            "\"\\(.a)\"",
            "$other",
            "$__loc__",
            ".[]",
            ".[1:2]",
            ".a[.b]",
            ".a and .b",
            "a::b",
            ".a == .b == .c",
            "not",
            "1234567890123456",
            "[.a]",
            "{a}",
            ".a # c",
            "- 1",
            "",
            "12abc",
        ] {
            assert!(!plain(code), "{code}");
        }
    }

    #[test]
    fn nothing_reaches_outside() {
        assert_eq!(evaluate("now").unwrap(), "5.0");
        for code in [
            "env",
            "$ENV",
            "input",
            "[inputs]",
            "debug",
            "stderr",
            "halt",
            "halt_error",
            "localtime",
            "include \"x\"; .",
            "$__loc__ | input_filename",
        ] {
            assert!(evaluate(code).unwrap_err().starts_with("jq: "), "{code}");
        }
    }

    #[test]
    fn faults_say_where() {
        let codes = [".a", ".b |\n nope(1)", "$gone", ". +", "\"x", "1) else (2"];
        let mut told: Vec<_> = compile(&codes)
            .unwrap_err()
            .into_iter()
            .map(|fault| format!("{} {}", fault.pointer, fault.detail))
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                "/1 jq: undefined filter nope at line 2, column 2",
                "/2 jq: undefined variable $gone at line 1, column 1",
                "/3 jq: expected term at line 1, column 4",
                "/4 jq: expected the end of `\"` at line 1, column 3",
                "/5 jq: expected token at line 1, column 2",
            ]
        );
    }

    #[test]
    fn compiled_filters_go_from_thread_to_thread() {
        fn both<T: Send + Sync>() {}
        both::<Filters>();
    }
}
