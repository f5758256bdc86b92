//! The ends of long waits: an item in its run's partition, found by its hour in the index `active`.
//! While a run waits, nothing but this item is there for it.

use aias_domain::id::{RunId, WorkflowId};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};

use super::{
    Error, Proof, Store, TenantStore, due,
    items::{EXPIRES_AT, Item, KIND, number, text_of},
    keys::{self, PK, SK},
};

/// A run that goes on at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// For the reconciler's own use.
    pub proof: Proof,
    /// The run.
    pub run_id: RunId,
    /// Its workflow.
    pub workflow_id: WorkflowId,
    /// When, to the second.
    pub at: Timestamp,
}

impl TenantStore<'_> {
    /// Has a run asked for at a time. To set it again changes nothing.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn set_wake(
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
            AttributeValue::S(keys::due_hour(at)),
        );
        item.insert(EXPIRES_AT.to_owned(), number(expires_at.as_second()));
        self.store.create(item).await.map(|_| ())
    }

    /// Forgets it, once the run was asked for.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn unset_wake(&self, wake: &Wake) -> Result<(), Error> {
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

impl Store {
    /// The runs that go on between now and `ahead` later, or should have gone on before.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn wakes(&self, now: Timestamp, ahead: SignedDuration) -> Result<Vec<Wake>, Error> {
        let mut found = due::of_hours(self, now).await?;
        if keys::due_hour(now + ahead) != keys::due_hour(now) {
            found.extend(self.of_hour(keys::due_hour(now + ahead)).await?);
        }
        let wakes = found.iter().filter_map(wake_of);
        Ok(wakes.filter(|wake| wake.at <= now + ahead).collect())
    }
}

fn wake_of(item: &Item) -> Option<Wake> {
    let (tenant, run_id, workflow_id, at) = keys::wake_of(text_of(item, PK)?, text_of(item, SK)?)?;
    Some(Wake {
        proof: Proof::new(tenant),
        run_id,
        workflow_id,
        at,
    })
}
