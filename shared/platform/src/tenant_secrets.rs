//! Workflow secrets, sealed for their tenant and name.

use aias_domain::{
    id::TenantId,
    secret::{SecretName, WorkflowSecret},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::secrets::{Error, Keyring};

fn place(tenant: TenantId, name: &SecretName) -> String {
    format!("{tenant}/secrets/{name}")
}

/// Seals the value of a secret.
///
/// # Errors
///
/// Only when encryption fails.
pub fn seal(
    keyring: &Keyring,
    tenant: TenantId,
    name: &SecretName,
    value: &Value,
    (created_at, updated_at): (Timestamp, Timestamp),
) -> Result<WorkflowSecret, Error> {
    let text = value.to_string();
    Ok(WorkflowSecret {
        name: name.clone(),
        sealed: keyring.seal(&place(tenant, name), text.as_bytes())?,
        created_at,
        updated_at,
    })
}

/// Opens the value of a secret.
///
/// # Errors
///
/// When it was sealed for another tenant or name, with a removed key, or was modified.
pub fn open(
    keyring: &Keyring,
    tenant: TenantId,
    name: &SecretName,
    item: &WorkflowSecret,
) -> Result<Value, Error> {
    let text = keyring.open(&place(tenant, name), &item.sealed)?;
    serde_json::from_slice(&text).map_err(|_| Error::Sealed)
}
