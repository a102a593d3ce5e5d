//! The way back from a backup: all of it is checked and brought to this release's schema beside the place where it shall be,
//! and only then takes that place. What was there stays beside it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::archive::{self, Manifest};
use super::{BackupError, Scratch, checked, schema_known};
use crate::db::{Db, DbError};
use crate::migrations;
use crate::secret::Secret;
use crate::vault::Vault;

/// Leaves WAL, which SQLite does only for who has the file alone. Of SQLite only.
const ALONE: &str = "pragma journal_mode = delete";
/// A command such as `fanfare apps list` may be about to end.
const ALONE_WITHIN: Duration = Duration::from_secs(1);

/// Where a backup goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The SQLite file.
    pub database: PathBuf,
    /// The file of the master key.
    pub key_file: PathBuf,
    /// The keys of the setting, which go before the file.
    pub key_setting: Option<Vault>,
    /// Part of the names of what is put aside.
    pub stamp: String,
}

/// The master keys that a restored database needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKey {
    /// All of them are here.
    Here,
    /// They were in the backup and are now in the key file.
    Written,
    /// These are not here; a server will not start without them.
    Missing(Vec<String>),
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the backup told about itself.
    pub manifest: Manifest,
    /// What was there before, under its new names.
    pub aside: Vec<PathBuf>,
    /// The schema that the database has now.
    pub schema: i64,
    /// Whether its secrets can be opened.
    pub master_key: MasterKey,
}

/// Puts a backup where a server will look for its database. With `force`, data that is there is put aside. Errors leave
/// everything as it was. A server that starts at the very same moment is not noticed.
pub async fn restore(backup: &Path, target: &Target, force: bool) -> Result<Restored, BackupError> {
    let database = &target.database;
    let at = |error| BackupError::File(database.clone(), error);
    let occupied = database.metadata().is_ok_and(|found| found.len() > 0);
    if occupied {
        ensure_unused(database).await?;
        if !force {
            return Err(BackupError::DataThere(database.clone()));
        }
    }
    if let Some(folder) = database.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at)?;
    }
    let copy = Scratch::beside(database)?;
    let (from, into) = (backup.to_owned(), copy.path().to_owned());
    let reading = tokio::task::spawn_blocking(move || archive::read(&from, &into, refuse_newer));
    let (manifest, key) = reading.await.map_err(|_| DbError::stopped())??;
    let versions = checked(copy.path()).await.map_err(as_damage)?;
    if let Some(newer) = versions.iter().find(|has| !migrations::sqlite().version_exists(**has)) {
        return Err(newer_than_this(&manifest, *newer));
    }
    // The copy, and not the place itself: a migration that fails must not cost the data that is there.
    let db = Db::connect(&format!("sqlite:{}", copy.path().display())).await?;
    let migrated = db.migrate().await;
    db.close().await;
    migrated?;

    let mut aside = Vec::new();
    let master_key = put_key(target, &manifest, key.as_ref(), &mut aside)?;
    if occupied {
        // Once more: somebody may have come while the backup was read.
        ensure_unused(database).await?;
        for end in ["", "-wal", "-shm"] {
            move_aside(&with_end(database, end), &target.stamp, &mut aside)?;
        }
    }
    std::fs::rename(copy.path(), database).map_err(at)?;
    Ok(Restored { manifest, aside, schema: schema_known(), master_key })
}

fn refuse_newer(manifest: &Manifest) -> Result<(), BackupError> {
    match manifest.schema > schema_known() {
        true => Err(newer_than_this(manifest, manifest.schema)),
        false => Ok(()),
    }
}

fn newer_than_this(manifest: &Manifest, has: i64) -> BackupError {
    BackupError::Newer { made_by: manifest.fanfare.clone(), has, knows: schema_known() }
}

/// The copy came out of a backup: what is wrong with it is wrong with the backup.
fn as_damage(error: BackupError) -> BackupError {
    match error {
        BackupError::DatabaseDamaged(what) => BackupError::Damaged(what),
        other => other,
    }
}

/// Folds the log into the file, which only who has it alone can do. A file that SQLite can't read is in nobody's use.
async fn ensure_unused(database: &Path) -> Result<(), BackupError> {
    let options =
        SqliteConnectOptions::new().filename(database).create_if_missing(false).busy_timeout(ALONE_WITHIN);
    let asked = async {
        let mut conn = options.connect().await?;
        let done = sqlx::query(ALONE).execute(&mut conn).await;
        conn.close().await?;
        done
    };
    const BUSY: &str = "5";
    match asked.await {
        Err(error) if error.as_database_error().and_then(|told| told.code()).is_some_and(|c| c == BUSY) => {
            Err(BackupError::InUse(database.to_owned()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn put_key(
    target: &Target,
    manifest: &Manifest,
    key: Option<&Secret>,
    aside: &mut Vec<PathBuf>,
) -> Result<MasterKey, BackupError> {
    let vault_error = |error: crate::vault::VaultError| {
        BackupError::File(target.key_file.clone(), std::io::Error::other(error))
    };
    let here = match &target.key_setting {
        Some(setting) => Some(setting.clone()),
        None => Vault::read_file(&target.key_file).map_err(vault_error)?,
    };
    let missing = |vault: Option<&Vault>| -> Vec<String> {
        let unknown = |id: &&String| !vault.is_some_and(|vault| vault.knows(id));
        manifest.master_key.ids.iter().filter(unknown).cloned().collect()
    };
    let lacking = missing(here.as_ref());
    if lacking.is_empty() {
        return Ok(MasterKey::Here);
    }
    // Beside a setting nobody would read the file.
    let Some(key) = key.filter(|_| target.key_setting.is_none()) else {
        return Ok(MasterKey::Missing(lacking));
    };
    let from_backup = Vault::parse(key.expose()).map_err(|error| BackupError::Damaged(error.to_string()))?;
    let lacking = missing(Some(&from_backup));
    if !lacking.is_empty() {
        return Ok(MasterKey::Missing(lacking));
    }
    move_aside(&target.key_file, &target.stamp, aside)?;
    Vault::write_file(&target.key_file, key).map_err(vault_error)?;
    Ok(MasterKey::Written)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

fn move_aside(path: &Path, stamp: &str, aside: &mut Vec<PathBuf>) -> Result<(), BackupError> {
    if path.exists() {
        let to = with_end(path, &format!(".before-restore-{stamp}"));
        std::fs::rename(path, &to).map_err(|error| BackupError::File(path.to_owned(), error))?;
        aside.push(to);
    }
    Ok(())
}
