//! `/api/tenants/{id}/audit-log`.

use aias_domain::{
    audit::{Actor, Entry, Target},
    id::{AuditId, TenantId},
    timestamp,
};
use aias_platform::{
    http::{Admin, Api, List, NoFilter, PageParams, Result, openapi},
    store::Listing,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// An entry of the audit log.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct EntryView {
    id: AuditId,
    #[schema(format = DateTime)]
    time: String,
    actor: Actor,
    #[schema(example = "endpoint.updated")]
    action: String,
    target: Target,
    source_ip: Option<String>,
    request_id: Option<String>,
    /// The object as the API showed it before; `null` for a new one.
    before: Value,
    /// The object as the API showed it after the change; `null` for a deleted one.
    after: Value,
}

fn view(entry: Entry) -> EntryView {
    EntryView {
        id: entry.id,
        time: timestamp::format(entry.at),
        actor: entry.actor,
        action: entry.action,
        target: entry.target,
        source_ip: entry.source_ip,
        request_id: entry.request_id,
        before: entry.before,
        after: entry.after,
    }
}

/// List the audit log
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/audit-log",
    tag = "tenants",
    params(("id" = TenantId, Path), PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<EntryView>)),
    extensions(("x-role" = json!("admin"))),
)]
pub(crate) async fn list_audit_log(ctx: Admin<Api, List<NoFilter>>) -> Result {
    let (store, since) = (ctx.store(), ctx.caller.tenant.created_at);
    let fetch = async |listing: Listing| Ok(store.audit_log(&listing, since, ctx.now).await?);
    ctx.page(fetch, view).await
}
