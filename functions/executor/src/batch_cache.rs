//! Reads shared by the messages of a batch. All reads happen after every message of the batch was
//! sent, so no message is handled with an older workflow or plan than at its event.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use aias_domain::{
    id::{TenantId, WorkflowId},
    tenant::Tenant,
    workflow::Workflow,
};
use aias_platform::store::{self, Stored, TenantStore};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

type SharedRead<'a, T> = Shared<BoxFuture<'a, Result<Option<T>, Arc<store::Error>>>>;
type SharedReads<'a, K, T> = Mutex<HashMap<K, SharedRead<'a, T>>>;

/// The shared reads of one batch.
#[derive(Default)]
pub(crate) struct BatchCache<'a> {
    workflows: SharedReads<'a, (TenantId, WorkflowId), Workflow>,
    tenants: SharedReads<'a, TenantId, Tenant>,
}

impl<'a> BatchCache<'a> {
    pub(crate) fn workflow(
        &self,
        store: TenantStore<'a>,
        id: WorkflowId,
    ) -> SharedRead<'a, Workflow> {
        let read = async move { value(store.workflow(id).await) };
        once(&self.workflows, (store.tenant_id(), id), read)
    }

    pub(crate) fn tenant(&self, store: TenantStore<'a>) -> SharedRead<'a, Tenant> {
        let read = async move { value(store.tenant().await) };
        once(&self.tenants, store.tenant_id(), read)
    }
}

fn value<T>(read: Result<Option<Stored<T>>, store::Error>) -> Result<Option<T>, Arc<store::Error>> {
    match read {
        Ok(found) => Ok(found.map(|stored| stored.value)),
        Err(error) => Err(Arc::new(error)),
    }
}

fn once<'a, K: Eq + Hash, T: Clone>(
    readings: &SharedReads<'a, K, T>,
    key: K,
    read: impl Future<Output = Result<Option<T>, Arc<store::Error>>> + Send + 'a,
) -> SharedRead<'a, T> {
    let mut readings = readings.lock().unwrap_or_else(PoisonError::into_inner);
    let reading = readings.entry(key);
    reading.or_insert_with(|| read.boxed().shared()).clone()
}
