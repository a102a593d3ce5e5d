//! The two engines hold the same schema and understand every statement.

use crate::support::{Column, columns, on_both, on_both_urls, sign_up, text, texts};
use sqlx::{Executor, SqlSafeStr};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tenancy::{Db, statements};

#[tokio::test]
async fn both_engines_prepare_every_statement() {
    on_both(|db| async move {
        let all = statements::all();
        assert!(all.len() > 40, "{}", all.len());
        for (name, sql) in all {
            let prepared = match &db {
                Db::Sqlite { r, .. } => r.prepare(sql.into_sql_str()).await.map(drop),
                Db::Pg { pool, .. } => pool.prepare(sql.into_sql_str()).await.map(drop),
            };
            prepared.unwrap_or_else(|error| panic!("{name}: {error}\n{sql}"));
            assert_eq!(sql.to_lowercase(), sql, "{name}: SQL is lower case");
        }
    })
    .await;
}

#[test]
fn both_folders_have_the_same_numbers_and_names() {
    let files = |engine: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(engine);
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let names = files("sqlite");
    assert_eq!(names, files("postgres"));
    let number = |name: &str| name[..4].parse::<u32>().unwrap();
    assert!(names.windows(2).all(|pair| number(&pair[0]) < number(&pair[1])), "each number once: {names:?}");
    for name in &names {
        assert!(name[4..].starts_with('_') && name.ends_with(".sql"), "{name}");
        for engine in ["sqlite", "postgres"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(engine).join(name);
            assert!(std::fs::read_to_string(path).unwrap().starts_with("-- Why: "), "{engine}/{name}");
        }
    }
}

#[tokio::test]
async fn every_migration_file_is_embedded_and_applied() {
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/sqlite"))
        .unwrap()
        .count();
    on_both(move |db| async move {
        let applied = text(&db, "select cast(count(*) as text) from _sqlx_migrations").await.unwrap();
        assert_eq!(applied, files.to_string());
    })
    .await;
}

#[tokio::test]
async fn both_engines_have_the_same_tables_columns_constraints_and_indexes() {
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    on_both(|db| {
        let seen = seen.clone();
        async move {
            let schema = (columns(&db).await, constraints(&db).await, indexes(&db).await);
            seen.lock().unwrap().push(schema);
        }
    })
    .await;
    let seen = seen.lock().unwrap();
    let [(columns, constraints, indexes), postgres] = seen.as_slice() else { panic!("two engines") };
    assert_eq!((columns, constraints, indexes), (&postgres.0, &postgres.1, &postgres.2));
    assert!(columns.len() > 40 && constraints.len() > 15 && indexes.len() > 5);
    for Column { table, name, kind, .. } in columns {
        assert!(matches!(kind.as_str(), "text" | "bigint"), "{table}.{name} is {kind}");
    }
}

/// The names of all constraints. SQLite keeps them only in the text of the table.
async fn constraints(db: &Db) -> BTreeSet<String> {
    match db {
        Db::Sqlite { .. } => texts(db, "select sql from sqlite_master where type = 'table'")
            .await
            .iter()
            .flat_map(|sql| {
                let words: Vec<&str> = sql.split_whitespace().collect();
                words
                    .windows(2)
                    .filter(|pair| pair[0] == "constraint")
                    .map(|pair| pair[1].to_owned())
                    .collect::<Vec<_>>()
            })
            .collect(),
        Db::Pg { .. } => {
            let sql = "select cast(conname as text) from pg_constraint
                where connamespace = 'public'::regnamespace and contype <> 'n' and conname not like '\\_sqlx%'";
            texts(db, sql).await.into_iter().collect()
        }
    }
}

/// The names of all indexes that belong to no constraint.
async fn indexes(db: &Db) -> BTreeSet<String> {
    let sql = match db {
        Db::Sqlite { .. } => "select name from sqlite_master where type = 'index' and sql is not null",
        Db::Pg { .. } => {
            "select cast(indexname as text) from pg_indexes where schemaname = 'public'
                and indexname not in (select conname from pg_constraint)"
        }
    };
    texts(db, sql).await.into_iter().collect()
}

#[tokio::test]
async fn several_processes_may_migrate_at_once_and_again() {
    on_both_urls(|url| async move {
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move {
                    let db = Db::connect(&url).await.unwrap();
                    db.migrate().await.unwrap();
                    db
                })
            })
            .collect();
        let mut dbs = vec![];
        for task in tasks {
            dbs.push(task.await.unwrap());
        }
        sign_up(&dbs[0], "ana@example.com").await;
        dbs[1].migrate().await.unwrap();
        dbs[2].ping().await.unwrap();
        assert_eq!(text(&dbs[3], "select email from users").await.as_deref(), Some("ana@example.com"));
    })
    .await;
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    on_both_urls(|url| async move {
        let db = Db::connect(&url).await.unwrap();
        db.migrate().await.unwrap();
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        db.close().await;
        assert!(db.ping().await.is_err(), "closed is closed");
        let db = Db::connect(&url).await.unwrap();
        db.migrate().await.unwrap();
        assert_eq!(tenancy::user::first_owner(&db).await.unwrap().unwrap().0, ana);
    })
    .await;
}
