//! Which secrets of the database are sealed with which master key, and sealing them anew: those that stand in clear, as a
//! release before this one wrote them, and those of a master key that shall go. What sealing is stands in [`crate::vault`].

use crate::app::vault_row;
use crate::db::{Db, DbError, read, tx, write};
use crate::instance;
use crate::secret::Secret;
use crate::statements;
use crate::vault::{Purpose, VaultError, sealed_with};
use crate::webhook_endpoint::headers;

statements::sqls! {
    COUNTS = "select sealed_with, count(*) from app_keys group by sealed_with order by sealed_with";
    NOT_YET = "select key, app_id, secret, sealed_with from app_keys where sealed_with <> $1 and key > $2
        order by key limit $3";
    /// Only if nobody was quicker, and not for a pair that was deleted meanwhile.
    RESEAL = "update app_keys set secret = $1, sealed_with = $2 where key = $3 and secret = $4";
    FACTOR_COUNTS = "select sealed_with, count(*) from second_factors group by sealed_with order by sealed_with";
    FACTORS_NOT_YET = "select user_id, secret from second_factors where sealed_with <> $1 and user_id > $2
        order by user_id limit $3";
    RESEAL_FACTOR = "update second_factors set secret = $1, sealed_with = $2 where user_id = $3 and secret = $4";
    RESEAL_INSTANCE = "update instance set value = $1 where name = $2 and value = $3";
}

/// Of SQLite only, and so in no list of statements.
const COMPACT: &str = "vacuum";
const FOLD: &str = "pragma wal_checkpoint(truncate)";
/// Secrets sealed in one transaction: others write in between.
const BATCH: i64 = 200;

/// How many secrets are sealed with a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The name of the key; empty: they stand in clear.
    pub key_id: String,
    /// Secrets of apps, headers of webhook endpoints, the secret of the dashboard's own app, the key of node tokens, and secrets of second factors.
    pub secrets: u64,
}

/// All master keys that something is sealed with, and how much still stands in clear.
pub async fn status(db: &Db) -> Result<Vec<Sealed>, DbError> {
    let rows: Vec<(String, i64)> = read!(db, |p| sqlx::query_as(COUNTS).fetch_all(p).await)?;
    let mut all: Vec<Sealed> = rows
        .into_iter()
        .map(|(key_id, count)| Sealed { key_id, secrets: count.max(0).cast_unsigned() })
        .collect();
    let mut more: Vec<(String, i64)> = read!(db, |p| sqlx::query_as(FACTOR_COUNTS).fetch_all(p).await)?;
    more.extend(headers::sealed_by(db).await?.into_iter().map(|key_id| (key_id, 1)));
    for name in instance::SEALED {
        if let Some(value) = instance::get(db, name).await? {
            more.push((sealed_with(&value).unwrap_or_default().to_owned(), 1));
        }
    }
    for (key_id, count) in more {
        let secrets = count.max(0).cast_unsigned();
        match all.iter_mut().find(|one| one.key_id == key_id) {
            Some(one) => one.secrets += secrets,
            None => all.push(Sealed { key_id, secrets }),
        }
    }
    Ok(all)
}

/// Opens one sealed secret of each kind that there is, as proof that the master keys here are those of this database; gives how
/// many those were. Error: one does not open.
pub async fn try_open(db: &Db) -> Result<u64, DbError> {
    let mut opened = 0;
    let pair: Option<(String, i64, String, String)> =
        read!(db, |p| sqlx::query_as(NOT_YET).bind("").bind("").bind(1i64).fetch_optional(p).await)?;
    if let Some((key, app_id, secret, _)) = pair {
        db.vault().open(Purpose::AppSecret, &vault_row(app_id.cast_unsigned(), &key), &secret)?;
        opened += 1;
    }
    let factor: Option<(String, String)> =
        read!(db, |p| sqlx::query_as(FACTORS_NOT_YET).bind("").bind("").bind(1i64).fetch_optional(p).await)?;
    if let Some((user_id, secret)) = factor {
        db.vault().open(Purpose::SecondFactor, &user_id, &secret)?;
        opened += 1;
    }
    if let Some(value) = instance::get(db, instance::SYSTEM_APP_SECRET).await?
        && sealed_with(&value).is_some()
    {
        instance::opened(db, instance::SYSTEM_APP_SECRET, &value)?;
        opened += 1;
    }
    Ok(opened)
}

/// Seals with the first master key all that is in clear or sealed with another one; gives how many secrets that were.
/// Nodes and pages may work meanwhile. What can't be opened stays as it is, and the last such error is given at the end.
pub async fn seal_all(db: &Db) -> Result<u64, DbError> {
    let id = db.vault().sealing_id()?;
    let (mut sealed, mut were_clear, mut failed) = (0, false, None);
    let mut after = String::new();
    loop {
        let rows: Vec<(String, i64, String, String)> =
            read!(db, |p| sqlx::query_as(NOT_YET).bind(&id).bind(&after).bind(BATCH).fetch_all(p).await)?;
        let Some((last, ..)) = rows.last() else { break };
        after.clone_from(last);
        let mut fresh = Vec::new();
        for (key, app_id, stored, with) in rows {
            let row = vault_row(app_id.cast_unsigned(), &key);
            let clear = match with.as_str() {
                "" => {
                    were_clear = true;
                    Ok(Secret::new(stored.as_str()))
                }
                _ => db.vault().open(Purpose::AppSecret, &row, &stored),
            };
            match clear.and_then(|clear| db.vault().seal(Purpose::AppSecret, &row, &clear)) {
                Ok(sealed) => fresh.push((key, stored, sealed)),
                Err(error) => failed = Some(error),
            }
        }
        tx!(db, |t| {
            for (key, stored, text) in &fresh {
                let with = sealed_with(text).unwrap_or_default();
                let done =
                    sqlx::query(RESEAL).bind(text).bind(with).bind(key).bind(stored).execute(&mut *t).await?;
                sealed += done.rows_affected();
            }
        });
    }
    let resealed = headers::seal_all(db, &id).await?;
    sealed += resealed.count;
    were_clear |= resealed.were_clear;
    failed = resealed.failed.or(failed);
    let factors = seal_factors(db, &id).await?;
    sealed += factors.0;
    failed = factors.1.or(failed);
    for name in instance::SEALED {
        let Some(value) = instance::get(db, name).await? else { continue };
        if sealed_with(&value) == Some(&*id) {
            continue;
        }
        were_clear |= sealed_with(&value).is_none();
        let fresh = instance::sealed(db, name, &instance::opened(db, name, &value)?)?;
        sealed += write!(db, |p| sqlx::query(RESEAL_INSTANCE)
            .bind(fresh)
            .bind(name)
            .bind(&value)
            .execute(p)
            .await
            .map(|done| done.rows_affected()))?;
    }
    if were_clear {
        forget_old_pages(db).await?;
    }
    failed.map_or(Ok(sealed), |error| Err(error.into()))
}

/// The second factors; they never stood in clear.
async fn seal_factors(db: &Db, id: &str) -> Result<(u64, Option<VaultError>), DbError> {
    let (mut sealed, mut failed, mut after) = (0, None, String::new());
    loop {
        let rows: Vec<(String, String)> = read!(db, |p| sqlx::query_as(FACTORS_NOT_YET)
            .bind(id)
            .bind(&after)
            .bind(BATCH)
            .fetch_all(p)
            .await)?;
        let Some((last, _)) = rows.last() else { return Ok((sealed, failed)) };
        after.clone_from(last);
        for (user_id, stored) in rows {
            let clear = db.vault().open(Purpose::SecondFactor, &user_id, &stored);
            match clear.and_then(|clear| db.vault().seal(Purpose::SecondFactor, &user_id, &clear)) {
                Ok(text) => {
                    sealed += write!(db, |p| sqlx::query(RESEAL_FACTOR)
                        .bind(&text)
                        .bind(sealed_with(&text).unwrap_or_default())
                        .bind(&user_id)
                        .bind(&stored)
                        .execute(p)
                        .await
                        .map(|done| done.rows_affected()))?;
                }
                Err(error) => failed = Some(error),
            }
        }
    }
}

/// Secrets that stood in clear may still be in parts of the file that are not in use: SQLite writes it anew. PostgreSQL does
/// so in its own time.
async fn forget_old_pages(db: &Db) -> Result<(), DbError> {
    if let Db::Sqlite { w, .. } = db {
        sqlx::query(COMPACT).execute(w).await?;
        sqlx::query(FOLD).execute(w).await?;
    }
    Ok(())
}
