//! Runs a test on both engines: a fresh SQLite file, then a fresh database on a real PostgreSQL.
//! The server is the one of `FANFARE_TEST_POSTGRES_URL`, or one that is started here, once per test process, and ends
//! with it. Without either the test fails: storage that was tried on one engine only was not tried.
#![allow(dead_code, reason = "two test binaries share the harness, and one needs little of it")]

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tenancy::account::Account;
use tenancy::app::{self, App, AppKey, NewApp};
use tenancy::plan::Plan;
use tenancy::user::{self, User};
use tenancy::{Db, Vault};

/// The password of everybody whom the tests sign up.
pub(crate) const PASSWORD: &str = "eleven purple trombones";

/// Runs `test` on a fresh, migrated database of each engine.
pub(crate) async fn on_both<Fut>(test: impl Fn(Db) -> Fut)
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let folder = tempfile::tempdir().unwrap();
    println!("on SQLite");
    test(migrated(&sqlite_url(&folder)).await).await;
    println!("on PostgreSQL");
    let fresh = fresh_postgres().await;
    fresh.drop_after(test(migrated(&fresh.url).await)).await;
}

/// Runs `test` with the address of a fresh, empty database of each engine.
pub(crate) async fn on_both_urls<Fut>(test: impl Fn(String) -> Fut)
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let folder = tempfile::tempdir().unwrap();
    println!("on SQLite");
    test(sqlite_url(&folder)).await;
    println!("on PostgreSQL");
    let fresh = fresh_postgres().await;
    fresh.drop_after(test(fresh.url.clone())).await;
}

fn sqlite_url(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}/fanfare.db", folder.path().display())
}

async fn migrated(url: &str) -> Db {
    let db = Db::connect(url).await.unwrap().with_vault(Vault::fresh());
    db.migrate().await.unwrap();
    db
}

/// Signs somebody up.
pub(crate) async fn sign_up(db: &Db, email: &str) -> (User, Account) {
    user::sign_up(db, email, PASSWORD, Plan::Sandbox).await.unwrap()
}

/// What a new app is when only its name matters.
pub(crate) fn named(name: &str) -> NewApp<'_> {
    NewApp { name, cluster: "local", ..NewApp::default() }
}

/// Makes an app when only its existence matters.
pub(crate) async fn make_app(db: &Db, account: &Account) -> (App, AppKey) {
    app::create(db, &account.id, named("An app")).await.unwrap()
}

/// Sends a statement past the crate, to set a scene that its door does not allow.
pub(crate) async fn execute(db: &Db, sql: String) {
    let sql = AssertSqlSafe(sql);
    match db {
        Db::Sqlite { w, .. } => w.execute(sql).await.map(drop),
        Db::Pg { pool, .. } => pool.execute(sql).await.map(drop),
    }
    .unwrap();
}

/// One value of the database as text.
pub(crate) async fn text(db: &Db, sql: &str) -> Option<String> {
    texts(db, sql).await.into_iter().next()
}

/// A column of the database as text.
pub(crate) async fn texts(db: &Db, sql: &str) -> Vec<String> {
    let sql = AssertSqlSafe(sql.to_owned());
    match db {
        Db::Sqlite { r, .. } => sqlx::query_scalar(sql).fetch_all(r).await,
        Db::Pg { pool, .. } => sqlx::query_scalar(sql).fetch_all(pool).await,
    }
    .unwrap()
}

/// A column of the schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Column {
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) required: bool,
}

/// Every column of every table of ours.
pub(crate) async fn columns(db: &Db) -> Vec<Column> {
    let rows: Vec<(String, String, String, i64)> = match db {
        Db::Sqlite { r, .. } => {
            sqlx::query_as(
                "select m.name, c.name, c.type, c.\"notnull\" from sqlite_master m join pragma_table_info(m.name) c
                 where m.type = 'table' and m.name not like 'sqlite_%' and m.name <> '_sqlx_migrations'",
            )
            .fetch_all(r)
            .await
        }
        Db::Pg { pool, .. } => {
            sqlx::query_as(
                "select cast(table_name as text), cast(column_name as text), cast(data_type as text),
                    cast(case is_nullable when 'NO' then 1 else 0 end as bigint)
                 from information_schema.columns
                 where table_schema = 'public' and table_name <> '_sqlx_migrations'",
            )
            .fetch_all(pool)
            .await
        }
    }
    .unwrap();
    let mut columns: Vec<Column> = rows
        .into_iter()
        .map(|(table, name, kind, required)| Column {
            table,
            name,
            kind: kind.to_lowercase(),
            required: required != 0,
        })
        .collect();
    columns.sort();
    columns
}

/// All that the database holds, as text, to search it for what must not be there.
pub(crate) async fn dump(db: &Db) -> String {
    let mut all = String::new();
    for Column { table, name, .. } in columns(db).await {
        let values = texts(db, &format!("select coalesce(cast({name} as text), '') from {table}")).await;
        all.push_str(&format!("{table}.{name}: {values:?}\n"));
    }
    all
}

/// A database of one test.
pub(crate) struct Fresh {
    pub(crate) url: String,
    admin_url: &'static str,
    name: String,
}

pub(crate) async fn fresh_postgres() -> Fresh {
    let admin_url = postgres_url();
    let name = format!("fanfare_test_{}", uuid::Uuid::now_v7().simple());
    let mut admin = PgConnection::connect(admin_url)
        .await
        .unwrap_or_else(|error| panic!("PostgreSQL for tests at {admin_url} does not answer: {error}"));
    admin.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    let (address, options) = admin_url.split_once('?').unwrap_or((admin_url, ""));
    let server = address.rsplit_once('/').expect("the address names a database").0;
    Fresh { url: format!("{server}/{name}?{options}"), admin_url, name }
}

impl Fresh {
    /// Runs the test and drops its database, also when it failed.
    pub(crate) async fn drop_after(&self, test: impl Future<Output = ()> + Send + 'static) {
        let outcome = tokio::spawn(test).await;
        let mut admin = PgConnection::connect(self.admin_url).await.unwrap();
        admin.execute(AssertSqlSafe(format!("drop database {} with (force)", self.name))).await.unwrap();
        if let Err(error) = outcome {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

fn postgres_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    static SERVER: OnceLock<Server> = OnceLock::new();
    URL.get_or_init(|| match std::env::var("FANFARE_TEST_POSTGRES_URL") {
        Ok(url) => url,
        Err(_) => SERVER.get_or_init(Server::start).url.clone(),
    })
}

/// A PostgreSQL of this process. A shell watches over it: when this process ends, in whatever way, the pipe to the
/// shell closes, and the shell stops the server and removes its folder.
struct Server {
    url: String,
    watcher: Child,
}

/// How long a server may take to make its files and answer.
const START_MAX: Duration = Duration::from_secs(60);
/// Tests pick ports below those that the system and browsers take by themselves.
const PORTS: std::ops::Range<u16> = 7_000..10_240;

const WATCH: &str = r#"
"$1/initdb" -D "$2/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$2/log" 2>&1 || exit 1
"$1/postgres" -D "$2/data" -p "$3" -c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c max_connections=200 >>"$2/log" 2>&1 &
read -r _
kill -INT $!
wait $!
rm -rf "$2"
"#;

impl Server {
    fn start() -> Server {
        let bin = newest_bin();
        let folder = as_postgres(&["mktemp", "-d", "/tmp/fanfare-postgres-XXXXXX"]).output().unwrap();
        assert!(folder.status.success(), "{}", String::from_utf8_lossy(&folder.stderr));
        let folder = String::from_utf8(folder.stdout).unwrap().trim().to_owned();
        let port = free_port();
        let watcher = as_postgres(&[
            "sh",
            "-c",
            WATCH,
            "watch",
            &bin.display().to_string(),
            &folder,
            &port.to_string(),
        ])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
        let mut server = Server { url: format!("postgres://postgres@127.0.0.1:{port}/postgres"), watcher };
        let began = Instant::now();
        while !answers(&bin, port) {
            let gave_up = server.watcher.try_wait().unwrap().is_some();
            if gave_up || began.elapsed() > START_MAX {
                let log = std::fs::read_to_string(format!("{folder}/log")).unwrap_or_default();
                panic!("PostgreSQL from {} did not start:\n{log}", bin.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }
}

/// Whether the server takes connections; an open port is not enough, for it opens before the server is up.
fn answers(bin: &Path, port: u16) -> bool {
    Command::new(bin.join("pg_isready"))
        .args(["-q", "-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()])
        .status()
        .is_ok_and(|status| status.success())
}

/// PostgreSQL refuses to run as root; root becomes its user.
fn as_postgres(command: &[&str]) -> Command {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let mut full = vec![];
    if root {
        full.extend(["runuser", "-u", "postgres", "--"]);
    }
    full.extend(command);
    let mut process = Command::new(full[0]);
    process.args(&full[1..]);
    process
}

fn newest_bin() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    let (_, bin) = found.pop().expect(
        "storage tests need PostgreSQL: set FANFARE_TEST_POSTGRES_URL, or install it (apt-get install postgresql)",
    );
    bin
}

fn free_port() -> u16 {
    // Processes that pick at the same time should not pick the same.
    let start = PORTS.start + u16::try_from(std::process::id() % 3_000).unwrap_or(0);
    (start..PORTS.end)
        .chain(PORTS)
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a port is free")
}
