//! Endpoints as the API shows them. Only a new secret is shown.

use aias_domain::{
    endpoint::{Endpoint, Secret, Which},
    event::text_of,
    id::{EndpointId, TenantId, WorkflowId},
    plan,
    verification::{Algorithm, Encoding, Verification},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::secret::PathSecret;

/// A webhook endpoint.
#[derive(Serialize, ToSchema)]
#[schema(as = Endpoint)]
pub(crate) struct EndpointView {
    id: EndpointId,
    name: String,
    workflow_id: WorkflowId,
    verification: VerificationView,
    enabled: bool,
    /// Why it is disabled, if its owner did not do so: `plan` if the plan allows fewer.
    disabled_reason: Option<&'static str>,
    /// The path secrets that are valid, newest first.
    url_secrets: Vec<SecretView>,
    /// The signing secrets that are valid, newest first.
    signing_secrets: Vec<SecretView>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// How an endpoint's requests are verified.
#[derive(Serialize, ToSchema)]
#[schema(as = Verification)]
struct VerificationView {
    #[schema(example = "github")]
    scheme: String,
    /// Of `hmac`: the header that carries the signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    header: Option<String>,
    /// Of `hmac`: the hash; `sha256` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    algorithm: Option<Algorithm>,
    /// Of `hmac`: the encoding; `hex` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    encoding: Option<Encoding>,
    /// Of `hmac`: what precedes the signature in its header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    prefix: Option<String>,
    /// Of `hmac`: the header that carries the event's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    event_id_header: Option<String>,
    /// A signing secret that AIAS just made, shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    secret: Option<String>,
}

impl VerificationView {
    fn new(own: &Verification) -> Self {
        let hmac = &own.hmac;
        Self {
            scheme: own.scheme.clone(),
            header: hmac.header.clone(),
            algorithm: hmac.algorithm,
            encoding: hmac.encoding,
            prefix: hmac.prefix.clone(),
            event_id_header: hmac.event_id_header.clone(),
            secret: None,
        }
    }
}

/// What is known of a secret, without its value.
#[derive(Serialize, ToSchema)]
#[schema(as = EndpointSecret)]
struct SecretView {
    #[schema(format = DateTime)]
    created_at: String,
    /// When it stops being valid, after a rotation.
    #[schema(format = DateTime)]
    valid_until: Option<String>,
    /// When it was last used, to the hour.
    #[schema(format = DateTime)]
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

pub(crate) fn endpoint(endpoint: &Endpoint) -> EndpointView {
    EndpointView {
        id: endpoint.id,
        name: endpoint.name.to_string(),
        workflow_id: endpoint.workflow_id,
        verification: VerificationView::new(&endpoint.verification),
        enabled: endpoint.is_on(),
        disabled_reason: plan::disabled_reason(endpoint.disabled_by_plan),
        url_secrets: secrets(&endpoint.url_secrets),
        signing_secrets: secrets(&endpoint.signing_secrets),
        created_at: text_of(endpoint.created_at),
        updated_at: text_of(endpoint.updated_at),
    }
}

/// An endpoint, with a signing secret that AIAS just made.
pub(crate) fn changed(own: &Endpoint, made: Option<&str>) -> EndpointView {
    let mut view = endpoint(own);
    view.verification.secret = made.map(str::to_owned);
    view
}

/// A new webhook endpoint, with its secrets.
#[derive(Serialize, ToSchema)]
#[schema(as = NewEndpoint)]
pub(crate) struct NewEndpointView {
    #[serde(flatten)]
    own: EndpointView,
    /// Where the provider posts to, shown this once.
    #[schema(format = "uri")]
    url: String,
    /// The path secret in the URL, shown this once.
    secret: String,
}

pub(crate) fn created(
    own: &Endpoint,
    secret: &PathSecret,
    made: Option<&str>,
    base: &str,
    tenant: TenantId,
) -> NewEndpointView {
    NewEndpointView {
        own: changed(own, made),
        url: url(base, tenant, secret),
        secret: secret.text.clone(),
    }
}

/// A webhook endpoint, with its new secret.
#[derive(Serialize, ToSchema)]
#[schema(as = RotatedEndpoint)]
pub(crate) struct RotatedEndpointView {
    #[serde(flatten)]
    pub(crate) own: EndpointView,
    /// Which secret is new.
    pub(crate) which: Which,
    /// The new secret, shown this once.
    pub(crate) secret: String,
    /// With a new path secret: where the provider posts to, shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "uri")]
    pub(crate) url: Option<String>,
}

pub(crate) fn url(base: &str, tenant: TenantId, secret: &PathSecret) -> String {
    format!("{base}/api/webhooks/{tenant}/{}", secret.text)
}
