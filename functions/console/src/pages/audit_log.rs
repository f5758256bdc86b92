//! Who changed what.

use axum::response::Response;
use maud::html;

use crate::{
    client::{AuditEntry, Page},
    form::Fields,
    ui,
    visit::{Visit, t},
};

pub(crate) async fn page(visit: Visit) -> Response {
    let query = visit.query();
    let cursor = Fields::default().query_with(&[("cursor", query.get("cursor"))]);
    let path = visit.tenant_path(&format!("/audit-log?{cursor}"));
    let entries = visit.get::<Page<AuditEntry>>(&path).await;
    let next = entries
        .as_ref()
        .ok()
        .and_then(|page| page.next_cursor.clone());
    let content = html! {
        (ui::panel(&visit, entries, |page| html! {
            ol.audit {
                @for own in &page.data {
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
        (ui::pager(&visit, next.as_deref()))
    };
    visit.page(&t!(visit, "nav-audit-log"), content)
}
