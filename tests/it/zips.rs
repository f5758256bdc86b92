//! The zips of the functions, beside what is written down: one that has grown is a diff.

use std::{collections::BTreeMap, path::Path};

use aias_testkit::stack;
use aias_tests::figures::zip_bytes;

/// What `make bench` saw last.
const WRITTEN: &str = include_str!("../zips.json");

/// How much larger than written down a zip may be: another machine's compiler is not quite the same.
const TOLERANCE: f64 = 1.02;

fn written() -> BTreeMap<String, usize> {
    serde_json::from_str(WRITTEN).unwrap()
}

#[test]
fn each_function_has_its_zip_written_down() {
    let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
    for folder in std::fs::read_dir(functions).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(written().contains_key(&name), "{name}: run `make bench`");
    }
}

#[test]
fn a_zip_is_no_larger_than_written_down() {
    let Some(stack) = stack::get() else { return };
    let release = Path::new(stack.output("bin")).join("../release");
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("zips.json");
    let made = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    for (function, bytes) in written() {
        let binary = release.join(&function);
        if made(&binary) < made(&table) {
            println!(
                "skipped: no release binary of {function} is newer than the table; `make bench` builds it"
            );
            continue;
        }
        let now = zip_bytes(&binary);
        assert!(
            now as f64 <= bytes as f64 * TOLERANCE,
            "{function}: {now} bytes, written down are {bytes}; `make bench` writes them anew"
        );
    }
}
