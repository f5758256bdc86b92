//! `call` and `run` tasks.

use serde_json::Value;

use super::{Compiler, MAX_CALLED_BYTES, MAX_NESTING};
use crate::{
    endpoint::{self, Endpoint, Uri},
    expression::expression_in,
    program::{Format, Function, HttpCall, Kind, OpenApiCall, RunWorkflow},
    reader::{Members, Node},
    suggest::did_you_mean,
    template::Template,
};

/// Calls that are not supported, and why.
const REFUSED_CALLS: [(&str, &str); 4] = [
    ("grpc", "not supported: use HTTP or OpenAPI instead of gRPC"),
    (
        "asyncapi",
        "not supported: use HTTP or OpenAPI instead of AsyncAPI",
    ),
    ("a2a", "not supported: use HTTP or OpenAPI instead of A2A"),
    ("mcp", "not supported: use HTTP or OpenAPI instead of MCP"),
];

/// Processes that are not supported.
const REFUSED_RUNS: [&str; 3] = ["container", "script", "shell"];

impl<'a> Compiler<'a> {
    pub(super) fn call(
        &mut self,
        locals: &[String],
        node: &Node<'a>,
        members: &Members<'a>,
    ) -> Option<Kind> {
        let name = node.text(&mut self.faults)?;
        if let Some((_, why)) = REFUSED_CALLS.iter().find(|(call, _)| *call == name) {
            node.fault(&mut self.faults, *why);
            return None;
        }
        let with = members.get("with");
        match name {
            "http" | "openapi" => {
                let Some(with) = with else {
                    node.fault(&mut self.faults, "`with` is missing");
                    return None;
                };
                if name == "http" {
                    return Some(Kind::Http(Box::new(self.http(locals, &with)?)));
                }
                Some(Kind::OpenApi(Box::new(self.openapi(locals, &with)?)))
            }
            _ => self.function(locals, node, name, with),
        }
    }

    fn http(&mut self, locals: &[String], with: &Node<'a>) -> Option<HttpCall> {
        const ALLOWED: [&str; 7] = [
            "method", "endpoint", "headers", "body", "query", "output", "redirect",
        ];
        let members = with.object(&mut self.faults, &ALLOWED, &["method", "endpoint"])?;
        let method = members.get("method");
        if let Some(method) = &method
            && let Some(text) = method.text(&mut self.faults)
            && expression_in(text).is_none()
            && !is_token(text)
        {
            method.fault(&mut self.faults, "must be an HTTP method, such as GET");
        }
        let endpoint = members.get("endpoint");
        let endpoint = endpoint.and_then(|endpoint| self.endpoint(locals, &endpoint));
        let headers = self.pairs(locals, members.get("headers"));
        let query = self.pairs(locals, members.get("query"));
        let body = members.get("body");
        Some(HttpCall {
            method: self.template(locals, &method?),
            headers,
            query,
            body: body.map(|body| self.template(locals, &body)),
            format: self.format(members.get("output")),
            redirect: self.flag(members.get("redirect"), false),
            endpoint: endpoint?,
        })
    }

    fn openapi(&mut self, locals: &[String], with: &Node<'a>) -> Option<OpenApiCall> {
        const ALLOWED: [&str; 6] = [
            "document",
            "operationId",
            "parameters",
            "authentication",
            "output",
            "redirect",
        ];
        let members = with.object(&mut self.faults, &ALLOWED, &["document", "operationId"])?;
        let document = members.get("document")?;
        let document = document.object(&mut self.faults, &["name", "endpoint"], &["endpoint"]);
        let resource = document.and_then(|document| {
            document.get("name").and_then(|n| n.text(&mut self.faults));
            document.get("endpoint")
        });
        let document = resource.and_then(|resource| self.endpoint(locals, &resource));
        let operation = members
            .get("operationId")
            .and_then(|n| n.text(&mut self.faults));
        let parameters = members.get("parameters");
        if let Some(parameters) = &parameters {
            parameters.any_object(&mut self.faults);
        }
        let authentication = members.get("authentication");
        Some(OpenApiCall {
            authentication: authentication
                .and_then(|policy| self.referenced_policy(locals, &policy)),
            parameters: parameters.map_or_else(
                || Template::constant(&Value::Object(serde_json::Map::new())),
                |parameters| self.template(locals, &parameters),
            ),
            format: self.format(members.get("output")),
            redirect: self.flag(members.get("redirect"), false),
            document: document?,
            operation: operation?.to_owned(),
        })
    }

    /// A function of `use.functions`: its task, compiled as if it were written at the call.
    fn function(
        &mut self,
        locals: &[String],
        node: &Node<'a>,
        name: &'a str,
        with: Option<Node<'a>>,
    ) -> Option<Kind> {
        let arguments = with.map(|with| {
            with.any_object(&mut self.faults);
            self.template(locals, &with)
        });
        let Some((name, declared)) = self
            .functions
            .get_key_value(name)
            .map(|(n, d)| (*n, d.clone()))
        else {
            let detail = if name.contains("://") || name.contains('@') {
                "not supported: only functions of `use.functions` can be called, not those of a catalog"
                    .to_owned()
            } else {
                let known = self.functions.keys().copied().chain(["http", "openapi"]);
                let near = did_you_mean(name, known);
                format!(
                    "`{name:.64}` is neither `http` nor `openapi`, nor a function of `use.functions`{near}"
                )
            };
            node.fault(&mut self.faults, detail);
            return None;
        };
        if self.calling.contains(&name) {
            node.fault(&mut self.faults, "the function calls itself");
            return None;
        }
        if self.calling.len() == MAX_NESTING {
            let detail = format!("functions call each other more than {MAX_NESTING} levels deep");
            node.fault(&mut self.faults, detail);
            return None;
        }
        self.called_bytes += declared.value.to_string().len();
        if self.called_bytes > MAX_CALLED_BYTES {
            let detail =
                format!("the called functions have more than {MAX_CALLED_BYTES} bytes in total");
            node.fault(&mut self.faults, detail);
            return None;
        }
        self.used.insert(("functions", name));
        // Errors of the function's task point to the call.
        let caller = Node {
            value: node.value,
            pointer: node
                .pointer
                .strip_suffix("/call")
                .unwrap_or_default()
                .to_owned(),
        };
        let caller = self.reference(&caller);
        let outer = self.called_from.replace((declared.pointer.len(), caller));
        self.calling.push(name);
        let task = self.task(&[], &[], name, &declared);
        self.calling.pop();
        self.called_from = outer;
        Some(Kind::Function(Box::new(Function {
            arguments,
            task: task?,
        })))
    }

    pub(super) fn run(&mut self, locals: &[String], node: &Node<'a>) -> Option<Kind> {
        const RETURNS: [&str; 5] = ["stdout", "stderr", "code", "all", "none"];
        let allowed = [
            "workflow",
            "container",
            "script",
            "shell",
            "await",
            "return",
        ];
        let members = node.object(&mut self.faults, &allowed, &[])?;
        for name in REFUSED_RUNS {
            if let Some(process) = members.get(name) {
                let detail = "not supported: `run` can only run workflows";
                process.fault(&mut self.faults, detail);
                return None;
            }
        }
        if let Some(returned) = members.get("return") {
            let text = returned.text(&mut self.faults);
            if text.is_some_and(|text| !RETURNS.contains(&text)) {
                let detail = format!("must be one of: {}", RETURNS.join(", "));
                returned.fault(&mut self.faults, detail);
            }
        }
        let Some(workflow) = members.get("workflow") else {
            node.fault(&mut self.faults, "`workflow` is missing");
            return None;
        };
        let allowed = ["namespace", "name", "version", "input"];
        let required = ["namespace", "name", "version"];
        let own = workflow.object(&mut self.faults, &allowed, &required)?;
        let mut text = |name: &str| own.get(name).and_then(|n| n.text(&mut self.faults));
        let (namespace, name, version) = (text("namespace"), text("name"), text("version"));
        let input = own.get("input").map(|input| {
            input.any_object(&mut self.faults);
            self.template(locals, &input)
        });
        Some(Kind::Workflow(Box::new(RunWorkflow {
            wait: self.flag(members.get("await"), true),
            namespace: namespace?.to_owned(),
            name: name?.to_owned(),
            version: version?.to_owned(),
            input,
        })))
    }

    fn endpoint(&mut self, locals: &[String], node: &Node<'a>) -> Option<Endpoint> {
        if node.value.is_string() {
            let uri = self.uri(locals, node)?;
            return Some(Endpoint {
                uri,
                authentication: None,
            });
        }
        let members = node.object(&mut self.faults, &["uri", "authentication"], &["uri"])?;
        let authentication = members
            .get("authentication")
            .and_then(|policy| self.referenced_policy(locals, &policy));
        let uri = members.get("uri")?;
        Some(Endpoint {
            uri: self.uri(locals, &uri)?,
            authentication,
        })
    }

    fn uri(&mut self, locals: &[String], node: &Node<'a>) -> Option<Uri> {
        let text = node.text(&mut self.faults)?;
        if expression_in(text).is_some() {
            return self
                .condition(locals, Some(node.clone()))
                .map(Uri::Expression);
        }
        if let Err(why) = endpoint::check(text) {
            node.fault(&mut self.faults, why);
        }
        Some(Uri::Template(text.to_owned()))
    }

    /// Headers or query parameters: an object of strings, or an expression that evaluates to one.
    fn pairs(&mut self, locals: &[String], node: Option<Node<'a>>) -> Option<Template> {
        let node = node?;
        match node.value {
            Value::String(text) if expression_in(text).is_some() => {}
            Value::Object(_) => {
                for (_, member) in node.any_object(&mut self.faults)?.iter() {
                    member.text(&mut self.faults);
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                let detail = "must be an object of strings or an expression in ${ }";
                node.fault(&mut self.faults, detail);
            }
        }
        Some(self.template(locals, &node))
    }

    fn format(&mut self, node: Option<Node<'a>>) -> Format {
        let Some(node) = node else {
            return Format::default();
        };
        match node.text(&mut self.faults) {
            Some("raw") => Format::Raw,
            Some("content") | None => Format::Content,
            Some("response") => Format::Response,
            Some(_) => {
                node.fault(&mut self.faults, "must be one of: raw, content, response");
                Format::default()
            }
        }
    }
}

/// RFC 9110, section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    let of_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=256).contains(&text.len()) && text.bytes().all(of_token)
}
