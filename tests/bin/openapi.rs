//! Prints the API description: `make openapi`.

use std::io::{Write as _, stdout};

use serde::Serialize as _;
use serde_json::{Serializer, ser::PrettyFormatter};

fn main() -> std::io::Result<()> {
    let mut out = stdout().lock();
    let mut json = Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b" "));
    aias_tests::api::document().serialize(&mut json)?;
    writeln!(out)
}
