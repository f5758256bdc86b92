//! A definition in a request: `{"definition": {…}}` as JSON, or the document itself as YAML.

use aias_domain::{
    plan::Computing,
    workflow::{MAX_DEFINITION_BYTES, Version},
};
use aias_engine::{
    self as engine,
    definition::{self, Format, digest},
};
use aias_platform::http::{Fault, Problem, Request, parse_body_of};
use aias_sandbox::{Lost, Sandbox};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// A definition that can run.
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) namespace: String,
    version: String,
    text: String,
    digest: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    definition: Value,
}

/// What the member around a definition takes.
const ENVELOPE_BYTES: usize = 1024;

/// Reads the request's definition and compiles it.
pub(crate) async fn read(
    sandbox: &Sandbox,
    computing: Computing,
    request: &Request,
) -> Result<Definition, Problem> {
    let content_type = request.header("content-type").unwrap_or_default();
    let media_type = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let (value, prefix) = match media_type.as_str() {
        "application/yaml" | "application/x-yaml" | "text/yaml" => (yaml(request)?, ""),
        "application/json" => (json(request)?, "/definition"),
        _ => {
            let detail = "a definition is application/json or application/yaml";
            return Err(Problem::unsupported_media_type(detail));
        }
    };
    let text = serde_json::to_string(&value).map_err(Problem::internal)?;
    if text.len() > MAX_DEFINITION_BYTES {
        return Err(Problem::too_large(MAX_DEFINITION_BYTES));
    }
    let compiled = match sandbox.compile(&text, computing).await {
        Err(lost @ (Lost::Computing | Lost::Memory | Lost::Depth)) => Err(vec![engine::Fault {
            pointer: String::new(),
            detail: format!("it does not compile within its limits: {lost}"),
        }]),
        compiled => compiled.map_err(Problem::internal)?,
    };
    compiled.map_err(|faults| {
        let told = faults.into_iter().map(|fault| Fault {
            pointer: format!("{prefix}{}", fault.pointer),
            detail: fault.detail,
        });
        Problem::invalid_workflow(told.collect())
    })?;
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
    })
}

fn yaml(request: &Request) -> Result<Value, Problem> {
    if request.body.len() > MAX_DEFINITION_BYTES {
        return Err(Problem::too_large(MAX_DEFINITION_BYTES));
    }
    definition::read(&request.body, Format::Yaml)
        .map_err(|fault| Problem::invalid_member(&fault.pointer, fault.detail))
}

fn json(request: &Request) -> Result<Value, Problem> {
    let body: Body = parse_body_of(request, MAX_DEFINITION_BYTES + ENVELOPE_BYTES)?;
    Ok(body.definition)
}

impl Definition {
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
