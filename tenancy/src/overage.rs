//! Messages beyond the plan's day that an account pays for one by one: how much it allowed to be spent in a billing period, what
//! each day came to, and what Stripe was told of it. Reading prices and telling Stripe is the work of `billing`; refusing a
//! publish is the data plane's.
//!
//! A day's overage is what was counted beyond the day's allowance, in whole thousands, never more than what the account allowed
//! for the period, and it never shrinks. The allowance of a day is the largest limit that was in force on it while overage was
//! on, so that a smaller plan in the middle of a day makes nothing dearer after the fact.

use crate::account::{AccountId, parse_plan};
use crate::clock::day_of;
use crate::db::{Db, DbError, read, tx, write};
use crate::plan::Plan;
use crate::quota;
use crate::{account, changes, statements, usage};

statements::sqls! {
    OF_ACCOUNT = "select cap, cap_thousands, ready, period_start_ms, extra, extra_day from overage where account_id = $1";
    /// Changes nothing; holds the row until commit.
    LOCK = "update overage set cap = cap where account_id = $1
        returning cap, cap_thousands, ready, period_start_ms, extra, extra_day";
    MAKE = "insert into overage (account_id) values ($1) on conflict (account_id) do nothing";
    SET_CAP = "update overage set cap = $2, cap_thousands = $3 where account_id = $1";
    SET_STANDING = "update overage set ready = $2, period_start_ms = $3 where account_id = $1";
    SET_EXTRA = "update overage set extra = $2, extra_day = $3 where account_id = $1";
    OPEN_DAY = "insert into overage_days (account_id, day, allowance) values ($1, $2, $3)
        on conflict (account_id, day) do update set allowance =
            case when excluded.allowance > overage_days.allowance then excluded.allowance else overage_days.allowance end";
    DAY = "select allowance, thousands from overage_days where account_id = $1 and day = $2";
    SET_DAY = "update overage_days set thousands = $3 where account_id = $1 and day = $2 and thousands < $3";
    BETWEEN = "select cast(coalesce(sum(thousands), 0) as bigint) from overage_days
        where account_id = $1 and day >= $2 and day < $3";
    SETTLED_AFTER = "select o.account_id, a.plan from overage o join accounts a on a.id = o.account_id
        where (o.cap_thousands > 0 or o.extra > 0) and o.account_id > $1 order by o.account_id limit $2";
    BEGIN_REPORTS = "update overage_days set sending = thousands where sending = reported and thousands > reported";
    REPORTS = "select d.account_id, b.customer_id, d.day, d.reported, d.sending
        from overage_days d join billing_accounts b on b.account_id = d.account_id
        where d.sending > d.reported order by d.account_id, d.day limit $1";
    REPORTED = "update overage_days set reported = $4 where account_id = $1 and day = $2 and reported = $3 and sending = $4";
}

/// Messages in one unit of the meter.
pub const THOUSAND: i64 = 1_000;
/// Accounts that are read, and reports that are sent, in one go.
pub const AT_ONCE_MAX: u32 = 100;

/// What an account allowed beyond its plan, and how that stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overage {
    /// What may be spent in a billing period, in the currency's smallest unit; 0: publishing stops at the plan's limit.
    pub cap: i64,
    /// The same in thousands of messages.
    pub cap_thousands: i64,
    /// The subscription is paid and can be charged for it.
    pub ready: bool,
    /// When the present billing period began.
    pub period_start_ms: Option<i64>,
    /// Messages beyond the plan's limit that are allowed on [`Overage::extra_day`].
    pub extra: i64,
    /// The UTC day that `extra` is for.
    pub extra_day: u32,
}

type Row = (i64, i64, i64, Option<i64>, i64, i64);

impl From<Row> for Overage {
    fn from((cap, cap_thousands, ready, period_start_ms, extra, extra_day): Row) -> Overage {
        let extra_day = u32::try_from(extra_day).unwrap_or(0);
        Overage { cap, cap_thousands, ready: ready != 0, period_start_ms, extra, extra_day }
    }
}

impl Overage {
    /// The first UTC day whose overage counts for the present period. The day on which it began counts whole, so that the cap is
    /// rather kept too early than too late.
    fn first_day(&self) -> u32 {
        self.period_start_ms.map_or(0, day_of)
    }
}

/// What an account allowed; `None`: it never did.
pub async fn of_account(db: &Db, account_id: &AccountId) -> Result<Option<Overage>, DbError> {
    let row: Option<Row> =
        read!(db, |p| sqlx::query_as(OF_ACCOUNT).bind(account_id).fetch_optional(p).await)?;
    Ok(row.map(Overage::from))
}

/// Messages beyond the plan's limit that an account may use on a day.
pub async fn extra_on(db: &Db, account_id: &AccountId, day: u32) -> Result<u64, DbError> {
    let known = of_account(db, account_id).await?.filter(|known| known.extra_day == day);
    Ok(known.map_or(0, |known| known.extra.max(0).unsigned_abs()))
}

/// Thousands of messages beyond the plan in the present billing period.
pub async fn thousands_of_period(
    db: &Db,
    account_id: &AccountId,
    known: &Overage,
    now_ms: i64,
) -> Result<i64, DbError> {
    Ok(read!(db, |p| sqlx::query_scalar(BETWEEN)
        .bind(account_id)
        .bind(i64::from(known.first_day()))
        .bind(i64::from(day_of(now_ms)) + 1)
        .fetch_one(p)
        .await)?)
}

/// Sets what may be spent in a billing period, as an amount and in thousands of messages; 0 stops at the plan's limit. What was
/// used before it was allowed costs nothing.
pub async fn allow(
    db: &Db,
    account_id: &AccountId,
    plan: Plan,
    cap: i64,
    cap_thousands: i64,
    now_ms: i64,
) -> Result<(), DbError> {
    // What came before costs as much as was reckoned at this moment.
    settle(db, account_id, plan, now_ms).await?;
    let day = day_of(now_ms);
    let used = usage::account_messages(db, account_id, day).await?;
    let plan_limit = limit_of(db, plan).await?;
    tx!(db, |t| {
        sqlx::query(MAKE).bind(account_id).execute(&mut *t).await?;
        let before: Row = sqlx::query_as(LOCK).bind(account_id).fetch_one(&mut *t).await?;
        sqlx::query(SET_CAP).bind(account_id).bind(cap).bind(cap_thousands).execute(&mut *t).await?;
        if let Some(limit) = plan_limit.filter(|_| before.1 == 0 && cap_thousands > 0) {
            let known: Option<(i64, i64)> =
                sqlx::query_as(DAY).bind(account_id).bind(i64::from(day)).fetch_optional(&mut *t).await?;
            let paid = known.map_or(0, |(_, thousands)| thousands * THOUSAND);
            sqlx::query(OPEN_DAY)
                .bind(account_id)
                .bind(i64::from(day))
                .bind(limit.max(used - paid))
                .execute(&mut *t)
                .await?;
        }
    });
    settle(db, account_id, plan, now_ms).await
}

/// Writes whether the account's subscription can be charged for overage, and when its period began.
pub async fn stand(
    db: &Db,
    account_id: &AccountId,
    ready: bool,
    period_start_ms: Option<i64>,
) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(SET_STANDING)
        .bind(account_id)
        .bind(i64::from(ready))
        .bind(period_start_ms)
        .execute(p)
        .await
        .map(drop))?;
    Ok(())
}

/// Accounts to [`settle`], with their plans, in the order of their ids after `last`, at most [`AT_ONCE_MAX`].
pub async fn after(db: &Db, last: &str) -> Result<Vec<(AccountId, Plan)>, DbError> {
    let rows: Vec<(AccountId, String)> = read!(db, |p| sqlx::query_as(SETTLED_AFTER)
        .bind(last)
        .bind(i64::from(AT_ONCE_MAX))
        .fetch_all(p)
        .await)?;
    rows.into_iter().map(|(id, plan)| Ok((id, parse_plan(&plan)?))).collect()
}

/// As this server has the plan: what nodes let through costs nothing.
async fn limit_of(db: &Db, plan: Plan) -> Result<Option<i64>, DbError> {
    let limits = quota::limits_of(db, plan).await?;
    Ok(limits.messages_per_day_max.and_then(|limit| i64::try_from(limit).ok()))
}

/// Reckons an account's overage of yesterday and today from its meters, and what it may use beyond its plan today. Nodes are told
/// when that became different. Doing it again changes nothing.
pub async fn settle(db: &Db, account_id: &AccountId, plan: Plan, now_ms: i64) -> Result<(), DbError> {
    let today = day_of(now_ms);
    let days = [today.saturating_sub(1), today];
    let mut used = [0; 2];
    for (used, day) in used.iter_mut().zip(days) {
        *used = usage::account_messages(db, account_id, day).await?;
    }
    let plan_limit = limit_of(db, plan).await?;
    let told = tx!(db, |t| {
        let held: Option<Row> = sqlx::query_as(LOCK).bind(account_id).fetch_optional(&mut *t).await?;
        let Some(known) = held.map(Overage::from) else { return Ok(()) };
        if let Some(limit) = plan_limit.filter(|_| known.cap_thousands > 0) {
            sqlx::query(OPEN_DAY)
                .bind(account_id)
                .bind(i64::from(today))
                .bind(limit)
                .execute(&mut *t)
                .await?;
        }
        let mut left = 0;
        for (day, used) in days.into_iter().zip(used) {
            let before: i64 = sqlx::query_scalar(BETWEEN)
                .bind(account_id)
                .bind(i64::from(known.first_day().min(day)))
                .bind(i64::from(day))
                .fetch_one(&mut *t)
                .await?;
            left = (known.cap_thousands - before).max(0);
            let row: Option<(i64, i64)> =
                sqlx::query_as(DAY).bind(account_id).bind(i64::from(day)).fetch_optional(&mut *t).await?;
            if let Some((allowance, _)) = row {
                let thousands = ((used - allowance).max(0) / THOUSAND).min(left);
                sqlx::query(SET_DAY)
                    .bind(account_id)
                    .bind(i64::from(day))
                    .bind(thousands)
                    .execute(&mut *t)
                    .await?;
            }
        }
        let extra = if known.ready && plan_limit.is_some() { left.saturating_mul(THOUSAND) } else { 0 };
        let same = extra == known.extra && (today == known.extra_day || extra == 0);
        if !same {
            sqlx::query(SET_EXTRA)
                .bind(account_id)
                .bind(extra)
                .bind(i64::from(today))
                .execute(&mut *t)
                .await?;
            let apps: Vec<i64> =
                sqlx::query_scalar(account::APPS_ON_ITS_PLAN).bind(account_id).fetch_all(&mut *t).await?;
            for app_id in apps {
                changes::record!(t, app_id);
            }
        }
        !same
    });
    if told {
        db.notice().notify();
    }
    Ok(())
}

/// Thousands of messages of a day that Stripe is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose.
    pub account_id: AccountId,
    /// Stripe's id of the customer.
    pub customer_id: String,
    /// The UTC day.
    pub day: u32,
    /// How much of it was told before, in thousands.
    pub from: i64,
    /// How much it will be then.
    pub to: i64,
}

impl Report {
    /// The same for each try of the same report, and for no other.
    pub fn identifier(&self) -> String {
        format!("{}-{}-{}-{}", self.account_id, self.day, self.from, self.to)
    }
}

/// What is to be told, at most [`AT_ONCE_MAX`]. What was given once and not called [`reported`] is given again, unchanged.
pub async fn reports(db: &Db) -> Result<Vec<Report>, DbError> {
    write!(db, |p| sqlx::query(BEGIN_REPORTS).execute(p).await.map(drop))?;
    let rows: Vec<(AccountId, String, i64, i64, i64)> =
        read!(db, |p| sqlx::query_as(REPORTS).bind(i64::from(AT_ONCE_MAX)).fetch_all(p).await)?;
    let report = |(account_id, customer_id, day, from, to): (AccountId, String, i64, i64, i64)| Report {
        account_id,
        customer_id,
        day: u32::try_from(day).unwrap_or(0),
        from,
        to,
    };
    Ok(rows.into_iter().map(report).collect())
}

/// Stripe knows it.
pub async fn reported(db: &Db, report: &Report) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(REPORTED)
        .bind(&report.account_id)
        .bind(i64::from(report.day))
        .bind(report.from)
        .bind(report.to)
        .execute(p)
        .await
        .map(drop))?;
    Ok(())
}
