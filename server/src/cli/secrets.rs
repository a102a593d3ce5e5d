//! `fanfare secrets`: with which master keys the secrets of the database are sealed, and the change to a new one. It shows
//! no key and no secret.

use anyhow::bail;
use clap::Subcommand;
use tenancy::db::Db;
use tenancy::sealing;

/// The master key.
#[derive(Subcommand)]
pub(super) enum Secrets {
    /// Tell with which master keys how many secrets are sealed.
    Status,
    /// Make a new master key in the key file and seal everything with it; a running server follows.
    Rotate,
}

impl Secrets {
    /// Prints one line a key.
    pub(super) async fn run(&self, db: &Db) -> anyhow::Result<()> {
        if let Secrets::Rotate = self {
            let Some(path) = db.vault().file().map(|path| path.display().to_string()) else {
                bail!(
                    "the master key is a setting here: put a new one (openssl rand -hex 32) and a comma before the present one \
                     in FANFARE_SECRET_KEY and start the server again, which then seals everything anew"
                );
            };
            let in_use: Vec<String> = sealing::status(db).await?.into_iter().map(|one| one.key_id).collect();
            let id = db.vault().rotate_file(&in_use)?;
            let sealed = sealing::seal_all(db).await?;
            println!("{path} begins with the new master key {id}; secrets sealed with it: {sealed}");
        }
        let status = sealing::status(db).await?;
        for id in db.vault().key_ids() {
            let secrets = status.iter().find(|one| one.key_id == id).map_or(0, |one| one.secrets);
            println!("{id}  {secrets:>6} secrets");
        }
        if let Some(clear) = status.iter().find(|one| one.key_id.is_empty()) {
            println!("in clear  {:>6} secrets, until the server starts next", clear.secrets);
        }
        Ok(())
    }
}
