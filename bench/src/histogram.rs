//! Latencies in fixed buckets: 64 to each power of two, so a value is known to 1.6 %, from a nanosecond to eighteen minutes.

/// Buckets to a power of two, as a power of two itself.
const FINE_BITS: u32 = 6;
const FINE: usize = 1 << FINE_BITS;
/// Values from here on (18 minutes in nanoseconds) share the last bucket.
const VALUE_MAX: u64 = 1 << 40;
const BUCKETS: usize = (40 - FINE_BITS as usize + 1) * FINE + 1;

/// Counts of values.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: vec![0; BUCKETS].into(), count: 0, max: 0 }
    }
}

fn bucket_of(value: u64) -> usize {
    let value = value.min(VALUE_MAX);
    if value < FINE as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - FINE_BITS;
    (shift as usize + 1) * FINE + (value >> shift) as usize - FINE
}

/// The middle of a bucket.
fn value_of(bucket: usize) -> u64 {
    if bucket < FINE {
        return bucket as u64;
    }
    let shift = bucket / FINE - 1;
    let low = ((bucket % FINE + FINE) as u64) << shift;
    low + (1 << shift) / 2
}

impl Histogram {
    /// Counts one value.
    #[inline]
    pub(crate) fn record(&mut self, value: u64) {
        self.buckets[bucket_of(value)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// How many values.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The largest value, exact; 0 without values.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// The value that `part` (0 to 1) of all values do not exceed; 0 without values.
    pub(crate) fn quantile(&self, part: f64) -> u64 {
        let wanted = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return value_of(bucket).min(self.max);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_known_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        (1..=1_000u64).for_each(|v| histogram.record(v * 1_000));
        for (part, expected) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let got = histogram.quantile(part) as f64;
            assert!((got / expected - 1.0).abs() < 0.016, "{part}: {got}");
        }
        assert_eq!((histogram.count(), histogram.max()), (1_000, 1_000_000));
    }

    #[test]
    fn values_beyond_the_last_bucket_are_counted() {
        let mut histogram = Histogram::default();
        histogram.record(u64::MAX);
        assert_eq!((histogram.count(), histogram.max()), (1, u64::MAX));
        assert!(histogram.quantile(1.0) >= VALUE_MAX);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_what_it_stands_for(value in 0u64..VALUE_MAX) {
            let middle = value_of(bucket_of(value));
            prop_assert!(middle.abs_diff(value) as f64 <= value as f64 / FINE as f64);
        }
    }
}
