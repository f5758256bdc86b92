//! Wake-ups of waiting runs: an item in the run's partition, found by its hour in the index
//! `active`. A waiting run uses no other resource.

use aias_domain::id::{RunId, WorkflowId};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    Error, Proof, TenantStore,
    items::{EXPIRES_AT, Item, KIND, number, string_of},
    keys::{self, PK, SK},
};

/// A run that continues at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// For the reconciler only.
    pub proof: Proof,
    pub run_id: RunId,
    pub workflow_id: WorkflowId,
    /// To the second.
    pub at: Timestamp,
}

impl TenantStore<'_> {
    /// Schedules the wake-up of a run. Idempotent.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn schedule_wake(
        &self,
        run: RunId,
        workflow: WorkflowId,
        at: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let mut item = keys::wake(self.tenant, run, workflow, at).attributes();
        item.insert(KIND.to_owned(), AttributeValue::S("wake".to_owned()));
        item.insert(
            "active_hour".to_owned(),
            AttributeValue::S(keys::wake_hour(run, at)),
        );
        item.insert(EXPIRES_AT.to_owned(), number(expires_at.as_second()));
        self.store.create(item).await.map(|_| ())
    }

    /// Deletes a wake-up after the run's message was sent.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn delete_wake(&self, wake: &Wake) -> Result<(), Error> {
        let key = keys::wake(self.tenant, wake.run_id, wake.workflow_id, wake.at);
        self.store
            .client
            .delete_item()
            .table_name(&self.store.table)
            .set_key(Some(key.attributes()))
            .send()
            .await
            .map(|_| ())
            .map_err(super::classify)
    }
}

/// The wake-up of an item of the index.
pub(super) fn wake_of(item: &Item) -> Option<Wake> {
    let (tenant, run_id, workflow_id, at) =
        keys::wake_of(string_of(item, PK)?, string_of(item, SK)?)?;
    Some(Wake {
        proof: Proof::new(tenant),
        run_id,
        workflow_id,
        at,
    })
}
