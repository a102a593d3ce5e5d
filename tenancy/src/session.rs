//! Sign-in sessions: a random token in a cookie, its SHA-256 in the database. A session ends by sign-out, by a day
//! without use, or after thirty days. Cookies themselves are the dashboard's work.

use crate::account::Account;
use crate::clock::{DAY_MS, HOUR_MS, SECOND_MS, now_ms};
use crate::db::{Db, DbError, read, write};
use crate::secret::{TOKEN_BYTES, is_token, random_hex, token_hash};
use crate::statements;
use crate::user::{self, User, UserId};
use std::fmt;

statements::sqls! {
    INSERT = "insert into sessions (token_hash, user_id, created_ms, last_seen_ms) values ($1, $2, $3, $3)";
    FIND = "select u.id, u.email, u.created_ms, a.id, a.name, a.plan, a.created_ms, s.last_seen_ms
        from sessions s join users u on u.id = s.user_id
        join memberships m on m.user_id = u.id join accounts a on a.id = m.account_id
        where s.token_hash = $1 and s.last_seen_ms > $2 and s.created_ms > $3
        order by m.created_ms, a.id limit 1";
    SEEN = "update sessions set last_seen_ms = $1 where token_hash = $2 and last_seen_ms < $1";
    END = "delete from sessions where token_hash = $1";
    END_ALL_BUT = "delete from sessions where user_id = $1 and token_hash <> $2";
    PURGE = "delete from sessions where last_seen_ms <= $1 or created_ms <= $2";
}

/// A session ends after this time without a request.
pub const IDLE_MS: i64 = 24 * HOUR_MS;
/// A session ends this long after sign-in, however much it is used.
pub const ABSOLUTE_MS: i64 = 30 * DAY_MS;
/// Use of a session is written down at most this often, so that reading a page is seldom a write.
pub const SEEN_EVERY_MS: i64 = 60 * SECOND_MS;

/// A session that has just begun; the only moment at which its token is known.
#[derive(Clone)]
pub struct NewSession {
    /// Goes into the cookie: 64 hex characters.
    pub token: String,
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewSession { token: … }")
    }
}

/// Who is signed in.
#[derive(Clone, Debug)]
pub struct Session {
    /// The stored hash of the token. It names the session and opens nothing.
    pub id_hash: String,
    /// Whose session it is.
    pub user: User,
    /// The account they work in.
    pub account: Account,
}

/// Begins a session; call it at every sign-in, so that a token from before cannot be used after.
pub async fn start(db: &Db, user_id: &UserId) -> Result<NewSession, DbError> {
    start_at(db, user_id, now_ms()).await
}

/// [`start`] at a given time.
pub async fn start_at(db: &Db, user_id: &UserId, now_ms: i64) -> Result<NewSession, DbError> {
    let token = random_hex::<TOKEN_BYTES>();
    // Sign-ins are rare enough to sweep the floor on the way; a sweep that fails must not refuse one.
    let swept = write!(db, |p| sqlx::query(PURGE)
        .bind(now_ms - IDLE_MS)
        .bind(now_ms - ABSOLUTE_MS)
        .execute(p)
        .await
        .map(drop));
    if let Err(error) = swept {
        tracing::warn!(%error, "expired sessions could not be removed");
    }
    write!(db, |p| sqlx::query(INSERT)
        .bind(token_hash(&token))
        .bind(user_id)
        .bind(now_ms)
        .execute(p)
        .await
        .map(drop))?;
    Ok(NewSession { token })
}

type FindRow = (String, String, i64, String, String, String, i64, i64);

/// The live session of a token. `None` if it never was, has ended or expired.
pub async fn find(db: &Db, token: &str) -> Result<Option<Session>, DbError> {
    find_at(db, token, now_ms()).await
}

/// [`find`] at a given time.
pub async fn find_at(db: &Db, token: &str, now_ms: i64) -> Result<Option<Session>, DbError> {
    if !is_token(token) {
        return Ok(None);
    }
    let id_hash = token_hash(token);
    let row: Option<FindRow> = read!(db, |p| sqlx::query_as(FIND)
        .bind(&id_hash)
        .bind(now_ms - IDLE_MS)
        .bind(now_ms - ABSOLUTE_MS)
        .fetch_optional(p)
        .await)?;
    let Some((id, email, created_ms, account_id, name, plan, account_created_ms, last_seen_ms)) = row else {
        return Ok(None);
    };
    let (user, account) =
        user::from_row((id, email, created_ms, account_id, name, plan, account_created_ms))?;
    if now_ms - last_seen_ms >= SEEN_EVERY_MS {
        let seen = write!(db, |p| sqlx::query(SEEN).bind(now_ms).bind(&id_hash).execute(p).await.map(drop));
        // A full disk must not sign anybody out: the page is read-only for this purpose.
        if let Err(error) = seen {
            tracing::warn!(%error, "the use of a session could not be written down");
        }
    }
    Ok(Some(Session { id_hash, user, account }))
}

/// Ends a session. Whether it was there says nothing to the caller: signed out is signed out.
pub async fn end(db: &Db, token: &str) -> Result<(), DbError> {
    if is_token(token) {
        write!(db, |p| sqlx::query(END).bind(token_hash(token)).execute(p).await.map(drop))?;
    }
    Ok(())
}

/// Ends all sessions of a user except the one of `token`; returns how many. With a token that is none (such as `""`)
/// it ends them all.
pub async fn end_all_but(db: &Db, user_id: &UserId, token: &str) -> Result<u64, DbError> {
    let ended = write!(db, |p| sqlx::query(END_ALL_BUT)
        .bind(user_id)
        .bind(token_hash(token))
        .execute(p)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(ended)
}
