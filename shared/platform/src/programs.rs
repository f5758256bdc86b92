//! Compiled versions, kept: a version never changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aias_domain::{
    id::{TenantId, WorkflowId},
    run::RunError,
};
use aias_engine::Program;

use crate::store::{self, TenantStore};

/// How many versions are kept; beyond that all are compiled anew.
const MAX_KEPT: usize = 256;

type Key = (TenantId, WorkflowId, u32);

/// Compiled versions.
#[derive(Debug, Default)]
pub struct Programs(Mutex<HashMap<Key, Arc<Program>>>);

impl Programs {
    /// A version, compiled; or why the run cannot have it.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn get(
        &self,
        store: &TenantStore<'_>,
        workflow: WorkflowId,
        version: u32,
    ) -> Result<Result<Arc<Program>, RunError>, store::Error> {
        let key = (store.tenant_id(), workflow, version);
        let kept = self.kept().get(&key).cloned();
        if let Some(program) = kept {
            return Ok(Ok(program));
        }
        let Some(found) = store.version(workflow, version).await? else {
            let detail = format!("version {version} of {workflow} is not there");
            return Ok(Err(RunError::platform(
                "no-such-version",
                "No such version",
                detail,
            )));
        };
        let compiled = serde_json::from_str(&found.definition)
            .ok()
            .and_then(|definition| Program::compile(&definition).ok());
        let Some(program) = compiled.map(Arc::new) else {
            let detail = format!("version {version} of {workflow} does not compile any more");
            return Ok(Err(RunError::platform(
                "version-broken",
                "The version cannot run",
                detail,
            )));
        };
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&program));
        Ok(Ok(program))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Program>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
