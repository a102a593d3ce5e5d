//! Backups of SQLite files: one moment out of a database that is written to, whole or refused, and never over what is in use.
//! On PostgreSQL there is nothing to try: `pg_dump` is named instead.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use tenancy::backup::{self, BackupError, MasterKey, Restored, Target};
use tenancy::{Db, Secret, Vault, app};

use crate::support::{execute, make_app, sign_up, text};

/// A folder with a database and its master key, and where its backups go.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.at("fanfare.db")
    }

    async fn open(&self) -> Db {
        let vault = match Vault::read_file(&self.at("secret-key")).unwrap() {
            Some(vault) => vault,
            None => Vault::make_file(&self.at("secret-key")).unwrap(),
        };
        let url = format!("sqlite:{}", self.database().display());
        let db = Db::connect(&url).await.unwrap().with_vault(vault);
        db.migrate().await.unwrap();
        db
    }

    async fn backup(&self, name: &str, with_key: bool) -> PathBuf {
        let key = with_key.then(|| Secret::new(fs::read_to_string(self.at("secret-key")).unwrap()));
        let to = self.at(name);
        backup::make(&self.database(), &to, key.as_ref(), "9.9.9").await.unwrap();
        to
    }

    async fn restore(&self, from: &Path, force: bool) -> Result<Restored, BackupError> {
        let target = Target {
            database: self.database(),
            key_file: self.at("secret-key"),
            key_setting: None,
            stamp: "now".to_owned(),
        };
        backup::restore(from, &target, force).await
    }

    /// Names of all files, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn a_backup_made_while_others_write_is_one_moment_and_whole() {
    let place = Place::new();
    let db = place.open().await;
    let (_, account) = sign_up(&db, "ana@example.com").await;
    execute(&db, "create table pairs (a bigint, b bigint)".to_owned()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (db, stop) = (db.clone(), stop.clone());
        async move {
            let Db::Sqlite { w, .. } = &db else { unreachable!() };
            let mut written = 0i64;
            while !stop.load(Ordering::Relaxed) {
                // Both or none: a backup between the two would be of no moment.
                let mut t = w.begin().await.unwrap();
                sqlx::query("insert into pairs values ($1, null)")
                    .bind(written)
                    .execute(&mut *t)
                    .await
                    .unwrap();
                sqlx::query("update pairs set b = a where b is null").execute(&mut *t).await.unwrap();
                t.commit().await.unwrap();
                written += 1;
            }
            written
        }
    });
    let (_, key) = make_app(&db, &account).await;
    let mut seen = Vec::new();
    for n in 0..5 {
        let before: i64 =
            text(&db, "select cast(count(*) as text) from pairs").await.unwrap().parse().unwrap();
        let file = place.backup(&format!("{n}.tar"), true).await;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let elsewhere = Place::new();
        let done = elsewhere.restore(&file, false).await.unwrap();
        assert_eq!(done.master_key, MasterKey::Written);
        let copy = elsewhere.open().await;
        let whole = text(&copy, "select cast(count(*) as text) from pairs where a = b").await.unwrap();
        let rows = text(&copy, "select cast(count(*) as text) from pairs").await.unwrap();
        assert_eq!(whole, rows);
        let rows: i64 = rows.parse().unwrap();
        assert!(rows >= before, "{rows} of at least {before}");
        seen.push(rows);
        let found = app::node_view_by_key(&copy, &key.key).await.unwrap().unwrap();
        assert_eq!(found.keys[0].secret.expose(), key.secret.expose());
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > seen[0], "the writer was never kept out");
    assert_eq!(place.names().iter().filter(|name| name.contains("partial")).count(), 0);
}

#[tokio::test]
async fn a_restore_goes_over_nothing_that_is_in_use_and_keeps_what_it_replaces() {
    let place = Place::new();
    let db = place.open().await;
    sign_up(&db, "then@example.com").await;
    let file = place.backup("then.tar", false).await;
    sign_up(&db, "later@example.com").await;
    for force in [false, true] {
        let refused = place.restore(&file, force).await.unwrap_err();
        assert!(matches!(refused, BackupError::InUse(_)), "{refused}");
    }
    assert!(sign_up(&db, "still@example.com").await.0.email == "still@example.com");
    db.close().await;
    let refused = place.restore(&file, false).await.unwrap_err();
    assert!(matches!(refused, BackupError::DataThere(_)), "{refused}");

    let done = place.restore(&file, true).await.unwrap();
    assert_eq!(done.aside, [place.at("fanfare.db.before-restore-now")]);
    assert_eq!(done.master_key, MasterKey::Here);
    let emails = "select group_concat(email, ' ') from (select email from users order by email)";
    let db = place.open().await;
    assert_eq!(text(&db, emails).await.unwrap(), "then@example.com");
    db.close().await;
    let aside = Db::connect(&format!("sqlite:{}", done.aside[0].display())).await.unwrap();
    assert_eq!(text(&aside, emails).await.unwrap(), "later@example.com still@example.com then@example.com");
}

#[tokio::test]
async fn a_damaged_backup_is_refused_wherever_it_is_damaged_and_changes_nothing() {
    let place = Place::new();
    let db = place.open().await;
    sign_up(&db, "ana@example.com").await;
    db.close().await;
    let whole = fs::read(place.backup("whole.tar", true).await).unwrap();
    let elsewhere = Place::new();
    let bad = elsewhere.at("bad.tar");
    // From the manifest's header over the middle of the database to its last page.
    let database_ends = whole.len() - 4 * 512;
    for at in (0..16).map(|n| n * database_ends / 16) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&bad, &bytes).unwrap();
        let refused = elsewhere.restore(&bad, false).await.unwrap_err();
        assert!(
            matches!(refused, BackupError::Damaged(_) | BackupError::NotABackup(..)),
            "byte {at}: {refused}"
        );
    }
    for length in [0, 100, 512, 4_000, whole.len() / 2, database_ends] {
        fs::write(&bad, &whole[..length]).unwrap();
        let refused = elsewhere.restore(&bad, false).await.unwrap_err();
        assert!(
            matches!(refused, BackupError::Damaged(_) | BackupError::NotABackup(..)),
            "{length} bytes: {refused}"
        );
    }
    for foreign in [fs::read(place.database()).unwrap(), b"hello".to_vec()] {
        fs::write(&bad, foreign).unwrap();
        assert!(matches!(elsewhere.restore(&bad, false).await, Err(BackupError::NotABackup(..))));
    }
    assert_eq!(elsewhere.names(), ["bad.tar"]);
}

#[tokio::test]
async fn a_backup_of_a_newer_release_is_refused() {
    let place = Place::new();
    let db = place.open().await;
    let known = backup::schema_known();
    execute(
        &db,
        "insert into _sqlx_migrations values (9000, 'later', current_timestamp, 1, x'00', 1)".to_owned(),
    )
    .await;
    let newer = place.backup("newer.tar", false).await;
    let elsewhere = Place::new();
    let refused = elsewhere.restore(&newer, false).await.unwrap_err();
    let BackupError::Newer { made_by, has, knows } = &refused else { panic!("{refused}") };
    assert_eq!((&**made_by, *has, *knows), ("9.9.9", 9_000, known));
    assert!(elsewhere.names().is_empty());
}

#[tokio::test]
async fn an_older_schema_is_brought_up_before_it_takes_its_place() {
    let place = Place::new();
    let file = place.database();
    // A database of the first days: its first migration only.
    let db = Db::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let Db::Sqlite { w, .. } = &db else { unreachable!() };
    let sql = include_str!("../../../migrations/sqlite/0001_accounts.sql").into_sql_str();
    let first = Migration::new(1, "accounts".into(), MigrationType::Simple, sql, false);
    Migrator::with_migrations(vec![first]).run(w).await.unwrap();
    db.close().await;
    let old = place.backup("old.tar", false).await;
    let elsewhere = Place::new();
    let done = elsewhere.restore(&old, false).await.unwrap();
    assert_eq!((done.manifest.schema, done.schema), (1, backup::schema_known()));
    let db = elsewhere.open().await;
    sign_up(&db, "ana@example.com").await;
}

#[tokio::test]
async fn a_backup_without_the_master_key_says_which_one_it_needs() {
    let place = Place::new();
    let db = place.open().await;
    let (_, account) = sign_up(&db, "ana@example.com").await;
    make_app(&db, &account).await;
    let id = db.vault().sealing_id().unwrap();
    let key = fs::read_to_string(place.at("secret-key")).unwrap();
    let (bare, full) = (place.backup("bare.tar", false).await, place.backup("full.tar", true).await);
    assert!(!fs::read(&bare).unwrap().windows(64).any(|part| part == &key.as_bytes()[..64]));
    assert!(fs::read(&full).unwrap().windows(64).any(|part| part == &key.as_bytes()[..64]));

    let elsewhere = Place::new();
    assert_eq!(
        elsewhere.restore(&bare, false).await.unwrap().master_key,
        MasterKey::Missing(vec![id.clone()])
    );
    // Another key that is there already is put aside, never lost.
    let other = Place::new();
    Vault::make_file(&other.at("secret-key")).unwrap();
    let done = other.restore(&full, false).await.unwrap();
    assert_eq!(
        (done.master_key, done.aside),
        (MasterKey::Written, vec![other.at("secret-key.before-restore-now")])
    );
    assert_eq!(fs::read_to_string(other.at("secret-key")).unwrap(), key);
    assert_eq!(other.at("secret-key").metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_wants_a_database_that_is_whole() {
    let place = Place::new();
    assert!(matches!(
        backup::make(&place.database(), &place.at("x.tar"), None, "1").await,
        Err(BackupError::NoDatabase(_))
    ));
    let db = place.open().await;
    db.close().await;
    let made = place.backup("x.tar", false).await;
    let bytes = fs::read(&made).unwrap();
    let again = backup::make(&place.database(), &made, None, "1").await;
    assert!(matches!(again, Err(BackupError::Exists(_))));
    assert_eq!(fs::read(&made).unwrap(), bytes);
    let mut broken = fs::read(place.database()).unwrap();
    let length = broken.len();
    broken[4_096..length].fill(0xa5);
    fs::write(place.database(), broken).unwrap();
    let refused = backup::make(&place.database(), &place.at("y.tar"), None, "1").await.unwrap_err();
    assert!(matches!(refused, BackupError::DatabaseDamaged(_)), "{refused}");
    assert_eq!(place.names(), ["fanfare.db", "secret-key", "x.tar"]);
}
