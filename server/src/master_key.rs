//! Which master key this process uses: the setting, or else a file that is made at the first start. It never makes a key for
//! a database that is sealed with another one, for that would leave its secrets closed for ever.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tenancy::db::Db;
use tenancy::sealing;
use tenancy::vault::Vault;

use crate::config::Config;

/// Name of the file.
const FILE: &str = "secret-key";

/// Gives the database its master keys. Errors when something is sealed with a key that is not here; nothing is changed then.
pub(crate) async fn with_master_key(db: Db, config: &Config) -> anyhow::Result<Db> {
    let sealed = sealing::status(&db).await?;
    let needed: Vec<&str> =
        sealed.iter().map(|one| one.key_id.as_str()).filter(|id| !id.is_empty()).collect();
    let (vault, from) = match &config.secret_key {
        Some(keys) => {
            let vault = Vault::parse(keys.expose()).context("secret_key can't be used")?;
            (vault, "FANFARE_SECRET_KEY".to_owned())
        }
        None => {
            let path = file(config);
            let vault = match Vault::read_file(&path)? {
                Some(vault) => vault,
                None if needed.is_empty() => Vault::make_file(&path)?,
                None => bail!(
                    "the secrets of this database are sealed with the master key {}, and its file {} is missing: put it back \
                     from your backup, or set FANFARE_SECRET_KEY to the key. Nothing was changed.",
                    needed.join(" and "),
                    path.display()
                ),
            };
            (vault, path.display().to_string())
        }
    };
    for id in needed {
        if !vault.knows(id) {
            bail!(
                "secrets of this database are sealed with the master key {id}, and {from} holds {}: add that key behind the \
                 first one, and the server takes it over. Nothing was changed.",
                vault.key_ids().join(" and ")
            );
        }
    }
    Ok(db.with_vault(vault))
}

/// Where the master key of this server is, for people.
pub(crate) fn place(config: &Config) -> String {
    match config.secret_key {
        Some(_) => "FANFARE_SECRET_KEY".to_owned(),
        None => file(config).display().to_string(),
    }
}

/// Beside a SQLite file, so that whoever opens one finds the other; otherwise in the data folder.
pub(crate) fn file(config: &Config) -> PathBuf {
    let path =
        config.database_url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match path.filter(|path| *path != ":memory:").map(Path::new).and_then(Path::parent) {
        Some(folder) => folder.join(FILE),
        None => config.data_dir.join(FILE),
    }
}
