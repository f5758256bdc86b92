//! The stack that `make test` deploys.

use std::{fs, process::Command, sync::OnceLock};

use serde_json::Value;

/// The deployed stack, described by the JSON file that `AIAS_STACK` names.
///
/// # Panics
///
/// Without a deployed stack: a test that needs one must not pass without it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a variable of the test runner")]
pub fn get() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(|| {
        let path = std::env::var("AIAS_STACK").unwrap_or_else(|_| {
            panic!(
                "no deployed stack: `make test` deploys one, `make unit` skips tests that need it"
            )
        });
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        Stack(serde_json::from_str(&text).unwrap())
    })
}

/// The URLs and outputs of the deployed stack.
#[derive(Debug)]
pub struct Stack(Value);

impl Stack {
    fn text(&self, name: &str) -> &str {
        self.0
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("the stack has no {name}"))
    }

    /// The URL of the API, which is also the endpoint of the local AWS.
    #[must_use]
    pub fn url(&self) -> &str {
        self.text("url")
    }

    #[must_use]
    pub fn issuer(&self) -> &str {
        self.text("issuer")
    }

    /// An output of the template.
    #[must_use]
    pub fn output(&self, name: &str) -> &str {
        self.text(name)
    }

    /// The file with the log of AIAS in one process; none of a deployed stack.
    #[must_use]
    pub fn function_log(&self) -> Option<&str> {
        self.0.get("function_log").and_then(Value::as_str)
    }

    /// The Python interpreter with the packages of the tests.
    #[must_use]
    pub fn interpreter(&self) -> &str {
        self.text("python")
    }

    /// Runs a Python program and returns its output, for signatures by official packages.
    #[must_use]
    pub fn python(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(self.interpreter())
            .arg("-c")
            .arg(program)
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}
