//! Counted messages, and the use of keys, into storage.

use realtime::apps::SourceError;
use realtime::key_use::KeyNumbers;
use realtime::usage::{BoxFuture, UsageDelta, UsageSink};
use tenancy::db::Db;

/// Writes usage to the control plane's database.
#[derive(Debug)]
pub struct Sink(pub Db);

impl UsageSink for Sink {
    fn add(&self, deltas: Vec<UsageDelta>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            let rows: Vec<tenancy::usage::UsageDelta> = deltas
                .into_iter()
                .map(|d| tenancy::usage::UsageDelta {
                    app_id: d.app_id,
                    day: d.day,
                    publishes: d.publishes,
                    deliveries: d.deliveries,
                    client_events: d.client_events,
                    presence: d.presence,
                    reads: d.reads,
                    webhooks: d.webhooks,
                    connections_peak: d.connections_peak,
                })
                .collect();
            tenancy::usage::add(&self.0, &rows).await.map_err(|e| SourceError(e.to_string()))
        })
    }

    fn keys_used(&self, keys: Vec<KeyNumbers>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            let uses: Vec<tenancy::app::KeyUse> = keys
                .into_iter()
                .map(|one| tenancy::app::KeyUse {
                    key: one.key.to_string(),
                    last_ws_ms: one.last_ws_ms,
                    last_rest_ms: one.last_rest_ms,
                })
                .collect();
            tenancy::app::record_key_uses(&self.0, &uses).await.map_err(|e| SourceError(e.to_string()))
        })
    }
}
