//! `docs/errors.md` is current and has every error code.

use std::{fs, path::Path};

use aias_tests::errors::{page, run_codes};

fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

fn code() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut all = String::new();
    for folder in ["functions", "shared"] {
        sources(&root.join(folder), &mut all);
    }
    all
}

#[test]
fn checked_in_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let text = fs::read_to_string(path).unwrap();
    assert!(text == page(), "docs/errors.md is stale: run `make docs`");
}

#[test]
fn page_of_sources_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sources.md");
    let text = fs::read_to_string(path).unwrap();
    let is_current = text == aias_tests::sources::page();
    assert!(is_current, "docs/sources.md is stale: run `make docs`");
}

#[test]
fn every_code_of_a_run_error_is_documented() {
    let code = code();
    let known: Vec<_> = run_codes().collect();
    for call in code.split("RunError::platform(").skip(1) {
        let Some(name) = call.trim_start().strip_prefix('"') else {
            continue;
        };
        let name = name.split('"').next().unwrap();
        assert!(
            known.contains(&name) || name == "x",
            "{name} is not documented"
        );
    }
    for name in known {
        assert!(
            code.contains(&format!("\"{name}\"")),
            "no run has the code {name}"
        );
    }
}
