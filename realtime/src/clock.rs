//! The node's one view of wall time.

use std::time::{SystemTime, UNIX_EPOCH};

const MS_PER_DAY: i64 = 86_400_000;

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Days since the epoch, UTC.
pub(crate) fn day() -> u32 {
    (now_ms() / MS_PER_DAY) as u32
}

/// Minutes since the epoch.
pub(crate) fn minute() -> u32 {
    (now_ms() / 60_000) as u32
}

/// When the current UTC day ends, in ms since the epoch: counters start again then.
pub fn resets_ms() -> i64 {
    (now_ms() / MS_PER_DAY + 1) * MS_PER_DAY
}
