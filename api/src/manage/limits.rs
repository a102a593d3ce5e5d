//! `/v1/limits`: what the plan allows, and the bounds that hold on every plan.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tenancy::app::{APPS_PER_ACCOUNT_MAX, KEYS_PER_APP_MAX};
use tenancy::member::MEMBERS_MAX;
use tenancy::quota;
use tenancy::token::PER_ACCOUNT_MAX;
use tenancy::webhook_endpoint::ENDPOINTS_PER_APP_MAX;
use utoipa::ToSchema;

use super::scope::{Granted, ReadStats};
use super::{Answer, Manage};

/// What an organisation may use. Null means no limit.
#[derive(Serialize, ToSchema)]
pub(super) struct LimitsView {
    /// The plan that they come from.
    plan: &'static str,
    /// Connections open at the same time, all apps together.
    connections_max: Option<u64>,
    /// Messages in one UTC day, all apps together.
    messages_per_day_max: Option<u64>,
    /// Events that one app publishes over HTTP in a second.
    publishes_per_second_max: Option<u32>,
    /// Other calls of one app to its HTTP API in a second.
    reads_per_second_max: Option<u32>,
    /// Members of one presence channel.
    presence_members_max: u32,
    apps_max: i64,
    keys_per_app_max: i64,
    webhook_endpoints_per_app_max: i64,
    members_max: i64,
    tokens_max: i64,
}

/// What the plan allows
#[utoipa::path(get, path = "/v1/limits", tag = "Usage", security(("token" = ["stats:read"])), responses((status = 200, body = LimitsView)))]
pub(super) async fn limits(
    Granted(caller, _): Granted<ReadStats>,
    State(manage): State<Manage>,
) -> Answer<LimitsView> {
    let plan = caller.account().plan;
    let limits = quota::limits_of(&manage.db, plan).await?;
    Ok(Json(LimitsView {
        plan: plan.name(),
        connections_max: limits.connections_max,
        messages_per_day_max: limits.messages_per_day_max,
        publishes_per_second_max: limits.publishes_per_second_max,
        reads_per_second_max: limits.reads_per_second_max,
        presence_members_max: limits.presence_members_max,
        apps_max: APPS_PER_ACCOUNT_MAX,
        keys_per_app_max: KEYS_PER_APP_MAX,
        webhook_endpoints_per_app_max: ENDPOINTS_PER_APP_MAX,
        members_max: MEMBERS_MAX,
        tokens_max: PER_ACCOUNT_MAX,
    }))
}
