//! Entries of the audit log. Each is written in the transaction of its change.

use aias_domain::{
    audit::{Actor, Entry, KEPT_DAYS, Target},
    id::{AuditId, TenantId},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    Cursor, Error, Listing, Page, TenantStore,
    items::{EXPIRES_AT, Item, RangeQuery, item, number, value},
    keys,
    transaction::Transaction,
};
use crate::clock::random_id;

/// The most months that one page reads: all that can have entries.
const MAX_MONTHS: i64 = KEPT_DAYS / 28 + 1;

pub(super) fn item_of(tenant: TenantId, entry: &Entry) -> Result<Item, Error> {
    let mut own = item(&keys::audit(tenant, entry.at, entry.id), "audit", entry)?;
    let end = entry.at + SignedDuration::from_hours(24 * KEPT_DAYS);
    own.insert(EXPIRES_AT.to_owned(), number(end.as_second()));
    Ok(own)
}

/// The entry of a change of plan.
#[must_use]
pub fn plan_entry(
    actor: Actor,
    tenant: TenantId,
    now: Timestamp,
    before: Value,
    after: Value,
) -> Entry {
    Entry {
        id: AuditId::new(now, random_id()),
        at: now,
        actor,
        action: "plan.updated".to_owned(),
        target: Target {
            kind: "plan".to_owned(),
            id: tenant.to_string(),
        },
        source_ip: None,
        request_id: None,
        before,
        after,
    }
}

impl<'a> TenantStore<'a> {
    /// A store whose next change writes this entry.
    #[must_use]
    pub fn audited<'b>(&self, entry: &'b Entry) -> TenantStore<'b>
    where
        'a: 'b,
    {
        TenantStore {
            audit: Some(entry),
            ..*self
        }
    }

    /// A transaction that includes the entry, if there is one.
    pub(super) fn transaction(&self) -> Result<Transaction<'a>, Error> {
        let transaction = Transaction::new(self.store);
        Ok(match self.audit {
            None => transaction,
            Some(entry) => transaction.create(item_of(self.tenant, entry)?),
        })
    }

    /// Entries from `now` back to `since`, the creation of the tenant; newest first.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn audit_log(
        &self,
        listing: &Listing,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Page<Entry>, Error> {
        let after = listing.after.as_ref().map(Cursor::position);
        let begin = after
            .and_then(|id| id.parse::<AuditId>().ok())
            .map_or(now, AuditId::created_at);
        let mut items: Vec<Item> = Vec::new();
        let mut month = begin;
        for back in 0..MAX_MONTHS {
            let query = RangeQuery {
                after: after.filter(|_| back == 0),
                limit: listing.limit + 1 - items.len(),
                ..RangeQuery::default()
            };
            let range = keys::audits(self.tenant, month);
            items.extend(self.store.range(&range, query).await?);
            if items.len() > listing.limit {
                break;
            }
            month = aias_domain::plan::month_start(month) - SignedDuration::from_secs(1);
            if month < since {
                break;
            }
        }
        let more = items.len() > listing.limit;
        items.truncate(listing.limit);
        let entries: Vec<Entry> = items.into_iter().map(value).collect::<Result<_, _>>()?;
        let last = entries.last().filter(|_| more);
        Ok(Page {
            next: last.map(|entry| Cursor::at(entry.id.to_string())),
            items: entries,
        })
    }
}
