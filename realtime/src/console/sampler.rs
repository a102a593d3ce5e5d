//! Which rows of a flood are built: a token bucket per app and class. Bursts that a page load or a busy request makes pass
//! whole; only what goes on faster than a person can read is thinned out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A token bucket in one word: the time at which it would be full again (µs). Without a lock; concurrent takers share it.
#[derive(Debug, Default)]
pub(super) struct Bucket(AtomicU64);

/// How much a bucket lets through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Rows at once.
    pub(super) burst: u64,
    /// Rows a second in the long run.
    pub(super) per_second: u64,
}

impl Bucket {
    /// Takes a token at `now_us`, if there is one.
    pub(super) fn take(&self, rate: Rate, now_us: u64) -> bool {
        let step = 1_000_000 / rate.per_second;
        self.0
            .fetch_update(Relaxed, Relaxed, |full_at| {
                let next = full_at.max(now_us) + step;
                (next - now_us <= rate.burst * step).then_some(next)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_whole_and_a_flood_at_its_rate() {
        let (bucket, rate) = (Bucket::default(), Rate { burst: 200, per_second: 50 });
        let start = 1_000_000_000;
        let taken = |from: u64, tries: u64| (0..tries).filter(|_| bucket.take(rate, from)).count();
        assert_eq!(taken(start, 1_000), 200);
        assert_eq!(taken(start + 1_000_000, 1_000), 50, "a second later, a second's worth");
        assert_eq!(taken(start + 60_000_000, 1_000), 200, "full again, and not fuller");
    }
}
