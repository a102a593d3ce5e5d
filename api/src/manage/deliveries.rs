//! `/v1/apps/{id}/webhooks/{endpoint}/deliveries`: what was sent to an endpoint and what came back; sending again, and tests.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::app::App;
use tenancy::audit::Action;
use tenancy::clock::{HOUR_MS, now_ms};
use tenancy::webhook_delivery::{self, Attempt, Delivery, Filter, PAGE_MAX, State as Stage};
use utoipa::{IntoParams, ToSchema};

use super::error::Refusal;
use super::input::{Asked, At, Body, iso, limit};
use super::scope::{GrantedApp, ReadWebhooks, RepeatWebhooks};
use super::webhooks::{EventKind, find};
use super::{Answer, Manage, acts};

/// How far a delivery is.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StateName {
    /// Not yet tried, or to be tried again.
    Pending,
    /// Answered with 2xx.
    Delivered,
    /// Given up.
    Failed,
}

impl From<StateName> for Stage {
    fn from(name: StateName) -> Stage {
        match name {
            StateName::Pending => Stage::Pending,
            StateName::Delivered => Stage::Delivered,
            StateName::Failed => Stage::Failed,
        }
    }
}

impl From<Stage> for StateName {
    fn from(stage: Stage) -> StateName {
        match stage {
            Stage::Pending => StateName::Pending,
            Stage::Delivered => StateName::Delivered,
            Stage::Failed => StateName::Failed,
        }
    }
}

/// One body on its way to one endpoint.
#[derive(Serialize, ToSchema)]
pub(super) struct DeliveryView {
    /// `whd_…`; later ones are greater.
    id: String,
    state: StateName,
    #[schema(format = DateTime)]
    created_at: String,
    /// Events in it.
    events_count: u32,
    /// Made by a test.
    test: bool,
    /// What is posted.
    body: String,
    /// When it is tried again; null: at once while it is pending, else not at all.
    #[schema(format = DateTime)]
    next_try_at: Option<String>,
    /// Oldest first.
    attempts: Vec<AttemptView>,
}

/// One POST of a delivery.
#[derive(Serialize, ToSchema)]
pub(super) struct AttemptView {
    #[schema(format = DateTime)]
    at: String,
    duration_ms: i64,
    /// The answer's status; null: no answer came.
    status: Option<u16>,
    /// Why it is no success.
    error: Option<String>,
    /// The beginning of the answer. Empty in a list.
    response_body: String,
}

impl AttemptView {
    fn new(attempt: Attempt) -> AttemptView {
        AttemptView {
            at: iso(attempt.at_ms),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            error: attempt.error,
            response_body: attempt.response_body,
        }
    }
}

impl DeliveryView {
    fn new(delivery: Delivery) -> DeliveryView {
        DeliveryView {
            id: delivery.id,
            state: delivery.state.into(),
            created_at: iso(delivery.created_ms),
            events_count: delivery.events_count,
            test: delivery.test,
            body: delivery.body,
            next_try_at: delivery.next_try_ms.map(iso),
            attempts: delivery.attempts.into_iter().map(AttemptView::new).collect(),
        }
    }
}

/// A page of deliveries.
#[derive(Serialize, ToSchema)]
pub(super) struct DeliveryList {
    data: Vec<DeliveryView>,
    /// Give it as `cursor` for the next page; null: this was the last.
    next_cursor: Option<String>,
}

/// Which deliveries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeliveryQuery {
    /// Those in this state.
    #[param(inline)]
    state: Option<StateName>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// Deliveries to an endpoint, newest first; kept for 7 days
#[utoipa::path(get, path = "/v1/apps/{id}/webhooks/{endpoint}/deliveries", tag = "Webhooks", security(("token" = ["webhooks:read"])),
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), ("endpoint" = String, Path, description = "`whe_…`"), DeliveryQuery),
    responses((status = 200, body = DeliveryList)))]
pub(super) async fn list_deliveries(
    GrantedApp { app, .. }: GrantedApp<ReadWebhooks>,
    State(manage): State<Manage>,
    at: At<(String, String)>,
    Asked(asked): Asked<DeliveryQuery>,
) -> Answer<DeliveryList> {
    let At((_, id)) = at;
    let endpoint = find(&manage, &app, &id).await?;
    let limit = limit(asked.limit, PAGE_MAX)?;
    let filter = Filter {
        endpoint_id: Some(&endpoint.id),
        state: asked.state.map(Stage::from),
        before: asked.cursor.as_deref(),
        limit,
    };
    let found = webhook_delivery::list(&manage.db, &app.account_id, app.id, filter).await?;
    let next_cursor = found.last().filter(|_| found.len() == limit as usize).map(|last| last.id.clone());
    Ok(Json(DeliveryList { data: found.into_iter().map(DeliveryView::new).collect(), next_cursor }))
}

async fn delivery(manage: &Manage, app: &App, endpoint: &str, id: &str) -> Result<Delivery, Refusal> {
    let endpoint = find(manage, app, endpoint).await?;
    let found = webhook_delivery::find(&manage.db, &app.account_id, app.id, id).await?;
    found
        .filter(|delivery| delivery.endpoint_id == endpoint.id)
        .ok_or_else(|| Refusal::not_found("The endpoint has no such delivery. They are kept for 7 days."))
}

/// A delivery with all of its attempts
#[utoipa::path(get, path = "/v1/apps/{id}/webhooks/{endpoint}/deliveries/{delivery}", tag = "Webhooks", security(("token" = ["webhooks:read"])),
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), ("endpoint" = String, Path, description = "`whe_…`"),
        ("delivery" = String, Path, description = "`whd_…`")),
    responses((status = 200, body = DeliveryView)))]
pub(super) async fn get_delivery(
    GrantedApp { app, .. }: GrantedApp<ReadWebhooks>,
    State(manage): State<Manage>,
    at: At<(String, String, String)>,
) -> Answer<DeliveryView> {
    let At((_, endpoint, id)) = at;
    Ok(Json(DeliveryView::new(delivery(&manage, &app, &endpoint, &id).await?)))
}

/// Sends a delivery once more, with a new time and signature
#[utoipa::path(post, path = "/v1/apps/{id}/webhooks/{endpoint}/deliveries/{delivery}/resend", tag = "Webhooks", security(("token" = ["webhooks:write"])),
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), ("endpoint" = String, Path, description = "`whe_…`"),
        ("delivery" = String, Path, description = "`whd_…`")),
    responses((status = 202, description = "It is on its way"), (status = 409, description = "It is still on its way", body = super::error::ErrorAnswer)))]
pub(super) async fn resend_delivery(
    GrantedApp { caller, app, .. }: GrantedApp<RepeatWebhooks>,
    State(manage): State<Manage>,
    at: At<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    let At((_, endpoint, id)) = at;
    let delivery = delivery(&manage, &app, &endpoint, &id).await?;
    if !webhook_delivery::resend(&manage.db, &app.account_id, app.id, &delivery.id).await? {
        return Err(Refusal::conflict("still_pending", "The delivery is still on its way."));
    }
    let details = json!({ "endpoint": delivery.endpoint_id });
    acts::in_app(&manage, &caller, Action::WebhookReplay, &app, &delivery.id, details).await;
    Ok(StatusCode::ACCEPTED)
}

/// From when on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecoverBody {
    /// Those made within so many hours; the log keeps 168.
    #[schema(minimum = 1, maximum = 168)]
    hours: i64,
}

/// How many.
#[derive(Serialize, ToSchema)]
pub(super) struct Recovered {
    /// Deliveries that are sent again.
    deliveries: u64,
}

/// Sends everything again that was given up
#[utoipa::path(post, path = "/v1/apps/{id}/webhooks/{endpoint}/recover", tag = "Webhooks", security(("token" = ["webhooks:write"])), request_body = RecoverBody,
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), ("endpoint" = String, Path, description = "`whe_…`")),
    responses((status = 202, body = Recovered)))]
pub(super) async fn recover_deliveries(
    GrantedApp { caller, app, .. }: GrantedApp<RepeatWebhooks>,
    State(manage): State<Manage>,
    at: At<(String, String)>,
    Body(body): Body<RecoverBody>,
) -> Result<impl IntoResponse, Refusal> {
    let At((_, id)) = at;
    let endpoint = find(&manage, &app, &id).await?;
    if !(1..=168).contains(&body.hours) {
        return Err(Refusal::invalid("hours", "the hours are a number from 1 to 168"));
    }
    let since = now_ms() - body.hours * HOUR_MS;
    let deliveries =
        webhook_delivery::recover(&manage.db, &app.account_id, app.id, &endpoint.id, since).await?;
    if deliveries > 0 {
        let details = json!({ "deliveries": deliveries, "hours": body.hours });
        acts::in_app(&manage, &caller, Action::WebhookReplay, &app, &endpoint.id, details).await;
    }
    Ok((StatusCode::ACCEPTED, Json(Recovered { deliveries })))
}

/// Of which kind.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestBody {
    kind: EventKind,
}

/// The delivery that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct TestSent {
    /// `whd_…`
    delivery: String,
}

/// Sends a made-up event to an endpoint, on the way of real ones
#[utoipa::path(post, path = "/v1/apps/{id}/webhooks/{endpoint}/test", tag = "Webhooks", security(("token" = ["webhooks:write"])), request_body = TestBody,
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), ("endpoint" = String, Path, description = "`whe_…`")),
    responses((status = 202, body = TestSent)))]
pub(super) async fn send_test(
    GrantedApp { caller, app, .. }: GrantedApp<RepeatWebhooks>,
    State(manage): State<Manage>,
    at: At<(String, String)>,
    Body(body): Body<TestBody>,
) -> Result<impl IntoResponse, Refusal> {
    let At((_, id)) = at;
    let endpoint = find(&manage, &app, &id).await?;
    let kind = body.kind.name();
    let sent = webhook_delivery::send_test(&manage.db, &app.account_id, app.id, &endpoint.id, kind).await?;
    let delivery = sent.ok_or_else(Refusal::no_app)?;
    let details = json!({ "kind": kind });
    acts::in_app(&manage, &caller, Action::WebhookTest, &app, &endpoint.id, details).await;
    Ok((StatusCode::ACCEPTED, Json(TestSent { delivery })))
}
