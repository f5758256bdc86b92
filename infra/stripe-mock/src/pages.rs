//! Pages in place of Stripe's: a checkout that buys when it is opened, and a portal of links.

use axum::{
    extract::{Path, State},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde_json::{Value, json};

use crate::{Price, StripeMock, invoice, subscription};

fn gone() -> Response {
    Html("<p>There is no such page.").into_response()
}

/// Buys the plan and redirects to the success URL.
pub(crate) async fn checkout(State(mock): State<StripeMock>, Path(id): Path<String>) -> Response {
    let now = mock.now();
    let Some(kept) = mock.world().sessions.remove(&id) else {
        return gone();
    };
    let mut session = kept["session"].clone();
    let customer = session["customer"].as_str().unwrap().to_owned();
    let price = Price::of_id(kept["price"].as_str().unwrap()).unwrap();
    let tenant = kept["tenant"].as_str().filter(|tenant| !tenant.is_empty());
    let (sub, bill) = {
        let mut world = mock.world();
        (world.next("sub"), world.next("in"))
    };
    let state = |status| subscription(&sub, &customer, status, price, now, tenant);
    let paid = invoice(&bill, &customer, &sub, "paid", now);
    session["status"] = "complete".into();
    session["payment_status"] = "paid".into();
    session["subscription"] = sub.as_str().into();
    let active = state("active");
    mock.put_subscription(&active);
    mock.world().invoices.push(paid.clone());
    mock.send("customer.subscription.created", &state("incomplete"))
        .await;
    mock.send("invoice.paid", &paid).await;
    mock.send("checkout.session.completed", &session).await;
    mock.send("customer.subscription.updated", &active).await;
    match session["success_url"].as_str() {
        Some(url) => Redirect::to(url).into_response(),
        None => Html("<p>Bought.").into_response(),
    }
}

/// The page of a customer.
pub(crate) async fn portal(Path(customer): Path<String>) -> Html<String> {
    let link = |(change, words): (&str, &str)| {
        format!("<li><a href=\"/portal/{customer}/{change}\">{words}</a>")
    };
    let links = [
        ("pro", "change to pro"),
        ("business", "change to business"),
        ("fail", "let a payment fail"),
        ("pay", "pay"),
        ("cancel", "end the subscription"),
    ];
    Html(format!("<ul>{}</ul>", links.map(link).concat()))
}

/// Changes the subscription.
pub(crate) async fn change(
    State(mock): State<StripeMock>,
    Path((customer, change)): Path<(String, String)>,
) -> Response {
    let now = mock.now();
    let found = {
        let world = mock.world();
        let own = |s: &&Value| s["customer"] == customer.as_str() && s["status"] != "canceled";
        world.subscriptions.values().find(own).cloned()
    };
    let Some(found) = found else {
        return gone();
    };
    let id = found["id"].as_str().unwrap();
    let tenant = found["metadata"]["tenant_id"].as_str();
    let current = found["items"]["data"][0]["price"]["id"].as_str();
    let current = Price::of_id(current.unwrap()).unwrap();
    let status = found["status"].as_str().unwrap();
    let (status, price, kind) = match change.as_str() {
        "fail" => ("past_due", current, "customer.subscription.updated"),
        "pay" => ("active", current, "customer.subscription.updated"),
        "cancel" => ("canceled", current, "customer.subscription.deleted"),
        name => match Price::named(name) {
            Some(price) => (status, price, "customer.subscription.updated"),
            None => return gone(),
        },
    };
    let own = subscription(id, &customer, status, price, now, tenant);
    mock.put_subscription(&own);
    let bill = mock.world().next("in");
    match change.as_str() {
        "fail" => {
            let open = invoice(&bill, &customer, id, "open", now);
            mock.world().invoices.push(open.clone());
            mock.send("invoice.payment_failed", &open).await;
        }
        "pay" => {
            let paid = invoice(&bill, &customer, id, "paid", now);
            mock.world().invoices.push(paid.clone());
            mock.send("invoice.paid", &paid).await;
        }
        _ => {}
    }
    mock.send(kind, &own).await;
    Html(json!({"status": status, "price": price.lookup_key()}).to_string()).into_response()
}
