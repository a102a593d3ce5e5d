//! `/v1/usage` and `/v1/apps/{id}/usage`: what the organisation and its apps use, against their limits, now and over time.
//! Counts come from storage, which nodes bring up to date every second; open connections are those of this node.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tenancy::clock::{DAY_MS, day_of, now_ms};
use tenancy::quota;
use tenancy::usage::series::{self, Step};
use tenancy::usage::{self, Counts};
use utoipa::{IntoParams, ToSchema};

use super::error::Refusal;
use super::input::{Asked, iso};
use super::scope::{Granted, GrantedApp, ReadStats};
use super::{Answer, Manage};

/// Steps that can be asked for: a day of minutes.
const LAST_MAX: u32 = 1_440;

/// How far back, and how fine.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Range {
    /// How long one point is. Minutes and hours are kept for a while only; days stay.
    #[param(inline)]
    step: Option<StepName>,
    /// So many steps, the present one included.
    #[param(minimum = 1, maximum = 1440, default = 30)]
    last: Option<u32>,
}

/// How long one point is; without it, a UTC day.
#[derive(Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StepName {
    Minute,
    Hour,
    #[default]
    Day,
}

impl From<StepName> for Step {
    fn from(name: StepName) -> Step {
        match name {
            StepName::Minute => Step::Minute,
            StepName::Hour => Step::Hour,
            StepName::Day => Step::Day,
        }
    }
}

impl Range {
    /// The step, the first one, and the one after the last.
    fn read(&self, now_ms: i64) -> Result<(Step, u32, u32), Refusal> {
        let step = Step::from(self.step.unwrap_or_default());
        let last = match self.last.unwrap_or(30) {
            last @ 1..=LAST_MAX => last,
            _ => return Err(Refusal::invalid("last", format!("ask for 1 to {LAST_MAX} steps"))),
        };
        let end = u32::try_from(now_ms / step.ms() + 1).unwrap_or(u32::MAX);
        Ok((step, end.saturating_sub(last), end))
    }
}

/// What an organisation uses.
#[derive(Serialize, ToSchema)]
pub(super) struct Usage {
    /// Messages of this UTC day so far, without apps on a plan of their own.
    messages_today: i64,
    messages_per_day_max: Option<u64>,
    connections_max: Option<u64>,
    /// When the day's count starts again.
    #[schema(format = DateTime)]
    resets_at: String,
    /// Steps in which something happened, oldest first.
    points: Vec<Point>,
}

/// Use in one step.
#[derive(Serialize, ToSchema)]
pub(super) struct Point {
    /// When the step began.
    #[schema(format = DateTime)]
    at: String,
    messages: Messages,
    /// Most connections at the same time. Of several apps the sum: no more were open at once.
    connections_peak: i64,
}

impl Point {
    fn new(step: Step, point: series::Point) -> Point {
        Point {
            at: iso(i64::from(point.at) * step.ms()),
            messages: Messages::new(point.counts),
            connections_peak: point.connections_peak,
        }
    }
}

/// Messages by what they were, as the plans count them.
#[derive(Serialize, ToSchema)]
pub(super) struct Messages {
    /// All of the below.
    total: i64,
    /// Events published over HTTP.
    publishes: i64,
    /// Deliveries of published events to connections.
    deliveries: i64,
    /// Client events, and their deliveries.
    client_events: i64,
    /// Deliveries of presence announcements.
    presence: i64,
    /// Deliveries of what a cache channel kept.
    cached: i64,
    /// Other calls of the HTTP API.
    reads: i64,
    /// POSTs to webhook endpoints.
    webhooks: i64,
}

impl Messages {
    fn new(counts: Counts) -> Messages {
        let Counts { publishes, deliveries, client_events, presence, cached, reads, webhooks } = counts;
        Messages {
            total: counts.total(),
            publishes,
            deliveries,
            client_events,
            presence,
            cached,
            reads,
            webhooks,
        }
    }
}

fn resets_at(now_ms: i64) -> String {
    iso((now_ms / DAY_MS + 1) * DAY_MS)
}

/// What the organisation used, today and over time
#[utoipa::path(get, path = "/v1/usage", tag = "Usage", security(("token" = ["stats:read"])), params(Range), responses((status = 200, body = Usage)))]
pub(super) async fn usage(
    Granted(caller, _): Granted<ReadStats>,
    State(manage): State<Manage>,
    Asked(asked): Asked<Range>,
) -> Answer<Usage> {
    let (now, account) = (now_ms(), caller.account());
    let (step, from, to) = asked.read(now)?;
    let limits = quota::limits_of(&manage.db, account.plan).await?;
    let points = series::of_account(&manage.db, &account.id, step, from, to).await?;
    Ok(Json(Usage {
        messages_today: usage::account_messages(&manage.db, &account.id, day_of(now)).await?,
        messages_per_day_max: limits.messages_per_day_max,
        connections_max: limits.connections_max,
        resets_at: resets_at(now),
        points: points.into_iter().map(|point| Point::new(step, point)).collect(),
    }))
}

/// What an app uses.
#[derive(Serialize, ToSchema)]
pub(super) struct AppUsage {
    /// Open connections on the node that answers.
    connections: u64,
    /// For the app, or for all apps that share its plan.
    connections_max: Option<u64>,
    messages_per_day_max: Option<u64>,
    /// When the day's count starts again.
    #[schema(format = DateTime)]
    resets_at: String,
    /// This UTC day so far.
    today: Messages,
    /// Steps in which something happened, oldest first.
    points: Vec<Point>,
}

/// What an app uses, now, today and over time
#[utoipa::path(get, path = "/v1/apps/{id}/usage", tag = "Usage", security(("token" = ["stats:read"])),
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), Range), responses((status = 200, body = AppUsage)))]
pub(super) async fn app_usage(
    GrantedApp { caller, app, .. }: GrantedApp<ReadStats>,
    State(manage): State<Manage>,
    Asked(asked): Asked<Range>,
) -> Answer<AppUsage> {
    let now = now_ms();
    let (step, from, to) = asked.read(now)?;
    let plan = app.plan.unwrap_or(caller.account().plan);
    let limits = quota::limits_of(&manage.db, plan).await?.capped(app.connections_max, app.messages_day_max);
    let loaded = manage.node.apps().loaded(app.id);
    let points = series::of_app(&manage.db, app.id, step, from, to).await?;
    Ok(Json(AppUsage {
        connections: loaded.map_or(0, |live| live.usage().connections),
        connections_max: limits.connections_max,
        messages_per_day_max: limits.messages_per_day_max,
        resets_at: resets_at(now),
        today: Messages::new(usage::app_day(&manage.db, app.id, day_of(now)).await?.counts()),
        points: points.into_iter().map(|point| Point::new(step, point)).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_with_the_present_step_and_is_bounded() {
        let read = |step, last| Range { step, last }.read(10 * DAY_MS + 1);
        assert_eq!(read(None, Some(1)).unwrap(), (Step::Day, 10, 11));
        assert_eq!(read(Some(StepName::Hour), Some(24)).unwrap(), (Step::Hour, 217, 241));
        assert_eq!(read(None, None).unwrap(), (Step::Day, 0, 11));
        assert!(read(None, Some(0)).is_err() && read(None, Some(1_441)).is_err());
    }
}
