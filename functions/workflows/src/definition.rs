//! The definition in a request: `{"definition": {…}}` as JSON, or the document itself as YAML.

use aias_domain::{
    plan::Computing,
    workflow::{MAX_DEFINITION_BYTES, Version},
};
use aias_engine::{
    self as engine, Compiled,
    definition::{self, Format, Position, digest},
};
use aias_platform::http::{Context, Fault, Head, Problem, Result, parse};
use aias_sandbox::{ChildFailure, Sandbox};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::App;

/// A definition that compiles.
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) namespace: String,
    version: String,
    pub(crate) text: String,
    digest: String,
    /// What is probably a mistake.
    pub(crate) warnings: Vec<Fault>,
    /// The references of the tasks that request effects, if they are not too long.
    pub(crate) calls: Option<Vec<String>>,
}

/// A definition.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DefinitionInput {
    /// A document of the CNCF Serverless Workflow DSL 1.0, of at most 256 KiB.
    #[schema(value_type = Object, example = json!({
        "document": {"dsl": "1.0.3", "namespace": "shop", "name": "order", "version": "1.0.0"},
        "do": [{"report": {"set": {"total": "${ [.body.line_items[].price] | add }"}}}],
    }))]
    definition: Value,
}

/// The size of the request body without the definition, in bytes.
const ENVELOPE_BYTES: usize = 1024;

/// The example of a definition in YAML.
pub(crate) const EXAMPLE_YAML: &str =
    "document: {dsl: '1.0.3', namespace: shop, name: order, version: '1.0.0'}
do:
  - report: {set: {total: '${ [.body.line_items[].price] | add }'}}
";

/// Parses and compiles the definition in a request body.
pub(crate) async fn read<Q>(ctx: &Context<App, Q>, body: &[u8]) -> Result<Definition> {
    let (value, prefix) = value(&ctx.head, body)?;
    compile(ctx, value, body, prefix).await
}

/// The definition, and its pointer in the body.
fn value(head: &Head, body: &[u8]) -> Result<(Value, &'static str)> {
    let content_type = head.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let check_length = |max| {
        if body.len() > max {
            return Err(Problem::too_large(max));
        }
        Ok(())
    };
    match media_type.to_ascii_lowercase().as_str() {
        "application/yaml" | "application/x-yaml" | "text/yaml" => {
            check_length(MAX_DEFINITION_BYTES)?;
            let value = definition::read(body, Format::Yaml).map_err(|error| {
                let fault = Fault::new(error.fault.pointer, error.fault.detail);
                Problem::invalid(vec![at(fault, error.position)])
            })?;
            Ok((value, ""))
        }
        "application/json" => {
            check_length(MAX_DEFINITION_BYTES + ENVELOPE_BYTES)?;
            let input: DefinitionInput = parse(head, body)?;
            Ok((input.definition, PREFIX))
        }
        _ => Err(Problem::unsupported_media_type(
            "a definition must be application/json or application/yaml",
        )),
    }
}

/// The pointer of a definition in a JSON body.
pub(crate) const PREFIX: &str = "/definition";

fn at(fault: Fault, position: Option<Position>) -> Fault {
    Fault {
        line: position.map(|position| position.line),
        column: position.map(|position| position.column),
        ..fault
    }
}

/// Compiles the definition at `prefix` in a request body.
pub(crate) async fn compile<Q>(
    ctx: &Context<App, Q>,
    value: Value,
    body: &[u8],
    prefix: &str,
) -> Result<Definition> {
    let text = serde_json::to_string(&value).map_err(Problem::internal)?;
    if text.len() > MAX_DEFINITION_BYTES {
        return Err(Problem::too_large(MAX_DEFINITION_BYTES));
    }
    let compiled = check(&ctx.app.sandbox, &text, ctx.caller.limits.computing).await?;
    let Compiled {
        faults,
        warnings,
        calls,
    } = compiled;
    let located = |faults: Vec<engine::Fault>| -> Vec<Fault> {
        if faults.is_empty() {
            return Vec::new();
        }
        // Positions cost many times the memory of the text, which in a dry run has an input, too.
        let is_small = body.len() <= MAX_DEFINITION_BYTES + ENVELOPE_BYTES;
        let positions = is_small.then(|| definition::positions(body)).flatten();
        let faults = faults.into_iter().map(|fault| {
            let pointer = format!("{prefix}{}", fault.pointer);
            let position = positions.as_ref().map(|all| all.of(&pointer));
            at(Fault::new(pointer, fault.detail), position)
        });
        faults.collect()
    };
    if !faults.is_empty() {
        return Err(Problem::invalid_workflow(located(faults)));
    }
    let named = |member: &str| {
        let named = value["document"][member].as_str();
        named.unwrap_or_default().to_owned()
    };
    Ok(Definition {
        name: named("name"),
        namespace: named("namespace"),
        version: named("version"),
        digest: digest(&value),
        text,
        warnings: located(warnings),
        calls,
    })
}

/// Checks a definition in the sandbox.
pub(crate) async fn check(sandbox: &Sandbox, text: &str, computing: Computing) -> Result<Compiled> {
    match sandbox.compile(text, computing).await {
        Err(
            lost @ (ChildFailure::CpuLimit | ChildFailure::MemoryLimit | ChildFailure::DepthLimit),
        ) => Ok(Compiled {
            faults: vec![engine::Fault {
                pointer: String::new(),
                detail: format!("the definition does not compile within the limits: {lost}"),
            }],
            ..Compiled::default()
        }),
        compiled => compiled.map_err(Problem::internal),
    }
}

impl Definition {
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    pub(crate) fn version(&self, number: u32, now: Timestamp) -> Version {
        Version {
            number,
            digest: self.digest.clone(),
            document_version: self.version.clone(),
            definition: self.text.clone(),
            created_at: now,
        }
    }
}
