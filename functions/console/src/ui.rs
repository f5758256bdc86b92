//! Parts that pages share.

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use crate::{
    client::{ApiProblem, ApiResult, Fault, Page, RunError},
    form::CSRF,
    session::random_token,
    visit::{Browser, Visit, t},
};

/// The largest value that a page shows, in bytes. The rest is a download.
pub(crate) const MAX_SHOWN_BYTES: usize = 64 * 1024;

/// Whether a character would change how the text around it is shown.
fn is_hidden(character: char) -> bool {
    let is_control = character.is_control() && !matches!(character, '\n' | '\t');
    is_control
        || matches!(
            character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// A string of a tenant or a provider: isolated from the text around it, with control characters and
/// marks of direction as visible codes.
pub(crate) fn text(value: &str) -> Markup {
    html! { bdi { (visible(value)) } }
}

/// As [`text`], for elements that isolate their content themselves.
pub(crate) fn visible(value: &str) -> Markup {
    if !value.contains(is_hidden) {
        return html! { (value) };
    }
    let mut parts: Vec<Result<&str, char>> = Vec::new();
    let mut rest = value;
    while let Some(at) = rest.find(is_hidden) {
        let (before, after) = rest.split_at(at);
        let mut characters = after.chars();
        parts.push(Ok(before));
        parts.extend(characters.next().map(Err));
        rest = characters.as_str();
    }
    parts.push(Ok(rest));
    html! {
        @for part in parts {
            @match part {
                Ok(shown) => (shown),
                Err(hidden) => span.hidden-character { (format!("U+{:04X}", u32::from(hidden))) },
            }
        }
    }
}

/// An id, with a button that copies it.
pub(crate) fn id(visit: &Browser, value: &str) -> Markup {
    copied(visit, value, &html! { code { (visible(value)) } })
}

/// Content with a button that copies `value`.
pub(crate) fn copied(visit: &Browser, value: &str, content: &Markup) -> Markup {
    html! {
        span.copied {
            (content)
            button.copy type="button" data-copy=(value) data-done=(t!(visit, "copied")) hidden
                aria-label=(t!(visit, "copy-value", value = value)) { (t!(visit, "copy")) }
        }
    }
}

/// A link to a page of an object, with its id.
pub(crate) fn link(path: &str, id: &str) -> Markup {
    html! { a href=(format!("/dashboard/{path}/{id}")) { code { (visible(id)) } } }
}

/// A time in the zone of the preferences, with the absolute one beside it.
pub(crate) fn time(visit: &Browser, value: &str) -> Markup {
    let Ok(at) = value.parse::<Timestamp>() else {
        return text(value);
    };
    let zone = &visit.preferences.zone;
    let utc = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! {
        time datetime=(value) {
            @if visit.preferences.zone_name == "UTC" {
                (utc)
            } @else {
                (at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z"))
                " " span.utc { "(" (utc) ")" }
            }
        }
    }
}

pub(crate) fn optional_time(visit: &Browser, value: Option<&str>) -> Markup {
    value.map_or_else(|| html! { (t!(visit, "none")) }, |value| time(visit, value))
}

pub(crate) fn duration(visit: &Browser, milliseconds: Option<u64>) -> String {
    match milliseconds {
        None => t!(visit, "none"),
        Some(short) if short < 10_000 => format!("{short} ms"),
        Some(long) => format!("{}.{} s", long / 1000, long % 1000 / 100),
    }
}

/// The name of a status in the page's language.
pub(crate) fn status(visit: &Browser, value: &str) -> Markup {
    let name = word(visit, "status", value);
    html! { span.status data-status=(value) { (name) } }
}

/// A word of the API in the page's language, if it is known.
pub(crate) fn word(visit: &Browser, list: &str, value: &str) -> String {
    let id = format!("{list}-{value}").replace(['_', '.'], "-");
    if visit.language().has(&id) {
        visit.language().text(&id, &[])
    } else {
        value.to_owned()
    }
}

/// A value as text, at most [`MAX_SHOWN_BYTES`] of it. Objects keep their order.
pub(crate) fn json(visit: &Browser, value: &Value) -> Markup {
    let pretty = serde_json::to_string_pretty(value).unwrap_or_default();
    preformatted(visit, &pretty)
}

/// A text in its lines, at most [`MAX_SHOWN_BYTES`] of it.
pub(crate) fn preformatted(visit: &Browser, value: &str) -> Markup {
    let shown = start_of(value, MAX_SHOWN_BYTES);
    html! {
        pre.data tabindex="0" dir="ltr" { (visible(shown)) }
        @if shown.len() < value.len() {
            p.note { (t!(visit, "shortened", shown = shown.len() / 1024, all = value.len() / 1024)) }
        }
    }
}

/// The first bytes of a string, up to the end of a character.
pub(crate) fn start_of(value: &str, bytes: usize) -> &str {
    let mut end = bytes.min(value.len());
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default()
}

/// The most nodes of a tree.
const MAX_NODES: usize = 2_000;

/// A value as a tree that can be folded.
pub(crate) fn tree(visit: &Browser, value: &Value) -> Markup {
    let mut left = MAX_NODES;
    let tree = node(visit, value, 0, &mut left);
    html! {
        div.tree { (tree) }
        @if left == 0 { p.note { (t!(visit, "tree-shortened", nodes = MAX_NODES)) } }
    }
}

fn node(visit: &Browser, value: &Value, depth: usize, left: &mut usize) -> Markup {
    if *left == 0 {
        return html! { "…" };
    }
    *left -= 1;
    let leaf = || html! { code { (visible(&value.to_string())) } };
    let (summary, children): (_, Vec<(String, &Value)>) = match value {
        Value::Object(members) if !members.is_empty() => (
            t!(visit, "members", count = members.len()),
            members
                .iter()
                .map(|(name, member)| (name.clone(), member))
                .collect(),
        ),
        Value::Array(items) if !items.is_empty() => (
            t!(visit, "items", count = items.len()),
            items
                .iter()
                .enumerate()
                .map(|(index, item)| (index.to_string(), item))
                .collect(),
        ),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => return leaf(),
    };
    html! {
        details open[depth < 2] {
            summary { (summary) }
            ul {
                @for (name, child) in children {
                    @if *left > 0 {
                        li { span.name { (visible(&name)) } ": " (node(visit, child, depth + 1, left)) }
                    }
                }
            }
        }
    }
}

/// An error of the API, in place of a part of a page.
pub(crate) fn problem(visit: &Browser, problem: &ApiProblem) -> Markup {
    html! {
        div.problem role="alert" {
            p { strong { (problem_title(visit, problem)) } }
            @if let Some(detail) = &problem.detail { p { (text(detail)) } }
            (faults(visit, &problem.errors))
            p.note {
                (advice(visit, problem)) " "
                a href=(format!("/dashboard/docs/errors#{}-{}", problem.code, problem.status)) { code { (problem.code) } }
                @if !problem.request_id.is_empty() { " · " (t!(visit, "request")) " " code { (visible(&problem.request_id)) } }
            }
        }
    }
}

/// Faults of a body, or probable mistakes, each with a link to its line.
pub(crate) fn faults(visit: &Browser, faults: &[Fault]) -> Markup {
    html! {
        @if !faults.is_empty() {
            ul {
                @for fault in faults {
                    li {
                        @if let Some(line) = fault.line {
                            a href=(format!("#line-{line}")) {
                                (t!(visit, "at-line", line = line, column = fault.column.unwrap_or(1)))
                            } " "
                        }
                        @if !fault.pointer.is_empty() { code { (visible(&fault.pointer)) } " " }
                        (text(&fault.detail))
                    }
                }
            }
        }
    }
}

pub(crate) fn problem_title(visit: &Browser, problem: &ApiProblem) -> String {
    // A title of its own, else that of the status.
    for id in [&problem.code, &problem.status.to_string()] {
        let id = format!("problem-{id}");
        if visit.language().has(&id) {
            return visit.language().text(&id, &[]);
        }
    }
    problem.title.clone()
}

/// What a person can do about an error.
pub(crate) fn advice(visit: &Browser, problem: &ApiProblem) -> String {
    if problem.code == "sample-changed" {
        return t!(visit, "advice-sample-changed");
    }
    match (problem.status, problem.retry_after) {
        (429 | 503, Some(seconds)) => t!(visit, "advice-wait", seconds = seconds),
        (402, _) => t!(visit, "advice-plan"),
        (403, _) => t!(visit, "advice-role"),
        (404, _) => t!(visit, "advice-not-found"),
        (409 | 412, _) => t!(visit, "advice-conflict"),
        (status, _) if status >= 500 => t!(visit, "advice-retry"),
        _ => t!(visit, "advice-correct"),
    }
}

/// What is shown of a result of the API: its content, or why there is none.
pub(crate) fn panel<T>(
    visit: &Browser,
    result: ApiResult<T>,
    content: impl FnOnce(T) -> Markup,
) -> Markup {
    match result {
        Ok(found) => content(found),
        Err(refused) => problem(visit, &refused),
    }
}

/// The error of a run.
pub(crate) fn run_error(visit: &Browser, error: &RunError) -> Markup {
    html! {
        div.problem {
            p { strong { (text(&error.title)) } " " code { (visible(&error.code)) } " (" (error.status) ")" }
            @if let Some(detail) = &error.detail { p { (text(detail)) } }
            @if let Some(instance) = &error.instance {
                p.note { (t!(visit, "at-task")) " " code { (visible(instance)) } }
            }
        }
    }
}

/// The fields that every form has.
pub(crate) fn csrf(visit: &Visit) -> Markup {
    html! { input type="hidden" name=(CSRF) value=(visit.session.csrf); }
}

/// The field that makes a creation happen once, however often its form is sent.
pub(crate) const ONCE: &str = "once";

pub(crate) fn once() -> Markup {
    html! { input type="hidden" name=(ONCE) value=(random_token()); }
}

/// A form with only a button.
pub(crate) fn button(visit: &Visit, action: &str, label: &str, fields: &[(&str, &str)]) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            (csrf(visit))
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            button { (label) }
        }
    }
}

/// A button that shows what will happen before it does.
pub(crate) fn confirmed(
    visit: &Visit,
    action: &str,
    label: &str,
    consequence: &str,
    fields: &[(&str, &str)],
) -> Markup {
    html! {
        details.confirmed {
            summary { (label) }
            p { (consequence) }
            form method="post" action=(action) {
                (csrf(visit))
                @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
                button.danger { (t!(visit, "confirm-do", action = label)) }
            }
        }
    }
}

/// A table that scrolls on its own where it is too wide.
pub(crate) fn table(label: &str, heads: &[String], rows: &Markup) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// A page of a list, with links to its first and next page.
pub(crate) fn list<T>(
    visit: &Browser,
    page: ApiResult<Page<T>>,
    content: impl FnOnce(&[T]) -> Markup,
) -> Markup {
    list_at(visit, visit.path(), page, content)
}

/// As [`list`], for a part of the page at this path.
pub(crate) fn list_at<T>(
    visit: &Browser,
    path: &str,
    page: ApiResult<Page<T>>,
    content: impl FnOnce(&[T]) -> Markup,
) -> Markup {
    let query = visit.query();
    let is_first = query.get("cursor").is_empty();
    let link = |cursor: &str| format!("{path}?{}", query.query_with(&[("cursor", cursor)]));
    panel(visit, page, |page| {
        html! {
            (content(&page.data))
            @if !is_first || page.next_cursor.is_some() {
                nav.pager aria-label=(t!(visit, "pages")) {
                    @if !is_first { a href=(link("")) { (t!(visit, "first-page")) } }
                    @if let Some(cursor) = &page.next_cursor { a rel="next" href=(link(cursor)) { (t!(visit, "next-page")) } }
                }
            }
        }
    })
}

/// A choice of one value.
pub(crate) fn select(
    name: &str,
    label: &str,
    chosen: &str,
    options: &[(String, String)],
) -> Markup {
    html! {
        label { (label)
            select name=(name) {
                @for (value, shown) in options {
                    option value=(value) selected[value == chosen] { (shown) }
                }
            }
        }
    }
}

pub(crate) fn input(name: &str, label: &str, value: &str, kind: &str) -> Markup {
    html! {
        label { (label)
            input name=(name) type=(kind) value=(value) autocomplete="off" spellcheck="false";
        }
    }
}

/// A notice after an action.
pub(crate) fn done(message: &str) -> Markup {
    html! { p.done role="status" { (message) } }
}

/// A secret that is shown only now.
pub(crate) fn shown_once(visit: &Browser, label: &str, value: &str) -> Markup {
    html! {
        div.once {
            p { strong { (label) } " " (t!(visit, "shown-once")) }
            (copied(visit, value, &html! { code.secret { (visible(value)) } }))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_visible() {
        let shown = text("a\u{202e}b\0<script>").into_string();
        assert_eq!(
            shown,
            "<bdi>a<span class=\"hidden-character\">U+202E</span>b\
             <span class=\"hidden-character\">U+0000</span>&lt;script&gt;</bdi>"
        );
        assert_eq!(start_of("äöü", 3), "ä");
    }

    proptest! {
        /// Whatever a provider sends, it makes no markup and hides nothing.
        #[test]
        fn any_string_is_shown_as_text(value in any::<String>()) {
            let shown = visible(&value).into_string();
            let without_ours = shown
                .replace("<span class=\"hidden-character\">", "")
                .replace("</span>", "");
            prop_assert!(!without_ours.contains(['<', '>', '"']));
            prop_assert!(!shown.contains(is_hidden));
        }
    }
}
