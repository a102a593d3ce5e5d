//! The one clock: wall time in milliseconds and the UTC day it falls in.
//! Functions that depend on time have a twin that ends in `_at` and takes the time, for tests and replays.

use std::time::{SystemTime, UNIX_EPOCH};

/// One second.
pub const SECOND_MS: i64 = 1_000;
/// One minute.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// One hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day. UTC days in Unix time all have this length.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Milliseconds since 1970, UTC. A clock set before 1970 reads as 0.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The UTC day of a time, in days since 1970; meters are kept by it.
pub fn day_of(ms: i64) -> u32 {
    u32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_utc() {
        assert_eq!(day_of(0), 0);
        assert_eq!(day_of(DAY_MS - 1), 0);
        assert_eq!(day_of(DAY_MS), 1);
        assert_eq!(day_of(-1), 0);
        assert!(day_of(now_ms()) > 20_000);
    }
}
