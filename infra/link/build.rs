//! How a function's binary is linked for a release (`docs/decisions/0019`).

use std::{env, path::Path};

#[expect(clippy::disallowed_methods, reason = "cargo's own settings")]
fn is(name: &str, value: &str) -> bool {
    env::var(name).is_ok_and(|found| found == value)
}

fn main() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/link/abort.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    // A panic aborts in a release: `profile.release` says so.
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}
