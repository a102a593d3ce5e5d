//! One-time sign-in links, such as the one a terminal prints at the first start. Hashed at rest, thirty minutes,
//! once only. Building the link and beginning the session are the caller's work.

use crate::clock::{MINUTE_MS, now_ms};
use crate::db::{Db, DbError, tx, write};
use crate::secret::{TOKEN_BYTES, is_token, random_hex, token_hash};
use crate::statements;
use crate::user::{User, UserId};

statements::sqls! {
    INSERT = "insert into login_tokens (token_hash, user_id, expires_ms) values ($1, $2, $3)";
    PURGE = "delete from login_tokens where expires_ms <= $1";
    /// One statement finds and takes it: of two that redeem at once, one gets the row.
    TAKE = "delete from login_tokens where token_hash = $1 returning user_id, expires_ms";
    USER = "select id, email, created_ms from users where id = $1";
}

/// How long a link works.
pub const LIFETIME_MS: i64 = 30 * MINUTE_MS;

/// Makes a token for a user: 64 hex characters. It is not kept in the clear, so it cannot be shown again.
pub async fn issue(db: &Db, user_id: &UserId) -> Result<String, DbError> {
    issue_at(db, user_id, now_ms()).await
}

/// [`issue`] at a given time.
pub async fn issue_at(db: &Db, user_id: &UserId, now_ms: i64) -> Result<String, DbError> {
    let token = random_hex::<TOKEN_BYTES>();
    // A sweep that fails must not refuse a new link.
    let swept = write!(db, |p| sqlx::query(PURGE).bind(now_ms).execute(p).await.map(drop));
    if let Err(error) = swept {
        tracing::warn!(%error, "expired sign-in links could not be removed");
    }
    write!(db, |p| sqlx::query(INSERT)
        .bind(token_hash(&token))
        .bind(user_id)
        .bind(now_ms + LIFETIME_MS)
        .execute(p)
        .await
        .map(drop))?;
    Ok(token)
}

/// The user of a token, which is used up by it. `None` if it is unknown, used or too old.
pub async fn redeem(db: &Db, token: &str) -> Result<Option<User>, DbError> {
    redeem_at(db, token, now_ms()).await
}

/// [`redeem`] at a given time.
pub async fn redeem_at(db: &Db, token: &str, now_ms: i64) -> Result<Option<User>, DbError> {
    if !is_token(token) {
        return Ok(None);
    }
    let user: Option<(String, String, i64)> = tx!(db, |t| {
        let taken: Option<(String, i64)> =
            sqlx::query_as(TAKE).bind(token_hash(token)).fetch_optional(&mut *t).await?;
        match taken {
            Some((user_id, expires_ms)) if now_ms < expires_ms => {
                sqlx::query_as(USER).bind(user_id).fetch_optional(&mut *t).await?
            }
            Some(_) | None => None,
        }
    });
    Ok(user.map(|(id, email, created_ms)| User { id, email, created_ms }))
}
