//! `aias create-tenant`, `create-key` and `set-enterprise`: what operators do on AWS by signing in or
//! by invoking the reconciler. All work while a process serves the folder.
//!
//! If `create-tenant` dies between the tenant and its key, a tenant without a key remains: it is empty,
//! and the command can be repeated.

use std::path::{Path, PathBuf};

use aias_platform::http::{Api, Identity, service};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::Method,
    response::Response,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    data_folder::DataFolder,
    disk_sync::Durability,
    installation::{Installation, OpenError},
    settings::Settings,
};

/// What `aias create-tenant` is started with.
#[derive(Debug, Clone, clap::Args)]
pub struct CreateTenantOptions {
    /// The folder of all data, after its first start.
    #[arg(long)]
    pub data: PathBuf,
    /// The name of the tenant.
    #[arg(long)]
    pub name: String,
    /// The subject (`sub`) of its owner at the OIDC issuer, if there is one.
    #[arg(long, default_value = "operator")]
    pub owner: String,
}

/// What `aias create-key` is started with.
#[derive(Debug, Clone, clap::Args)]
pub struct CreateKeyOptions {
    /// The folder of all data, after its first start.
    #[arg(long)]
    pub data: PathBuf,
    /// The id of the tenant.
    #[arg(long)]
    pub tenant: String,
    /// The subject (`sub`) of an owner of the tenant.
    #[arg(long, default_value = "operator")]
    pub owner: String,
}

/// What `aias set-enterprise` is started with.
#[derive(Debug, Clone, clap::Args)]
pub struct SetEnterpriseOptions {
    /// The folder of all data, after its first start.
    #[arg(long)]
    pub data: PathBuf,
    /// The id of the tenant.
    #[arg(long)]
    pub tenant: String,
    /// The limits that differ from those of the plan, as JSON; `null` removes the plan.
    #[arg(long, default_value = "{}")]
    pub limits: String,
}

/// Why an operator's command failed.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the owner must be 1 to 255 ASCII characters without spaces")]
    Owner,
    #[error("--limits is no JSON with known limits")]
    Limits(#[source] serde_json::Error),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Enterprise(#[from] reconciler::EnterpriseError),
}

async fn open(data: &Path) -> Result<Installation, OpenError> {
    let folder = DataFolder::open_shared(data)?;
    let settings = Settings::default();
    // No URL is part of what these commands write.
    let (url, durability) = ("http://localhost", Durability::Power);
    Installation::open(&folder, &settings, url, durability, |client| client).await
}

/// Creates a tenant with an API key of its owner, and returns both as JSON.
///
/// # Errors
///
/// When the folder cannot be used, or the API refuses the name.
pub async fn create_tenant(options: CreateTenantOptions) -> Result<String, OperateError> {
    let api = TenantsApi::open(&options.data, &options.owner).await?;
    let tenant = api
        .post("/api/tenants", &json!({"name": options.name}))
        .await?;
    api.key(tenant["id"].as_str().unwrap_or_default()).await
}

/// Creates an API key of an owner of a tenant, and returns both as JSON.
///
/// # Errors
///
/// When the folder cannot be used, or the owner is not one of the tenant's.
pub async fn create_key(options: CreateKeyOptions) -> Result<String, OperateError> {
    let api = TenantsApi::open(&options.data, &options.owner).await?;
    api.key(&options.tenant).await
}

/// The API of tenants, called by a user in this process.
struct TenantsApi {
    router: Router,
    identity: Identity,
}

impl TenantsApi {
    async fn open(data: &Path, owner: &str) -> Result<Self, OperateError> {
        let open = open(data).await?;
        let owner = owner.parse().map_err(|_| OperateError::Owner)?;
        let api = Api::load(&open.aws, &open.tenants, &open.env);
        Ok(Self {
            router: service(tenants::routes(api)),
            identity: Identity::User(owner),
        })
    }

    /// Creates a key with all rights. Returns it with the id of its tenant, as JSON.
    async fn key(&self, tenant: &str) -> Result<String, OperateError> {
        let path = format!("/api/tenants/{tenant}/api-keys");
        let key = json!({"name": "operator", "role": "owner"});
        let key = self.post(&path, &key).await?;
        Ok(json!({"tenant_id": tenant, "api_key": key["key"]}).to_string())
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, OperateError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("content-type", "application/json")
            .extension(self.identity.clone())
            .body(Body::from(body.to_string()))
            .map_err(|error| OperateError::Refused(error.to_string()))?;
        let router = self.router.clone();
        let response = router
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {});
        result_of(response).await
    }
}

/// The body of a response, or why the API refused the request.
async fn result_of(response: Response) -> Result<Value, OperateError> {
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(body);
    }
    let detail = body["errors"][0]["detail"]
        .as_str()
        .or_else(|| body["detail"].as_str());
    let detail = detail.unwrap_or("the API refused it");
    Err(OperateError::Refused(detail.to_owned()))
}

/// Sets or removes a tenant's enterprise plan.
///
/// # Errors
///
/// When the folder cannot be used, or the tenant does not exist.
pub async fn set_enterprise(options: SetEnterpriseOptions) -> Result<(), OperateError> {
    let limits: Value = serde_json::from_str(&options.limits).map_err(OperateError::Limits)?;
    let event = json!({"enterprise": {"tenant_id": options.tenant, "limits": limits}});
    let event = serde_json::from_value(event).map_err(OperateError::Limits)?;
    let open = open(&options.data).await?;
    let app = reconciler::App::load(&open.aws, &open.env);
    reconciler::handle(&app, reconciler::Event::Enterprise(event)).await?;
    Ok(())
}
