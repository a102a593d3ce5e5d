//! What the link of a mail opens: a token for one person and one purpose, hashed at rest, once only, for an hour or a day. A new one
//! makes the older one of the same purpose void. What follows from it stands beside its verb: [`crate::email_proof`],
//! [`crate::password_reset`], [`crate::email_change`].

use crate::clock::{DAY_MS, HOUR_MS};
use crate::db::{Db, DbError, read};
use crate::secret::{is_token, token_hash};
use crate::statements;
use crate::user::{User, UserId};

statements::sqls! {
    PUT = "insert into mail_tokens (token_hash, user_id, purpose, email, created_ms, expires_ms) values ($1, $2, $3, $4, $5, $6)
        on conflict (user_id, purpose) do update set token_hash = excluded.token_hash, email = excluded.email,
            created_ms = excluded.created_ms, expires_ms = excluded.expires_ms";
    /// One statement finds and takes it: of two that come at once, one gets the row.
    TAKE = "delete from mail_tokens where token_hash = $1 and purpose = $2 and expires_ms > $3 returning user_id, email";
    LOOK = "select u.id, u.email, u.created_ms, t.email from mail_tokens t join users u on u.id = t.user_id
        where t.token_hash = $1 and t.purpose = $2 and t.expires_ms > $3";
    VOID = "delete from mail_tokens where user_id = $1";
    FORGET = "delete from mail_tokens where expires_ms <= $1";
}

/// What a token is for. It opens nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The address of a person is theirs.
    Confirm,
    /// A new password without the old one.
    Reset,
    /// Another address.
    Change,
}

impl Purpose {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Purpose::Confirm => "confirm",
            Purpose::Reset => "reset",
            Purpose::Change => "change",
        }
    }

    /// How long its link works.
    pub fn lifetime_ms(self) -> i64 {
        match self {
            Purpose::Reset => HOUR_MS,
            Purpose::Confirm | Purpose::Change => DAY_MS,
        }
    }
}

/// Whose token it is, and the address that it proves; empty: none. `None` if it is unknown, used, void, out of time or for another
/// purpose. It is still good afterwards.
pub async fn look(
    db: &Db,
    token: &str,
    purpose: Purpose,
    now_ms: i64,
) -> Result<Option<(User, String)>, DbError> {
    if !is_token(token) {
        return Ok(None);
    }
    let row: Option<(UserId, String, i64, String)> = read!(db, |p| sqlx::query_as(LOOK)
        .bind(token_hash(token))
        .bind(purpose.name())
        .bind(now_ms)
        .fetch_optional(p)
        .await)?;
    Ok(row.map(|(id, email, created_ms, proves)| (User { id, email, created_ms }, proves)))
}

/// Takes a token in a transaction: gives whose it was and what address it proves, or `None`.
macro_rules! take {
    ($t:ident, $token:expr, $purpose:expr, $now_ms:expr) => {{
        let taken: Option<(String, String)> = sqlx::query_as($crate::mail_token::TAKE)
            .bind($crate::secret::token_hash($token))
            .bind($purpose.name())
            .bind($now_ms)
            .fetch_optional(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?;
        taken
    }};
}
pub(crate) use take;

/// Writes a token in a transaction: the older one of the same purpose is void.
macro_rules! put {
    ($t:ident, $user:expr, $purpose:expr, $proves:expr, $token:expr, $now_ms:expr) => {
        sqlx::query($crate::mail_token::PUT)
            .bind($crate::secret::token_hash($token))
            .bind(&$user.id)
            .bind($purpose.name())
            .bind($proves)
            .bind($now_ms)
            .bind($now_ms + $purpose.lifetime_ms())
            .execute(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?
    };
}
pub(crate) use put;

/// The page that takes a token, below the public address of this server.
pub fn path(purpose: Purpose, token: &str) -> String {
    match purpose {
        Purpose::Confirm => format!("/verify/{token}"),
        Purpose::Reset => format!("/reset/{token}"),
        Purpose::Change => format!("/change-email/{token}"),
    }
}
