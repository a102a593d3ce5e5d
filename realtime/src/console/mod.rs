//! The debug console's data: one row a happening, kept in a ring per app, fanned out only while somebody watches.
//!
//! A flood costs a counter each: beyond `ROWS_PER_WINDOW` rows a window (errors: `ERRORS_PER_WINDOW`) rows are counted
//! but not built. Totals stay exact. There is no queue: who watches reads the ring from where it stopped, and what fell out
//! of the ring meanwhile is told as lost.

mod ring;
mod row;
mod tap;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

pub use ring::Page;
use ring::Ring;
pub use row::{DATA_PREVIEW_BYTES_MAX, Group, Hint, Kind, Row, Source, mask_ip};
pub(crate) use tap::run as run_tap;
pub use tap::stat;

use crate::clock;

/// Length of a sampling window.
const WINDOW_MS: u64 = 100;
/// Rows of ordinary kinds built in a window: 100 a second are more than a person reads.
const ROWS_PER_WINDOW: u32 = 10;
/// Rows about errors, connections and config built in a window; they explain, so they get more room.
const ERRORS_PER_WINDOW: u32 = 50;

/// One app's console on this node.
#[derive(Debug)]
pub struct Console {
    node: Arc<str>,
    off: bool,
    ring: Mutex<Ring>,
    window: AtomicU64,
    built: [AtomicU32; 2],
    pub(crate) totals: [AtomicU64; Kind::COUNT],
    pub(crate) dropped: [AtomicU64; Kind::COUNT],
    pub(crate) dirty: AtomicBool,
    pub(crate) tap: Mutex<tap::Position>,
}

impl Console {
    pub(crate) fn new(node: &str, off: bool) -> Console {
        Console {
            node: node.into(),
            off,
            ring: Mutex::default(),
            window: 0.into(),
            built: Default::default(),
            totals: std::array::from_fn(|_| 0.into()),
            dropped: std::array::from_fn(|_| 0.into()),
            dirty: false.into(),
            tap: Mutex::default(),
        }
    }

    /// Counts a happening and, when the window has room, keeps the row that `fill` completes.
    pub fn record(&self, kind: Kind, fill: impl FnOnce(&mut Row)) {
        if self.off {
            return;
        }
        let now = clock::now_ms();
        self.totals[kind as usize].fetch_add(1, Relaxed);
        self.dirty.store(true, Relaxed);
        let window = now as u64 / WINDOW_MS;
        if self.window.swap(window, Relaxed) != window {
            self.built.iter().for_each(|n| n.store(0, Relaxed));
        }
        let (class, max) = if kind.is_sampled() { (0, ROWS_PER_WINDOW) } else { (1, ERRORS_PER_WINDOW) };
        if self.built[class].fetch_add(1, Relaxed) >= max {
            self.dropped[kind as usize].fetch_add(1, Relaxed);
            return;
        }
        let mut row = Row::new(kind, now);
        fill(&mut row);
        self.ring.lock().push(&self.node, row);
    }

    /// Rows after a cursor (or the last ones), oldest first, at most `limit`.
    pub fn after(&self, cursor: Option<&str>, limit: usize) -> Page {
        let seq = cursor.and_then(|c| c.rsplit_once(':')).filter(|(node, _)| *node == &*self.node);
        self.ring.lock().after(&self.node, seq.and_then(|(_, seq)| seq.parse().ok()), limit)
    }
}
