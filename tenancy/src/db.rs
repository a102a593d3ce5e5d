//! One URL gives SQLite or PostgreSQL: pools, pragmas, migrations, and the macros that send one SQL text to either.
//! It knows no table. Statements live beside their noun; `$1` placeholders work on both engines.

use crate::changes::ChangeNotice;
use crate::vault::{Vault, VaultError};
use crate::{migrations, statements};
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

statements::sqls! {
    PING = "select 1";
}

/// Readers of a SQLite file. WAL lets them read beside the one writer.
const SQLITE_READERS_MAX: u32 = 4;
/// Connections of one node to PostgreSQL; its default limit is 100 for all nodes together.
const POSTGRES_CONNECTIONS_MAX: u32 = 10;
/// How long SQLite waits for another process that holds the write lock (`fanfare apps create` beside a server).
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a free connection before it gets an error.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries to turn a file to WAL.
const SQLITE_WAL_AGAIN: Duration = Duration::from_millis(20);
/// Tries of a migration that another process may be doing at the same time.
const SQLITE_MIGRATE_TRIES: u32 = 5;

/// A database. Cloning it is cheap and shares the pools and the change notice.
#[derive(Clone)]
pub enum Db {
    /// A SQLite file.
    Sqlite {
        /// Readers; they cannot write.
        r: SqlitePool,
        /// The one writer: SQLite has one write lock, and waiting for it in our queue is fairer than in SQLite's.
        w: SqlitePool,
        /// Wakes who waits for a change of an app.
        notice: ChangeNotice,
        /// Seals and opens secrets.
        vault: Vault,
    },
    /// A PostgreSQL database.
    Pg {
        /// Connections for all uses.
        pool: PgPool,
        /// Wakes who waits for a change of an app.
        notice: ChangeNotice,
        /// Seals and opens secrets.
        vault: Vault,
    },
}

/// The database did not do what was asked. Nothing of the verb that returns it has happened; log it once and answer
/// "try again later".
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DbError(Cause);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("schema: {0}")]
    Migrate(#[from] MigrateError),
    #[error("database address: {0}")]
    Url(&'static str),
    #[error("database file {0}: {1}")]
    File(String, std::io::Error),
    #[error("database row that this version does not understand: {0}")]
    Row(&'static str),
    #[error("the work was stopped: the process is shutting down")]
    Stopped,
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Only which engine it is: an address can hold a password.
impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Db::Sqlite { .. } => "Db::Sqlite",
            Db::Pg { .. } => "Db::Pg",
        })
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        DbError(Cause::Sql(error))
    }
}

impl From<VaultError> for DbError {
    fn from(error: VaultError) -> Self {
        DbError(Cause::Vault(error))
    }
}

impl DbError {
    /// A row holds what this version cannot read, such as a plan of a newer release.
    pub(crate) fn row(what: &'static str) -> DbError {
        DbError(Cause::Row(what))
    }

    pub(crate) fn stopped() -> DbError {
        DbError(Cause::Stopped)
    }
}

/// Runs a read on a reader (SQLite) or on the pool.
macro_rules! read {
    ($db:expr, |$p:ident| $body:expr) => {
        match $db {
            $crate::db::Db::Sqlite { r: $p, .. } => $body,
            $crate::db::Db::Pg { pool: $p, .. } => $body,
        }
    };
}
pub(crate) use read;

/// Runs one writing statement on the writer (SQLite) or on the pool.
macro_rules! write {
    ($db:expr, |$p:ident| $body:expr) => {
        match $db {
            $crate::db::Db::Sqlite { w: $p, .. } => $body,
            $crate::db::Db::Pg { pool: $p, .. } => $body,
        }
    };
}
pub(crate) use write;

/// Runs a block in a transaction and commits it; leaving the block early (`?`, `return`) or dropping the future rolls
/// back. The body is compiled once per engine. SQLite begins `immediate`: a transaction that reads first and then
/// wants to write would otherwise fail at once instead of waiting.
macro_rules! tx {
    ($db:expr, |$t:ident| $body:block) => {
        match $db {
            $crate::db::Db::Sqlite { w, .. } => {
                let mut $t = w.begin_with("begin immediate").await.map_err($crate::db::DbError::from)?;
                let out = $body;
                $t.commit().await.map_err($crate::db::DbError::from)?;
                out
            }
            $crate::db::Db::Pg { pool, .. } => {
                let mut $t = pool.begin().await.map_err($crate::db::DbError::from)?;
                let out = $body;
                $t.commit().await.map_err($crate::db::DbError::from)?;
                out
            }
        }
    };
}
pub(crate) use tx;

impl Db {
    /// Opens `sqlite:PATH` (relative or absolute; makes the file with mode 0600 and missing folders with 0700),
    /// `sqlite::memory:` (one connection, gone with the last clone; for tests) or `postgres://…`.
    /// It does not migrate, and it has no master key yet: see [`Db::with_vault`]. Errors: address not understood, file not writable, server not reachable.
    pub async fn connect(url: &str) -> Result<Db, DbError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            return match path.strip_prefix("//").unwrap_or(path) {
                ":memory:" => connect_memory().await,
                "" => Err(DbError(Cause::Url("sqlite: needs a path"))),
                path if path.contains('?') => Err(DbError(Cause::Url("sqlite: takes a path and no options"))),
                path => connect_file(Path::new(path)).await,
            };
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return connect_postgres(url).await;
        }
        Err(DbError(Cause::Url("it must begin with sqlite: or postgres://")))
    }

    /// The same database with master keys: only then secrets of apps are made and read. A database in memory has a key that
    /// ends with it.
    pub fn with_vault(mut self, new: Vault) -> Db {
        match &mut self {
            Db::Sqlite { vault, .. } | Db::Pg { vault, .. } => *vault = new,
        }
        self
    }

    /// The master keys.
    pub fn vault(&self) -> &Vault {
        match self {
            Db::Sqlite { vault, .. } | Db::Pg { vault, .. } => vault,
        }
    }

    /// Brings the schema up to date. Safe to run from several processes at once.
    pub async fn migrate(&self) -> Result<(), DbError> {
        match self {
            Db::Pg { pool, .. } => {
                migrations::postgres().run(pool).await.map_err(|e| DbError(Cause::Migrate(e)))
            }
            Db::Sqlite { w, .. } => migrate_sqlite(w).await,
        }
    }

    /// Whether the database answers; for `/readyz`.
    pub async fn ping(&self) -> Result<(), DbError> {
        read!(self, |p| sqlx::query(PING).execute(p).await.map(drop))?;
        Ok(())
    }

    /// Resolves when this process wrote a change of an app since the last call resolved, so that a poller of
    /// [`crate::changes::since`] need not wait for its interval. It may resolve once too often, never too seldom.
    /// *Cancel*: nothing is lost.
    pub async fn changed(&self) {
        self.notice().changed().await;
    }

    /// The notice that [`Db::changed`] waits on.
    pub fn notice(&self) -> &ChangeNotice {
        match self {
            Db::Sqlite { notice, .. } | Db::Pg { notice, .. } => notice,
        }
    }

    /// Closes all connections after their present work; SQLite then folds its log into the file.
    pub async fn close(&self) {
        match self {
            Db::Sqlite { r, w, .. } => {
                r.close().await;
                w.close().await;
            }
            Db::Pg { pool, .. } => pool.close().await,
        }
    }
}

/// sqlx holds a lock between processes on PostgreSQL only. Here the loser of a race fails (a table exists already) and
/// finds the work done at the next try.
async fn migrate_sqlite(w: &SqlitePool) -> Result<(), DbError> {
    let mut tries = 1;
    while let Err(error) = migrations::sqlite().run(w).await {
        let edited = matches!(error, MigrateError::VersionMismatch(_));
        if edited || tries == SQLITE_MIGRATE_TRIES {
            return Err(DbError(Cause::Migrate(error)));
        }
        tokio::time::sleep(Duration::from_millis(50 << tries)).await;
        tries += 1;
    }
    Ok(())
}

async fn connect_file(path: &Path) -> Result<Db, DbError> {
    make_file(path).map_err(|error| DbError(Cause::File(path.display().to_string(), error)))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(SQLITE_BUSY_TIMEOUT);
    // What is deleted or replaced is overwritten: a secret that stood in clear must not stay in the file.
    let writer = options
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("secure_delete", "on");
    // The writer first: it turns the file to WAL, which readers cannot.
    let w = connect_writer(writer).await?;
    // `query_only` and not a read-only open, which cannot make the shared-memory file that WAL needs.
    let r = sqlite_pool(SQLITE_READERS_MAX).connect_with(options.pragma("query_only", "on")).await?;
    Ok(Db::Sqlite { r, w, notice: ChangeNotice::default(), vault: Vault::none() })
}

/// Waits while another process has the file. SQLite itself does not: turning a file to WAL makes a writer of a reader, and for that
/// it asks no busy timeout, but fails at once. Later openers find WAL and write nothing.
async fn connect_writer(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let began = Instant::now();
    loop {
        match sqlite_pool(1).connect_with(options.clone()).await {
            Err(error) if is_busy(&error) && began.elapsed() < SQLITE_BUSY_TIMEOUT => {
                tokio::time::sleep(SQLITE_WAL_AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}

/// SQLITE_BUSY, whatever its upper bits say of why.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

async fn connect_memory() -> Result<Db, DbError> {
    let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
    let w = sqlite_pool(1).connect_with(options).await?;
    Ok(Db::Sqlite { r: w.clone(), w, notice: ChangeNotice::default(), vault: Vault::fresh() })
}

fn sqlite_pool(connections_max: u32) -> SqlitePoolOptions {
    // A connection to a file does not go stale, and one to memory is the database itself: keep them.
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
}

async fn connect_postgres(url: &str) -> Result<Db, DbError> {
    let options: PgConnectOptions = url.parse::<PgConnectOptions>()?.application_name("fanfare");
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await?;
    Ok(Db::Pg { pool, notice: ChangeNotice::default(), vault: Vault::none() })
}

/// Makes the file before SQLite does, because SQLite would make it readable for everybody; its log and shared-memory
/// files take over this mode. An existing file keeps its mode: it may be shared on purpose.
fn make_file(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn an_address_that_is_not_understood_is_refused_with_a_sentence() {
        for url in ["", "mysql://x", "sqlite:", "sqlite:a.db?mode=rwc"] {
            let error = Db::connect(url).await.unwrap_err().to_string();
            assert!(error.starts_with("database address: "), "{error}");
        }
    }

    #[tokio::test]
    async fn a_new_file_that_another_process_writes_to_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fanfare.db");
        make_file(&path).unwrap();
        let other = sqlite_pool(1).connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
        let mut held = other.begin_with("begin immediate").await.unwrap();
        sqlx::query("create table theirs (id integer)").execute(&mut *held).await.unwrap();
        let mut connecting = tokio::spawn(async move { connect_file(&path).await });
        let early = tokio::time::timeout(Duration::from_millis(300), &mut connecting).await;
        assert!(early.is_err(), "it came back while the file was held: {early:?}");
        held.commit().await.unwrap();
        other.close().await;
        connecting.await.unwrap().unwrap().ping().await.unwrap();
    }

    #[tokio::test]
    async fn the_file_and_its_folder_are_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let db = Db::connect(&format!("sqlite://{}/x.db", folder.display())).await.unwrap();
        db.migrate().await.unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        for name in ["x.db", "x.db-wal", "x.db-shm"] {
            assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
        }
    }

    #[tokio::test]
    async fn readers_cannot_write_and_the_pragmas_are_set() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::connect(&format!("sqlite:{}/x.db", dir.path().display())).await.unwrap();
        let Db::Sqlite { r, w, .. } = &db else { unreachable!() };
        assert!(sqlx::query("create table t (a bigint)").execute(r).await.is_err());
        let journal: String = sqlx::query_scalar("pragma journal_mode").fetch_one(w).await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("pragma synchronous").fetch_one(w).await.unwrap();
        let foreign_keys: i64 = sqlx::query_scalar("pragma foreign_keys").fetch_one(w).await.unwrap();
        let busy_ms: i64 = sqlx::query_scalar("pragma busy_timeout").fetch_one(r).await.unwrap();
        assert_eq!((journal.as_str(), synchronous, foreign_keys, busy_ms), ("wal", 1, 1, 5000));
    }

    #[tokio::test]
    async fn memory_is_one_database_for_reader_and_writer() {
        let db = Db::connect("sqlite::memory:").await.unwrap();
        db.migrate().await.unwrap();
        db.ping().await.unwrap();
        assert!(!crate::instance::setup_done(&db).await.unwrap());
    }
}
