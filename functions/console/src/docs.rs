//! The project's pages for users, rendered by `build.rs`.

use axum::{extract::Path, http::StatusCode, response::Response};
use maud::{PreEscaped, html};

use crate::{
    failure::{Failure, Result},
    layout, ui,
    visit::{Browser, Visit, t},
};

/// A page.
#[derive(Debug)]
pub(crate) struct DocsPage {
    name: &'static str,
    title: &'static str,
    html: &'static str,
    /// The id, the heading and the text of each section.
    sections: &'static [(&'static str, &'static str, &'static str)],
}

include!(concat!(env!("OUT_DIR"), "/docs.rs"));

/// The most results of a search, and the characters around a match.
const MAX_RESULTS: usize = 30;
const AROUND: usize = 80;

pub(crate) async fn index(visit: Visit) -> Response {
    let query = visit.query();
    let words = query.get("q");
    let content = html! {
        form.filters method="get" role="search" {
            (ui::input("q", &t!(visit, "docs-search"), words, "search"))
            button { (t!(visit, "search")) }
        }
        @if words.is_empty() {
            ul.cards {
                @for page in PAGES {
                    li { a href=(format!("/dashboard/docs/{}", page.name)) { (page.title) } }
                }
            }
        } @else {
            @let found = search(words);
            p role="status" { (t!(visit, "docs-found", count = found.len())) }
            ul.results {
                @for (page, id, heading, around) in found {
                    li {
                        a href=(format!("/dashboard/docs/{}#{id}", page.name)) {
                            (page.title) @if !heading.is_empty() { ": " (heading) }
                        }
                        p { (around) }
                    }
                }
            }
        }
    };
    visit.page(&t!(visit, "nav-docs"), content)
}

type Found = (&'static DocsPage, &'static str, &'static str, String);

/// The sections that contain every word.
fn search(words: &str) -> Vec<Found> {
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    let mut found = Vec::new();
    for page in PAGES {
        for (id, heading, text) in page.sections {
            let own = format!("{} {heading} {text}", page.title).to_lowercase();
            if words.iter().all(|word| own.contains(word)) {
                let lower = text.to_lowercase();
                let at = words.iter().find_map(|word| lower.find(word.as_str()));
                let around = around(text, at.unwrap_or_default());
                found.push((page, *id, *heading, around));
            }
            if found.len() == MAX_RESULTS {
                return found;
            }
        }
    }
    found
}

fn around(text: &str, at: usize) -> String {
    let before = ui::start_of(text, at).chars().rev().take(AROUND);
    let before: String = before.collect::<Vec<_>>().into_iter().rev().collect();
    let after = text.get(ui::start_of(text, at).len()..).unwrap_or_default();
    let after: String = after.chars().take(AROUND * 2).collect();
    format!("{before}{after}")
}

/// What an error code means, to which the `type` of a problem leads. It needs no session.
pub(crate) async fn error(browser: Browser, Path(code): Path<String>) -> Result {
    let mut entries = ERRORS.iter().filter(|(own, _)| *own == code).peekable();
    entries.peek().ok_or_else(Failure::not_found)?;
    let content = html! {
        article.docs lang="en" {
            @for (_, entry) in entries { (PreEscaped(entry)) }
        }
        p { a href="/dashboard/docs/errors" { (t!(browser, "docs-all-errors")) } }
    };
    Ok(layout::public_page(
        &browser,
        StatusCode::OK,
        &code,
        content,
    ))
}

pub(crate) async fn page(visit: Visit, Path(name): Path<String>) -> Result {
    let found = PAGES.iter().find(|page| page.name == name);
    let page = found.ok_or_else(Failure::not_found)?;
    let content = html! {
        p { a href="/dashboard/docs" { (t!(visit, "docs-all")) } }
        article.docs lang="en" { (PreEscaped(page.html)) }
    };
    Ok(visit.page(page.title, content))
}
