//! `/api/tenants/{id}/audit-log`.

use aias_domain::{
    audit::{Actor, Entry, Target},
    event::text_of,
    id::AuditId,
    tenant::Role,
};
use aias_platform::{
    http::{Caller, Problem, Request, Response},
    store::{Listing, TenantStore},
};
use serde::Serialize;
use serde_json::Value;

use crate::App;

#[derive(Serialize)]
struct EntryView {
    id: AuditId,
    time: String,
    actor: Actor,
    action: String,
    target: Target,
    source_ip: Option<String>,
    request_id: Option<String>,
    before: Value,
    after: Value,
}

fn view(entry: Entry) -> EntryView {
    EntryView {
        id: entry.id,
        time: text_of(entry.at),
        actor: entry.actor,
        action: entry.action,
        target: entry.target,
        source_ip: entry.source_ip,
        request_id: entry.request_id,
        before: entry.before,
        after: entry.after,
    }
}

pub(crate) async fn list(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let (since, now) = (caller.tenant.created_at, app.api.clock.now());
    let fetch = async |listing: Listing| Ok(store.audit_log(&listing, since, now).await?);
    app.api.list(store, request, &[], fetch, view).await
}
