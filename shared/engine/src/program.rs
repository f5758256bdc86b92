//! What a definition compiles to.

use jaq_json::Val;
use serde_json::Value;

use crate::{
    compile::Compiling,
    expression::{Expression, Expressions, Filters},
    policy::{ErrorFilter, Retry},
    reader::{Fault, Node},
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
    Raise(Box<Raised>),
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
