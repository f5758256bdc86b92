//! The compiled form of a definition.

use aias_formats::Schema;
use jaq_json::Val;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    compile::Compiler,
    compile::authentication::Policy,
    compile::policy::{ErrorFilter, Retry},
    duration::Duration,
    emit::Emit,
    endpoint::Endpoint,
    expression::{Expression, Filters},
    reader::{Fault, Node},
    template::Template,
    value,
};

/// A compiled workflow version. It can be executed any number of times, on any thread.
#[derive(Debug)]
pub struct Program {
    pub(crate) definition: Val,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) timeout: Option<Duration>,
    pub(crate) tasks: List,
    pub(crate) filters: Filters,
    /// The names in `use.secrets`.
    pub(crate) secrets: Vec<String>,
    warnings: Vec<Fault>,
}

/// The most bytes of all references in [`Compiled::calls`].
const MAX_CALLS_BYTES: usize = 1024 * 1024;

/// The result of checking a definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    /// Empty if the definition compiles.
    pub faults: Vec<Fault>,
    /// What is probably a mistake.
    pub warnings: Vec<Fault>,
    /// The references of the tasks that request effects, in order: the names that a dry run has
    /// responses for. None if they have more than 1 MiB: functions count at each call.
    pub calls: Option<Vec<String>>,
}

/// The parts of a document other than its name.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) timeout: Option<Duration>,
    pub(crate) tasks: List,
}

/// `input`: the schema is checked first.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) schema: Option<Schema>,
    pub(crate) from: Option<Template>,
}

/// `output` or `export`: the schema is checked last.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) schema: Option<Schema>,
    pub(crate) shape: Option<Template>,
}

/// A list of consecutive tasks.
#[derive(Debug, Default)]
pub(crate) struct List(pub(crate) Vec<Task>);

impl List {
    fn add_calls(&self, calls: &mut Vec<String>) {
        self.0.iter().for_each(|task| task.add_calls(calls));
    }
}

/// The `then` of a task.
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
    /// The JSON pointer of the task in the definition.
    pub(crate) reference: String,
    pub(crate) definition: Val,
    pub(crate) condition: Option<Expression>,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) export: Output,
    pub(crate) then: Then,
    pub(crate) timeout: Option<Duration>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) kind: Kind,
}

impl Task {
    /// Adds the references of the tasks that request effects.
    fn add_calls(&self, calls: &mut Vec<String>) {
        for extension in &self.extensions {
            extension.before.add_calls(calls);
            extension.after.add_calls(calls);
        }
        match &self.kind {
            Kind::Do(list) => list.add_calls(calls),
            Kind::For(iteration) => iteration.body.add_calls(calls),
            Kind::Fork(fork) => fork.branches.add_calls(calls),
            Kind::Try(attempt) => {
                attempt.body.add_calls(calls);
                if let Some(handler) = &attempt.handler {
                    handler.add_calls(calls);
                }
            }
            Kind::Function(function) => function.task.add_calls(calls),
            Kind::OpenApi(_) => {
                calls.extend([document_reference(&self.reference), self.reference.clone()]);
            }
            Kind::Http(_) | Kind::Workflow(_) => calls.push(self.reference.clone()),
            Kind::Set(_) | Kind::Switch(_) | Kind::Raise(_) | Kind::Wait(_) | Kind::Emit(_) => {}
        }
    }

    /// Whether it completes immediately: nothing in it waits, and it contains no tasks.
    pub(crate) fn is_plain(&self) -> bool {
        let plain = match self.kind {
            Kind::Set(_) | Kind::Switch(_) | Kind::Raise(_) | Kind::Emit(_) => true,
            Kind::Do(_)
            | Kind::For(_)
            | Kind::Fork(_)
            | Kind::Try(_)
            | Kind::Wait(_)
            | Kind::Http(_)
            | Kind::OpenApi(_)
            | Kind::Function(_)
            | Kind::Workflow(_) => false,
        };
        plain && self.extensions.is_empty()
    }
}

/// The end of the reference under which an `OpenAPI` call requests its document.
pub(crate) const DOCUMENT_SUFFIX: &str = "/with/document";

/// The reference under which an `OpenAPI` call requests its document.
pub(crate) fn document_reference(task: &str) -> String {
    format!("{task}{DOCUMENT_SUFFIX}")
}

#[derive(Debug)]
pub(crate) enum Kind {
    Do(List),
    Set(Template),
    Switch(Vec<Case>),
    For(Box<For>),
    Fork(Fork),
    Raise(Box<Raised>),
    Try(Box<Try>),
    Wait(Duration),
    Emit(Box<Emit>),
    Http(Box<HttpCall>),
    OpenApi(Box<OpenApiCall>),
    Function(Box<Function>),
    Workflow(Box<RunWorkflow>),
}

/// Tasks before and after a task, under a condition.
#[derive(Debug)]
pub(crate) struct Extension {
    pub(crate) condition: Option<Expression>,
    pub(crate) before: List,
    pub(crate) after: List,
}

#[derive(Debug)]
pub(crate) struct Fork {
    pub(crate) branches: List,
    pub(crate) compete: bool,
}

/// The `output` of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    Raw,
    #[default]
    Content,
    Response,
}

#[derive(Debug)]
pub(crate) struct HttpCall {
    pub(crate) method: Template,
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: Option<Template>,
    pub(crate) query: Option<Template>,
    pub(crate) body: Option<Template>,
    pub(crate) format: Format,
    pub(crate) redirect: bool,
}

#[derive(Debug)]
pub(crate) struct OpenApiCall {
    pub(crate) document: Endpoint,
    pub(crate) operation: String,
    pub(crate) parameters: Template,
    pub(crate) authentication: Option<Policy>,
    pub(crate) format: Format,
    pub(crate) redirect: bool,
}

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) arguments: Option<Template>,
    pub(crate) task: Task,
}

#[derive(Debug)]
pub(crate) struct RunWorkflow {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) input: Option<Template>,
    pub(crate) wait: bool,
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

/// The error of a `raise` task: `type`, `status`, `title`, `detail`, `instance`.
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
    ///
    /// All faults, each with its pointer.
    pub fn compile(definition: &Value) -> Result<Self, Vec<Fault>> {
        let mut compiler = Compiler::default();
        let root = Node::root(definition);
        let parts = compiler.workflow(&root);
        let expressions = std::mem::take(&mut compiler.expressions);
        let secrets = compiler.secrets.iter().map(|name| (*name).to_owned());
        let secrets = secrets.collect();
        let filters = expressions.compile(&mut compiler.faults);
        let (parts, warnings) = compiler.faults.into_result(parts)?;
        let parts = parts.unwrap_or_default();
        Ok(Self {
            definition: value::from_json(definition),
            input: parts.input,
            output: parts.output,
            timeout: parts.timeout,
            tasks: parts.tasks,
            filters,
            secrets,
            warnings,
        })
    }

    /// What the definition says about itself.
    #[must_use]
    pub fn compiled(&self) -> Compiled {
        let mut calls = Vec::new();
        self.tasks.add_calls(&mut calls);
        calls.sort();
        calls.dedup();
        let bytes: usize = calls.iter().map(String::len).sum();
        Compiled {
            faults: Vec::new(),
            warnings: self.warnings.clone(),
            calls: (bytes <= MAX_CALLS_BYTES).then_some(calls),
        }
    }
}
