//! The control plane for nodes without a database: `/internal/node/…`, JSON, to who shows a node token. A node gets the apps of its
//! token's cluster, gives their use, and keeps its webhooks here. It decides nothing: storage is asked by the same traits by which a
//! node with a database asks it. What a call and an app look like on the way is in [`wire`].

pub mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use realtime::app::AppSnapshot;
use realtime::apps::{AppRecord, AppSource, Elsewhere, Named, SourceError};
use realtime::node::SYSTEM_APP_ID;
use realtime::usage::{Report, UsageSink};
use realtime::webhooks::{NewDelivery, NotStored, WebhookStore};
use serde::Serialize;
use tenancy::db::{Db, DbError};
use tenancy::node_token::{self, NodeToken};
use tenancy::webhook_outbox as outbox;
use wire::{Call, Changes, Hello, WireApp};

/// Bytes of a call: a full batch of webhooks has some of them.
const CALL_BYTES_MAX: usize = 32 * 1_024 * 1_024;
/// How long a question for changes waits for one.
const CHANGES_WITHIN: Duration = Duration::from_secs(25);
/// How often storage is asked meanwhile: another process may write, too.
const POLL_EVERY: Duration = Duration::from_millis(400);
/// Changes told at once.
const PAGE: u32 = 500;
/// Clusters of apps and endpoints remembered; beyond it the memory starts again empty.
const CLUSTERS_MAX: usize = 50_000;

/// What nodes are served from.
#[derive(Clone)]
pub struct Nodes(Arc<Inner>);

struct Inner {
    db: Db,
    source: Arc<dyn AppSource>,
    sink: Arc<dyn UsageSink>,
    webhooks: Arc<dyn WebhookStore>,
    urls: BTreeMap<String, String>,
    clusters: Mutex<HashMap<String, Arc<str>>>,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes").finish_non_exhaustive()
    }
}

/// Why a call was not carried out.
enum Refused {
    Token,
    Call(String),
    Storage(String),
}

impl From<DbError> for Refused {
    fn from(error: DbError) -> Refused {
        Refused::Storage(error.to_string())
    }
}

impl From<SourceError> for Refused {
    fn from(error: SourceError) -> Refused {
        Refused::Storage(error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Refused::Token => {
                let text = "The node token is not valid: it is over, revoked, or of another server\n";
                (StatusCode::UNAUTHORIZED, text).into_response()
            }
            Refused::Call(text) => (StatusCode::BAD_REQUEST, text).into_response(),
            Refused::Storage(error) => {
                tracing::warn!(%error, "a node could not be served");
                (StatusCode::SERVICE_UNAVAILABLE, "Storage can't be reached\n").into_response()
            }
        }
    }
}

/// Routes for nodes. `source` knows the apps of all clusters; `urls` are the clusters' public addresses.
pub fn router(
    db: Db,
    source: Arc<dyn AppSource>,
    sink: Arc<dyn UsageSink>,
    webhooks: Arc<dyn WebhookStore>,
    urls: BTreeMap<String, String>,
) -> Router {
    let nodes = Nodes(Arc::new(Inner { db, source, sink, webhooks, urls, clusters: Mutex::default() }));
    Router::new()
        .route("/internal/node/call", post(call))
        .route("/internal/node/changes", get(changes))
        .with_state(nodes)
}

async fn token(nodes: &Nodes, headers: &HeaderMap) -> Result<NodeToken, Refused> {
    let text =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let text = text.ok_or(Refused::Token)?;
    node_token::verify(&nodes.0.db, text).await?.ok_or(Refused::Token)
}

async fn call(State(nodes): State<Nodes>, request: Request) -> Result<Response, Refused> {
    let token = token(&nodes, request.headers()).await?;
    let body =
        to_bytes(request.into_body(), CALL_BYTES_MAX).await.map_err(|e| Refused::Call(e.to_string()))?;
    // What stands in it may be a customer's: it is not repeated.
    let call = serde_json::from_slice(&body)
        .map_err(|_| Refused::Call("This is no call of a node: are both of one release?\n".to_owned()))?;
    Caller { token, nodes }.answer(call).await
}

#[derive(serde::Deserialize)]
struct After {
    #[serde(default)]
    after: i64,
}

async fn changes(
    State(nodes): State<Nodes>,
    Query(After { mut after }): Query<After>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let token = token(&nodes, &headers).await?;
    let caller = Caller { token, nodes };
    let db = &caller.nodes.0.db;
    let until = tokio::time::Instant::now() + CHANGES_WITHIN;
    loop {
        let mut apps = Vec::new();
        for change in tenancy::changes::since(db, after, PAGE).await? {
            after = change.seq;
            // A deleted app is nobody's, and whoever had it must know.
            if caller.may(&Of::App(change.app_id)).await? {
                apps.push(change.app_id);
            }
        }
        if !apps.is_empty() || tokio::time::Instant::now() >= until {
            return Ok(json(&Changes { seq: after, apps }));
        }
        let _ = tokio::time::timeout(POLL_EVERY, db.changed()).await;
    }
}

fn json<T: Serialize>(answer: &T) -> Response {
    axum::Json(answer).into_response()
}

/// Whose cluster is asked for.
enum Of<'a> {
    App(u64),
    Key(&'a str),
    Endpoint(&'a str),
}

/// A node, by its token.
struct Caller {
    token: NodeToken,
    nodes: Nodes,
}

impl Caller {
    /// The cluster of something; `None`: it is not in storage.
    async fn cluster_of(&self, of: &Of<'_>) -> Result<Option<Arc<str>>, Refused> {
        let Inner { db, clusters, .. } = &*self.nodes.0;
        let name = match of {
            Of::App(id) => format!("a{id}"),
            Of::Key(key) => format!("k{key}"),
            Of::Endpoint(id) => format!("e{id}"),
        };
        if let Some(known) = clusters.lock().get(&name) {
            return Ok(Some(known.clone()));
        }
        let found = match of {
            Of::App(id) => outbox::cluster_of_app(db, *id).await?,
            Of::Key(key) => outbox::cluster_of_key(db, key).await?,
            Of::Endpoint(id) => outbox::cluster_of_endpoint(db, id).await?,
        };
        let found: Option<Arc<str>> = found.map(Into::into);
        if let Some(cluster) = &found {
            let mut clusters = clusters.lock();
            if clusters.len() >= CLUSTERS_MAX {
                clusters.clear();
            }
            clusters.insert(name, cluster.clone());
        }
        Ok(found)
    }

    /// May this node touch it? What is not in storage any more can't be touched, and may be named.
    async fn may(&self, of: &Of<'_>) -> Result<bool, Refused> {
        Ok(self.cluster_of(of).await?.is_none_or(|cluster| *cluster == *self.token.cluster))
    }

    /// A node's claims are those of its token, whatever it calls itself.
    fn lease(&self, node: &str) -> String {
        format!("{}/{node}", self.token.id)
    }

    fn own(&self, record: Option<AppRecord>) -> Option<WireApp> {
        let mut record = record?;
        let AppSnapshot { internal, cluster, .. } = &mut record.snapshot;
        if *internal {
            *cluster = self.token.cluster.as_str().into();
        }
        (**cluster == *self.token.cluster).then(|| WireApp::new(&record))
    }

    async fn find(&self, named: &wire::Name) -> Result<Option<AppRecord>, Refused> {
        let source = &self.nodes.0.source;
        Ok(match named.as_named() {
            Named::Key(key) => source.by_key(key).await?,
            Named::Id(id) => source.by_id(id).await?,
        })
    }

    async fn report(&self, mut report: Report) -> Result<Response, Refused> {
        let mut rows = Vec::with_capacity(report.rows.len());
        for row in report.rows {
            match self.may(&Of::App(row.app_id)).await? {
                true => rows.push(row),
                false => tracing::warn!(
                    node = self.token.name,
                    app.id = row.app_id,
                    "a node reports use of an app of another cluster"
                ),
            }
        }
        let mut asks = Vec::new();
        for id in report.asks {
            if self.may(&Of::App(id)).await? {
                asks.push(id);
            }
        }
        report.node = self.lease(&report.node).into();
        Ok(json(&self.nodes.0.sink.take(Report { rows, asks, ..report }).await?))
    }

    async fn put(&self, node: &str, until_ms: i64, all: Vec<NewDelivery>) -> Result<NotStored, Refused> {
        let (mut new, mut foreign) = (Vec::new(), Vec::new());
        for one in all {
            match self.may(&Of::Endpoint(&one.endpoint_id)).await? {
                true => new.push(one),
                false => foreign.push(one.id),
            }
        }
        let mut not_stored = self.nodes.0.webhooks.put(node, until_ms, new).await?;
        not_stored.gone.extend(foreign);
        Ok(not_stored)
    }

    async fn own_endpoints(&self, all: Vec<String>) -> Result<Vec<String>, Refused> {
        let mut own = Vec::new();
        for id in all {
            if self.may(&Of::Endpoint(&id)).await? {
                own.push(id);
            }
        }
        Ok(own)
    }

    async fn answer(&self, call: Call) -> Result<Response, Refused> {
        let Inner { db, sink, webhooks, urls, .. } = &*self.nodes.0;
        Ok(match call {
            Call::Hello => {
                let seq = tenancy::changes::last(db).await?;
                let system = self.own(self.find(&wire::Name::Id(SYSTEM_APP_ID)).await?);
                json(&Hello { cluster: self.token.cluster.clone(), seq, system })
            }
            Call::App(name) => json(&self.own(self.find(&name).await?)),
            Call::Elsewhere(name) => {
                let record =
                    self.find(&name).await?.filter(|one| *one.snapshot.cluster != *self.token.cluster);
                json(&record.filter(|one| !one.snapshot.internal).map(|one| Elsewhere {
                    url: urls.get(&*one.snapshot.cluster).map(|url| url.as_str().into()),
                    cluster: one.snapshot.cluster,
                }))
            }
            Call::AppIds => {
                let all = tenancy::app::list_all(db).await?;
                let own = all.iter().filter(|app| app.cluster == self.token.cluster);
                json(&own.map(|app| app.id).collect::<Vec<u64>>())
            }
            Call::Take(report) => self.report(report).await?,
            Call::KeysUsed(all) => {
                let mut keys = Vec::new();
                for one in all {
                    if self.may(&Of::Key(&one.key)).await? {
                        keys.push(one);
                    }
                }
                json(&sink.keys_used(keys).await?)
            }
            Call::Put { node, until_ms, new } => json(&self.put(&self.lease(&node), until_ms, new).await?),
            Call::Waiting { now_ms } => json(&self.own_endpoints(webhooks.waiting(now_ms).await?).await?),
            Call::Claim { node, now_ms, until_ms, endpoint_id, limit } => {
                if !self.may(&Of::Endpoint(&endpoint_id)).await? {
                    return Err(Refused::Call("This endpoint is another cluster's\n".to_owned()));
                }
                let lease = self.lease(&node);
                json(&webhooks.claim(&lease, now_ms, until_ms, &endpoint_id, limit).await?)
            }
            Call::GiveBack { node, endpoint_id, known } => {
                json(&outbox::give_back(db, &self.lease(&node), &endpoint_id, &known).await?)
            }
            Call::Renew { node, until_ms } => json(&webhooks.renew(&self.lease(&node), until_ms).await?),
            Call::Release { node } => json(&webhooks.release(&self.lease(&node)).await?),
            Call::Finish { node, outcomes } => json(&webhooks.finish(&self.lease(&node), outcomes).await?),
            Call::Hold(all) => {
                let mut events = Vec::new();
                for (id, event) in all {
                    if self.may(&Of::App(id)).await? {
                        events.push((id, event));
                    }
                }
                json(&webhooks.hold(events).await?)
            }
            Call::TakeHeld => json(&outbox::take_held_in(db, &self.token.cluster).await?),
            Call::Prune { now_ms, endpoint_ids } => {
                json(&webhooks.prune(now_ms, self.own_endpoints(endpoint_ids).await?).await?)
            }
        })
    }
}
