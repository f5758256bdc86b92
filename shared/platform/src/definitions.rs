//! A cache of definitions. Versions are immutable, so entries never become stale.

use std::sync::Arc;

use aias_domain::{
    id::{TenantId, WorkflowId},
    run::RunError,
};
use aias_sandbox::Definition;

use crate::{
    cache::{self, Cache},
    store::{self, TenantStore},
};

const MAX_DEFINITIONS: usize = 256;

type Key = (TenantId, WorkflowId, u32);

#[derive(Debug)]
pub struct Definitions(Cache<Key, Arc<Definition>>);

impl Default for Definitions {
    fn default() -> Self {
        Self(cache::bounded(MAX_DEFINITIONS))
    }
}

impl Definitions {
    /// The definition of a version, or the error that faults the run.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn get(
        &self,
        store: &TenantStore<'_>,
        workflow: WorkflowId,
        version: u32,
    ) -> Result<Result<Arc<Definition>, RunError>, store::Error> {
        let key = (store.tenant_id(), workflow, version);
        if let Some(definition) = self.0.get(&key) {
            return Ok(Ok(definition));
        }
        let Some(found) = store.version(workflow, version).await? else {
            let detail = format!("version {version} of {workflow} does not exist");
            return Ok(Err(RunError::platform(
                "no-such-version",
                "The workflow version does not exist",
                detail,
            )));
        };
        let definition = Definition::new(found.definition);
        self.0.insert(key, Arc::clone(&definition));
        Ok(Ok(definition))
    }
}
