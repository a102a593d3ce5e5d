//! The handles that one process shares: apps, shards, broker. Starting and ending it. No verbs here.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use protocol::close::CloseCode;

use crate::app::{App, AppSnapshot};
use crate::apps::{AppSource, Apps, Reloaded, SourceError};
use crate::broker::{Broker, Local};
use crate::cluster::{self, Cluster, ClusterConfig};
use crate::connect_rate::ConnectRates;
use crate::console::{self, Kind, run_tap};
use crate::fallback::session::Sessions;
use crate::key_use::{KEY_REVOKED, Slot};
use crate::later::{self, Later};
use crate::shard::inbox::{Command, Inbox, QUEUED_BYTES_MAX};
use crate::shard::{self};
use crate::subscribe::{self, Refusal};
use crate::totals::Totals;
use crate::unknown_keys::UnknownKeys;
use crate::usage::{self, Flusher, UsageSink};
use crate::webhooks::Webhooks;

/// The dashboard's own app, whose channels carry the console.
pub const SYSTEM_APP_ID: u64 = 1;

/// How long a drained node still answers those who come back at once.
const FAREWELL: Duration = Duration::from_millis(300);

const RESTARTING: &str = "The server is restarting: reconnect";

/// How to run a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Threads of the data plane, at least 1.
    pub workers: usize,
    /// The cluster that the node is one of; `None`: it is alone.
    pub cluster: Option<ClusterConfig>,
}

/// One process of the data plane. Clones are the same node.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    apps: Apps,
    broker: Box<dyn Broker>,
    shards: Vec<Arc<Inbox>>,
    next_shard: AtomicUsize,
    draining: AtomicBool,
    unknown_keys: UnknownKeys,
    sessions: Sessions,
    webhooks: Webhooks,
    later: Later,
    sink: Arc<dyn UsageSink>,
    flusher: tokio::sync::Mutex<Flusher>,
    echo: OnceLock<usize>,
    no_sockets: OnceLock<Arc<str>>,
    totals: Arc<Totals>,
    connects: ConnectRates,
    cluster: Option<Arc<Cluster>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Node {
    /// Starts the shards and the background work; needs a tokio runtime around it.
    pub async fn start(
        config: NodeConfig,
        source: Arc<dyn AppSource>,
        sink: Arc<dyn UsageSink>,
    ) -> io::Result<Node> {
        let name: Arc<str> = match &config.cluster {
            None => format!("n{:04x}", rand::random::<u16>()).into(),
            Some(_) => format!("n{:08x}", rand::random::<u32>()).into(),
        };
        let cluster = config.cluster.map(|config| Arc::new(Cluster::new(config, name.clone())));
        let starters =
            (0..config.workers.max(1)).map(|_| shard::Starter::new()).collect::<io::Result<Vec<_>>>()?;
        let totals = Arc::<Totals>::default();
        let node = Node(Arc::new(Inner {
            apps: Apps::new(source, name.clone()),
            name,
            broker: Box::new(Local),
            shards: starters.iter().map(shard::Starter::inbox).collect(),
            next_shard: 0.into(),
            draining: false.into(),
            unknown_keys: UnknownKeys::default(),
            sessions: Sessions::default(),
            webhooks: Webhooks::default(),
            later: Later::default(),
            sink,
            flusher: tokio::sync::Mutex::new(Flusher::new(totals.clone())),
            echo: OnceLock::new(),
            no_sockets: OnceLock::new(),
            totals,
            connects: ConnectRates::default(),
            cluster,
        }));
        if let Some(cluster) = node.cluster() {
            tokio::spawn(cluster::run(node.clone(), cluster.clone()));
        }
        for (id, starter) in starters.into_iter().enumerate() {
            starter.spawn(id as u16, node.clone())?;
        }
        match node.apps().find_by_id(SYSTEM_APP_ID).await {
            Ok(Some(system)) => drop(tokio::spawn(run_tap(node.clone(), system))),
            Ok(None) => tracing::warn!("there is no system app: the debug console shows no live rows"),
            Err(error) => return Err(io::Error::other(error)),
        }
        tokio::spawn(later::run(node.clone()));
        let flusher = node.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(usage::FLUSH_EVERY);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    () = flusher.apps().flush.notified() => {}
                }
                flusher.flush_usage().await;
            }
        });
        Ok(node)
    }

    /// The node's name in rows and cursors; another one after each start.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// The apps that this node knows.
    pub fn apps(&self) -> &Apps {
        &self.0.apps
    }

    /// Attempts with keys that no app has.
    pub fn unknown_keys(&self) -> &UnknownKeys {
        &self.0.unknown_keys
    }

    /// Clients that come by HTTP.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    pub(crate) fn webhooks(&self) -> &Webhooks {
        &self.0.webhooks
    }

    pub(crate) fn later(&self) -> &Later {
        &self.0.later
    }

    /// Is the node going away?
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Relaxed)
    }

    /// For tests of conformance to RFC 6455: every socket from now on gets its messages back, up to this size, and nothing
    /// else. All that lies around the messages is what it always is.
    pub fn echo_all(&self, message_bytes_max: usize) {
        let _ = self.0.echo.set(message_bytes_max);
    }

    /// From now on every socket is closed with 4001 and this text: the node is there for others to publish and to look through.
    pub fn refuse_sockets(&self, text: &str) {
        let _ = self.0.no_sockets.set(text.into());
    }

    pub(crate) fn no_sockets(&self) -> Option<&str> {
        self.0.no_sockets.get().map(|text| &**text)
    }

    pub(crate) fn echoes(&self) -> Option<usize> {
        self.0.echo.get().copied()
    }

    pub(crate) fn broker(&self) -> &dyn Broker {
        &*self.0.broker
    }

    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.0.cluster.as_ref()
    }

    /// What the node says of itself to the others: what its operator gave it, and its numbers.
    pub(crate) fn says(&self, cluster: &Cluster) -> serde_json::Value {
        let mut says = (cluster.config.about)();
        says["connections"] = self.apps().all().iter().map(|app| app.meter.open()).sum::<u64>().into();
        says["channels"] = self.apps().all().iter().map(|app| app.channels.len() as u64).sum::<u64>().into();
        says["draining"] = self.is_draining().into();
        says
    }

    /// Clients may have missed something: they are told to connect again, spread over this time.
    pub(crate) fn renew(&self, over: Duration) {
        let reason = "Something may have been missed: reconnect";
        self.0.shards.iter().for_each(|shard| shard.push(Command::Drain(over, reason)));
    }

    pub(crate) fn connects(&self) -> &ConnectRates {
        &self.0.connects
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.0.totals
    }

    /// Bytes that wait for each shard.
    pub(crate) fn queued_bytes(&self) -> Vec<u64> {
        self.0.shards.iter().map(|shard| shard.queued_bytes() as u64).collect()
    }

    pub(crate) fn shard(&self, id: u16) -> &Inbox {
        &self.0.shards[id as usize]
    }

    /// The shard that gets the next connection.
    pub(crate) fn next_shard(&self) -> &Arc<Inbox> {
        let at = self.0.next_shard.fetch_add(1, Relaxed) % self.0.shards.len();
        &self.0.shards[at]
    }

    pub(crate) fn is_overloaded(&self) -> bool {
        self.0.shards.iter().any(|shard| shard.queued_bytes() > QUEUED_BYTES_MAX)
            || self.cluster().is_some_and(|cluster| cluster.queue.is_full())
    }

    /// An app changed in storage: reads it anew. Sockets of an app that was disabled or deleted are closed.
    pub async fn refresh(&self, id: u64) -> Result<(), SourceError> {
        self.webhooks().nudge();
        let before = self.apps().loaded(id).map(|app| app.snapshot());
        let Some((app, became)) = self.apps().reload(id).await? else { return Ok(()) };
        if became == Reloaded::Moved {
            self.close_consoles(&app);
            self.close_app(id, None, CloseCode::Reconnect, "The app was moved");
            return Ok(());
        }
        let (snapshot, exists) = (app.snapshot(), became != Reloaded::Gone);
        if let Reloaded::Changed { revoked } = became {
            for slot in revoked {
                self.close_app(id, Some(slot), CloseCode::UnknownApp, KEY_REVOKED);
            }
        }
        if let Some(before) = before.as_deref().filter(|before| before.access != snapshot.access) {
            self.close_consoles(&app);
            if exists && *before == (AppSnapshot { access: before.access.clone(), ..(*snapshot).clone() }) {
                return Ok(());
            }
        }
        if exists && before.is_some_and(|before| before == snapshot) {
            // A wake-up only, such as for a webhook to send again.
            return Ok(());
        }
        app.console.record(Kind::ConfigChanged, |row| {
            row.details = match (exists, snapshot.enabled) {
                (false, _) => "the app was deleted".into(),
                (true, false) => "the app is disabled".into(),
                (true, true) => format!(
                    "settings now: client events {}, {}, {}",
                    if snapshot.client_events { "on" } else { "off" },
                    match snapshot.allowed_origins.len() {
                        0 => "any origin".to_owned(),
                        n => format!("{n} allowed origins"),
                    },
                    match snapshot.webhooks.iter().filter(|endpoint| endpoint.active).count() {
                        1 => "1 webhook".to_owned(),
                        n => format!("{n} webhooks"),
                    }
                ),
            };
        });
        if !exists {
            self.close_consoles(&app);
            self.close_app(id, None, CloseCode::UnknownApp, "The app was deleted");
        } else if !snapshot.enabled {
            self.close_app(id, None, CloseCode::AppDisabled, "The app is disabled");
        }
        Ok(())
    }

    /// Whoever watches an app's console must ask anew whether they may: with a new socket, for which no signature of before is
    /// good.
    fn close_consoles(&self, app: &App) {
        *app.watched_anew.lock() = Some(Instant::now());
        let prefixes: Arc<[String]> = console::channel_prefixes(app.id()).into();
        let reason: Arc<str> = "Who may watch this app has changed".into();
        self.0.shards.iter().for_each(|shard| {
            shard.push(Command::CloseOn(SYSTEM_APP_ID, prefixes.clone(), reason.clone()));
        });
    }

    /// Is a channel of the dashboard's own app one that a socket of this age may join? Of other apps, all are.
    pub(crate) fn may_watch(&self, app: &App, channel: &str, opened: Instant) -> Result<(), Refusal> {
        if app.id() != SYSTEM_APP_ID {
            return Ok(());
        }
        let watched =
            channel.split('-').nth(3).and_then(|id| id.parse().ok()).and_then(|id| self.apps().loaded(id));
        match watched.and_then(|watched| *watched.watched_anew.lock()) {
            Some(since) if opened <= since => {
                Err(subscribe::auth(403, "Who may watch this app has changed: connect again".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Closes the sockets of an app, or those that came with one of its keys.
    fn close_app(&self, id: u64, slot: Option<Slot>, code: CloseCode, reason: &str) {
        let reason: Arc<str> = reason.into();
        let close = || Command::CloseApp { id, slot, code, reason: reason.clone() };
        self.0.shards.iter().for_each(|shard| shard.push(close()));
    }

    async fn flush_usage(&self) {
        let mut flusher = self.0.flusher.lock().await;
        if let Err(error) = flusher.flush(self.apps(), &*self.0.sink).await {
            tracing::warn!(%error, "usage was not written; it will be tried again");
        }
        if let Err(error) = usage::tell_keys(self.apps(), &*self.0.sink).await {
            tracing::warn!(%error, "the use of keys was not written; it will be tried again");
        }
    }

    /// Goes away politely: newcomers are told to come back a little later (4100), open sockets are closed with 4200 in turn
    /// over `over`. Returns when all are gone, and long enough after the last one that its next attempt still finds somebody:
    /// a refused TCP connection costs pusher-js fifteen seconds, a close code one. Keep accepting until then.
    pub async fn drain(&self, over: Duration) {
        self.0.draining.store(true, Relaxed);
        let open = || self.apps().all().iter().any(|app| app.meter.open() > 0);
        let had_some = open();
        self.0.shards.iter().for_each(|shard| shard.push(Command::Drain(over, RESTARTING)));
        let deadline = tokio::time::Instant::now() + over + Duration::from_secs(1);
        while open() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if had_some {
            tokio::time::sleep(FAREWELL).await;
        }
        if let Some(cluster) = self.cluster() {
            cluster.settle().await;
        }
    }

    /// Writes what is not yet in storage and ends the shards.
    pub async fn stop(&self) {
        self.stop_webhooks().await;
        self.flush_usage().await;
        self.0.shards.iter().for_each(|shard| shard.push(Command::Stop));
    }
}
