//! Reading, conditional writing, deleting and paging of items.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{
        AttributeValue, DeleteRequest, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
        WriteRequest,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Error, Store, Stored, classify,
    keys::{Key, PK, Range, SK},
};

pub(super) type Item = HashMap<String, AttributeValue>;

/// The type of an item, for people who inspect the table.
pub(super) const KIND: &str = "kind";
/// The version counter that refuses stale writes.
pub(super) const VERSION: &str = "version";
/// When DynamoDB may delete the item, in seconds since 1970.
pub(super) const EXPIRES_AT: &str = "expires_at";

pub(super) fn number(n: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(n.into().to_string())
}

/// An item with the members of `value`, its key, its type and version 1.
pub(super) fn item<T: Serialize>(key: &Key, kind: &str, value: &T) -> Result<Item, Error> {
    let mut item: Item =
        serde_dynamo::aws_sdk_dynamodb_1::to_item(value).map_err(|e| Error::Broken(Box::new(e)))?;
    item.extend(key.attributes());
    item.insert(KIND.to_owned(), AttributeValue::S(kind.to_owned()));
    item.insert(VERSION.to_owned(), number(1));
    Ok(item)
}

pub(super) fn value<T: DeserializeOwned>(item: Item) -> Result<T, Error> {
    serde_dynamo::aws_sdk_dynamodb_1::from_item(item).map_err(|e| Error::Broken(Box::new(e)))
}

pub(super) fn stored<T: DeserializeOwned>(item: Item) -> Result<Stored<T>, Error> {
    let version =
        number_of(&item, VERSION).ok_or_else(|| Error::broken("an item without a version"))?;
    Ok(Stored {
        value: value(item)?,
        version,
    })
}

pub(super) fn number_of(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

pub(super) fn string_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// The result of a conditional put.
pub(super) enum PutResult {
    Written,
    Exists(Item),
}

impl Store {
    pub(super) async fn item(&self, key: &Key, consistent: bool) -> Result<Option<Item>, Error> {
        self.client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key.attributes()))
            .consistent_read(consistent)
            .send()
            .await
            .map(|response| response.item)
            .map_err(classify)
    }

    /// Writes an item that must not exist.
    pub(super) async fn create(&self, item: Item) -> Result<PutResult, Error> {
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(PK)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
            .await;
        match result {
            Ok(_) => Ok(PutResult::Written),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(found)) => {
                    Ok(PutResult::Exists(found.item().cloned().unwrap_or_default()))
                }
                _ => Err(classify(error)),
            },
        }
    }

    /// Replaces an item that must have the given version.
    pub(super) async fn replace(&self, mut item: Item, version: u64) -> Result<(), Error> {
        item.insert(VERSION.to_owned(), number(version + 1));
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("#version = :read")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":read", number(version))
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
            .await
            .map(|_| ())
            .map_err(classify)
    }

    /// Up to `limit` items of a range after `after`, in either direction. `filter` is a filter
    /// expression with its names and values. Fewer items are all that the range has.
    ///
    /// # Errors
    ///
    /// When the table is unavailable, or the range is longer than one call reads.
    pub(super) async fn range(
        &self,
        range: &Range,
        query: RangeQuery<'_>,
    ) -> Result<Vec<Item>, Error> {
        let page = self.range_page(range, query).await?;
        match page.stopped_at {
            None => Ok(page.items),
            Some(_) => Err(Error::Unavailable(
                "the range is longer than one call reads".into(),
            )),
        }
    }

    /// As [`Store::range`], for a list: if the range is longer than one call reads, the page says
    /// where it stopped.
    pub(super) async fn range_page(
        &self,
        range: &Range,
        query: RangeQuery<'_>,
    ) -> Result<RangePage, Error> {
        // DynamoDB counts items before it filters them.
        let evaluated = if query.filter.is_some() {
            MAX_EVALUATED
        } else {
            query.limit.min(MAX_EVALUATED)
        };
        let mut items = Vec::new();
        let mut start = query.after.map(|rest| range.key(rest).attributes());
        // Bounded: a page has at most 1 MiB, and a filter may exclude all of it.
        for _ in 0..MAX_PAGES {
            let by_prefix = !range.prefix.is_empty();
            let response = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression(if by_prefix {
                    "#pk = :pk AND begins_with(#sk, :prefix)"
                } else {
                    "#pk = :pk"
                })
                .set_expression_attribute_names(Some(query.names(by_prefix)))
                .set_expression_attribute_values(Some(query.values(range)))
                .set_filter_expression(query.filter.map(str::to_owned))
                .set_projection_expression(query.projection.map(str::to_owned))
                .scan_index_forward(query.forward)
                .consistent_read(true)
                .limit(i32::try_from(evaluated).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start.take())
                .send()
                .await
                .map_err(classify)?;
            items.extend(response.items.unwrap_or_default());
            start = response.last_evaluated_key;
            if start.is_none() || items.len() >= query.limit {
                break;
            }
        }
        let stopped_at = start.filter(|_| items.len() < query.limit).and_then(|key| {
            string_of(&key, SK)?
                .strip_prefix(&range.prefix)
                .map(str::to_owned)
        });
        items.truncate(query.limit);
        Ok(RangePage { items, stopped_at })
    }

    /// Deletes items unconditionally.
    pub(super) async fn delete_all(&self, keys: Vec<Key>) -> Result<(), Error> {
        for chunk in keys.chunks(25) {
            let request = |key: &Key| {
                let delete = DeleteRequest::builder()
                    .set_key(Some(key.attributes()))
                    .build();
                delete.map(|delete| WriteRequest::builder().delete_request(delete).build())
            };
            let requests: Result<Vec<_>, _> = chunk.iter().map(request).collect();
            let mut left = requests.map_err(|e| Error::Broken(Box::new(e)))?;
            for _ in 0..MAX_PAGES {
                let response = self
                    .client
                    .batch_write_item()
                    .request_items(&self.table, left)
                    .send()
                    .await
                    .map_err(classify)?;
                left = response
                    .unprocessed_items
                    .and_then(|mut all| all.remove(&self.table))
                    .unwrap_or_default();
                if left.is_empty() {
                    break;
                }
            }
            if !left.is_empty() {
                return Err(Error::Unavailable(
                    "the table does not process all deletes".into(),
                ));
            }
        }
        Ok(())
    }
}

/// The most pages that one call reads.
const MAX_PAGES: usize = 40;

/// The most items that DynamoDB evaluates for a page.
const MAX_EVALUATED: usize = 1_000;

/// Items of a range.
pub(super) struct RangePage {
    pub(super) items: Vec<Item>,
    /// The end of the sort key at which reading stopped, although neither the limit nor the end of
    /// the range was reached.
    pub(super) stopped_at: Option<String>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RangeQuery<'a> {
    pub(super) after: Option<&'a str>,
    pub(super) limit: usize,
    pub(super) forward: bool,
    pub(super) filter: Option<&'a str>,
    pub(super) projection: Option<&'a str>,
    pub(super) filter_names: &'a [(&'a str, &'a str)],
    pub(super) filter_values: &'a [(&'a str, &'a str)],
}

impl RangeQuery<'_> {
    fn names(&self, by_prefix: bool) -> HashMap<String, String> {
        let own = [("#pk", PK), ("#sk", SK)]
            .into_iter()
            .take(if by_prefix { 2 } else { 1 });
        own.chain(self.filter_names.iter().copied())
            .map(|(name, attribute)| (name.to_owned(), attribute.to_owned()))
            .collect()
    }

    fn values(&self, range: &Range) -> Item {
        let mut values: Item = self
            .filter_values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), AttributeValue::S((*value).to_owned())))
            .collect();
        values.insert(":pk".to_owned(), AttributeValue::S(range.pk.clone()));
        if !range.prefix.is_empty() {
            values.insert(
                ":prefix".to_owned(),
                AttributeValue::S(range.prefix.clone()),
            );
        }
        values
    }
}
