//! `/dash/server/backups`: a backup of a SQLite database now, into the data folder, and those that are there. They are not given out
//! here: who may read the folder takes them from there. The master key is never in them.

use std::path::{Path, PathBuf};

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tenancy::audit::Action;
use tenancy::backup::{self, BackupError};

use crate::error::PageError;
use crate::page::{self, Frame, html, html_with};
use crate::server_admin::ServerAdmin;
use crate::server_facts::{ServerSection, bytes, lasted};
use crate::session::CurrentUser;
use crate::{Dashboard, acts};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/server/backups", get(show)).route("/dash/server/backups/new", post(make))
}

/// Backups that this page leaves in the folder; the oldest go. Those made with `--to` lie elsewhere and are left alone.
const KEPT: usize = 10;

/// A backup in the folder.
struct Row {
    path: PathBuf,
    name: String,
    size: String,
    age: String,
    modified_ms: i64,
}

/// Those of the folder, latest first.
fn rows(folder: &Path) -> Vec<Row> {
    let now = tenancy::now_ms();
    let row = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let ours = name.starts_with("fanfare-") && name.ends_with(".tar");
        let found = entry.metadata().ok().filter(|found| ours && found.is_file())?;
        let modified = found.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        let modified_ms = i64::try_from(modified.as_millis()).ok()?;
        let (size, age) = (bytes(found.len()), lasted(now - modified_ms));
        Some(Row { path: entry.path(), name, size, age, modified_ms })
    };
    let mut rows: Vec<Row> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(row).collect();
    rows.sort_by(|a, b| (b.modified_ms, &b.name).cmp(&(a.modified_ms, &a.name)));
    rows
}

#[derive(Template)]
#[template(path = "server_backups.html")]
struct BackupsPage {
    frame: Frame,
    section: ServerSection,
    sqlite: bool,
    folder: String,
    rows: Vec<Row>,
    kept: usize,
    done: Option<&'static str>,
    error: Option<String>,
}

async fn page(current: &CurrentUser, dashboard: &Dashboard) -> Result<BackupsPage, PageError> {
    let server = &dashboard.config().server;
    let folder = server.backups();
    let listed = folder.clone();
    let rows = tokio::task::spawn_blocking(move || rows(&listed)).await.unwrap_or_default();
    Ok(BackupsPage {
        frame: Frame::new(current),
        section: ServerSection::Backups,
        sqlite: server.database_file.is_some(),
        folder: folder.display().to_string(),
        rows,
        kept: KEPT,
        done: None,
        error: None,
    })
}

#[derive(Deserialize)]
struct Done {
    done: Option<String>,
}

async fn show(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    Query(query): Query<Done>,
) -> Result<Response, PageError> {
    let mut page = page(&current, &dashboard).await?;
    page.done = query.done.is_some().then_some("The backup is made.");
    html(&page)
}

async fn make(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
) -> Result<Response, PageError> {
    let server = &dashboard.config().server;
    let Some(database) = &server.database_file else { return Err(PageError::NotFound) };
    // One at a time: each takes the room of the database twice while it is made.
    let _alone = dashboard.backup_lock().lock().await;
    let folder = server.backups();
    let name = format!("fanfare-{}.tar", page::at(tenancy::now_ms(), "%Y%m%dT%H%M%SZ"));
    let made = match make_folder(&folder) {
        Ok(()) => backup::make(database, &folder.join(&name), None, server.version).await,
        Err(error) => Err(BackupError::File(folder.clone(), error)),
    };
    match made {
        Ok(manifest) => {
            let details = json!({ "file": name, "bytes": manifest.database_bytes });
            acts::of_person(&dashboard, &current.by(), Action::ServerBackup, details).await;
            let _ = tokio::task::spawn_blocking(move || prune(&folder)).await;
            Ok(Redirect::to("/dash/server/backups?done=made").into_response())
        }
        Err(error) => {
            tracing::error!(%error, "a backup was not made");
            let mut page = page(&current, &dashboard).await?;
            page.error = Some(error.to_string());
            html_with(StatusCode::INTERNAL_SERVER_ERROR, &page)
        }
    }
}

fn prune(folder: &Path) {
    for row in rows(folder).iter().skip(KEPT) {
        if let Err(error) = std::fs::remove_file(&row.path) {
            tracing::warn!(%error, "an old backup could not be removed");
        }
    }
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
