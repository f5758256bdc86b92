//! Requests to the Stripe API.

use std::{collections::HashMap, time::Duration};

use aias_domain::{id::TenantId, plan::PlanName, subscription::State};
use aias_platform::{
    client::{Client, RequestError},
    http::Problem,
    secrets::{self, RotatingSecret, Secret},
    telemetry::ErrorChain,
};
use http::{
    HeaderValue, Request, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, de::DeserializeOwned};
use stripe_billing::{
    billing_meter::ListBillingMeter, billing_meter_event::CreateBillingMeterEvent,
    billing_meter_event_summary::ListIdBillingMeterEventSummary,
    billing_portal_session::CreateBillingPortalSession, invoice::ListInvoice,
    subscription::RetrieveSubscription,
};
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionSubscriptionData,
};
use stripe_client_core::{StripeMethod, StripeRequest, VERSION};
use stripe_core::customer::CreateCustomer;
use stripe_product::price::ListPrice;
use stripe_shared::CheckoutSessionMode;
use tokio::time::{sleep, timeout};

use crate::object::{BilledInvoice, List, Price, Subscription, TENANT, is_id, tenant_of};

/// Why a request to Stripe failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Stripe cannot be reached, or is busy.
    #[error("Stripe is unavailable: {0}")]
    Unavailable(String),
    /// Stripe refused the request.
    #[error("Stripe refused the request: {status} {code}")]
    Refused {
        status: u16,
        /// Stripe's error code, or else its error type.
        code: String,
        /// Stripe's message, which may repeat the request.
        message: String,
    },
    /// The response lacks expected members.
    #[error("the response of Stripe cannot be parsed: {0}")]
    Malformed(String),
    /// No active price has the lookup key of the plan.
    #[error("no active price has the lookup key {0}")]
    NoPrice(&'static str),
    /// The API key cannot be read.
    #[error(transparent)]
    Secret(#[from] secrets::Error),
}

impl From<RequestError> for Error {
    fn from(why: RequestError) -> Self {
        let message = ErrorChain(&why).to_string();
        match why {
            RequestError::TooLarge(_) => Self::Malformed(message),
            RequestError::Unreachable(_) | RequestError::Truncated => Self::Unavailable(message),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Secret(error) => error.into(),
            Error::Unavailable(_) => Self::unavailable(error),
            Error::Refused { .. } | Error::Malformed(_) | Error::NoPrice(_) => {
                Self::internal(error)
            }
        }
    }
}

/// A subscription as returned by Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeSubscription {
    pub id: String,
    pub customer_id: String,
    pub state: State,
    /// The tenant in its metadata.
    pub tenant_id: Option<TenantId>,
}

/// A checkout to start.
#[derive(Debug, Clone, Copy)]
pub struct NewCheckout<'a> {
    pub tenant_id: TenantId,
    pub customer_id: &'a str,
    pub plan: PlanName,
    /// Where Stripe sends the buyer after the purchase.
    pub success_url: &'a str,
    /// Where Stripe sends a buyer who cancels.
    pub cancel_url: &'a str,
    /// The idempotency key.
    pub key: &'a str,
}

/// A number of completed runs to bill.
#[derive(Debug, Clone, Copy)]
pub struct MeterReport<'a> {
    pub customer_id: &'a str,
    /// The number.
    pub value: u64,
    /// Stripe counts an identifier only once.
    pub identifier: &'a str,
    /// When they were counted.
    pub at: Timestamp,
}

/// The `event_name` of the Stripe meter.
const METER: &str = "aias_runs";

/// The timeout of one attempt.
const TIMEOUT: Duration = Duration::from_secs(6);

/// The longest error code that is logged, in bytes.
const MAX_CODE: usize = 100;

/// The largest response, in bytes: a hundred invoices with all lines.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The pauses between attempts.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// The maximum age of a cached API key after Stripe refused it.
const FRESH: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Stripe {
    url: String,
    key: Secret<RotatingSecret>,
    client: Client,
}

impl Stripe {
    /// `url` is the base URL, such as `https://api.stripe.com/`.
    #[must_use]
    pub fn new(url: &str, key: Secret<RotatingSecret>) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            key,
            client: Client::new(),
        }
    }

    /// Sends a request once.
    async fn once<T: DeserializeOwned>(
        &self,
        request: &impl StripeRequest,
        key: Option<&str>,
        api_key: &RotatingSecret,
    ) -> Result<T, Error> {
        let requested = request.build();
        let method = match requested.method {
            StripeMethod::Get => "GET",
            StripeMethod::Post => "POST",
            StripeMethod::Delete => "DELETE",
        };
        let query = requested
            .query
            .map_or_else(String::new, |q| format!("?{q}"));
        let mut sent = Request::builder()
            .method(method)
            .uri(format!("{}/v1{}{query}", self.url, requested.path))
            .header(AUTHORIZATION, bearer(api_key)?)
            .header(USER_AGENT, concat!("aias/", env!("CARGO_PKG_VERSION")))
            .header("stripe-version", VERSION.as_str());
        if requested.body.is_some() {
            sent = sent.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(key) = key {
            sent = sent.header("idempotency-key", key);
        }
        let sent = sent
            .body(requested.body.unwrap_or_default().into_bytes())
            .map_err(|e| Error::Malformed(format!("the request cannot be sent: {e}")))?;
        let answered = timeout(TIMEOUT, self.client.send(sent, MAX_ANSWER)).await;
        let answer =
            answered.map_err(|_| Error::Unavailable("no response in time".to_owned()))??;
        if !answer.status().is_success() {
            return Err(error_of(&answer));
        }
        serde_json::from_slice(answer.body()).map_err(|e| Error::Malformed(e.to_string()))
    }

    /// Sends a request, and retries while Stripe is busy, or with a newer API key if Stripe refuses
    /// this one. `key` is the idempotency key.
    async fn send<T: DeserializeOwned>(
        &self,
        request: &impl StripeRequest,
        key: Option<&str>,
    ) -> Result<T, Error> {
        let mut api_key = self.key.get().await?;
        let mut pauses = PAUSES.into_iter();
        let mut renewed = false;
        loop {
            match self.once(request, key, &api_key).await {
                Err(Error::Refused { status: 401, .. }) if !renewed => {
                    renewed = true;
                    api_key = self.key.get_within(FRESH).await?;
                }
                Err(error @ Error::Unavailable(_)) => match pauses.next() {
                    Some(pause) => sleep(pause).await,
                    None => return Err(error),
                },
                done => return done,
            }
        }
    }

    /// Creates the customer of a tenant. Concurrent calls for the same tenant and generation return
    /// the same customer.
    ///
    /// # Errors
    ///
    /// When Stripe does not create it.
    pub async fn create_customer(
        &self,
        tenant: TenantId,
        generation: usize,
    ) -> Result<String, Error> {
        let request = CreateCustomer::new()
            .description(format!("AIAS {tenant}"))
            .metadata(named(tenant));
        let key = format!("aias-customer-{tenant}-{generation}");
        let made: Id = self.send(&request, Some(&key)).await?;
        made.checked()
    }

    /// Starts a checkout and returns its URL.
    ///
    /// # Errors
    ///
    /// When no price has the plan's lookup key, or Stripe does not start it.
    pub async fn checkout(&self, new: NewCheckout<'_>) -> Result<String, Error> {
        let keys = new.plan.lookup_keys();
        let Some(wanted) = keys.first().copied() else {
            return Err(Error::NoPrice("free"));
        };
        let prices = ListPrice::new()
            .active(true)
            .lookup_keys(vec![wanted.to_owned()]);
        let prices: List<Price> = self.send(&prices, None).await?;
        let price = prices
            .data
            .into_iter()
            .find(|price| price.lookup_key.as_deref() == Some(wanted))
            .ok_or(Error::NoPrice(wanted))?;
        let item = CreateCheckoutSessionLineItems {
            price: Some(price.id),
            quantity: Some(1),
            ..CreateCheckoutSessionLineItems::new()
        };
        let subscription = CreateCheckoutSessionSubscriptionData {
            metadata: Some(named(new.tenant_id)),
            ..CreateCheckoutSessionSubscriptionData::new()
        };
        let request = CreateCheckoutSession::new()
            .mode(CheckoutSessionMode::Subscription)
            .customer(new.customer_id)
            .client_reference_id(new.tenant_id.to_string())
            .metadata(named(new.tenant_id))
            .subscription_data(subscription)
            .line_items(vec![item])
            .success_url(new.success_url)
            .cancel_url(new.cancel_url);
        let made: Page = self.send(&request, Some(new.key)).await?;
        Ok(made.url)
    }

    /// Opens the customer portal and returns its URL.
    ///
    /// # Errors
    ///
    /// When Stripe does not open it.
    pub async fn portal(
        &self,
        customer_id: &str,
        return_url: Option<&str>,
        key: &str,
    ) -> Result<String, Error> {
        let mut request = CreateBillingPortalSession::new().customer(customer_id);
        if let Some(url) = return_url {
            request = request.return_url(url);
        }
        let made: Page = self.send(&request, Some(key)).await?;
        Ok(made.url)
    }

    /// The current state of a subscription; none if Stripe does not know it.
    ///
    /// # Errors
    ///
    /// When Stripe is unavailable.
    pub async fn subscription(&self, id: &str) -> Result<Option<StripeSubscription>, Error> {
        let found: Subscription = match self.send(&RetrieveSubscription::new(id), None).await {
            Err(Error::Refused { status: 404, .. }) => return Ok(None),
            found => found?,
        };
        let (state, tenant_id) = (found.state(), tenant_of(&found.metadata));
        let customer_id = found.customer.id();
        let customer_id = customer_id
            .ok_or_else(|| Error::Malformed("the subscription has no customer".to_owned()))?;
        Ok(Some(StripeSubscription {
            id: found.id,
            customer_id,
            state,
            tenant_id,
        }))
    }

    /// A customer's invoices, newest first, after the one with the id `after`, and whether there
    /// are more.
    ///
    /// # Errors
    ///
    /// When Stripe is unavailable.
    pub async fn invoices(
        &self,
        customer_id: &str,
        limit: usize,
        after: Option<&str>,
    ) -> Result<(Vec<InvoiceView>, bool), Error> {
        let limit = i64::try_from(limit).unwrap_or(25);
        let mut request = ListInvoice::new().customer(customer_id).limit(limit);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        let list: List<BilledInvoice> = self.send(&request, None).await?;
        let view = |own: BilledInvoice| InvoiceView {
            amount_paid: own.amount_paid,
            created: own.created,
            invoice: own.at(own.created),
        };
        Ok((list.data.into_iter().map(view).collect(), list.has_more))
    }

    /// Reports completed runs. An identifier that was reported before is not counted again.
    ///
    /// # Errors
    ///
    /// When Stripe does not accept the report.
    pub async fn meter(&self, metered: MeterReport<'_>) -> Result<(), Error> {
        let payload = HashMap::from([
            (
                "stripe_customer_id".to_owned(),
                metered.customer_id.to_owned(),
            ),
            ("value".to_owned(), metered.value.to_string()),
        ]);
        let request = CreateBillingMeterEvent::new(METER, payload)
            .identifier(metered.identifier)
            .timestamp(metered.at.as_second());
        let sent: Result<serde_json::Value, Error> =
            self.send(&request, Some(metered.identifier)).await;
        match sent {
            Ok(_) => Ok(()),
            // "An event already exists with identifier …" has no error code.
            Err(Error::Refused {
                status: 400,
                message,
                ..
            }) if message.contains("already exists") && message.contains(metered.identifier) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// How many completed runs Stripe counted for a customer between two minutes; none if there is
    /// no such meter.
    ///
    /// # Errors
    ///
    /// When Stripe is unavailable.
    pub async fn metered(
        &self,
        customer_id: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Option<u64>, Error> {
        let meters: List<Meter> = self.send(&ListBillingMeter::new().limit(100), None).await?;
        let Some(meter) = meters.data.into_iter().find(|m| m.event_name == METER) else {
            return Ok(None);
        };
        let minute = |at: Timestamp| at.as_second().div_euclid(60) * 60;
        let request = ListIdBillingMeterEventSummary::new(
            meter.id,
            customer_id,
            minute(to) + 60,
            minute(from),
        );
        let summaries: List<Summary> = self.send(&request, None).await?;
        let sum: f64 = summaries.data.iter().map(|s| s.aggregated_value).sum();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, which Stripe returns as a floating-point number"
        )]
        Ok(Some(sum.max(0.0) as u64))
    }
}

/// An invoice for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceView {
    pub invoice: aias_domain::subscription::Invoice,
    /// In the smallest unit of the currency.
    pub amount_paid: i64,
    /// In seconds since 1970.
    pub created: i64,
}

fn named(tenant: TenantId) -> HashMap<String, String> {
    HashMap::from([(TENANT.to_owned(), tenant.to_string())])
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

impl Id {
    fn checked(self) -> Result<String, Error> {
        if is_id(&self.id) {
            return Ok(self.id);
        }
        Err(Error::Malformed("invalid id".to_owned()))
    }
}

#[derive(Deserialize)]
struct Page {
    url: String,
}

#[derive(Deserialize)]
struct Meter {
    id: String,
    event_name: String,
}

#[derive(Deserialize)]
struct Summary {
    aggregated_value: f64,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: Reason,
}

#[derive(Default, Deserialize)]
struct Reason {
    #[serde(default)]
    code: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// The error of a response. A proxy may have sent it, so its content is not trusted.
fn error_of(answer: &Response<Vec<u8>>) -> Error {
    let status = answer.status().as_u16();
    let said: Refusal = serde_json::from_slice(answer.body()).unwrap_or_default();
    let Reason {
        code,
        kind,
        message,
    } = said.error;
    let code = code.or(kind).filter(|code| code.len() <= MAX_CODE);
    let code = code.unwrap_or_default();
    if matches!(status, 409 | 424 | 429 | 500..=599) {
        return Error::Unavailable(format!("{status} {code}"));
    }
    Error::Refused {
        status,
        code,
        message: message.unwrap_or_default(),
    }
}

fn bearer(api_key: &RotatingSecret) -> Result<HeaderValue, Error> {
    let value = format!("Bearer {}", api_key.current.expose_secret());
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| Error::Malformed("the API key cannot be sent as a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
