//! API keys: shown once, stored as a keyed hash.

use aias_domain::{
    id::{KeyId, TenantId},
    name::Name,
    tenant::{ApiKey, Role, may_manage},
};
use aias_platform::{
    clock::{random_id, random_secret},
    http::{
        Admin, Api, Change, JsonBody, List, NoFilter, Once, PageParams, Path, Problem, RequestBody,
        Result, TOKEN_PREFIX, openapi,
        response::{no_content, object},
        shown,
    },
    secrets::Purpose,
    store::Listing,
};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::view;

/// List API keys
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/api-keys",
    tag = "tenants",
    params(("id" = TenantId, Path), PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<view::KeyView>)),
    extensions(("x-role" = json!("admin"))),
)]
pub(crate) async fn list_api_keys(ctx: Admin<Api, List<NoFilter>>) -> Result {
    let store = ctx.store();
    let fetch = async |listing: Listing| Ok(store.api_keys(&listing).await?);
    ctx.page(fetch, |key| view::api_key(&key)).await
}

/// A new API key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiKeyInput {
    name: Name,
    role: Role,
    /// When the key expires; never by default.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl RequestBody for ApiKeyInput {}

fn manage(caller: Role, role: Role) -> Result<()> {
    may_manage(caller, role).map_err(|error| Problem::forbidden(error.to_string()))
}

/// Create an API key
///
/// The response is the only one that contains the token.
#[utoipa::path(
    post,
    path = "/api/tenants/{id}/api-keys",
    tag = "tenants",
    params(("id" = TenantId, Path), openapi::IdempotencyKey),
    request_body = ApiKeyInput,
    responses((
        status = 201, description = "The key", body = view::NewKeyView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["conflict", "plan-limit-exceeded"]))),
)]
pub(crate) async fn create_api_key(ctx: Admin<Api>, body: JsonBody<ApiKeyInput>) -> Result {
    let create = async |once: Once<'_>| {
        let input = &body.value;
        manage(ctx.caller.role, input.role)?;
        if input.expires_at.is_some_and(|at| at <= ctx.now) {
            return Err(Problem::invalid_member(
                "/expires_at",
                "must be in the future",
            ));
        }
        let tenant = ctx.caller.tenant.id.ulid();
        let secret = random_secret();
        let parts = [tenant.as_bytes(), secret.as_bytes()];
        let key = ApiKey {
            id: KeyId::new(ctx.now, random_id()),
            name: input.name.clone(),
            role: input.role,
            created_at: ctx.now,
            valid_until: input.expires_at,
            token_hash: once.keyring().hash(Purpose::ApiKey, &parts),
            disabled_by_plan: false,
        };
        let token = format!("{TOKEN_PREFIX}{tenant}_{secret}");
        let response = object(StatusCode::CREATED, &view::new_api_key(&key, token))?;
        let change = Change::created("api_key", &key.id, shown(&view::api_key(&key)));
        let limit = ctx.caller.limits.api_keys;
        ctx.create(&once, change, response, async |store, sealed| {
            store.create_api_key(&key, limit, sealed).await
        })
        .await
    };
    ctx.once(&body.bytes, create).await
}

/// Delete an API key
#[utoipa::path(
    delete,
    path = "/api/tenants/{id}/api-keys/{key_id}",
    tag = "tenants",
    params(("id" = TenantId, Path), ("key_id" = KeyId, Path)),
    responses((status = 204, description = "The key is deleted")),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["conflict"]))),
)]
pub(crate) async fn delete_api_key(
    ctx: Admin<Api>,
    Path((_, id)): Path<(TenantId, KeyId)>,
) -> Result {
    let read = ctx.store().api_key(id).await?;
    let read = read.ok_or_else(Problem::not_found)?;
    manage(ctx.caller.role, read.value.role)?;
    let change = Change::deleted("api_key", &id, shown(&view::api_key(&read.value)));
    ctx.change(change, async |store| store.delete_api_key(&read).await)
        .await?;
    Ok(no_content())
}
