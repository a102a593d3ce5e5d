//! A whole database into an empty one on the other engine: every table as it is, in one transaction, summed up on both sides.
//! The source is only read, and nobody else may have it open: what a server wrote meanwhile would be left behind.
//!
//! It changes no value, so secrets stay sealed with the master key that they are sealed with. It merges nothing.

mod side;
mod source;
mod table;

pub use source::open;

use crate::db::{Db, DbError};
use crate::migrations;
use side::Side;
use table::{Column, Tally};

/// Every table of ours, each behind those that it refers to. One that is missing here fails a test, and a move.
pub const TABLES: &[&str] = &[
    "counters",
    "instance",
    "quota_templates",
    "accounts",
    "users",
    "memberships",
    "sessions",
    "login_tokens",
    "pending_sign_ins",
    "mail_tokens",
    "mail_outbox",
    "identities",
    "second_factors",
    "recovery_codes",
    "app_ids",
    "apps",
    "app_keys",
    "app_grants",
    "changes",
    "api_tokens",
    "api_answers",
    "invitations",
    "server_invitations",
    "audit_log",
    "billing_accounts",
    "stripe_events",
    "overage",
    "overage_days",
    "webhook_endpoints",
    "webhook_deliveries",
    "webhook_attempts",
    "webhook_held",
    "webhook_notices",
    "usage_minutes",
    "usage_hours",
    "usage_days",
    "usage_flushes",
];

/// What the migrations themselves put in: rows of a database that is empty all the same.
pub(crate) const SEEDED: &str = "counters";
const NOT_AS_SEEDED: &str = "select count(*) from counters where not ((name = 'app_id' and value = 1000) or (name = 'change' and value = 0))";
const FORGET_SEED: &str = "delete from counters";

/// Why nothing was moved. The target is as empty as before then, and the source is never changed.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is no database to move.
    #[error("there is no database at {0}")]
    NoDatabase(String),
    /// A database in memory, for one.
    #[error("the source is neither a file (sqlite:PATH) nor a database of PostgreSQL (postgres://…)")]
    NoSource,
    /// A database of something else, or an empty one.
    #[error("the source has no schema of Fanfare")]
    NoSchema,
    /// A server or a command has the source open.
    #[error(
        "the source is in use: stop the server (and every `fanfare` command) that has it open, then move again"
    )]
    InUse,
    /// The source is of an older release.
    #[error("the source has an older schema than this release: run `fanfare migrate` on it first")]
    Older,
    /// A database is of a newer release.
    #[error(
        "the {0} has schema {1}, which this release does not know: move it with the release that made it"
    )]
    Newer(&'static str, i64),
    /// The target holds something.
    #[error("the target is not empty: {0} holds rows. Name an empty database")]
    NotEmpty(String),
    /// The target belongs to something else.
    #[error("the target has tables that are not Fanfare's ({0}): name a database of its own")]
    Foreign(String),
    /// The source has a table that this release would leave behind.
    #[error("the source has a table that this release does not know: {0}")]
    Unknown(String),
    /// Both sides were read, and they differ.
    #[error("{table} did not arrive whole: {there} of {here} rows, or other content. Nothing was moved")]
    Differs {
        /// Which table.
        table: &'static str,
        /// Rows of the source.
        here: u64,
        /// Rows of the target.
        there: u64,
    },
    /// A row of a table could not be read or written.
    #[error("{0}: {1}")]
    Table(&'static str, sqlx::Error),
    /// A database could not be read or written.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<sqlx::Error> for MoveError {
    fn from(error: sqlx::Error) -> Self {
        MoveError::Db(error.into())
    }
}

/// A table that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its name.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// The sum of its content, the same on both sides: 64 hex digits.
    pub sum: String,
}

/// Brings the schema of `target` up to date and moves every row of `source` there, in one transaction. The source is what
/// [`open`] gave. *Cancel*, and every error: the target is empty, but for its schema.
pub async fn run(source: &Db, target: &Db) -> Result<Vec<Moved>, MoveError> {
    refuse_foreign(target).await?;
    target.migrate().await?;
    let mut from = Side::reading(source).await?;
    let mut to = Side::writing(target).await?;
    same_schema(&mut from, &mut to).await?;
    to.lock_all(TABLES).await?;
    refuse_full(&mut to).await?;
    to.execute(FORGET_SEED).await?;
    let mut moved = Vec::new();
    for table in TABLES.iter().copied() {
        let columns = to.columns(table).await?;
        let sent = copy(&mut from, &mut to, table, &columns).await?;
        let arrived = to.tally(table, &columns).await?;
        if sent != arrived {
            return Err(MoveError::Differs { table, here: sent.rows, there: arrived.rows });
        }
        moved.push(Moved { table, rows: sent.rows, sum: sent.hex() });
    }
    // PostgreSQL lets others in at any time; SQLite's lock is ours from the beginning.
    source::ensure_unused(source).await?;
    to.commit().await?;
    Ok(moved)
}

async fn refuse_foreign(target: &Db) -> Result<(), MoveError> {
    let mut side = Side::writing(target).await?;
    let mut tables = side.tables().await?;
    let known = match tables.iter().any(|table| table == side::MIGRATIONS) {
        true => side.versions().await?,
        false => vec![],
    };
    if let Some(newer) = known.into_iter().find(|has| !migrations::sqlite().version_exists(*has)) {
        return Err(MoveError::Newer("target", newer));
    }
    tables.retain(|table| table != side::MIGRATIONS && !TABLES.contains(&table.as_str()));
    match tables.is_empty() {
        true => Ok(()),
        false => Err(MoveError::Foreign(tables.join(", "))),
    }
}

async fn same_schema(from: &mut Side, to: &mut Side) -> Result<(), MoveError> {
    let unknown: Vec<String> = from
        .tables()
        .await?
        .into_iter()
        .filter(|table| table != side::MIGRATIONS && !TABLES.contains(&table.as_str()))
        .collect();
    if !unknown.is_empty() {
        return Err(MoveError::Unknown(unknown.join(", ")));
    }
    for table in TABLES.iter().copied() {
        if from.columns(table).await? != to.columns(table).await? {
            return Err(MoveError::Unknown(table.to_owned()));
        }
    }
    Ok(())
}

async fn refuse_full(to: &mut Side) -> Result<(), MoveError> {
    for table in TABLES.iter().copied() {
        let rows = match table {
            SEEDED => to.number(NOT_AS_SEEDED.to_owned()).await?,
            _ => to.number(format!("select count(*) from \"{table}\"")).await?,
        };
        if rows > 0 {
            return Err(MoveError::NotEmpty(table.to_owned()));
        }
    }
    Ok(())
}

/// Copies one table; gives what was read.
async fn copy(
    from: &mut Side,
    to: &mut Side,
    table: &'static str,
    columns: &[Column],
) -> Result<Tally, MoveError> {
    let mut tally = Tally::default();
    let mut batch = table::Batch::new(columns);
    let mut rows = from.rows(table, columns);
    while let Some(row) = side::next(&mut rows).await.map_err(|error| MoveError::Table(table, error))? {
        tally.add(&row);
        if batch.push(row) {
            to.insert(table, columns, batch.take()).await.map_err(|error| MoveError::Table(table, error))?;
        }
    }
    to.insert(table, columns, batch.take()).await.map_err(|error| MoveError::Table(table, error))?;
    Ok(tally)
}
