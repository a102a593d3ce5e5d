//! The source of a move, opened by us alone and only to read.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode, SqlitePoolOptions};

use super::side::Side;
use super::{MoveError, migrations};
use crate::backup::sqlite_file;
use crate::changes::ChangeNotice;
use crate::db::Db;
use crate::vault::Vault;

/// In WAL mode this needs the file for oneself if the locking mode is exclusive, and keeps it then. Of SQLite only.
const ALONE: &str = "begin exclusive; commit; pragma query_only = on";
/// A command such as `fanfare apps list` may be about to end.
const ALONE_WITHIN: Duration = Duration::from_secs(1);
/// Servers and commands call themselves so; this command has a name of its own. Of PostgreSQL only.
const OTHERS: &str = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'fanfare'";
/// How long who has just ended may still be listed.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// How we are called meanwhile.
const OWN_NAME: &str = "fanfare db move";
/// One reads, one looks whether somebody came.
const POSTGRES_CONNECTIONS_MAX: u32 = 2;

/// Opens the database at `url` to be moved: it must be there, of this release's schema, and in nobody's use. A SQLite file can't be
/// opened by others until the result is closed. It has no master key yet.
pub async fn open(url: &str) -> Result<Db, MoveError> {
    let db = match sqlite_file(url) {
        Some(file) => {
            if !file.metadata().is_ok_and(|found| found.len() > 0) {
                return Err(MoveError::NoDatabase(file.display().to_string()));
            }
            alone(&file).await?
        }
        None if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            let options: PgConnectOptions = url.parse::<PgConnectOptions>()?.application_name(OWN_NAME);
            let pool =
                PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS_MAX).connect_with(options).await?;
            Db::Pg { pool, notice: ChangeNotice::default(), vault: Vault::none() }
        }
        None => return Err(MoveError::NoSource),
    };
    let began = tokio::time::Instant::now();
    // A backend of PostgreSQL is there for a moment after its server has ended.
    while ensure_unused(&db).await.is_err() && began.elapsed() < GONE_WITHIN {
        tokio::time::sleep(GONE_WITHIN / 20).await;
    }
    ensure_unused(&db).await?;
    let has = Side::reading(&db).await?.try_versions().await?;
    let Some(has) = has else { return Err(MoveError::NoSchema) };
    let known = migrations::sqlite();
    if let Some(newer) = has.iter().find(|version| !known.version_exists(**version)) {
        return Err(MoveError::Newer("source", *newer));
    }
    match known.iter().all(|one| has.contains(&one.version)) {
        true => Ok(db),
        false => Err(MoveError::Older),
    }
}

async fn alone(file: &std::path::Path) -> Result<Db, MoveError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .locking_mode(SqliteLockingMode::Exclusive)
        .busy_timeout(ALONE_WITHIN);
    // One connection is both: the lock is its own.
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = pool.connect_with(options).await.map_err(in_use)?;
    sqlx::raw_sql(ALONE).execute(&pool).await.map_err(in_use)?;
    Ok(Db::Sqlite { r: pool.clone(), w: pool, notice: ChangeNotice::default(), vault: Vault::none() })
}

fn in_use(error: sqlx::Error) -> MoveError {
    const BUSY: &str = "5";
    match error.as_database_error().and_then(|told| told.code()) {
        Some(code) if code == BUSY => MoveError::InUse,
        _ => error.into(),
    }
}

/// Nobody but us has the source open.
pub(super) async fn ensure_unused(db: &Db) -> Result<(), MoveError> {
    let Db::Pg { pool, .. } = db else { return Ok(()) };
    let others: i64 = sqlx::query_scalar(OTHERS).fetch_one(pool).await?;
    match others {
        0 => Ok(()),
        _ => Err(MoveError::InUse),
    }
}
