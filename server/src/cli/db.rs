//! `fanfare db move`: everything of one database into an empty one on the other engine. What a move is stands in
//! [`tenancy::db_move`].

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use tenancy::db::Db;
use tenancy::{db_move, sealing};

use crate::config::{Config, without_password};
use crate::master_key;

/// The database as a whole.
#[derive(Subcommand)]
pub(super) enum DbCommand {
    /// Move everything into an empty database on the other engine (SQLite to PostgreSQL, or back); the server must not run.
    Move(Move),
}

/// From where to where.
#[derive(Args)]
pub(super) struct Move {
    /// sqlite:PATH or postgres://…; otherwise the database of the settings. It is only read.
    #[arg(long)]
    from: Option<String>,
    /// postgres://… or sqlite:PATH; it must be empty. A password may stand in PGPASSWORD or ~/.pgpass instead.
    #[arg(long)]
    to: String,
}

impl DbCommand {
    /// Moves and tells what was moved.
    pub(super) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        let DbCommand::Move(wanted) = self;
        let from = wanted.from.clone().unwrap_or_else(|| config.database_url.clone());
        if from == wanted.to {
            bail!("--from and --to are the same database");
        }
        let (here, there) = (without_password(&from), without_password(&wanted.to));
        let source = db_move::open(&from)
            .await
            .with_context(|| format!("{here} was not moved, nothing was changed"))?;
        let of_source = Config { database_url: from, ..config.clone() };
        let (source, opened) = with_its_key(source, &of_source).await?;
        let target =
            Db::connect(&wanted.to).await.with_context(|| format!("the database {there} can't be opened"))?;
        let moved = db_move::run(&source, &target).await;
        source.close().await;
        target.close().await;
        let moved = moved.with_context(|| format!("{here} was not moved to {there}"))?;

        for one in &moved {
            println!("{:<20} {:>9} rows  {}", one.table, one.rows, one.sum.get(..16).unwrap_or_default());
        }
        let rows: u64 = moved.iter().map(|one| one.rows).sum();
        println!(
            "{} tables with {rows} rows are in {there} now; counts and checksums of both sides are the same.",
            moved.len()
        );
        println!("{here} is as it was: keep it until you have seen the server run, then put it away.");
        if opened > 0 {
            let of_target = Config { database_url: wanted.to.clone(), ..config.clone() };
            let (is, looked_for) = (master_key::place(&of_source), master_key::place(&of_target));
            println!("Secrets stay sealed with the master key of {is}; it opened them.");
            if is != looked_for {
                println!(
                    "The server will look for that key at {looked_for}: copy it there, or set FANFARE_SECRET_KEY."
                );
            }
        }
        println!("Start the server with FANFARE_DATABASE_URL={there}");
        Ok(())
    }
}

/// Gives the source its master key if something in it is sealed, and opens one secret of each kind; gives how many those were.
/// Without anything sealed no key is looked for, and none is made.
async fn with_its_key(source: Db, config: &Config) -> anyhow::Result<(Db, u64)> {
    let status = sealing::status(&source).await?;
    if status.iter().all(|one| one.key_id.is_empty()) {
        return Ok((source, 0));
    }
    let source = master_key::with_master_key(source, config).await?;
    let opened = sealing::try_open(&source).await.context("the master key here does not open the secrets")?;
    Ok((source, opened))
}
