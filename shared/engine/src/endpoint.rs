//! Endpoints of calls: a URI, an RFC 6570 template, or an expression.

use iri_string::{
    spec::UriSpec,
    template::{
        UriTemplateStr,
        context::{AssocVisitor as _, Context, ListVisitor as _, Visitor},
    },
};
use serde_json::{Map, Value};
use url::Url;

use crate::{compile::authentication::Policy, expression::Expression};

/// The longest URI of a request, in bytes.
pub(crate) const MAX_URI_BYTES: usize = 8_192;

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) uri: Uri,
    pub(crate) authentication: Option<Policy>,
}

#[derive(Debug)]
pub(crate) enum Uri {
    /// Expanded with the members of the task's input.
    Template(String),
    Expression(Expression),
}

/// Checks a URI or a URI template.
///
/// # Errors
///
/// Why it is not one.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let template = UriTemplateStr::new(text)
        .map_err(|_| "must be a URI or a URI template (RFC 6570)".to_owned())?;
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    if !scheme.is_some_and(|s| s.eq_ignore_ascii_case("http") || s.eq_ignore_ascii_case("https")) {
        return Err("must start with http:// or https://".to_owned());
    }
    if template.variables().next().is_none() {
        parse(text)?;
    }
    Ok(())
}

/// Parses the URI of a request.
///
/// # Errors
///
/// Why it cannot be called.
pub(crate) fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("not a URI: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https can be called".to_owned());
    }
    if !url.has_host() {
        return Err("a URI without a host cannot be called".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URI cannot contain credentials; use `authentication`".to_owned());
    }
    if url.as_str().len() > MAX_URI_BYTES {
        return Err(format!("a URI has at most {MAX_URI_BYTES} bytes"));
    }
    Ok(url)
}

/// Expands a URI template with the members of `variables`, all of which must exist.
///
/// # Errors
///
/// What is missing, or cannot be part of a URI.
pub(crate) fn expand(template: &str, variables: &Value) -> Result<String, String> {
    let template = UriTemplateStr::new(template).map_err(|e| e.to_string())?;
    let empty = Map::new();
    let members = variables.as_object().unwrap_or(&empty);
    for variable in template.variables() {
        let name = variable.as_str();
        match members.get(name) {
            None | Some(Value::Null) => return Err(format!("the input has no `{name}`")),
            // `.` and `..` would change the path of the URI.
            Some(Value::String(text)) if matches!(text.as_str(), "." | "..") => {
                return Err(format!("`{name}` cannot be `{text}`"));
            }
            Some(_) => {}
        }
    }
    let members = Members(members);
    let expanded = template.expand::<UriSpec, _>(&members);
    expanded
        .map(|uri| uri.to_string())
        .map_err(|e| e.to_string())
}

struct Members<'a>(&'a Map<String, Value>);

impl Context for Members<'_> {
    fn visit<V: Visitor>(&self, visitor: V) -> V::Result {
        match self.0.get(visitor.var_name().as_str()) {
            None | Some(Value::Null) => visitor.visit_undefined(),
            Some(Value::Array(items)) => visitor
                .visit_list()
                .visit_items_and_finish(items.iter().map(text)),
            Some(Value::Object(members)) => visitor
                .visit_assoc()
                .visit_entries_and_finish(members.iter().map(|(k, v)| (k.as_str(), text(v)))),
            Some(value) => visitor.visit_string(text(value)),
        }
    }
}

/// A string unchanged, any other value as JSON.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn template_variables_are_escaped() {
        let input = json!({"id": 7, "name": "a/b ?&#", "list": ["x", "y"]});
        assert_eq!(
            expand("https://e.example/{id}?n={name}&{list}", &input).unwrap(),
            "https://e.example/7?n=a%2Fb%20%3F%26%23&x,y"
        );
        assert_eq!(
            expand("https://e.example/", &json!(null)).unwrap(),
            "https://e.example/"
        );
        for (template, input, why) in [
            ("https://e.example/{id}", json!({}), "no `id`"),
            ("https://e.example/{id}", json!("text"), "no `id`"),
            (
                "https://e.example/{id}/x",
                json!({"id": ".."}),
                "`id` cannot",
            ),
        ] {
            assert!(expand(template, &input).unwrap_err().contains(why));
        }
    }

    #[test]
    fn only_http_uris_are_accepted() {
        for good in [
            "https://e.example/{id}",
            "http://127.0.0.1:80",
            "HTTPS://e.example?a={b}",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "file:///etc/passwd",
            "ftp://e.example",
            "//e.example",
            "https://",
            "https://{",
            "https://e.example:x/",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(parse("https://user:word@e.example/").is_err());
        assert!(parse(&format!("https://e.example/{}", "x".repeat(9_000))).is_err());
    }
}
