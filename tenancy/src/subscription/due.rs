//! Whom to ask Stripe about without being told, and which events were worked in already. Both are bounded: an account is asked
//! about at the times that `apply` sets, an event is remembered for longer than Stripe repeats it.

use crate::account::AccountId;
use crate::clock::{DAY_MS, MINUTE_MS};
use crate::db::{Db, DbError, read, write};
use crate::statements;

statements::sqls! {
    DUE = "select account_id, next_check_ms from billing_accounts where next_check_ms <= $1
        order by next_check_ms, account_id limit $2";
    /// Of several nodes that saw it due, one gets it.
    CLAIM = "update billing_accounts set next_check_ms = $3 where account_id = $1 and next_check_ms = $2";
    SEEN = "select count(*) from stripe_events where id = $1";
    FORGET = "delete from stripe_events where received_ms < $1";
}

/// Accounts that are asked about in one go.
pub const CHECKS_AT_ONCE_MAX: u32 = 20;
/// Stripe repeats an event for three days; by hand it can be sent again for thirty.
pub const EVENTS_KEPT_MS: i64 = 31 * DAY_MS;
/// Whoever takes an account and then dies leaves it to others after this time; who fails tries again then.
const CLAIM_MS: i64 = MINUTE_MS;

/// Takes accounts that are to be asked about, at most [`CHECKS_AT_ONCE_MAX`].
pub async fn claim_due(db: &Db, now_ms: i64) -> Result<Vec<AccountId>, DbError> {
    let due: Vec<(AccountId, i64)> = read!(db, |p| sqlx::query_as(DUE)
        .bind(now_ms)
        .bind(i64::from(CHECKS_AT_ONCE_MAX))
        .fetch_all(p)
        .await)?;
    let mut claimed = Vec::new();
    for (account_id, seen_ms) in due {
        let won = write!(db, |p| sqlx::query(CLAIM)
            .bind(&account_id)
            .bind(seen_ms)
            .bind(now_ms + CLAIM_MS)
            .execute(p)
            .await
            .map(|done| done.rows_affected()))?;
        if won > 0 {
            claimed.push(account_id);
        }
    }
    Ok(claimed)
}

/// Was this event worked in already?
pub async fn event_seen(db: &Db, id: &str) -> Result<bool, DbError> {
    let found: i64 = read!(db, |p| sqlx::query_scalar(SEEN).bind(id).fetch_one(p).await)?;
    Ok(found > 0)
}

/// Forgets events older than [`EVENTS_KEPT_MS`]; how many.
pub async fn forget_old_events(db: &Db, now_ms: i64) -> Result<u64, DbError> {
    Ok(write!(db, |p| sqlx::query(FORGET)
        .bind(now_ms - EVENTS_KEPT_MS)
        .execute(p)
        .await
        .map(|done| done.rows_affected()))?)
}
