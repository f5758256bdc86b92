//! The commands of README and of the guides, pasted into a shell next to the deployed stack.
//!
//! A block marked `sh` is executed, in the order of its page. A block marked `json` after it has
//! lines that its output contains. Blocks marked `bash` need an AWS account or another machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use aias_tests::client::{Client, send};
use serde_json::json;

/// The demo of `make run`: its environment, for a tenant of this test.
fn demo(client: &Client, folder: &Path) {
    let workflow = include_str!("../../infra/local/demo.py");
    let (_, workflow) = workflow.split_once("WORKFLOW = \"\"\"\\\n").unwrap();
    let (workflow, _) = workflow.split_once("\"\"\"").unwrap();
    let headers = [("content-type", "application/yaml")];
    let created = client.call("POST", "/api/workflows", &headers, workflow.as_bytes());
    let workflow = created.expect(201).text("id");
    let endpoint = client.endpoint(&workflow, &json!({"scheme": "none"}));
    let values = [
        ("AIAS_URL", client.stack.url()),
        ("AIAS_TENANT_ID", &client.tenant),
        ("AIAS_API_KEY", &client.credential),
        ("AIAS_WORKFLOW_ID", &workflow),
        ("AIAS_WEBHOOK_URL", endpoint["url"].as_str().unwrap()),
    ];
    let lines = values.map(|(name, value)| format!("{name}={value}\n"));
    fs::create_dir_all(folder.join(".local")).unwrap();
    fs::write(folder.join(".local/demo.env"), lines.concat()).unwrap();
}

/// A block and the lines that its output must contain.
#[derive(Default)]
struct Block {
    commands: String,
    expected: Vec<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            continue;
        };
        let content = lines.by_ref().take_while(|line| !line.starts_with("```"));
        let content: Vec<&str> = content.collect();
        match language {
            "sh" => blocks.push(Block {
                commands: content.join("\n"),
                ..Block::default()
            }),
            "json" => {
                if let Some(last) = blocks.last_mut().filter(|last| last.expected.is_empty()) {
                    last.expected = content.iter().map(|line| (*line).to_owned()).collect();
                }
            }
            _ => {}
        }
    }
    blocks
}

const MARK: &str = "@@ end of block @@";

/// Executes the blocks of a page in one shell, and compares their output. Returns what is wrong.
fn run(page: &Path) -> Option<String> {
    let blocks = blocks(&fs::read_to_string(page).unwrap());
    if blocks.is_empty() {
        return None;
    }
    let client = Client::new();
    let name = page.file_stem().unwrap().to_str().unwrap();
    let folder = std::env::temp_dir().join(format!("aias-guide-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    demo(&client, &folder);
    let jq = repository().join("infra/local/jq_command.py");
    let mut script = format!(
        "set -euo pipefail\njq() {{ '{}' '{}' \"$@\"; }}\n",
        client.stack.interpreter(),
        jq.display()
    );
    for block in &blocks {
        script.push_str(&format!("{}\necho; echo '{MARK}'\n", block.commands));
    }
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(&folder)
        .output()
        .unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Some(format!("{}: {printed}\n{error}", page.display()));
    }
    for (block, printed) in blocks.iter().zip(printed.split(MARK)) {
        let missing = block.expected.iter().find(|line| !printed.contains(*line));
        if let Some(line) = missing {
            let (page, commands) = (page.display(), &block.commands);
            return Some(format!(
                "{page}: `{line}` is not in\n{printed}\nof\n{commands}"
            ));
        }
    }
    None
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn commands_of_readme_work() {
    let failed = run(&repository().join("README.md"));
    assert!(failed.is_none(), "{}", failed.unwrap_or_default());
}

#[test]
fn commands_of_guides_work() {
    let guides = fs::read_dir(repository().join("docs/guides")).unwrap();
    let mut pages: Vec<PathBuf> = guides.map(|page| page.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 5);
    let failed: Vec<String> = pages.iter().filter_map(|page| run(page)).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn local_issuer_gives_tokens_as_documented() {
    let client = Client::new();
    let url = format!("{}/token", client.stack.issuer());
    let headers = [("content-type", "application/json")];
    let response = send("POST", &url, &headers, br#"{"sub": "alice"}"#);
    let token: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let person = client.with(token["access_token"].as_str().unwrap().to_owned());
    let name = json!({"name": "Alice"});
    assert_eq!(
        person.post("/api/tenants", &name).expect(201).text("role"),
        "owner"
    );
}
