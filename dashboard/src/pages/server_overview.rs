//! `/dash/server`: what this server is and how much it does. It changes nothing.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use tenancy::tenants::{self, Counts};

use crate::Dashboard;
use crate::error::PageError;
use crate::page::{self, Frame, count, html};
use crate::server_admin::ServerAdmin;
use crate::server_facts::{ServerSection, bytes, lasted};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/server", get(show))
}

#[derive(Template)]
#[template(path = "server_overview.html")]
struct OverviewPage {
    frame: Frame,
    section: ServerSection,
    connections: String,
    summary: String,
    facts: Vec<(&'static str, String)>,
    /// The limit of open files is near or low.
    few_files: Option<String>,
}

/// Below this many open files a server stops at few sockets.
const FILES_LOW: u64 = 10_000;

fn some(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

fn summary(counts: &Counts) -> String {
    let suspended = match counts.suspended {
        0 => String::new(),
        n => format!(" ({} suspended)", count(n)),
    };
    format!(
        "{}{suspended} · {} · {}",
        some(counts.organisations, "organisation", "organisations"),
        some(counts.apps, "app", "apps"),
        some(counts.people, "person", "people")
    )
}

async fn show(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
) -> Result<Response, PageError> {
    let (server, process) = (&dashboard.config().server, dashboard.process());
    let not_known = || "not known".to_owned();
    let size = tenancy::instance::database_bytes(dashboard.db()).await?;
    let files = match (process.open_files, process.open_files_max) {
        (Some(open), Some(max)) => format!("{} of {}", count(open), count(max)),
        _ => not_known(),
    };
    let few_files = process.open_files_max.filter(|max| {
        *max < FILES_LOW
            || process.open_files.is_some_and(|open| open.saturating_mul(10) >= max.saturating_mul(8))
    });
    let database = match &server.database_file {
        Some(file) => format!("{}, {} · {}", server.database, bytes(size), file.display()),
        None => format!("{}, {}", server.database, bytes(size)),
    };
    let now = tenancy::now_ms();
    html(&OverviewPage {
        frame: Frame::new(&current),
        section: ServerSection::Overview,
        connections: some(
            dashboard.connections_of(&tenants::all_app_ids(dashboard.db()).await?),
            "connection",
            "connections",
        ),
        summary: summary(&tenants::counts(dashboard.db()).await?),
        facts: vec![
            ("Version", server.version.to_owned()),
            (
                "Running for",
                format!("{}, since {} UTC", lasted(now - server.started_ms), page::moment(server.started_ms)),
            ),
            ("Node", server.node.clone()),
            ("Roles", server.roles.to_owned()),
            ("Broker", server.broker.to_owned()),
            ("Database", database),
            ("Data folder", server.data_dir.display().to_string()),
            ("Worker threads", server.workers.to_string()),
            ("Open files", files),
            ("Memory", process.memory_bytes.map_or_else(not_known, bytes)),
        ],
        few_files: few_files.map(count),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_thing_is_not_many() {
        assert_eq!(some(1, "connection", "connections"), "1 connection");
        assert_eq!(some(0, "connection", "connections"), "0 connections");
        let counts = Counts { organisations: 1, suspended: 0, apps: 2, people: 1 };
        assert_eq!(summary(&counts), "1 organisation · 2 apps · 1 person");
    }
}
