//! Workflows: a mutable head and immutable versions.

use aias_domain::counted::CountedFeature;
use aias_domain::{
    id::WorkflowId,
    sample::Sample,
    workflow::{Version, Workflow},
};
use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    Cursor, Error, Idempotency, Listing, Page, Stored, TenantStore,
    items::{Item, KIND, RangeQuery, item, stored, string_of, value},
    keys::{self, SK},
    transaction_error::TransactionError,
};

const DEFINITION: &str = "definition";

/// The most workflows with one name that are searched.
const MAX_OF_ONE_NAME: usize = 20;

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

    pub(super) fn workflow_item(&self, workflow: &Workflow) -> Result<Item, Error> {
        item(
            &keys::workflow(self.tenant, workflow.id),
            "workflow",
            workflow,
        )
    }

    /// Creates a workflow with its first version.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Limit`] when the plan does not allow more.
    pub async fn create_workflow(
        &self,
        workflow: &Workflow,
        version: &Version,
        limit: u64,
        idempotency: Option<Idempotency>,
    ) -> Result<(), TransactionError> {
        self.transaction()?
            .create(self.workflow_item(workflow)?)
            .create(self.version_item(workflow.id, version)?)
            .put(self.name_item(workflow))
            .count_up(&keys::tenant(self.tenant), CountedFeature::Workflows, limit)
            .response(idempotency)
            .commit()
            .await
    }

    /// # Errors
    ///
    /// When the table is unavailable.
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
    /// When the table is unavailable.
    pub async fn workflows(&self, listing: &Listing) -> Result<Page<Workflow>, Error> {
        // Versions are sorted between the heads.
        let query = RangeQuery {
            after: listing.after.as_ref().map(|c| c.0.as_str()),
            limit: listing.limit + 1,
            filter: Some("#kind = :head"),
            filter_names: &[("#kind", "kind")],
            filter_values: &[(":head", "workflow")],
            ..RangeQuery::default()
        };
        let range = keys::workflows(self.tenant);
        let page = self.store.range_page(&range, query).await?;
        let heads: Result<Vec<Workflow>, Error> = page.items.into_iter().map(value).collect();
        let cut = Page::cut(heads?, listing.limit, |w| w.id.to_string());
        // So many versions may be between two heads that a page ends among them.
        let next = cut.next.or_else(|| page.stopped_at.map(Cursor));
        Ok(Page { next, ..cut })
    }

    /// Writes a changed head, with its new version if there is one, and with the samples whose
    /// artifacts that version changes.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when it has changed since it was read.
    pub async fn save_workflow(
        &self,
        head: &Stored<Workflow>,
        version: Option<&Version>,
        changed: &[Stored<Sample>],
    ) -> Result<(), TransactionError> {
        let mut transaction = self
            .transaction()?
            .replace(self.workflow_item(&head.value)?, head.version);
        // Items of previous names may remain: a lookup by name also compares the head.
        transaction = transaction.put(self.name_item(&head.value));
        if let Some(version) = version {
            transaction = transaction.create(self.version_item(head.value.id, version)?);
        }
        for sample in changed {
            let item = self.sample_item(head.value.id, &sample.value)?;
            transaction = transaction.replace(item, sample.version);
        }
        transaction.commit().await
    }

    fn name_item(&self, workflow: &Workflow) -> Item {
        let range = keys::workflow_names(self.tenant, &workflow.namespace, &workflow.name);
        let mut item = range.key(&workflow.id.to_string()).attributes();
        item.insert(KIND.to_owned(), AttributeValue::S("name".to_owned()));
        item
    }

    /// The newest enabled workflow with a name, and its version with `document_version`, or its
    /// active version for `latest`.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn workflow_named(
        &self,
        namespace: &str,
        name: &str,
        document_version: &str,
    ) -> Result<Option<(Workflow, u32)>, Error> {
        let range = keys::workflow_names(self.tenant, namespace, name);
        let query = RangeQuery {
            limit: MAX_OF_ONE_NAME,
            ..RangeQuery::default()
        };
        // Newest first.
        for item in self.store.range(&range, query).await? {
            let id = string_of(&item, SK).and_then(|sk| sk.rsplit('#').next()?.parse().ok());
            let Some(id) = id else { continue };
            let Some(head) = self.workflow(id).await?.map(|head| head.value) else {
                continue;
            };
            if !head.can_run() || head.name != name || head.namespace != namespace {
                continue;
            }
            if document_version == "latest" {
                let active = head.active_version();
                return Ok(Some((head, active)));
            }
            let versions = keys::versions(self.tenant, id);
            let query = RangeQuery {
                limit: 1_000,
                filter: Some("#document_version = :wanted"),
                filter_names: &[("#document_version", "document_version")],
                filter_values: &[(":wanted", document_version)],
                ..RangeQuery::default()
            };
            let found = self.store.range(&versions, query).await?;
            if let Some(item) = found.into_iter().next() {
                let version: Version = value(item)?;
                return Ok(Some((head, version.number)));
            }
        }
        Ok(None)
    }

    /// Enables a workflow that was disabled by the plan.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Limit`] when the plan does not allow more.
    pub async fn enable_workflow(
        &self,
        head: &Stored<Workflow>,
        limit: u64,
    ) -> Result<(), TransactionError> {
        self.transaction()?
            .replace(self.workflow_item(&head.value)?, head.version)
            .count_up(&keys::tenant(self.tenant), CountedFeature::Workflows, limit)
            .commit()
            .await
    }

    /// Deletes a workflow, then its versions and samples. If the process dies in between, they remain,
    /// but nothing refers to them.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when it has changed since it was read.
    pub async fn delete_workflow(&self, read: &Stored<Workflow>) -> Result<(), TransactionError> {
        let id = read.value.id;
        let mut transaction = self
            .transaction()?
            .delete_read(&keys::workflow(self.tenant, id), read.version);
        if !read.value.disabled_by_plan {
            transaction =
                transaction.count_down(&keys::tenant(self.tenant), CountedFeature::Workflows);
        }
        transaction.commit().await?;
        let name = keys::workflow_names(self.tenant, &read.value.namespace, &read.value.name);
        let versions = (1..=read.value.latest).map(|number| keys::version(self.tenant, id, number));
        let samples = self.samples(id).await?;
        let of_samples = samples.iter().flat_map(|sample| {
            let name = sample.value.name.as_str();
            [
                keys::samples(self.tenant, id).key(name),
                keys::recordings(self.tenant, id).key(name),
            ]
        });
        let all = versions
            .chain([name.key(&id.to_string())])
            .chain(of_samples);
        self.store.delete_all(all.collect()).await?;
        Ok(())
    }

    /// A version with its definition.
    ///
    /// # Errors
    /// When the table is unavailable.
    pub async fn version(&self, id: WorkflowId, number: u32) -> Result<Option<Version>, Error> {
        // Versions are immutable, so an eventually consistent read is sufficient if it finds the
        // version.
        let key = keys::version(self.tenant, id, number);
        let found = match self.store.item(&key, false).await? {
            Some(found) => Some(found),
            None => self.store.item(&key, true).await?,
        };
        let Some(found) = found else { return Ok(None) };
        let definition = string_of(&found, DEFINITION).unwrap_or_default().to_owned();
        let mut version: Version = value(found)?;
        version.definition = definition;
        Ok(Some(version))
    }

    /// The versions, newest first, without their definitions.
    ///
    /// # Errors
    /// When the table is unavailable.
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
