//! The sizes of the functions' zips, compared to the recorded ones: growth shows as a failure.

use std::path::Path;

use aias_testkit::stack;
use aias_tests::zips::{binaries, written, zip_bytes};

/// How much larger than recorded a zip may be, since compilers differ slightly.
const TOLERANCE: f64 = 1.02;

#[test]
fn zip_sizes_are_recorded() {
    let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
    for folder in std::fs::read_dir(functions).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        for (architecture, zips) in written() {
            assert!(
                zips.contains_key(&name),
                "{name} for {architecture}: run `make zips` and `make bench`"
            );
        }
    }
}

#[test]
fn zip_does_not_exceed_recorded_size() {
    let stack = stack::get();
    let release = Path::new(stack.output("bin")).join("../release");
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("zips.json");
    let made = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    for (architecture, zips) in written() {
        for (function, bytes) in zips {
            let [own, deployed] = binaries(&release, &function);
            for (_, binary) in [own, deployed].iter().filter(|(of, _)| *of == architecture) {
                if made(binary) < made(&table) {
                    println!(
                        "skipped: no binary of {function} for {architecture} is newer than the table; `make bench` and `make zips` build them"
                    );
                    continue;
                }
                let now = zip_bytes(binary);
                assert!(
                    now as f64 <= bytes as f64 * TOLERANCE,
                    "{function} for {architecture}: {now} bytes, but {bytes} are recorded; `make bench` records them again"
                );
            }
        }
    }
}
