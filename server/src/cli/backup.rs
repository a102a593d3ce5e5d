//! `fanfare backup` and `fanfare restore`: a SQLite database as one file, and back. What such a file is stands in
//! [`tenancy::backup`]. A PostgreSQL database is the affair of its own tools, which are named.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use tenancy::Secret;
use tenancy::backup::{self, BackupError, MasterKey, Target};
use tenancy::vault::Vault;

use crate::config::{Config, without_password};
use crate::master_key;

/// The folder of backups in the data folder.
const FOLDER: &str = "backups";

/// One file of everything, while the server runs.
#[derive(Args)]
pub(super) struct Backup {
    /// The new file; otherwise a name with the time, in `backups` of the data folder.
    #[arg(long)]
    to: Option<PathBuf>,
    /// Put the master key in, too: who finds the file then has every secret of every app.
    #[arg(long)]
    with_master_key: bool,
}

/// A backup back to where the server looks for its database.
#[derive(Args)]
pub(super) struct Restore {
    /// What `fanfare backup` made.
    file: PathBuf,
    /// Replace data that is there; it is kept beside, under another name.
    #[arg(long)]
    force: bool,
}

impl Backup {
    /// Makes it and tells what is in it.
    pub(super) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        let Some(database) = backup::sqlite_file(&config.database_url) else {
            bail!(
                "the database is {}: back it up with PostgreSQL's own tool, `pg_dump --format=custom --file=fanfare.dump \"$FANFARE_DATABASE_URL\"`, \
                 and keep the master key ({}) elsewhere",
                without_password(&config.database_url),
                master_key::place(config)
            );
        };
        let to = match &self.to {
            Some(to) => to.clone(),
            None => {
                let folder = config.data_dir.join(FOLDER);
                make_folder(&folder)?;
                folder.join(format!("fanfare-{}.tar", stamp()))
            }
        };
        let key = match self.with_master_key {
            true => Some(the_key(config)?),
            false => None,
        };
        let made = backup::make(&database, &to, key.as_ref(), env!("CARGO_PKG_VERSION")).await?;
        println!("{}: {} bytes of database, schema {}", to.display(), made.database_bytes, made.schema);
        match (made.master_key.included, made.master_key.ids.join(" and ")) {
            (_, ids) if ids.is_empty() => println!("Nothing in it is sealed with a master key."),
            (true, ids) => {
                println!(
                    "The master key {ids} is in it: keep this file as you would keep the secrets of all apps."
                );
            }
            (false, ids) => println!(
                "The master key {ids} is not in it, and without it no app's secret can be read: keep a copy of {} elsewhere.",
                master_key::place(config)
            ),
        }
        Ok(())
    }
}

impl Restore {
    /// Restores it and tells what is left to do.
    pub(super) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        let Some(database) = backup::sqlite_file(&config.database_url) else {
            bail!(
                "the database is {}: restore it with PostgreSQL's own tool, `pg_restore --clean --if-exists --dbname=\"$FANFARE_DATABASE_URL\" fanfare.dump`",
                without_password(&config.database_url)
            );
        };
        let setting = config.secret_key.as_ref().map(|keys| Vault::parse(keys.expose()));
        let target = Target {
            database,
            key_file: master_key::file(config),
            key_setting: setting.transpose().context("secret_key can't be used")?,
            stamp: stamp(),
        };
        let done = match backup::restore(&self.file, &target, self.force).await {
            Err(BackupError::File(path, error)) if path == self.file => {
                bail!("{} can't be read: {error}", path.display())
            }
            other => other?,
        };
        println!(
            "{} is the database of {} (made by Fanfare {}), with schema {}.",
            target.database.display(),
            jiff::Timestamp::from_millisecond(done.manifest.made_at_ms)
                .map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
            done.manifest.fanfare,
            done.schema
        );
        for path in &done.aside {
            println!("What was there before is {} now.", path.display());
        }
        match done.master_key {
            MasterKey::Here => println!("Its master key is here. Start the server."),
            MasterKey::Written => {
                println!(
                    "Its master key was in the backup and is {} now. Start the server.",
                    target.key_file.display()
                );
            }
            MasterKey::Missing(ids) => println!(
                "Its master key {} is not here, and the server will not start without it: put it to {}, or set FANFARE_SECRET_KEY.",
                ids.join(" and "),
                target.key_file.display()
            ),
        }
        Ok(())
    }
}

/// The time as part of a file's name.
fn stamp() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn the_key(config: &Config) -> anyhow::Result<Secret> {
    match &config.secret_key {
        Some(keys) => Ok(Secret::new(keys.expose())),
        None => {
            let path = master_key::file(config);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("the master key {} can't be read", path.display()))?;
            Ok(Secret::new(text))
        }
    }
}

fn make_folder(folder: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("{} can't be made", folder.display()))
}
