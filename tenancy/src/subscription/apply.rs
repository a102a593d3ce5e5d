//! Writes what was fetched from Stripe: the subscription, and with it the account's plan, in one transaction. One that began to
//! fetch earlier than what is written changes nothing, so neither order nor number of events matters.

use super::standing::{Status, entitled};
use super::{Row, Subscription, columns};
use crate::account::{self, AccountId};
use crate::clock::{HOUR_MS, MINUTE_MS};
use crate::db::{Db, DbError, tx, write};
use crate::plan::Plan;
use crate::statements;

statements::sqls! {
    BEGIN_FETCH = "update billing_accounts set fetches = fetches + 1 where account_id = $1 returning fetches";
    /// Changes nothing; holds the row until commit.
    LOCK = concat!("update billing_accounts set customer_id = customer_id where account_id = $1 returning ", columns!());
    WRITE = "update billing_accounts set subscription_id = $2, plan = $3, status = $4, period_end_ms = $5,
            cancel_at_period_end = $6, unpaid_since_ms = $7, granted = $8, ended_ms = $9, ended_unpaid = $10, card = $11,
            fetched = $12, next_check_ms = $13
        where account_id = $1";
    REMEMBER_EVENT = "insert into stripe_events (id, received_ms) values ($1, $2) on conflict (id) do nothing";
}

/// A paid subscription is asked about again after this time: each change has an event, so this is for lost ones.
const CHECK_PAID_MS: i64 = 6 * HOUR_MS;
/// One with a missing payment: the end of the grace has no event.
const CHECK_OWING_MS: i64 = HOUR_MS;
/// While a checkout is open, somebody waits for what they are paying for.
const CHECK_OPEN_MS: i64 = MINUTE_MS / 2;

/// A subscription as it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Stripe's id.
    pub subscription_id: String,
    /// What it is for.
    pub plan: Plan,
    /// How it stands.
    pub status: Status,
    /// Until when it is paid.
    pub period_end_ms: Option<i64>,
    /// It ends then.
    pub cancel_at_period_end: bool,
    /// The card, in words; empty: not known.
    pub card: String,
}

/// What became different, for those who are told. Each turn is given once, however many fetches and events there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A plan was granted, or another one in place of the first.
    Granted {
        /// The account's plan before.
        from: Plan,
        /// The one that it has now.
        to: Plan,
    },
    /// A payment is missing; the plan is kept until then.
    PaymentMissing {
        /// When the plan is taken back.
        until_ms: i64,
    },
    /// The missing payment came.
    Paid,
    /// The plan was taken back.
    Ended {
        /// The account's plan before.
        from: Plan,
        /// For a missing payment.
        unpaid: bool,
    },
    /// It will not be renewed.
    WillEnd,
    /// It will be renewed after all.
    WillGoOn,
}

/// What a write came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// As it is now.
    pub now: Subscription,
    /// What became different by this very write.
    pub turns: Vec<Turn>,
    /// One that began later was written before, so nothing was written. Neither is known to be the newer one: fetch again.
    pub late: bool,
}

/// Writes a row and the plan that follows, in the caller's transaction.
macro_rules! written {
    ($t:ident, $before:ident, $after:ident, $now_ms:ident) => {{
        sqlx::query(WRITE)
            .bind(&$after.account_id)
            .bind($after.subscription_id.as_deref().unwrap_or_default())
            .bind($after.plan.map(Plan::name).unwrap_or_default())
            .bind($after.status.word())
            .bind($after.period_end_ms)
            .bind(i64::from($after.cancel_at_period_end))
            .bind($after.unpaid_since_ms)
            .bind($after.granted.map(Plan::name).unwrap_or_default())
            .bind($after.ended_ms)
            .bind(i64::from($after.ended_unpaid))
            .bind(&$after.card)
            .bind($after.fetched)
            .bind($after.next_check_ms($now_ms))
            .execute(&mut *$t)
            .await?;
        let (_, _, plan, _): account::AccountRow =
            sqlx::query_as(account::BY_ID).bind(&$after.account_id).fetch_one(&mut *$t).await?;
        let plan = account::parse_plan(&plan)?;
        let turns = turns(&$before, &$after, plan);
        if let Some(to) = $after.granted {
            account::set_plan!($t, &$after.account_id, to);
        } else if $before.granted.is_some() {
            account::set_plan!($t, &$after.account_id, Plan::Sandbox);
        }
        Applied { now: $after, turns, late: false }
    }};
}

/// Takes a number before fetching, for [`apply`]. `None`: the account has no row.
pub async fn begin_fetch(db: &Db, account_id: &AccountId) -> Result<Option<i64>, DbError> {
    Ok(write!(db, |p| sqlx::query_scalar(BEGIN_FETCH).bind(account_id).fetch_optional(p).await)?)
}

/// Writes what the fetch with this number found (`None`: no subscription of ours), gives the account the plan that follows from
/// it, and remembers the event that it was for. `None`: the account has no row.
pub async fn apply(
    db: &Db,
    account_id: &AccountId,
    number: i64,
    found: Option<Fetched>,
    event: Option<&str>,
    now_ms: i64,
) -> Result<Option<Applied>, DbError> {
    let applied = tx!(db, |t| {
        let held: Option<Row> = sqlx::query_as(LOCK).bind(account_id).fetch_optional(&mut *t).await?;
        let Some(before) = held.map(Subscription::from_row).transpose()? else { return Ok(None) };
        if let Some(event) = event {
            sqlx::query(REMEMBER_EVENT).bind(event).bind(now_ms).execute(&mut *t).await?;
        }
        if before.fetched >= number {
            Applied { now: before, turns: Vec::new(), late: true }
        } else {
            let after = Subscription { fetched: number, ..before.clone() }.with(found, now_ms);
            written!(t, before, after, now_ms)
        }
    });
    db.notice().notify();
    Ok(Some(applied))
}

/// Takes the plan back when the grace is over, from what is known here, for the time when Stripe does not answer. `None`: it is
/// not over, or nothing was granted.
pub async fn end_grace(db: &Db, account_id: &AccountId, now_ms: i64) -> Result<Option<Applied>, DbError> {
    let applied = tx!(db, |t| {
        let held: Option<Row> = sqlx::query_as(LOCK).bind(account_id).fetch_optional(&mut *t).await?;
        let Some(before) = held.map(Subscription::from_row).transpose()? else { return Ok(None) };
        let after = before.clone().entitled_at(now_ms);
        if after.granted == before.granted {
            return Ok(None);
        }
        written!(t, before, after, now_ms)
    });
    db.notice().notify();
    Ok(Some(applied))
}

impl Subscription {
    fn with(self, found: Option<Fetched>, now_ms: i64) -> Subscription {
        let Some(found) = found else {
            let status = if self.subscription_id.is_some() { Status::Ended } else { Status::None };
            return Subscription { status, cancel_at_period_end: false, ..self }.entitled_at(now_ms);
        };
        Subscription {
            subscription_id: Some(found.subscription_id),
            plan: Some(found.plan),
            status: found.status,
            period_end_ms: found.period_end_ms,
            cancel_at_period_end: found.cancel_at_period_end,
            card: found.card,
            ..self
        }
        .entitled_at(now_ms)
    }

    fn entitled_at(self, now_ms: i64) -> Subscription {
        let owed_before = self.unpaid_since_ms.is_some();
        let unpaid_since_ms = match self.status {
            // Once it was taken back, only a payment begins anew.
            status if status.is_owing() => self.unpaid_since_ms.or(Some(now_ms)),
            _ => None,
        };
        let granted = entitled(self.plan, self.status, unpaid_since_ms, now_ms);
        let ends = self.granted.is_some() && granted.is_none();
        Subscription {
            unpaid_since_ms,
            granted,
            ended_ms: if granted.is_some() { None } else { self.ended_ms.or(ends.then_some(now_ms)) },
            ended_unpaid: match (granted, ends) {
                (Some(_), _) => false,
                (None, true) => owed_before || unpaid_since_ms.is_some(),
                (None, false) => self.ended_unpaid,
            },
            ..self
        }
    }

    /// When to ask about it again, should no event come.
    fn next_check_ms(&self, now_ms: i64) -> Option<i64> {
        if self.checkout.is_some() && !self.is_live() {
            return Some(now_ms + CHECK_OPEN_MS);
        }
        match self.status {
            status if status.is_paid() => Some(now_ms + CHECK_PAID_MS),
            status if status.is_owing() => Some(now_ms + CHECK_OWING_MS),
            Status::Incomplete => Some(now_ms + CHECK_OWING_MS),
            _ => None,
        }
    }
}

fn turns(before: &Subscription, after: &Subscription, plan: Plan) -> Vec<Turn> {
    let mut turns = Vec::new();
    match (before.granted, after.granted) {
        (old, Some(to)) if old != Some(to) => turns.push(Turn::Granted { from: plan, to }),
        (Some(_), None) => turns.push(Turn::Ended { from: plan, unpaid: after.ended_unpaid }),
        _ => {}
    }
    let until_ms = |since: i64| since.saturating_add(super::GRACE_MS);
    match (before.unpaid_since_ms, after.unpaid_since_ms, after.granted) {
        (None, Some(since), Some(_)) => turns.push(Turn::PaymentMissing { until_ms: until_ms(since) }),
        (Some(_), None, Some(_)) if before.granted.is_some() => turns.push(Turn::Paid),
        _ => {}
    }
    if after.granted.is_some() && before.subscription_id == after.subscription_id {
        match (before.cancel_at_period_end, after.cancel_at_period_end) {
            (false, true) => turns.push(Turn::WillEnd),
            (true, false) => turns.push(Turn::WillGoOn),
            _ => {}
        }
    }
    turns
}
