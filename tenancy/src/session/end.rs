//! Ends of sessions: by sign-out, from another session, with a new password, or by time. With a session its consoles end: the
//! access version of the organisations it watched rises, nodes close the sockets there, and whoever may still watch comes back.

use super::{ABSOLUTE_MS, IDLE_MS};
use crate::clock::now_ms;
use crate::db::{Db, DbError, tx};
use crate::secret::{is_token, token_hash};
use crate::statements;
use crate::user::UserId;

statements::sqls! {
    END = "delete from sessions where token_hash = $1 returning consoles";
    END_OF_USER = "delete from sessions where user_id = $1 and token_hash = $2 returning consoles";
    END_ALL_BUT = "delete from sessions where user_id = $1 and token_hash <> $2 returning consoles";
    PURGE = "delete from sessions where last_seen_ms <= $1 or created_ms <= $2 returning consoles";
}

/// Whether a node must be told after the commit.
pub(crate) type Watched = bool;

/// The organisations in the `consoles` of ended sessions, each once and in one order for all.
pub(crate) fn accounts(consoles: &[String]) -> Vec<String> {
    let mut all: Vec<String> =
        consoles.iter().flat_map(|text| text.split_ascii_whitespace()).map(str::to_owned).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// In the caller's transaction: what else ends with sessions whose rows are gone. Make it the last statements.
macro_rules! with_consoles {
    ($t:ident, $consoles:expr) => {{
        let accounts = $crate::session::end::accounts($consoles);
        for account_id in &accounts {
            sqlx::query($crate::access::RISE)
                .bind(account_id)
                .execute(&mut *$t)
                .await
                .map_err($crate::db::DbError::from)?;
        }
        // All organisations before the first change row: another one who waits for the feed holds none of them.
        for account_id in &accounts {
            $crate::access::tell_apps!($t, account_id);
        }
        !accounts.is_empty()
    }};
}
pub(crate) use with_consoles;

/// In the caller's transaction: ends all sessions of a user but the one whose token has this hash. Gives how many, and what
/// [`tell`] wants after the commit. Make it the last statements.
macro_rules! all_but {
    ($t:ident, $user_id:expr, $keep_hash:expr) => {{
        let ended: Vec<String> = sqlx::query_scalar($crate::session::end::END_ALL_BUT)
            .bind($user_id)
            .bind($keep_hash)
            .fetch_all(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?;
        let watched: $crate::session::end::Watched = $crate::session::end::with_consoles!($t, &ended);
        (ended.len() as u64, watched)
    }};
}
pub(crate) use all_but;

/// After the commit: nodes look at once.
pub(crate) fn tell(db: &Db, watched: Watched) {
    if watched {
        db.notice().notify();
    }
}

/// Ends a session. Whether it was there says nothing to the caller: signed out is signed out.
pub async fn end(db: &Db, token: &str) -> Result<(), DbError> {
    if !is_token(token) {
        return Ok(());
    }
    let watched = tx!(db, |t| {
        let ended: Vec<String> = sqlx::query_scalar(END).bind(token_hash(token)).fetch_all(&mut *t).await?;
        with_consoles!(t, &ended)
    });
    tell(db, watched);
    Ok(())
}

/// Ends the session of this user that `id_hash` names. False if they have none such, whoever else has.
pub async fn end_of_user(db: &Db, user_id: &UserId, id_hash: &str) -> Result<bool, DbError> {
    let (ended, watched) = tx!(db, |t| {
        let ended: Vec<String> =
            sqlx::query_scalar(END_OF_USER).bind(user_id).bind(id_hash).fetch_all(&mut *t).await?;
        (ended.len(), with_consoles!(t, &ended))
    });
    tell(db, watched);
    Ok(ended > 0)
}

/// Ends all sessions of a user except the one of `token`; returns how many. With a token that is none (such as `""`)
/// it ends them all.
pub async fn end_all_but(db: &Db, user_id: &UserId, token: &str) -> Result<u64, DbError> {
    let (ended, watched) = tx!(db, |t| { all_but!(t, user_id, token_hash(token)) });
    tell(db, watched);
    Ok(ended)
}

/// Removes the sessions whose time is over; gives how many.
pub async fn sweep(db: &Db) -> Result<u64, DbError> {
    sweep_at(db, now_ms()).await
}

pub(super) async fn sweep_at(db: &Db, now_ms: i64) -> Result<u64, DbError> {
    let (ended, watched) = tx!(db, |t| {
        let ended: Vec<String> = sqlx::query_scalar(PURGE)
            .bind(now_ms - IDLE_MS)
            .bind(now_ms - ABSOLUTE_MS)
            .fetch_all(&mut *t)
            .await?;
        (ended.len() as u64, with_consoles!(t, &ended))
    });
    tell(db, watched);
    Ok(ended)
}
