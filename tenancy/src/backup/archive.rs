//! The file of a backup: a plain tar, so that it can be looked into without us, with a manifest first, then the database, then
//! perhaps the master key. It knows nothing of SQL.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{BackupError, Scratch, Sum};
use crate::secret::Secret;

/// The form of the file that this release writes and reads.
const FORM: u32 = 1;
const MANIFEST: &str = "manifest.json";
const DATABASE: &str = "fanfare.db";
const MASTER_KEY: &str = "secret-key";
/// A manifest is a few hundred bytes.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024;
/// Eight master keys are 520 bytes.
const MASTER_KEY_BYTES_MAX: u64 = 4 * 1024;

/// What a backup tells about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    form: u32,
    /// The release that made it.
    pub fanfare: String,
    /// When, in milliseconds since 1970.
    pub made_at_ms: i64,
    /// The schema of its database.
    pub schema: i64,
    /// Bytes of its database.
    pub database_bytes: u64,
    database_sha256: String,
    /// Which master keys it needs.
    pub master_key: KeyNote,
}

/// Which master keys open the secrets of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyNote {
    /// Their names, as `fanfare secrets status` shows them.
    pub ids: Vec<String>,
    /// Whether the backup holds them.
    pub included: bool,
}

impl Manifest {
    pub(super) fn new(
        fanfare: &str,
        made_at_ms: i64,
        schema: i64,
        sum: Sum,
        master_key: KeyNote,
    ) -> Manifest {
        Manifest {
            form: FORM,
            fanfare: fanfare.to_owned(),
            made_at_ms,
            schema,
            database_bytes: sum.bytes,
            database_sha256: sum.sha256,
            master_key,
        }
    }

    fn sum(&self) -> Sum {
        Sum { bytes: self.database_bytes, sha256: self.database_sha256.clone() }
    }
}

/// Writes the whole file under another name and gives it its own at the end; nobody finds half a backup.
pub(super) fn write(
    to: &Path,
    manifest: &Manifest,
    database: &Path,
    master_key: Option<&Secret>,
) -> Result<(), BackupError> {
    let scratch = Scratch::beside(to)?;
    let at = |error| BackupError::File(to.to_owned(), error);
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| at(error.into()))?;
    let append = || -> std::io::Result<()> {
        let mut tar = tar::Builder::new(File::create(scratch.path())?);
        append(&mut tar, MANIFEST, text.len() as u64, &text[..])?;
        append(&mut tar, DATABASE, manifest.database_bytes, File::open(database)?)?;
        if let Some(key) = master_key {
            let key = key.expose().as_bytes();
            append(&mut tar, MASTER_KEY, key.len() as u64, key)?;
        }
        tar.into_inner()?.sync_all()?;
        std::fs::hard_link(scratch.path(), to)
    };
    append().map_err(at)
}

fn append(tar: &mut tar::Builder<File>, name: &str, bytes: u64, content: impl Read) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(bytes);
    tar.append_data(&mut header, name, content)
}

/// Reads the manifest; then, if `accept` takes it, copies the database into `into`, checks it against its sum, and gives the
/// master key if there is one.
pub(super) fn read(
    from: &Path,
    into: &Path,
    accept: impl FnOnce(&Manifest) -> Result<(), BackupError>,
) -> Result<(Manifest, Option<Secret>), BackupError> {
    let file = File::open(from).map_err(|error| BackupError::File(from.to_owned(), error))?;
    let foreign = |why| BackupError::NotABackup(from.to_owned(), why);
    let damaged = |error: std::io::Error| BackupError::Damaged(error.to_string());
    let mut tar = tar::Archive::new(BufReader::new(file));
    let mut entries = tar.entries().map_err(|_| foreign("it is no tar file"))?;

    let mut text = Vec::new();
    match entries.next() {
        Some(Ok(entry)) if named(&entry, MANIFEST) => {
            entry.take(MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(damaged)?;
        }
        _ => return Err(foreign("it does not begin with a manifest")),
    }
    let form: Form = serde_json::from_slice(&text).map_err(|_| foreign("its manifest can't be read"))?;
    if form.form != FORM {
        return Err(foreign("its form is of another release"));
    }
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|_| foreign("its manifest can't be read"))?;
    accept(&manifest)?;

    let mut entry = match entries.next() {
        Some(Ok(entry)) if named(&entry, DATABASE) => entry,
        _ => return Err(BackupError::Damaged("its database is missing".to_owned())),
    };
    let mut write = || -> std::io::Result<Sum> {
        let mut copy = OpenOptions::new().write(true).truncate(true).create(true).mode(0o600).open(into)?;
        let sum = Sum::copying(&mut entry, &mut copy)?;
        copy.flush()?;
        copy.sync_all()?;
        Ok(sum)
    };
    let sum = write().map_err(damaged)?;
    if sum != manifest.sum() {
        return Err(BackupError::Damaged("its database does not match its checksum".to_owned()));
    }
    let mut key = None;
    if manifest.master_key.included {
        let mut text = String::new();
        match entries.next() {
            Some(Ok(entry)) if named(&entry, MASTER_KEY) => {
                entry.take(MASTER_KEY_BYTES_MAX).read_to_string(&mut text).map_err(damaged)?;
            }
            _ => return Err(BackupError::Damaged("its master key is missing".to_owned())),
        }
        key = Some(Secret::new(text));
    }
    Ok((manifest, key))
}

/// What must be known before the rest of a manifest means anything.
#[derive(Deserialize)]
struct Form {
    form: u32,
}

fn named<R: Read>(entry: &tar::Entry<'_, R>, name: &str) -> bool {
    entry.header().entry_type().is_file() && &*entry.path_bytes() == name.as_bytes()
}
