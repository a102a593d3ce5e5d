//! `/v1/billing`: the plan, what it allows here, and how it is paid, as this server last heard it from Stripe. It asks nobody anew and
//! changes nothing: plans are bought and cancelled on the page.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tenancy::clock::now_ms;
use tenancy::quota;
use tenancy::subscription::{self, Standing, Status, Subscription};
use utoipa::ToSchema;

use super::error::{ErrorAnswer, Refusal};
use super::input::iso;
use super::scope::{Granted, ReadBilling};
use super::{Answer, Manage};

/// An organisation's plan, and how it is paid.
#[derive(Serialize, ToSchema)]
pub(super) struct BillingView {
    /// The plan that it has now, such as `sandbox`.
    plan: &'static str,
    limits: PlanLimits,
    /// How the subscription stands.
    #[schema(inline)]
    status: StatusName,
    /// Was what was due paid? Null: nothing is to be paid.
    #[schema(inline)]
    payment: Option<Payment>,
    /// Until when it is paid; null without a subscription that runs.
    #[schema(format = DateTime)]
    period_ends_at: Option<String>,
    /// It is cancelled, and ends with its period.
    cancel_at_period_end: bool,
    /// When the plan is taken back for a payment that is missing; null: none is.
    #[schema(format = DateTime)]
    grace_ends_at: Option<String>,
}

/// What the plan allows on this server. Null means no limit.
#[derive(Serialize, ToSchema)]
pub(super) struct PlanLimits {
    /// Connections open at the same time, all apps together.
    connections_max: Option<u64>,
    /// Messages in one UTC day, all apps together.
    messages_per_day_max: Option<u64>,
    /// Events that one app publishes over HTTP in a second.
    publishes_per_second_max: Option<u32>,
    /// Other calls of one app to its HTTP API in a second.
    reads_per_second_max: Option<u32>,
}

/// How a subscription stands.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StatusName {
    None,
    Active,
    Trialing,
    PastDue,
    Unpaid,
    Incomplete,
    Ended,
}

impl From<Status> for StatusName {
    fn from(status: Status) -> StatusName {
        match status {
            Status::None => StatusName::None,
            Status::Active => StatusName::Active,
            Status::Trialing => StatusName::Trialing,
            Status::PastDue => StatusName::PastDue,
            Status::Unpaid => StatusName::Unpaid,
            Status::Incomplete => StatusName::Incomplete,
            Status::Ended => StatusName::Ended,
        }
    }
}

/// Whether what was due was paid.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Payment {
    Paid,
    Missing,
}

impl Payment {
    fn of(subscription: &Subscription) -> Payment {
        if subscription.status.is_owing() { Payment::Missing } else { Payment::Paid }
    }
}

/// The plan, and how it is paid
#[utoipa::path(get, path = "/v1/billing", tag = "Billing", security(("token" = ["billing:read"])), responses(
    (status = 200, body = BillingView), (status = 404, description = "This server bills nobody", body = ErrorAnswer)))]
pub(super) async fn billing(
    Granted(caller, _): Granted<ReadBilling>,
    State(manage): State<Manage>,
) -> Answer<BillingView> {
    if !manage.settings.bills {
        return Err(Refusal::not_found("This server bills nobody. /v1/limits has what the plan allows."));
    }
    let account = caller.account();
    let limits = quota::limits_of(&manage.db, account.plan).await?;
    let known = subscription::of_account(&manage.db, &account.id).await?;
    let live = known.as_ref().filter(|known| known.is_live());
    let grace_end = known.as_ref().and_then(|known| match known.standing(now_ms()) {
        Standing::Owing { until_ms } => Some(until_ms),
        Standing::Quiet | Standing::Ended { .. } => None,
    });
    Ok(Json(BillingView {
        plan: account.plan.name(),
        limits: PlanLimits {
            connections_max: limits.connections_max,
            messages_per_day_max: limits.messages_per_day_max,
            publishes_per_second_max: limits.publishes_per_second_max,
            reads_per_second_max: limits.reads_per_second_max,
        },
        status: known.as_ref().map_or(StatusName::None, |known| known.status.into()),
        payment: live.map(Payment::of),
        period_ends_at: live.and_then(|live| live.period_end_ms).map(iso),
        cancel_at_period_end: live.is_some_and(|live| live.cancel_at_period_end),
        grace_ends_at: grace_end.map(iso),
    }))
}
