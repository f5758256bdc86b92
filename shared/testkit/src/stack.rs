//! The stack that `make test` deploys.

use std::{fs, process::Command, sync::OnceLock};

use serde_json::Value;

/// The deployed stack, or a printed reason to skip. Inside `make test` there always is one.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the test runner's own setting")]
pub fn get() -> Option<&'static Stack> {
    static STACK: OnceLock<Option<Stack>> = OnceLock::new();
    let stack = STACK.get_or_init(|| {
        let path = std::env::var("AIAS_STACK").ok()?;
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        Some(Stack(serde_json::from_str(&text).unwrap()))
    });
    if stack.is_none() {
        eprintln!("skipped: no deployed stack; `make test` makes one");
    }
    stack.as_ref()
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

    /// Runs a Python program and returns its output, for signatures by official packages.
    #[must_use]
    pub fn python(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(self.text("python"))
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
