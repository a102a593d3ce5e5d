//! Meters per app, added up from what nodes report ([`report`]), by the day here and over time in [`series`]. An account's use is
//! the sum over its apps, without those on a plan of their own, deleted apps included. Deciding what a count means is the data
//! plane's work.

pub mod report;
pub mod series;

use crate::account::AccountId;
use crate::db::{Db, DbError, read};
use crate::statements;

pub use report::add;

statements::sqls! {
    OF_APP = "select app_id, day, publishes, deliveries, client_events, presence, cached, reads, connections_peak, webhooks
        from usage_days where app_id = $1 and day = $2";
    OF_ACCOUNT = "select u.app_id, u.day, u.publishes, u.deliveries, u.client_events, u.presence, u.cached, u.reads,
            u.connections_peak, u.webhooks
        from usage_days u join app_ids i on i.id = u.app_id
        where i.account_id = $1 order by u.day desc, u.app_id limit $2";
    APPS_ON = "select u.app_id, u.day, u.publishes, u.deliveries, u.client_events, u.presence, u.cached, u.reads,
            u.connections_peak, u.webhooks
        from usage_days u join app_ids i on i.id = u.app_id
        where i.account_id = $1 and u.day = $2 order by u.app_id";
    /// Without apps on a plan of their own. The peaks of several apps may come at different hours: their sum is the most that it can
    /// have been.
    ACCOUNT_DAYS = "select u.day,
            cast(sum(u.publishes + u.deliveries + u.client_events + u.presence + u.cached + u.reads + u.webhooks) as bigint),
            cast(sum(u.connections_peak) as bigint)
        from usage_days u join app_ids i on i.id = u.app_id
        where i.account_id = $1 and i.metered_apart = 0 and u.day > $2 group by u.day order by u.day";
    APP_MESSAGES = "select cast(coalesce(sum(publishes + deliveries + client_events + presence + cached + reads + webhooks), 0) as bigint)
        from usage_days where app_id = $1 and day = $2";
    ACCOUNT_MESSAGES = "select cast(coalesce(
            sum(u.publishes + u.deliveries + u.client_events + u.presence + u.cached + u.reads + u.webhooks), 0) as bigint)
        from usage_days u join app_ids i on i.id = u.app_id
        where i.account_id = $1 and i.metered_apart = 0 and u.day = $2";
}

/// Days of apps that are given at once: a year of 27 apps, about 2 MB as JSON.
pub const ACCOUNT_ROWS_MAX: u32 = 10_000;

/// Messages by class, as the plans count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events published over the HTTP API.
    pub publishes: i64,
    /// Deliveries of published events to connections.
    pub deliveries: i64,
    /// Client events, and their deliveries.
    pub client_events: i64,
    /// Deliveries of presence announcements.
    pub presence: i64,
    /// Deliveries of what a cache channel kept.
    pub cached: i64,
    /// Other calls of the HTTP API.
    pub reads: i64,
    /// POSTs to webhook endpoints, each attempt.
    pub webhooks: i64,
}

impl Counts {
    /// All classes together: what a plan limits.
    pub fn total(&self) -> i64 {
        let Counts { publishes, deliveries, client_events, presence, cached, reads, webhooks } = *self;
        publishes + deliveries + client_events + presence + cached + reads + webhooks
    }
}

impl std::ops::Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts {
            publishes: self.publishes + other.publishes,
            deliveries: self.deliveries + other.deliveries,
            client_events: self.client_events + other.client_events,
            presence: self.presence + other.presence,
            cached: self.cached + other.cached,
            reads: self.reads + other.reads,
            webhooks: self.webhooks + other.webhooks,
        }
    }
}

/// What one app used on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageDelta {
    /// The app; one that is in no database (from the settings) is counted all the same.
    pub app_id: u64,
    /// The UTC day, in days since 1970; see [`crate::clock::day_of`].
    pub day: u32,
    /// [`Counts::publishes`]
    pub publishes: i64,
    /// [`Counts::deliveries`]
    pub deliveries: i64,
    /// [`Counts::client_events`]
    pub client_events: i64,
    /// [`Counts::presence`]
    pub presence: i64,
    /// [`Counts::cached`]
    pub cached: i64,
    /// [`Counts::reads`]
    pub reads: i64,
    /// [`Counts::webhooks`]
    pub webhooks: i64,
    /// Most connections at the same time.
    pub connections_peak: i64,
}

impl UsageDelta {
    /// Its messages by class.
    pub fn counts(&self) -> Counts {
        let UsageDelta { publishes, deliveries, client_events, presence, cached, reads, webhooks, .. } =
            *self;
        Counts { publishes, deliveries, client_events, presence, cached, reads, webhooks }
    }
}

type DayRow = (i64, i64, i64, i64, i64, i64, i64, i64, i64, i64);

/// The meters of an app on a day; all 0 if there are none.
pub async fn app_day(db: &Db, app_id: u64, day: u32) -> Result<UsageDelta, DbError> {
    let row: Option<DayRow> = read!(db, |p| sqlx::query_as(OF_APP)
        .bind(app_id.cast_signed())
        .bind(i64::from(day))
        .fetch_optional(p)
        .await)?;
    Ok(row.map_or(UsageDelta { app_id, day, ..UsageDelta::default() }, from_row))
}

/// The meters of all apps of an account, deleted ones and those on a plan of their own included, latest day first, at most
/// [`ACCOUNT_ROWS_MAX`].
pub async fn of_account(db: &Db, account_id: &AccountId) -> Result<Vec<UsageDelta>, DbError> {
    let rows: Vec<DayRow> = read!(db, |p| sqlx::query_as(OF_ACCOUNT)
        .bind(account_id)
        .bind(i64::from(ACCOUNT_ROWS_MAX))
        .fetch_all(p)
        .await)?;
    Ok(rows.into_iter().map(from_row).collect())
}

/// What each app of an account used on a day, deleted ones and those on a plan of their own included; those without use are left
/// out.
pub async fn apps_on(db: &Db, account_id: &AccountId, day: u32) -> Result<Vec<UsageDelta>, DbError> {
    let rows: Vec<DayRow> =
        read!(db, |p| sqlx::query_as(APPS_ON).bind(account_id).bind(i64::from(day)).fetch_all(p).await)?;
    Ok(rows.into_iter().map(from_row).collect())
}

fn from_row(
    (app_id, day, publishes, deliveries, client_events, presence, cached, reads, connections_peak, webhooks): DayRow,
) -> UsageDelta {
    UsageDelta {
        app_id: app_id.cast_unsigned(),
        day: u32::try_from(day).unwrap_or(0),
        publishes,
        deliveries,
        client_events,
        presence,
        cached,
        reads,
        webhooks,
        connections_peak,
    }
}

/// What an account used on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountDay {
    /// The UTC day.
    pub day: u32,
    /// Messages as the plans count them.
    pub messages: u64,
    /// The sum of its apps' highest numbers of connections: no more were open at once.
    pub connections_peak: u64,
}

/// The days of an account after `since`, oldest first, without apps on a plan of their own, deleted apps included.
pub async fn account_days(db: &Db, account_id: &AccountId, since: u32) -> Result<Vec<AccountDay>, DbError> {
    let rows: Vec<(i64, i64, i64)> = read!(db, |p| sqlx::query_as(ACCOUNT_DAYS)
        .bind(account_id)
        .bind(i64::from(since))
        .fetch_all(p)
        .await)?;
    let day = |(day, messages, peak): (i64, i64, i64)| AccountDay {
        day: u32::try_from(day).unwrap_or(0),
        messages: messages.max(0).unsigned_abs(),
        connections_peak: peak.max(0).unsigned_abs(),
    };
    Ok(rows.into_iter().map(day).collect())
}

/// Messages of an app on a day.
pub async fn app_messages(db: &Db, app_id: u64, day: u32) -> Result<i64, DbError> {
    Ok(read!(db, |p| sqlx::query_scalar(APP_MESSAGES)
        .bind(app_id.cast_signed())
        .bind(i64::from(day))
        .fetch_one(p)
        .await)?)
}

/// Messages of an account on a day: the sum over its apps without a plan of their own, deleted ones included.
pub async fn account_messages(db: &Db, account_id: &AccountId, day: u32) -> Result<i64, DbError> {
    Ok(read!(db, |p| sqlx::query_scalar(ACCOUNT_MESSAGES)
        .bind(account_id)
        .bind(i64::from(day))
        .fetch_one(p)
        .await)?)
}
