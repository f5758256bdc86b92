//! Dedup claims: which run belongs to an event id.

use aias_domain::{
    endpoint::Endpoint,
    id::{EndpointId, RunId},
};
use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;

use super::{
    Error, TenantStore,
    items::{EXPIRES_AT, KIND, number, string_of},
    keys,
};

/// The identity of an event.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub endpoint: &'a Endpoint,
    /// The hash of the event's id.
    pub event_hash: &'a str,
    /// The hash of the event's body.
    pub body_hash: &'a str,
}

/// How long an event id is remembered, in seconds: 7 days.
const CLAIM_SECONDS: i64 = 7 * 24 * 3600;

/// The result of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimResult {
    /// The event is new and claimed for the run.
    New,
    /// The event is a duplicate.
    Duplicate {
        /// The run of the first delivery.
        run_id: RunId,
        /// Whether the bodies are equal.
        same_body: bool,
    },
}

impl TenantStore<'_> {
    /// Claims an event for a run.
    ///
    /// # Errors
    /// When the table is unavailable.
    pub async fn claim(
        &self,
        claim: Claim<'_>,
        run: RunId,
        now: Timestamp,
    ) -> Result<ClaimResult, Error> {
        let mut item = keys::event(self.tenant, claim.endpoint.id, claim.event_hash).attributes();
        item.insert(KIND.to_owned(), AttributeValue::S("claim".to_owned()));
        item.insert("run_id".to_owned(), AttributeValue::S(run.to_string()));
        item.insert(
            "body_hash".to_owned(),
            AttributeValue::S(claim.body_hash.to_owned()),
        );
        item.insert(
            EXPIRES_AT.to_owned(),
            number(now.as_second() + CLAIM_SECONDS),
        );
        let result = self
            .store
            .client
            .put_item()
            .table_name(&self.store.table)
            .set_item(Some(item))
            // DynamoDB deletes expired items late; the condition makes the window exact.
            .condition_expression("attribute_not_exists(PK) OR expires_at <= :now")
            .expression_attribute_values(":now", number(now.as_second()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
            .await;
        let Err(error) = result else {
            return Ok(ClaimResult::New);
        };
        let Some(PutItemError::ConditionalCheckFailedException(found)) = error.as_service_error()
        else {
            return Err(super::classify(error));
        };
        let found = found.item().cloned().unwrap_or_default();
        let run_id: RunId = string_of(&found, "run_id")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::broken("a claim has no run"))?;
        // If the SDK retried a write that succeeded, the existing claim is this one.
        if run_id == run {
            return Ok(ClaimResult::New);
        }
        let same_body = string_of(&found, "body_hash") == Some(claim.body_hash);
        Ok(ClaimResult::Duplicate { run_id, same_body })
    }

    /// The run of an event that was claimed within the last seven days.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn claimed_run(
        &self,
        endpoint: EndpointId,
        event_hash: &str,
    ) -> Result<Option<RunId>, Error> {
        let key = keys::event(self.tenant, endpoint, event_hash);
        let found = self.store.item(&key, true).await?;
        Ok(found.and_then(|item| string_of(&item, "run_id")?.parse().ok()))
    }
}
