//! Puts the files of `sources/` into a table: the name, the JSON of the scheme, and the JSON of the
//! guide. Known answers are for tests only.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a build script"
)]

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path};

use serde_json::Value;

fn main() {
    let folder = Path::new("sources");
    println!("cargo::rerun-if-changed=sources");
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let source: Value = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        sources.insert(name, source);
    }
    let count = sources.len();
    let mut table = format!("static ROWS: [Row; {count}] = [\n");
    for (name, mut source) in sources {
        let members = source.as_object_mut().unwrap();
        let scheme = members.remove("scheme").unwrap();
        members.remove("known");
        writeln!(
            table,
            "    Row {{ name: {name:?}, scheme: {:?}, guide: {:?} }},",
            scheme.to_string(),
            source.to_string(),
        )
        .unwrap();
    }
    table.push_str("];\n");
    let target = Path::new(&env::var_os("OUT_DIR").unwrap()).join("sources.rs");
    fs::write(target, table).unwrap();
}
