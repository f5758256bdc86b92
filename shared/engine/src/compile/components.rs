//! `use`: named components of a definition.

use aias_domain::secret::SecretName;

use super::Compiler;
use crate::{
    compile::policy::Retry,
    duration::Duration,
    program::{Extension, List},
    reader::Node,
    suggest::did_you_mean,
};

/// The values of an extension's `extend`, and the tasks that each matches.
const EXTENDED: [(&str, &[&str]); 12] = [
    ("call", &["call"]),
    ("composite", &["do", "fork"]),
    ("emit", &["emit"]),
    ("for", &["for"]),
    ("listen", &["listen"]),
    ("raise", &["raise"]),
    ("run", &["run"]),
    ("set", &["set"]),
    ("switch", &["switch"]),
    ("try", &["try"]),
    ("wait", &["wait"]),
    ("all", &[]),
];

/// How many secrets a definition may name.
const MAX_SECRETS: usize = 50;

impl<'a> Compiler<'a> {
    pub(super) fn components(&mut self, components: &Node<'a>) {
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
        if let Some(catalogs) = members.get("catalogs") {
            let detail = "not supported: write the function in the definition itself";
            catalogs.fault(&mut self.faults, detail);
        }
        for (name, place) in [
            ("errors", &mut self.errors),
            ("retries", &mut self.retries),
            ("authentications", &mut self.authentications),
            ("functions", &mut self.functions),
            ("timeouts", &mut self.timeouts),
        ] {
            if let Some(declared) = members
                .get(name)
                .and_then(|node| node.any_object(&mut self.faults))
            {
                *place = declared.iter().collect();
            }
        }
        if let Some(secrets) = members.get("secrets") {
            for secret in secrets.array(&mut self.faults).unwrap_or_default() {
                let Some(name) = secret.text(&mut self.faults) else {
                    continue;
                };
                if let Err(error) = name.parse::<SecretName>() {
                    secret.fault(&mut self.faults, error.to_string());
                }
                self.secrets.insert(name);
                if self.secrets.len() > MAX_SECRETS {
                    let detail = format!("more than {MAX_SECRETS} secrets");
                    secret.fault(&mut self.faults, detail);
                    break;
                }
            }
        }
        self.expressions.secrets = self.secrets.iter().map(|name| (*name).to_owned()).collect();
        if let Some(extensions) = members.get("extensions") {
            for item in extensions.array(&mut self.faults).unwrap_or_default() {
                if let Some((_, extension)) = item.named(&mut self.faults) {
                    self.extensions.push(extension);
                }
            }
        }
        for node in self.errors.values().cloned().collect::<Vec<_>>() {
            self.error(&[], &node);
        }
        for node in self.authentications.values().cloned().collect::<Vec<_>>() {
            self.policy(&[], &node);
        }
        for node in self.timeouts.values().cloned().collect::<Vec<_>>() {
            self.own_timeout(&[], &node);
        }
        // Extensions are compiled at each task they extend. They are also checked once on their
        // own, in case they extend none.
        for node in self.extensions.clone() {
            self.extension(&[], &node);
        }
    }

    /// Policies and functions are compiled where they are used, with the variables in scope there.
    /// Those that are not used are checked here.
    pub(super) fn unused(&mut self) {
        for (name, node) in self.retries.clone() {
            if !self.used.contains(&("retries", name)) {
                Retry::compile(self, &["error".to_owned()], &node);
            }
        }
        for (name, node) in self.functions.clone() {
            if !self.used.contains(&("functions", name)) {
                self.calling.push(name);
                self.task(&[], &[], name, &node);
                self.calling.pop();
            }
        }
    }

    /// `timeout` of a task or of the workflow: inline, or the name of one.
    pub(super) fn timeout(
        &mut self,
        locals: &[String],
        node: Option<Node<'a>>,
    ) -> Option<Duration> {
        let node = node?;
        let Some(name) = node.value.as_str() else {
            return self.own_timeout(locals, &node);
        };
        let Some(declared) = self.timeouts.get(name).cloned() else {
            let near = did_you_mean(name, self.timeouts.keys().copied());
            let detail = format!("`use.timeouts` has no `{name:.64}`{near}");
            node.fault(&mut self.faults, detail);
            return None;
        };
        self.own_timeout(locals, &declared)
    }

    fn own_timeout(&mut self, locals: &[String], node: &Node<'a>) -> Option<Duration> {
        let members = node.object(&mut self.faults, &["after"], &["after"])?;
        self.duration(locals, members.get("after"))
    }

    /// The extensions of a task of one type, compiled with the variables in scope there.
    pub(super) fn extensions_of(&mut self, locals: &[String], kind: &str) -> Vec<Extension> {
        if self.extending {
            return Vec::new();
        }
        let mut found = Vec::new();
        for node in self.extensions.clone() {
            let target = node.value.get("extend").and_then(serde_json::Value::as_str);
            let extends = EXTENDED.iter().any(|(name, kinds)| {
                target == Some(name) && (*name == "all" || kinds.contains(&kind))
            });
            if extends {
                // References of the extension's tasks are their own pointers, also in a function.
                let called_from = self.called_from.take();
                found.extend(self.extension(locals, &node));
                self.called_from = called_from;
            }
        }
        found
    }

    fn extension(&mut self, locals: &[String], node: &Node<'a>) -> Option<Extension> {
        let allowed = ["extend", "when", "before", "after"];
        let members = node.object(&mut self.faults, &allowed, &["extend"])?;
        let target = members.get("extend")?;
        if let Some(text) = target.text(&mut self.faults)
            && !EXTENDED.iter().any(|(name, _)| *name == text)
        {
            let known = EXTENDED.map(|(name, _)| name);
            let near = did_you_mean(text, known);
            let detail = format!("must be one of: {}{near}", known.join(", "));
            target.fault(&mut self.faults, detail);
        }
        let outer = std::mem::replace(&mut self.extending, true);
        let mut list = |name: &str| -> List {
            let tasks = members.get(name);
            tasks
                .map(|tasks| self.list(locals, &tasks))
                .unwrap_or_default()
        };
        let (before, after) = (list("before"), list("after"));
        let extension = Extension {
            condition: self.condition(locals, members.get("when")),
            before,
            after,
        };
        self.extending = outer;
        Some(extension)
    }
}
