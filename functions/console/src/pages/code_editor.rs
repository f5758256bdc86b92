//! What `assets/editor.js` needs to put `CodeMirror` on top of a text area.

use serde_json::{Map, Value, json};

use crate::{
    client::Fault,
    visit::{Visit, t},
};

/// The texts of `CodeMirror` that people see or hear, and their ids in the locale files.
const PHRASES: [(&str, &str); 20] = [
    ("all", "editor-all"),
    ("by word", "editor-by-word"),
    ("close", "editor-close"),
    ("Control character", "editor-control-character"),
    ("current match", "editor-current-match"),
    ("Diagnostics", "editor-faults"),
    ("Find", "editor-find"),
    ("go", "editor-go"),
    ("Go to line", "editor-go-to-line"),
    ("match case", "editor-match-case"),
    ("next", "editor-next"),
    ("No diagnostics", "editor-no-faults"),
    ("on line", "editor-on-line"),
    ("previous", "editor-previous"),
    ("regexp", "editor-regexp"),
    ("replace", "editor-replace-one"),
    ("Replace", "editor-replace"),
    ("replace all", "editor-replace-all"),
    ("replaced $ matches", "editor-replaced-all"),
    ("replaced match on line $", "editor-replaced-one"),
];

/// The value of `data-editor`.
pub(crate) fn settings(visit: &Visit, faults: &[Fault]) -> String {
    let phrases: Map<String, Value> = PHRASES
        .iter()
        .map(|(own, id)| ((*own).to_owned(), visit.language().text(id, &[]).into()))
        .collect();
    let faults: Vec<Value> = faults
        .iter()
        .filter_map(|fault| Some(json!({ "line": fault.line?, "detail": fault.detail })))
        .collect();
    json!({ "label": t!(visit, "editor"), "phrases": phrases, "faults": faults }).to_string()
}
