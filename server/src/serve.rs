//! The boot script: settings → logs → storage → node → routes → port → drain.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
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
use crate::roles::{self, Role};
use crate::tls::Tls;
use crate::{edge, mail, master_key, metrics, operator, wiring};

/// What a backend is told that publishes to the wrong process.
const NO_HTTP_API: &str = "This node has no sockets: it serves the dashboard and the management API. Send this to a realtime node of the app's cluster\n";

/// A server that is listening.
#[derive(Debug)]
pub struct Running {
    /// The data plane.
    pub node: Node,
    /// Accounts and apps; `None`: this node has no database.
    pub db: Option<Db>,
    pub(crate) listener: accept::Listener,
    pub(crate) door: Door,
    pub(crate) drain: Duration,
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
    if let Some(control) = &config.control {
        return edge::start(config, control).await;
    }
    let role = config.role;
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
    let setup_token = match config.dev || !role.has_pages() || tenancy::instance::setup_done(&db).await? {
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
        // The control plane looks after apps of all clusters.
        elsewhere: if role.has_sockets() { config.cluster_urls.clone() } else { Default::default() },
    };
    let source = Arc::new(source);
    let sink = Arc::new(wiring::Sink(db.clone()));
    let webhooks = Arc::new(wiring::Webhooks {
        db: db.clone(),
        cluster: config.cluster.clone(),
        elsewhere: source.elsewhere.clone(),
    });
    let node = Node::start(node_config(config), source.clone(), sink.clone()).await?;
    if !role.has_sockets() {
        node.refuse_sockets(&roles::no_sockets(config.cluster_urls.get(&config.cluster)));
    }
    for app in tenancy::app::list_all(&db).await?.iter().take(1_000) {
        // One that can't be read must not keep the others away.
        if let Err(error) = node.apps().find_by_id(app.id).await {
            tracing::error!(%error, app.id, "an app could not be read");
        }
    }
    node.start_webhooks(webhooks.clone(), config.webhook_allow.clone()).await;
    tokio::spawn(wiring::follow(db.clone(), node.clone(), seq));
    tokio::spawn(wiring::tell(db.clone(), node.clone(), !role.has_sockets()));
    if role.has_pages() {
        tokio::spawn(wiring::carry_out(db.clone()));
        tokio::spawn(wiring::sweep_sessions(db.clone()));
        tokio::spawn(wiring::keep(db.clone()));
        tokio::spawn(wiring::remind(db.clone()));
    }
    let tls = config.tls.clone().map(Tls::load).transpose()?;
    let listener =
        accept::listen(config.listen).with_context(|| format!("{} can't be listened on", config.listen))?;
    let links = config.base_url(listener.local_addr()?);
    metrics::start(config.metrics, node.clone(), Storage::Database(db.clone())).await?;
    if !role.has_pages() {
        let router = edge::router(&node, health(&node, Storage::Database(db.clone())));
        return Ok(running(config, node, Some(db), listener, tls, router));
    }
    tokio::spawn(mail::run(db.clone(), config.mail.clone(), links));
    let billing = config.billing.clone().map(|config| Billing::new(db.clone(), config));
    if let Some(billing) = billing.clone() {
        tokio::spawn(billing.run());
    }
    let database_file = tenancy::backup::sqlite_file(&config.database_url);
    let facts = ServerFacts {
        version: env!("CARGO_PKG_VERSION"),
        started_ms: tenancy::now_ms(),
        roles: role.about(),
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
        cluster_urls: config.cluster_urls.clone(),
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
        cluster_urls: config.cluster_urls.clone(),
        webhook_allow: config.webhook_allow.clone(),
        bills: billing.is_some(),
    };
    // Nodes may be of any cluster.
    let source = Arc::new(wiring::Source { elsewhere: Default::default(), ..source.as_ref().clone() });
    let nodes = api::node::router(db.clone(), source, sink, webhooks, config.cluster_urls.clone());
    let router = routes(&node, &db, billing.as_ref(), dashboard, management, role).merge(nodes);
    Ok(running(config, node, Some(db), listener, tls, router))
}

/// How the node runs, and which cluster it joins.
pub(crate) fn node_config(config: &Config) -> NodeConfig {
    let cluster = config.redis.clone().map(|(redis_url, prefix)| ClusterConfig {
        redis_url,
        prefix: format!("{prefix}:{}", config.cluster),
        about: wiring::about(&config.cluster, config.workers),
    });
    NodeConfig { workers: config.workers, cluster }
}

/// A port with all that it opens to.
pub(crate) fn running(
    config: &Config,
    node: Node,
    db: Option<Db>,
    listener: accept::Listener,
    tls: Option<Tls>,
    router: Router,
) -> Running {
    if let Some(tls) = tls.clone() {
        // A closed terminal ends `dev`, as it ends any program.
        tokio::spawn(tls.follow(!config.dev));
    }
    let door = Door { router, node: node.clone(), trust_proxy: config.trust_proxy, tls };
    Running { node, db, listener, door, drain: config.drain }
}

/// Where a node's apps are, as `/readyz` and metrics ask for it.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    /// Here.
    Database(Db),
    /// With the control plane.
    Control(Arc<wiring::Remote>),
}

/// How the process is, for load balancers.
pub(crate) fn health(node: &Node, storage: Storage) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        // Where Laravel Reverb answers its load balancers.
        .route("/up", get(async || axum::Json(serde_json::json!({ "health": "OK" }))))
        .route("/readyz", get(ready))
        .with_state((node.clone(), storage))
}

fn routes(
    node: &Node,
    db: &Db,
    billing: Option<&Billing>,
    dashboard: Dashboard,
    management: api::manage::Settings,
    role: Role,
) -> Router {
    let channels = match role.has_sockets() {
        true => api::channels::router(node.clone()),
        false => Router::new(),
    };
    Router::new()
        // A node without sockets says so by a close code, which is all that a browser can read.
        .merge(realtime::ws::router(node.clone()))
        .merge(realtime::fallback::router(node.clone()))
        .merge(channels)
        .merge(api::live::router(api::live::Live { node: node.clone(), db: db.clone() }))
        .merge(api::manage::router(node.clone(), db.clone(), management))
        .merge(health(node, Storage::Database(db.clone())))
        .merge(billing.map(Billing::router).unwrap_or_default())
        .merge(dashboard::api_reference::router(dashboard.clone(), &api::manage::document()))
        .merge(dashboard::router(dashboard))
        .fallback(async move |request: axum::extract::Request| {
            match (request.uri().path().starts_with("/apps"), role.has_sockets()) {
                (true, true) => api::channels::not_found(&request),
                (true, false) => (StatusCode::NOT_FOUND, NO_HTTP_API).into_response(),
                (false, _) => dashboard::not_found(),
            }
        })
}

async fn ready(State((node, storage)): State<(Node, Storage)>) -> (StatusCode, Cow<'static, str>) {
    if node.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into());
    }
    if node.is_in_touch() == Some(false) {
        return (StatusCode::SERVICE_UNAVAILABLE, "Redis can't be reached\n".into());
    }
    match storage {
        Storage::Database(db) => match db.ping().await {
            Ok(()) => (StatusCode::OK, "ready\n".into()),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database can't be reached\n".into()),
        },
        // Whom it knows it serves all the same, so nobody is sent away from it.
        Storage::Control(remote) => {
            (StatusCode::OK, remote.away().map_or("ready\n".into(), |away| away.told().into()))
        }
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
