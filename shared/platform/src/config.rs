//! Environment variables, read once at cold start. All faults are reported together.

use std::{cell::RefCell, fmt, str::FromStr};

type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// Reads environment variables and collects their faults.
pub struct Env {
    lookup: Lookup,
    faults: RefCell<Vec<String>>,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

/// Missing or malformed variables, by name. Contains no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid environment variables: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

impl Env {
    /// The variables of this process.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "only here are environment variables read"
    )]
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Other variables, for tests.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self {
            lookup: Box::new(lookup),
            faults: RefCell::default(),
        }
    }

    /// A required variable. If it is missing, the result is empty and [`Env::finish`] fails.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        match (self.lookup)(name) {
            Some(value) if !value.is_empty() => value,
            _ => {
                self.faults.borrow_mut().push(format!("{name} is missing"));
                String::new()
            }
        }
    }

    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// A variable of another type, with a default.
    #[must_use]
    pub fn parsed<T: FromStr>(&self, name: &str, default: T) -> T {
        let Some(text) = self.optional(name) else {
            return default;
        };
        text.parse().unwrap_or_else(|_| {
            self.faults
                .borrow_mut()
                .push(format!("{name} is malformed"));
            default
        })
    }

    /// Adds a fault of a variable.
    pub fn refuse(&self, name: &str, why: &str) {
        self.faults.borrow_mut().push(format!("{name} {why}"));
    }

    /// Fails if any variable was missing or malformed.
    ///
    /// # Errors
    ///
    /// All faults, by name.
    pub fn finish(self) -> Result<(), ConfigError> {
        let faults = self.faults.into_inner();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(faults))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_reported_together() {
        let env = Env::new(|name| (name == "N").then(|| "x".to_owned()));
        assert_eq!(env.text("A"), "");
        assert_eq!(env.parsed("N", 7), 7);
        assert_eq!(env.parsed("M", 8), 8);
        let error = env.finish().unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid environment variables: A is missing; N is malformed"
        );
    }
}
