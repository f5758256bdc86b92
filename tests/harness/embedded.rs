//! `aias serve` as a process of a test.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use aias_testkit::stack;
use serde_json::{Value, json};

use crate::client::Client;

/// A process with its data folder. It is killed when it is dropped.
#[derive(Debug)]
pub struct Embedded {
    child: Child,
    pub url: String,
}

/// A folder of a test, which is deleted when it is dropped.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// A new folder.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it creates a folder")]
    pub fn new() -> Self {
        let name = format!("aias-{:x}", aias_platform::clock::random_id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The program.
#[must_use]
pub fn program() -> PathBuf {
    Path::new(stack::get().output("bin")).join("aias")
}

/// Runs a command of the program to its end.
#[must_use]
pub fn aias(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().unwrap()
}

/// What a failed command says.
#[must_use]
pub fn error_of(arguments: &[&str]) -> String {
    let output = aias(arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    String::from_utf8(output.stderr).unwrap()
}

impl Embedded {
    /// Starts the process with a folder, and waits until it serves. Tokens of the local issuer are
    /// accepted.
    #[must_use]
    pub fn start(folder: &Folder, options: &[&str]) -> Self {
        let config = folder.0.join("aias.yaml");
        let settings = json!({
            "OidcIssuer": stack::get().issuer(),
            "OidcAudience": "aias",
            "OutboundNetworks": "127.0.0.0/8",
        });
        fs::write(&config, settings.to_string()).unwrap();
        Self::start_command(folder, &mut Command::new(program()), options)
    }

    /// As [`Embedded::start`], by a command that starts the program.
    ///
    /// # Panics
    ///
    /// When it does not serve.
    #[must_use]
    pub fn start_command(folder: &Folder, command: &mut Command, options: &[&str]) -> Self {
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.data())
            .arg("--config")
            .arg(folder.0.join("aias.yaml"))
            .args(options)
            .stdout(Stdio::piped())
            .stderr(File::create(folder.0.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"] == "serving" {
                let url = event["url"].as_str().unwrap().to_owned();
                // A full pipe would stop the process.
                thread::spawn(move || io::copy(&mut output, &mut io::sink()));
                return Self { child, url };
            }
            line.clear();
        }
        let status = child.wait().unwrap();
        let error = fs::read_to_string(folder.0.join("stderr")).unwrap();
        panic!("aias serve ended with {status}: {error}");
    }

    /// Kills the process and its children with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops the process with SIGTERM, and returns its exit code.
    #[must_use]
    pub fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().unwrap();
        self.child.wait().unwrap().code()
    }

    /// A new tenant, and the URL of an endpoint whose runs return the body of their input.
    #[must_use]
    pub fn tenant(&self) -> (Client, String) {
        let client = Client::at(&self.url);
        let workflow = client.workflow(&json!([{"echo": {"set": "${ .body }"}}]));
        let endpoint = client.endpoint(&workflow, &json!({"scheme": "none"}));
        let url = endpoint["url"].as_str().unwrap().to_owned();
        (client, url)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
