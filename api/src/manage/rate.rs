//! How many requests a token may make, and how many wrong tokens a network may try: buckets that fill up by time, in memory of
//! this node. A restart fills them all.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Requests of one token at once.
pub(super) const TOKEN_BURST: f64 = 200.0;
/// Requests of one token a second, for as long as it likes.
pub(super) const TOKEN_PER_SECOND: f64 = 20.0;
/// Wrong tokens from one network at once: a forgotten secret in a fleet of workers. Each costs a look into storage.
const WRONG_BURST: f64 = 60.0;
/// Wrong tokens from one network a second.
const WRONG_PER_SECOND: f64 = 1.0;
/// Buckets of each kind, about 1 MB when full. Beyond it those that are full again go, and then all.
const BUCKETS_MAX: usize = 10_000;

/// Both kinds of buckets.
#[derive(Debug)]
pub(super) struct Rates {
    /// By a keyed hash of the token, so that one that worked is known before storage is asked.
    tokens: Buckets,
    networks: Buckets,
    hasher: RandomState,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates {
            tokens: Buckets::new(TOKEN_BURST, TOKEN_PER_SECOND),
            networks: Buckets::new(WRONG_BURST, WRONG_PER_SECOND),
            hasher: RandomState::new(),
        }
    }
}

impl Rates {
    /// Takes a request of a token that works, or says when the next is let in.
    pub(super) fn take(&self, token: &str) -> Result<(), Duration> {
        self.tokens.take(&self.name(token), Instant::now(), 1.0)
    }

    /// May this token be looked for? A network that tried too many wrong ones must wait, but whoever worked from there of late
    /// goes on.
    pub(super) fn may_try(&self, network: &str, token: &str) -> Result<(), Duration> {
        match self.tokens.held.lock().contains_key(&self.name(token)) {
            true => Ok(()),
            false => self.networks.take(network, Instant::now(), 0.0),
        }
    }

    fn name(&self, token: &str) -> String {
        format!("{:016x}", self.hasher.hash_one(token))
    }

    /// A token from there was none.
    pub(super) fn wrong_token(&self, network: &str) {
        let _ = self.networks.take(network, Instant::now(), 1.0);
    }
}

#[derive(Debug)]
struct Buckets {
    burst: f64,
    per_second: f64,
    held: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Buckets {
    fn new(burst: f64, per_second: f64) -> Buckets {
        Buckets { burst, per_second, held: Mutex::default() }
    }

    fn level(&self, (level, at): (f64, Instant), now: Instant) -> f64 {
        (level + now.saturating_duration_since(at).as_secs_f64() * self.per_second).min(self.burst)
    }

    /// Takes `n` out of a bucket that holds at least one. A bucket that nothing was taken from isn't kept.
    fn take(&self, name: &str, now: Instant, n: f64) -> Result<(), Duration> {
        let mut held = self.held.lock();
        let level = held.get(name).map_or(self.burst, |bucket| self.level(*bucket, now));
        if level < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - level) / self.per_second));
        }
        if n == 0.0 {
            return Ok(());
        }
        if held.len() >= BUCKETS_MAX && !held.contains_key(name) {
            held.retain(|_, bucket| self.level(*bucket, now) < self.burst);
            if held.len() >= BUCKETS_MAX {
                held.clear();
            }
        }
        held.insert(name.to_owned(), (level - n, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (buckets, start) = (Buckets::new(3.0, 2.0), Instant::now());
        for _ in 0..3 {
            buckets.take("a", start, 1.0).unwrap();
        }
        assert_eq!(buckets.take("a", start, 1.0), Err(Duration::from_millis(500)));
        buckets.take("b", start, 1.0).unwrap();
        let later = start + Duration::from_millis(500);
        buckets.take("a", later, 1.0).unwrap();
        assert!(buckets.take("a", later, 1.0).is_err());
        let long_after = start + Duration::from_secs(60);
        for _ in 0..3 {
            buckets.take("a", long_after, 1.0).unwrap();
        }
        assert!(buckets.take("a", long_after, 1.0).is_err(), "no more than the burst is saved up");
    }

    #[test]
    fn a_network_full_of_wrong_tokens_waits_and_its_right_ones_do_not() {
        let rates = Rates::default();
        rates.take("ff_right").unwrap();
        for _ in 0..60 {
            rates.may_try("198.51.100.x", "ff_wrong").unwrap();
            rates.wrong_token("198.51.100.x");
        }
        assert!(rates.may_try("198.51.100.x", "ff_wrong").is_err());
        rates.may_try("198.51.100.x", "ff_right").unwrap();
        rates.may_try("203.0.113.x", "ff_wrong").unwrap();
    }

    #[test]
    fn buckets_are_bounded() {
        let (buckets, start) = (Buckets::new(3.0, 2.0), Instant::now());
        for i in 0..(BUCKETS_MAX + 10) {
            buckets.take(&i.to_string(), start, 1.0).unwrap();
        }
        assert!(buckets.held.lock().len() <= BUCKETS_MAX);
    }
}
