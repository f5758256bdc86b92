//! jq's standard definitions, parsed once. An expression is compiled with those that it can reach.
//!
//! Definitions that perform I/O or are not deterministic are absent: `env`, `$ENV`, `input`,
//! `inputs`, `stderr`, `halt`, local time. `now` is the time of the run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use jaq_core::{
    load::{
        self,
        lex::StrPart,
        parse::{BinaryOp, Def, Pattern, Term},
    },
    path::{Part, Path},
};

use crate::natives;

/// Native functions that perform I/O or are not deterministic, and the definitions that use them.
const ABSENT: [&str; 10] = [
    "env",
    "now",
    "halt",
    "halt_error",
    "stderr",
    "stderr_empty",
    "localtime",
    "strflocaltime",
    "input",
    "inputs",
];

/// Whether a name is absent from every expression.
pub(crate) fn is_absent(name: &str) -> bool {
    ABSENT.contains(&name)
}

/// Our own definitions. A test checks that they can be parsed.
fn own() -> Vec<Def<&'static str>> {
    load::parse(include_str!("prelude.jq"), |parser| parser.defs()).unwrap_or_default()
}

/// All definitions in order: each can use those before it.
static DEFINITIONS: LazyLock<Vec<Def<&'static str>>> = LazyLock::new(|| {
    jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .filter(|def| !is_absent(def.name) && !natives::is_native(def.name))
        .chain(own())
        .collect()
});

/// The names that the definitions of a name call.
static CALLS: LazyLock<BTreeMap<&'static str, BTreeSet<&'static str>>> = LazyLock::new(|| {
    let mut calls: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for def in DEFINITIONS.iter() {
        of_term(&def.body, calls.entry(def.name).or_default());
    }
    calls
});

/// All definitions that an expression may use.
pub(crate) fn all() -> Vec<Def<&'static str>> {
    DEFINITIONS.clone()
}

/// The names of all definitions and native functions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let definitions = DEFINITIONS.iter().map(|def| def.name);
    let natives = jaq_core::funs::<crate::value::Data>()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .map(|(name, _, _)| name);
    definitions.chain(natives.filter(|name| !is_absent(name)))
}

/// The names that an expression calls, directly or indirectly.
pub(crate) fn reached_by<'s>(term: &Term<&'s str>) -> BTreeSet<&'s str> {
    let mut reached = BTreeSet::new();
    of_term(term, &mut reached);
    let mut left: Vec<&str> = reached.iter().copied().collect();
    while let Some(name) = left.pop() {
        for called in CALLS.get(name).into_iter().flatten() {
            if reached.insert(called) {
                left.push(called);
            }
        }
    }
    reached
}

/// The definitions of these names.
pub(crate) fn of(names: &BTreeSet<&str>) -> Vec<Def<&'static str>> {
    let own = DEFINITIONS.iter().filter(|def| names.contains(def.name));
    own.cloned().collect()
}

fn of_term<'s>(term: &Term<&'s str>, names: &mut BTreeSet<&'s str>) {
    match term {
        Term::Id | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
        Term::Recurse => {
            names.insert("recurse");
        }
        Term::Str(format, parts) => {
            names.extend(*format);
            names.insert("tostring");
            for part in parts {
                if let StrPart::Term(term) = part {
                    of_term(term, names);
                }
            }
        }
        Term::Arr(inner) => inner.iter().for_each(|term| of_term(term, names)),
        Term::Obj(members) => {
            for (name, value) in members {
                of_term(name, names);
                value.iter().for_each(|term| of_term(term, names));
            }
        }
        Term::Neg(inner) | Term::Label(_, inner) => of_term(inner, names),
        Term::BinOp(left, operator, right) => {
            of_term(left, names);
            if let BinaryOp::Pipe(Some(pattern)) = operator {
                of_pattern(pattern, names);
            }
            of_term(right, names);
        }
        Term::Fold(_, over, pattern, rest) => {
            of_term(over, names);
            of_pattern(pattern, names);
            rest.iter().for_each(|term| of_term(term, names));
        }
        Term::TryCatch(body, handler) => {
            of_term(body, names);
            handler.iter().for_each(|term| of_term(term, names));
        }
        Term::IfThenElse(cases, otherwise) => {
            for (condition, then) in cases {
                of_term(condition, names);
                of_term(then, names);
            }
            otherwise.iter().for_each(|term| of_term(term, names));
        }
        Term::Def(defs, rest) => {
            defs.iter().for_each(|def| of_term(&def.body, names));
            of_term(rest, names);
        }
        Term::Call(name, arguments) => {
            names.insert(name);
            arguments.iter().for_each(|term| of_term(term, names));
        }
        Term::Path(from, Path(parts)) => {
            of_term(from, names);
            for (part, _) in parts {
                match part {
                    Part::Index(index) => of_term(index, names),
                    Part::Range(from, to) => {
                        from.iter().chain(to).for_each(|term| of_term(term, names));
                    }
                }
            }
        }
    }
}

fn of_pattern<'s>(pattern: &Pattern<&'s str>, names: &mut BTreeSet<&'s str>) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(items) => items.iter().for_each(|item| of_pattern(item, names)),
        Pattern::Obj(members) => {
            for (name, inner) in members {
                of_term(name, names);
                of_pattern(inner, names);
            }
        }
    }
}
