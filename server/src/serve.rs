//! The boot script: settings → logs → storage → node → routes → port → drain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use billing::Billing;
use dashboard::{Dashboard, DashboardConfig, MailOut, ServerFacts};
use http::StatusCode;
use realtime::cluster::ClusterConfig;
use realtime::{Node, NodeConfig};
use tenancy::db::Db;
use tenancy::plan::Plan;
use tokio::sync::watch;

use crate::accept::{self, Door};
use crate::config::{Config, without_password};
use crate::tls::Tls;
use crate::{mail, master_key, metrics, operator, wiring};

/// A server that is listening.
#[derive(Debug)]
pub struct Running {
    /// The data plane.
    pub node: Node,
    /// Accounts and apps.
    pub db: Db,
    listener: accept::Listener,
    door: Door,
    drain: Duration,
}

/// Opens storage with its master key and brings its schema up to date.
pub async fn open_db(config: &Config) -> anyhow::Result<Db> {
    let db = Db::connect(&config.database_url).await.with_context(|| {
        format!("the database {} can't be opened", without_password(&config.database_url))
    })?;
    db.migrate().await.context("the database's schema can't be brought up to date")?;
    master_key::with_master_key(db, config).await
}

/// Takes as many descriptors as the system allows: most start programs with 1,024, and each socket is one.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files can't be raised: `fanfare doctor` says what it stops at");
    }
}

/// Starts everything short of accepting connections.
pub async fn start(config: &Config) -> anyhow::Result<Running> {
    raise_open_files();
    let db = open_db(config).await?;
    match tenancy::sealing::seal_all(&db).await {
        Ok(0) => {}
        Ok(secrets) => tracing::info!(secrets, "secrets were sealed with the master key"),
        Err(error) => {
            tracing::error!(%error, "not every secret could be sealed: what it belongs to won't work")
        }
    }
    operator::first_owner_from_settings(&db, config).await?;
    let system = tenancy::instance::system_app(&db).await?;
    // `dev` signs its owner in by a link and needs no page for it.
    let setup_token = match config.dev || tenancy::instance::setup_done(&db).await? {
        true => None,
        false => Some(operator::setup_token(config)?),
    };
    // Read before the node loads its first app: what changes in between is then seen twice, not missed.
    let seq = tenancy::changes::last(&db).await?;
    if let Some(app) = &config.static_app
        && tenancy::instance::reserve_app_id(&db, app.id).await?
    {
        tracing::warn!(app.id, "the app of the settings hides the app of the database that has the same id");
    }
    let source = wiring::Source {
        db: db.clone(),
        system: system.clone(),
        static_app: config.static_app.clone(),
        cluster: config.cluster.clone(),
    };
    let cluster = config.redis.clone().map(|(redis_url, prefix)| ClusterConfig {
        redis_url,
        prefix: format!("{prefix}:{}", config.cluster),
        about: wiring::about(&config.cluster, config.workers),
    });
    let node_config = NodeConfig { workers: config.workers, cluster };
    let node = Node::start(node_config, Arc::new(source), Arc::new(wiring::Sink(db.clone()))).await?;
    for app in tenancy::app::list_all(&db).await?.iter().take(1_000) {
        // One that can't be read must not keep the others away.
        if let Err(error) = node.apps().find_by_id(app.id).await {
            tracing::error!(%error, app.id, "an app could not be read");
        }
    }
    node.start_webhooks(Arc::new(wiring::Webhooks(db.clone())), config.webhook_allow.clone()).await;
    tokio::spawn(wiring::follow(db.clone(), node.clone(), seq));
    tokio::spawn(wiring::carry_out(db.clone()));
    tokio::spawn(wiring::sweep_sessions(db.clone()));
    tokio::spawn(wiring::keep(db.clone()));
    tokio::spawn(wiring::tell(db.clone(), node.clone()));
    tokio::spawn(wiring::remind(db.clone()));
    let tls = config.tls.clone().map(Tls::load).transpose()?;
    let listener =
        accept::listen(config.listen).with_context(|| format!("{} can't be listened on", config.listen))?;
    let links = config.base_url(listener.local_addr()?);
    tokio::spawn(mail::run(db.clone(), config.mail.clone(), links));
    metrics::start(config.metrics, node.clone(), db.clone()).await?;
    let billing = config.billing.clone().map(|config| Billing::new(db.clone(), config));
    if let Some(billing) = billing.clone() {
        tokio::spawn(billing.run());
    }
    let database_file = tenancy::backup::sqlite_file(&config.database_url);
    let facts = ServerFacts {
        version: env!("CARGO_PKG_VERSION"),
        started_ms: tenancy::now_ms(),
        roles: "all: pages, HTTP API and sockets",
        broker: if config.redis.is_some() { "Redis" } else { "in this process" },
        database: if database_file.is_some() { "SQLite" } else { "PostgreSQL" },
        database_file,
        data_dir: config.data_dir.clone(),
        workers: config.workers,
        node: node.name().to_string(),
    };
    let pages = DashboardConfig {
        server: facts,
        public_url: config.url.clone(),
        signup: config.signup,
        signup_plan: Plan::Sandbox,
        dev: config.dev,
        cluster: config.cluster.clone(),
        setup_token: setup_token.clone(),
        webhook_allow: config.webhook_allow.clone(),
        billing: billing.clone(),
        mail: MailOut {
            server: config.mail.server.as_ref().map(mail::MailServer::address),
            from: config.mail.from.to_string(),
        },
        with: config.with.clone(),
    };
    if let Some(token) = setup_token {
        let base = config.base_url(listener.local_addr()?);
        tracing::info!("nobody has an account yet: make the first owner at {base}/setup?token={token}");
    }
    let dashboard = Dashboard::new(db.clone(), pages, Arc::new(wiring::LiveNumbers(node.clone())), system);
    let management = api::manage::Settings {
        public_url: config.url.clone(),
        cluster: config.cluster.clone(),
        webhook_allow: config.webhook_allow.clone(),
        bills: billing.is_some(),
    };
    let router = routes(&node, &db, billing.as_ref(), dashboard, management);
    if let Some(tls) = tls.clone() {
        // A closed terminal ends `dev`, as it ends any program.
        tokio::spawn(tls.follow(!config.dev));
    }
    let door = Door { router, node: node.clone(), trust_proxy: config.trust_proxy, tls };
    Ok(Running { node, db, listener, door, drain: config.drain })
}

fn routes(
    node: &Node,
    db: &Db,
    billing: Option<&Billing>,
    dashboard: Dashboard,
    management: api::manage::Settings,
) -> Router {
    let health = Router::new()
        .route("/healthz", get(async || "ok\n"))
        // Where Laravel Reverb answers its load balancers.
        .route("/up", get(async || axum::Json(serde_json::json!({ "health": "OK" }))))
        .route("/readyz", get(ready))
        .with_state((node.clone(), db.clone()));
    Router::new()
        .merge(realtime::ws::router(node.clone()))
        .merge(realtime::fallback::router(node.clone()))
        .merge(api::channels::router(node.clone()))
        .merge(api::live::router(api::live::Live { node: node.clone(), db: db.clone() }))
        .merge(api::manage::router(node.clone(), db.clone(), management))
        .merge(health)
        .merge(billing.map(Billing::router).unwrap_or_default())
        .merge(dashboard::api_reference::router(dashboard.clone(), &api::manage::document()))
        .merge(dashboard::router(dashboard))
        .fallback(async |request: axum::extract::Request| match request.uri().path().starts_with("/apps") {
            true => api::channels::not_found(&request),
            false => dashboard::not_found(),
        })
}

async fn ready(State((node, db)): State<(Node, Db)>) -> (StatusCode, &'static str) {
    if node.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    if node.is_in_touch() == Some(false) {
        return (StatusCode::SERVICE_UNAVAILABLE, "Redis can't be reached\n");
    }
    match db.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database can't be reached\n"),
    }
}

/// An address that a browser on this machine can open.
pub fn reachable(address: std::net::SocketAddr) -> std::net::SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    address
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections until `stop` resolves, then goes away politely.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (end, ended) = watch::channel(false);
        let accepting = tokio::spawn(accept::run(self.listener, self.door, ended));
        stop.await;
        tracing::info!(
            "going away: open connections are told to reconnect, new ones to come back in a moment"
        );
        self.node.drain(self.drain).await;
        let _ = end.send(true);
        let _ = accepting.await;
        self.node.stop().await;
    }
}

/// Resolves at SIGTERM or SIGINT.
pub async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(term), Ok(int)) => (term, int),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals can't be received");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    #[test]
    fn a_server_started_with_few_open_files_takes_all_that_it_may_have() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 200, hard).unwrap();
        super::raise_open_files();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }
}
