//! `call: openapi`: builds a request from a document and an operation id. OpenAPI 3.x and Swagger
//! 2.0.

use serde_json::{Map, Value};
use url::Url;

use crate::{endpoint, endpoint::text, http};

/// How many references are resolve one after the other.
const MAX_REFERENCES: usize = 16;

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// The request of an operation. A parameter called `body` is the body, if the operation has a body
/// and no parameter with that name.
///
/// # Errors
///
/// What the document or the parameters lack.
pub(crate) fn request(
    document: &Value,
    document_uri: &Url,
    operation: &str,
    given: &Value,
) -> Result<http::Parts, String> {
    let empty = Map::new();
    let given = given.as_object().unwrap_or(&empty);
    let (path, method, item) = find(document, operation)?;
    let own = item.get(method).unwrap_or(&Value::Null);
    let mut parts = RequestBuilder {
        path: path.to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        cookies: Vec::new(),
        form: Map::new(),
        body: None,
    };
    let mut used: Vec<&str> = Vec::new();
    for parameter in parameters(document, item, own)? {
        let name = parameter.get("name").and_then(Value::as_str);
        let place = parameter.get("in").and_then(Value::as_str);
        let (Some(name), Some(place)) = (name, place) else {
            return Err("the document has a parameter without `name` or `in`".to_owned());
        };
        used.push(name);
        let required = parameter.get("required").and_then(Value::as_bool);
        match given.get(name) {
            Some(value) if !value.is_null() => parts.take(parameter, name, place, value)?,
            _ if required == Some(true) => {
                return Err(format!("the parameter `{name}` is missing"));
            }
            _ => {}
        }
    }
    if own.get("requestBody").is_some() && !used.contains(&"body") {
        parts.body = given.get("body").cloned();
        used.push("body");
    }
    if let Some(unknown) = given.keys().find(|name| !used.contains(&name.as_str())) {
        return Err(format!("the operation has no parameter `{unknown}`"));
    }
    if parts.path.contains('{') {
        return Err("a path parameter is missing".to_owned());
    }
    let base = base(document, item, own, document_uri)?;
    let mut url = endpoint::parse(&format!("{}{}", base.trim_end_matches('/'), parts.path))?;
    http::add_query(&mut url, &parts.query);
    if !parts.cookies.is_empty() {
        let cookies = parts.cookies.join("; ");
        parts.headers.push(("cookie".to_owned(), cookies));
    }
    if !parts.form.is_empty() {
        let form = "application/x-www-form-urlencoded".to_owned();
        parts.headers.push(("content-type".to_owned(), form));
        parts.body = Some(Value::Object(parts.form));
    }
    Ok(http::Parts {
        method: method.to_owned(),
        url,
        headers: parts.headers,
        body: parts.body,
        redirect: false,
    })
}

struct RequestBuilder {
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    cookies: Vec<String>,
    form: Map<String, Value>,
    body: Option<Value>,
}

impl RequestBuilder {
    fn take(&mut self, own: &Value, name: &str, place: &str, value: &Value) -> Result<(), String> {
        match place {
            "path" => {
                let template = format!("{{{name}}}");
                let filled = joined(value, ",");
                if matches!(filled.as_str(), "." | "..") {
                    return Err(format!("`{name}` cannot be `{filled}`"));
                }
                let filled: String = form_urlencoded::byte_serialize(filled.as_bytes()).collect();
                // A space is `+` in a form, but not in a path.
                self.path = self.path.replace(&template, &filled.replace('+', "%20"));
            }
            "query" => match value {
                // `style: form` with `explode: true` is the default of 3.x; 2.0 has `csv` or
                // `multi`.
                Value::Array(items) if explodes(own) => {
                    let pairs = items.iter().map(|item| (name.to_owned(), text(item)));
                    self.query.extend(pairs);
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_)
                | Value::Object(_) => self.query.push((name.to_owned(), joined(value, ","))),
            },
            "header" => self.headers.push((name.to_owned(), joined(value, ","))),
            "cookie" => {
                let value: String =
                    form_urlencoded::byte_serialize(joined(value, ",").as_bytes()).collect();
                self.cookies.push(format!("{name}={value}"));
            }
            "body" => self.body = Some(value.clone()),
            "formData" => {
                self.form.insert(name.to_owned(), value.clone());
            }
            other => {
                return Err(format!(
                    "the parameter `{name}` is in `{other}`, which is not supported"
                ));
            }
        }
        Ok(())
    }
}

fn joined(value: &Value, separator: &str) -> String {
    match value.as_array() {
        Some(items) => items.iter().map(text).collect::<Vec<_>>().join(separator),
        None => text(value),
    }
}

fn explodes(parameter: &Value) -> bool {
    let format = parameter.get("collectionFormat").and_then(Value::as_str);
    let explode = parameter.get("explode").and_then(Value::as_bool);
    match (format, explode) {
        (Some(format), _) => format == "multi",
        (None, Some(explode)) => explode,
        // 2.0 has the type next to the name and joins by commas; 3.x has a schema and repeats.
        (None, None) => parameter.get("type").is_none(),
    }
}

fn find<'a>(
    document: &'a Value,
    operation: &str,
) -> Result<(&'a str, &'static str, &'a Value), String> {
    let paths = document.get("paths").and_then(Value::as_object);
    let paths = paths.ok_or("this is not an OpenAPI document: it has no `paths`")?;
    for (path, item) in paths {
        let item = resolve(document, item)?;
        for method in METHODS {
            let id = item.get(method).and_then(|own| own.get("operationId"));
            if id.and_then(Value::as_str) == Some(operation) {
                return Ok((path, method, item));
            }
        }
    }
    Err(format!("the document has no operation `{operation}`"))
}

/// The parameters of an operation, including those of its path that it does not override.
fn parameters<'a>(
    document: &'a Value,
    item: &'a Value,
    own: &'a Value,
) -> Result<Vec<&'a Value>, String> {
    let mut all: Vec<&Value> = Vec::new();
    for list in [own, item] {
        let list = list.get("parameters").and_then(Value::as_array);
        for parameter in list.into_iter().flatten() {
            let parameter = resolve(document, parameter)?;
            let same = |other: &&Value| {
                ["name", "in"]
                    .iter()
                    .all(|member| other.get(member) == parameter.get(member))
            };
            if !all.iter().any(same) {
                all.push(parameter);
            }
        }
    }
    Ok(all)
}

/// The target of a local `$ref`, or the value itself.
fn resolve<'a>(document: &'a Value, mut value: &'a Value) -> Result<&'a Value, String> {
    for _ in 0..MAX_REFERENCES {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
            return Ok(value);
        };
        let pointer = reference
            .strip_prefix('#')
            .ok_or_else(|| format!("the reference `{reference}` points outside the document"))?;
        value = document
            .pointer(pointer)
            .ok_or_else(|| format!("the document has no `{reference}`"))?;
    }
    Err("the references in the document form a cycle".to_owned())
}

/// The base URL of the operation.
fn base(document: &Value, item: &Value, own: &Value, document_uri: &Url) -> Result<String, String> {
    if document.get("swagger").is_some() {
        let host = document.get("host").and_then(Value::as_str);
        let authority = document_uri.authority();
        let scheme = document
            .get("schemes")
            .and_then(Value::as_array)
            .and_then(|schemes| {
                let has = |s: &str| schemes.iter().any(|x| x == s);
                ["https", "http"].into_iter().find(|s| has(s))
            })
            .unwrap_or_else(|| document_uri.scheme());
        let path = document
            .get("basePath")
            .and_then(Value::as_str)
            .unwrap_or_default();
        return Ok(format!("{scheme}://{}{path}", host.unwrap_or(authority)));
    }
    let server = [own, item, document]
        .into_iter()
        .find_map(|place| place.get("servers")?.as_array()?.first());
    let Some(server) = server else {
        return Ok(document_uri.origin().ascii_serialization());
    };
    let mut url = server
        .get("url")
        .and_then(Value::as_str)
        .unwrap_or("/")
        .to_owned();
    let variables = server.get("variables").and_then(Value::as_object);
    for (name, variable) in variables.into_iter().flatten() {
        let default = variable.get("default").map(text).unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), &default);
    }
    document_uri
        .join(&url)
        .map(String::from)
        .map_err(|e| format!("the server in the document is not a URI: {e}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn url() -> Url {
        Url::parse("https://docs.example/v3/openapi.json").unwrap()
    }

    fn three() -> Value {
        json!({
            "openapi": "3.1.0",
            "servers": [{"url": "https://{region}.api.example/v1/", "variables": {"region": {"default": "eu"}}}],
            "paths": {
                "/pets/{id}": {
                    "parameters": [{"$ref": "#/components/parameters/id"}],
                    "put": {
                        "operationId": "savePet",
                        "parameters": [
                            {"name": "tag", "in": "query", "schema": {}},
                            {"name": "flat", "in": "query", "explode": false, "schema": {}},
                            {"name": "X-Trace", "in": "header"},
                            {"name": "sid", "in": "cookie"},
                        ],
                        "requestBody": {"content": {"application/json": {}}},
                    },
                },
            },
            "components": {"parameters": {"id": {"name": "id", "in": "path", "required": true}}},
        })
    }

    #[test]
    fn openapi_3_operation_becomes_request() {
        let given = json!({"id": "a/b c", "tag": ["x", "y"], "flat": [1, 2], "X-Trace": 7, "sid": "s;t", "body": {"n": 1}});
        let parts = request(&three(), &url(), "savePet", &given).unwrap();
        assert_eq!(parts.method, "put");
        assert_eq!(
            parts.url.as_str(),
            "https://eu.api.example/v1/pets/a%2Fb%20c?tag=x&tag=y&flat=1%2C2"
        );
        assert_eq!(
            parts.headers,
            [
                ("X-Trace".into(), "7".into()),
                ("cookie".into(), "sid=s%3Bt".into())
            ]
        );
        assert_eq!(parts.body, Some(json!({"n": 1})));
    }

    #[test]
    fn openapi_2_operation_becomes_request() {
        let document = json!({
            "swagger": "2.0", "host": "petstore.example", "basePath": "/v2", "schemes": ["http", "https"],
            "paths": {
                "/pet/findByStatus": {"get": {"operationId": "find", "parameters": [
                    {"name": "status", "in": "query", "type": "array", "collectionFormat": "multi", "required": true},
                    {"name": "ids", "in": "query", "type": "array"},
                ]}},
                "/pet": {"post": {"operationId": "add", "parameters": [{"name": "pet", "in": "body"}]}},
                "/form": {"post": {"operationId": "form", "parameters": [{"name": "a", "in": "formData"}]}},
            },
        });
        let find = request(
            &document,
            &url(),
            "find",
            &json!({"status": ["a", "b"], "ids": [1, 2]}),
        );
        assert_eq!(
            find.unwrap().url.as_str(),
            "https://petstore.example/v2/pet/findByStatus?status=a&status=b&ids=1%2C2"
        );
        let add = request(&document, &url(), "add", &json!({"pet": {"id": 1}})).unwrap();
        assert_eq!(add.body, Some(json!({"id": 1})));
        let form = request(&document, &url(), "form", &json!({"a": "x y"})).unwrap();
        assert_eq!(form.request().unwrap().body.as_deref(), Some("a=x+y"));
    }

    #[test]
    fn missing_parts_are_reported() {
        for (operation, given, why) in [
            ("nope", json!({}), "no operation `nope`"),
            ("savePet", json!({}), "`id` is missing"),
            ("savePet", json!({"id": ".."}), "`id` cannot be"),
            ("savePet", json!({"id": 1, "tga": 2}), "no parameter `tga`"),
        ] {
            let error = request(&three(), &url(), operation, &given).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let endless = json!({"paths": {"/": {"$ref": "#/paths/~1"}}});
        assert!(
            request(&endless, &url(), "x", &json!({}))
                .unwrap_err()
                .contains("cycle")
        );
        let outside = json!({"paths": {"/": {"$ref": "https://other/"}}});
        assert!(
            request(&outside, &url(), "x", &json!({}))
                .unwrap_err()
                .contains("outside")
        );
        assert!(
            request(&json!(7), &url(), "x", &json!({}))
                .unwrap_err()
                .contains("paths")
        );
    }
}
