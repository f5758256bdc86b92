//! A version of a workflow, and what it changes.

use aias_domain::tenant::Role;
use aias_platform::http::Path;
use maud::{Markup, html};
use similar::{ChangeTag, TextDiff};

use super::{picture, workflow_form::as_yaml};
use crate::{
    client::Version,
    failure::Result,
    form::{Id, version},
    ui,
    visit::{Visit, t},
};

/// The most lines of a difference.
const MAX_LINES: usize = 2_000;

pub(crate) async fn page(visit: Visit, Path((id, number)): Path<(Id, u32)>) -> Result {
    let query = visit.query();
    let against = match query.get("against") {
        "" => number.saturating_sub(1),
        text => version(&visit, text)?,
    };
    let path = |number: u32| format!("/api/workflows/{id}/versions/{number}");
    let (own_path, other_path) = (path(number), path(against));
    let (own, other) = tokio::join!(visit.get::<Version>(&own_path), async {
        match against {
            0 => None,
            _ => Some(visit.get::<Version>(&other_path).await),
        }
    });
    let own = own?;
    let content = html! {
        p { (ui::link("workflows", &id)) " · " (ui::time(&visit, &own.head.created_at)) }
        p { (ui::id(&visit, &own.head.digest)) }
        @if visit.can(Role::Editor) {
            (ui::confirmed(&visit, &format!("/dashboard/workflows/{id}/activate"), &t!(visit, "activate"),
                &t!(visit, "activate-consequence", version = number), &[("version", &number.to_string())]))
        }
        @if let Some(other) = other {
            section {
                h2 { (t!(visit, "changes-since", version = against)) }
                (ui::panel(&visit, other, |other| difference(&visit, &as_yaml(&other.definition), &as_yaml(&own.definition))))
            }
        }
        section { h2 { (t!(visit, "definition")) } (picture::of(&visit, &own.definition, None)) (ui::preformatted(&visit, &as_yaml(&own.definition))) }
    };
    Ok(visit.page(&t!(visit, "version-number", number = number), content))
}

/// Two texts, line by line.
pub(crate) fn difference(visit: &Visit, before: &str, after: &str) -> Markup {
    let compared = TextDiff::from_lines(before, after);
    let changes: Vec<_> = compared.iter_all_changes().take(MAX_LINES).collect();
    if changes
        .iter()
        .all(|change| change.tag() == ChangeTag::Equal)
    {
        return html! { p { (t!(visit, "no-difference")) } };
    }
    html! {
        pre.data.difference tabindex="0" dir="ltr" {
            @for change in changes {
                @match change.tag() {
                    ChangeTag::Equal => span { "  " (ui::visible(change.value())) },
                    ChangeTag::Insert => ins { "+ " (ui::visible(change.value())) },
                    ChangeTag::Delete => del { "- " (ui::visible(change.value())) },
                }
            }
        }
    }
}
