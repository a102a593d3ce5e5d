//! Live numbers of the data plane for the pages.

use dashboard::{AppUsage, KeyLive, Live, NodeRow, OwnCap, ProcessFacts};
use realtime::Node;
use tenancy::app::App;

use crate::process::Used;

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
                    own_cap: limits
                        .app_messages_per_day_max
                        .map(|max| OwnCap { messages_today: usage.messages_today, messages_max: max }),
                    resets_ms,
                }
            }
            None => AppUsage {
                connections: 0,
                connections_max: None,
                messages_today: 0,
                messages_max: None,
                own_cap: None,
                resets_ms,
            },
        }
    }

    fn organisation(&self, account_id: &str) -> Option<AppUsage> {
        let standing = self.0.standing(&format!("account:{account_id}"))?;
        Some(AppUsage {
            connections: standing.connections,
            connections_max: standing.connections_max,
            messages_today: standing.messages_today,
            messages_max: standing.messages_max,
            own_cap: None,
            resets_ms: realtime::resets_ms(),
        })
    }

    fn connections(&self, apps: &[u64]) -> u64 {
        apps.iter().filter_map(|id| self.0.apps().loaded(*id)).map(|app| app.usage().connections).sum()
    }

    fn process(&self) -> ProcessFacts {
        let Used { resident_bytes, open_files, open_files_max, .. } = Used::now();
        ProcessFacts { open_files, open_files_max, memory_bytes: resident_bytes }
    }

    fn nodes(&self) -> Vec<NodeRow> {
        super::about::rows(&self.0)
    }

    fn is_in_touch(&self) -> Option<bool> {
        self.0.is_in_touch()
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
