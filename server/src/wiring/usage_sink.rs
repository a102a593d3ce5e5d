//! Counted messages, and the use of keys, into storage.

use realtime::apps::SourceError;
use realtime::key_use::KeyNumbers;
use realtime::usage::{BoxFuture, MinuteUse, Report, Totals, UsageSink};
use tenancy::db::Db;
use tenancy::usage::{Counts, report};

use super::app_source::meter_scope;

/// Writes usage to the control plane's database.
#[derive(Debug)]
pub struct Sink(pub Db);

fn row(one: MinuteUse) -> report::MinuteUse {
    report::MinuteUse {
        app_id: one.app_id,
        minute: one.minute,
        counts: Counts {
            publishes: one.publishes.cast_signed(),
            deliveries: one.deliveries.cast_signed(),
            client_events: one.client_events.cast_signed(),
            presence: one.presence.cast_signed(),
            cached: one.cached.cast_signed(),
            reads: one.reads.cast_signed(),
            webhooks: one.webhooks.cast_signed(),
        },
        connections_peak: one.connections_peak.cast_signed(),
    }
}

impl UsageSink for Sink {
    fn take(&self, report: Report) -> BoxFuture<'_, Result<Vec<Totals>, SourceError>> {
        Box::pin(async move {
            let report = report::Report {
                node: report.node.to_string(),
                seq: report.seq,
                rows: report.rows.into_iter().map(row).collect(),
                asks: report.asks,
                day: report.day,
            };
            let totals = report::take(&self.0, &report).await.map_err(|e| SourceError(e.to_string()))?;
            let positive = |n: i64| n.max(0).unsigned_abs();
            let total = |one: report::Totals| Totals {
                app_id: one.app_id,
                app_messages: positive(one.app_messages),
                scope: meter_scope(one.app_id, one.account.as_deref()),
                scope_messages: positive(one.scope_messages),
            };
            Ok(totals.into_iter().map(total).collect())
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
