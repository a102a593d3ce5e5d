//! The second factor of a person: codes of an authenticator app (TOTP), and recovery codes for when it is lost. Each code is
//! good once. Asking for one at the right moments, and slowing guesses down, is the caller's work.
//!
//! Setting it up is in `second_factor/setup.rs`, ending it in `second_factor/end.rs`, that an organisation asks for it in [`crate::require`].

pub(crate) mod end;
pub mod recovery;
pub(crate) mod setup;
pub mod totp;

pub use end::{TurnOffError, reset, turn_off};
pub use setup::{ConfirmError, SetUp, begin, confirm, new_codes, set_up};

use crate::clock::now_ms;
use crate::db::{Db, DbError, read, write};
use crate::secret::Secret;
use crate::statements;
use crate::user::UserId;
use crate::vault::Purpose;

statements::sqls! {
    STANDING = "select confirmed_ms, (select count(*) from recovery_codes r where r.user_id = f.user_id)
        from second_factors f where user_id = $1";
    SECRET = "select secret from second_factors where user_id = $1 and confirmed_ms is not null";
    /// Of two that give the same code at once, one finds the step taken.
    TAKE_STEP = "update second_factors set last_step = $2
        where user_id = $1 and last_step < $2 and confirmed_ms is not null";
    TAKE_RECOVERY = "delete from recovery_codes where user_id = $1 and code_hash = $2";
    LEFT = "select count(*) from recovery_codes where user_id = $1";
}

/// How a person stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They have none.
    Off,
    /// They began to set one up, and no code came yet: nothing asks for one.
    Begun,
    /// It is asked for.
    On {
        /// Since when.
        since_ms: i64,
        /// Recovery codes that weren't used.
        codes_left: u64,
    },
}

impl Standing {
    /// Is a code asked for?
    pub fn is_on(self) -> bool {
        matches!(self, Standing::On { .. })
    }
}

/// A code that was good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// One of the app.
    App,
    /// A recovery code; it is used up.
    Recovery {
        /// How many are left.
        left: u64,
    },
}

/// How this person stands.
pub async fn standing(db: &Db, user_id: &UserId) -> Result<Standing, DbError> {
    let row: Option<(Option<i64>, i64)> =
        read!(db, |p| sqlx::query_as(STANDING).bind(user_id).fetch_optional(p).await)?;
    Ok(match row {
        None => Standing::Off,
        Some((None, _)) => Standing::Begun,
        Some((Some(since_ms), left)) => Standing::On { since_ms, codes_left: left.max(0).cast_unsigned() },
    })
}

/// Takes a code of this person, of either kind. `None`: it is wrong, or was used, or they have no second factor.
pub async fn check(db: &Db, user_id: &UserId, code: &str) -> Result<Option<Accepted>, DbError> {
    check_at(db, user_id, code, now_ms()).await
}

/// [`check`] at a given time.
pub async fn check_at(
    db: &Db,
    user_id: &UserId,
    code: &str,
    now_ms: i64,
) -> Result<Option<Accepted>, DbError> {
    let Some(secret) = secret_of(db, user_id, SECRET).await? else { return Ok(None) };
    if let Some(digits) = totp::digits_of(code) {
        let Some(step) = totp::step_of(&secret, digits, now_ms) else { return Ok(None) };
        return Ok(take_step(db, user_id, step).await?.then_some(Accepted::App));
    }
    let Some(code) = recovery::normal(code) else { return Ok(None) };
    let taken = write!(db, |p| sqlx::query(TAKE_RECOVERY)
        .bind(user_id)
        .bind(recovery::hash(user_id, &code))
        .execute(p)
        .await
        .map(|done| done.rows_affected()))?;
    if taken == 0 {
        return Ok(None);
    }
    let left: i64 = read!(db, |p| sqlx::query_scalar(LEFT).bind(user_id).fetch_one(p).await)?;
    Ok(Some(Accepted::Recovery { left: left.max(0).cast_unsigned() }))
}

async fn take_step(db: &Db, user_id: &UserId, step: i64) -> Result<bool, DbError> {
    let taken = write!(db, |p| sqlx::query(TAKE_STEP)
        .bind(user_id)
        .bind(step)
        .execute(p)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(taken > 0)
}

/// The shared secret that a statement finds, in base 32.
async fn secret_of(db: &Db, user_id: &UserId, statement: &'static str) -> Result<Option<Secret>, DbError> {
    let sealed: Option<String> =
        read!(db, |p| sqlx::query_scalar(statement).bind(user_id).fetch_optional(p).await)?;
    Ok(sealed.map(|sealed| db.vault().open(Purpose::SecondFactor, user_id, &sealed)).transpose()?)
}
