//! The end of a second factor: by its person, with a code; or by the operator, for who lost app and recovery codes.

use super::{Accepted, check};
use crate::db::{Db, DbError, read, tx};
use crate::secret::token_hash;
use crate::user::UserId;
use crate::{session, statements};

statements::sqls! {
    /// The recovery codes go with it.
    REMOVE = "delete from second_factors where user_id = $1";
    REQUIRED_BY = "select a.name from memberships m join accounts a on a.id = m.account_id
        where m.user_id = $1 and a.second_factor_required = 1 order by m.created_ms, a.id limit 1";
    FORGET_PENDING = "delete from pending_sign_ins where user_id = $1";
}

/// Why it stays on.
#[derive(Debug, thiserror::Error)]
pub enum TurnOffError {
    /// An organisation of theirs asks all its people for one.
    #[error("{0} requires a second factor")]
    Required(String),
    /// The code is wrong or was used.
    #[error("the code is wrong")]
    Wrong,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Switches it off for a code of either kind, which is used up. Gives which kind it was.
pub async fn turn_off(db: &Db, user_id: &UserId, code: &str) -> Result<Accepted, TurnOffError> {
    let required: Option<String> =
        read!(db, |p| sqlx::query_scalar(REQUIRED_BY).bind(user_id).fetch_optional(p).await)
            .map_err(DbError::from)?;
    if let Some(name) = required {
        return Err(TurnOffError::Required(name));
    }
    let accepted = check(db, user_id, code).await?.ok_or(TurnOffError::Wrong)?;
    tx!(db, |t| {
        sqlx::query(REMOVE).bind(user_id).execute(&mut *t).await.map_err(DbError::from)?;
    });
    Ok(accepted)
}

/// The operator's way: without a code, and all sessions of this person end. False: they had none.
pub async fn reset(db: &Db, user_id: &UserId) -> Result<bool, DbError> {
    let (removed, watched) = tx!(db, |t| {
        let removed = sqlx::query(REMOVE).bind(user_id).execute(&mut *t).await?.rows_affected();
        sqlx::query(FORGET_PENDING).bind(user_id).execute(&mut *t).await?;
        let (_, watched) = session::end::all_but!(t, user_id, token_hash(""));
        (removed, watched)
    });
    session::end::tell(db, watched);
    Ok(removed > 0)
}
