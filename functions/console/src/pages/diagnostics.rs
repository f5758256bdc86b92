//! The state of the installation and of the tenant, for admins.

use axum::response::Response;
use maud::{Markup, html};

use crate::{
    client::Diagnostics,
    failure::Result,
    ui,
    visit::{Visit, t},
};

pub(crate) async fn page(visit: Visit) -> Result<Response> {
    let own: Diagnostics = visit.get("/api/diagnostics").await?;
    let content = html! {
        section {
            h2 { (t!(visit, "dependencies")) }
            dl.facts {
                @for (name, status) in &own.checks { dt { (ui::word(&visit, "dependency", name)) } dd { (ui::status(&visit, status)) } }
                dt { (t!(visit, "version")) } dd { (ui::text(&own.version)) }
            }
        }
        section { h2 { (t!(visit, "queue")) } (queue(&visit, &own)) }
        section { h2 { (t!(visit, "runs-last-day")) } (runs(&visit, &own)) }
        section {
            h2 { (t!(visit, "request-rate")) }
            p { (t!(visit, "request-rate-left", remaining = visit.language().number(own.request_rate.remaining.into()), limit = visit.language().number(own.request_rate.limit.into()), seconds = own.request_rate.resets_in_seconds)) }
        }
        section {
            h2 { (t!(visit, "configuration")) }
            ul.checks {
                @for check in &own.configuration { li { (ui::status(&visit, &check.status)) " " code { (ui::visible(&check.name)) } " " (ui::text(&check.detail)) } }
            }
        }
    };
    Ok(visit.page(&t!(visit, "nav-diagnostics"), content))
}

fn queue(visit: &Visit, own: &Diagnostics) -> Markup {
    let number = |number| visit.language().number(number);
    html! {
        @if let Some(queue) = &own.queue {
            dl.facts {
                dt { (t!(visit, "queue-messages")) } dd { (number(queue.messages)) }
                dt { (t!(visit, "queue-in-flight")) } dd { (number(queue.in_flight)) }
                dt { (t!(visit, "queue-delayed")) } dd { (number(queue.delayed)) }
                dt { (t!(visit, "dead-letters")) } dd { (number(queue.dead_letters)) }
            }
        } @else { p.problem { (t!(visit, "queue-unavailable")) } }
    }
}

fn runs(visit: &Visit, own: &Diagnostics) -> Markup {
    let number = |number| visit.language().number(number);
    html! {
        @if !own.runs.complete { p.note { (t!(visit, "chart-incomplete")) } }
        dl.facts {
            @for (status, count) in &own.runs.by_status { dt { (ui::status(visit, status)) } dd { (number(*count)) } }
            dt { (t!(visit, "running-now")) } dd { (number(own.runs.running)) }
            @if let Some(at) = &own.runs.oldest_pending_at { dt { (t!(visit, "oldest-pending")) } dd { (ui::time(visit, at)) } }
        }
        @if !own.runs.faulted_by_code.is_empty() {
            h3 { (t!(visit, "failures-by-code")) }
            dl.facts { @for (code, count) in &own.runs.faulted_by_code { dt { code { (ui::visible(code)) } } dd { (number(*count)) } } }
        }
    }
}
