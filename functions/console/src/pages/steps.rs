//! The data of every step of a run, computed again.

use aias_platform::http::Path;
use axum::response::Response;
use maud::{Markup, html};

use crate::{
    client::Step,
    form::Id,
    ui,
    visit::{Visit, t},
};

pub(crate) async fn page(visit: Visit, Path(id): Path<Id>) -> Response {
    let path = format!("/api/runs/{id}/steps?limit=25");
    let steps = visit.list::<Step>(&path, &[]).await;
    let content = html! {
        p { (ui::link("runs", &id)) }
        h2 { (t!(visit, "steps-of-run")) }
        (ui::list(&visit, steps, |steps| list(&visit, steps)))
    };
    visit.page(&t!(visit, "steps"), content)
}

pub(crate) fn list(visit: &Visit, steps: &[Step]) -> Markup {
    html! {
        ol.steps {
            @for step in steps {
                li {
                    h3 { code { (ui::visible(&step.task)) } " " (ui::status(visit, &step.status)) }
                    p.note {
                        (ui::duration(visit, Some(step.elapsed_ms)))
                        @if step.attempt > 1 { " · " (t!(visit, "attempt", number = step.attempt)) }
                        @if !step.truncated.is_empty() { " · " (t!(visit, "truncated")) }
                    }
                    @if let Some(error) = &step.error { (ui::run_error(visit, error)) }
                    @for (name, value) in [("input", &step.input), ("output", &step.output)] {
                        @if let Some(value) = value { details { summary { (t!(visit, name)) } (ui::tree(visit, value)) } }
                    }
                    @if !step.expressions.is_empty() {
                        details {
                            summary { (t!(visit, "expressions")) }
                            ul {
                                @for own in &step.expressions {
                                    li {
                                        code { (ui::visible(&own.expression)) } " → "
                                        @if let Some(error) = &own.error { strong { (ui::text(error)) } }
                                        @else { code { (ui::visible(ui::start_of(&own.result.as_ref().map(ToString::to_string).unwrap_or_default(), 2000))) } }
                                        " " code { (ui::visible(&own.pointer)) }
                                    }
                                }
                            }
                        }
                    }
                    @for call in &step.calls {
                        details {
                            summary { (t!(visit, "call")) " " (ui::time(visit, &call.requested_at)) }
                            (ui::tree(visit, &call.request))
                            @if let Some(result) = &call.result { (ui::tree(visit, result)) }
                        }
                    }
                }
            }
        }
    }
}
