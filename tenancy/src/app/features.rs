//! The switches of an app, kept as one JSON object: a switch that a row does not name has its default.

use serde::{Deserialize, Serialize};

use crate::db::DbError;

/// What an app's owner switches on and off. Source: the app settings of Pusher's dashboard, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// Subscribers are told how many they are (`pusher:subscription_count`), and webhooks too.
    pub subscription_counts: bool,
    /// Users who signed in are told when the users on their watchlist come and go.
    pub watchlist: bool,
    /// A connection must sign in or join a private or presence channel in time.
    pub authorized_connections: bool,
    /// Connections and requests without TLS are refused.
    pub force_tls: bool,
    /// Several events travel in one webhook; off: one event each.
    pub webhook_batching: bool,
    /// A client over the connection limit is told to come back later (4100); off: to stay away (4004), as Pusher does.
    pub retry_over_limit: bool,
}

impl Default for Features {
    fn default() -> Features {
        Features {
            subscription_counts: false,
            watchlist: false,
            authorized_connections: false,
            force_tls: false,
            webhook_batching: true,
            retry_over_limit: false,
        }
    }
}

/// Switches to set; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of `Features`")]
pub struct FeatureChange {
    pub subscription_counts: Option<bool>,
    pub watchlist: Option<bool>,
    pub authorized_connections: Option<bool>,
    pub force_tls: Option<bool>,
    pub webhook_batching: Option<bool>,
    pub retry_over_limit: Option<bool>,
}

impl Features {
    pub(crate) fn from_column(text: &str) -> Result<Features, DbError> {
        serde_json::from_str(text).map_err(|_| DbError::row("features"))
    }

    pub(crate) fn to_column(self) -> String {
        serde_json::to_string(&self).unwrap_or_else(|_| "{}".into())
    }

    pub(crate) fn changed(self, change: FeatureChange) -> Features {
        Features {
            subscription_counts: change.subscription_counts.unwrap_or(self.subscription_counts),
            watchlist: change.watchlist.unwrap_or(self.watchlist),
            authorized_connections: change.authorized_connections.unwrap_or(self.authorized_connections),
            force_tls: change.force_tls.unwrap_or(self.force_tls),
            webhook_batching: change.webhook_batching.unwrap_or(self.webhook_batching),
            retry_over_limit: change.retry_over_limit.unwrap_or(self.retry_over_limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_that_a_row_does_not_name_has_its_default() {
        assert_eq!(Features::from_column("{}").unwrap(), Features::default());
        let changed =
            Features::default().changed(FeatureChange { watchlist: Some(true), ..FeatureChange::default() });
        assert!(changed.watchlist && changed.webhook_batching && !changed.force_tls);
        assert_eq!(Features::from_column(&changed.to_column()).unwrap(), changed);
        assert!(Features::from_column("[").is_err());
    }
}
