//! `POST /stripe/webhook`: verify, look whether it was worked in, ask Stripe how the customer stands, write, answer 200. The event's
//! own copy of things is read for one id and nothing else. Any failure is 503, and Stripe's repeats are the queue.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tenancy::subscription;

use crate::config::is_id;
use crate::stripe::signature::{self, Forged};
use crate::{Billing, BillingError};

/// Bytes of an event: a subscription with its items has some 10 KiB. Whoever posts makes us hash as much.
const EVENT_BYTES_MAX: usize = 256 * 1_024;

#[derive(Deserialize)]
struct Event {
    id: String,
    r#type: String,
    livemode: bool,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Value,
}

impl Event {
    /// The customer that it is about, if it can matter to us.
    fn customer(&self) -> Option<&str> {
        let object = &self.data.object;
        let matters = ["customer.subscription.", "invoice.", "checkout.session."]
            .iter()
            .any(|start| self.r#type.starts_with(start));
        match self.r#type.as_str() {
            "customer.deleted" => object["id"].as_str(),
            _ if matters => object["customer"].as_str(),
            _ => None,
        }
        .filter(|id| is_id(id))
    }
}

pub(crate) fn router(billing: Billing) -> Router {
    Router::new()
        .route("/stripe/webhook", post(receive))
        .layer(DefaultBodyLimit::max(EVENT_BYTES_MAX))
        .with_state(billing)
}

async fn receive(
    State(billing): State<Billing>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let header = headers.get("stripe-signature").and_then(|v| v.to_str().ok()).unwrap_or_default();
    match signature::check(header, &body, &billing.0.config.webhook_secrets, tenancy::now_ms() / 1_000) {
        Ok(()) => {}
        Err(forged) => {
            tracing::warn!(?forged, "an event that claims to be from Stripe was refused");
            let text = match forged {
                Forged::Header => "no signature\n",
                Forged::Time => "too old: look at this server's clock\n",
                Forged::Signature => "the signature does not fit\n",
            };
            return (StatusCode::BAD_REQUEST, text);
        }
    }
    let Ok(event) = serde_json::from_slice::<Event>(&body) else {
        return (StatusCode::BAD_REQUEST, "no event\n");
    };
    if event.livemode != billing.0.config.live() {
        return (StatusCode::BAD_REQUEST, "test and live mode are mixed\n");
    }
    match billing.work_in(&event).await {
        Ok(said) => (StatusCode::OK, said),
        Err(error) => {
            tracing::warn!(%error, event = %event.id, kind = %event.r#type, "an event could not be worked in; Stripe sends it again");
            (StatusCode::SERVICE_UNAVAILABLE, "later\n")
        }
    }
}

impl Billing {
    async fn work_in(&self, event: &Event) -> Result<&'static str, BillingError> {
        let Some(customer) = event.customer().filter(|_| is_id(&event.id)) else { return Ok("not for us\n") };
        let Some(known) = subscription::of_customer(self.db(), customer).await? else {
            return Ok("nobody we know\n");
        };
        if subscription::event_seen(self.db(), &event.id).await? {
            return Ok("seen\n");
        }
        self.sync(&known.account_id, Some(&event.id)).await?;
        // An event that is worked in puts the next look off.
        self.end_what_is_over(&known.account_id).await?;
        Ok("done\n")
    }
}
