//! Further key pairs of an app, and the end of one: several are valid at once, so that keys change without a gap.
//! Each writes a change row in its transaction and wakes the nodes.

use super::{AppKey, vault_row};
use crate::account::AccountId;
use crate::clock::now_ms;
use crate::db::{Db, DbError, tx, write};
use crate::secret::{APP_KEY_BYTES, Secret, random_hex};
use crate::vault::{Purpose, sealed_with};
use crate::{changes, statements};

statements::sqls! {
    /// Taking the row for writing keeps two changes of one app's keys from passing each other's count.
    HOLD = "update apps set version = version + 1 where account_id = $1 and id = $2";
    COUNT_KEYS = "select count(*) from app_keys where app_id = $1";
    /// A clock that went back must not make a new pair the oldest, with which webhooks are signed.
    ADD = "insert into app_keys (key, app_id, secret, created_ms, sealed_with, name, created_by)
        select $1, $2, $3, coalesce(max(case when created_ms >= $4 then created_ms + 1 else $4 end), $4), $5, $6, $7
        from app_keys where app_id = $2 returning created_ms";
    RENAME = "update app_keys set name = $4 where app_id = $2 and key = $3
        and exists (select 1 from apps where apps.account_id = $1 and apps.id = $2)";
    REMOVE = "delete from app_keys where app_id = $1 and key = $2";
}

/// Key pairs of one app. Two serve a rotation; each more is tried when a signature is checked, and held by every node.
pub const KEYS_PER_APP_MAX: i64 = 10;

/// Characters of a key's name.
pub const KEY_NAME_CHARS_MAX: usize = 60;

/// Why the keys of an app stayed as they were. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The app has [`KEYS_PER_APP_MAX`] pairs.
    #[error("the app has as many keys as it may have")]
    TooMany,
    /// An app keeps one pair whose end is not ordered.
    #[error("the last key of an app stays")]
    Last,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Takes an app of an account for writing; 0 if there is none.
macro_rules! hold {
    ($t:ident, $account_id:expr, $id:expr) => {
        sqlx::query($crate::app::keys::HOLD)
            .bind($account_id)
            .bind($id)
            .execute(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?
            .rows_affected()
    };
}
pub(super) use hold;

/// How many keys an app has.
macro_rules! count {
    ($t:ident, $id:expr) => {{
        let count: i64 =
            sqlx::query_scalar(COUNT_KEYS).bind($id).fetch_one(&mut *$t).await.map_err(DbError::from)?;
        count
    }};
}

/// [`create_named_key`] without a name, by nobody in particular.
pub async fn create_key(db: &Db, account_id: &AccountId, id: u64) -> Result<Option<AppKey>, KeyError> {
    create_named_key(db, account_id, id, "", "").await
}

/// Makes another key pair of an app, valid beside the others. `name` is cut to [`KEY_NAME_CHARS_MAX`] and loses its control
/// characters; `created_by` is the id of a person, or empty. `None` for an unknown id and another account's alike.
pub async fn create_named_key(
    db: &Db,
    account_id: &AccountId,
    id: u64,
    name: &str,
    created_by: &str,
) -> Result<Option<AppKey>, KeyError> {
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(KEY_NAME_CHARS_MAX).collect();
    let (key, secret) = (random_hex::<APP_KEY_BYTES>(), Secret::new(random_hex::<APP_KEY_BYTES>()));
    let sealed = db.vault().seal(Purpose::AppSecret, &vault_row(id, &key), &secret).map_err(DbError::from)?;
    let id = id.cast_signed();
    let created_ms: i64 = tx!(db, |t| {
        if hold!(t, account_id, id) == 0 {
            return Ok(None);
        }
        if count!(t, id) >= KEYS_PER_APP_MAX {
            return Err(KeyError::TooMany);
        }
        let created_ms = sqlx::query_scalar(ADD)
            .bind(&key)
            .bind(id)
            .bind(&sealed)
            .bind(now_ms())
            .bind(sealed_with(&sealed))
            .bind(&name)
            .bind(created_by)
            .fetch_one(&mut *t)
            .await
            .map_err(DbError::from)?;
        changes::record!(t, id);
        created_ms
    });
    db.notice().notify();
    Ok(Some(AppKey { key, secret, created_ms }))
}

/// Gives a key pair another name; `name` as in [`create_named_key`]. False for an unknown key, an unknown id and another account's
/// alike. Nodes don't know the name, so they aren't told.
pub async fn rename_key(
    db: &Db,
    account_id: &AccountId,
    id: u64,
    key: &str,
    name: &str,
) -> Result<bool, DbError> {
    if !super::create::is_key(key) {
        return Ok(false);
    }
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(KEY_NAME_CHARS_MAX).collect();
    let renamed = write!(db, |p| sqlx::query(RENAME)
        .bind(account_id)
        .bind(id.cast_signed())
        .bind(key)
        .bind(&name)
        .execute(p)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(renamed > 0)
}

/// Deletes a key pair of an app, unless it is its last. False for an unknown key, an unknown id and another account's alike.
/// Connections that were opened with it are closed by the nodes within a second, with code 4001.
pub async fn delete_key(db: &Db, account_id: &AccountId, id: u64, key: &str) -> Result<bool, KeyError> {
    // Anybody may send any text as a key; PostgreSQL would answer a NUL with an error.
    if !super::create::is_key(key) {
        return Ok(false);
    }
    let id = id.cast_signed();
    tx!(db, |t| {
        if hold!(t, account_id, id) == 0 {
            return Ok(false);
        }
        let deleted = sqlx::query(REMOVE)
            .bind(id)
            .bind(key)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected();
        if deleted == 0 {
            return Ok(false);
        }
        if count!(t, id) == 0 {
            return Err(KeyError::Last);
        }
        changes::record!(t, id);
    });
    db.notice().notify();
    Ok(true)
}
