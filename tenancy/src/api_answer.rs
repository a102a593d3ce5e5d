//! Answers of the management API that are kept for a day, so that a request which comes again under the same key is not done
//! again. Sealed: an answer may hold a secret that is shown once. What is a request, and what an answer, is the API's affair.

use crate::account::AccountId;
use crate::clock::{DAY_MS, MINUTE_MS};
use crate::db::{Db, DbError, tx, write};
use crate::secret::Secret;
use crate::statements;
use crate::token::Bearer;
use crate::vault::Purpose;
use sha2::{Digest, Sha256};

statements::sqls! {
    PURGE = "delete from api_answers where made_ms <= $1";
    COUNT = "select count(*) from api_answers where account_id = $1";
    INSERT = "insert into api_answers (account_id, name, token_id, request_hash, answer, made_ms) values ($1, $2, $3, $4, '', $5)
        on conflict (account_id, name) do nothing";
    FIND = "select request_hash, answer, made_ms from api_answers where account_id = $1 and name = $2";
    TAKE_OVER = "update api_answers set made_ms = $4 where account_id = $1 and name = $2 and made_ms = $3 and answer = ''";
    KEEP = "update api_answers set answer = $4 where account_id = $1 and name = $2 and made_ms = $3";
    FORGET = "delete from api_answers where account_id = $1 and name = $2 and made_ms = $3 and answer = ''";
}

/// How long an answer is kept.
pub const KEPT_MS: i64 = DAY_MS;
/// Keys of one organisation within [`KEPT_MS`].
pub const PER_ACCOUNT_MAX: i64 = 10_000;
/// After this long without an answer, whoever did the request is taken for dead.
pub const UNDER_WAY_MS: i64 = MINUTE_MS;

/// The place of a request that is being done.
#[derive(Clone, Debug)]
pub struct Place {
    account_id: AccountId,
    name: String,
    made_ms: i64,
}

/// What a key stands for.
#[derive(Debug)]
pub enum Begun {
    /// Nothing yet: do the request, then [`keep`] its answer or [`forget`] it.
    Fresh(Place),
    /// It was done; this was the answer.
    Done(Secret),
    /// It is being done at this moment.
    UnderWay,
    /// It was another request.
    Other,
    /// It was done, and its answer can't be opened any more: the master key changed.
    Lost,
    /// The organisation used too many keys today.
    TooMany,
}

/// Looks a key of a token up, and takes it if nobody has. A person whose role changed begins anew.
pub async fn begin(
    db: &Db,
    bearer: &Bearer,
    key: &str,
    request: &[u8],
    now_ms: i64,
) -> Result<Begun, DbError> {
    // A sweep that fails must not refuse a request.
    let swept = write!(db, |p| sqlx::query(PURGE).bind(now_ms - KEPT_MS).execute(p).await.map(drop));
    if let Err(error) = swept {
        tracing::warn!(%error, "old answers of the management API could not be removed");
    }
    let account_id = &bearer.membership.account.id;
    let name = hash(format!("{} {} {key}", bearer.token.id, bearer.membership.role.name()).as_bytes());
    let request_hash = hash(request);
    let place = || Place { account_id: account_id.clone(), name: name.clone(), made_ms: now_ms };
    let found: Option<(String, String, i64)> = tx!(db, |t| {
        let used: i64 = sqlx::query_scalar(COUNT).bind(account_id).fetch_one(&mut *t).await?;
        let found: Option<(String, String, i64)> =
            sqlx::query_as(FIND).bind(account_id).bind(&name).fetch_optional(&mut *t).await?;
        match found {
            Some(found) => Some(found),
            None if used >= PER_ACCOUNT_MAX => return Ok(Begun::TooMany),
            None => {
                let done = sqlx::query(INSERT)
                    .bind(account_id)
                    .bind(&name)
                    .bind(&bearer.token.id)
                    .bind(&request_hash)
                    .bind(now_ms)
                    .execute(&mut *t)
                    .await?;
                match done.rows_affected() {
                    0 => sqlx::query_as(FIND).bind(account_id).bind(&name).fetch_optional(&mut *t).await?,
                    _ => None,
                }
            }
        }
    });
    let Some((first, answer, made_ms)) = found else { return Ok(Begun::Fresh(place())) };
    if first != request_hash {
        return Ok(Begun::Other);
    }
    if !answer.is_empty() {
        let opened = db.vault().open(Purpose::ApiAnswer, &vault_row(account_id, &name), &answer);
        return Ok(opened.map_or(Begun::Lost, Begun::Done));
    }
    if made_ms > now_ms - UNDER_WAY_MS {
        return Ok(Begun::UnderWay);
    }
    let taken = write!(db, |p| sqlx::query(TAKE_OVER)
        .bind(account_id)
        .bind(&name)
        .bind(made_ms)
        .bind(now_ms)
        .execute(p)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(if taken > 0 { Begun::Fresh(place()) } else { Begun::UnderWay })
}

/// Keeps the answer to a request that was done.
pub async fn keep(db: &Db, place: &Place, answer: &Secret) -> Result<(), DbError> {
    let Place { account_id, name, made_ms } = place;
    let sealed = db.vault().seal(Purpose::ApiAnswer, &vault_row(account_id, name), answer)?;
    write!(db, |p| sqlx::query(KEEP)
        .bind(account_id)
        .bind(name)
        .bind(made_ms)
        .bind(&sealed)
        .execute(p)
        .await
        .map(drop))?;
    Ok(())
}

/// The request was refused, and nothing was done: the key is free again.
pub async fn forget(db: &Db, place: &Place) -> Result<(), DbError> {
    let Place { account_id, name, made_ms } = place;
    write!(db, |p| sqlx::query(FORGET).bind(account_id).bind(name).bind(made_ms).execute(p).await.map(drop))?;
    Ok(())
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn vault_row(account_id: &AccountId, name: &str) -> String {
    format!("{account_id}/{name}")
}
