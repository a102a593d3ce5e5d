//! A node's storage when it has no database: apps, usage and webhooks by HTTP from the control plane (`api::node`), with a node token.
//! It notes since when the control plane can't be reached. What waits meanwhile waits where it does when a database is away: counts in
//! the flusher, webhooks in the backlog, both bounded.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::node::wire::{Call, Changes, Hello, Name, WireApp};
use axum::body::Bytes;
use http::{Method, Request, header};
use outbound::pool::Pool;
use parking_lot::Mutex;
use realtime::Node;
use realtime::apps::{AppRecord, AppSource, Elsewhere, Named, SourceError};
use realtime::key_use::KeyNumbers;
use realtime::node::SYSTEM_APP_ID;
use realtime::usage::{BoxFuture, Report, Totals, UsageSink};
use realtime::webhooks::{Claimed, NewDelivery, NotStored, Outcome, Paused, State, WebhookStore};
use serde::de::DeserializeOwned;

use crate::roles::ControlAt;

/// A call has this long.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// A question for changes waits 25 s for one.
const CHANGES_WITHIN: Duration = Duration::from_secs(40);
/// Between two attempts when the control plane is away.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// The control plane, as a node sees it.
#[derive(Debug)]
pub struct Remote {
    pool: Pool,
    at: ControlAt,
    away: Mutex<Option<Away>>,
    system: Mutex<Option<WireApp>>,
    claims: Mutex<Claims>,
}

/// The control plane doesn't answer.
#[derive(Clone, Debug)]
pub struct Away {
    /// Milliseconds since the epoch.
    pub since_ms: i64,
    /// It answers, but not to this token.
    pub refused: bool,
}

/// Deliveries that the node holds, by endpoint; and endpoints of which it may have been given more than it knows.
#[derive(Debug, Default)]
struct Claims {
    known: HashMap<String, HashSet<String>>,
    doubtful: HashSet<String>,
}

impl Remote {
    /// A control plane that was not asked anything yet.
    pub fn new(at: ControlAt) -> Remote {
        Remote {
            pool: Pool::new(at.place.clone()),
            at,
            away: Mutex::default(),
            system: Mutex::default(),
            claims: Mutex::default(),
        }
    }

    /// Since when the control plane is away; `None`: it answers.
    pub fn away(&self) -> Option<Away> {
        self.away.lock().clone()
    }

    /// Asks which cluster this node is of, and where changes begin.
    pub async fn hello(&self) -> Result<Hello, SourceError> {
        let hello: Hello = self.call(&Call::Hello).await?;
        self.system.lock().clone_from(&hello.system);
        Ok(hello)
    }

    /// The ids of this cluster's apps.
    pub async fn app_ids(&self) -> Result<Vec<u64>, SourceError> {
        self.call(&Call::AppIds).await
    }

    async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, SourceError> {
        let body = serde_json::to_vec(call).map_err(|e| SourceError(e.to_string()))?;
        self.send(Method::POST, "/internal/node/call", body.into(), CALL_WITHIN).await
    }

    async fn changes(&self, after: i64) -> Result<Changes, SourceError> {
        let path = format!("/internal/node/changes?after={after}");
        self.send(Method::GET, &path, Bytes::new(), CHANGES_WITHIN).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<T, SourceError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.at.place.authority)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.at.token.expose()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into())
            .map_err(|e| SourceError(e.to_string()))?;
        let answer = tokio::time::timeout(within, self.pool.call(request, ANSWER_BYTES_MAX)).await;
        let answer = answer.unwrap_or_else(|_| Err("it does not answer".to_owned()));
        match answer {
            Ok((200, body)) => {
                self.is_back();
                serde_json::from_slice(&body).map_err(|_| {
                    SourceError("the control plane answers what this release doesn't know".to_owned())
                })
            }
            Ok((401, _)) => Err(self.is_away(true, "the control plane refuses the node token".to_owned())),
            Ok((status, body)) if status < 500 => {
                let text = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
                Err(SourceError(format!("the control plane answers {status}: {text}")))
            }
            Ok((status, _)) => Err(self.is_away(false, format!("the control plane answers {status}"))),
            Err(error) => Err(self.is_away(false, format!("the control plane can't be reached: {error}"))),
        }
    }

    fn is_back(&self) {
        if self.away.lock().take().is_some() {
            tracing::info!("the control plane answers");
        }
    }

    fn is_away(&self, refused: bool, why: String) -> SourceError {
        let mut away = self.away.lock();
        match &mut *away {
            Some(away) => away.refused = refused,
            None => {
                tracing::warn!(url = self.at.url, "{why}: known apps go on, it is tried again");
                *away = Some(Away { since_ms: tenancy::now_ms(), refused });
            }
        }
        SourceError(why)
    }

    async fn app(&self, name: Name) -> Result<Option<AppRecord>, SourceError> {
        let found: Option<WireApp> = self.call(&Call::App(name)).await?;
        Ok(found.map(WireApp::into_record))
    }

    fn knows(&self, endpoint: &str, id: &str) {
        self.claims.lock().known.entry(endpoint.to_owned()).or_default().insert(id.to_owned());
    }

    fn forgets(&self, endpoint: &str, id: &str) {
        let mut claims = self.claims.lock();
        if let Some(known) = claims.known.get_mut(endpoint) {
            known.remove(id);
            if known.is_empty() {
                claims.known.remove(endpoint);
            }
        }
    }

    /// Gives back what a claim brought whose answer was lost.
    async fn settle(&self, node: &str, endpoint: &str) -> Result<(), SourceError> {
        let known: Vec<String> = {
            let claims = self.claims.lock();
            if !claims.doubtful.contains(endpoint) {
                return Ok(());
            }
            claims.known.get(endpoint).map(|known| known.iter().cloned().collect()).unwrap_or_default()
        };
        let endpoint_id = endpoint.to_owned();
        self.call::<()>(&Call::GiveBack { node: node.to_owned(), endpoint_id, known }).await?;
        self.claims.lock().doubtful.remove(endpoint);
        Ok(())
    }
}

impl AppSource for Remote {
    fn by_key<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<AppRecord>, SourceError>> {
        Box::pin(self.app(Name::Key(key.to_owned())))
    }

    fn by_id(&self, id: u64) -> BoxFuture<'_, Result<Option<AppRecord>, SourceError>> {
        // Its key pair stays for good; the node begins with it.
        let system = self.system.lock().clone().filter(|_| id == SYSTEM_APP_ID);
        Box::pin(async move {
            match system {
                Some(system) => Ok(Some(system.into_record())),
                None => self.app(Name::Id(id)).await,
            }
        })
    }

    fn elsewhere<'a>(&'a self, named: Named<'a>) -> BoxFuture<'a, Result<Option<Elsewhere>, SourceError>> {
        Box::pin(async move { self.call(&Call::Elsewhere(named.into())).await })
    }
}

impl UsageSink for Remote {
    fn take(&self, report: Report) -> BoxFuture<'_, Result<Vec<Totals>, SourceError>> {
        Box::pin(async move { self.call(&Call::Take(report)).await })
    }

    fn keys_used(&self, keys: Vec<KeyNumbers>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move { self.call(&Call::KeysUsed(keys)).await })
    }
}

impl WebhookStore for Remote {
    fn new_id(&self) -> String {
        tenancy::webhook_outbox::delivery_id()
    }

    fn put<'a>(
        &'a self,
        node: &'a str,
        until_ms: i64,
        new: Vec<NewDelivery>,
    ) -> BoxFuture<'a, Result<NotStored, SourceError>> {
        Box::pin(async move {
            // Before it leaves: whatever is claimed of these is known.
            for one in new.iter().filter(|one| one.claimed) {
                self.knows(&one.endpoint_id, &one.id);
            }
            let claimed: Vec<(String, Arc<str>)> =
                new.iter().map(|one| (one.id.clone(), one.endpoint_id.clone())).collect();
            let stored: NotStored = self.call(&Call::Put { node: node.to_owned(), until_ms, new }).await?;
            for (id, endpoint) in &claimed {
                if stored.gone.contains(id) || stored.too_many.contains(id) {
                    self.forgets(endpoint, id);
                }
            }
            Ok(stored)
        })
    }

    fn waiting(&self, now_ms: i64) -> BoxFuture<'_, Result<Vec<String>, SourceError>> {
        Box::pin(async move { self.call(&Call::Waiting { now_ms }).await })
    }

    fn claim<'a>(
        &'a self,
        node: &'a str,
        now_ms: i64,
        until_ms: i64,
        endpoint_id: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Claimed>, SourceError>> {
        Box::pin(async move {
            self.settle(node, endpoint_id).await?;
            self.claims.lock().doubtful.insert(endpoint_id.to_owned());
            let node = node.to_owned();
            let call = Call::Claim { node, now_ms, until_ms, endpoint_id: endpoint_id.to_owned(), limit };
            let claimed: Vec<Claimed> = self.call(&call).await?;
            claimed.iter().for_each(|one| self.knows(&one.endpoint_id, &one.id));
            self.claims.lock().doubtful.remove(endpoint_id);
            Ok(claimed)
        })
    }

    fn renew<'a>(&'a self, node: &'a str, until_ms: i64) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let doubtful: Vec<String> = self.claims.lock().doubtful.iter().cloned().collect();
            for endpoint in doubtful {
                self.settle(node, &endpoint).await?;
            }
            self.call(&Call::Renew { node: node.to_owned(), until_ms }).await
        })
    }

    fn release<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            self.call::<()>(&Call::Release { node: node.to_owned() }).await?;
            *self.claims.lock() = Claims::default();
            Ok(())
        })
    }

    fn finish<'a>(
        &'a self,
        node: &'a str,
        outcomes: Vec<Outcome>,
    ) -> BoxFuture<'a, Result<Vec<Paused>, SourceError>> {
        Box::pin(async move {
            let over = |one: &&Outcome| !matches!(one.state, State::Pending(_));
            let ended: Vec<(Arc<str>, String)> =
                outcomes.iter().filter(over).map(|one| (one.endpoint_id.clone(), one.id.clone())).collect();
            let paused = self.call(&Call::Finish { node: node.to_owned(), outcomes }).await?;
            ended.iter().for_each(|(endpoint, id)| self.forgets(endpoint, id));
            Ok(paused)
        })
    }

    fn hold(&self, events: Vec<(u64, String)>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move { self.call(&Call::Hold(events)).await })
    }

    fn take_held(&self) -> BoxFuture<'_, Result<Vec<(u64, String)>, SourceError>> {
        Box::pin(async move { self.call(&Call::TakeHeld).await })
    }

    fn prune(&self, now_ms: i64, endpoint_ids: Vec<String>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move { self.call(&Call::Prune { now_ms, endpoint_ids }).await })
    }
}

/// Follows the control plane's changes from `seq` on, until the process ends.
pub async fn follow_remote(remote: Arc<Remote>, node: Node, mut seq: i64) {
    let mut stale: BTreeSet<u64> = BTreeSet::new();
    loop {
        while let Some(id) = stale.first().copied() {
            let read = match node.refresh(id).await {
                // A new app is known before its first client, and before the control plane is away.
                Ok(()) => node.apps().find_by_id(id).await.map(drop),
                Err(error) => Err(error),
            };
            if read.is_err() {
                break;
            }
            stale.remove(&id);
        }
        if !stale.is_empty() {
            tokio::time::sleep(RETRY_EVERY).await;
            continue;
        }
        match remote.changes(seq).await {
            Ok(changes) => {
                seq = changes.seq;
                stale.extend(changes.apps);
            }
            Err(_) => tokio::time::sleep(RETRY_EVERY).await,
        }
    }
}

impl Away {
    /// For people and load balancers.
    pub fn told(&self) -> String {
        let since = jiff::Timestamp::from_millisecond(self.since_ms / 1_000 * 1_000).unwrap_or_default();
        match self.refused {
            true => format!(
                "ready, but the control plane refuses this node's token since {since}: known apps go on\n"
            ),
            false => {
                format!("ready, but the control plane can't be reached since {since}: known apps go on\n")
            }
        }
    }
}
