//! Setting a second factor up: a secret that is shown until the first code of it came, then recovery codes, shown once. From
//! then on whoever was signed in elsewhere, with a password alone, is not any more.

use super::{SECRET, TAKE_STEP, recovery, secret_of, totp};
use crate::clock::now_ms;
use crate::db::{Db, DbError, tx, write};
use crate::secret::{Secret, random_hex, token_hash};
use crate::user::UserId;
use crate::vault::{Purpose, sealed_with};
use crate::{session, statements};

statements::sqls! {
    /// One that is in use stays as it is.
    BEGIN = "insert into second_factors (user_id, secret, sealed_with, last_step, created_ms) values ($1, $2, $3, 0, $4)
        on conflict (user_id) do update set secret = excluded.secret, sealed_with = excluded.sealed_with,
            last_step = 0, created_ms = excluded.created_ms where second_factors.confirmed_ms is null";
    BEGUN = "select secret from second_factors where user_id = $1 and confirmed_ms is null";
    /// Only while it is still the secret that the code was of.
    CONFIRM = "update second_factors set confirmed_ms = $2, last_step = $3
        where user_id = $1 and confirmed_ms is null and secret = $4";
    STORED = "select secret from second_factors where user_id = $1";
    FORGET_CODES = "delete from recovery_codes where user_id = $1";
    INSERT_CODE = "insert into recovery_codes (user_id, code_hash) values ($1, $2)";
}

/// What somebody who sets it up is shown.
#[derive(Clone, Debug)]
pub struct SetUp {
    /// In base 32, for who types it.
    pub secret: Secret,
}

/// Why it was not switched on.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// It was not begun, or is on already.
    #[error("no second factor is being set up")]
    NotBegun,
    /// The code is not one of this secret and time.
    #[error("the code is wrong")]
    Wrong,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Makes a secret for somebody who has no second factor, in place of one that was begun before. False: they have one.
pub async fn begin(db: &Db, user_id: &UserId) -> Result<bool, DbError> {
    let bytes = hex::decode(random_hex::<{ totp::SECRET_BYTES }>()).unwrap_or_default();
    let sealed = db.vault().seal(Purpose::SecondFactor, user_id, &Secret::new(totp::to_base32(&bytes)))?;
    let made = write!(db, |p| sqlx::query(BEGIN)
        .bind(user_id)
        .bind(&sealed)
        .bind(sealed_with(&sealed).unwrap_or_default())
        .bind(now_ms())
        .execute(p)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(made > 0)
}

/// What was begun and not confirmed.
pub async fn set_up(db: &Db, user_id: &UserId) -> Result<Option<SetUp>, DbError> {
    Ok(secret_of(db, user_id, BEGUN).await?.map(|secret| SetUp { secret }))
}

/// Switches it on with a first code, ends all sessions of this person but the one of `keep_token`, and gives the recovery codes:
/// the only moment at which they are known.
pub async fn confirm(
    db: &Db,
    user_id: &UserId,
    code: &str,
    keep_token: &str,
) -> Result<Vec<String>, ConfirmError> {
    let Some(SetUp { secret }) = set_up(db, user_id).await? else { return Err(ConfirmError::NotBegun) };
    let now = now_ms();
    let step = totp::digits_of(code).and_then(|digits| totp::step_of(&secret, digits, now));
    let step = step.ok_or(ConfirmError::Wrong)?;
    let codes = recovery::make();
    let watched = tx!(db, |t| {
        let stored: Option<String> =
            sqlx::query_scalar(STORED).bind(user_id).fetch_optional(&mut *t).await.map_err(DbError::from)?;
        let Some(stored) = stored else { return Err(ConfirmError::NotBegun) };
        let still = db.vault().open(Purpose::SecondFactor, user_id, &stored).map_err(DbError::from)?;
        if still != secret {
            return Err(ConfirmError::Wrong);
        }
        let confirmed = sqlx::query(CONFIRM)
            .bind(user_id)
            .bind(now)
            .bind(step)
            .bind(&stored)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected();
        if confirmed == 0 {
            return Err(ConfirmError::NotBegun);
        }
        put_codes!(t, user_id, &codes);
        let (_, watched) = session::end::all_but!(t, user_id, token_hash(keep_token));
        watched
    });
    session::end::tell(db, watched);
    Ok(codes)
}

/// In the caller's transaction: these recovery codes instead of those of before.
macro_rules! put_codes {
    ($t:ident, $user_id:expr, $codes:expr) => {
        sqlx::query(FORGET_CODES).bind($user_id).execute(&mut *$t).await.map_err(DbError::from)?;
        for code in $codes {
            let normal = recovery::normal(code).unwrap_or_default();
            sqlx::query(INSERT_CODE)
                .bind($user_id)
                .bind(recovery::hash($user_id, &normal))
                .execute(&mut *$t)
                .await
                .map_err(DbError::from)?;
        }
    };
}
use put_codes;

/// Ten new recovery codes, for a code of the app; those of before are good no more. `None`: the code is wrong or was used.
pub async fn new_codes(db: &Db, user_id: &UserId, code: &str) -> Result<Option<Vec<String>>, DbError> {
    let Some(secret) = secret_of(db, user_id, SECRET).await? else { return Ok(None) };
    let step = totp::digits_of(code).and_then(|digits| totp::step_of(&secret, digits, now_ms()));
    let Some(step) = step else { return Ok(None) };
    let codes = recovery::make();
    tx!(db, |t| {
        let taken = sqlx::query(TAKE_STEP).bind(user_id).bind(step).execute(&mut *t).await?.rows_affected();
        if taken == 0 {
            return Ok(None);
        }
        put_codes!(t, user_id, &codes);
    });
    Ok(Some(codes))
}
