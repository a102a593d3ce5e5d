//! What is known of a key pair beside the pair: its name, who made it, when it was used last, and when it shall end. Nodes
//! report use by whole minutes; an end that was ordered is carried out by whoever asks [`due_ends`].

use super::keys::{KeyError, hold};
use super::{AppKey, KeyRow};
use crate::account::AccountId;
use crate::clock::MINUTE_MS;
use crate::db::{Db, DbError, read, tx};
use crate::statements;

statements::sqls! {
    RECORDS = "select k.key, k.sealed_with || ' ' || k.secret, k.created_ms, k.name, coalesce(u.email, ''),
            k.last_ws_ms, k.last_rest_ms, k.revoke_at_ms, k.revoke_when_idle
        from app_keys k join apps on apps.id = k.app_id left join users u on u.id = k.created_by
        where apps.account_id = $1 and apps.id = $2 order by k.created_ms, k.key";
    USED = "update app_keys set
            last_ws_ms = case when last_ws_ms < $2 then $2 else last_ws_ms end,
            last_rest_ms = case when last_rest_ms < $3 then $3 else last_rest_ms end
        where key = $1 and (last_ws_ms < $2 or last_rest_ms < $3)";
    STAYING = "select count(*) from app_keys
        where app_id = $1 and key <> $2 and revoke_at_ms is null and revoke_when_idle = 0";
    ORDER = "update app_keys set revoke_at_ms = $3, revoke_when_idle = $4 where app_id = $1 and key = $2";
    DUE = "select apps.account_id, k.app_id, k.key, k.revoke_when_idle from app_keys k join apps on apps.id = k.app_id
        where (k.revoke_at_ms is not null or k.revoke_when_idle = 1)
            and (k.revoke_at_ms <= $1 or (k.revoke_when_idle = 1 and k.last_ws_ms < $2 and k.last_rest_ms < $2
                and k.created_ms < $2))
        order by k.key limit $3";
    IS_DUE = "select count(*) from app_keys where key = $1 and (revoke_at_ms <= $2 or revoke_when_idle = 1)";
}

/// A key without an open connection and without a request for this long has no traffic. Longer than the pause between two runs
/// of the usual jobs.
pub const KEY_IDLE_MS: i64 = 10 * MINUTE_MS;
/// Ends that are carried out in one round.
const DUE_MAX: i64 = 100;

/// When a key pair shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not at all, as far as is known.
    Never,
    /// At this time.
    At(i64),
    /// Once it had no traffic for [`KEY_IDLE_MS`].
    WhenIdle,
}

/// A key pair and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The pair.
    pub pair: AppKey,
    /// What it is for; may be empty.
    pub name: String,
    /// The e-mail of who made it; empty: a command, a release before, or somebody who is gone.
    pub created_by: String,
    /// The last minute in which a connection was open that came with it; 0 is never.
    pub last_ws_ms: i64,
    /// The last minute in which a request was signed with it; 0 is never.
    pub last_rest_ms: i64,
    /// When it shall end.
    pub end: End,
}

/// A node's report. Times are whole minutes in milliseconds; 0 is never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Of which key; one that is in no database (from the settings, or gone) is passed over.
    pub key: String,
    /// As in [`KeyRecord`].
    pub last_ws_ms: i64,
    /// As in [`KeyRecord`].
    pub last_rest_ms: i64,
}

/// An order that has come due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueEnd {
    /// Whose.
    pub account_id: AccountId,
    /// Of which app.
    pub app_id: u64,
    /// Which key.
    pub key: String,
    /// It was to end without traffic, not at a time.
    pub when_idle: bool,
}

type RecordRow = (String, String, i64, String, String, i64, i64, Option<i64>, i64);

/// The key pairs of an app of an account with what is known of them, oldest first; none for the app of another account.
pub async fn key_records(db: &Db, account_id: &AccountId, id: u64) -> Result<Vec<KeyRecord>, DbError> {
    let rows: Vec<RecordRow> =
        read!(db, |p| sqlx::query_as(RECORDS).bind(account_id).bind(id.cast_signed()).fetch_all(p).await)?;
    let record =
        |(key, secret, created_ms, name, created_by, last_ws_ms, last_rest_ms, at, idle): RecordRow| {
            let row: KeyRow = (key, secret, created_ms);
            Ok(KeyRecord {
                pair: AppKey::from_row(db, id, row)?,
                name,
                created_by,
                last_ws_ms,
                last_rest_ms,
                end: match (at, idle) {
                    (Some(at), _) => End::At(at),
                    (None, 0) => End::Never,
                    (None, _) => End::WhenIdle,
                },
            })
        };
    rows.into_iter().map(record).collect()
}

/// Writes down use, all of it or none. Time never goes back.
pub async fn record_key_uses(db: &Db, uses: &[KeyUse]) -> Result<(), DbError> {
    // In one order everywhere, or two nodes could wait for each other's rows for ever.
    let mut uses = uses.to_vec();
    uses.sort_by(|a, b| a.key.cmp(&b.key));
    tx!(db, |t| {
        for one in &uses {
            sqlx::query(USED)
                .bind(&one.key)
                .bind(one.last_ws_ms)
                .bind(one.last_rest_ms)
                .execute(&mut *t)
                .await?;
        }
    });
    Ok(())
}

/// Orders the end of a key pair, or takes the order back. An app keeps one pair that stays. False for an unknown key, an
/// unknown id and another account's alike. An end at once is [`super::delete_key`].
pub async fn order_end(
    db: &Db,
    account_id: &AccountId,
    id: u64,
    key: &str,
    end: End,
) -> Result<bool, KeyError> {
    if !super::create::is_key(key) {
        return Ok(false);
    }
    let id = id.cast_signed();
    let (at_ms, when_idle) = match end {
        End::Never => (None, 0i64),
        End::At(at_ms) => (Some(at_ms), 0),
        End::WhenIdle => (None, 1),
    };
    let done = tx!(db, |t| {
        if hold!(t, account_id, id) == 0 {
            return Ok(false);
        }
        let staying: i64 =
            sqlx::query_scalar(STAYING).bind(id).bind(key).fetch_one(&mut *t).await.map_err(DbError::from)?;
        if staying == 0 && end != End::Never {
            return Err(KeyError::Last);
        }
        sqlx::query(ORDER)
            .bind(id)
            .bind(key)
            .bind(at_ms)
            .bind(when_idle)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected()
    });
    Ok(done > 0)
}

/// Orders that have come due at `now_ms`, at most a hundred.
pub async fn due_ends(db: &Db, now_ms: i64) -> Result<Vec<DueEnd>, DbError> {
    let rows: Vec<(String, i64, String, i64)> = read!(db, |p| sqlx::query_as(DUE)
        .bind(now_ms)
        .bind(now_ms - KEY_IDLE_MS)
        .bind(DUE_MAX)
        .fetch_all(p)
        .await)?;
    let due = |(account_id, app_id, key, idle): (String, i64, String, i64)| DueEnd {
        account_id,
        app_id: app_id.cast_unsigned(),
        key,
        when_idle: idle != 0,
    };
    Ok(rows.into_iter().map(due).collect())
}

/// Does the order still stand? Somebody may have taken it back since [`due_ends`].
pub async fn still_due(db: &Db, due: &DueEnd, now_ms: i64) -> Result<bool, DbError> {
    let count: i64 =
        read!(db, |p| sqlx::query_scalar(IS_DUE).bind(&due.key).bind(now_ms).fetch_one(p).await)?;
    Ok(count > 0)
}
