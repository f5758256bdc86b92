//! Workflows: a head that moves, versions that never change.

use aias_domain::{
    id::WorkflowId,
    workflow::{Version, Workflow},
};
use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    Error, Idempotency, Listing, Page, Stored, TenantStore,
    items::{Item, RangeQuery, item, stored, text_of, value},
    keys,
    transaction::{Count, Refused, Transaction},
};

const DEFINITION: &str = "definition";

impl TenantStore<'_> {
    fn version_item(&self, id: WorkflowId, version: &Version) -> Result<Item, Error> {
        let mut item = item(
            &keys::version(self.tenant, id, version.number),
            "version",
            version,
        )?;
        item.insert(
            DEFINITION.to_owned(),
            AttributeValue::S(version.definition.clone()),
        );
        Ok(item)
    }

    fn workflow_item(&self, workflow: &Workflow) -> Result<Item, Error> {
        item(
            &keys::workflow(self.tenant, workflow.id),
            "workflow",
            workflow,
        )
    }

    /// Makes a workflow and its first version.
    ///
    /// # Errors
    /// [`Refused::Limit`] when the plan allows no more.
    pub async fn create_workflow(
        &self,
        workflow: &Workflow,
        version: &Version,
        limit: u64,
        idempotency: Option<Idempotency>,
    ) -> Result<(), Refused> {
        Transaction::new(self.store)
            .create(self.workflow_item(workflow)?)
            .create(self.version_item(workflow.id, version)?)
            .count_up(&keys::tenant(self.tenant), Count::Workflows, limit)
            .answer(idempotency)
            .commit()
            .await
    }

    /// A workflow's head.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn workflow(&self, id: WorkflowId) -> Result<Option<Stored<Workflow>>, Error> {
        let found = self
            .store
            .item(&keys::workflow(self.tenant, id), true)
            .await?;
        found.map(stored).transpose()
    }

    /// The workflows, newest first.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn workflows(&self, listing: &Listing) -> Result<Page<Workflow>, Error> {
        // Versions lie between the heads.
        let query = RangeQuery {
            after: listing.after.as_ref().map(|c| c.0.as_str()),
            limit: listing.limit + 1,
            filter: Some("#kind = :head"),
            filter_names: &[("#kind", "kind")],
            filter_values: &[(":head", "workflow")],
            ..RangeQuery::default()
        };
        let items = self
            .store
            .range(&keys::workflows(self.tenant), query)
            .await?;
        let heads: Result<Vec<Workflow>, Error> = items.into_iter().map(value).collect();
        Ok(Page::cut(heads?, listing.limit, |w| w.id.to_string()))
    }

    /// Writes a head that was changed, with the version that it now points at if that is new.
    ///
    /// # Errors
    /// [`Refused::Conflict`] when it has changed since it was read.
    pub async fn save_workflow(
        &self,
        head: &Stored<Workflow>,
        version: Option<&Version>,
    ) -> Result<(), Refused> {
        let mut transaction =
            Transaction::new(self.store).replace(self.workflow_item(&head.value)?, head.version);
        if let Some(version) = version {
            transaction = transaction.create(self.version_item(head.value.id, version)?);
        }
        transaction.commit().await
    }

    /// Writes a workflow that was disabled by the plan and is enabled again.
    ///
    /// # Errors
    /// [`Refused::Limit`] when the plan has no room for it.
    pub async fn enable_workflow(
        &self,
        head: &Stored<Workflow>,
        limit: u64,
    ) -> Result<(), Refused> {
        Transaction::new(self.store)
            .replace(self.workflow_item(&head.value)?, head.version)
            .count_up(&keys::tenant(self.tenant), Count::Workflows, limit)
            .commit()
            .await
    }

    /// Deletes a workflow, then its versions: should it end half-way, they lie there unseen.
    ///
    /// # Errors
    /// [`Refused::Conflict`] when it has changed since it was read.
    pub async fn delete_workflow(&self, read: &Stored<Workflow>) -> Result<(), Refused> {
        let id = read.value.id;
        let mut transaction = Transaction::new(self.store)
            .delete_read(&keys::workflow(self.tenant, id), read.version);
        if !read.value.disabled_by_plan {
            transaction = transaction.count_down(&keys::tenant(self.tenant), Count::Workflows);
        }
        transaction.commit().await?;
        let versions = (1..=read.value.latest).map(|number| keys::version(self.tenant, id, number));
        self.store.delete_all(versions.collect()).await?;
        Ok(())
    }

    /// A version with its definition.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn version(&self, id: WorkflowId, number: u32) -> Result<Option<Version>, Error> {
        // Versions never change, so a copy that is a moment old is as good once it is there.
        let key = keys::version(self.tenant, id, number);
        let found = match self.store.item(&key, false).await? {
            Some(found) => Some(found),
            None => self.store.item(&key, true).await?,
        };
        let Some(found) = found else { return Ok(None) };
        let definition = text_of(&found, DEFINITION).unwrap_or_default().to_owned();
        let mut version: Version = value(found)?;
        version.definition = definition;
        Ok(Some(version))
    }

    /// The versions, newest first, without their definitions.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn versions(
        &self,
        id: WorkflowId,
        listing: &Listing,
    ) -> Result<Page<Version>, Error> {
        let range = keys::versions(self.tenant, id);
        let after = listing.after.as_ref().map(|c| c.0.as_str());
        let query = RangeQuery {
            after,
            limit: listing.limit + 1,
            ..RangeQuery::default()
        };
        let items = self.store.range(&range, query).await?;
        let versions: Result<Vec<Version>, Error> = items.into_iter().map(value).collect();
        Ok(Page::cut(versions?, listing.limit, |v| {
            keys::version_rest(v.number)
        }))
    }
}
