//! Who changed what.

use axum::response::Response;
use maud::html;

use crate::{
    client::AuditEntry,
    ui,
    visit::{Visit, t},
};

pub(crate) async fn page(visit: Visit) -> Response {
    let path = visit.tenant_path("/audit-log");
    let entries = visit.list::<AuditEntry>(&path, &[]).await;
    let content = html! {
        (ui::list(&visit, entries, |all| html! {
            ol.audit {
                @for own in all {
                    li {
                        p {
                            (ui::time(&visit, &own.time)) " · " strong { (ui::text(&own.action)) } " · "
                            (ui::text(&own.target.kind)) " " code { (ui::visible(&own.target.id)) }
                        }
                        p.note {
                            (t!(visit, "by")) " " (ui::word(&visit, "actor", &own.actor.kind)) " "
                            @if let Some(id) = &own.actor.id { code { (ui::visible(id)) } }
                            @if let Some(address) = &own.source_ip { " · " (ui::text(address)) }
                            @if let Some(request) = &own.request_id { " · " (t!(visit, "request")) " " code { (ui::visible(request)) } }
                        }
                        @for (name, value) in [("before", &own.before), ("after", &own.after)] {
                            @if let Some(value) = value && !value.is_null() { details { summary { (t!(visit, name)) } (ui::tree(&visit, value)) } }
                        }
                    }
                }
            }
        }))
    };
    visit.page(&t!(visit, "nav-audit-log"), content)
}
