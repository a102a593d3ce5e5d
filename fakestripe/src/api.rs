//! The calls, below `/v1/`: who asks, in which version, whether it was asked before, what for.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request as HttpRequest, State as Shared};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::objects::{Request, State};
use crate::{API_VERSION, Fake, METERED, SECRET_KEY, form};

/// A refusal: status, type, code, sentence.
struct Refusal(u16, &'static str, &'static str, String);

type Answer = Result<Value, Refusal>;
type Params = BTreeMap<String, String>;

impl Refusal {
    fn json(&self) -> Value {
        json!({ "error": { "type": self.1, "code": self.2, "message": self.3 } })
    }
}

fn bad(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal(400, "invalid_request_error", code, message.into())
}

fn missing(kind: &str, id: &str) -> Refusal {
    Refusal(404, "invalid_request_error", "resource_missing", format!("No such {kind}: '{id}'"))
}

pub(crate) async fn answer(Shared(fake): Shared<Fake>, request: HttpRequest) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let header =
        |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let (method, path) = (parts.method.as_str().to_owned(), parts.uri.path().to_owned());
    let sent = if method != "POST" {
        parts.uri.query().unwrap_or_default().to_owned()
    } else {
        String::from_utf8_lossy(&body).into_owned()
    };
    let params = form::decode(&sent);
    let failure = fake.with(|state| {
        let at = state.failures.iter().position(|one| one.times > 0 && path.starts_with(&one.path))?;
        state.failures[at].times -= 1;
        Some(state.failures[at].clone())
    });
    if let Some(failure) = &failure {
        tokio::time::sleep(Duration::from_millis(failure.delay_ms)).await;
    }
    let spared = failure.as_ref().is_none_or(|one| one.after || one.status == 200);
    let key = Some(header("idempotency-key")).filter(|key| !key.is_empty());
    let (mut status, mut json, mut replayed) =
        (500, json!({ "error": { "type": "api_error", "message": "out of order" } }), false);
    if spared {
        (status, json, replayed) = fake.with(|state| {
            let refused = if header("authorization") != format!("Bearer {SECRET_KEY}") {
                Some(Refusal(401, "invalid_request_error", "", "Invalid API Key provided".into()))
            } else if header("stripe-version") != API_VERSION {
                Some(bad("", format!("this server speaks {API_VERSION} and was asked for {:?}", header("stripe-version"))))
            } else if !sent.is_empty() && method == "POST" && header("content-type") != "application/x-www-form-urlencoded" {
                Some(bad("", "the body is no form"))
            } else if params.is_none() {
                Some(bad("", "the form can't be read"))
            } else {
                None
            };
            if let Some(refusal) = refused {
                return (refusal.0, refusal.json(), false);
            }
            let fingerprint = format!("{method} {path} {sent}");
            if let Some((before, status, answer)) = key.as_ref().and_then(|key| state.replays.get(key)) {
                if *before != fingerprint {
                    let message = "Keys for idempotent requests can only be used with the same parameters they were first used with.";
                    return (400, Refusal(400, "idempotency_error", "", message.into()).json(), false);
                }
                return (*status, answer.clone(), true);
            }
            let (status, answer) = match perform(state, &method, &path, params.as_ref().unwrap_or(&Params::new())) {
                Ok(answer) => (200, answer),
                Err(refusal) => (refusal.0, refusal.json()),
            };
            if let Some(key) = &key && method == "POST" {
                state.replays.insert(key.clone(), (fingerprint, status, answer.clone()));
            }
            (status, answer, false)
        });
    }
    if let Some(failure) = &failure
        && failure.status != 200
    {
        status = failure.status;
        json = json!({ "error": { "type": "api_error", "message": "out of order" } });
    }
    fake.with(|state| {
        let params = params.clone().unwrap_or_default();
        state.requests.push(Request { method, path, params, idempotency_key: key, status });
    });
    if status == 0 {
        // A panic in a handler closes the connection, which is what a lost answer looks like.
        std::panic::resume_unwind(Box::new("the answer is lost"));
    }
    let mut response = (StatusCode::from_u16(status).unwrap_or_default(), Json(json)).into_response();
    if replayed {
        response.headers_mut().insert("idempotent-replayed", http::HeaderValue::from_static("true"));
    }
    response
}

/// Refuses parameters that the call doesn't have.
fn only(params: &Params, known: &[&str]) -> Result<(), Refusal> {
    match params.keys().find(|name| {
        !known.contains(&form::shape(name).as_str())
            && !name.starts_with("metadata[")
            && !name.starts_with("expand[")
    }) {
        None => Ok(()),
        Some(name) => Err(bad("parameter_unknown", format!("Received unknown parameter: {name}"))),
    }
}

fn needed<'a>(params: &'a Params, name: &str) -> Result<&'a str, Refusal> {
    params
        .get(name)
        .map(String::as_str)
        .filter(|v| !v.is_empty())
        .ok_or_else(|| bad("parameter_missing", format!("Missing required param: {name}.")))
}

fn perform(state: &mut State, method: &str, path: &str, params: &Params) -> Answer {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        ("POST", ["v1", "customers"]) => create_customer(state, params),
        ("GET", ["v1", "prices", id]) => state.find("prices", id).ok_or_else(|| missing("price", id)),
        ("POST", ["v1", "checkout", "sessions"]) => open_checkout(state, params),
        ("GET", ["v1", "checkout", "sessions", id]) => {
            state.find("sessions", id).ok_or_else(|| missing("checkout.session", id))
        }
        ("POST", ["v1", "checkout", "sessions", id, "expire"]) => expire_checkout(state, id),
        ("GET", ["v1", "subscriptions"]) => {
            only(params, &["customer", "status", "limit"])?;
            let mut found = state.of_customer("subscriptions", needed(params, "customer")?);
            if params.get("status").is_none_or(|status| status != "all") {
                found.retain(|one| one["status"] != "canceled");
            }
            Ok(list(found, params))
        }
        ("POST", ["v1", "subscriptions", id]) => update_subscription(state, id, params),
        ("DELETE", ["v1", "subscriptions", id]) => {
            only(params, &["prorate", "invoice_now"])?;
            let open = state.find("subscriptions", id).filter(|one| one["status"] != "canceled");
            open.and_then(|_| state.end(id)).ok_or_else(|| missing("subscription", id))
        }
        ("POST", ["v1", "subscription_items"]) => add_item(state, params),
        ("POST", ["v1", "billing", "meter_events"]) => meter(state, params),
        ("POST", ["v1", "billing_portal", "sessions"]) => {
            only(params, &["customer", "return_url"])?;
            let customer = known_customer(state, params)?;
            let id = state.new_id("bps");
            let url = format!("{}/portal/{id}", state.base());
            let portal = json!({ "id": id, "object": "billing_portal.session", "url": url, "customer": customer, "return_url": needed(params, "return_url")? });
            state.put("portals", portal.clone());
            Ok(portal)
        }
        ("GET", ["v1", "invoices"]) => {
            only(params, &["customer", "limit"])?;
            Ok(list(state.of_customer("invoices", needed(params, "customer")?), params))
        }
        ("POST", ["v1", "invoices", "create_preview"]) => preview(state, params),
        _ => Err(Refusal(
            404,
            "invalid_request_error",
            "",
            format!("Unrecognized request URL ({method}: {path})."),
        )),
    }
}

fn list(mut found: Vec<Value>, params: &Params) -> Value {
    let limit = params.get("limit").and_then(|n| n.parse().ok()).unwrap_or(10_usize);
    let has_more = found.len() > limit;
    found.truncate(limit);
    json!({ "object": "list", "data": found, "has_more": has_more })
}

fn known_customer(state: &State, params: &Params) -> Result<String, Refusal> {
    let id = needed(params, "customer")?;
    state.find("customers", id).map(|_| id.to_owned()).ok_or_else(|| missing("customer", id))
}

fn create_customer(state: &mut State, params: &Params) -> Answer {
    only(params, &["email", "name"])?;
    let id = state.new_id("cus");
    let customer = json!({ "id": id, "object": "customer", "email": params.get("email"), "name": params.get("name"),
        "created": state.now_s(), "account": params.get("metadata[account]"), "livemode": false });
    state.put("customers", customer.clone());
    Ok(customer)
}

const CHECKOUT: &[&str] = &[
    "mode",
    "customer",
    "client_reference_id",
    "line_items[#][price]",
    "line_items[#][quantity]",
    "success_url",
    "cancel_url",
    "subscription_data[metadata][account]",
    "automatic_tax[enabled]",
    "customer_update[address]",
    "customer_update[name]",
    "tax_id_collection[enabled]",
    "allow_promotion_codes",
];

fn open_checkout(state: &mut State, params: &Params) -> Answer {
    only(params, CHECKOUT)?;
    let customer = known_customer(state, params)?;
    if needed(params, "mode")? != "subscription" {
        return Err(bad("", "only subscriptions are sold here"));
    }
    let price = needed(params, "line_items[0][price]")?;
    state.find("prices", price).ok_or_else(|| missing("price", price))?;
    if needed(params, "line_items[0][quantity]")? != "1" {
        return Err(bad("", "one of it"));
    }
    let tax = params.get("automatic_tax[enabled]").is_some_and(|on| on == "true");
    if tax && params.get("customer_update[address]").is_none_or(|on| on != "auto") {
        return Err(bad(
            "customer_tax_location_invalid",
            "Automatic tax calculation in Checkout requires a valid address on the Customer.",
        ));
    }
    let id = state.new_id("cs_test");
    let session = json!({ "id": id, "object": "checkout.session", "mode": "subscription", "status": "open", "payment_status": "unpaid",
        "customer": customer, "metadata": { "price": params.get("metadata[price]") }, "client_reference_id": params.get("client_reference_id"), "subscription": null, "price": price,
        "url": format!("{}/pay/{id}", state.base()), "success_url": needed(params, "success_url")?,
        "cancel_url": needed(params, "cancel_url")?, "automatic_tax": { "enabled": tax } });
    state.put("sessions", session.clone());
    Ok(session)
}

fn expire_checkout(state: &mut State, id: &str) -> Answer {
    let mut session = state.find("sessions", id).ok_or_else(|| missing("checkout.session", id))?;
    if session["status"] != "open" {
        return Err(bad(
            "",
            format!(
                "Only Checkout Sessions with a status in [\"open\"] can be expired. This one is {}.",
                session["status"]
            ),
        ));
    }
    session["status"] = json!("expired");
    state.put("sessions", session.clone());
    state.tell("checkout.session.expired", &session);
    Ok(session)
}

const UPDATE: &[&str] = &[
    "items[#][id]",
    "items[#][price]",
    "items[#][deleted]",
    "proration_behavior",
    "payment_behavior",
    "cancel_at_period_end",
];

fn update_subscription(state: &mut State, id: &str, params: &Params) -> Answer {
    only(params, UPDATE)?;
    let mut one = state
        .find("subscriptions", id)
        .filter(|one| one["status"] != "canceled")
        .ok_or_else(|| missing("subscription", id))?;
    let customer = one["customer"].as_str().unwrap_or_default().to_owned();
    if let Some(price_id) = params.get("items[0][price]") {
        let price = state.find("prices", price_id).ok_or_else(|| missing("price", price_id))?;
        if params.get("items[0][id]").map(String::as_str) != one["items"]["data"][0]["id"].as_str() {
            return Err(bad(
                "",
                "a second item of the same interval would be charged too: name the item to change",
            ));
        }
        let at_once = params.get("proration_behavior").is_some_and(|how| how == "always_invoice");
        let strict = params.get("payment_behavior").is_some_and(|how| how == "error_if_incomplete");
        if at_once && strict && state.is_declined(&customer) {
            return Err(Refusal(402, "card_error", "card_declined", "Your card was declined.".into()));
        }
        let old = one["items"]["data"][0]["price"]["unit_amount"].as_i64().unwrap_or(0);
        let new = price["unit_amount"].as_i64().unwrap_or(0);
        one["items"]["data"][0]["price"] = price;
        if at_once {
            state.invoice(&customer, id, new - old, true);
        }
    }
    if let Some(cancel) = params.get("cancel_at_period_end") {
        one["cancel_at_period_end"] = json!(cancel == "true");
    }
    state.put("subscriptions", one.clone());
    state.tell("customer.subscription.updated", &one);
    Ok(one)
}

fn add_item(state: &mut State, params: &Params) -> Answer {
    only(params, &["subscription", "price"])?;
    let id = needed(params, "subscription")?;
    let mut one = state
        .find("subscriptions", id)
        .filter(|one| one["status"] != "canceled")
        .ok_or_else(|| missing("subscription", id))?;
    let price_id = needed(params, "price")?;
    let price = state.find("prices", price_id).ok_or_else(|| missing("price", price_id))?;
    if price["recurring"]["usage_type"] != "metered" {
        return Err(bad("", "a second item of the same interval would be charged too"));
    }
    let items = one["items"]["data"].as_array().cloned().unwrap_or_default();
    if items.iter().any(|item| item["price"]["id"] == price_id) {
        return Err(bad(
            "",
            format!("Cannot add multiple subscription items with the same plan: {price_id}"),
        ));
    }
    let item = json!({ "id": state.new_id("si"), "object": "subscription_item", "price": price, "subscription": id,
        "current_period_start": items[0]["current_period_start"], "current_period_end": items[0]["current_period_end"] });
    if let Some(items) = one["items"]["data"].as_array_mut() {
        items.push(item.clone());
    }
    state.put("subscriptions", one.clone());
    state.tell("customer.subscription.updated", &one);
    Ok(item)
}

/// How far back and ahead a meter event may be, in seconds.
const METER_PAST_S: i64 = 35 * 86_400;
const METER_AHEAD_S: i64 = 300;

fn meter(state: &mut State, params: &Params) -> Answer {
    only(
        params,
        &["event_name", "identifier", "payload[stripe_customer_id]", "payload[value]", "timestamp"],
    )?;
    if needed(params, "event_name")? != METERED.0 {
        return Err(bad("no_meter", "No active meter found for that event name"));
    }
    let customer = needed(params, "payload[stripe_customer_id]")?;
    state.find("customers", customer).ok_or_else(|| missing("customer", customer))?;
    let value = needed(params, "payload[value]")?;
    if value.parse::<f64>().is_err() {
        return Err(bad("meter_event_invalid_value", "the value is no number"));
    }
    let at: i64 = needed(params, "timestamp")?.parse().map_err(|_| bad("", "Invalid timestamp"))?;
    if at < state.now_s() - METER_PAST_S || at > state.now_s() + METER_AHEAD_S {
        return Err(bad("timestamp_too_far_in_past", "the timestamp is too far away"));
    }
    let identifier = needed(params, "identifier")?;
    if identifier.len() > 100 {
        return Err(bad("", "Invalid string: identifier"));
    }
    if state.find("meter_events", identifier).is_some() {
        return Err(bad(
            "duplicate_meter_event",
            format!("An event already exists with identifier {identifier}."),
        ));
    }
    let event = json!({ "id": identifier, "identifier": identifier, "object": "billing.meter_event", "event_name": METERED.0,
        "payload": { "stripe_customer_id": customer, "value": value }, "timestamp": at, "created": state.now_s() });
    state.put("meter_events", event.clone());
    Ok(event)
}

fn preview(state: &mut State, params: &Params) -> Answer {
    only(params, &["customer", "subscription"])?;
    let id = needed(params, "subscription")?;
    let one = state.find("subscriptions", id).ok_or_else(|| missing("subscription", id))?;
    if one["status"] == "canceled" || one["cancel_at_period_end"] == true {
        return Err(bad("invoice_upcoming_none", "No upcoming invoices for customer"));
    }
    let item = &one["items"]["data"][0];
    let total = item["price"]["unit_amount"].as_i64().unwrap_or(0) + state.metered(&one);
    Ok(json!({ "object": "invoice", "total": total, "amount_due": total, "currency": "eur",
        "status": "draft", "created": item["current_period_end"], "next_payment_attempt": item["current_period_end"] }))
}
