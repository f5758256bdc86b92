//! The members of each task type.

use serde_json::Value;

use super::Compiler;
use crate::{
    compile::policy::{ErrorFilter, Retry},
    emit::{self, Emit},
    program::{Case, For, Fork, Raised, Then, Try},
    reader::{Members, Node},
    suggest::did_you_mean,
    template::Template,
};

impl<'a> Compiler<'a> {
    pub(super) fn set(&mut self, locals: &[String], node: &Node<'a>) -> Template {
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

    pub(super) fn switch(
        &mut self,
        locals: &[String],
        names: &[&str],
        node: &Node<'a>,
    ) -> Vec<Case> {
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

    pub(super) fn fork(&mut self, locals: &[String], node: &Node<'a>) -> Option<Fork> {
        let allowed = ["branches", "compete"];
        let members = node.object(&mut self.faults, &allowed, &["branches"])?;
        let branches = members.get("branches")?;
        let compete = members.get("compete");
        Some(Fork {
            branches: self.branches(locals, &branches),
            compete: self.flag(compete, false),
        })
    }

    pub(super) fn emit(&mut self, locals: &[String], node: &Node<'a>) -> Option<Emit> {
        let members = node.object(&mut self.faults, &["event"], &["event"])?;
        let event = members.get("event")?;
        let event = event.object(&mut self.faults, &["with"], &["with"])?;
        let with = event.get("with")?;
        let properties = with.any_object(&mut self.faults)?;
        for name in ["source", "type"] {
            if !properties.has(name) {
                with.fault(&mut self.faults, format!("`{name}` is missing"));
            }
        }
        for (name, node) in properties.iter() {
            if !emit::is_attribute_name(name) {
                let detail = "an attribute name has 1 to 20 lower-case letters and digits";
                node.fault(&mut self.faults, detail);
            } else if name == "specversion" {
                node.fault(&mut self.faults, "must be 1.0");
            } else if name != "data" && emit::ATTRIBUTES.contains(&name) {
                let Some(text) = node.text(&mut self.faults) else {
                    continue;
                };
                let is_expression = crate::expression::expression_in(text).is_some();
                if matches!(name, "source" | "dataschema") && !is_expression && !is_uri(text) {
                    node.fault(
                        &mut self.faults,
                        "must be a URI, such as https://example.com",
                    );
                }
                if name == "time" && !is_expression && text.parse::<jiff::Timestamp>().is_err() {
                    node.fault(&mut self.faults, "must be an RFC 3339 timestamp");
                }
            }
        }
        Some(Emit(self.template(locals, &with)))
    }

    pub(super) fn iteration(
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

    pub(super) fn attempt(
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

    pub(super) fn retry(&mut self, locals: &[String], node: &Node<'a>) -> Option<Retry> {
        let Some(name) = node.value.as_str() else {
            return Retry::compile(self, locals, node);
        };
        let Some(declared) = self.retries.get(name).cloned() else {
            let near = did_you_mean(name, self.retries.keys().copied());
            let detail = format!("`use.retries` has no `{name:.64}`{near}");
            node.fault(&mut self.faults, detail);
            return None;
        };
        self.used.insert(("retries", name));
        Retry::compile(self, locals, &declared)
    }

    pub(super) fn raise(&mut self, locals: &[String], node: &Node<'a>) -> Option<Raised> {
        let members = node.object(&mut self.faults, &["error"], &["error"])?;
        let error = members.get("error")?;
        let Some(name) = error.value.as_str() else {
            return self.error(locals, &error);
        };
        let Some(declared) = self.errors.get(name).cloned() else {
            let near = did_you_mean(name, self.errors.keys().copied());
            let detail = format!("`use.errors` has no `{name:.64}`{near}");
            error.fault(&mut self.faults, detail);
            return None;
        };
        self.error(locals, &declared)
    }

    pub(super) fn error(&mut self, locals: &[String], node: &Node<'a>) -> Option<Raised> {
        const ALLOWED: [&str; 5] = ["type", "status", "title", "detail", "instance"];
        let members = node.object(&mut self.faults, &ALLOWED, &["type", "status"])?;
        let kind = members.get("type")?;
        let is_expression = |text: &str| crate::expression::expression_in(text).is_some();
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

    pub(super) fn then(&mut self, names: &[&str], node: Option<Node<'a>>) -> Then {
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
                    let known = names.iter().copied().chain(["continue", "exit", "end"]);
                    let near = did_you_mean(name, known);
                    let detail = format!("no task in this list is named `{name:.64}`{near}");
                    node.fault(&mut self.faults, detail);
                    Then::Continue
                }
            },
        }
    }
}

/// `scheme://…` (RFC 3986), as the DSL requires for the type of an error.
fn is_uri(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        let mut bytes = scheme.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
            && bytes.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}
