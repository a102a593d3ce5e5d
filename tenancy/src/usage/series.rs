//! Use over time, for charts: minutes, hours or days of an app or of an account. The sums of the three are the same, as they are
//! written together; filling gaps is the page's work.

use super::Counts;
use crate::account::AccountId;
use crate::db::{Db, DbError, read};
use crate::statements;

macro_rules! of_app {
    ($table:literal, $unit:literal) => {
        concat!(
            "select ",
            $unit,
            ", publishes, deliveries, client_events, presence, cached, reads, webhooks, connections_peak
            from ",
            $table,
            " where app_id = $1 and ",
            $unit,
            " >= $2 and ",
            $unit,
            " < $3 order by ",
            $unit
        )
    };
}

// The peaks of several apps may come at different moments of a step: their sum is the most that it can have been.
macro_rules! of_account {
    ($table:literal, $unit:literal) => {
        concat!(
            "select u.", $unit, ", cast(sum(u.publishes) as bigint), cast(sum(u.deliveries) as bigint),
                cast(sum(u.client_events) as bigint), cast(sum(u.presence) as bigint), cast(sum(u.cached) as bigint),
                cast(sum(u.reads) as bigint), cast(sum(u.webhooks) as bigint), cast(sum(u.connections_peak) as bigint)
            from ", $table, " u join app_ids i on i.id = u.app_id
            where i.account_id = $1 and i.metered_apart = 0 and u.", $unit, " >= $2 and u.", $unit, " < $3
            group by u.", $unit, " order by u.", $unit
        )
    };
}

statements::sqls! {
    APP_MINUTES = of_app!("usage_minutes", "minute");
    APP_HOURS = of_app!("usage_hours", "hour");
    APP_DAYS = of_app!("usage_days", "day");
    ACCOUNT_MINUTES = of_account!("usage_minutes", "minute");
    ACCOUNT_HOURS = of_account!("usage_hours", "hour");
    ACCOUNT_DAYS = of_account!("usage_days", "day");
}

/// How long one point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A minute, kept for [`super::report::MINUTES_KEPT_MS`].
    Minute,
    /// An hour, kept for [`super::report::HOURS_KEPT_MS`].
    Hour,
    /// A UTC day.
    Day,
}

impl Step {
    /// Its length in milliseconds.
    pub fn ms(self) -> i64 {
        match self {
            Step::Minute => crate::clock::MINUTE_MS,
            Step::Hour => crate::clock::HOUR_MS,
            Step::Day => crate::clock::DAY_MS,
        }
    }
}

/// Use in one step. Steps without use are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Number of the step since 1970.
    pub at: u32,
    /// Messages by class.
    pub counts: Counts,
    /// Most connections at once.
    pub connections_peak: i64,
}

type Row = (i64, i64, i64, i64, i64, i64, i64, i64, i64);

fn point((at, publishes, deliveries, client_events, presence, cached, reads, webhooks, peak): Row) -> Point {
    Point {
        at: u32::try_from(at).unwrap_or(0),
        counts: Counts { publishes, deliveries, client_events, presence, cached, reads, webhooks },
        connections_peak: peak,
    }
}

/// The steps of an app from `from` to before `to`, oldest first.
pub async fn of_app(db: &Db, app_id: u64, step: Step, from: u32, to: u32) -> Result<Vec<Point>, DbError> {
    let sql = match step {
        Step::Minute => APP_MINUTES,
        Step::Hour => APP_HOURS,
        Step::Day => APP_DAYS,
    };
    let rows: Vec<Row> = read!(db, |p| sqlx::query_as(sql)
        .bind(app_id.cast_signed())
        .bind(i64::from(from))
        .bind(i64::from(to))
        .fetch_all(p)
        .await)?;
    Ok(rows.into_iter().map(point).collect())
}

/// The steps of an account, without apps on a plan of their own, deleted apps included.
pub async fn of_account(
    db: &Db,
    account_id: &AccountId,
    step: Step,
    from: u32,
    to: u32,
) -> Result<Vec<Point>, DbError> {
    let sql = match step {
        Step::Minute => ACCOUNT_MINUTES,
        Step::Hour => ACCOUNT_HOURS,
        Step::Day => ACCOUNT_DAYS,
    };
    let rows: Vec<Row> = read!(db, |p| sqlx::query_as(sql)
        .bind(account_id)
        .bind(i64::from(from))
        .bind(i64::from(to))
        .fetch_all(p)
        .await)?;
    Ok(rows.into_iter().map(point).collect())
}
