//! What a node counted since it started, for its metrics. Nothing decides by these numbers. They are counted when a connection
//! opens or ends and when use is flushed, not on the way of a message.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Codes that are counted on their own: those that we send, and those of RFC 6455. Any other a client may choose is `other`.
pub const CODES: [u16; 23] = [
    1_000, 1_001, 1_002, 1_003, 1_005, 1_006, 1_007, 1_008, 1_009, 1_011, 4_001, 4_003, 4_004, 4_006, 4_007,
    4_008, 4_009, 4_100, 4_200, 4_201, 4_202, 4_301, 4_302,
];

/// Classes of messages, in the order in which they are counted.
pub const CLASSES: [&str; 7] =
    ["publish", "delivery", "client_event", "presence", "cache", "read", "webhook"];

/// A count for each of [`CODES`], and the others at the end.
#[derive(Debug, Default)]
struct ByCode([AtomicU64; CODES.len() + 1]);

impl ByCode {
    fn count(&self, code: u16) {
        let at = CODES.iter().position(|known| *known == code).unwrap_or(CODES.len());
        self.0[at].fetch_add(1, Relaxed);
    }

    fn read(&self) -> Vec<(Option<u16>, u64)> {
        let codes = CODES.iter().copied().map(Some).chain([None]);
        codes.zip(&self.0).map(|(code, n)| (code, n.load(Relaxed))).filter(|(_, n)| *n > 0).collect()
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    opened: AtomicU64,
    refused: ByCode,
    closed: ByCode,
    messages: [AtomicU64; CLASSES.len()],
}

impl Totals {
    /// What was counted, in the order of [`CLASSES`].
    pub(crate) fn messages(&self, counts: &[u64]) {
        for (total, n) in self.messages.iter().zip(counts) {
            total.fetch_add(*n, Relaxed);
        }
    }

    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self, code: u16) {
        self.refused.count(code);
    }

    /// A connection that had been established is over. Without a code the peer was lost.
    pub(crate) fn closed(&self, code: Option<u16>) {
        self.closed.count(code.unwrap_or(1_006));
    }
}

/// An app among the numbers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppNumbers {
    /// Its id.
    pub id: u64,
    /// Open connections.
    pub connections: u64,
    /// Messages of this UTC day, of all nodes as far as this one knows.
    pub messages_today: u64,
}

/// How a node stands.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Open connections, those that are not yet authorized included, without the dashboard's own.
    pub connections: u64,
    /// Channels that somebody is subscribed to.
    pub channels: u64,
    /// Connections established since the start, the dashboard's own included.
    pub opened: u64,
    /// Connections turned away, by close code (`None`: any other).
    pub refused: Vec<(Option<u16>, u64)>,
    /// Connections that ended after they were established, by close code (`None`: any other).
    pub closed: Vec<(Option<u16>, u64)>,
    /// Messages by class, as plans count them.
    pub messages: Vec<(&'static str, u64)>,
    /// Bytes that wait for each shard.
    pub queued_bytes: Vec<u64>,
    /// Apps in memory.
    pub apps: u64,
    /// The node is going away.
    pub draining: bool,
    /// The apps with most connections, most first.
    pub busiest: Vec<AppNumbers>,
}

impl crate::node::Node {
    /// How the node stands now, with at most `apps_max` apps.
    pub fn numbers(&self, apps_max: usize) -> Numbers {
        let totals = self.totals();
        let apps: Vec<_> = self.apps().all().into_iter().filter(|app| !app.snapshot().internal).collect();
        let mut busiest: Vec<AppNumbers> = apps
            .iter()
            .map(|app| AppNumbers {
                id: app.id(),
                connections: app.meter.open(),
                messages_today: app.meter.messages_today(),
            })
            .collect();
        let connections = busiest.iter().map(|app| app.connections).sum();
        busiest.sort_by_key(|app| (std::cmp::Reverse((app.connections, app.messages_today)), app.id));
        busiest.truncate(apps_max);
        Numbers {
            connections,
            channels: apps.iter().map(|app| app.channels.len() as u64).sum(),
            opened: totals.opened.load(Relaxed),
            refused: totals.refused.read(),
            closed: totals.closed.read(),
            messages: CLASSES
                .iter()
                .zip(&totals.messages)
                .map(|(name, n)| (*name, n.load(Relaxed)))
                .collect(),
            queued_bytes: self.queued_bytes(),
            apps: apps.len() as u64,
            draining: self.is_draining(),
            busiest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_a_clients_own_are_counted_together() {
        let codes = ByCode::default();
        for code in [4_001, 4_001, 1_000, 3_000, 4_999, 0] {
            codes.count(code);
        }
        assert_eq!(codes.read(), [(Some(1_000), 1), (Some(4_001), 2), (None, 3)]);
    }
}
