//! From what happens on channels to the customers' servers. Recording never waits and costs nothing where nobody listens.
//!
//! ```text
//!  record (under the channel's lock) → backlog (bounded per app)
//!    → collect: grace (ends wait 3 s) → batch (20 events or 250 ms, per endpoint) → storage
//!    → send: lane per endpoint (order per channel, retries) → post (guarded address, 4 s) → storage (log)
//! ```
//!
//! A delivery is stored before its first attempt. Where several nodes share a database, a delivery belongs to the one that
//! has claimed it; a claim runs out when its node dies. What a killed process loses is what was not yet stored: a batch that
//! was filling, and ends in their grace. It decides nothing about who may do what on a channel.

pub(crate) use grace::GRACE;

pub(crate) mod backlog;
mod batch;
mod collect;
mod endpoint;
mod grace;
mod lane;
mod post;
mod send;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::webhook::{Event, Kind};
use protocol::webhook_url::Allow;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::app::App;
use crate::console;
use crate::node::Node;
use backlog::Backlog;
pub use endpoint::{ChannelFilter, Endpoint, Kinds};
use post::Poster;
pub use store::{Attempt, Claimed, NewDelivery, NotStored, Outcome, Paused, State, WebhookStore};

/// A claim of a node holds this long without being renewed. A killed node's deliveries go on after it.
pub(crate) const LEASE: Duration = Duration::from_secs(12);
/// Deliveries of one endpoint that a node holds in memory; the others wait in storage.
pub(crate) const IN_MEMORY_PER_ENDPOINT_MAX: usize = 100;
/// How long a node that ends goes on sending what could go at once.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A node's webhooks. Until [`Node::start_webhooks`] it records nothing.
#[derive(Debug, Default)]
pub(crate) struct Webhooks {
    on: AtomicBool,
    backlog: Backlog,
    loads: Loads,
    /// Something may wait in storage.
    nudge: Notify,
    stop: Mutex<Option<oneshot::Sender<oneshot::Sender<()>>>>,
}

/// What an endpoint has in this node's memory.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    held: usize,
    /// More waits in storage: what comes anew queues up behind it.
    more: bool,
}

/// Loads by endpoint; without an entry there is none.
#[derive(Debug, Default)]
struct Loads(Mutex<HashMap<Arc<str>, Load>>);

impl Loads {
    /// Takes a place for a fresh delivery; false if it must wait in storage.
    fn take(&self, endpoint: &Arc<str>) -> bool {
        let mut loads = self.0.lock();
        let load = loads.entry(endpoint.clone()).or_default();
        if load.more || load.held >= IN_MEMORY_PER_ENDPOINT_MAX {
            load.more = true;
            return false;
        }
        load.held += 1;
        true
    }

    /// Places for deliveries from storage.
    fn room(&self, endpoint: &str) -> usize {
        let held = self.0.lock().get(endpoint).map_or(0, |load| load.held);
        IN_MEMORY_PER_ENDPOINT_MAX.saturating_sub(held)
    }

    /// Claimed from storage; `all`: nothing is left there.
    fn add(&self, endpoint: &Arc<str>, count: usize, all: bool) {
        let mut loads = self.0.lock();
        let load = loads.entry(endpoint.clone()).or_default();
        load.held += count;
        load.more = !all;
        if load.held == 0 && !load.more {
            loads.remove(endpoint);
        }
    }

    /// Gives places back; true if storage should be asked for more.
    fn give_back(&self, endpoint: &Arc<str>, count: usize) -> bool {
        let mut loads = self.0.lock();
        let Some(load) = loads.get_mut(endpoint) else { return false };
        load.held = load.held.saturating_sub(count);
        let ask = load.more && load.held <= IN_MEMORY_PER_ENDPOINT_MAX / 2;
        if load.held == 0 && !load.more {
            loads.remove(endpoint);
        }
        ask
    }
}

impl Webhooks {
    /// Would an event of this kind be told to anybody? Spares the caller making it.
    pub(crate) fn wants(&self, app: &App, kind: Kind) -> bool {
        self.on.load(Relaxed) && endpoint::any_wants(&app.snapshot().webhooks, kind)
    }

    /// Takes a happening of an app. Called under a channel's lock, so that the order of a channel's events is theirs. `event`
    /// is asked for only when the app has an endpoint.
    pub(crate) fn record(&self, app: &Arc<App>, event: impl FnOnce() -> Event) {
        if !self.on.load(Relaxed) {
            return;
        }
        let snapshot = app.snapshot();
        if snapshot.webhooks.is_empty() {
            return;
        }
        let event = event();
        if endpoint::any_wants(&snapshot.webhooks, event.kind()) {
            self.backlog.push(app, event);
        }
    }

    /// Takes an end that has waited already, and was not taken back.
    pub(crate) fn record_ended(&self, app: &Arc<App>, event: impl FnOnce() -> Event) {
        if self.wants(app, Kind::ChannelVacated) || self.wants(app, Kind::MemberRemoved) {
            self.backlog.push_ended(app, event());
        }
    }

    /// Something may wait in storage for a node to send it.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Says on the consoles of their apps which events were lost.
    fn tell_dropped(&self) {
        for (app, count) in self.backlog.take_dropped() {
            app.console.record(console::Kind::Error, |row| {
                row.source = Some(console::Source::Webhook);
                let events = if count == 1 {
                    "1 webhook event was".into()
                } else {
                    format!("{count} webhook events were")
                };
                row.details = format!("{events} dropped: more happen than can be stored or sent");
            });
        }
    }
}

impl Node {
    /// Begins to record, store and send webhooks; call it before the first connection is accepted. What was held when the
    /// last node ended is taken up here.
    pub async fn start_webhooks(&self, store: Arc<dyn WebhookStore>, allow: Allow) {
        let webhooks = self.webhooks();
        let poster = Arc::new(Poster::new(allow));
        let (to_sender, from_collector) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        *webhooks.stop.lock() = Some(stop);
        let name: Arc<str> = format!("{}-{:016x}", self.name(), rand::random::<u64>()).into();
        webhooks.on.store(true, Relaxed);
        collect::take_held(self, &*store).await;
        let collector = collect::Collector::new(self.clone(), name.clone(), store.clone(), to_sender.clone());
        tokio::spawn(collector.run(stopped));
        tokio::spawn(send::Sender::new(self.clone(), name, store, poster, to_sender).run(from_collector));
    }

    /// Stores what is on its way, sends what can go at once, and gives the rest to whoever comes next.
    pub(crate) async fn stop_webhooks(&self) {
        let Some(stop) = self.webhooks().stop.lock().take() else { return };
        let (done, all_done) = oneshot::channel();
        if stop.send(done).is_ok() && tokio::time::timeout(STOP_WITHIN * 2, all_done).await.is_err() {
            tracing::warn!(
                "webhooks were not put away in time; what was stored goes on after the next start"
            );
        }
    }
}
