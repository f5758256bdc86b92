//! Tests of AIAS as a whole: the functions in this process, and the deployed stack.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod admission;
mod api;
mod audit;
mod auth;
mod billing;
mod budget;
mod capacity;
mod checkout;
mod child_runs;
mod client;
mod conformance;
mod console;
mod counted_limits;
mod crash;
mod deliveries;
mod dry_run;
mod durability;
mod effects;
mod embedded;
mod endpoints;
mod engine;
mod errors;
mod events;
mod figures;
mod fuzz;
mod guides;
mod iam;
mod interleaving;
mod invitations;
mod invocations;
mod isolation;
mod metering;
mod openapi;
mod outbound;
mod plan;
mod published_keys;
mod reconciler;
mod run;
mod samples;
mod sandbox;
mod secrets;
mod sign_in;
mod signature;
mod sources;
mod steps;
mod store;
mod stripe;
mod suspended;
mod versions;
mod webhook;
mod zips;

/// The manifests of the functions disable test targets, except that of the console: how a page shows
/// its values is tested beside the code.
#[test]
fn function_manifests_have_no_tests() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("console") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains("#[cfg(test)]"), "{}", path.display());
            }
        }
    }
}

/// A file that is not a module here has tests that never run.
#[test]
fn every_test_file_is_a_module() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("it");
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".rs") {
            continue;
        }
        let module = format!("mod {};", name.trim_end_matches(".rs"));
        assert!(
            name == "main.rs" || include_str!("main.rs").contains(&module),
            "{name}"
        );
    }
}
