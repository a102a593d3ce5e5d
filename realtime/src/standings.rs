//! How near each meter scope is to its limits, for notices and strips. It decides nothing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::app::App;
use crate::node::Node;

/// A meter scope beside its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `account:ID` or `app:ID`.
    pub scope: Arc<str>,
    /// One of its apps.
    pub app_id: u64,
    /// Open connections on this node.
    pub connections: u64,
    /// The limit; `None`: there is none.
    pub connections_max: Option<u64>,
    /// Messages of this UTC day, of all nodes as far as this one knows.
    pub messages_today: u64,
    /// The limit; `None`: there is none.
    pub messages_max: Option<u64>,
}

impl Standing {
    fn of(app: &App) -> Standing {
        let snapshot = app.snapshot();
        Standing {
            scope: snapshot.meter_scope.clone(),
            app_id: app.id(),
            connections: app.scope.all_connections(),
            connections_max: snapshot.limits.connections_max,
            messages_today: app.scope.messages_today(),
            messages_max: snapshot.limits.messages_per_day_max,
        }
    }
}

impl Node {
    /// All scopes with a limit that this node knows apps of.
    pub fn standings(&self) -> Vec<Standing> {
        let mut scopes: HashMap<Arc<str>, Standing> = HashMap::new();
        for app in self.apps().all() {
            let snapshot = app.snapshot();
            let limited =
                snapshot.limits.connections_max.is_some() || snapshot.limits.messages_per_day_max.is_some();
            if limited && !snapshot.internal && !scopes.contains_key(&snapshot.meter_scope) {
                scopes.insert(snapshot.meter_scope.clone(), Standing::of(&app));
            }
        }
        scopes.into_values().collect()
    }

    /// One scope; `None`: this node knows no app of it.
    pub fn standing(&self, scope: &str) -> Option<Standing> {
        let app = self.apps().find_in_scope(scope)?;
        app.meter.ask();
        Some(Standing::of(&app))
    }
}
