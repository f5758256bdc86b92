//! Compiles a definition: resolves names, compiles expressions and schemas, and reports all faults
//! at once.

pub(crate) mod authentication;
pub(crate) mod calls;
mod components;
mod flow;
pub(crate) mod policy;
mod shape;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};

use jaq_json::Val;

use crate::{
    expression::Expressions,
    program::{Kind, List, Parts, Task},
    reader::{Faults, Members, NOT_SUPPORTED, Node},
    suggest::did_you_mean,
    value,
};

/// Members that every task may have.
const TASK_BASE: [&str; 7] = [
    "if", "input", "output", "export", "timeout", "then", "metadata",
];

/// The members that determine a task's type, and the further members of each.
const TASKS: [(&str, &[&str]); 12] = [
    ("do", &[]),
    ("set", &[]),
    ("switch", &[]),
    ("raise", &[]),
    ("try", &["catch"]),
    ("for", &["while", "do"]),
    ("call", &["with"]),
    ("fork", &[]),
    ("emit", &[]),
    ("listen", &["foreach"]),
    ("run", &[]),
    ("wait", &[]),
];

/// How deep tasks may be nested, and how deep functions may call each other.
const MAX_NESTING: usize = 32;

/// How many tasks a definition may expand to: functions count at each call, extensions at each task
/// they extend.
const MAX_TASKS: usize = 5_000;

/// The longest task name; it is part of every log entry.
const MAX_NAME_BYTES: usize = 128;

/// The total size of called functions, counted at each call, in bytes of JSON.
const MAX_CALLED_BYTES: usize = 1024 * 1024;

type Named<'a> = BTreeMap<&'a str, Node<'a>>;

/// The state of a compilation.
#[derive(Debug, Default)]
pub(crate) struct Compiler<'a> {
    pub(crate) faults: Faults,
    pub(crate) expressions: Expressions,
    pub(crate) authentications: Named<'a>,
    pub(crate) secrets: BTreeSet<&'a str>,
    errors: Named<'a>,
    extensions: Vec<Node<'a>>,
    functions: Named<'a>,
    retries: Named<'a>,
    timeouts: Named<'a>,
    /// Named components that were compiled at their use.
    used: BTreeSet<(&'static str, &'a str)>,
    nesting: usize,
    tasks: usize,
    /// The functions being compiled, from the outermost.
    calling: Vec<&'a str>,
    /// In a function: the length of its pointer, and the reference of the calling task.
    called_from: Option<(usize, String)>,
    /// In an extension: its own tasks are not extended.
    extending: bool,
    /// Whether any expression may use `$task`.
    uses_task: bool,
    /// Bytes of functions, counted at each call.
    called_bytes: usize,
}

impl<'a> Compiler<'a> {
    pub(crate) fn workflow(&mut self, root: &Node<'a>) -> Option<Parts> {
        const ALLOWED: [&str; 7] = [
            "document", "input", "use", "do", "timeout", "output", "schedule",
        ];
        let members = root.object(&mut self.faults, &ALLOWED, &["document", "do"])?;
        self.uses_task = root.value.to_string().contains("$task");
        if let Some(document) = members.get("document") {
            self.document(&document);
        }
        if let Some(schedule) = members.get("schedule") {
            let detail = "not supported: a workflow is started by a webhook or an API request";
            schedule.fault(&mut self.faults, detail);
        }
        if let Some(components) = members.get("use") {
            self.components(&components);
        }
        let input = self.input(&[], members.get("input"));
        let timeout = self.timeout(&[], members.get("timeout"));
        let tasks = members.get("do").map(|tasks| self.list(&[], &tasks));
        let output = self.output(&[], members.get("output"), "as");
        self.unused();
        Some(Parts {
            input,
            output,
            timeout,
            tasks: tasks.unwrap_or_default(),
        })
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

    pub(crate) fn list(&mut self, locals: &[String], node: &Node<'a>) -> List {
        let Some(items) = node.array(&mut self.faults) else {
            return List::default();
        };
        if self.nesting == MAX_NESTING {
            node.fault(
                &mut self.faults,
                format!("tasks are nested more than {MAX_NESTING} levels deep"),
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
                task.fault(
                    &mut self.faults,
                    "another task in this list has the same name",
                );
            }
        }
        let tasks: Vec<_> = named
            .iter()
            .filter_map(|(name, task)| self.task(locals, &names, name, task))
            .collect();
        self.nesting -= 1;
        if tasks.len() == named.len() {
            self.check_flow(&tasks, &named);
        }
        List(tasks)
    }

    /// The reference of a task in logs, errors and the journal.
    fn reference(&self, node: &Node<'a>) -> String {
        match &self.called_from {
            None => node.pointer.clone(),
            Some((own, caller)) => {
                let inside = node.pointer.get(*own..).unwrap_or_default();
                format!("{caller}{inside}")
            }
        }
    }

    pub(crate) fn task(
        &mut self,
        locals: &[String],
        names: &[&str],
        name: &str,
        node: &Node<'a>,
    ) -> Option<Task> {
        self.tasks += 1;
        if self.tasks > MAX_TASKS {
            if self.tasks == MAX_TASKS + 1 {
                node.fault(
                    &mut self.faults,
                    format!("the definition has more than {MAX_TASKS} tasks"),
                );
            }
            return None;
        }
        if name.len() > MAX_NAME_BYTES {
            let detail = format!("a task name has at most {MAX_NAME_BYTES} bytes");
            node.fault(&mut self.faults, detail);
            return None;
        }
        let found = node.any_object(&mut self.faults)?;
        // A `for` task also has a `do`, so `for` is checked first.
        let mut kinds = TASKS.iter().filter(|(kind, _)| found.has(kind));
        let first = kinds.next();
        let chosen = TASKS
            .iter()
            .find(|(kind, _)| *kind == "for" && found.has(kind))
            .or(first);
        let Some((kind, own)) = chosen else {
            let known = TASKS.iter().map(|(kind, _)| *kind);
            let known: Vec<_> = known.filter(|kind| !NOT_SUPPORTED.contains(kind)).collect();
            let own = found.iter().map(|(name, _)| name);
            let other = own.filter(|name| !TASK_BASE.contains(name));
            let near = other.map(|name| did_you_mean(name, known.iter().copied()));
            let near = near.into_iter().find(|near| !near.is_empty());
            let detail = format!(
                "this is not a task; a task has one of: {}{}",
                known.join(", "),
                near.unwrap_or_default()
            );
            node.fault(&mut self.faults, detail);
            return None;
        };
        let allowed: Vec<_> = TASK_BASE
            .iter()
            .copied()
            .chain([*kind])
            .chain(own.iter().copied())
            .collect();
        let members = node.object(&mut self.faults, &allowed, &[])?;
        members
            .get("metadata")
            .and_then(|n| n.any_object(&mut self.faults));
        // All parts are read, even if one has a fault.
        let extensions = self.extensions_of(locals, kind);
        let kind = self.kind(kind, locals, names, node, &members);
        let (input, output, export, then) = (
            self.input(locals, members.get("input")),
            self.output(locals, members.get("output"), "as"),
            self.output(locals, members.get("export"), "as"),
            self.then(names, members.get("then")),
        );
        let (condition, timeout) = (
            self.condition(locals, members.get("if")),
            self.timeout(locals, members.get("timeout")),
        );
        Some(Task {
            name: name.to_owned(),
            reference: self.reference(node),
            definition: if self.uses_task {
                value::from_json(node.value)
            } else {
                Val::Null
            },
            condition,
            input,
            timeout,
            extensions,
            kind: kind?,
            output,
            export,
            then,
        })
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
            "try" => Kind::Try(Box::new(self.attempt(locals, task, &node, members)?)),
            "fork" => Kind::Fork(self.fork(locals, &node)?),
            "wait" => Kind::Wait(self.duration(locals, Some(node))?),
            "emit" => Kind::Emit(Box::new(self.emit(locals, &node)?)),
            "call" => self.call(locals, &node, members)?,
            "run" => self.run(locals, &node)?,
            _ => {
                let detail = format!("not supported: `{kind}` tasks are not available");
                node.fault(&mut self.faults, detail);
                return None;
            }
        })
    }
}

/// An RFC 1123 label, as the DSL requires for names.
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
