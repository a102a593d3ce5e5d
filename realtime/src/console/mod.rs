//! The debug console's data: one row a happening, kept in a ring per app, fanned out only while somebody watches.
//!
//! A flood costs a counter each: beyond the rate of its class a row is counted but not built, and the next row of its kind
//! says how many were left out before it. Totals stay exact. There is no queue: who watches reads the ring from where it stopped, and what fell out
//! of the ring meanwhile is told as lost.

mod ring;
mod row;
mod sampler;
mod tap;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

pub use ring::Page;
use ring::Ring;
pub use row::{DATA_PREVIEW_BYTES_MAX, Group, Hint, Kind, Row, Source, mask_ip};
use sampler::{Bucket, Rate};
pub use tap::stat;
pub(crate) use tap::{prefixes as channel_prefixes, run as run_tap};

use crate::clock;

/// Rows of a group that are built. Messages: a back-fill page at once, then what a person may just follow. Subscriptions: a
/// page load of many channels with their members. Connections and errors explain, so they are thinned out last; the bound is
/// what keeps an attack from costing more than a counter.
const fn rate_of(group: Group) -> Rate {
    match group {
        Group::Msg => Rate { burst: 200, per_second: 50 },
        Group::Sub => Rate { burst: 300, per_second: 100 },
        Group::Hook => Rate { burst: 200, per_second: 50 },
        Group::Conn | Group::Err => Rate { burst: 500, per_second: 500 },
    }
}

/// One app's console on this node.
#[derive(Debug)]
pub struct Console {
    node: Arc<str>,
    off: bool,
    ring: Mutex<Ring>,
    buckets: [Bucket; Group::ALL.len()],
    /// Rows of a kind left out since the last one that was kept.
    left_out: [AtomicU64; Kind::COUNT],
    pub(crate) totals: [AtomicU64; Kind::COUNT],
    pub(crate) dropped: [AtomicU64; Kind::COUNT],
    dirty: AtomicBool,
    pub(crate) tap: Mutex<tap::Position>,
}

impl Console {
    pub(crate) fn new(node: &str, off: bool) -> Console {
        Console {
            node: node.into(),
            off,
            ring: Mutex::default(),
            buckets: Default::default(),
            left_out: std::array::from_fn(|_| 0.into()),
            totals: std::array::from_fn(|_| 0.into()),
            dropped: std::array::from_fn(|_| 0.into()),
            dirty: false.into(),
            tap: Mutex::default(),
        }
    }

    /// Counts a happening and, when its class has room, keeps the row that `fill` completes.
    pub fn record(&self, kind: Kind, fill: impl FnOnce(&mut Row)) {
        if self.off {
            return;
        }
        let now = clock::now_ms();
        self.totals[kind as usize].fetch_add(1, Relaxed);
        self.dirty.store(true, Relaxed);
        let group = kind.group();
        if !self.buckets[group as usize].take(rate_of(group), now as u64 * 1_000) {
            self.dropped[kind as usize].fetch_add(1, Relaxed);
            self.left_out[kind as usize].fetch_add(1, Relaxed);
            return;
        }
        let mut row = Row::new(kind, now);
        row.left_out = self.left_out[kind as usize].swap(0, Relaxed);
        fill(&mut row);
        self.ring.lock().push(&self.node, row);
    }

    /// Did something happen since the last call?
    pub(crate) fn take_news(&self) -> bool {
        self.dirty.load(Relaxed) && self.dirty.swap(false, Relaxed)
    }

    /// Rows after a cursor (or the last ones), oldest first, at most `limit`.
    pub fn after(&self, cursor: Option<&str>, limit: usize) -> Page {
        let seq = cursor.and_then(|c| c.rsplit_once(':')).filter(|(node, _)| *node == &*self.node);
        self.ring.lock().after(&self.node, seq.and_then(|(_, seq)| seq.parse().ok()), limit)
    }
}
