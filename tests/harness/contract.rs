//! Checks a response against `docs/openapi.json`: status, media type, problem code and every
//! member.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// A response to check.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    pub method: &'a str,
    /// Without its query.
    pub path: &'a str,
    pub status: u16,
    /// `Content-Type`, or an empty string.
    pub content_type: &'a str,
    pub body: &'a [u8],
}

/// The checked-in document.
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(diagnostics::OPENAPI).unwrap());

/// The schemas of the document in two forms: `strict` ones refuse unknown members, `open` ones are
/// for use in an `allOf`.
static SCHEMAS: LazyLock<Value> = LazyLock::new(|| {
    let schemas = DOCUMENT["components"]["schemas"].as_object().unwrap();
    let copy = |within| -> Map<String, Value> {
        let copied = |(name, schema): (&String, &Value)| (name.clone(), strict(schema, within));
        schemas.iter().map(copied).collect()
    };
    json!({"strict": copy(false), "open": copy(true)})
});

type Validators = Mutex<HashMap<String, Arc<Validator>>>;

static VALIDATORS: LazyLock<Validators> = LazyLock::new(Validators::default);

/// A schema that refuses unknown members, unless it is within an `allOf`.
fn strict(schema: &Value, within: bool) -> Value {
    let Value::Object(members) = schema else {
        return schema.clone();
    };
    let mut made = Map::new();
    for (name, member) in members {
        let member = match (name.as_str(), member) {
            ("$ref", Value::String(target)) => {
                let kind = if within { "open" } else { "strict" };
                target
                    .replace("#/components/schemas/", &format!("#/{kind}/"))
                    .into()
            }
            ("allOf", Value::Array(all)) => all.iter().map(|one| strict(one, true)).collect(),
            ("oneOf" | "anyOf", Value::Array(all)) => {
                all.iter().map(|one| strict(one, within)).collect()
            }
            ("properties", Value::Object(all)) => {
                let made = all
                    .iter()
                    .map(|(name, one)| (name.clone(), strict(one, false)));
                Value::Object(made.collect())
            }
            ("items" | "additionalProperties", one) => strict(one, false),
            (_, other) => other.clone(),
        };
        made.insert(name.clone(), member);
    }
    let names_members = members.contains_key("properties") || members.contains_key("allOf");
    if names_members && !within && !members.contains_key("additionalProperties") {
        made.insert("unevaluatedProperties".to_owned(), false.into());
    }
    Value::Object(made)
}

/// The operations of a path, and the path as in the document. Literal paths take precedence over
/// those with parameters.
fn find(path: &str) -> Option<(&'static str, &'static Value)> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let own: Vec<&str> = template.split('/').collect();
        own.len() == parts.len()
            && own
                .iter()
                .zip(&parts)
                .all(|(own, part)| own == part || (own.starts_with('{') && !part.is_empty()))
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths
        .iter()
        .filter(|(template, _)| fits(template))
        .min_by_key(|(template, _)| template.matches('{').count())
        .map(|(template, operations)| (template.as_str(), operations))
}

/// Fails if the document does not describe this response.
pub fn check(exchange: &Exchange<'_>) {
    let Exchange {
        method,
        path,
        status,
        content_type,
        body,
    } = *exchange;
    let place = format!(
        "{method} {path} -> {status} {}",
        String::from_utf8_lossy(body)
    );
    if path.starts_with("/dashboard") {
        // Pages are not operations of the API.
        return;
    }
    let Some((template, operations)) = find(path) else {
        assert!([400, 404].contains(&status), "no such path: {place}");
        return;
    };
    if method == "OPTIONS" {
        // API Gateway itself responds to a preflight request.
        return;
    }
    let lower = if method == "HEAD" {
        "get"
    } else {
        &method.to_lowercase()
    };
    let Some(operation) = operations.get(lower) else {
        assert!([400, 405, 204].contains(&status), "no such method: {place}");
        return;
    };
    let response = &operation["responses"][status.to_string()];
    let response = match response["$ref"].as_str() {
        Some(name) => DOCUMENT.pointer(&name[1..]).unwrap(),
        None => response,
    };
    assert!(response.is_object(), "an undocumented status: {place}");
    let Some(content) = response.get("content") else {
        assert!(body.is_empty(), "an undocumented body: {place}");
        return;
    };
    // Some senders of webhooks want responses without a body.
    let may_be_empty = method == "HEAD" || template.starts_with("/api/webhooks/");
    if may_be_empty && body.is_empty() {
        return;
    }
    let media_type = content_type.split(';').next().unwrap_or_default();
    let media = &content[media_type];
    assert!(
        media.is_object(),
        "an undocumented type {content_type:?}: {place}"
    );
    let schema = &media["schema"];
    let value = if media_type.ends_with("json") {
        serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {place}"))
    } else {
        Value::String(String::from_utf8_lossy(body).into_owned())
    };
    let name = format!("{method} {template} {status} {media_type}");
    let validator = {
        let mut all = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            all.entry(name)
                .or_insert_with(|| Arc::new(validator(schema))),
        )
    };
    if media_type == "application/problem+json" {
        let codes = response["x-problems"].as_array().unwrap();
        assert!(
            codes.contains(&value["code"]),
            "an undocumented code: {place}"
        );
        assert_eq!(value["status"], status, "{place}");
    }
    let faults: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{}\n{place}", faults.join("\n"));
}

fn validator(schema: &Value) -> Validator {
    let mut whole = SCHEMAS.clone();
    whole["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    whole["response"] = strict(schema, false);
    whole["$ref"] = "#/response".into();
    jsonschema::options()
        .should_validate_formats(true)
        .build(&whole)
        .unwrap()
}
