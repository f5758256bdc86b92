//! Prints `docs/sources.md`: `make docs`.

use std::io::{Write as _, stdout};

fn main() -> std::io::Result<()> {
    stdout()
        .lock()
        .write_all(aias_tests::sources::page().as_bytes())
}
