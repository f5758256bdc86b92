//! `/api/secrets…`: workflow secrets. A value can be written but not read. These routes are in this
//! function because its role may already write the tenant's configuration and read the keyring
//! (`docs/architecture.md`).

use aias_domain::{
    plan::Limits,
    secret::{self, MAX_VALUE_BYTES, SecretName, WorkflowSecret},
    timestamp,
};
use aias_platform::{
    http::{
        Admin, Api, Change, JsonBody, Path, Problem, RequestBody, Result, openapi,
        response::{no_content, object},
        shown, whole_list,
    },
    store::{Stored, TenantStore},
    tenant_secrets,
};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{ObjectBuilder, OneOfBuilder, Schema, schema::Type},
};

/// A workflow secret, without its value.
#[derive(Serialize, ToSchema)]
#[schema(as = Secret)]
pub(crate) struct SecretView {
    name: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

fn view(secret: &WorkflowSecret) -> SecretView {
    SecretView {
        name: secret.name.to_string(),
        created_at: timestamp::format(secret.created_at),
        updated_at: timestamp::format(secret.updated_at),
    }
}

async fn find(store: &TenantStore<'_>, name: &SecretName) -> Result<Stored<WorkflowSecret>> {
    store.secret(name).await?.ok_or_else(Problem::not_found)
}

/// List workflow secrets
#[utoipa::path(
    get,
    path = "/api/secrets",
    tag = "secrets",
    responses((status = 200, description = "All workflow secrets", body = openapi::Page<SecretView>)),
    extensions(("x-role" = json!("admin"))),
)]
pub(crate) async fn list_secrets(ctx: Admin<Api>) -> Result {
    let secrets = ctx.store().secrets().await?;
    let views: Vec<_> = secrets.iter().map(view).collect();
    whole_list(&views)
}

/// Get a workflow secret
#[utoipa::path(
    get,
    path = "/api/secrets/{name}",
    tag = "secrets",
    params(("name" = inline(SecretName), Path)),
    responses((
        status = 200, description = "The secret, without its value", body = SecretView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("admin"))),
)]
pub(crate) async fn get_secret(ctx: Admin<Api>, Path(name): Path<SecretName>) -> Result {
    object(
        StatusCode::OK,
        &view(&find(&ctx.store(), &name).await?.value),
    )
}

/// A workflow secret's value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretInput {
    /// A string of at least 8 bytes, or an object that configures an authentication policy. At most
    /// 8 KiB.
    #[schema(schema_with = value_schema)]
    value: Value,
}

fn value_schema() -> Schema {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(8))
        .max_length(Some(2_000));
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .min_properties(Some(1))
        .max_properties(Some(10));
    OneOfBuilder::new().item(text).item(object).into()
}

/// The size of the request body without the value, in bytes.
const ENVELOPE_BYTES: usize = 1024;

impl RequestBody for SecretInput {
    fn max_bytes(_: Option<&Limits>) -> usize {
        MAX_VALUE_BYTES + ENVELOPE_BYTES
    }
}

/// Set a workflow secret
#[utoipa::path(
    put,
    path = "/api/secrets/{name}",
    tag = "secrets",
    params(("name" = inline(SecretName), Path), openapi::IfMatch),
    request_body = SecretInput,
    responses(
        (
            status = 200, description = "The changed secret", body = SecretView,
            headers(("etag" = String)),
        ),
        (
            status = 201, description = "The new secret", body = SecretView,
            headers(("etag" = String)),
        ),
    ),
    extensions(
        ("x-role" = json!("admin")),
        ("x-problems" = json!(["conflict", "plan-limit-exceeded", "precondition-failed"])),
    ),
)]
pub(crate) async fn put_secret(
    ctx: Admin<Api>,
    Path(name): Path<String>,
    body: JsonBody<SecretInput>,
) -> Result {
    let name: SecretName = name
        .parse()
        .map_err(|error: secret::NameError| Problem::invalid_member("/name", error.to_string()))?;
    let (value, now) = (&body.value.value, ctx.now);
    secret::check_value(value)
        .map_err(|error| Problem::invalid_member("/value", error.to_string()))?;
    let keyring = ctx.app.auth.keyring().await?;
    let before = ctx.store().secret(&name).await?;
    if let Some(before) = &before {
        ctx.head.check_if_match(&view(&before.value))?;
    }
    let created_at = before.as_ref().map_or(now, |read| read.value.created_at);
    let tenant = ctx.caller.tenant.id;
    let sealed = tenant_secrets::seal(&keyring, tenant, &name, value, (created_at, now))?;
    let own = Stored {
        version: before.as_ref().map_or(0, |read| read.version),
        value: sealed,
    };
    let after = shown(&view(&own.value));
    let (status, change) = match &before {
        None => (StatusCode::CREATED, Change::created("secret", &name, after)),
        Some(before) => {
            let before = shown(&view(&before.value));
            (
                StatusCode::OK,
                Change::updated("secret", &name, before, after),
            )
        }
    };
    let limit = ctx.caller.limits.secrets;
    ctx.change(change, async |store| store.save_secret(&own, limit).await)
        .await?;
    object(status, &view(&own.value))
}

/// Delete a workflow secret
#[utoipa::path(
    delete,
    path = "/api/secrets/{name}",
    tag = "secrets",
    params(("name" = inline(SecretName), Path), openapi::IfMatch),
    responses((status = 204, description = "The secret is deleted")),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["conflict", "precondition-failed"]))),
)]
pub(crate) async fn delete_secret(ctx: Admin<Api>, Path(name): Path<SecretName>) -> Result {
    let read = find(&ctx.store(), &name).await?;
    ctx.head.check_if_match(&view(&read.value))?;
    let change = Change::deleted("secret", &name, shown(&view(&read.value)));
    ctx.change(change, async |store| store.delete_secret(&read).await)
        .await?;
    Ok(no_content())
}
