//! Definitions of workflow versions, kept: a version never changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aias_domain::{
    id::{TenantId, WorkflowId},
    run::RunError,
};
use aias_sandbox::Definition;

use crate::store::{self, TenantStore};

/// How many are kept; beyond that all are read anew.
const MAX_KEPT: usize = 256;

type Key = (TenantId, WorkflowId, u32);

/// Definitions.
#[derive(Debug, Default)]
pub struct Definitions(Mutex<HashMap<Key, Arc<Definition>>>);

impl Definitions {
    /// A version's definition; or why the run cannot have it.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn get(
        &self,
        store: &TenantStore<'_>,
        workflow: WorkflowId,
        version: u32,
    ) -> Result<Result<Arc<Definition>, RunError>, store::Error> {
        let key = (store.tenant_id(), workflow, version);
        let kept = self.kept().get(&key).cloned();
        if let Some(definition) = kept {
            return Ok(Ok(definition));
        }
        let Some(found) = store.version(workflow, version).await? else {
            let detail = format!("version {version} of {workflow} is not there");
            return Ok(Err(RunError::platform(
                "no-such-version",
                "No such version",
                detail,
            )));
        };
        let definition = Definition::new(found.definition);
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&definition));
        Ok(Ok(definition))
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Arc<Definition>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
