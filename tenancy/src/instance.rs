//! Facts of this installation itself, as names and values: the key pair of the system app, and whether anybody is here.
//! Settings are flags, environment and file; only who may sign up can be set here, too, from a page.

use crate::db::{Db, DbError, read, tx};
use crate::secret::{APP_KEY_BYTES, Secret, random_hex};
use crate::statements;
use crate::vault::{Purpose, sealed_with};

statements::sqls! {
    PUT_ONCE = "insert into instance (name, value) values ($1, $2) on conflict (name) do nothing";
    PUT = "insert into instance (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value";
    GET = "select value from instance where name = $1";
    USERS_EXIST = "select count(*) from (select 1 from users where password_hash <> '' limit 1) as some_user";
}

/// The id of the app that stands in the settings of the server that started last.
pub(crate) const STATIC_APP_ID: &str = "static_app_id";
const SIGNUP_MODE: &str = "signup_mode";
/// Of one engine each, and so in no list of statements.
const SQLITE_BYTES: &str = "select page_count * page_size from pragma_page_count(), pragma_page_size()";
const POSTGRES_BYTES: &str = "select pg_database_size(current_database())";
const SYSTEM_APP_KEY: &str = "system_app_key";
pub(crate) const SYSTEM_APP_SECRET: &str = "system_app_secret";
/// What node tokens are signed with.
pub(crate) const NODE_TOKEN_KEY: &str = "node_token_key";
/// Values that are kept sealed.
pub(crate) const SEALED: [&str; 2] = [SYSTEM_APP_SECRET, NODE_TOKEN_KEY];

/// The key pair of the app (id 1) over which dashboard pages listen to a node.
#[derive(Clone, Debug)]
pub struct SystemApp {
    /// Public: pages connect with it.
    pub key: String,
    /// Signs the subscriptions of those pages.
    pub secret: Secret,
}

/// The system app of this installation; made at the first call and kept, so that all its nodes share it.
pub async fn system_app(db: &Db) -> Result<SystemApp, DbError> {
    // Reads first: after the first start this is no write at all.
    if let (Some(key), Some(secret)) = (get(db, SYSTEM_APP_KEY).await?, get(db, SYSTEM_APP_SECRET).await?) {
        return Ok(SystemApp { key, secret: opened(db, SYSTEM_APP_SECRET, &secret)? });
    }
    let secret = sealed(db, SYSTEM_APP_SECRET, &Secret::new(random_hex::<APP_KEY_BYTES>()))?;
    let fresh = [(SYSTEM_APP_KEY, random_hex::<APP_KEY_BYTES>()), (SYSTEM_APP_SECRET, secret)];
    let (key, secret): (String, String) = tx!(db, |t| {
        for (name, value) in &fresh {
            sqlx::query(PUT_ONCE).bind(*name).bind(value).execute(&mut *t).await?;
        }
        // What another node put in the meantime wins.
        let key = sqlx::query_scalar(GET).bind(SYSTEM_APP_KEY).fetch_one(&mut *t).await?;
        let secret = sqlx::query_scalar(GET).bind(SYSTEM_APP_SECRET).fetch_one(&mut *t).await?;
        (key, secret)
    });
    Ok(SystemApp { key, secret: opened(db, SYSTEM_APP_SECRET, &secret)? })
}

/// One of [`SEALED`] as it is kept.
pub(crate) fn sealed(db: &Db, name: &str, clear: &Secret) -> Result<String, DbError> {
    Ok(db.vault().seal(Purpose::Instance, name, clear)?)
}

/// One of [`SEALED`] as it was kept: sealed, or (the system app's secret) in clear by an old release.
pub(crate) fn opened(db: &Db, name: &str, kept: &str) -> Result<Secret, DbError> {
    match sealed_with(kept) {
        Some(_) => Ok(db.vault().open(Purpose::Instance, name, kept)?),
        None => Ok(Secret::new(kept)),
    }
}

/// Keeps the id of an app that stands in the settings from being given to an app of the database, which would be hidden
/// by it. Whether the database has such an app already.
pub async fn reserve_app_id(db: &Db, id: u64) -> Result<bool, DbError> {
    let value = id.to_string();
    if get(db, STATIC_APP_ID).await?.as_deref() != Some(&*value) {
        tx!(db, |t| {
            sqlx::query(PUT).bind(STATIC_APP_ID).bind(&value).execute(&mut *t).await?;
        });
    }
    Ok(crate::app::node_view_by_id(db, id).await?.is_some())
}

/// Who may sign up, as it was set on a page; `None`: the setting holds.
pub async fn signup_mode(db: &Db) -> Result<Option<String>, DbError> {
    get(db, SIGNUP_MODE).await
}

/// Sets who may sign up, for all nodes.
pub async fn set_signup_mode(db: &Db, mode: &str) -> Result<(), DbError> {
    tx!(db, |t| {
        sqlx::query(PUT).bind(SIGNUP_MODE).bind(mode).execute(&mut *t).await?;
    });
    Ok(())
}

/// Bytes of the database.
pub async fn database_bytes(db: &Db) -> Result<u64, DbError> {
    let bytes: i64 = match db {
        Db::Sqlite { r, .. } => sqlx::query_scalar(SQLITE_BYTES).fetch_one(r).await?,
        Db::Pg { pool, .. } => sqlx::query_scalar(POSTGRES_BYTES).fetch_one(pool).await?,
    };
    Ok(bytes.max(0).cast_unsigned())
}

/// Whether somebody has an account here already (the placeholder of `owner` is nobody); until then `/setup` is open to who holds its token.
pub async fn setup_done(db: &Db) -> Result<bool, DbError> {
    let users: i64 = read!(db, |p| sqlx::query_scalar(USERS_EXIST).fetch_one(p).await)?;
    Ok(users > 0)
}

/// Makes a value unless there is one; gives the one that there is then.
pub(crate) async fn get_or_put(db: &Db, name: &str, value: &str) -> Result<String, DbError> {
    Ok(tx!(db, |t| {
        sqlx::query(PUT_ONCE).bind(name).bind(value).execute(&mut *t).await?;
        sqlx::query_scalar(GET).bind(name).fetch_one(&mut *t).await?
    }))
}

/// Sets a value.
pub(crate) async fn put(db: &Db, name: &str, value: &str) -> Result<(), DbError> {
    tx!(db, |t| {
        sqlx::query(PUT).bind(name).bind(value).execute(&mut *t).await?;
    });
    Ok(())
}

pub(crate) async fn get(db: &Db, name: &str) -> Result<Option<String>, DbError> {
    Ok(read!(db, |p| sqlx::query_scalar(GET).bind(name).fetch_optional(p).await)?)
}
