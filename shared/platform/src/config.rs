//! The environment, read once at cold start. Everything that is missing or wrong is told together.

use std::{cell::RefCell, fmt, str::FromStr};

type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// Where settings come from, and what was wrong with them.
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

/// Settings that are missing or wrong, by name. No value is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment is not complete: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

impl Env {
    /// The process's own.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the process"
    )]
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Any other, for tests.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self {
            lookup: Box::new(lookup),
            faults: RefCell::default(),
        }
    }

    /// A setting that must be there; empty when it is not, and [`Env::finish`] then fails.
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

    /// A setting that may be there.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// A setting of another type; the default when it is not there.
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

    /// Notes that a setting has a value that cannot be used.
    pub fn refuse(&self, name: &str, why: &str) {
        self.faults.borrow_mut().push(format!("{name} {why}"));
    }

    /// Fails when a setting was missing or wrong.
    ///
    /// # Errors
    /// All of them, by name.
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
    fn all_faults_are_told_together() {
        let env = Env::new(|name| (name == "N").then(|| "x".to_owned()));
        assert_eq!(env.text("A"), "");
        assert_eq!(env.parsed("N", 7), 7);
        assert_eq!(env.parsed("M", 8), 8);
        let told = env.finish().unwrap_err().to_string();
        assert_eq!(
            told,
            "the environment is not complete: A is missing; N is malformed"
        );
    }
}
