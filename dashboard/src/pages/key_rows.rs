//! What the page of keys says of each pair: who uses it, as the nodes reported and as this node knows right now, when it ends,
//! and how far the change from the oldest pair to the newest has come.

use tenancy::app::{End, KEY_IDLE_MS, KeyRecord};

use crate::KeyLive;
use crate::page::{self, count};

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) created_by: String,
    pub(super) made: String,
    pub(super) last_ws: String,
    pub(super) last_rest: String,
    pub(super) connections: u64,
    /// The end that was ordered, in words; empty: none was.
    pub(super) ends: String,
    last_ms: i64,
}

impl Row {
    /// `1 live connection`
    pub(super) fn connections_in_words(&self) -> String {
        match self.connections {
            1 => "1 live connection".to_owned(),
            many => format!("{} live connections", count(many)),
        }
    }

    fn is_used(&self) -> bool {
        self.last_ms > 0
    }

    /// Nothing is connected with it, and nothing was for a while.
    fn is_idle(&self) -> bool {
        self.connections == 0 && tenancy::now_ms() - self.last_ms > KEY_IDLE_MS
    }
}

/// A step of the change to a new pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) done: bool,
    pub(super) text: String,
}

/// Lines for all pairs, with what this node knows laid over what storage has.
pub(super) fn rows(records: Vec<KeyRecord>, live: &[KeyLive]) -> Vec<Row> {
    let row = |record: KeyRecord| {
        let now = live.iter().find(|one| one.key == record.pair.key);
        let last_ws_ms = record.last_ws_ms.max(now.map_or(0, |now| now.last_ws_ms));
        let last_rest_ms = record.last_rest_ms.max(now.map_or(0, |now| now.last_rest_ms));
        Row {
            key: record.pair.key,
            name: record.name,
            created_by: record.created_by,
            made: page::moment(record.pair.created_ms),
            last_ws: seen(last_ws_ms),
            last_rest: seen(last_rest_ms),
            connections: now.map_or(0, |now| now.connections),
            ends: match record.end {
                End::Never => String::new(),
                End::At(ms) => format!("ends {} UTC", page::moment(ms)),
                End::WhenIdle => "ends after 10 minutes without traffic".to_owned(),
            },
            last_ms: last_ws_ms.max(last_rest_ms),
        }
    };
    records.into_iter().map(row).collect()
}

const _: () = assert!(KEY_IDLE_MS == 600_000, "the page says ten minutes");

fn seen(ms: i64) -> String {
    if ms == 0 { "never".to_owned() } else { page::at(ms, "%-d %b, %H:%M") }
}

/// How far the change from the oldest pair to the newest has come; nothing to say with one pair.
pub(super) fn steps(rows: &[Row]) -> Vec<Step> {
    let ([old, .., new], true) = (rows, rows.len() > 1) else { return Vec::new() };
    let used = match (new.is_used(), new.last_ws.as_str(), new.last_rest.as_str()) {
        (false, ..) => format!("Waiting for the first use of {}…", new.key),
        (true, ws, rest) => format!("Seen: over WebSocket {ws}, HTTP API {rest} (UTC)."),
    };
    vec![
        Step { name: "Make a new pair", done: true, text: format!("Made {}: {}.", new.made, new.key) },
        Step { name: "Put it into your servers and clients", done: new.is_used(), text: used },
        Step {
            name: "Wait until nothing uses the old one",
            done: old.is_idle(),
            text: format!("{}: {}, last request {}.", old.key, old.connections_in_words(), old.last_rest),
        },
        Step {
            name: "Revoke the old one",
            done: false,
            text: match old.ends.as_str() {
                "" => format!("“Revoke…” beside {}: now, later, or once nothing uses it.", old.key),
                ends => format!("Ordered: {} {ends}.", old.key),
            },
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenancy::Secret;
    use tenancy::app::AppKey;

    fn record(key: &str, last_rest_ms: i64) -> KeyRecord {
        KeyRecord {
            pair: AppKey { key: key.into(), secret: Secret::new("s"), created_ms: 1_000 },
            name: String::new(),
            created_by: String::new(),
            last_ws_ms: 0,
            last_rest_ms,
            end: End::Never,
        }
    }

    #[test]
    fn the_steps_follow_the_use_of_both_pairs() {
        let minute_ms = tenancy::now_ms() / 60_000 * 60_000;
        assert!(steps(&rows(vec![record("a", 0)], &[])).is_empty());
        let done = |records: Vec<KeyRecord>, live: &[KeyLive]| {
            steps(&rows(records, live)).iter().map(|step| step.done).collect::<Vec<_>>()
        };
        let old = record("old", minute_ms);
        assert_eq!(done(vec![old.clone(), record("new", 0)], &[]), [true, false, false, false]);
        let live = KeyLive { key: "new".into(), connections: 1, last_ws_ms: minute_ms, last_rest_ms: 0 };
        assert_eq!(
            done(vec![old, record("new", 0)], std::slice::from_ref(&live)),
            [true, true, false, false]
        );
        let idle = record("old", minute_ms - 2 * KEY_IDLE_MS);
        assert_eq!(done(vec![idle, record("new", 0)], &[live]), [true, true, true, false]);
    }
}
