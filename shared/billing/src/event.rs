//! Stripe events: verified over the raw body, then parsed.
//!
//! An event contains the state of an object at a time. It is parsed leniently, since its form
//! depends on the API version of the account; only the signature check is strict.

use aias_domain::{id::TenantId, subscription::Fact};
use aias_platform::store::SignedTenant;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use stripe_webhook::{Webhook, WebhookError};
use tracing::subscriber::{NoSubscriber, with_default};

use crate::object::{BilledInvoice, Ref, Session, Subscription, is_id, tenant_of};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    /// Such as `customer.subscription.updated`.
    pub kind: String,
    /// In seconds since 1970.
    pub created: i64,
    /// What it says about a subscription; none if it is of a type that is not used.
    pub fact: Option<Fact>,
    /// The tenant that the event names.
    pub tenant: Option<SignedTenant>,
    /// Whether the tenant is only named by `client_reference_id`, which a buyer can choose.
    pub is_reference: bool,
}

/// Why a signature is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// It was made with another secret, or over another body.
    #[error("the signature does not match")]
    Signature,
    /// The timestamp differs by more than five minutes.
    #[error("the timestamp of the signature differs from the clock by more than five minutes")]
    Time,
    /// The body is not UTF-8, or the header does not have Stripe's format.
    #[error("the signature header cannot be parsed")]
    Header,
}

/// A verified event that cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error("the event cannot be parsed")]
pub struct Unreadable(#[from] serde_json::Error);

/// A body with a valid signature. Only [`verify`] creates one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedBody<'a>(&'a str);

/// Verifies the signature of a body with any of `secrets`, within five minutes of `now`.
///
/// # Errors
///
/// When the signature is invalid.
pub fn verify<'a, 'b>(
    secrets: impl Iterator<Item = &'a SecretString>,
    body: &'b [u8],
    header: &str,
    now: Timestamp,
) -> Result<SignedBody<'b>, BadSignature> {
    let body = std::str::from_utf8(body).map_err(|_| BadSignature::Header)?;
    let mut refused = BadSignature::Signature;
    for secret in secrets {
        let (secret, now) = (secret.expose_secret(), now.as_second());
        // The library logs an error for events of other API versions, which is not one here.
        let event = with_default(NoSubscriber::default(), || {
            Webhook::construct_event_with_timestamp(body, header, secret, now)
        });
        match event {
            // The library parses the event after verifying it; parsing is done leniently below.
            Ok(_) | Err(WebhookError::BadParse(_)) => return Ok(SignedBody(body)),
            Err(WebhookError::BadTimestamp(_)) => refused = BadSignature::Time,
            Err(WebhookError::BadHeader(_)) => refused = BadSignature::Header,
            Err(WebhookError::BadSignature | WebhookError::BadKey) => {}
        }
    }
    Err(refused)
}

#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Value,
}

#[derive(Deserialize)]
struct Deleted {
    id: String,
}

fn read_as<T: DeserializeOwned>(object: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(object)
}

/// Parses a verified event.
///
/// # Errors
///
/// When it is not an event, or its object lacks required members.
pub fn read(body: SignedBody<'_>) -> Result<Event, Unreadable> {
    let Envelope {
        id,
        kind,
        created,
        data: Data { object },
    } = serde_json::from_str(body.0)?;
    if !is_id(&id) || kind.len() > 100 {
        return Err(Unreadable(serde::de::Error::custom(
            "an id or a type is malformed",
        )));
    }
    let mut is_reference = false;
    let (fact, tenant_id) = match kind.as_str() {
        kind if kind.starts_with("customer.subscription.") => of_subscription(read_as(object)?),
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
            let own: Session = read_as(object)?;
            is_reference = tenant_of(&own.metadata).is_none();
            of_session(own)
        }
        "invoice.paid" | "invoice.payment_succeeded" => {
            of_invoice(read_as(object)?, created, Some(true))
        }
        "invoice.payment_failed" => of_invoice(read_as(object)?, created, Some(false)),
        "invoice.finalized"
        | "invoice.updated"
        | "invoice.voided"
        | "invoice.marked_uncollectible" => of_invoice(read_as(object)?, created, None),
        "customer.deleted" => {
            let Deleted { id } = read_as(object)?;
            let fact = is_id(&id).then_some(Fact::CustomerDeleted { customer_id: id });
            (fact, None)
        }
        _ => (None, None),
    };
    Ok(Event {
        id,
        kind,
        created,
        fact,
        tenant: tenant_id.map(signed_tenant),
        is_reference,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tenant comes from a `SignedBody`"
)]
fn signed_tenant(id: TenantId) -> SignedTenant {
    SignedTenant::of_verified_event(id)
}

type Read = (Option<Fact>, Option<TenantId>);

fn of_subscription(own: Subscription) -> Read {
    let (tenant, state) = (tenant_of(&own.metadata), own.state());
    let fact = own
        .customer
        .id()
        .filter(|_| is_id(&own.id))
        .map(|customer_id| Fact::Subscription {
            id: own.id,
            customer_id,
            state,
        });
    (fact, tenant)
}

fn of_session(own: Session) -> Read {
    let named = tenant_of(&own.metadata);
    let referred = || own.client_reference_id.as_ref()?.parse().ok();
    let tenant = named.or_else(referred);
    if own.mode != "subscription" {
        return (None, None);
    }
    let subscription_id = own.subscription.and_then(Ref::id);
    let fact = own
        .customer
        .and_then(Ref::id)
        .map(|customer_id| Fact::Checkout {
            customer_id,
            subscription_id,
        });
    (fact, tenant)
}

fn of_invoice(mut own: BilledInvoice, at: i64, good: Option<bool>) -> Read {
    let (customer, invoice) = (own.customer.take().and_then(Ref::id), own.at(at));
    if !is_id(&own.id) {
        return (None, None);
    }
    let (subscription_id, tenant) = own.subscription();
    let fact = customer.map(|customer_id| Fact::Invoice {
        subscription_id,
        customer_id,
        good,
        invoice,
    });
    (fact, tenant)
}

#[cfg(test)]
mod tests {
    use aias_domain::{
        plan::PlanName,
        subscription::{State, Status},
    };
    use serde_json::json;

    use super::*;

    fn event(kind: &str, object: &Value) -> Event {
        let event = json!({"id": "evt_1", "object": "event", "type": kind, "created": 1_700_000_000, "data": {"object": object}});
        read(SignedBody(&event.to_string())).unwrap()
    }

    fn state(period_end: Option<i64>, cancel_at: Option<i64>) -> State {
        State {
            status: Status::Active,
            plan: Some(PlanName::Pro),
            current_period_end: period_end,
            cancel_at,
        }
    }

    #[test]
    fn subscription_of_old_and_new_api_version() {
        let item = json!({"price": {"id": "price_1", "lookup_key": "pro"}});
        let old = json!({
            "id": "sub_1", "customer": "cus_1", "status": "active", "items": {"data": [item]},
            "current_period_end": 7, "cancel_at_period_end": true,
            "metadata": {"tenant_id": "ten_01M8073Z600000000000000001"},
        });
        let read = event("customer.subscription.updated", &old);
        assert_eq!(
            read.fact,
            Some(Fact::Subscription {
                id: "sub_1".into(),
                customer_id: "cus_1".into(),
                state: state(Some(7), Some(7)),
            })
        );
        assert!(read.tenant.is_some());
        let metered =
            json!({"price": {"id": "price_2", "lookup_key": "runs"}, "current_period_end": 9});
        let new = json!({
            "id": "sub_1", "customer": {"id": "cus_1", "object": "customer"}, "status": "active",
            "items": {"data": [metered, item]}, "cancel_at": null, "metadata": {},
        });
        let read = event("customer.subscription.created", &new);
        let Some(Fact::Subscription { state: own, .. }) = read.fact else {
            panic!("{read:?}");
        };
        assert_eq!(own, state(Some(9), None));
        assert_eq!(read.tenant, None);
    }

    #[test]
    fn invoice_of_old_and_new_api_version() {
        let invoice = |more: Value| {
            let mut own = json!({"id": "in_1", "customer": "cus_1", "status": "open", "amount_due": 5, "currency": "usd"});
            own.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            own
        };
        let forms = [
            json!({"subscription": "sub_1"}),
            json!({"parent": {"subscription_details": {"subscription": "sub_1", "metadata": {}}}}),
        ];
        for form in forms {
            let read = event("invoice.payment_failed", &invoice(form.clone()));
            let Some(Fact::Invoice {
                subscription_id,
                good,
                ..
            }) = read.fact
            else {
                panic!("{read:?}");
            };
            assert_eq!(
                (subscription_id.as_deref(), good),
                (Some("sub_1"), Some(false))
            );
        }
        let paid = event("invoice.paid", &invoice(json!({})));
        assert!(matches!(
            paid.fact,
            Some(Fact::Invoice {
                subscription_id: None,
                good: Some(true),
                ..
            })
        ));
    }

    #[test]
    fn unused_event_type_has_no_fact() {
        assert_eq!(event("charge.succeeded", &json!({"id": "ch_1"})).fact, None);
        let payment = json!({"id": "cs_1", "mode": "payment", "customer": "cus_1"});
        assert_eq!(event("checkout.session.completed", &payment).fact, None);
    }

    #[test]
    fn incomplete_event_is_refused() {
        for bad in [
            "",
            "{}",
            r#"{"id": "evt_1", "type": "x", "created": 1}"#,
            r#"{"id": "evt 1", "type": "x", "created": 1, "data": {"object": {}}}"#,
            r#"{"id": "evt_1", "type": "customer.subscription.updated", "created": 1, "data": {"object": {"id": "sub_1"}}}"#,
        ] {
            assert!(read(SignedBody(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn both_rotating_secrets_verify() {
        let (body, now) = (r#"{"not": "an event"}"#, 1_700_000_000);
        let at = |second| Timestamp::from_second(second).unwrap();
        let secrets = ["new".to_owned(), "old".to_owned()].map(SecretString::from);
        let check = |secret: &str, second: i64| {
            let header = Webhook::generate_test_header(body, secret, Some(now));
            verify(secrets.iter(), body.as_bytes(), &header, at(second))
        };
        assert_eq!(check("new", now), Ok(SignedBody(body)));
        assert_eq!(check("old", now + 300), Ok(SignedBody(body)));
        assert_eq!(check("other", now), Err(BadSignature::Signature));
        assert_eq!(check("new", now + 301), Err(BadSignature::Time));
        assert_eq!(check("old", now - 301), Err(BadSignature::Time));
        for header in [
            "",
            "t=x,v1=00",
            "t=1",
            "v1=00",
            "t=1700000000,v1=zz",
            "t=1700000000",
        ] {
            assert!(
                verify(secrets.iter(), body.as_bytes(), header, at(now)).is_err(),
                "{header}"
            );
        }
        assert_eq!(
            verify(secrets.iter(), b"\xff", "t=1,v1=00", at(now)),
            Err(BadSignature::Header)
        );
    }
}
