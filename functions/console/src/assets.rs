//! Scripts and styles. `build.rs` compresses them and names them by their content, so that browsers
//! may keep them for a year.

use axum::{
    extract::Path,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};

use crate::failure::Failure;

/// A file of the console.
#[derive(Debug)]
pub(crate) struct Asset {
    /// With a digest of the content.
    pub(crate) path: &'static str,
    content_type: &'static str,
    /// Compressed with gzip.
    content: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

pub(crate) async fn get(Path(name): Path<String>) -> Response {
    let mut assets = [&SCRIPT, &STYLE, &EDITOR, &ICON].into_iter();
    let Some(asset) = assets.find(|asset| asset.path.rsplit('/').next() == Some(&name)) else {
        return Failure::not_found().into_response();
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (CONTENT_ENCODING, HeaderValue::from_static("gzip")),
        (
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        ),
    ];
    (StatusCode::OK, headers, asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use aias_domain::canonical;
    use serde_json::Value;

    #[test]
    fn vendored_files_are_those_of_the_package() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/vendor");
        let record = fs::read_to_string(folder.join("vendor.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        let digests = record["sha256"].as_object().unwrap();
        // These, and the record.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), digests.len() + 1);
        for (file, digest) in digests {
            let content = fs::read(folder.join(file)).unwrap();
            let own = canonical::digest(&content);
            assert_eq!(
                own.strip_prefix("sha256:"),
                digest.as_str(),
                "{file}: run `make vendor`"
            );
        }
    }
}
