//! The sizes of the functions' zips, by architecture: as recorded, and as built now.

use std::{
    collections::BTreeMap,
    env::consts::ARCH,
    path::{Path, PathBuf},
};

use miniz_oxide::deflate::compress_to_vec;

/// The architecture of this machine, in Lambda's words.
pub const OWN: &str = if cfg!(target_arch = "aarch64") {
    DEPLOYED
} else {
    ARCH
};

/// The default architecture of the template.
pub const DEPLOYED: &str = "arm64";

/// The size of each function's zip in bytes, by architecture.
pub type Zips = BTreeMap<String, BTreeMap<String, usize>>;

/// The sizes recorded by the last `make bench`.
#[must_use]
pub fn written() -> Zips {
    serde_json::from_str(include_str!("../zips.json")).unwrap()
}

/// The possible paths of a function's binary: for this machine, and for Lambda as built by `make
/// zips`.
#[must_use]
pub fn binaries(release: &Path, function: &str) -> [(&'static str, PathBuf); 2] {
    let lambda = release.join("../lambda").join(function);
    [
        (OWN, release.join(function)),
        (DEPLOYED, lambda.join("bootstrap")),
    ]
}

/// The sizes of a function's zips, by architecture: of the binaries, else as recorded.
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

/// The size of a zip with one entry `bootstrap` in addition to its content: local header, central
/// directory, end.
const ZIP_FRAME: usize = 30 + 46 + 22 + 2 * "bootstrap".len();

/// The compression level of the SAM CLI, which is zlib's default. This library's size differs by a
/// thousandth.
const SAMS_LEVEL: u8 = 6;

/// The size of the zip of a binary.
#[must_use]
pub fn zip_bytes(binary: &Path) -> usize {
    let bytes = std::fs::read(binary).unwrap();
    compress_to_vec(&bytes, SAMS_LEVEL).len() + ZIP_FRAME
}
