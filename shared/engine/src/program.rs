//! A definition, compiled: every name resolved, every expression and schema compiled, every fault
//! told at once.

use std::collections::{BTreeMap, BTreeSet};

use jaq_json::Val;
use serde_json::Value;

use crate::{
    expression::{Expression, Expressions, Filters},
    policy::{ErrorFilter, NO_WAITS, Retry},
    reader::{Fault, Faults, Members, Node},
    schema::Schema,
    template::Template,
    value,
};

/// A workflow version that can run, as often as one likes, on any thread.
#[derive(Debug)]
pub struct Program {
    pub(crate) definition: Val,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) tasks: List,
    pub(crate) filters: Filters,
    namespace: String,
    name: String,
}

/// `input`: what is checked, then shaped.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) schema: Option<Schema>,
    pub(crate) from: Option<Template>,
}

/// `output` or `export`: what is shaped, then checked.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) schema: Option<Schema>,
    pub(crate) shape: Option<Template>,
}

/// Tasks that follow each other.
#[derive(Debug, Default)]
pub(crate) struct List(pub(crate) Vec<Task>);

/// Where the flow goes after a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Continue,
    Exit,
    End,
    Task(usize),
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) name: String,
    /// The JSON pointer of the task, which is also its reference.
    pub(crate) reference: String,
    pub(crate) definition: Val,
    pub(crate) condition: Option<Expression>,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) export: Output,
    pub(crate) then: Then,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Do(List),
    Set(Template),
    Switch(Vec<Case>),
    For(Box<For>),
    Raise(Raised),
    Try(Box<Try>),
}

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) when: Option<Expression>,
    pub(crate) then: Then,
}

#[derive(Debug)]
pub(crate) struct For {
    pub(crate) items: Option<Expression>,
    pub(crate) condition: Option<Expression>,
    pub(crate) body: List,
}

/// An error to raise: `type`, `status`, `title`, `detail`, `instance`.
#[derive(Debug, Clone)]
pub(crate) struct Raised {
    pub(crate) kind: Template,
    pub(crate) status: i64,
    pub(crate) title: Option<Template>,
    pub(crate) detail: Option<Template>,
    pub(crate) instance: Option<Template>,
}

#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) body: List,
    pub(crate) errors: ErrorFilter,
    pub(crate) when: Option<Expression>,
    pub(crate) except_when: Option<Expression>,
    pub(crate) retry: Option<Retry>,
    pub(crate) handler: Option<List>,
}

impl Program {
    /// Compiles a definition.
    ///
    /// # Errors
    /// Every fault, each with its pointer.
    pub fn compile(definition: &Value) -> Result<Self, Vec<Fault>> {
        let mut compiling = Compiling::default();
        let root = Node::root(definition);
        let parts = compiling.workflow(&root);
        let filters = if compiling.faults.is_empty() {
            std::mem::take(&mut compiling.expressions).compile(&mut compiling.faults)
        } else {
            // What does not stand cannot be compiled as a whole; each expression was read already.
            Expressions::default().compile(&mut compiling.faults)
        };
        let (input, output, tasks) = compiling.faults.into_result(parts)?.unwrap_or_default();
        let text = |pointer: &str| {
            let text = definition.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        Ok(Self {
            definition: value::from_json(definition),
            input,
            output,
            tasks,
            filters,
            namespace: text("/document/namespace"),
            name: text("/document/name"),
        })
    }

    /// `document.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `document.namespace`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

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
    expressions: Expressions,
    errors: Named<'a>,
    retries: Named<'a>,
    used_retries: BTreeSet<&'a str>,
    nesting: usize,
}

impl<'a> Compiling<'a> {
    fn workflow(&mut self, root: &Node<'a>) -> Option<(Input, Output, List)> {
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
            "raise" => Kind::Raise(self.raise(locals, &node)?),
            _ => Kind::Try(Box::new(self.attempt(locals, task, &node, members)?)),
        })
    }

    fn set(&mut self, locals: &[String], node: &Node<'a>) -> Template {
        match node.value {
            Value::String(_) => {}
            Value::Object(members) if !members.is_empty() => {}
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => node.fault(
                &mut self.faults,
                "must be a string or an object with members",
            ),
        }
        self.template(locals, node)
    }

    fn switch(&mut self, locals: &[String], names: &[&str], node: &Node<'a>) -> Vec<Case> {
        let items = node.array(&mut self.faults).unwrap_or_default();
        if items.is_empty() {
            node.fault(&mut self.faults, "must have a case");
        }
        let mut cases = Vec::new();
        for item in items {
            let Some((_, case)) = item.named(&mut self.faults) else {
                continue;
            };
            let Some(members) = case.object(&mut self.faults, &["when", "then"], &["then"]) else {
                continue;
            };
            cases.push(Case {
                when: self.condition(locals, members.get("when")),
                then: self.then(names, members.get("then")),
            });
        }
        cases
    }

    fn iteration(
        &mut self,
        locals: &[String],
        task: &Node<'a>,
        node: &Node<'a>,
        members: &Members<'a>,
    ) -> Option<For> {
        let own = node.object(&mut self.faults, &["each", "in", "at"], &["in"])?;
        let items = self.condition(locals, own.get("in"));
        let each = self.variable(own.get("each"), "item");
        let at = self.variable(own.get("at"), "index");
        let inner: Vec<String> = locals.iter().cloned().chain([each, at]).collect();
        let Some(body) = members.get("do") else {
            task.fault(&mut self.faults, "`do` is missing");
            return None;
        };
        Some(For {
            items,
            condition: self.condition(&inner, members.get("while")),
            body: self.list(&inner, &body),
        })
    }

    fn attempt(
        &mut self,
        locals: &[String],
        task: &Node<'a>,
        node: &Node<'a>,
        members: &Members<'a>,
    ) -> Option<Try> {
        const ALLOWED: [&str; 6] = ["errors", "as", "when", "exceptWhen", "retry", "do"];
        let body = self.list(locals, node);
        let Some(catch) = members.get("catch") else {
            task.fault(&mut self.faults, "`catch` is missing");
            return None;
        };
        let catch = catch.object(&mut self.faults, &ALLOWED, &[])?;
        let name = self.variable(catch.get("as"), "error");
        let inner: Vec<String> = locals.iter().cloned().chain([name]).collect();
        let errors = catch
            .get("errors")
            .map(|errors| ErrorFilter::compile(self, &errors));
        Some(Try {
            body,
            errors: errors.unwrap_or_default(),
            when: self.condition(&inner, catch.get("when")),
            except_when: self.condition(&inner, catch.get("exceptWhen")),
            retry: catch
                .get("retry")
                .and_then(|retry| self.retry(&inner, &retry)),
            handler: catch.get("do").map(|handler| self.list(&inner, &handler)),
        })
    }

    fn retry(&mut self, locals: &[String], node: &Node<'a>) -> Option<Retry> {
        let Some(name) = node.value.as_str() else {
            return Retry::compile(self, locals, node);
        };
        let Some(declared) = self.retries.get(name).cloned() else {
            node.fault(
                &mut self.faults,
                "no retry policy of this name in `use.retries`",
            );
            return None;
        };
        self.used_retries.insert(name);
        Retry::compile(self, locals, &declared)
    }

    fn raise(&mut self, locals: &[String], node: &Node<'a>) -> Option<Raised> {
        let members = node.object(&mut self.faults, &["error"], &["error"])?;
        let error = members.get("error")?;
        let Some(name) = error.value.as_str() else {
            return self.error(locals, &error);
        };
        let Some(declared) = self.errors.get(name).cloned() else {
            error.fault(&mut self.faults, "no error of this name in `use.errors`");
            return None;
        };
        self.error(locals, &declared)
    }

    fn error(&mut self, locals: &[String], node: &Node<'a>) -> Option<Raised> {
        const ALLOWED: [&str; 5] = ["type", "status", "title", "detail", "instance"];
        let members = node.object(&mut self.faults, &ALLOWED, &["type", "status"])?;
        let kind = members.get("type")?;
        let is_expression = |text: &str| crate::expression::marked(text).is_some();
        if kind
            .text(&mut self.faults)
            .is_some_and(|t| !is_expression(t) && !is_uri(t))
        {
            kind.fault(
                &mut self.faults,
                "must be a URI, such as https://example.com/errors/full",
            );
        }
        let status = members.get("status")?;
        let number = status.value.as_i64();
        if number.is_none() {
            status.fault(&mut self.faults, "must be an integer");
        }
        let mut text = |name: &str| {
            let node = members.get(name)?;
            let value = node.text(&mut self.faults)?;
            if name == "instance"
                && !is_expression(value)
                && !value.is_empty()
                && !value.starts_with('/')
            {
                node.fault(&mut self.faults, "must be a JSON pointer");
            }
            Some(self.template(locals, &node))
        };
        Some(Raised {
            title: text("title"),
            detail: text("detail"),
            instance: text("instance"),
            kind: self.template(locals, &kind),
            status: number.unwrap_or_default(),
        })
    }

    fn then(&mut self, names: &[&str], node: Option<Node<'a>>) -> Then {
        let Some(node) = node else {
            return Then::Continue;
        };
        match node.text(&mut self.faults) {
            None | Some("continue") => Then::Continue,
            Some("exit") => Then::Exit,
            Some("end") => Then::End,
            Some(name) => match names.iter().position(|other| *other == name) {
                Some(index) => Then::Task(index),
                None => {
                    node.fault(&mut self.faults, "no task of this name in the same list");
                    Then::Continue
                }
            },
        }
    }

    fn input(&mut self, locals: &[String], node: Option<Node<'a>>) -> Input {
        let Some(node) = node else {
            return Input::default();
        };
        let Some(members) = node.object(&mut self.faults, &["schema", "from"], &[]) else {
            return Input::default();
        };
        Input {
            schema: members
                .get("schema")
                .and_then(|schema| self.schema(&schema)),
            from: members.get("from").map(|from| self.shape(locals, &from)),
        }
    }

    fn output(&mut self, locals: &[String], node: Option<Node<'a>>, shape: &str) -> Output {
        let Some(node) = node else {
            return Output::default();
        };
        let Some(members) = node.object(&mut self.faults, &["schema", shape], &[]) else {
            return Output::default();
        };
        Output {
            schema: members
                .get("schema")
                .and_then(|schema| self.schema(&schema)),
            shape: members.get(shape).map(|shape| self.shape(locals, &shape)),
        }
    }

    fn schema(&mut self, node: &Node<'a>) -> Option<Schema> {
        let members = node.object(&mut self.faults, &["format", "document", "resource"], &[])?;
        if let Some(format) = members.get("format") {
            let text = format.text(&mut self.faults)?;
            if text != "json" && !text.starts_with("json:") {
                format.fault(&mut self.faults, "not supported: only `json` schemas");
            }
        }
        if let Some(resource) = members.get("resource") {
            resource.fault(
                &mut self.faults,
                "not supported: a schema stands in the definition itself",
            );
            return None;
        }
        let Some(document) = members.get("document") else {
            node.fault(&mut self.faults, "`document` is missing");
            return None;
        };
        match Schema::compile(document.value) {
            Ok(schema) => Some(schema),
            Err(why) => {
                document.fault(&mut self.faults, format!("not a JSON Schema: {why}"));
                None
            }
        }
    }

    /// `from` and `as`: a text is an expression, an object has expressions in it.
    fn shape(&mut self, locals: &[String], node: &Node<'a>) -> Template {
        match node.value {
            Value::String(text) => {
                let added = self
                    .expressions
                    .add(&mut self.faults, locals, text, &node.pointer);
                added.map_or(Template::Constant(Val::Null), Template::Expression)
            }
            Value::Object(_) => self.template(locals, node),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                node.fault(&mut self.faults, "must be an expression or an object");
                Template::Constant(Val::Null)
            }
        }
    }

    fn template(&mut self, locals: &[String], node: &Node<'a>) -> Template {
        let Self {
            faults,
            expressions,
            ..
        } = self;
        Template::read(node.value, &mut |text| {
            expressions.add(faults, locals, text, &node.pointer)
        })
    }

    /// A text that is an expression, marked or not.
    pub(crate) fn condition(
        &mut self,
        locals: &[String],
        node: Option<Node<'a>>,
    ) -> Option<Expression> {
        let node = node?;
        let text = node.text(&mut self.faults)?;
        self.expressions
            .add(&mut self.faults, locals, text, &node.pointer)
    }

    fn variable(&mut self, node: Option<Node<'a>>, default: &str) -> String {
        let Some(node) = node else {
            return default.to_owned();
        };
        let Some(text) = node.text(&mut self.faults) else {
            return default.to_owned();
        };
        let mut chars = text.chars();
        let begins = chars
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !begins
            || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
            || text.starts_with("__")
        {
            node.fault(
                &mut self.faults,
                "must be the name of a variable: letters, digits and _",
            );
        } else if crate::expression::ARGUMENTS
            .iter()
            .any(|name| name.get(1..) == Some(text))
        {
            node.fault(&mut self.faults, "the DSL has a variable of this name");
        }
        text.to_owned()
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

/// `scheme://…` (RFC 3986), which is what the DSL asks of an error's type.
fn is_uri(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        let mut bytes = scheme.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
            && bytes.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}
