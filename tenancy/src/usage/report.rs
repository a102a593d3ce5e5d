//! What nodes counted, into storage: the one door through which use is written. A report moves minutes, hours and days in one
//! transaction and counts once, however often it comes. What a node must do for that: give its reports rising numbers, and
//! send one again as it was until it is taken, before the next.

use std::collections::{BTreeMap, HashMap};

use super::{Counts, UsageDelta};
use crate::clock::{HOUR_MS, MINUTE_MS, now_ms};
use crate::db::{Db, DbError, tx, write};
use crate::statements;

macro_rules! add_to {
    ($table:literal, $unit:literal) => {
        concat!(
            "insert into ",
            $table,
            " (app_id, ",
            $unit,
            ", publishes, deliveries, client_events, presence, cached, reads,
                webhooks, connections_peak)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            on conflict (app_id, ",
            $unit,
            ") do update set
                publishes = ",
            $table,
            ".publishes + excluded.publishes,
                deliveries = ",
            $table,
            ".deliveries + excluded.deliveries,
                client_events = ",
            $table,
            ".client_events + excluded.client_events,
                presence = ",
            $table,
            ".presence + excluded.presence,
                cached = ",
            $table,
            ".cached + excluded.cached,
                reads = ",
            $table,
            ".reads + excluded.reads,
                webhooks = ",
            $table,
            ".webhooks + excluded.webhooks,
                connections_peak = case when excluded.connections_peak > ",
            $table,
            ".connections_peak
                    then excluded.connections_peak else ",
            $table,
            ".connections_peak end"
        )
    };
}

statements::sqls! {
    TAKE = "insert into usage_flushes (node, seq, at_ms) values ($1, $2, $3)
        on conflict (node) do update set seq = excluded.seq, at_ms = excluded.at_ms where usage_flushes.seq < excluded.seq";
    ADD_MINUTE = add_to!("usage_minutes", "minute");
    ADD_HOUR = add_to!("usage_hours", "hour");
    ADD_DAY = add_to!("usage_days", "day");
    /// The account that an app is counted with; none: it is counted by itself.
    SCOPE = "select account_id from app_ids where id = $1 and metered_apart = 0";
    FORGET_MINUTES = "delete from usage_minutes where minute < $1";
    FORGET_HOURS = "delete from usage_hours where hour < $1";
    FORGET_FLUSHES = "delete from usage_flushes where at_ms < $1";
}

/// How long minutes are kept.
pub const MINUTES_KEPT_MS: i64 = 48 * HOUR_MS;
/// How long hours are kept.
pub const HOURS_KEPT_MS: i64 = 90 * 24 * HOUR_MS;
/// How long the last report of a node is remembered. One that was not taken is sent again every second, so a node that is
/// silent for that long has nothing to repeat.
const FLUSHES_KEPT_MS: i64 = 7 * 24 * HOUR_MS;

/// What one app used in a minute since the last report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteUse {
    /// The app; one that is in no database (from the settings) is counted all the same.
    pub app_id: u64,
    /// UTC minute, in minutes since 1970.
    pub minute: u32,
    /// Messages by class.
    pub counts: Counts,
    /// Most connections at the same time: no difference; the largest report counts.
    pub connections_peak: i64,
}

/// A node's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who reports: another name after each start.
    pub node: String,
    /// Which report of the node it is.
    pub seq: u64,
    /// What was counted.
    pub rows: Vec<MinuteUse>,
    /// Apps whose totals the node wants to know beside those of `rows`.
    pub asks: Vec<u64>,
    /// The UTC day of the totals.
    pub day: u32,
}

/// What storage has for an app on the day of the report, those of all nodes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The app.
    pub app_id: u64,
    /// Its messages.
    pub app_messages: i64,
    /// The account that it is counted with; `None`: it has a plan of its own, or is in no database.
    pub account: Option<String>,
    /// The messages of what it is counted with.
    pub scope_messages: i64,
}

macro_rules! add {
    ($t:expr, $sql:expr, $app:expr, $unit:expr, $one:expr) => {{
        let (counts, peak): &(Counts, i64) = $one;
        sqlx::query($sql)
            .bind($app.cast_signed())
            .bind(i64::from($unit))
            .bind(counts.publishes)
            .bind(counts.deliveries)
            .bind(counts.client_events)
            .bind(counts.presence)
            .bind(counts.cached)
            .bind(counts.reads)
            .bind(counts.webhooks)
            .bind(*peak)
            .execute(&mut *$t)
            .await?
    }};
}

/// Takes a report, all of it or nothing, and tells what storage has then. A report whose number isn't above the last one taken
/// of its node changes nothing.
pub async fn take(db: &Db, report: &Report) -> Result<Vec<Totals>, DbError> {
    // In one order everywhere, or two nodes that report at once could wait for each other's rows for ever.
    let (mut minutes, mut hours, mut days) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut apps: Vec<u64> = report.asks.clone();
    for row in &report.rows {
        for (map, unit) in [(&mut minutes, 1), (&mut hours, 60), (&mut days, 1_440)] {
            let sum = map.entry((row.app_id, row.minute / unit)).or_insert((Counts::default(), 0));
            sum.0 = sum.0 + row.counts;
            sum.1 = sum.1.max(row.connections_peak);
        }
        apps.push(row.app_id);
    }
    apps.sort_unstable();
    apps.dedup();
    let day = i64::from(report.day);
    let totals = tx!(db, |t| {
        let news = !report.rows.is_empty()
            && sqlx::query(TAKE)
                .bind(&report.node)
                .bind(report.seq.cast_signed())
                .bind(now_ms())
                .execute(&mut *t)
                .await?
                .rows_affected()
                > 0;
        if news {
            for ((app, minute), one) in &minutes {
                add!(t, ADD_MINUTE, app, *minute, one);
            }
            for ((app, hour), one) in &hours {
                add!(t, ADD_HOUR, app, *hour, one);
            }
            for ((app, day), one) in &days {
                add!(t, ADD_DAY, app, *day, one);
            }
        }
        let mut accounts: HashMap<String, i64> = HashMap::new();
        let mut totals = Vec::with_capacity(apps.len());
        for app_id in apps {
            let app = app_id.cast_signed();
            let app_messages: i64 =
                sqlx::query_scalar(super::APP_MESSAGES).bind(app).bind(day).fetch_one(&mut *t).await?;
            let account: Option<String> = sqlx::query_scalar(SCOPE).bind(app).fetch_optional(&mut *t).await?;
            let scope_messages = match &account {
                None => app_messages,
                Some(id) => match accounts.get(id) {
                    Some(sum) => *sum,
                    None => {
                        let sum: i64 = sqlx::query_scalar(super::ACCOUNT_MESSAGES)
                            .bind(id)
                            .bind(day)
                            .fetch_one(&mut *t)
                            .await?;
                        accounts.insert(id.clone(), sum);
                        sum
                    }
                },
            };
            totals.push(Totals { app_id, app_messages, account, scope_messages });
        }
        totals
    });
    Ok(totals)
}

/// Adds whole days, as if each had been used in its first minute: for what was counted elsewhere, and for tests.
pub async fn add(db: &Db, deltas: &[UsageDelta]) -> Result<(), DbError> {
    let row = |delta: &UsageDelta| MinuteUse {
        app_id: delta.app_id,
        minute: delta.day * 1_440,
        counts: delta.counts(),
        connections_peak: delta.connections_peak,
    };
    let rows = deltas.iter().map(row).collect();
    let node = format!("once-{}", uuid::Uuid::now_v7());
    take(db, &Report { node, seq: 1, rows, asks: Vec::new(), day: 0 }).await.map(drop)
}

/// Forgets minutes, hours and nodes that are older than they are kept; days stay.
pub async fn forget_old(db: &Db, now_ms: i64) -> Result<(), DbError> {
    let cuts = [
        (FORGET_MINUTES, (now_ms - MINUTES_KEPT_MS) / MINUTE_MS),
        (FORGET_HOURS, (now_ms - HOURS_KEPT_MS) / HOUR_MS),
        (FORGET_FLUSHES, now_ms - FLUSHES_KEPT_MS),
    ];
    for (sql, before) in cuts {
        write!(db, |p| sqlx::query(sql).bind(before).execute(p).await.map(drop))?;
    }
    Ok(())
}
