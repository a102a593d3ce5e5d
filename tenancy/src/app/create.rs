//! Making an app: id, key and secret at once, in one transaction with its change row.

use super::{App, AppKey, AppRow, FIRST_ID, FeatureChange, Features, app_columns, normal_name, vault_row};
use crate::account::{self, AccountId};
use crate::clock::now_ms;
use crate::db::{Db, DbError, tx};
use crate::plan::Plan;
use crate::secret::{APP_KEY_BYTES, Secret, random_hex};
use crate::vault::{Purpose, sealed_with};
use crate::{changes, instance, statements};

statements::sqls! {
    COUNT = "select count(*) from apps where account_id = $1";
    NEXT_ID = "update counters set value = value + 1 where name = 'app_id' returning value";
    TAKE_ID = "insert into app_ids (id, account_id, metered_apart) values ($1, $2, $3) on conflict (id) do nothing";
    INSERT = concat!(
        "insert into apps (id, account_id, name, cluster, enabled, client_events, allowed_origins, plan,
            connections_max, created_ms, version, features)
        values ($1, $2, $3, $4, 1, $5, '[]', $6, $7, $8, 1, $9) returning ", app_columns!());
    INSERT_KEY = "insert into app_keys (key, app_id, secret, created_ms, sealed_with, created_by) values ($1, $2, $3, $4, $5, $6)
        on conflict (key) do nothing";
}

/// Characters of an app's name.
pub const NAME_CHARS_MAX: usize = 60;
/// Apps of one account. Each costs a node a snapshot and a row on the page; who needs more can ask for it.
pub const APPS_PER_ACCOUNT_MAX: i64 = 100;
/// Characters of a cluster's name.
const CLUSTER_CHARS_MAX: usize = 20;
/// Characters of a key that the caller brings along.
const KEY_CHARS_MAX: usize = 64;
/// Characters of a secret that the caller brings along; longer ones are hashed by HMAC anyway.
const SECRET_CHARS_MAX: usize = 128;

/// What a new app shall be. What is `None` is made up: the next id, a random key, a random secret, the account's plan.
#[derive(Clone, Copy, Default)]
pub struct NewApp<'a> {
    /// 1 to [`NAME_CHARS_MAX`] characters after trimming.
    pub name: &'a str,
    /// 1 to 20 of `a-z`, `0-9`, `-`.
    pub cluster: &'a str,
    /// An id to keep, from 2 upwards; never one that was given out before.
    pub id: Option<u64>,
    /// A key to keep: 1 to 64 of `A-Z`, `a-z`, `0-9`, `_`, `-`.
    pub key: Option<&'a str>,
    /// A secret to keep: 1 to 128 visible ASCII characters.
    pub secret: Option<&'a str>,
    /// A plan of its own, metered apart from the account.
    pub plan: Option<Plan>,
    /// A cap on connections below the plan's.
    pub connections_max: Option<u64>,
    /// Whether clients may send events themselves.
    pub client_events: bool,
    /// Switches that shall not have their defaults.
    pub features: FeatureChange,
    /// The id of the person who makes it; empty: none does.
    pub created_by: &'a str,
}

impl NewApp<'_> {
    /// Is it well-formed? Whether its id and key are free only [`create`] can tell.
    pub fn check(&self) -> Result<(), CreateAppError> {
        normal_name(self.name).ok_or(CreateAppError::NameInvalid)?;
        if !is_cluster(self.cluster) {
            return Err(CreateAppError::ClusterInvalid);
        }
        self.id.map(id_column).transpose()?;
        if !self.key.is_none_or(is_key) {
            return Err(CreateAppError::KeyInvalid);
        }
        if !self.secret.is_none_or(is_secret) {
            return Err(CreateAppError::SecretInvalid);
        }
        Ok(())
    }
}

impl std::fmt::Debug for NewApp<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewApp")
            .field("name", &self.name)
            .field("cluster", &self.cluster)
            .field("id", &self.id)
            .field("key", &self.key)
            .field("secret", &self.secret.map(Secret::new))
            .field("plan", &self.plan)
            .field("connections_max", &self.connections_max)
            .field("client_events", &self.client_events)
            .field("features", &self.features)
            .finish()
    }
}

/// Why an app was not made. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CreateAppError {
    /// Empty, too long, or with control characters.
    #[error("the name must have 1 to 60 characters")]
    NameInvalid,
    /// Not a cluster's name.
    #[error("the cluster must be 1 to 20 of a-z, 0-9 and -")]
    ClusterInvalid,
    /// Another app has it, or had it once.
    #[error("the id is taken")]
    IdTaken,
    /// 0, 1 (reserved) or too large.
    #[error("the id must be a number from 2 upwards")]
    IdInvalid,
    /// Another app has it.
    #[error("the key is taken")]
    KeyTaken,
    /// Not a key.
    #[error("the key must be 1 to 64 of A-Z, a-z, 0-9, _ and -")]
    KeyInvalid,
    /// Not a secret.
    #[error("the secret must be 1 to 128 visible ASCII characters")]
    SecretInvalid,
    /// The account has [`APPS_PER_ACCOUNT_MAX`] apps.
    #[error("the account has as many apps as it may have")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Makes an app of an account and its first key.
pub async fn create(
    db: &Db,
    account_id: &AccountId,
    new: NewApp<'_>,
) -> Result<(App, AppKey), CreateAppError> {
    new.check()?;
    let name = normal_name(new.name).ok_or(CreateAppError::NameInvalid)?;
    let explicit_id = new.id.map(id_column).transpose()?;
    let key = AppKey {
        key: new.key.map_or_else(random_hex::<APP_KEY_BYTES>, str::to_owned),
        secret: Secret::new(new.secret.map_or_else(random_hex::<APP_KEY_BYTES>, str::to_owned)),
        created_ms: now_ms(),
    };
    let features = Features::default().changed(new.features).to_column();
    let connections_max = new.connections_max.map(|max| i64::try_from(max).unwrap_or(i64::MAX));

    // Rows are locked in one order in all transactions: account, id counter, ids, apps, change counter.
    let row: AppRow = tx!(db, |t| {
        // One at a time per account, or two would both find the last place free.
        sqlx::query(account::LOCK).bind(account_id).execute(&mut *t).await.map_err(DbError::from)?;
        let apps: i64 =
            sqlx::query_scalar(COUNT).bind(account_id).fetch_one(&mut *t).await.map_err(DbError::from)?;
        if apps >= APPS_PER_ACCOUNT_MAX {
            return Err(CreateAppError::TooMany);
        }
        let reserved: Option<String> = sqlx::query_scalar(instance::GET)
            .bind(instance::STATIC_APP_ID)
            .fetch_optional(&mut *t)
            .await
            .map_err(DbError::from)?;
        let reserved = reserved.and_then(|id| id.parse::<i64>().ok());
        let id = loop {
            let id: i64 = match explicit_id {
                Some(id) => id,
                None => sqlx::query_scalar(NEXT_ID).fetch_one(&mut *t).await.map_err(DbError::from)?,
            };
            if reserved == Some(id) {
                match explicit_id {
                    Some(_) => return Err(CreateAppError::IdTaken),
                    None => continue,
                }
            }
            let taken = sqlx::query(TAKE_ID)
                .bind(id)
                .bind(account_id)
                .bind(i64::from(new.plan.is_some()))
                .execute(&mut *t)
                .await
                .map_err(DbError::from)?
                .rows_affected()
                == 0;
            match (taken, explicit_id) {
                (false, _) => break id,
                (true, Some(_)) => return Err(CreateAppError::IdTaken),
                // Somebody asked for this number before the counter came to it: on to the next.
                (true, None) => {}
            }
        };
        let row = sqlx::query_as(INSERT)
            .bind(id)
            .bind(account_id)
            .bind(&name)
            .bind(new.cluster)
            .bind(i64::from(new.client_events))
            .bind(new.plan.map(Plan::name))
            .bind(connections_max)
            .bind(key.created_ms)
            .bind(&features)
            .fetch_one(&mut *t)
            .await
            .map_err(DbError::from)?;
        let row_name = vault_row(id.cast_unsigned(), &key.key);
        let sealed = db.vault().seal(Purpose::AppSecret, &row_name, &key.secret).map_err(DbError::from)?;
        let inserted = sqlx::query(INSERT_KEY)
            .bind(&key.key)
            .bind(id)
            .bind(&sealed)
            .bind(key.created_ms)
            .bind(sealed_with(&sealed))
            .bind(new.created_by)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected();
        if inserted == 0 {
            return Err(CreateAppError::KeyTaken);
        }
        changes::record!(t, id);
        row
    });
    db.notice().notify();
    Ok((App::from_row(row)?, key))
}

fn id_column(id: u64) -> Result<i64, CreateAppError> {
    i64::try_from(id).ok().filter(|id| *id >= 2).ok_or(CreateAppError::IdInvalid)
}

fn is_cluster(text: &str) -> bool {
    (1..=CLUSTER_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

pub(crate) fn is_key(text: &str) -> bool {
    (1..=KEY_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn is_secret(text: &str) -> bool {
    (1..=SECRET_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

const _: () = assert!(FIRST_ID == 1001, "migration 0002 starts the counter at 1000");
