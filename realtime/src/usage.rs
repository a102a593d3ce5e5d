//! From the counters to storage: what was counted since the last flush goes to a sink, at least every
//! [`FLUSH_EVERY`]. A sink that fails gets the same counts again later, so nothing is lost while the process lives;
//! a killed process loses at most that interval.

use std::pin::Pin;
use std::time::Duration;

use crate::apps::{Apps, SourceError};
use crate::clock;
use crate::key_use::KeyNumbers;

/// Counts a kill -9 may lose.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// What one app used since the last flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageDelta {
    /// Whose.
    pub app_id: u64,
    /// UTC day since the epoch.
    pub day: u32,
    /// Accepted publishes.
    pub publishes: i64,
    /// Deliveries of publishes.
    pub deliveries: i64,
    /// Client events and their deliveries.
    pub client_events: i64,
    /// Deliveries of member_added and member_removed.
    pub presence: i64,
    /// Other REST calls.
    pub reads: i64,
    /// POSTs of webhooks.
    pub webhooks: i64,
    /// Highest number of open connections.
    pub connections_peak: i64,
}

/// A future of the storage side.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where counts are kept.
pub trait UsageSink: Send + Sync + 'static {
    /// Adds all deltas or none.
    fn add(&self, deltas: Vec<UsageDelta>) -> BoxFuture<'_, Result<(), SourceError>>;

    /// Writes down when keys were used last; connections are left out. A sink that keeps no keys need not.
    fn keys_used(&self, keys: Vec<KeyNumbers>) -> BoxFuture<'_, Result<(), SourceError>> {
        drop(keys);
        Box::pin(async { Ok(()) })
    }
}

/// Writes what is pending. On an error everything stays pending.
pub(crate) async fn flush(apps: &Apps, sink: &dyn UsageSink) -> Result<(), SourceError> {
    let day = clock::day();
    let mut taken = Vec::new();
    let mut deltas = Vec::new();
    for app in apps.all_to_flush() {
        let (counts, peak) = app.meter.take_pending();
        if counts.iter().all(|n| *n == 0) && peak == 0 || app.snapshot().internal {
            continue;
        }
        let [publishes, deliveries, client_events, presence, reads, webhooks] = counts;
        deltas.push(UsageDelta {
            app_id: app.id(),
            day,
            publishes,
            deliveries,
            client_events,
            presence,
            reads,
            webhooks,
            connections_peak: peak as i64,
        });
        taken.push((app, counts, peak));
    }
    if deltas.is_empty() {
        return Ok(());
    }
    let result = sink.add(deltas).await;
    if result.is_err() {
        taken.into_iter().for_each(|(app, counts, peak)| app.meter.give_back(counts, peak));
    }
    result
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
