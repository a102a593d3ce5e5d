//! New connections that one address may open: a bucket for each, which fills up by time. A page gone wild, or somebody who plays, is
//! slowed down with 4100 and comes back by itself; an office behind one address gets in within some seconds after a restart.
//!
//! It holds for apps on a plan with limits. This machine's own addresses are let through: a proxy that hides its clients is
//! there, unless `trust_proxy` says who they are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use parking_lot::Mutex;

/// Connections at once from one address, of all its apps: a large office that comes back after a restart.
pub(crate) const CONNECTS_BURST: f64 = 500.0;
/// Connections a second from one address, for as long as it likes.
pub(crate) const CONNECTS_PER_SECOND: f64 = 50.0;
/// Addresses that are remembered, about 1 MB. Beyond it those go that may do all again, and then all: for a moment strangers are
/// let in too easily rather than refused.
const ADDRESSES_MAX: usize = 20_000;

/// What each address has left.
#[derive(Debug, Default)]
pub(crate) struct ConnectRates(Mutex<HashMap<IpAddr, (f64, Instant)>>);

/// Who has a /64 has all of it.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        },
        v4 => v4,
    }
}

impl ConnectRates {
    /// Takes a connection; false: this address opened too many of late.
    pub(crate) fn take(&self, ip: IpAddr, now: Instant) -> bool {
        if ip.to_canonical().is_loopback() {
            return true;
        }
        let ip = network(ip);
        let level = |(level, at): (f64, Instant)| {
            let filled = now.saturating_duration_since(at).as_secs_f64() * CONNECTS_PER_SECOND;
            (level + filled).min(CONNECTS_BURST)
        };
        let mut held = self.0.lock();
        let left = held.get(&ip).map_or(CONNECTS_BURST, |bucket| level(*bucket));
        if left < 1.0 {
            return false;
        }
        if held.len() >= ADDRESSES_MAX && !held.contains_key(&ip) {
            held.retain(|_, bucket| level(*bucket) < CONNECTS_BURST);
            if held.len() >= ADDRESSES_MAX {
                held.clear();
            }
        }
        held.insert(ip, (left - 1.0, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_address_gets_its_burst_then_its_rate_and_others_are_unharmed() {
        let (rates, start) = (ConnectRates::default(), Instant::now());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let all = (0..1_000).filter(|_| rates.take(ip("203.0.113.7"), start)).count();
        assert_eq!(all, 500);
        assert!(rates.take(ip("203.0.113.8"), start));
        assert!(!rates.take(ip("::ffff:203.0.113.7"), start), "the same address in another dress");
        let later = start + Duration::from_secs(2);
        let all = (0..1_000).filter(|_| rates.take(ip("203.0.113.7"), later)).count();
        assert_eq!(all, 100);
        let all = (0..600).filter(|n| rates.take(ip(&format!("2001:db8::{n:x}")), start)).count();
        assert_eq!(all, 500, "one /64");
        assert!((0..2_000).all(|_| rates.take(ip("127.0.0.1"), start) && rates.take(ip("::1"), start)));
    }

    #[test]
    fn addresses_are_bounded() {
        let (rates, start) = (ConnectRates::default(), Instant::now());
        for n in 0..(ADDRESSES_MAX as u32 + 10) {
            assert!(rates.take(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), start));
        }
        assert!(rates.0.lock().len() <= ADDRESSES_MAX);
    }
}
