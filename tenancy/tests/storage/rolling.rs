//! Nodes are upgraded one after the other: code of the release before must work on the schema that the first new node made.
//!
//! Two things hold that. Migrations may not take away or narrow what older code uses, unless they say since which release nothing
//! does (read from their text, rule by rule). And every statement that an older release sends, kept as a text, still prepares on
//! today's schema, on both engines.
//!
//! What that proves: tables, columns and types that old code names are there. What it does not: that old code means the same by
//! a value as new code, or that a new constraint on an old column lets its rows in (the rules ask for a marker there).

use std::path::Path;

use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};
use tenancy::{Db, statements};

use crate::support::on_both;

/// Statements of an older release, with the schema that it knew in the first line. Written anew at each release: `FANFARE_STATEMENTS_TO=
/// tenancy/tests/storage/statements_before.sql cargo nextest run -p tenancy -E 'test(statement_of_the_release_before)'`.
const BEFORE: &str = include_str!("statements_before.sql");
const ENDS: &str = "\n;\n";

/// A migration that takes something away says so in a line that begins like this and names a release: no code since then uses it.
const MARKER: &str = "-- Contract: nothing uses this since ";

/// The statements of a migration, without comments, in one line each.
fn statements_of(file: &str) -> Vec<String> {
    let code: Vec<&str> = file.lines().map(|line| line.split("--").next().unwrap_or("")).collect();
    code.join(" ")
        .split(';')
        .map(|one| one.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase())
        .filter(|one| !one.is_empty())
        .collect()
}

/// The table that a statement is about.
fn table_of(statement: &str) -> &str {
    let words: Vec<&str> = statement.split(' ').collect();
    let after = |word: &str| words.iter().position(|one| *one == word).map(|at| at + 1);
    let at = match words[0] {
        "create" if statement.contains(" index ") => after("on"),
        "insert" => after("into"),
        "delete" => after("from"),
        "update" => Some(1),
        _ => after("table"),
    };
    let skip = |at: usize| match (words.get(at), words.get(at + 1)) {
        (Some(&"if"), Some(&"not")) => at + 3,
        (Some(&"if"), _) => at + 2,
        _ => at,
    };
    at.and_then(|at| words.get(skip(at))).map_or("", |name| name.split('(').next().unwrap_or(""))
}

/// What is wrong with a migration for nodes of the release before.
fn breaks(file: &str) -> Vec<String> {
    let all = statements_of(file);
    // Nobody knows a table yet that is made here.
    let made: Vec<&str> =
        all.iter().filter(|one| one.starts_with("create table ")).map(|one| table_of(one)).collect();
    let mut found = vec![];
    for one in all.iter().filter(|one| !made.contains(&table_of(one))) {
        let has = |part: &str| format!("{one} ").contains(part);
        let mut is = |what: &str| found.push(format!("{what}: {one}"));
        if has("drop table ") || has("drop column ") || has("drop view ") {
            is("takes away what old code reads or writes");
        }
        if one.starts_with("alter table ")
            && has(" drop ")
            && !has(" drop constraint ")
            && !has(" drop not null ")
            && !has("drop column ")
        {
            is("takes a column or its default away");
        }
        if has(" rename ") {
            is("old code knows the old name only");
        }
        if has(" set not null ") {
            is("old code may write a null");
        }
        if has(" set data type ") || (has(" alter column ") && has(" type ")) {
            is("old code may write or read the old type");
        }
        if has(" add column ")
            || (one.starts_with("alter table ") && has(" add ") && !has(" add constraint "))
        {
            if has(" not null") && !has(" default ") {
                is("old code inserts rows without this column");
            }
            if has(" unique") || (has(" references ") && has(" default ")) {
                is("the value of old code's rows must be free to repeat");
            }
        } else if has(" add constraint ") {
            is("old code's rows may not fit");
        }
        if has("create unique index ") {
            is("old code's rows may repeat");
        }
        if has("create trigger ") || has("create rule ") {
            is("old code does not expect it");
        }
        if one.starts_with("truncate ") || one.starts_with("delete from ") {
            is("old code may still read these rows");
        }
    }
    found
}

/// The release of the marker, if the file has one.
fn unused_since(file: &str) -> Option<Vec<u32>> {
    let release = file.lines().find_map(|line| line.strip_prefix(MARKER))?;
    numbers(release.trim_end_matches('.'))
}

/// `0.4` is `0.4.0`.
fn numbers(release: &str) -> Option<Vec<u32>> {
    let mut all = release.split('.').map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()?;
    all.resize(3, 0);
    Some(all)
}

/// A marker may name a release that is out, not the one that is being made: nodes of the one before would still use it.
fn excused(file: &str, this: &str) -> bool {
    unused_since(file).is_some_and(|since| since < numbers(this).unwrap())
}

#[test]
fn no_migration_takes_away_or_narrows_what_a_node_of_the_release_before_uses() {
    let mut seen = 0;
    for engine in ["sqlite", "postgres"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(engine);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let file = std::fs::read_to_string(&path).unwrap();
            let found = breaks(&file);
            assert!(
                found.is_empty() || excused(&file, env!("CARGO_PKG_VERSION")),
                "{}:\n{}\nExpand first. What nothing uses any more may go with a line `{MARKER}0.4.`",
                path.display(),
                found.join("\n")
            );
            seen += 1;
        }
    }
    assert!(seen >= 40, "{seen}");
}

#[test]
fn the_rules_see_what_breaks_and_let_pass_what_does_not() {
    for bad in [
        "drop table users;",
        "drop table if exists users;",
        "alter table users drop column email;",
        "alter table users drop email;",
        "ALTER TABLE users\n    RENAME column email to mail;",
        "alter table users rename to people;",
        "alter table users alter column email set not null;",
        "alter table users alter column email drop default;",
        "alter table users alter column email type varchar(20);",
        "alter table users alter column email set data type integer;",
        "alter table users add column age bigint not null;",
        "alter table users add age bigint not null;",
        "alter table users add column tag text default '' unique;",
        "alter table users add constraint users_age_check check (age > 3);",
        "create unique index users_name on users (name);",
        "delete from users where id = '';",
        "truncate users;",
        // The way round `alter column` on SQLite.
        "create table users_new (id text); insert into users_new select id from users; drop table users;",
    ] {
        assert!(!breaks(bad).is_empty(), "{bad}");
        assert!(!breaks(&format!("create table other (id text);\n-- a word\n{bad}")).is_empty(), "{bad}");
    }
    for good in [
        "create table t (id text not null, constraint t_pkey primary key (id)); create unique index t_id on t (id);",
        "alter table users add column age bigint;",
        "alter table users add column age bigint not null default 0 constraint users_age_check check (age in (0, 1));",
        "alter table users alter column email drop not null;",
        "alter table users drop constraint users_age_check;",
        "create index users_age on users (age);\n-- drop table users;",
        "insert into counters (name, value) values ('a', 1); update users set age = 1;",
    ] {
        assert_eq!(breaks(good), [""; 0], "{good}");
    }
    let marked = format!("-- Why: it is old.\n{MARKER}0.4.\ndrop table users;");
    assert!(excused(&marked, "0.5.0") && excused(&marked, "0.10.0") && excused(&marked, "1.0.0"));
    assert!(!excused(&marked, "0.4.0") && excused(&marked, "0.4.1"), "of one that is out");
    assert!(!excused(&marked, "0.3.9") && !excused("drop table users;", "9.0.0"));
    assert!(!excused(&marked.replace("0.4", "soon"), "9.0.0"));
}

#[tokio::test]
async fn every_statement_of_the_release_before_prepares_on_this_schema() {
    if let Ok(to) = std::env::var("FANFARE_STATEMENTS_TO") {
        return write_anew(&to);
    }
    on_both(|db| async move {
        let (first, all) = BEFORE.split_once('\n').unwrap();
        assert!(first.starts_with("-- Statements of schema "), "{first}");
        let all: Vec<&str> = all.split(ENDS).map(str::trim).filter(|one| !one.is_empty()).collect();
        assert!(all.len() > 200, "{}", all.len());
        for one in all {
            prepare(&db, one).await.unwrap_or_else(|error| {
                panic!("a node of the release before can't work here: {error}\n{one}")
            });
        }
        for gone in ["select nothing from users", "update nowhere set id = $1"] {
            assert!(prepare(&db, gone).await.is_err(), "{gone}: it would be noticed");
        }
    })
    .await;
}

async fn prepare(db: &Db, statement: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(statement.to_owned()).into_sql_str();
    match db {
        Db::Sqlite { r, .. } => r.prepare(sql).await.map(drop),
        Db::Pg { pool, .. } => pool.prepare(sql).await.map(drop),
    }
}

/// At a release, so that the next one is held to it.
fn write_anew(to: &str) {
    let mut text = format!(
        "-- Statements of schema {} (Fanfare {}).\n",
        tenancy::backup::schema_known(),
        env!("CARGO_PKG_VERSION")
    );
    for (name, statement) in statements::all() {
        text.push_str(&format!("\n-- {name}\n{statement}{ENDS}"));
    }
    std::fs::write(to, text).unwrap();
}
