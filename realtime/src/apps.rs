//! Finds apps by key or id: from memory, else from the source. A notice of change swaps the snapshot in place, so that open
//! sockets see it at their next decision.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::app::{App, AppSnapshot};
use crate::key_use::Slot;
use crate::meter::{AppMeter, ScopeMeter};
use crate::usage::BoxFuture;

/// Keys and ids that no app has are remembered this long, so that a flood of them doesn't reach storage.
const UNKNOWN_TTL: Duration = Duration::from_millis(500);
/// Unknown keys remembered; beyond it the memory starts again empty.
const UNKNOWN_MAX: usize = 10_000;
/// Apps held in memory; beyond it those without connections are forgotten.
const APPS_MAX: usize = 50_000;

/// Storage could not be asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the app store can't be reached: {0}")]
pub struct SourceError(pub String);

/// What the source knows of an app.
#[derive(Clone, Debug)]
pub struct AppRecord {
    /// How to decide.
    pub snapshot: AppSnapshot,
    /// UTC day that the counts belong to.
    pub day: u32,
    /// Messages of the meter scope on that day, as stored.
    pub scope_messages: u64,
    /// Messages of the app on that day, as stored.
    pub app_messages: u64,
}

/// How an app is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// By one of its keys.
    Key(&'a str),
    /// By its id.
    Id(u64),
}

/// An app that lives in another cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// That cluster.
    pub cluster: Arc<str>,
    /// Its public address, `https://…`, if the operator named it.
    pub url: Option<Arc<str>>,
}

impl Elsewhere {
    /// What a client is told.
    pub fn for_sockets(&self) -> String {
        match &self.url {
            Some(url) => {
                format!(
                    "This app lives in cluster {}: connect to {}",
                    self.cluster,
                    url.replacen("http", "ws", 1)
                )
            }
            None => format!("This app lives in cluster {}: connect to a node of it", self.cluster),
        }
    }

    /// What a backend is told.
    pub fn for_requests(&self) -> String {
        match &self.url {
            Some(url) => format!("This app lives in cluster {}: send this to {url}", self.cluster),
            None => format!("This app lives in cluster {}: send this to a node of it", self.cluster),
        }
    }
}

/// Where apps come from.
pub trait AppSource: Send + Sync + 'static {
    /// The app that has this key.
    fn by_key<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<AppRecord>, SourceError>>;
    /// The app with this id.
    fn by_id(&self, id: u64) -> BoxFuture<'_, Result<Option<AppRecord>, SourceError>>;
    /// Where an app lives that the other two don't give, since it is not of this cluster. A source of one cluster need not say.
    fn elsewhere<'a>(&'a self, named: Named<'a>) -> BoxFuture<'a, Result<Option<Elsewhere>, SourceError>> {
        let _ = named;
        Box::pin(async { Ok(None) })
    }
}

#[derive(Default)]
struct Maps {
    by_id: HashMap<u64, Arc<App>>,
    by_key: HashMap<Arc<str>, Arc<App>>,
    scopes: HashMap<Arc<str>, Arc<ScopeMeter>>,
    /// Deleted apps whose last sockets are closing or whose last counts are not yet written.
    leaving: Vec<Arc<App>>,
}

/// What became of an app that was read anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// It has the snapshot of now; these are the places of keys that are no more and still have connections.
    Changed { revoked: Vec<Slot> },
    /// It is counted with others than before, since it was moved to another account.
    Moved,
    /// It was deleted.
    Gone,
}

/// The apps that this node has met.
pub struct Apps {
    source: Arc<dyn AppSource>,
    node: Arc<str>,
    maps: RwLock<Maps>,
    unknown: Mutex<HashMap<Box<str>, Unknown>>,
    /// Counts are to be written before their second is over.
    pub(crate) flush: Arc<Notify>,
}

/// A key or id that no app of this cluster has.
struct Unknown {
    since: Instant,
    /// Asked once: where it lives instead.
    elsewhere: Option<Option<Elsewhere>>,
}

impl std::fmt::Debug for Apps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apps").finish_non_exhaustive()
    }
}

impl Apps {
    pub(crate) fn new(source: Arc<dyn AppSource>, node: Arc<str>) -> Apps {
        Apps { source, node, maps: RwLock::default(), unknown: Mutex::default(), flush: Arc::default() }
    }

    /// The app in memory, without asking the source.
    pub fn loaded(&self, id: u64) -> Option<Arc<App>> {
        self.maps.read().by_id.get(&id).cloned()
    }

    /// Apps with console rows that nobody looked at yet; asks each once.
    pub(crate) fn with_news(&self) -> Vec<Arc<App>> {
        let maps = self.maps.read();
        maps.by_id.values().filter(|app| app.console.take_news()).cloned().collect()
    }

    /// An app that counts in this meter scope.
    pub(crate) fn find_in_scope(&self, scope: &str) -> Option<Arc<App>> {
        self.maps.read().by_id.values().find(|app| *app.snapshot().meter_scope == *scope).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<App>> {
        self.maps.read().by_id.values().cloned().collect()
    }

    /// All apps with counts to write, the deleted ones too; those that are done are forgotten.
    pub(crate) fn all_to_flush(&self) -> Vec<Arc<App>> {
        let mut maps = self.maps.write();
        maps.leaving.retain(|app| app.meter.open() > 0 || app.meter.has_pending());
        maps.by_id.values().chain(&maps.leaving).cloned().collect()
    }

    /// The app that has this key.
    pub async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, SourceError> {
        if let Some(app) = self.maps.read().by_key.get(key) {
            return Ok(Some(app.clone()));
        }
        if self.is_unknown(key) {
            return Ok(None);
        }
        match self.source.by_key(key).await? {
            Some(record) => Ok(Some(self.install(record))),
            None => {
                self.remember_unknown(key);
                Ok(None)
            }
        }
    }

    /// The app with this id.
    pub async fn find_by_id(&self, id: u64) -> Result<Option<Arc<App>>, SourceError> {
        if let Some(app) = self.loaded(id) {
            return Ok(Some(app));
        }
        let name = format!("#{id}");
        if self.is_unknown(&name) {
            return Ok(None);
        }
        match self.source.by_id(id).await? {
            Some(record) => Ok(Some(self.install(record))),
            None => {
                self.remember_unknown(&name);
                Ok(None)
            }
        }
    }

    /// Reads an app anew. Gives what the node holds of it and what became of it.
    pub(crate) async fn reload(&self, id: u64) -> Result<Option<(Arc<App>, Reloaded)>, SourceError> {
        self.unknown.lock().clear();
        let Some(app) = self.loaded(id) else { return Ok(None) };
        match self.source.by_id(id).await? {
            Some(record) => {
                if record.snapshot.meter_scope != app.snapshot().meter_scope {
                    // Its counts belong to another scope from here on, so it leaves and comes anew.
                    self.let_go(&app);
                    return Ok(Some((self.install(record), Reloaded::Moved)));
                }
                let mut maps = self.maps.write();
                maps.by_key.retain(|_, held| !Arc::ptr_eq(held, &app));
                for pair in &record.snapshot.keys {
                    maps.by_key.insert(pair.key.clone(), app.clone());
                }
                let revoked = app.replace(record.snapshot);
                self.limit(&app);
                Ok(Some((app.clone(), Reloaded::Changed { revoked })))
            }
            None => {
                self.let_go(&app);
                Ok(Some((app, Reloaded::Gone)))
            }
        }
    }

    /// Nobody finds it any more; its last sockets and counts are still to be dealt with.
    fn let_go(&self, app: &Arc<App>) {
        let mut maps = self.maps.write();
        maps.by_id.remove(&app.id());
        maps.leaving.push(app.clone());
        maps.by_key.retain(|_, held| !Arc::ptr_eq(held, app));
    }

    fn install(&self, record: AppRecord) -> Arc<App> {
        let mut maps = self.maps.write();
        let AppRecord { snapshot, day, scope_messages, app_messages } = record;
        if let Some(app) = maps.by_id.get(&snapshot.id) {
            return app.clone();
        }
        if maps.by_id.len() >= APPS_MAX {
            let Maps { by_id, by_key, scopes, .. } = &mut *maps;
            // What is not yet written would be lost with the app.
            by_id.retain(|_, app| app.meter.open() > 0 || app.meter.has_pending());
            by_key.retain(|_, app| by_id.contains_key(&app.id()));
            scopes.retain(|_, scope| Arc::strong_count(scope) > 1);
        }
        let scope = maps
            .scopes
            .entry(snapshot.meter_scope.clone())
            .or_insert_with(|| Arc::new(ScopeMeter::new(day, scope_messages)))
            .clone();
        let keys: Vec<Arc<str>> = snapshot.keys.iter().map(|pair| pair.key.clone()).collect();
        let app = Arc::new(App::new(snapshot, AppMeter::new(day, app_messages), scope, &self.node));
        self.limit(&app);
        maps.by_id.insert(app.id(), app.clone());
        for key in keys {
            maps.by_key.insert(key, app.clone());
        }
        app
    }

    /// What is limited is told to the other nodes in time.
    fn limit(&self, app: &App) {
        let limits = &app.loaded().limits;
        let nearest = limits.messages_per_day_max.into_iter().chain(limits.app_messages_per_day_max).min();
        app.scope.limited(nearest, &self.flush);
    }

    /// Where an app lives that was not found here; asks the source once for each name, and again when it is forgotten.
    pub async fn elsewhere(&self, named: Named<'_>) -> Option<Elsewhere> {
        let name = match named {
            Named::Key(key) => key.to_owned(),
            Named::Id(id) => format!("#{id}"),
        };
        if let Some(known) = self.unknown.lock().get(&*name).and_then(|one| one.elsewhere.clone()) {
            return known;
        }
        let found = self.source.elsewhere(named).await.ok()?;
        if let Some(one) = self.unknown.lock().get_mut(&*name) {
            one.elsewhere = Some(found.clone());
        }
        found
    }

    fn is_unknown(&self, name: &str) -> bool {
        self.unknown.lock().get(name).is_some_and(|one| one.since.elapsed() < UNKNOWN_TTL)
    }

    fn remember_unknown(&self, name: &str) {
        let mut unknown = self.unknown.lock();
        if unknown.len() >= UNKNOWN_MAX {
            unknown.clear();
        }
        unknown.insert(name.into(), Unknown { since: Instant::now(), elsewhere: None });
    }
}
