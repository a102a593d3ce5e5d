//! A person gives themselves a new password: the present one proves that it is them, and whoever else is signed in as them
//! is signed out. Slowing guesses down is the caller's work.

use crate::db::{Db, DbError, read, tx};
use crate::password::{self, Refused};
use crate::secret::token_hash;
use crate::session;
use crate::statements;
use crate::user::User;

statements::sqls! {
    HASH_OF_USER = "select password_hash from users where id = $1";
    /// Only if it is still the hash that was checked: of two changes at once, one finds its present password outdated.
    CHANGE = "update users set password_hash = $1 where id = $2 and password_hash = $3";
    FORGET_LINKS = "delete from login_tokens where user_id = $1";
}

/// Why a password was not changed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordError {
    /// The present password is another.
    #[error("the present password is wrong")]
    Wrong,
    /// The new one is too short.
    #[error("the new password is too short")]
    TooShort,
    /// The new one is too long.
    #[error("the new password is too long")]
    TooLong,
    /// The new one is among those that attackers try first.
    #[error("the new password is too common")]
    TooCommon,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<Refused> for ChangePasswordError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Short => ChangePasswordError::TooShort,
            Refused::Long => ChangePasswordError::TooLong,
            Refused::Common => ChangePasswordError::TooCommon,
        }
    }
}

/// Changes the password of `user` and, in the same transaction, ends their sessions except the one of `keep_token` and
/// their sign-in links; returns how many sessions ended. The present password is checked before the new one is judged:
/// only who knows it learns more than that it is wrong.
pub async fn change_password(
    db: &Db,
    user: &User,
    present: &str,
    new: &str,
    keep_token: &str,
) -> Result<u64, ChangePasswordError> {
    let Some(old_hash) = fitting_hash(db, user, present).await? else {
        return Err(ChangePasswordError::Wrong);
    };
    password::judge(new, &user.email)?;
    let new_hash = password::hash(new).await?;
    let (ended, watched) = tx!(db, |t| {
        let changed = sqlx::query(CHANGE)
            .bind(&new_hash)
            .bind(&user.id)
            .bind(&old_hash)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected();
        if changed == 0 {
            return Err(ChangePasswordError::Wrong);
        }
        sqlx::query(FORGET_LINKS).bind(&user.id).execute(&mut *t).await.map_err(DbError::from)?;
        session::end::all_but!(t, &user.id, token_hash(keep_token))
    });
    session::end::tell(db, watched);
    Ok(ended)
}

/// The stored hash of this user, if `password` fits it.
pub(crate) async fn fitting_hash(db: &Db, user: &User, password: &str) -> Result<Option<String>, DbError> {
    if !password::may_be_password(password) {
        return Ok(None);
    }
    let hash: Option<String> =
        read!(db, |p| sqlx::query_scalar(HASH_OF_USER).bind(&user.id).fetch_optional(p).await)?;
    let Some(hash) = hash.filter(|hash| password::is_hash(hash)) else { return Ok(None) };
    Ok(password::verify(password, Some(&hash)).await?.then_some(hash))
}
