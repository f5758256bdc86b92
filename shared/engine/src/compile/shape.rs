//! `input`, `output`, `export`, `schema` and expressions.

use aias_formats::Schema;
use jaq_json::Val;
use serde_json::Value;

use super::Compiler;
use crate::{
    duration::{self, Duration},
    expression::{Expression, check_constant, expression_in},
    program::{Input, Output},
    reader::Node,
    template::Template,
};

impl<'a> Compiler<'a> {
    pub(super) fn input(&mut self, locals: &[String], node: Option<Node<'a>>) -> Input {
        let Some(node) = node else {
            return Input::default();
        };
        let Some(members) = node.object(&mut self.faults, &["schema", "from"], &[]) else {
            return Input::default();
        };
        let schema = members.get("schema");
        let schema = schema.and_then(|schema| self.schema(&schema));
        self.expressions.may_use_secrets = true;
        let from = members.get("from").map(|from| self.shape(locals, &from));
        self.expressions.may_use_secrets = false;
        Input { schema, from }
    }

    pub(super) fn output(
        &mut self,
        locals: &[String],
        node: Option<Node<'a>>,
        shape: &str,
    ) -> Output {
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

    pub(super) fn schema(&mut self, node: &Node<'a>) -> Option<Schema> {
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
                "not supported: write the schema in the definition itself",
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
                document.fault(&mut self.faults, format!("not a valid JSON Schema: {why}"));
                None
            }
        }
    }

    /// `from` and `as`: a string is an expression, an object may contain expressions.
    pub(super) fn shape(&mut self, locals: &[String], node: &Node<'a>) -> Template {
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

    pub(crate) fn template(&mut self, locals: &[String], node: &Node<'a>) -> Template {
        let Self {
            faults,
            expressions,
            ..
        } = self;
        Template::read(node.value, &node.pointer, &mut |text, pointer| {
            if expression_in(text).is_none() {
                check_constant(faults, text, pointer);
                return Template::constant(&Value::String(text.to_owned()));
            }
            let added = expressions.add(faults, locals, text, pointer);
            added.map_or(Template::Constant(Val::Null), Template::Expression)
        })
    }

    /// A duration, or an expression that evaluates to one.
    pub(crate) fn duration(
        &mut self,
        locals: &[String],
        node: Option<Node<'a>>,
    ) -> Option<Duration> {
        let node = node?;
        if duration::is_expression(node.value) {
            return self.condition(locals, Some(node)).map(Duration::Expression);
        }
        match duration::milliseconds(node.value) {
            Ok(ms) => Some(Duration::Fixed(ms)),
            Err(why) => {
                node.fault(&mut self.faults, why);
                None
            }
        }
    }

    /// A boolean member.
    pub(super) fn flag(&mut self, node: Option<Node<'a>>, default: bool) -> bool {
        let Some(node) = node else { return default };
        node.value.as_bool().unwrap_or_else(|| {
            node.fault(&mut self.faults, "must be true or false");
            default
        })
    }

    /// An expression, with or without `${ }`.
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

    pub(super) fn variable(&mut self, node: Option<Node<'a>>, default: &str) -> String {
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
                "must be a variable name: letters, digits and `_`",
            );
        } else if crate::expression::ARGUMENTS
            .iter()
            .any(|name| name.get(1..) == Some(text))
        {
            node.fault(
                &mut self.faults,
                "this is the name of a variable of the DSL",
            );
        }
        text.to_owned()
    }
}
