//! Live numbers of the data plane for the pages.

use dashboard::{AppUsage, KeyLive, Live};
use realtime::Node;
use tenancy::app::App;

/// Reads a node's meters.
#[derive(Debug)]
pub struct LiveNumbers(pub Node);

impl Live for LiveNumbers {
    fn usage(&self, app: &App) -> AppUsage {
        let resets_ms = realtime::resets_ms();
        match self.0.apps().loaded(app.id) {
            Some(live) => {
                let (usage, limits) = (live.usage(), live.snapshot().limits.clone());
                AppUsage {
                    connections: usage.scope_connections,
                    connections_max: limits.connections_max,
                    messages_today: usage.scope_messages_today,
                    messages_max: limits.messages_per_day_max,
                    resets_ms,
                }
            }
            None => AppUsage {
                connections: 0,
                connections_max: None,
                messages_today: 0,
                messages_max: None,
                resets_ms,
            },
        }
    }

    fn keys(&self, app: &App) -> Vec<KeyLive> {
        let live = |one: realtime::key_use::KeyNumbers| KeyLive {
            key: one.key.to_string(),
            connections: one.connections,
            last_ws_ms: one.last_ws_ms,
            last_rest_ms: one.last_rest_ms,
        };
        let loaded = self.0.apps().loaded(app.id);
        loaded.map(|app| app.key_numbers().into_iter().map(live).collect()).unwrap_or_default()
    }
}
