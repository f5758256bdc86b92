//! A tenant's secrets, sealed: for the tenant and the name, and for nothing else.

use aias_domain::{
    id::TenantId,
    secret::{SecretItem, SecretName},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::secrets::{Error, Keyring};

fn place(tenant: TenantId, name: &SecretName) -> String {
    format!("{tenant}/secrets/{name}")
}

/// A secret of this value, first set at `created_at`.
///
/// # Errors
/// Never for values that fit into memory.
pub fn seal(
    keyring: &Keyring,
    tenant: TenantId,
    name: &SecretName,
    value: &Value,
    (created_at, updated_at): (Timestamp, Timestamp),
) -> Result<SecretItem, Error> {
    let text = value.to_string();
    Ok(SecretItem {
        name: name.clone(),
        sealed: keyring.seal(&place(tenant, name), text.as_bytes())?,
        created_at,
        updated_at,
    })
}

/// Its value.
///
/// # Errors
/// When it was sealed for another tenant or name, or with a key that is gone.
pub fn open(
    keyring: &Keyring,
    tenant: TenantId,
    name: &SecretName,
    item: &SecretItem,
) -> Result<Value, Error> {
    let text = keyring.open(&place(tenant, name), &item.sealed)?;
    serde_json::from_slice(&text).map_err(|_| Error::Sealed)
}
