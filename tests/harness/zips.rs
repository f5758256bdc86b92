//! The zips of functions, by architecture: what was written down, and what is there now.

use std::{
    collections::BTreeMap,
    env::consts::ARCH,
    path::{Path, PathBuf},
};

use miniz_oxide::deflate::compress_to_vec;

/// This machine's architecture, as Lambda calls it.
pub const OWN: &str = if cfg!(target_arch = "aarch64") {
    DEPLOYED
} else {
    ARCH
};

/// The architecture that is deployed unless the template's parameter says otherwise.
pub const DEPLOYED: &str = "arm64";

/// How many bytes each function's zip has, by architecture.
pub type Zips = BTreeMap<String, BTreeMap<String, usize>>;

/// What `make bench` saw last.
#[must_use]
pub fn written() -> Zips {
    serde_json::from_str(include_str!("../zips.json")).unwrap()
}

/// Where a function's binary may be: this machine's, and the one that `make zips` builds for Lambda.
#[must_use]
pub fn binaries(release: &Path, function: &str) -> [(&'static str, PathBuf); 2] {
    let lambda = release.join("../lambda").join(function);
    [
        (OWN, release.join(function)),
        (DEPLOYED, lambda.join("bootstrap")),
    ]
}

/// How many bytes a function's zip has, by architecture: as it is now, or as it was written down.
#[must_use]
pub fn of(release: &Path, function: &str) -> BTreeMap<String, usize> {
    let before = |(architecture, zips): (String, BTreeMap<String, usize>)| {
        Some((architecture, *zips.get(function)?))
    };
    let mut zips: BTreeMap<String, usize> = written().into_iter().filter_map(before).collect();
    for (architecture, binary) in binaries(release, function) {
        if binary.exists() {
            zips.insert(architecture.to_owned(), zip_bytes(&binary));
        }
    }
    zips
}

/// A zip's overhead for its one entry `bootstrap`, in bytes: local header, central directory, end.
const ZIP_FRAME: usize = 30 + 46 + 22 + 2 * "bootstrap".len();

/// How hard the SAM CLI deflates, which is zlib's default; this is zlib's size to a thousandth.
const SAMS_LEVEL: u8 = 6;

/// How many bytes a function's zip has, which holds this binary.
#[must_use]
pub fn zip_bytes(binary: &Path) -> usize {
    let bytes = std::fs::read(binary).unwrap();
    compress_to_vec(&bytes, SAMS_LEVEL).len() + ZIP_FRAME
}
