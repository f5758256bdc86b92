//! Deliveries of an endpoint that did not become a run.

use aias_domain::{
    delivery::{Delivery, MINUTE_SLOTS, RECENT_SLOTS, Slot},
    endpoint::Endpoint,
    id::EndpointId,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    Error, Stored, TenantStore, classify,
    items::{EXPIRES_AT, RangeQuery, item, number, value},
    keys,
};

/// How long a delivery is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

impl TenantStore<'_> {
    /// Keeps a delivery in a slot, in place of an older one.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn put_delivery(
        &self,
        endpoint: EndpointId,
        slot: Slot,
        delivery: &Delivery,
    ) -> Result<(), Error> {
        let key = keys::delivery(self.tenant, endpoint, slot);
        let mut item = item(&key, "delivery", delivery)?;
        let expires_at = delivery.at + KEPT;
        item.insert(EXPIRES_AT.to_owned(), number(expires_at.as_second()));
        self.store
            .client
            .put_item()
            .table_name(&self.store.table)
            .set_item(Some(item))
            .send()
            .await
            .map(|_| ())
            .map_err(classify)
    }

    /// The kept deliveries of an endpoint, newest first: at most one for each slot.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn deliveries(&self, endpoint: EndpointId) -> Result<Vec<Delivery>, Error> {
        let query = RangeQuery {
            limit: usize::try_from(MINUTE_SLOTS + RECENT_SLOTS).unwrap_or(usize::MAX),
            ..RangeQuery::default()
        };
        let range = keys::deliveries(self.tenant, endpoint);
        let items = self.store.range(&range, query).await?;
        let mut found: Vec<Delivery> = items.into_iter().map(value).collect::<Result<_, _>>()?;
        found.sort_unstable_by_key(|delivery| std::cmp::Reverse(delivery.at));
        Ok(found)
    }

    /// Records that an endpoint refuses its events since `now`. The version of the endpoint stays
    /// the same.
    ///
    /// # Errors
    ///
    /// When the endpoint has changed, or the table is unavailable.
    pub async fn record_refusal(
        &self,
        endpoint: &Stored<Endpoint>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.set_time(endpoint, "refusing_since".to_owned(), now)
            .await
    }
}
