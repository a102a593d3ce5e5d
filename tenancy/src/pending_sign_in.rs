//! Somebody gave a right password and not yet a code of their second factor: a token for five minutes that opens nothing but the
//! question for the code. It is worth nothing after their password changed. Checking the code is the caller's work.

use crate::clock::{MINUTE_MS, now_ms};
use crate::db::{Db, DbError, read, write};
use crate::secret::{TOKEN_BYTES, is_token, random_hex, token_hash};
use crate::statements;
use crate::user::{User, UserId};

statements::sqls! {
    PASSWORD = "select password_hash from users where id = $1";
    INSERT = "insert into pending_sign_ins (token_hash, user_id, password_mark, expires_ms) values ($1, $2, $3, $4)";
    PURGE = "delete from pending_sign_ins where expires_ms <= $1";
    FIND = "select u.id, u.email, u.created_ms, u.password_hash, p.password_mark
        from pending_sign_ins p join users u on u.id = p.user_id where p.token_hash = $1 and p.expires_ms > $2";
    TAKE = "delete from pending_sign_ins where token_hash = $1 and expires_ms > $2";
}

/// How long the question stands.
pub const LIFETIME_MS: i64 = 5 * MINUTE_MS;

/// Begins to wait for a code of this person; gives the token, 64 hex characters.
pub async fn start(db: &Db, user_id: &UserId) -> Result<String, DbError> {
    start_at(db, user_id, now_ms()).await
}

/// [`start`] at a given time.
pub async fn start_at(db: &Db, user_id: &UserId, now_ms: i64) -> Result<String, DbError> {
    // A sweep that fails must not refuse a sign-in.
    let swept = write!(db, |p| sqlx::query(PURGE).bind(now_ms).execute(p).await.map(drop));
    if let Err(error) = swept {
        tracing::warn!(%error, "sign-ins without a code could not be removed");
    }
    let hash: Option<String> =
        read!(db, |p| sqlx::query_scalar(PASSWORD).bind(user_id).fetch_optional(p).await)?;
    let token = random_hex::<TOKEN_BYTES>();
    write!(db, |p| sqlx::query(INSERT)
        .bind(token_hash(&token))
        .bind(user_id)
        .bind(token_hash(&hash.unwrap_or_default()))
        .bind(now_ms + LIFETIME_MS)
        .execute(p)
        .await
        .map(drop))?;
    Ok(token)
}

/// Whose code is waited for. `None`: the token is unknown, used, too old, or from before a change of the password.
pub async fn find(db: &Db, token: &str) -> Result<Option<User>, DbError> {
    find_at(db, token, now_ms()).await
}

/// [`find`] at a given time.
pub async fn find_at(db: &Db, token: &str, now_ms: i64) -> Result<Option<User>, DbError> {
    if !is_token(token) {
        return Ok(None);
    }
    let row: Option<(String, String, i64, String, String)> =
        read!(db, |p| sqlx::query_as(FIND).bind(token_hash(token)).bind(now_ms).fetch_optional(p).await)?;
    let fits = row.filter(|(.., hash, mark)| token_hash(hash) == *mark);
    Ok(fits.map(|(id, email, created_ms, ..)| User { id, email, created_ms }))
}

/// Uses the token up, after the code was right. False: somebody was quicker.
pub async fn take(db: &Db, token: &str) -> Result<bool, DbError> {
    let taken = write!(db, |p| sqlx::query(TAKE)
        .bind(token_hash(token))
        .bind(now_ms())
        .execute(p)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(taken > 0)
}
