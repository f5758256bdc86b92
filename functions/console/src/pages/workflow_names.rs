//! The names of workflows, which other objects know by id.

use maud::{Markup, html};

use crate::{
    client::{ApiResult, Page, WorkflowHead},
    ui,
    visit::{Visit, t},
};

/// The newest workflows of the tenant. Of older ones a page shows the id.
pub(crate) struct WorkflowNames {
    newest: Vec<WorkflowHead>,
    are_all: bool,
}

impl WorkflowNames {
    pub(crate) async fn read(visit: &Visit) -> Self {
        Self::of(visit.get("/api/workflows?limit=100").await)
    }

    /// Of a list that cannot be read, pages show the ids.
    pub(crate) fn of(list: ApiResult<Page<WorkflowHead>>) -> Self {
        list.map_or_else(
            |_| Self {
                newest: Vec::new(),
                are_all: false,
            },
            |page| Self {
                newest: page.data,
                are_all: page.next_cursor.is_none(),
            },
        )
    }

    /// A link to a workflow, with its name.
    pub(crate) fn link(&self, id: &str, version: Option<u32>) -> Markup {
        html! {
            @if let Some(own) = self.newest.iter().find(|own| own.id == id) {
                a href=(format!("/dashboard/workflows/{id}")) title=(id) { (ui::text(&own.name)) }
            } @else {
                (ui::link("workflows", id))
            }
            @if let Some(version) = version { " v" (version) }
        }
    }

    /// A choice of one of them, or a field for its id if there are more. `none` is the text of the
    /// choice of no workflow.
    pub(crate) fn choice(&self, visit: &Visit, chosen: &str, none: Option<String>) -> Markup {
        let is_known = chosen.is_empty() || self.newest.iter().any(|own| own.id == chosen);
        if !self.are_all || !is_known {
            return ui::input("workflow_id", &t!(visit, "workflow-id"), chosen, "text");
        }
        let named = self
            .newest
            .iter()
            .map(|own| (own.id.clone(), format!("{} / {}", own.namespace, own.name)));
        let none = none.map(|text| (String::new(), text));
        let options: Vec<_> = none.into_iter().chain(named).collect();
        ui::select("workflow_id", &t!(visit, "workflow"), chosen, &options)
    }
}
