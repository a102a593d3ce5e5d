//! A backup of a SQLite database as one file, made while servers read and write it, and the way back from it.
//! PostgreSQL has tools of its own for this (`pg_dump`), so nothing here speaks to it.
//!
//! The master key is not in a backup unless that is asked for: who finds the file then has every secret of every app.

mod archive;
mod restore;

pub use archive::{KeyNote, Manifest};
pub use restore::{MasterKey, Restored, Target, restore};

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::clock::now_ms;
use crate::db::{Db, DbError};
use crate::secret::{Secret, random_hex};
use crate::{migrations, sealing};

/// Of SQLite only, and so in no list of statements.
const SNAPSHOT: &str = "vacuum into $1";
const INTEGRITY: &str = "pragma integrity_check(1)";
const VERSIONS: &str = "select version from _sqlx_migrations order by version";
/// How long the snapshot waits for a writer that holds the file alone, as a fold of the log does for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes read at once while a file is summed up or copied.
const CHUNK_BYTES: usize = 128 * 1024;

/// Why there is no backup, or why it was not taken back. Nothing that was there before is changed then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The address of the database is one of PostgreSQL, or of a database in memory.
    #[error("this is no SQLite file")]
    NotSqlite,
    /// There is no database to back up.
    #[error("there is no database at {0}")]
    NoDatabase(PathBuf),
    /// A backup never overwrites.
    #[error("{0} exists already: name another file")]
    Exists(PathBuf),
    /// SQLite finds the database itself damaged.
    #[error("the database is damaged: {0}")]
    DatabaseDamaged(String),
    /// The file is no backup, or of a form that this release does not know.
    #[error("{0} is not a backup of Fanfare that this release can read: {1}")]
    NotABackup(PathBuf, &'static str),
    /// The file is cut off or was changed.
    #[error("this backup is damaged: {0}. Take another one.")]
    Damaged(String),
    /// The backup is of a release with a schema that this one does not know.
    #[error(
        "this backup was made by Fanfare {made_by} with schema {has}, and this release knows schemas up to {knows}: restore it \
         with that release or a newer one"
    )]
    Newer {
        /// Release that made it.
        made_by: String,
        /// Its schema.
        has: i64,
        /// The newest schema of this release.
        knows: i64,
    },
    /// A server or a command has the database open.
    #[error(
        "{0} is in use: stop the server (and every `fanfare` command) that has it open, then restore again"
    )]
    InUse(PathBuf),
    /// There is data already.
    #[error("{0} holds data: `--force` replaces it and keeps what is there beside it")]
    DataThere(PathBuf),
    /// A file could not be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The database could not be read or written.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<sqlx::Error> for BackupError {
    fn from(error: sqlx::Error) -> Self {
        BackupError::Db(error.into())
    }
}

/// The file of a database address; `None` for PostgreSQL and for a database in memory.
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    (!path.is_empty() && path != ":memory:").then(|| PathBuf::from(path))
}

/// The newest schema that this release knows.
pub fn schema_known() -> i64 {
    migrations::sqlite().iter().map(|one| one.version).max().unwrap_or(0)
}

/// Backs the SQLite file `database` up into the new file `to` (mode 0600), with `master_key` in it if there is one. Servers go on
/// reading and writing meanwhile; the backup is the state of one moment. It takes the room of the database twice while it is
/// made. *Cancel*: nothing stays behind but perhaps a `.partial-` file beside `to`.
pub async fn make(
    database: &Path,
    to: &Path,
    master_key: Option<&Secret>,
    release: &str,
) -> Result<Manifest, BackupError> {
    if !database.exists() {
        return Err(BackupError::NoDatabase(database.to_owned()));
    }
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let copy = Scratch::beside(to)?;
    snapshot(database, copy.path()).await?;
    let schema = checked(copy.path()).await?.into_iter().max().unwrap_or(0);
    let keys = key_note(copy.path(), master_key).await?;
    let (copy_path, to, release) = (copy.path().to_owned(), to.to_owned(), release.to_owned());
    let key = master_key.cloned();
    let written = tokio::task::spawn_blocking(move || {
        let sum = Sum::of(&copy_path)?;
        let manifest = Manifest::new(&release, now_ms(), schema, sum, keys);
        archive::write(&to, &manifest, &copy_path, key.as_ref())?;
        Ok(manifest)
    });
    written.await.map_err(|_| DbError::stopped())?
}

/// The state of one moment as a file of its own, without the pages that are not in use.
async fn snapshot(database: &Path, into: &Path) -> Result<(), BackupError> {
    let mut conn = alone(database).await?;
    let done = sqlx::query(SNAPSHOT).bind(into.to_string_lossy()).execute(&mut conn).await;
    conn.close().await?;
    done.map(drop).map_err(damage_or_error)
}

/// A connection beside all pools: it must not keep the one writer of a server waiting.
async fn alone(database: &Path) -> Result<SqliteConnection, BackupError> {
    let options =
        SqliteConnectOptions::new().filename(database).create_if_missing(false).busy_timeout(BUSY_TIMEOUT);
    Ok(options.connect().await?)
}

/// Looks the whole file over; gives the versions of its schema.
async fn checked(file: &Path) -> Result<Vec<i64>, BackupError> {
    let mut conn = alone(file).await?;
    let said: Result<String, _> = sqlx::query_scalar(INTEGRITY).fetch_one(&mut conn).await;
    let versions = sqlx::query_scalar(VERSIONS).fetch_all(&mut conn).await;
    conn.close().await?;
    match said.map_err(damage_or_error)?.as_str() {
        "ok" => {}
        other => return Err(BackupError::DatabaseDamaged(other.to_owned())),
    }
    versions.map_err(|_| BackupError::DatabaseDamaged("it has no schema of Fanfare".to_owned()))
}

/// SQLite's words for a file that is not what it was.
fn damage_or_error(error: sqlx::Error) -> BackupError {
    const CORRUPT: &str = "11";
    const NOT_A_DATABASE: &str = "26";
    match error.as_database_error().and_then(|told| told.code()) {
        Some(code) if [CORRUPT, NOT_A_DATABASE].contains(&&*code) => {
            BackupError::DatabaseDamaged(error.to_string())
        }
        _ => error.into(),
    }
}

/// Which master keys open this copy. A database of a release before there were any has none.
async fn key_note(copy: &Path, included: Option<&Secret>) -> Result<KeyNote, BackupError> {
    let db = Db::connect(&format!("sqlite:{}", copy.display())).await?;
    let ids = match sealing::status(&db).await {
        Ok(all) => all.into_iter().map(|one| one.key_id).filter(|id| !id.is_empty()).collect(),
        Err(_) => Vec::new(),
    };
    db.close().await;
    Ok(KeyNote { ids, included: included.is_some() })
}

/// Length and SHA-256 of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sum {
    bytes: u64,
    sha256: String,
}

impl Sum {
    fn of(path: &Path) -> Result<Sum, BackupError> {
        let at = |error| BackupError::File(path.to_owned(), error);
        let mut file = File::open(path).map_err(at)?;
        Sum::copying(&mut file, &mut std::io::sink()).map_err(at)
    }

    /// Copies everything and sums it up.
    fn copying(from: &mut impl Read, to: &mut impl std::io::Write) -> std::io::Result<Sum> {
        let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
        loop {
            let read = match from.read(&mut chunk) {
                Ok(0) => return Ok(Sum { bytes, sha256: hex::encode(hash.finalize()) }),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hash.update(&chunk[..read]);
            to.write_all(&chunk[..read])?;
            bytes += read as u64;
        }
    }
}

/// A file of this work only, mode 0600 and empty at first, that goes with it.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn beside(path: &Path) -> Result<Scratch, BackupError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", random_hex::<4>()));
        let path = path.with_file_name(name);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.map_err(|error| BackupError::File(path.clone(), error))?;
        Ok(Scratch(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut path = self.0.as_os_str().to_owned();
            path.push(end);
            // What is not there is gone already.
            let _ = std::fs::remove_file(path);
        }
    }
}
