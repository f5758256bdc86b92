//! Endpoints as the API shows them. Only what was just made shows a secret.

use aias_domain::{
    endpoint::{Endpoint, Secret},
    event::text_of,
    id::{EndpointId, TenantId, WorkflowId},
    plan,
    verification::Verification,
};
use serde::Serialize;

use crate::secret::UrlSecret;

#[derive(Serialize)]
pub(crate) struct View {
    id: EndpointId,
    name: String,
    workflow_id: WorkflowId,
    verification: VerificationView,
    enabled: bool,
    disabled_reason: Option<&'static str>,
    url_secrets: Vec<SecretView>,
    signing_secrets: Vec<SecretView>,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Serialize)]
struct VerificationView {
    #[serde(flatten)]
    own: Verification,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Serialize)]
struct SecretView {
    created_at: String,
    valid_until: Option<String>,
    last_used_at: Option<String>,
}

fn secrets(all: &[Secret]) -> Vec<SecretView> {
    let view = |secret: &Secret| SecretView {
        created_at: text_of(secret.created_at),
        valid_until: secret.valid_until.map(text_of),
        last_used_at: secret.last_used_at.map(text_of),
    };
    all.iter().map(view).collect()
}

pub(crate) fn endpoint(endpoint: &Endpoint) -> View {
    View {
        id: endpoint.id,
        name: endpoint.name.to_string(),
        workflow_id: endpoint.workflow_id,
        verification: VerificationView {
            own: endpoint.verification.clone(),
            secret: None,
        },
        enabled: endpoint.is_on(),
        disabled_reason: plan::disabled_reason(endpoint.disabled_by_plan),
        url_secrets: secrets(&endpoint.url_secrets),
        signing_secrets: secrets(&endpoint.signing_secrets),
        created_at: text_of(endpoint.created_at),
        updated_at: text_of(endpoint.updated_at),
        url: None,
        secret: None,
    }
}

pub(crate) fn changed(own: &Endpoint, made: Option<&str>) -> View {
    let mut view = endpoint(own);
    view.verification.secret = made.map(str::to_owned);
    view
}

pub(crate) fn created(
    own: &Endpoint,
    secret: &UrlSecret,
    made: Option<&str>,
    base: &str,
    tenant: TenantId,
) -> View {
    View {
        url: Some(url(base, tenant, secret)),
        secret: Some(secret.text.clone()),
        ..changed(own, made)
    }
}

pub(crate) fn url(base: &str, tenant: TenantId, secret: &UrlSecret) -> String {
    format!("{base}/api/webhooks/{tenant}/{}", secret.text)
}
