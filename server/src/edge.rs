//! A node of the data plane alone: sockets, the HTTP API of apps, and how it is. Here is also the boot script of one without a
//! database: control plane → node → routes → port. It waits for a control plane that is away, and never ends for it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use api::node::wire::Hello;
use axum::Router;
use axum::response::IntoResponse;
use http::StatusCode;
use realtime::Node;

use crate::config::Config;
use crate::roles::ControlAt;
use crate::serve::{Running, Storage, health, node_config, running};
use crate::tls::Tls;
use crate::wiring::{self, Remote};
use crate::{accept, metrics};

/// What somebody is told who looks for pages here.
const NO_PAGES: &str = "There is nothing here: this node serves sockets and the HTTP API of apps. The dashboard is on the control plane\n";
/// Between two attempts to reach the control plane at the start.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Apps read at the start; others when somebody comes for them.
const APPS_AT_START: usize = 1_000;

/// All routes of such a node.
pub(crate) fn router(node: &Node, health: Router) -> Router {
    Router::new()
        .merge(realtime::ws::router(node.clone()))
        .merge(realtime::fallback::router(node.clone()))
        .merge(api::channels::router(node.clone()))
        .merge(health)
        .fallback(async |request: axum::extract::Request| match request.uri().path().starts_with("/apps") {
            true => api::channels::not_found(&request),
            false => (StatusCode::NOT_FOUND, NO_PAGES).into_response(),
        })
}

/// Starts a node without a database, short of accepting connections.
pub(crate) async fn start(config: &Config, at: &ControlAt) -> anyhow::Result<Running> {
    if !at.place.tls && !is_private(&at.place.host) {
        tracing::warn!(
            url = at.url,
            "the node token and the secrets of apps go to the control plane without TLS: use https:// outside of a private network"
        );
    }
    let remote = Arc::new(Remote::new(at.clone()));
    let hello = reached(&remote).await;
    ensure!(
        hello.cluster == config.cluster,
        "the node token is for nodes of the cluster {}: set FANFARE_CLUSTER to it (it is {})",
        hello.cluster,
        config.cluster
    );
    let node = Node::start(node_config(config), remote.clone(), remote.clone()).await?;
    for id in remote.app_ids().await.unwrap_or_default().into_iter().take(APPS_AT_START) {
        if let Err(error) = node.apps().find_by_id(id).await {
            tracing::error!(%error, app.id = id, "an app could not be read");
        }
    }
    node.start_webhooks(remote.clone(), config.webhook_allow.clone()).await;
    tokio::spawn(wiring::follow_remote(remote.clone(), node.clone(), hello.seq));
    let tls = config.tls.clone().map(Tls::load).transpose()?;
    let listener =
        accept::listen(config.listen).with_context(|| format!("{} can't be listened on", config.listen))?;
    let storage = Storage::Control(remote);
    metrics::start(config.metrics, node.clone(), storage.clone()).await?;
    let router = router(&node, health(&node, storage));
    Ok(running(config, node, None, listener, tls, router))
}

/// Asks until the control plane answers.
async fn reached(remote: &Remote) -> Hello {
    loop {
        match remote.hello().await {
            Ok(hello) => return hello,
            // The first failure is in the log already.
            Err(error) => tracing::debug!(%error, "the start waits for the control plane"),
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}

/// An address of this machine or of a private network, or a name that is no name of the internet.
fn is_private(host: &str) -> bool {
    match host.parse::<std::net::Ipv4Addr>() {
        Ok(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Err(_) => !host.contains('.') || host.ends_with(".internal") || host.ends_with(".local"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn secrets_may_go_without_tls_in_private_networks_only() {
        for private in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "control", "control.internal"] {
            assert!(super::is_private(private), "{private}");
        }
        for public in ["8.8.8.8", "fanfare.example.com"] {
            assert!(!super::is_private(public), "{public}");
        }
    }
}
