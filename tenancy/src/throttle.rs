//! Slows guessing of passwords: waits that double, per e-mail address and per network, in memory of this node.
//! It never locks anybody out for good, it is no rate limit for other requests, and it keeps no address in the clear.

mod codes;

pub use codes::CodeThrottle;

use crate::clock::{MINUTE_MS, SECOND_MS, now_ms};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

/// Failures of one address that cost no wait. More than [`NETWORK_RULE`]'s, so that one stranger is stopped by his
/// network's wait before he makes the owner of the address wait.
const ACCOUNT_RULE: Rule = Rule { free: 20, wait_max_ms: MINUTE_MS };
/// Failures from one network that cost no wait: an office behind one address mistypes now and then.
const NETWORK_RULE: Rule = Rule { free: 10, wait_max_ms: 15 * MINUTE_MS };
/// The first wait; each further failure doubles it.
const WAIT_FIRST_MS: i64 = SECOND_MS;
/// Without a new failure for this long, all is forgotten.
const FORGET_MS: i64 = 30 * MINUTE_MS;
/// An attempt that was let in counts as a failure until it is known how it ended, but no longer than this.
const PENDING_MS: i64 = MINUTE_MS;
/// Entries per map: about 4 MB each when full. Beyond it the oldest tenth goes.
const ENTRIES_MAX: usize = 50_000;

const _: () =
    assert!(ACCOUNT_RULE.free > NETWORK_RULE.free && ACCOUNT_RULE.wait_max_ms < NETWORK_RULE.wait_max_ms);
const _: () =
    assert!(FORGET_MS > NETWORK_RULE.wait_max_ms, "a wait must not outlive the memory of its reason");

#[derive(Clone, Copy)]
struct Rule {
    free: u32,
    wait_max_ms: i64,
}

#[derive(Clone, Copy, Default)]
struct Tries {
    failed: u32,
    /// Let in and not yet known how they ended.
    pending: u32,
    last_ms: i64,
}

/// The throttle of a node's sign-in form. Ask [`check`](SignInThrottle::check) before hashing, then report how the
/// attempt ended with [`failed`](SignInThrottle::failed) or [`succeeded`](SignInThrottle::succeeded).
pub struct SignInThrottle {
    maps: Mutex<Maps>,
    hasher: RandomState,
}

#[derive(Default)]
struct Maps {
    accounts: HashMap<u64, Tries>,
    networks: HashMap<u64, Tries>,
}

impl std::fmt::Debug for SignInThrottle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let maps = self.maps.lock();
        f.debug_struct("SignInThrottle")
            .field("accounts", &maps.accounts.len())
            .field("networks", &maps.networks.len())
            .finish()
    }
}

impl Default for SignInThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl SignInThrottle {
    /// An empty throttle; a restart forgets all waits.
    pub fn new() -> SignInThrottle {
        SignInThrottle { maps: Mutex::default(), hasher: RandomState::new() }
    }

    /// Lets an attempt in, or says after which time to come back (for `Retry-After`). An attempt that is let in counts
    /// as failed until its end is reported, so that many at once cannot slip through together.
    pub fn check(&self, email: &str, ip: IpAddr) -> Result<(), Duration> {
        self.check_at(email, ip, now_ms())
    }

    /// [`SignInThrottle::check`] at a given time.
    pub fn check_at(&self, email: &str, ip: IpAddr, now_ms: i64) -> Result<(), Duration> {
        let (account, network) = (self.account_of(email), self.network_of(ip));
        let mut maps = self.maps.lock();
        let wait_ms = wait_ms(maps.accounts.get(&account), ACCOUNT_RULE, now_ms).max(wait_ms(
            maps.networks.get(&network),
            NETWORK_RULE,
            now_ms,
        ));
        if wait_ms > 0 {
            return Err(Duration::from_millis(wait_ms.unsigned_abs()));
        }
        let Maps { accounts, networks } = &mut *maps;
        for (map, key) in [(accounts, account), (networks, network)] {
            let tries = current(map, key, now_ms);
            tries.pending = tries.pending.saturating_add(1);
            tries.last_ms = now_ms;
        }
        Ok(())
    }

    /// Reports an attempt as failed.
    pub fn failed(&self, email: &str, ip: IpAddr) {
        self.failed_at(email, ip, now_ms());
    }

    /// [`SignInThrottle::failed`] at a given time.
    pub fn failed_at(&self, email: &str, ip: IpAddr, now_ms: i64) {
        let (account, network) = (self.account_of(email), self.network_of(ip));
        let Maps { accounts, networks } = &mut *self.maps.lock();
        for (map, key) in [(accounts, account), (networks, network)] {
            let tries = current(map, key, now_ms);
            tries.pending = tries.pending.saturating_sub(1);
            tries.failed = tries.failed.saturating_add(1);
            tries.last_ms = now_ms;
        }
    }

    /// Reports an attempt as successful: the address starts afresh. The network does not, or who guesses could sign in
    /// to an account of his own between two guesses.
    pub fn succeeded(&self, email: &str, ip: IpAddr) {
        let (account, network) = (self.account_of(email), self.network_of(ip));
        let Maps { accounts, networks } = &mut *self.maps.lock();
        accounts.remove(&account);
        if let Some(tries) = networks.get_mut(&network) {
            tries.pending = tries.pending.saturating_sub(1);
        }
    }

    /// A keyed hash instead of the address: nothing to leak, and one size whatever is sent.
    fn account_of(&self, email: &str) -> u64 {
        self.hasher.hash_one(email.trim().to_lowercase())
    }

    /// The /24 of an IPv4 address, the /64 of an IPv6 address: what one customer of a provider can move within.
    fn network_of(&self, ip: IpAddr) -> u64 {
        match ip.to_canonical() {
            IpAddr::V4(v4) => self.hasher.hash_one((4, &v4.octets()[..3])),
            IpAddr::V6(v6) => self.hasher.hash_one((6, &v6.octets()[..8])),
        }
    }
}

/// How long an attempt must still wait; 0 lets it in.
fn wait_ms(tries: Option<&Tries>, rule: Rule, now_ms: i64) -> i64 {
    let Some(tries) = tries else { return 0 };
    let since_ms = now_ms.saturating_sub(tries.last_ms).max(0);
    if since_ms >= FORGET_MS {
        return 0;
    }
    let pending = if since_ms < PENDING_MS { tries.pending } else { 0 };
    let total = tries.failed.saturating_add(pending);
    let Some(over) = total.checked_sub(rule.free) else { return 0 };
    // 2^20 s is far beyond every longest wait, so the shift cannot overflow.
    let wait_ms = (WAIT_FIRST_MS << over.min(20)).min(rule.wait_max_ms);
    (wait_ms - since_ms).max(0)
}

/// The entry to count in: a new one if there is none or the old one is forgotten.
fn current(map: &mut HashMap<u64, Tries>, key: u64, now_ms: i64) -> &mut Tries {
    if map.len() >= ENTRIES_MAX && !map.contains_key(&key) {
        make_room(map, now_ms);
    }
    let tries = map.entry(key).or_default();
    let since_ms = now_ms.saturating_sub(tries.last_ms);
    if since_ms >= FORGET_MS {
        *tries = Tries::default();
    } else if since_ms >= PENDING_MS {
        tries.pending = 0;
    }
    tries
}

fn make_room(map: &mut HashMap<u64, Tries>, now_ms: i64) {
    map.retain(|_, tries| now_ms.saturating_sub(tries.last_ms) < FORGET_MS);
    if map.len() < ENTRIES_MAX {
        return;
    }
    let mut ages: Vec<i64> = map.values().map(|tries| tries.last_ms).collect();
    let (_, cut, _) = ages.select_nth_unstable(ENTRIES_MAX / 10);
    let cut = *cut;
    let mut surplus = ENTRIES_MAX / 10;
    map.retain(|_, tries| {
        let goes = surplus > 0 && tries.last_ms <= cut;
        surplus -= usize::from(goes);
        !goes
    });
}
