//! One end of a move: a transaction on either engine, and what is asked of it. The SQL is put together from the schema's own
//! names, never from anything else.

use futures_util::stream::{BoxStream, StreamExt};
use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Transaction};

use super::MoveError;
use super::table::{Column, Kind, Tally, Value, Values};
use crate::db::{Db, DbError};

/// Where sqlx notes what was applied; each database has its own.
pub(super) const MIGRATIONS: &str = "_sqlx_migrations";
pub(super) const VERSIONS: &str = "select version from _sqlx_migrations order by version";
/// The state of one moment.
const PG_READ: &str = "begin isolation level repeatable read read only";
const SQLITE_TABLES: &str =
    "select name from sqlite_master where type = 'table' and name not like 'sqlite\\_%' escape '\\'";
const PG_TABLES: &str = "select cast(tablename as text) from pg_tables where schemaname = current_schema()";
const SQLITE_COLUMNS: &str = "select name, lower(type) from pragma_table_info($1) order by name";
const PG_COLUMNS: &str =
    "select cast(column_name as text), cast(data_type as text) from information_schema.columns
    where table_schema = current_schema() and table_name = $1";

/// A transaction; dropped, it has changed nothing.
pub(super) enum Side {
    Sqlite(Transaction<'static, Sqlite>),
    Pg(Transaction<'static, Postgres>),
}

/// Rows as they come.
pub(super) type Rows<'a> = BoxStream<'a, Result<Vec<Value>, sqlx::Error>>;

/// The next row.
pub(super) async fn next(rows: &mut Rows<'_>) -> Result<Option<Vec<Value>>, sqlx::Error> {
    rows.next().await.transpose()
}

/// The same question to either engine.
macro_rules! ask {
    ($side:expr, |$t:ident| $body:expr) => {
        match $side {
            Side::Sqlite($t) => $body,
            Side::Pg($t) => $body,
        }
    };
}

impl Side {
    pub(super) async fn reading(db: &Db) -> Result<Side, DbError> {
        Ok(match db {
            Db::Sqlite { r, .. } => Side::Sqlite(r.begin().await?),
            Db::Pg { pool, .. } => Side::Pg(pool.begin_with(PG_READ).await?),
        })
    }

    pub(super) async fn writing(db: &Db) -> Result<Side, DbError> {
        Ok(match db {
            Db::Sqlite { w, .. } => Side::Sqlite(w.begin_with("begin immediate").await?),
            Db::Pg { pool, .. } => Side::Pg(pool.begin().await?),
        })
    }

    pub(super) async fn commit(self) -> Result<(), DbError> {
        ask!(self, |t| t.commit().await)?;
        Ok(())
    }

    pub(super) async fn execute(&mut self, sql: &'static str) -> Result<(), DbError> {
        ask!(self, |t| sqlx::query(sql).execute(&mut **t).await.map(drop))?;
        Ok(())
    }

    /// Nobody else writes to these tables, nor reads them, until the end. A SQLite transaction is alone anyway.
    pub(super) async fn lock_all(&mut self, tables: &[&str]) -> Result<(), DbError> {
        if let Side::Pg(t) = self {
            let names: Vec<String> = tables.iter().map(|name| format!("\"{name}\"")).collect();
            let sql = format!("lock table {} in access exclusive mode", names.join(", "));
            sqlx::query(AssertSqlSafe(sql)).execute(&mut **t).await?;
        }
        Ok(())
    }

    pub(super) async fn number(&mut self, sql: String) -> Result<i64, DbError> {
        Ok(ask!(self, |t| sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut **t).await)?)
    }

    /// All tables, whoever they belong to.
    pub(super) async fn tables(&mut self) -> Result<Vec<String>, DbError> {
        let sql = match self {
            Side::Sqlite(_) => SQLITE_TABLES,
            Side::Pg(_) => PG_TABLES,
        };
        Ok(ask!(self, |t| sqlx::query_scalar(sql).fetch_all(&mut **t).await)?)
    }

    /// The numbers of the migrations that were applied.
    pub(super) async fn versions(&mut self) -> Result<Vec<i64>, DbError> {
        Ok(ask!(self, |t| sqlx::query_scalar(VERSIONS).fetch_all(&mut **t).await)?)
    }

    /// As [`Side::versions`]; `None` if nothing was ever applied.
    pub(super) async fn try_versions(&mut self) -> Result<Option<Vec<i64>>, DbError> {
        match self.tables().await?.iter().any(|table| table == MIGRATIONS) {
            true => self.versions().await.map(Some),
            false => Ok(None),
        }
    }

    /// The columns of a table, sorted.
    pub(super) async fn columns(&mut self, table: &str) -> Result<Vec<Column>, MoveError> {
        let sql = match self {
            Side::Sqlite(_) => SQLITE_COLUMNS,
            Side::Pg(_) => PG_COLUMNS,
        };
        let rows: Vec<(String, String)> =
            ask!(self, |t| sqlx::query_as(sql).bind(table).fetch_all(&mut **t).await)?;
        let mut columns = Vec::new();
        for (name, kind) in rows {
            let kind = match kind.as_str() {
                "text" => Kind::Text,
                "bigint" => Kind::Number,
                _ => return Err(MoveError::Unknown(format!("{table}.{name} of type {kind}"))),
            };
            columns.push(Column { name, kind });
        }
        columns.sort();
        Ok(columns)
    }

    /// All rows of a table.
    pub(super) fn rows<'a>(&'a mut self, table: &str, columns: &'a [Column]) -> Rows<'a> {
        let sql = AssertSqlSafe(format!("select {} from \"{table}\"", names(columns)));
        match self {
            Side::Sqlite(t) => {
                sqlx::query(sql).fetch(&mut **t).map(|row| sqlite_values(&row?, columns)).boxed()
            }
            Side::Pg(t) => sqlx::query(sql).fetch(&mut **t).map(|row| pg_values(&row?, columns)).boxed(),
        }
    }

    /// Reads a whole table and sums it up.
    pub(super) async fn tally(
        &mut self,
        table: &'static str,
        columns: &[Column],
    ) -> Result<Tally, MoveError> {
        let mut tally = Tally::default();
        let mut rows = self.rows(table, columns);
        while let Some(row) = next(&mut rows).await.map_err(|error| MoveError::Table(table, error))? {
            tally.add(&row);
        }
        Ok(tally)
    }

    /// Writes rows: PostgreSQL takes them all in one statement, SQLite needs no network for each.
    pub(super) async fn insert(
        &mut self,
        table: &str,
        columns: &[Column],
        (rows, values): (usize, Vec<Values>),
    ) -> Result<(), sqlx::Error> {
        if rows == 0 {
            return Ok(());
        }
        match self {
            Side::Sqlite(t) => {
                let places: Vec<String> = (1..=columns.len()).map(|n| format!("${n}")).collect();
                let sql =
                    format!("insert into \"{table}\" ({}) values ({})", names(columns), places.join(", "));
                let sql: sqlx::SqlStr = sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(sql));
                for row in 0..rows {
                    let mut query = sqlx::query(sql.clone());
                    for column in &values {
                        query = match column {
                            Values::Texts(all) => query.bind(all.get(row).cloned().flatten()),
                            Values::Numbers(all) => query.bind(all.get(row).copied().flatten()),
                        };
                    }
                    query.execute(&mut **t).await?;
                }
            }
            Side::Pg(t) => {
                let places: Vec<String> = columns
                    .iter()
                    .enumerate()
                    .map(|(at, column)| match column.kind {
                        Kind::Text => format!("${}::text[]", at + 1),
                        Kind::Number => format!("${}::bigint[]", at + 1),
                    })
                    .collect();
                let sql = format!(
                    "insert into \"{table}\" ({}) select * from unnest({})",
                    names(columns),
                    places.join(", ")
                );
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for column in values {
                    query = match column {
                        Values::Texts(all) => query.bind(all),
                        Values::Numbers(all) => query.bind(all),
                    };
                }
                query.execute(&mut **t).await?;
            }
        }
        Ok(())
    }
}

/// Quoted: some of our columns are called as words of SQL are.
fn names(columns: &[Column]) -> String {
    let names: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    names.join(", ")
}

/// The values of a row in the order of the columns that were asked for.
macro_rules! values_of {
    ($name:ident, $row:ty) => {
        fn $name(row: &$row, columns: &[Column]) -> Result<Vec<Value>, sqlx::Error> {
            let value = |(at, column): (usize, &Column)| match column.kind {
                Kind::Text => row.try_get(at).map(Value::Text),
                Kind::Number => row.try_get(at).map(Value::Number),
            };
            columns.iter().enumerate().map(value).collect()
        }
    };
}
values_of!(sqlite_values, SqliteRow);
values_of!(pg_values, PgRow);
