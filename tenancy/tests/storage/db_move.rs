//! A database moved to the other engine and back is the same database; whatever is in the way is refused before anything is
//! written.

use std::collections::BTreeSet;
use std::path::Path;

use tenancy::db_move::{self, MoveError, Moved, TABLES};
use tenancy::{Db, Vault, app, instance, sealing, user};

use crate::support::{PASSWORD, columns, execute, fresh_postgres, make_app, on_both, sign_up, text, texts};

/// Rows of every table, and what is hard about them: nulls, other scripts, emoji, quotes, numbers at the ends, big texts.
async fn fill(db: &Db) {
    let (ana, account) = sign_up(db, "ana@example.com").await;
    let (made, _) = make_app(db, &account).await;
    instance::system_app(db).await.unwrap();
    let all = columns(db).await;
    // A row of each table, with a value of each column that its checks and references allow.
    for table in TABLES {
        let mut names = vec![];
        let mut values = vec![];
        for column in all.iter().filter(|column| column.table == *table) {
            names.push(format!("\"{}\"", column.name));
            values.push(match (column.name.as_str(), column.kind.as_str()) {
                ("user_id", _) => format!("'{}'", ana.id),
                ("account_id", _) => format!("'{}'", account.id),
                ("app_id", _) => made.id.to_string(),
                ("id", "bigint") if *table == "apps" => made.id.to_string(),
                ("id", "bigint") => "2000".to_owned(),
                ("endpoint_id" | "delivery_id" | "token_id" | "id" | "sealed_with", _) => "'one'".to_owned(),
                ("state", _) if *table == "mail_outbox" => "'waiting'".to_owned(),
                ("state", _) => "'failed'".to_owned(),
                ("purpose", _) => "'reset'".to_owned(),
                ("provider", _) => "'github'".to_owned(),
                ("via", _) => "'cli'".to_owned(),
                (_, "bigint") if !column.required => "null".to_owned(),
                (_, "text") if !column.required => "null".to_owned(),
                (_, "bigint") => "1".to_owned(),
                _ => "'Zoë 🎺 \"o''clock\" \\ Трубы\r\n\t'".to_owned(),
            });
        }
        let row = format!("insert into {table} ({}) values ({})", names.join(", "), values.join(", "));
        // Some have their row already, from signing up.
        execute(db, format!("{row} on conflict do nothing")).await;
    }
    for n in 100..1_303 {
        let peak = [i64::MAX, 0, n][n as usize % 3];
        execute(db, format!("insert into usage_hours select {}, {n}, 1, 2, 3, 4, 5, 6, 7, {peak}", made.id))
            .await;
    }
    let body = "ü🎺x".repeat(300_000);
    for n in 2..6 {
        execute(
            db,
            format!(
                "insert into webhook_attempts values ('one', {n}, {}, 0, null, null, '', '', '{body}')",
                i64::MIN
            ),
        )
        .await;
    }
}

/// All that a database holds, in no order of its own.
async fn content(db: &Db) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let columns = columns(db).await;
    for table in TABLES {
        let names: Vec<String> = columns
            .iter()
            .filter(|column| column.table == *table)
            .map(|column| format!("coalesce(cast(\"{}\" as text), '∅')", column.name))
            .collect();
        for row in texts(db, &format!("select {} from {table}", names.join(" || '|' || "))).await {
            all.insert(format!("{table}: {row}"));
        }
    }
    all
}

async fn open(url: &str, vault: &Vault) -> Db {
    Db::connect(url).await.unwrap().with_vault(vault.clone())
}

async fn move_there(from: &str, to: &str) -> Result<Vec<Moved>, MoveError> {
    let source = db_move::open(from).await?;
    let target = Db::connect(to).await.unwrap();
    let moved = db_move::run(&source, &target).await;
    source.close().await;
    target.close().await;
    moved
}

fn sqlite(folder: &Path, name: &str) -> String {
    format!("sqlite:{}", folder.join(name).display())
}

#[tokio::test]
async fn there_and_back_every_row_of_every_table_is_the_same_and_secrets_open() {
    let folder = tempfile::tempdir().unwrap();
    let (first, back, vault) = (sqlite(folder.path(), "a.db"), sqlite(folder.path(), "b.db"), Vault::fresh());
    let db = open(&first, &vault).await;
    db.migrate().await.unwrap();
    fill(&db).await;
    let before = content(&db).await;
    let secrets = app::list_all(&db).await.unwrap();
    db.close().await;
    let file = std::fs::read(folder.path().join("a.db")).unwrap();
    let fresh = fresh_postgres().await;
    let url = fresh.url.clone();
    fresh
        .drop_after(async move {
            let moved = move_there(&first, &url).await.unwrap();
            assert_eq!(moved.iter().map(|one| one.table).collect::<Vec<_>>(), TABLES);
            assert!(moved.iter().all(|one| one.rows > 0), "{moved:?}");
            assert_eq!(moved.iter().map(|one| one.rows as usize).sum::<usize>(), before.len());
            let there = open(&url, &vault).await;
            assert_eq!(content(&there).await, before);
            assert_eq!(app::list_all(&there).await.unwrap().len(), secrets.len());
            assert!(user::check_password(&there, "ana@example.com", PASSWORD).await.unwrap().is_some());
            // The row that `fill` put in is sealed with nothing that opens.
            execute(&there, "delete from second_factors".to_owned()).await;
            assert_eq!(sealing::try_open(&there).await.unwrap(), 2);
            let (_, account) = sign_up(&there, "ben@example.com").await;
            let (new, _) = make_app(&there, &account).await;
            assert!(!secrets.iter().any(|old| old.id == new.id), "ids go on where they were");
            let then = content(&there).await;
            there.close().await;

            let again = move_there(&url, &back).await.unwrap();
            assert_eq!(again.len(), moved.len());
            let db = open(&back, &vault).await;
            assert_eq!(content(&db).await, then);
        })
        .await;
    assert!(std::fs::read(folder.path().join("a.db")).unwrap() == file, "the source is as it was");
}

#[tokio::test]
async fn what_a_move_covers_is_the_whole_schema_and_no_sequence_is_left_behind() {
    on_both(|db| async move {
        let schema: BTreeSet<String> = columns(&db).await.into_iter().map(|column| column.table).collect();
        let covered: BTreeSet<String> = TABLES.iter().map(|table| (*table).to_owned()).collect();
        assert_eq!(covered, schema, "a new table needs its place in db_move::TABLES");
        if matches!(db, Db::Pg { .. }) {
            let sequences = text(&db, "select cast(count(*) as text) from pg_sequences").await;
            assert_eq!(sequences.as_deref(), Some("0"), "a move would have to set them");
        }
    })
    .await;
}

#[tokio::test]
async fn a_source_that_somebody_has_open_is_refused_on_either_engine() {
    on_both(|db| async move {
        let url = match &db {
            Db::Sqlite { r, .. } => format!("sqlite:{}", r.connect_options().get_filename().display()),
            Db::Pg { pool, .. } => {
                let options = pool.connect_options();
                let name = options.get_database().unwrap();
                format!(
                    "postgres://{}@{}:{}/{name}",
                    options.get_username(),
                    options.get_host(),
                    options.get_port()
                )
            }
        };
        db.ping().await.unwrap();
        assert!(matches!(db_move::open(&url).await, Err(MoveError::InUse)));
        db.close().await;
        let source = db_move::open(&url).await.unwrap();
        if let Db::Sqlite { .. } = source {
            let second = db_move::open(&url).await;
            assert!(matches!(second, Err(MoveError::InUse)), "nobody comes in while it is moved");
        }
        assert!(sqlx_write(&source).await.is_err(), "it can only be read");
        source.close().await;
    })
    .await;
}

/// A write to a source: of SQLite only, where the connection itself refuses; on PostgreSQL the transaction does.
async fn sqlx_write(db: &Db) -> Result<(), String> {
    match db {
        Db::Sqlite { w, .. } => {
            sqlx::query("delete from users").execute(w).await.map(drop).map_err(|error| error.to_string())
        }
        Db::Pg { .. } => Err("read only".to_owned()),
    }
}

#[tokio::test]
async fn a_target_that_holds_anything_a_missing_source_and_other_schemas_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| sqlite(folder.path(), name);
    let vault = Vault::fresh();
    for name in ["a.db", "full.db", "foreign.db", "newer.db", "older.db"] {
        let db = open(&at(name), &vault).await;
        db.migrate().await.unwrap();
        match name {
            "full.db" => drop(sign_up(&db, "ben@example.com").await),
            "foreign.db" => execute(&db, "create table theirs (a bigint)".to_owned()).await,
            "older.db" => execute(&db, "delete from _sqlx_migrations where version = 2".to_owned()).await,
            "newer.db" => {
                execute(&db, "update _sqlx_migrations set version = 9000 where version = 2".to_owned()).await;
            }
            _ => drop(sign_up(&db, "ana@example.com").await),
        }
        db.close().await;
    }
    let refused = |from: &'static str, to: &'static str| {
        let (from, to) = (at(from), at(to));
        async move { move_there(&from, &to).await.unwrap_err().to_string() }
    };
    assert!(refused("a.db", "full.db").await.contains("not empty: accounts holds rows"));
    assert!(refused("a.db", "foreign.db").await.contains("not Fanfare's (theirs)"));
    assert!(refused("a.db", "newer.db").await.contains("the target has schema 9000"));
    assert!(refused("newer.db", "b.db").await.contains("the source has schema 9000"));
    assert!(refused("older.db", "b.db").await.contains("fanfare migrate"));
    assert!(refused("foreign.db", "b.db").await.contains("does not know: theirs"));
    assert!(refused("none.db", "b.db").await.contains("there is no database at"));
    assert!(!folder.path().join("none.db").exists(), "and none is made");
    assert!(matches!(db_move::open("sqlite::memory:").await, Err(MoveError::NoSource)));
    let db = open(&at("full.db"), &vault).await;
    assert_eq!(texts(&db, "select email from users").await, ["ben@example.com"]);
    db.close().await;

    // After all that was refused the target takes the move; a second one finds it full.
    move_there(&at("a.db"), &at("b.db")).await.unwrap();
    assert!(refused("a.db", "b.db").await.contains("not empty"));
}

#[tokio::test]
async fn a_row_that_the_target_refuses_leaves_it_empty() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite(folder.path(), "a.db");
    let db = open(&url, &Vault::fresh()).await;
    db.migrate().await.unwrap();
    sign_up(&db, "ana@example.com").await;
    // PostgreSQL keeps no zero in a text.
    execute(&db, "insert into usage_flushes values ('a' || char(0) || 'b', 1, 1)".to_owned()).await;
    db.close().await;
    let fresh = fresh_postgres().await;
    let to = fresh.url.clone();
    fresh
        .drop_after(async move {
            let error = move_there(&url, &to).await.unwrap_err();
            assert!(matches!(error, MoveError::Table("usage_flushes", _)), "{error}");
            let there = Db::connect(&to).await.unwrap();
            assert_eq!(texts(&there, "select id from users").await, [""; 0]);
            let counters = texts(&there, "select name from counters order by name").await;
            assert_eq!(counters, ["app_id", "change"], "as its migrations left it");
        })
        .await;
}
