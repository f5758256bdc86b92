//! The routes that the description names, to tell a wrong method from a wrong path.

use serde_json::Value;

#[derive(Debug)]
struct Route {
    segments: Vec<String>,
    allow: String,
}

#[derive(Debug)]
pub(crate) struct Routes(Vec<Route>);

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

impl Routes {
    pub(crate) fn read(openapi: &str) -> Self {
        let document: Value = serde_json::from_str(openapi).unwrap_or_default();
        let paths = document
            .get("paths")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let route = |(path, operations): (String, Value)| {
            let has = |method: &&str| operations.get(*method).is_some();
            let methods: Vec<String> = METHODS
                .iter()
                .filter(|m| has(m))
                .map(|m| m.to_uppercase())
                .collect();
            let segments = path
                .trim_start_matches('/')
                .split('/')
                .map(str::to_owned)
                .collect();
            Route {
                segments,
                allow: methods.join(", "),
            }
        };
        Self(paths.into_iter().map(route).collect())
    }

    /// The methods that a path has; `None` when there is no such path.
    pub(crate) fn allowed(&self, path: &[&str]) -> Option<&str> {
        let fits = |route: &&Route| {
            route.segments.len() == path.len()
                && route
                    .segments
                    .iter()
                    .zip(path)
                    .all(|(own, given)| own.starts_with('{') || own == given)
        };
        // A path that is spelled out goes before one with a parameter in its place.
        let mut found: Vec<&Route> = self.0.iter().filter(fits).collect();
        found.sort_by_key(|route| route.segments.iter().filter(|s| s.starts_with('{')).count());
        found.first().map(|route| route.allow.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_method_is_told_from_a_wrong_path() {
        let routes = Routes::read(crate::OPENAPI);
        assert_eq!(routes.allowed(&["api", "runs"]), Some("GET"));
        assert_eq!(
            routes.allowed(&["api", "workflows", "wf_1"]),
            Some("GET, PUT, PATCH, DELETE")
        );
        assert_eq!(
            routes.allowed(&["api", "workflows", "execute"]),
            Some("POST")
        );
        assert_eq!(routes.allowed(&["api", "nothing"]), None);
    }
}
