//! Stripe objects, with the members that AIAS may read.

use serde_json::{Value, json};

/// A form-encoded request.
#[derive(Debug)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn read(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The fields in a canonical order.
    pub(crate) fn sorted(mut self) -> Vec<(String, String)> {
        self.0.sort();
        self.0
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The values of a list: `name[]`, or `name[0]` and so on.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let of = |(key, value): &(String, String)| {
            key.strip_prefix(name)?
                .starts_with('[')
                .then(|| value.clone())
        };
        self.0.iter().filter_map(of).collect()
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.get(name).parse().unwrap_or_default()
    }

    fn text_or_null(&self, name: &str) -> Value {
        match self.get(name) {
            "" => Value::Null,
            text => text.into(),
        }
    }

    fn metadata(&self, name: &str) -> Value {
        match self.get(&format!("{name}[tenant_id]")) {
            "" => json!({}),
            tenant => json!({ "tenant_id": tenant }),
        }
    }
}

/// A price of the mock's catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    /// 20 dollars a month.
    Pro,
    /// 200 dollars a month.
    Business,
}

impl Price {
    pub(crate) const ALL: [Self; 2] = [Self::Pro, Self::Business];

    pub(crate) fn lookup_key(self) -> &'static str {
        match self {
            Self::Pro => "pro",
            Self::Business => "business",
        }
    }

    fn amount(self) -> i64 {
        match self {
            Self::Pro => 2_000,
            Self::Business => 20_000,
        }
    }

    fn id(self) -> String {
        format!("price_mock_{}", self.lookup_key())
    }

    pub(crate) fn of_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|price| price.id() == id)
    }

    pub(crate) fn named(key: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|price| price.lookup_key() == key)
    }

    pub(crate) fn object(self) -> Value {
        json!({
            "id": self.id(), "object": "price", "active": true, "billing_scheme": "per_unit",
            "created": 1_700_000_000, "currency": "usd", "livemode": false,
            "lookup_key": self.lookup_key(), "metadata": {}, "nickname": null,
            "product": "prod_mock", "type": "recurring",
            "recurring": {"interval": "month", "interval_count": 1, "meter": null, "usage_type": "licensed"},
            "unit_amount": self.amount(), "unit_amount_decimal": self.amount().to_string(),
        })
    }
}

pub(crate) fn error(kind: &str, code: Option<&str>, message: &str) -> Value {
    let mut own = json!({"type": kind, "message": message});
    if let (Some(code), Some(members)) = (code, own.as_object_mut()) {
        members.insert("code".to_owned(), code.into());
    }
    json!({ "error": own })
}

pub(crate) fn list(url: &str, data: &[Value]) -> Value {
    json!({"object": "list", "url": url, "has_more": false, "data": data})
}

pub(crate) fn event(id: &str, kind: &str, created: i64, object: &Value) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2026-09-30.endive", "created": created,
        "data": {"object": object}, "livemode": false, "pending_webhooks": 1,
        "request": {"id": null, "idempotency_key": null}, "type": kind,
    })
}

pub(crate) fn customer(id: &str, form: &Form, now: i64) -> Value {
    json!({
        "id": id, "object": "customer", "created": now, "description": form.text_or_null("description"),
        "email": null, "livemode": false, "metadata": form.metadata("metadata"), "name": null,
        "delinquent": false,
    })
}

pub(crate) fn session(id: &str, form: &Form, now: i64, url: &str) -> Value {
    json!({
        "id": id, "object": "checkout.session", "created": now, "livemode": false,
        "mode": form.get("mode"), "status": "open", "payment_status": "unpaid", "url": url,
        "customer": form.get("customer"), "subscription": null, "invoice": null,
        "client_reference_id": form.text_or_null("client_reference_id"),
        "metadata": form.metadata("metadata"),
        "success_url": form.text_or_null("success_url"), "cancel_url": form.text_or_null("cancel_url"),
    })
}

pub(crate) fn portal(id: &str, form: &Form, now: i64, url: &str) -> Value {
    json!({
        "id": id, "object": "billing_portal.session", "created": now, "livemode": false,
        "customer": form.get("customer"), "return_url": form.text_or_null("return_url"), "url": url,
        "configuration": "bpc_mock",
    })
}

#[must_use]
pub fn subscription(
    id: &str,
    customer: &str,
    status: &str,
    price: Price,
    now: i64,
    tenant: Option<&str>,
) -> Value {
    const MONTH: i64 = 30 * 86_400;
    let metadata = tenant.map_or_else(|| json!({}), |tenant| json!({ "tenant_id": tenant }));
    let item = json!({
        "id": format!("si_{id}"), "object": "subscription_item", "created": now, "metadata": {},
        "price": price.object(), "quantity": 1, "subscription": id,
        "current_period_start": now, "current_period_end": now + MONTH,
    });
    let ended = (status == "canceled").then_some(now);
    json!({
        "id": id, "object": "subscription", "customer": customer, "status": status,
        "created": now, "start_date": now, "currency": "usd", "livemode": false,
        "collection_method": "charge_automatically", "cancel_at": null,
        "cancel_at_period_end": false, "canceled_at": ended, "ended_at": ended,
        "items": list("/v1/subscription_items", &[item]), "metadata": metadata,
        "latest_invoice": null,
    })
}

#[must_use]
pub fn invoice(id: &str, customer: &str, subscription: &str, status: &str, now: i64) -> Value {
    let paid = if status == "paid" { 2_000 } else { 0 };
    json!({
        "id": id, "object": "invoice", "customer": customer, "status": status, "created": now,
        "currency": "usd", "amount_due": 2_000, "amount_paid": paid, "amount_remaining": 2_000 - paid,
        "attempt_count": 1, "livemode": false, "metadata": {},
        "hosted_invoice_url": format!("https://invoice.example/{id}"),
        "parent": {
            "type": "subscription_details", "quote_details": null,
            "subscription_details": {"metadata": {}, "subscription": subscription},
        },
    })
}

pub(crate) fn meter(now: i64) -> Value {
    json!({
        "id": "mtr_mock", "object": "billing.meter", "created": now, "updated": now,
        "display_name": "Completed runs", "event_name": "aias_runs", "livemode": false,
        "status": "active", "event_time_window": null,
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": {"formula": "sum"}, "value_settings": {"event_payload_key": "value"},
        "status_transitions": {"deactivated_at": null},
    })
}

pub(crate) fn meter_event(form: &Form, now: i64) -> Value {
    json!({
        "object": "billing.meter_event", "created": now, "event_name": form.get("event_name"),
        "identifier": form.get("identifier"), "livemode": false,
        "payload": {
            "stripe_customer_id": form.get("payload[stripe_customer_id]"),
            "value": form.get("payload[value]"),
        },
        "timestamp": form.number("timestamp"),
    })
}

pub(crate) fn summary(meter: &str, form: &Form, sum: f64) -> Value {
    json!({
        "id": "mtrsum_mock", "object": "billing.meter_event_summary", "aggregated_value": sum,
        "start_time": form.number("start_time"), "end_time": form.number("end_time"),
        "livemode": false, "meter": meter,
    })
}
