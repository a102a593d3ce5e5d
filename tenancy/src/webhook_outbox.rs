//! What nodes do with deliveries: store them before the first attempt, claim them for a while, write down attempts, and keep
//! the log short. The operator's side: no account is asked for, so none of this may answer a customer.
//!
//! A claim is a lease: a node's name and a time. Who holds it renews it ([`renew`]); once it has run out, any node may claim
//! ([`claim`]). Nodes compare times of their own clocks, so these must agree within a second or two.

use crate::clock::{DAY_MS, now_ms};
use crate::db::{Db, DbError, read, tx, write};
use crate::webhook_delivery::{Attempt, DeliveryRow, State, first_id_at, new_id};
use crate::{changes, statements};
use uuid::Uuid;

/// The same columns under a name that `returning` knows on both engines.
macro_rules! returned_columns {
    () => {
        "id, endpoint_id, app_id, created_ms, time_ms, events, events_count, test, by_hand, state, attempts, next_try_ms"
    };
}
statements::sqls! {
    PENDING = "select count(*) from webhook_deliveries where endpoint_id = $1 and state = 'pending'";
    /// Nothing is inserted for an endpoint that is gone.
    INSERT = "insert into webhook_deliveries (id, endpoint_id, app_id, created_ms, time_ms, events, events_count, test,
            by_hand, state, attempts, lease_node, lease_until_ms)
        select $1, e.id, e.app_id, $3, $3, $4, $5, 0, 0, 'pending', 0, $6, $7 from webhook_endpoints e where e.id = $2
        on conflict (id) do nothing";
    /// Stored already, by a call whose answer was lost.
    STORED = "select count(*) from webhook_deliveries where id = $1";
    ENDPOINT_CLUSTER = "select a.cluster from webhook_endpoints e join apps a on a.id = e.app_id where e.id = $1";
    KEY_CLUSTER = "select a.cluster from app_keys k join apps a on a.id = k.app_id where k.key = $1";
    APP_CLUSTER = "select cluster from apps where id = $1";
    CLAIMED = "select id from webhook_deliveries where endpoint_id = $1 and lease_node = $2 and state = 'pending'";
    GIVE_BACK = "update webhook_deliveries set lease_node = '', lease_until_ms = 0
        where id = $1 and lease_node = $2 and state = 'pending'";
    TAKE_HELD_IN = "delete from webhook_held where app_id in (select id from apps where cluster = $1)
        returning id, app_id, event";
    WAITING = "select distinct endpoint_id from webhook_deliveries where state = 'pending' and lease_until_ms <= $1
        limit $2";
    /// The outer condition is asked again when another node was quicker, the inner one is not.
    CLAIM = concat!("update webhook_deliveries as d set lease_node = $1, lease_until_ms = $2
        where d.state = 'pending' and d.lease_until_ms <= $3 and d.id in (
            select id from webhook_deliveries where endpoint_id = $4 and state = 'pending' and lease_until_ms <= $3
            order by id limit $5)
        returning ", returned_columns!());
    RENEW = "update webhook_deliveries set lease_until_ms = $2 where state = 'pending' and lease_node = $1";
    RELEASE = "update webhook_deliveries set lease_node = '', lease_until_ms = 0 where state = 'pending' and lease_node = $1";
    FINISH = "update webhook_deliveries set state = $3, next_try_ms = $4, attempts = attempts + $5,
            lease_node = case when $3 = 'pending' then lease_node else '' end,
            lease_until_ms = case when $3 = 'pending' then lease_until_ms else 0 end
        where id = $1 and lease_node = $2 and state = 'pending' returning attempts, test";
    INSERT_ATTEMPT = "insert into webhook_attempts (delivery_id, number, at_ms, duration_ms, status, error,
            request_headers, response_headers, response_body) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    WELL = "update webhook_endpoints set failing_since_ms = null where id = $1 and failing_since_ms is not null";
    FAILING = "update webhook_endpoints set failing_since_ms = $2 where id = $1 and failing_since_ms is null";
    PAUSE = "update webhook_endpoints set paused_ms = $2
        where id = $1 and enabled = 1 and paused_ms is null and failing_since_ms <= $3 returning app_id";
    HOLD = "insert into webhook_held (id, app_id, event) select $1, a.id, $3 from apps a where a.id = $2";
    TAKE_HELD = "delete from webhook_held returning id, app_id, event";
    PRUNE_OLD = "delete from webhook_deliveries where id < $1 and state <> 'pending'";
    PRUNE_MANY = "delete from webhook_deliveries where endpoint_id = $1 and state <> 'pending' and id <= (
        select id from webhook_deliveries where endpoint_id = $1 order by id desc limit 1 offset $2)";
}

/// The log goes back this far.
pub const LOG_MS: i64 = 7 * DAY_MS;
/// Finished deliveries kept per endpoint.
pub const LOG_PER_ENDPOINT_MAX: i64 = 1_000;
/// Deliveries that may wait for one endpoint. At the pace of a healthy endpoint they go out in minutes; one that is further
/// behind would not catch up before they expire.
pub const PENDING_PER_ENDPOINT_MAX: i64 = 10_000;
/// Bytes of an answer that are kept.
pub const RESPONSE_BYTES_MAX: usize = 10 * 1_024;
/// An endpoint that failed this long without a success is paused. Source: Svix does the same.
pub const PAUSE_AFTER_MS: i64 = 5 * DAY_MS;
/// Endpoints looked at in one round of claiming.
const WAITING_MAX: i64 = 1_000;

/// A delivery to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// From [`delivery_id`].
    pub id: String,
    /// Where to.
    pub endpoint_id: String,
    /// The time in its body.
    pub created_ms: i64,
    /// The JSON array of events.
    pub events: String,
    /// Events in it.
    pub events_count: u32,
    /// The node that stores it sends it; otherwise it waits to be claimed.
    pub claimed: bool,
}

/// What became of deliveries to store, by id; the others are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotStored {
    /// [`PENDING_PER_ENDPOINT_MAX`] are waiting already.
    pub too_many: Vec<String>,
    /// The endpoint is no more.
    pub gone: Vec<String>,
}

/// A delivery that the node has claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its id.
    pub id: String,
    /// Where to.
    pub endpoint_id: String,
    /// Whose.
    pub app_id: u64,
    /// The time in its body; retries end a while after it.
    pub time_ms: i64,
    /// The JSON array of events.
    pub events: String,
    /// Events in it.
    pub events_count: u32,
    /// Goes out even when the endpoint is off or paused.
    pub by_hand: bool,
    /// Attempts since `time_ms` or before.
    pub attempts: u32,
    /// Not before.
    pub next_try_ms: Option<i64>,
}

/// How an attempt ended, or that there will be no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which delivery.
    pub id: String,
    /// To which endpoint.
    pub endpoint_id: String,
    /// The attempt, if one was made.
    pub attempt: Option<Attempt>,
    /// How far the delivery is now.
    pub state: State,
    /// When it is tried again.
    pub next_try_ms: Option<i64>,
}

/// An endpoint that was paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Which.
    pub endpoint_id: String,
    /// Whose.
    pub app_id: u64,
}

/// A fresh id of a delivery; later ones are greater.
pub fn delivery_id() -> String {
    new_id()
}

/// Stores deliveries, all that can be or none.
pub async fn put(db: &Db, node: &str, until_ms: i64, new: &[NewDelivery]) -> Result<NotStored, DbError> {
    let mut not_stored = NotStored::default();
    tx!(db, |t| {
        for one in new {
            if !one.claimed {
                let pending: i64 =
                    sqlx::query_scalar(PENDING).bind(&one.endpoint_id).fetch_one(&mut *t).await?;
                if pending >= PENDING_PER_ENDPOINT_MAX {
                    not_stored.too_many.push(one.id.clone());
                    continue;
                }
            }
            let (node, until_ms) = if one.claimed { (node, until_ms) } else { ("", 0) };
            let stored = sqlx::query(INSERT)
                .bind(&one.id)
                .bind(&one.endpoint_id)
                .bind(one.created_ms)
                .bind(&one.events)
                .bind(i64::from(one.events_count))
                .bind(node)
                .bind(until_ms)
                .execute(&mut *t)
                .await?;
            if stored.rows_affected() == 0 {
                let there: i64 = sqlx::query_scalar(STORED).bind(&one.id).fetch_one(&mut *t).await?;
                if there == 0 {
                    not_stored.gone.push(one.id.clone());
                }
            }
        }
    });
    Ok(not_stored)
}

/// Endpoints for which deliveries wait that no node has claimed.
pub async fn waiting(db: &Db, now_ms: i64) -> Result<Vec<String>, DbError> {
    Ok(read!(db, |p| sqlx::query_scalar(WAITING).bind(now_ms).bind(WAITING_MAX).fetch_all(p).await)?)
}

/// Claims the oldest waiting deliveries of an endpoint, at most `limit`, oldest first.
pub async fn claim(
    db: &Db,
    node: &str,
    now_ms: i64,
    until_ms: i64,
    endpoint_id: &str,
    limit: u32,
) -> Result<Vec<Claimed>, DbError> {
    let rows: Vec<DeliveryRow> = write!(db, |p| sqlx::query_as(CLAIM)
        .bind(node)
        .bind(until_ms)
        .bind(now_ms)
        .bind(endpoint_id)
        .bind(i64::from(limit))
        .fetch_all(p)
        .await)?;
    let mut claimed: Vec<Claimed> = rows
        .into_iter()
        .map(|(id, endpoint_id, app_id, _, time_ms, events, count, _, by_hand, _, attempts, next_try_ms)| {
            Claimed {
                id,
                endpoint_id,
                app_id: app_id.cast_unsigned(),
                time_ms,
                events,
                events_count: u32::try_from(count).unwrap_or(0),
                by_hand: by_hand != 0,
                attempts: u32::try_from(attempts).unwrap_or(0),
                next_try_ms,
            }
        })
        .collect();
    claimed.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(claimed)
}

/// Keeps all claims of a node until `until_ms`; how many there are.
pub async fn renew(db: &Db, node: &str, until_ms: i64) -> Result<u64, DbError> {
    let renewed = write!(db, |p| sqlx::query(RENEW)
        .bind(node)
        .bind(until_ms)
        .execute(p)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(renewed)
}

/// Gives all claims of a node back.
pub async fn release(db: &Db, node: &str) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(RELEASE).bind(node).execute(p).await.map(drop))?;
    Ok(())
}

/// Writes attempts and states down, all or none; skips deliveries that are gone or claimed by another node by now. Endpoints
/// that failed for [`PAUSE_AFTER_MS`] are paused and returned.
pub async fn finish(db: &Db, node: &str, outcomes: &[Outcome]) -> Result<Vec<Paused>, DbError> {
    finish_at(db, node, outcomes, now_ms()).await
}

/// [`finish`] at a given time.
pub async fn finish_at(
    db: &Db,
    node: &str,
    outcomes: &[Outcome],
    now_ms: i64,
) -> Result<Vec<Paused>, DbError> {
    // In one order everywhere, or two nodes could wait for each other's endpoints for ever.
    let mut outcomes: Vec<&Outcome> = outcomes.iter().collect();
    outcomes.sort_by(|a, b| (&a.endpoint_id, &a.id).cmp(&(&b.endpoint_id, &b.id)));
    let mut paused: Vec<Paused> = Vec::new();
    tx!(db, |t| {
        for one in outcomes {
            let held: Option<(i64, i64)> = sqlx::query_as(FINISH)
                .bind(&one.id)
                .bind(node)
                .bind(one.state.name())
                .bind(one.next_try_ms)
                .bind(i64::from(one.attempt.is_some()))
                .fetch_optional(&mut *t)
                .await?;
            let Some((number, test)) = held else { continue };
            if let Some(attempt) = &one.attempt {
                sqlx::query(INSERT_ATTEMPT)
                    .bind(&one.id)
                    .bind(number)
                    .bind(attempt.at_ms)
                    .bind(attempt.duration_ms)
                    .bind(attempt.status.map(i64::from))
                    .bind(attempt.error.as_deref().map(kept))
                    .bind(pairs(&attempt.request_headers))
                    .bind(pairs(&attempt.response_headers))
                    .bind(kept(&attempt.response_body))
                    .execute(&mut *t)
                    .await?;
            }
            match one.state {
                State::Delivered => {
                    sqlx::query(WELL).bind(&one.endpoint_id).execute(&mut *t).await?;
                }
                // A test of an endpoint that is being set up is no failure of it.
                _ if test != 0 => {}
                State::Pending | State::Failed => {
                    sqlx::query(FAILING).bind(&one.endpoint_id).bind(now_ms).execute(&mut *t).await?;
                }
            }
            if one.state == State::Failed && test == 0 {
                let app: Option<i64> = sqlx::query_scalar(PAUSE)
                    .bind(&one.endpoint_id)
                    .bind(now_ms)
                    .bind(now_ms - PAUSE_AFTER_MS)
                    .fetch_optional(&mut *t)
                    .await?;
                if let Some(app) = app {
                    let app_id = app.cast_unsigned();
                    paused.push(Paused { endpoint_id: one.endpoint_id.clone(), app_id });
                }
            }
        }
        for app in paused.iter().map(|one| one.app_id.cast_signed()) {
            changes::record!(t, app);
        }
    });
    if !paused.is_empty() {
        db.notice().notify();
    }
    Ok(paused)
}

/// Keeps events whose grace has not ended: `(app id, event as JSON)`, in their order. Those of deleted apps are left out.
pub async fn hold(db: &Db, events: &[(u64, String)]) -> Result<(), DbError> {
    tx!(db, |t| {
        for (app_id, event) in events {
            sqlx::query(HOLD)
                .bind(format!("whh_{}", Uuid::now_v7().simple()))
                .bind(app_id.cast_signed())
                .bind(event)
                .execute(&mut *t)
                .await?;
        }
    });
    Ok(())
}

/// Takes all events that [`hold`] kept, in their order. Each is given to one caller only.
pub async fn take_held(db: &Db) -> Result<Vec<(u64, String)>, DbError> {
    let mut rows: Vec<(String, i64, String)> = write!(db, |p| sqlx::query_as(TAKE_HELD).fetch_all(p).await)?;
    rows.sort();
    Ok(rows.into_iter().map(|(_, app_id, event)| (app_id.cast_unsigned(), event)).collect())
}

/// [`take_held`] of the apps of one cluster.
pub async fn take_held_in(db: &Db, cluster: &str) -> Result<Vec<(u64, String)>, DbError> {
    let mut rows: Vec<(String, i64, String)> =
        write!(db, |p| sqlx::query_as(TAKE_HELD_IN).bind(cluster).fetch_all(p).await)?;
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(rows.into_iter().map(|(_, app_id, event)| (app_id.cast_unsigned(), event)).collect())
}

/// The cluster of an endpoint's app; `None`: there is no such endpoint.
pub async fn cluster_of_endpoint(db: &Db, endpoint_id: &str) -> Result<Option<String>, DbError> {
    Ok(read!(db, |p| sqlx::query_scalar(ENDPOINT_CLUSTER).bind(endpoint_id).fetch_optional(p).await)?)
}

/// The cluster of a key's app; `None`: there is no such key.
pub async fn cluster_of_key(db: &Db, key: &str) -> Result<Option<String>, DbError> {
    Ok(read!(db, |p| sqlx::query_scalar(KEY_CLUSTER).bind(key).fetch_optional(p).await)?)
}

/// The cluster of an app; `None`: there is no such app.
pub async fn cluster_of_app(db: &Db, app_id: u64) -> Result<Option<String>, DbError> {
    Ok(read!(db, |p| sqlx::query_scalar(APP_CLUSTER).bind(app_id.cast_signed()).fetch_optional(p).await)?)
}

/// Gives those claims of a node on an endpoint's deliveries back that the node doesn't know of: the answer to a claim was lost.
pub async fn give_back(db: &Db, node: &str, endpoint_id: &str, known: &[String]) -> Result<(), DbError> {
    tx!(db, |t| {
        let ids: Vec<String> =
            sqlx::query_scalar(CLAIMED).bind(endpoint_id).bind(node).fetch_all(&mut *t).await?;
        for id in ids.iter().filter(|id| !known.contains(id)) {
            sqlx::query(GIVE_BACK).bind(id).bind(node).execute(&mut *t).await?;
        }
    });
    Ok(())
}

/// Forgets what is older than [`LOG_MS`], and of these endpoints what is beyond [`LOG_PER_ENDPOINT_MAX`]. What is pending
/// stays.
pub async fn prune(db: &Db, now_ms: i64, endpoint_ids: &[String]) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(PRUNE_OLD).bind(first_id_at(now_ms - LOG_MS)).execute(p).await.map(drop))?;
    for id in endpoint_ids {
        write!(db, |p| sqlx::query(PRUNE_MANY)
            .bind(id)
            .bind(LOG_PER_ENDPOINT_MAX)
            .execute(p)
            .await
            .map(drop))?;
    }
    Ok(())
}

fn pairs(headers: &[(String, String)]) -> String {
    serde_json::to_string(headers).unwrap_or_else(|_| "[]".into())
}

/// A text from outside at a bounded length, without NUL, which PostgreSQL refuses.
fn kept(text: &str) -> String {
    let mut end = text.len().min(RESPONSE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_up_to_its_bound_and_without_nul() {
        assert_eq!(kept("a\0b"), "a\u{fffd}b");
        assert_eq!(kept(&"é".repeat(RESPONSE_BYTES_MAX)).len(), RESPONSE_BYTES_MAX);
        assert_eq!(kept(&format!("x{}", "é".repeat(RESPONSE_BYTES_MAX))).len(), RESPONSE_BYTES_MAX - 1);
    }
}
