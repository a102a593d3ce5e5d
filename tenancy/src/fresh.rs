//! Did the person of a session prove who they are a short while ago? Asked before secrets are shown: a browser that was left open
//! should not be enough. Signing in is a proof; later ones are written down here. Checking them is the caller's work.

use crate::clock::{MINUTE_MS, now_ms};
use crate::db::{Db, DbError, read, write};
use crate::statements;
use crate::user::UserId;

statements::sqls! {
    CHECKED = "select case when checked_ms > created_ms then checked_ms else created_ms end from sessions
        where token_hash = $1";
    NOTE = "update sessions set checked_ms = $2 where token_hash = $1 and checked_ms < $2";
    PASSWORDS = "select count(*) from users where id = $1 and password_hash not in ('', '!')";
}

/// A proof is good for this long.
pub const FRESH_MS: i64 = 15 * MINUTE_MS;

/// Whether the last proof is younger than [`FRESH_MS`]. `id_hash` is [`crate::session::Session::id_hash`].
pub async fn is_fresh(db: &Db, id_hash: &str) -> Result<bool, DbError> {
    let checked: Option<i64> =
        read!(db, |p| sqlx::query_scalar(CHECKED).bind(id_hash).fetch_optional(p).await)?;
    Ok(checked.is_some_and(|checked_ms| now_ms() - checked_ms < FRESH_MS))
}

/// Writes down that the person of this session has just given their password.
pub async fn note(db: &Db, id_hash: &str) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(NOTE).bind(id_hash).bind(now_ms()).execute(p).await.map(drop))?;
    Ok(())
}

/// Does this person have a password that could be asked for?
pub async fn has_password(db: &Db, user_id: &UserId) -> Result<bool, DbError> {
    let count: i64 = read!(db, |p| sqlx::query_scalar(PASSWORDS).bind(user_id).fetch_one(p).await)?;
    Ok(count > 0)
}
