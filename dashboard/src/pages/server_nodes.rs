//! `/dash/server/nodes`: the nodes of the cluster that this one is of, as each told of itself a second ago. It changes nothing.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use crate::Dashboard;
use crate::error::PageError;
use crate::page::{Frame, count, html};
use crate::server_admin::ServerAdmin;
use crate::server_facts::{NodeRow, ServerSection, bytes, lasted};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/server/nodes", get(show))
}

#[derive(Template)]
#[template(path = "server_nodes.html")]
struct NodesPage {
    frame: Frame,
    section: ServerSection,
    /// There is a cluster.
    joined: bool,
    /// This node reaches the others.
    in_touch: bool,
    summary: String,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    is_this: bool,
    draining: bool,
    host: String,
    version: String,
    age: String,
    connections: String,
    channels: String,
    cpu: String,
    memory: String,
    files: String,
    /// Open files come near their limit.
    few_files: bool,
}

fn row(one: NodeRow, now_ms: i64) -> Row {
    let not_known = || "–".to_owned();
    Row {
        files: match (one.open_files, one.open_files_max) {
            (Some(open), Some(max)) => format!("{} of {}", count(open), count(max)),
            _ => not_known(),
        },
        few_files: matches!((one.open_files, one.open_files_max), (Some(open), Some(max)) if open.saturating_mul(10) >= max.saturating_mul(8)),
        cpu: one.cpu_percent.map_or_else(not_known, |percent| format!("{percent} % of {}", one.workers)),
        memory: one.memory_bytes.map_or_else(not_known, bytes),
        age: lasted(now_ms - one.started_ms),
        connections: count(one.connections),
        channels: count(one.channels),
        name: one.name,
        is_this: one.is_this,
        draining: one.draining,
        host: one.host,
        version: one.version,
    }
}

async fn show(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
) -> Result<Response, PageError> {
    let (config, process) = (dashboard.config(), dashboard.process());
    let cluster = dashboard.cluster();
    let alone = || {
        vec![NodeRow {
            name: config.server.node.clone(),
            is_this: true,
            version: config.server.version.to_owned(),
            started_ms: config.server.started_ms,
            workers: config.server.workers as u64,
            memory_bytes: process.memory_bytes,
            open_files: process.open_files,
            open_files_max: process.open_files_max,
            ..NodeRow::default()
        }]
    };
    let (joined, in_touch) = (cluster.is_some(), cluster.as_ref().is_none_or(|(_, in_touch)| *in_touch));
    let mut nodes = cluster.map(|(nodes, _)| nodes).filter(|nodes| !nodes.is_empty()).unwrap_or_else(alone);
    nodes.sort_by_key(|one| (one.started_ms, one.name.clone()));
    let now = tenancy::now_ms();
    let connections: u64 = nodes.iter().map(|one| one.connections).sum();
    let summary = match (joined, nodes.len()) {
        (false, _) => "This node is alone".to_owned(),
        (true, 1) => format!("1 node in {} · {} open connections", config.cluster, count(connections)),
        (true, n) => format!("{n} nodes in {} · {} open connections", config.cluster, count(connections)),
    };
    html(&NodesPage {
        frame: Frame::new(&current),
        section: ServerSection::Nodes,
        joined,
        in_touch,
        summary,
        rows: nodes.into_iter().map(|one| row(one, now)).collect(),
    })
}
