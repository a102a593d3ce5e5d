//! Events that are about an organisation and not about a channel, on their way to its webhook endpoints: each once per endpoint,
//! whichever node has it to tell. From here on it is a delivery like any other: a node claims it, signs it, tries it again and
//! logs it. What is worth telling, and when, is decided elsewhere.

use crate::account::AccountId;
use crate::clock::DAY_MS;
use crate::db::{Db, DbError, read, tx};
use crate::statements;
use crate::webhook_delivery::new_id;

statements::sqls! {
    /// Endpoints that are on and have the kind, `$2` as it stands in the JSON of `kinds`.
    WANTING = "select e.id from webhook_endpoints e join apps a on a.id = e.app_id
        where a.account_id = $1 and e.enabled = 1 and e.paused_ms is null and e.kinds like $2 order by e.id";
    /// Nothing is written when it was told already, or when the endpoint is gone or was switched off meanwhile.
    TELL = "insert into webhook_notices (endpoint_id, name, told_ms)
        select e.id, $2, $3 from webhook_endpoints e where e.id = $1 and e.enabled = 1 and e.paused_ms is null
        on conflict (endpoint_id, name) do nothing";
    PUT = "insert into webhook_deliveries (id, endpoint_id, app_id, created_ms, time_ms, events, events_count, test,
            by_hand, state, attempts, lease_node, lease_until_ms)
        select $1, e.id, e.app_id, $3, $3, $4, 1, 0, 0, 'pending', 0, '', 0 from webhook_endpoints e where e.id = $2";
    FORGET = "delete from webhook_notices where told_ms < $1";
}

/// What was told is remembered this long. What is told is about a day at the most.
pub const REMEMBERED_MS: i64 = 3 * DAY_MS;

/// Has an event, as JSON, sent to each endpoint of an account's apps that is on and wants its kind. `once` names what it tells:
/// an endpoint is told once of each name. How many endpoints were told now.
pub async fn tell(
    db: &Db,
    account_id: &AccountId,
    kind: &'static str,
    once: &str,
    event: &str,
    now_ms: i64,
) -> Result<u64, DbError> {
    let wanting: Vec<String> = read!(db, |p| sqlx::query_scalar(WANTING)
        .bind(account_id)
        .bind(format!("%\"{kind}\"%"))
        .fetch_all(p)
        .await)?;
    if wanting.is_empty() {
        return Ok(0);
    }
    let events = format!("[{event}]");
    let told = tx!(db, |t| {
        sqlx::query(FORGET).bind(now_ms - REMEMBERED_MS).execute(&mut *t).await?;
        let mut told = 0;
        // In one order everywhere, or two nodes could wait for each other.
        for endpoint_id in &wanting {
            let new = sqlx::query(TELL).bind(endpoint_id).bind(once).bind(now_ms).execute(&mut *t).await?;
            if new.rows_affected() > 0 {
                sqlx::query(PUT)
                    .bind(new_id())
                    .bind(endpoint_id)
                    .bind(now_ms)
                    .bind(&events)
                    .execute(&mut *t)
                    .await?;
                told += 1;
            }
        }
        told
    });
    Ok(told)
}
