//! From the counters to storage: at least every [`FLUSH_EVERY`], what was counted since the last flush goes to a sink as a
//! numbered report. A report that was not taken is sent again as it was, so the sink can tell a repetition from news: nothing
//! counts twice, and nothing is lost while the process lives. A killed process loses at most that interval, and what was on its
//! way. What comes back are the totals of all nodes, which the counters are set to.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::apps::{Apps, SourceError};
use crate::clock;
use crate::key_use::KeyNumbers;
use crate::totals;
use serde::{Deserialize, Serialize};

/// Counts a kill -9 may lose.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Rows of one report, so that one transaction stays short.
const REPORT_ROWS_MAX: usize = 1_000;
/// Rows that wait while storage can't be reached; beyond it the minutes of each app are put together into one of each day. About
/// 20 MB, and with 1,000 busy apps three hours in full detail.
const WAITING_ROWS_MAX: usize = 200_000;

/// What one app used in a minute since the last report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinuteUse {
    /// Whose.
    pub app_id: u64,
    /// Minutes since the epoch.
    pub minute: u32,
    /// Accepted publishes.
    pub publishes: u64,
    /// Deliveries of publishes.
    pub deliveries: u64,
    /// Client events and their deliveries.
    pub client_events: u64,
    /// Deliveries of member_added and member_removed.
    pub presence: u64,
    /// Deliveries of what a cache channel kept.
    pub cached: u64,
    /// Other REST calls.
    pub reads: u64,
    /// POSTs of webhooks.
    pub webhooks: u64,
    /// Highest number of open connections.
    pub connections_peak: u64,
}

/// A numbered report of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Of this process: another name after each start.
    pub node: Arc<str>,
    /// Rises by one with each report that has rows.
    pub seq: u64,
    /// What was counted.
    pub rows: Vec<MinuteUse>,
    /// Apps whose totals are wanted beside those of `rows`.
    pub asks: Vec<u64>,
    /// The UTC day of the totals.
    pub day: u32,
}

/// What storage has for an app on the day of a report, from all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Whose.
    pub app_id: u64,
    /// Messages of the app.
    pub app_messages: u64,
    /// What it is counted with, as in [`crate::app::AppSnapshot::meter_scope`].
    pub scope: String,
    /// Messages of that.
    pub scope_messages: u64,
}

/// A future of the storage side.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where counts are kept.
pub trait UsageSink: Send + Sync + 'static {
    /// Takes all of a report or nothing, and one whose number it knows not again. Gives the totals of all apps in it.
    fn take(&self, report: Report) -> BoxFuture<'_, Result<Vec<Totals>, SourceError>>;

    /// Writes down when keys were used last; connections are left out. A sink that keeps no keys need not.
    fn keys_used(&self, keys: Vec<KeyNumbers>) -> BoxFuture<'_, Result<(), SourceError>> {
        drop(keys);
        Box::pin(async { Ok(()) })
    }
}

/// A row on its way: the app that counted it, and the numbers.
struct Waiting {
    app: Arc<App>,
    row: MinuteUse,
}

/// What is on its way to storage.
pub(crate) struct Flusher {
    node: Arc<str>,
    seq: u64,
    /// The report that was sent and not yet taken.
    sent: Vec<Waiting>,
    /// What was counted since, by app and minute.
    waiting: BTreeMap<(u64, u32), Waiting>,
    /// Everything that was ever taken from the meters, for metrics.
    totals: Arc<totals::Totals>,
}

impl Flusher {
    pub(crate) fn new(totals: Arc<totals::Totals>) -> Flusher {
        let node = format!("{:032x}", rand::random::<u128>()).into();
        Flusher { node, seq: 0, sent: Vec::new(), waiting: BTreeMap::new(), totals }
    }

    /// Empties the counters, then writes what waits. On an error everything stays.
    pub(crate) async fn flush(&mut self, apps: &Apps, sink: &dyn UsageSink) -> Result<(), SourceError> {
        let mut asks = self.collect(apps);
        loop {
            if self.sent.is_empty() {
                if self.waiting.is_empty() && asks.is_empty() {
                    return Ok(());
                }
                self.next_report();
            }
            let report = Report {
                node: self.node.clone(),
                seq: self.seq,
                rows: self.sent.iter().map(|one| one.row.clone()).collect(),
                asks: std::mem::take(&mut asks),
                day: clock::day(),
            };
            let day = report.day;
            let totals = sink.take(report).await?;
            self.taken(apps, day, totals);
        }
    }

    /// Takes what the apps counted; which of them were looked at.
    fn collect(&mut self, apps: &Apps) -> Vec<u64> {
        let mut asks = Vec::new();
        for app in apps.all_to_flush() {
            if app.loaded().internal {
                continue;
            }
            if app.meter.take_asked() {
                asks.push(app.id());
            }
            for (minute, counts, peak) in app.meter.take() {
                self.totals.messages(&counts);
                self.wait(&app, row(app.id(), minute, counts, peak));
            }
        }
        asks
    }

    fn wait(&mut self, app: &Arc<App>, row: MinuteUse) {
        if self.waiting.len() >= WAITING_ROWS_MAX {
            self.blur();
        }
        match self.waiting.entry((row.app_id, row.minute)) {
            std::collections::btree_map::Entry::Occupied(mut held) => held.get_mut().row.add(&row),
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(Waiting { app: app.clone(), row });
            }
        }
    }

    /// Puts the minutes of an app together, those of each day into its last one.
    fn blur(&mut self) {
        let mut days: BTreeMap<(u64, u32), Waiting> = BTreeMap::new();
        for ((app, minute), one) in std::mem::take(&mut self.waiting) {
            match days.entry((app, minute / 1_440)) {
                std::collections::btree_map::Entry::Occupied(mut held) => {
                    held.get_mut().row.add(&one.row);
                    held.get_mut().row.minute = minute;
                }
                std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(one)),
            }
        }
        self.waiting = days.into_values().map(|one| ((one.row.app_id, one.row.minute), one)).collect();
    }

    fn next_report(&mut self) {
        while self.sent.len() < REPORT_ROWS_MAX
            && let Some((_, one)) = self.waiting.pop_first()
        {
            self.sent.push(one);
        }
        if !self.sent.is_empty() {
            self.seq += 1;
        }
    }

    fn taken(&mut self, apps: &Apps, day: u32, totals: Vec<Totals>) {
        for Waiting { app, row } in std::mem::take(&mut self.sent) {
            let (day, n) = (row.minute / 1_440, row.total());
            app.meter.messages.flushed(day, n);
            app.scope.messages.flushed(day, n);
        }
        // The same scope may be there for many of its apps.
        let mut scopes: HashMap<String, u64> = HashMap::new();
        for one in totals {
            let Some(app) = apps.loaded(one.app_id) else { continue };
            app.meter.messages.stored(day, one.app_messages);
            // One that was moved meanwhile is told by its new snapshot.
            if *app.loaded().meter_scope == *one.scope
                && scopes.insert(one.scope, one.scope_messages) != Some(one.scope_messages)
            {
                app.scope.messages.stored(day, one.scope_messages);
            }
        }
    }
}

fn row(app_id: u64, minute: u32, counts: crate::meter::Counts, connections_peak: u64) -> MinuteUse {
    let [publishes, deliveries, client_events, presence, cached, reads, webhooks] = counts;
    MinuteUse {
        app_id,
        minute,
        publishes,
        deliveries,
        client_events,
        presence,
        cached,
        reads,
        webhooks,
        connections_peak,
    }
}

impl MinuteUse {
    fn total(&self) -> u64 {
        let MinuteUse { publishes, deliveries, client_events, presence, cached, reads, webhooks, .. } = *self;
        publishes + deliveries + client_events + presence + cached + reads + webhooks
    }

    fn add(&mut self, other: &MinuteUse) {
        self.publishes += other.publishes;
        self.deliveries += other.deliveries;
        self.client_events += other.client_events;
        self.presence += other.presence;
        self.cached += other.cached;
        self.reads += other.reads;
        self.webhooks += other.webhooks;
        self.connections_peak = self.connections_peak.max(other.connections_peak);
    }
}

/// Tells storage which keys were used in minutes that it doesn't know of: each key at most once a minute.
pub(crate) async fn tell_keys(apps: &Apps, sink: &dyn UsageSink) -> Result<(), SourceError> {
    let mut news = Vec::new();
    let mut from = Vec::new();
    for app in apps.all() {
        if app.snapshot().internal {
            continue;
        }
        for one in app.keys.news() {
            from.push((app.clone(), one.clone()));
            news.push(one);
        }
    }
    if news.is_empty() {
        return Ok(());
    }
    sink.keys_used(news).await?;
    from.iter().for_each(|(app, one)| app.keys.told(one));
    Ok(())
}
