//! Foreign bytes, for seconds: each corpus as it is, and changed by small steps. `docs/fuzzing.md` says
//! how the fuzzer does the same for hours.

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

/// How long each target is driven beyond its corpus.
const PATIENCE: Duration = Duration::from_millis(700);

/// The stack that a child of the sandbox has.
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
    // Each time something else; the input is told should it fail.
    let seed = u64::try_from(random_id() >> 64).unwrap_or_default();
    let (mut random, begun, mut count) = (Random::new(seed), Instant::now(), 0);
    while begun.elapsed() < PATIENCE {
        let input = &inputs[random.below(inputs.len())];
        let other = &inputs[random.below(inputs.len())];
        let changed = mutated(&mut random, input, other);
        let shown = changed.clone();
        let ended = std::panic::catch_unwind(move || target(&changed));
        assert!(
            ended.is_ok(),
            "{name} does not hold for {:?}",
            shown.escape_ascii().to_string()
        );
        count += 1;
    }
    inputs.len() + count
}

#[test]
fn foreign_bytes_are_read_or_refused() {
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
