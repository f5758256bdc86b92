//! The fuzz targets for a few seconds: each corpus, unchanged and with small changes.
//! `docs/fuzzing.md` describes how the fuzzer runs for hours.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use aias_platform::clock::random_id;
use aias_targets::{
    ALL, Target,
    mutate::{Random, mutated},
};

/// How long each target runs in addition to its corpus.
const PATIENCE: Duration = Duration::from_millis(700);

/// The stack limit of a sandbox child.
const STACK_BYTES: usize = 64 * 1024 * 1024;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn drive((name, target): Target) -> usize {
    let inputs = corpus(name);
    assert!(!inputs.is_empty(), "{name} has no corpus");
    inputs.iter().for_each(|input| target(input));
    // Different in each run; a failure prints the input.
    let seed = u64::try_from(random_id() >> 64).unwrap_or_default();
    let (mut random, started, mut count) = (Random::new(seed), Instant::now(), 0);
    while started.elapsed() < PATIENCE {
        let input = &inputs[random.below(inputs.len())];
        let other = &inputs[random.below(inputs.len())];
        let changed = mutated(&mut random, input, other);
        let shown = changed.clone();
        let ended = std::panic::catch_unwind(move || target(&changed));
        assert!(
            ended.is_ok(),
            "{name} fails for {:?}",
            shown.escape_ascii().to_string()
        );
        count += 1;
    }
    inputs.len() + count
}

#[test]
fn untrusted_bytes_are_parsed_or_refused() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus"));
    assert_eq!(
        folders.unwrap().count(),
        ALL.len(),
        "a corpus for each target"
    );
    for target in ALL {
        let driving = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(|| drive(*target));
        let count = driving.unwrap().join().unwrap();
        println!("{}: {count} inputs", target.0);
        assert!(count > 20, "{}: {count}", target.0);
    }
}
