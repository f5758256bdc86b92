//! Walks a document. Every fault is collected with its pointer, and none ends the walk.

use aias_domain::json::push_token;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::suggest::did_you_mean;

/// A fault of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// An RFC 6901 pointer into the definition.
    pub pointer: String,
    pub detail: String,
}

/// How many faults are collected.
const MAX_FAULTS: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct Faults {
    faults: Vec<Fault>,
    /// What is probably a mistake, but does not prevent a run.
    warnings: Vec<Fault>,
}

impl Faults {
    pub(crate) fn add(&mut self, pointer: &str, detail: impl Into<String>) {
        push(&mut self.faults, pointer, detail.into());
    }

    pub(crate) fn warn(&mut self, pointer: &str, detail: impl Into<String>) {
        push(&mut self.warnings, pointer, detail.into());
    }

    /// The value and the warnings, or the faults.
    pub(crate) fn into_result<T>(self, value: T) -> Result<(T, Vec<Fault>), Vec<Fault>> {
        if self.faults.is_empty() {
            Ok((value, self.warnings))
        } else {
            Err(self.faults)
        }
    }
}

fn push(faults: &mut Vec<Fault>, pointer: &str, detail: String) {
    let pointer = pointer.to_owned();
    let fault = Fault { pointer, detail };
    // A component that is used twice is read twice.
    if faults.len() < MAX_FAULTS && !faults.contains(&fault) {
        faults.push(fault);
    }
}

/// Members of the DSL that are refused with a reason of their own, and so are not suggested.
pub(crate) const NOT_SUPPORTED: [&str; 8] = [
    "catalogs",
    "container",
    "foreach",
    "listen",
    "resource",
    "schedule",
    "script",
    "shell",
];

/// A value and its pointer.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    pub(crate) value: &'a Value,
    pub(crate) pointer: String,
}

impl<'a> Node<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self {
            value,
            pointer: String::new(),
        }
    }

    fn child(&self, token: &str, value: &'a Value) -> Self {
        let mut pointer = self.pointer.clone();
        push_token(&mut pointer, token);
        Self { value, pointer }
    }

    pub(crate) fn fault(&self, faults: &mut Faults, detail: impl Into<String>) {
        faults.add(&self.pointer, detail);
    }

    /// The members of an object, which may have `allowed` and must have `required` members.
    pub(crate) fn object(
        &self,
        faults: &mut Faults,
        allowed: &[&str],
        required: &[&str],
    ) -> Option<Members<'a>> {
        let members = self.any_object(faults)?;
        for (name, value) in members.map {
            if !allowed.contains(&name.as_str()) {
                let supported = allowed.iter().copied();
                let supported: Vec<_> = supported
                    .filter(|name| !NOT_SUPPORTED.contains(name))
                    .collect();
                let detail = format!(
                    "unknown member `{name:.64}`; the members are: {}{}",
                    supported.join(", "),
                    did_you_mean(name, supported.iter().copied())
                );
                self.child(name, value).fault(faults, detail);
            }
        }
        for name in required {
            if !members.map.contains_key(*name) {
                self.fault(faults, format!("`{name}` is missing"));
            }
        }
        Some(members)
    }

    /// The members of an object with any names.
    pub(crate) fn any_object(&self, faults: &mut Faults) -> Option<Members<'a>> {
        if let Value::Object(map) = self.value {
            return Some(Members {
                node: self.clone(),
                map,
            });
        }
        self.fault(faults, "must be an object");
        None
    }

    pub(crate) fn array(&self, faults: &mut Faults) -> Option<Vec<Self>> {
        if let Value::Array(items) = self.value {
            let child = |(index, item): (usize, &'a Value)| self.child(&index.to_string(), item);
            return Some(items.iter().enumerate().map(child).collect());
        }
        self.fault(faults, "must be an array");
        None
    }

    pub(crate) fn text(&self, faults: &mut Faults) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.fault(faults, "must be a string");
        }
        text
    }

    /// The only member of an item such as `- name: {…}`.
    pub(crate) fn named(&self, faults: &mut Faults) -> Option<(&'a str, Self)> {
        let members = self.any_object(faults)?;
        let mut all = members.map.iter();
        if let (Some((name, value)), None) = (all.next(), all.next()) {
            return Some((name.as_str(), self.child(name, value)));
        }
        self.fault(
            faults,
            "must have exactly one member, whose name is the name of the task",
        );
        None
    }
}

#[derive(Debug)]
pub(crate) struct Members<'a> {
    node: Node<'a>,
    map: &'a Map<String, Value>,
}

impl<'a> Members<'a> {
    pub(crate) fn get(&self, name: &str) -> Option<Node<'a>> {
        self.map.get(name).map(|value| self.node.child(name, value))
    }

    /// Adds a fault of the whole object.
    pub(crate) fn fault(&self, faults: &mut Faults, detail: impl Into<String>) {
        self.node.fault(faults, detail);
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        self.map
            .iter()
            .map(|(name, value)| (name.as_str(), self.node.child(name, value)))
    }
}
