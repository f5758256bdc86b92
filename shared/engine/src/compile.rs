//! Compiling a definition: every name resolved, every expression and schema compiled, every fault
//! told at once.

mod shape;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    expression::Expressions,
    policy::{NO_WAITS, Retry},
    program::{Input, Kind, List, Output, Task},
    reader::{Faults, Members, Node},
    value,
};

/// What a task may have besides its own members.
const TASK_BASE: [&str; 7] = [
    "if", "input", "output", "export", "timeout", "then", "metadata",
];

/// The members that make a task what it is, those that go with each, and whether it runs here.
const TASKS: [(&str, &[&str], bool); 12] = [
    ("do", &[], true),
    ("set", &[], true),
    ("switch", &[], true),
    ("raise", &[], true),
    ("try", &["catch"], true),
    ("for", &["while", "do"], true),
    ("call", &["with"], false),
    ("fork", &[], false),
    ("emit", &[], false),
    ("listen", &["foreach"], false),
    ("run", &[], false),
    ("wait", &[], false),
];

/// How deep tasks may be inside each other.
const MAX_NESTING: usize = 32;

type Named<'a> = BTreeMap<&'a str, Node<'a>>;

/// A compilation under way.
#[derive(Debug, Default)]
pub(crate) struct Compiling<'a> {
    pub(crate) faults: Faults,
    pub(crate) expressions: Expressions,
    errors: Named<'a>,
    retries: Named<'a>,
    used_retries: BTreeSet<&'a str>,
    nesting: usize,
}

impl<'a> Compiling<'a> {
    /// The whole document.
    pub(crate) fn workflow(&mut self, root: &Node<'a>) -> Option<(Input, Output, List)> {
        const ALLOWED: [&str; 7] = [
            "document", "input", "use", "do", "timeout", "output", "schedule",
        ];
        let members = root.object(&mut self.faults, &ALLOWED, &["document", "do"])?;
        if let Some(document) = members.get("document") {
            self.document(&document);
        }
        for (name, why) in [
            ("timeout", NO_WAITS),
            (
                "schedule",
                "not supported: a workflow starts by a webhook or a call",
            ),
        ] {
            if let Some(node) = members.get(name) {
                node.fault(&mut self.faults, why);
            }
        }
        if let Some(components) = members.get("use") {
            self.components(&components);
        }
        let input = self.input(&[], members.get("input"));
        let tasks = members.get("do").map(|tasks| self.list(&[], &tasks));
        let output = self.output(&[], members.get("output"), "as");
        self.unused_retries();
        Some((input, output, tasks.unwrap_or_default()))
    }

    fn document(&mut self, document: &Node<'a>) {
        const REQUIRED: [&str; 4] = ["dsl", "namespace", "name", "version"];
        const ALLOWED: [&str; 8] = [
            "dsl",
            "namespace",
            "name",
            "version",
            "title",
            "summary",
            "tags",
            "metadata",
        ];
        let Some(members) = document.object(&mut self.faults, &ALLOWED, &REQUIRED) else {
            return;
        };
        for name in ["dsl", "version"] {
            let Some(node) = members.get(name) else {
                continue;
            };
            let Some(text) = node.text(&mut self.faults) else {
                continue;
            };
            if !is_semantic_version(text) {
                node.fault(
                    &mut self.faults,
                    "must be a semantic version, such as 1.0.3",
                );
            } else if name == "dsl" && !text.starts_with("1.0.") {
                node.fault(
                    &mut self.faults,
                    "only versions 1.0.x of the DSL are supported",
                );
            }
        }
        for name in ["namespace", "name"] {
            let Some(node) = members.get(name) else {
                continue;
            };
            let Some(text) = node.text(&mut self.faults) else {
                continue;
            };
            if !is_label(text) {
                let detail =
                    "must be 1 to 63 letters, digits and hyphens, with no hyphen at either end";
                node.fault(&mut self.faults, detail);
            }
        }
        for name in ["title", "summary"] {
            members
                .get(name)
                .and_then(|node| node.text(&mut self.faults));
        }
        for name in ["tags", "metadata"] {
            members
                .get(name)
                .and_then(|node| node.any_object(&mut self.faults));
        }
    }

    fn components(&mut self, components: &Node<'a>) {
        const ALLOWED: [&str; 8] = [
            "errors",
            "retries",
            "authentications",
            "extensions",
            "functions",
            "secrets",
            "timeouts",
            "catalogs",
        ];
        let Some(members) = components.object(&mut self.faults, &ALLOWED, &[]) else {
            return;
        };
        for name in &ALLOWED[2..] {
            if let Some(node) = members.get(name) {
                node.fault(&mut self.faults, "not supported: nothing here can use it");
            }
        }
        if let Some(errors) = members
            .get("errors")
            .and_then(|n| n.any_object(&mut self.faults))
        {
            self.errors = errors.iter().collect();
        }
        if let Some(retries) = members
            .get("retries")
            .and_then(|n| n.any_object(&mut self.faults))
        {
            self.retries = retries.iter().collect();
        }
        for node in self.errors.values().cloned().collect::<Vec<_>>() {
            self.error(&[], &node);
        }
    }

    /// A policy is compiled where it is used, with the variables there; one that nobody uses is
    /// checked all the same.
    fn unused_retries(&mut self) {
        for (name, node) in self.retries.clone() {
            if !self.used_retries.contains(name) {
                Retry::compile(self, &["error".to_owned()], &node);
            }
        }
    }

    fn list(&mut self, locals: &[String], node: &Node<'a>) -> List {
        let Some(items) = node.array(&mut self.faults) else {
            return List::default();
        };
        if self.nesting == MAX_NESTING {
            node.fault(
                &mut self.faults,
                format!("tasks deeper than {MAX_NESTING} levels"),
            );
            return List::default();
        }
        self.nesting += 1;
        let named: Vec<_> = items
            .iter()
            .filter_map(|item| item.named(&mut self.faults))
            .collect();
        let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
        for (index, (name, task)) in named.iter().enumerate() {
            if names.iter().take(index).any(|earlier| earlier == name) {
                task.fault(&mut self.faults, "two tasks of one list have this name");
            }
        }
        let tasks = named
            .iter()
            .filter_map(|(name, task)| self.task(locals, &names, name, task))
            .collect();
        self.nesting -= 1;
        List(tasks)
    }

    fn task(
        &mut self,
        locals: &[String],
        names: &[&str],
        name: &str,
        node: &Node<'a>,
    ) -> Option<Task> {
        let found = node.any_object(&mut self.faults)?;
        // `for` has a `do` of its own, so it is looked for first.
        let mut kinds = TASKS.iter().filter(|(kind, ..)| found.has(kind));
        let first = kinds.next();
        let chosen = TASKS
            .iter()
            .find(|(kind, ..)| *kind == "for" && found.has(kind))
            .or(first);
        let Some((kind, own, runs)) = chosen else {
            let known: Vec<_> = TASKS.iter().map(|(kind, ..)| *kind).collect();
            node.fault(
                &mut self.faults,
                format!("no task; one of: {}", known.join(", ")),
            );
            return None;
        };
        if !runs {
            let detail = format!("not supported: a workflow here has no `{kind}` tasks");
            if let Some(member) = found.get(kind) {
                member.fault(&mut self.faults, detail);
            }
            return None;
        }
        let allowed: Vec<_> = TASK_BASE
            .iter()
            .copied()
            .chain([*kind])
            .chain(own.iter().copied())
            .collect();
        let members = node.object(&mut self.faults, &allowed, &[])?;
        if let Some(timeout) = members.get("timeout") {
            timeout.fault(&mut self.faults, NO_WAITS);
        }
        members
            .get("metadata")
            .and_then(|n| n.any_object(&mut self.faults));
        let task = Task {
            name: name.to_owned(),
            reference: node.pointer.clone(),
            definition: value::from_json(node.value),
            condition: self.condition(locals, members.get("if")),
            input: self.input(locals, members.get("input")),
            kind: self.kind(kind, locals, names, node, &members)?,
            output: self.output(locals, members.get("output"), "as"),
            export: self.output(locals, members.get("export"), "as"),
            then: self.then(names, members.get("then")),
        };
        Some(task)
    }

    fn kind(
        &mut self,
        kind: &str,
        locals: &[String],
        names: &[&str],
        task: &Node<'a>,
        members: &Members<'a>,
    ) -> Option<Kind> {
        let node = members.get(kind)?;
        Some(match kind {
            "do" => Kind::Do(self.list(locals, &node)),
            "set" => Kind::Set(self.set(locals, &node)),
            "switch" => Kind::Switch(self.switch(locals, names, &node)),
            "for" => Kind::For(Box::new(self.iteration(locals, task, &node, members)?)),
            "raise" => Kind::Raise(Box::new(self.raise(locals, &node)?)),
            _ => Kind::Try(Box::new(self.attempt(locals, task, &node, members)?)),
        })
    }
}

/// RFC 1123 label: what the DSL allows for names.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Semantic Versioning 2.0.0.
fn is_semantic_version(text: &str) -> bool {
    let (text, build) = match text.split_once('+') {
        Some((text, build)) => (text, Some(build)),
        None => (text, None),
    };
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let number = |part: &str| digits(part) && (part == "0" || !part.starts_with('0'));
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(|p| word(p) && (!digits(p) || number(p))))
        && build.is_none_or(|build| build.split('.').all(word))
}
