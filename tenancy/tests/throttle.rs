//! The sign-in throttle through its public door, with time passed in instead of slept.

use std::net::IpAddr;
use std::time::Duration;
use tenancy::throttle::SignInThrottle;

const START_MS: i64 = 1_764_000_000_000;
const MINUTE_MS: i64 = 60_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One attempt with a wrong password; whether it was let in.
fn guess(throttle: &SignInThrottle, email: &str, from: &str, now_ms: i64) -> bool {
    let admitted = throttle.check_at(email, ip(from), now_ms).is_ok();
    if admitted {
        throttle.failed_at(email, ip(from), now_ms);
    }
    admitted
}

#[test]
fn twenty_wrong_ones_do_not_stop_the_right_one_from_another_network() {
    let throttle = SignInThrottle::new();
    for _ in 0..20 {
        guess(&throttle, "ana@example.com", "198.51.100.7", START_MS);
    }
    assert!(throttle.check_at("ana@example.com", ip("198.51.100.9"), START_MS).is_err());
    assert_eq!(throttle.check_at("ana@example.com", ip("203.0.113.9"), START_MS), Ok(()));
}

#[test]
fn a_thousand_accounts_from_one_network_stop_after_ten() {
    let throttle = SignInThrottle::new();
    let admitted = (0..1_000)
        .filter(|n| guess(&throttle, &format!("u{n}@example.com"), "198.51.100.7", START_MS))
        .count();
    assert_eq!(admitted, 10);
}

#[test]
fn one_account_from_a_thousand_networks_stops_after_twenty_and_waits_a_minute_at_most() {
    let throttle = SignInThrottle::new();
    let from = |n: i64| format!("10.{}.{}.1", n / 250, n % 250);
    let admitted = (0..1_000).filter(|&n| guess(&throttle, "ana@example.com", &from(n), START_MS)).count();
    assert_eq!(admitted, 20);
    for n in 0..200 {
        guess(&throttle, "Ana@Example.com ", &from(n + 1_000), START_MS + n * MINUTE_MS);
    }
    let now = START_MS + 199 * MINUTE_MS;
    let wait = throttle.check_at("ana@example.com", ip("203.0.113.9"), now).unwrap_err();
    assert_eq!(wait, Duration::from_secs(60));
    assert_eq!(throttle.check_at("ana@example.com", ip("203.0.113.9"), now + MINUTE_MS), Ok(()));
}

#[test]
fn waits_double() {
    let throttle = SignInThrottle::new();
    let mut now = START_MS;
    for _ in 0..10 {
        assert!(guess(&throttle, "ana@example.com", "2001:db8::1", now));
    }
    for seconds in [1, 2, 4, 8, 16] {
        let wait = throttle.check_at("x@example.com", ip("2001:db8::ffff"), now).unwrap_err();
        assert_eq!(wait, Duration::from_secs(seconds));
        now += i64::try_from(wait.as_millis()).unwrap();
        assert!(!guess(&throttle, "x@example.com", "2001:db8::1", now - 1));
        assert!(guess(&throttle, "x@example.com", "2001:db8::1", now));
    }
    assert_eq!(throttle.check_at("x@example.com", ip("2001:db8:0:1::1"), now), Ok(()), "another /64");
}

#[test]
fn an_address_mapped_into_ipv6_is_the_same_network() {
    let throttle = SignInThrottle::new();
    for _ in 0..10 {
        guess(&throttle, "ana@example.com", "::ffff:198.51.100.7", START_MS);
    }
    assert!(throttle.check_at("bea@example.com", ip("198.51.100.200"), START_MS).is_err());
}

#[test]
fn attempts_at_the_same_time_do_not_slip_through_together() {
    let throttle = SignInThrottle::new();
    let admitted = (0..100)
        .filter(|_| throttle.check_at("ana@example.com", ip("198.51.100.7"), START_MS).is_ok())
        .count();
    assert_eq!(admitted, 10);
    // None of them ever reported its end: a minute later they are no failures.
    assert_eq!(throttle.check_at("ana@example.com", ip("198.51.100.7"), START_MS + MINUTE_MS), Ok(()));
}

#[test]
fn success_clears_the_account_but_not_the_network() {
    let throttle = SignInThrottle::new();
    for n in 0..9 {
        guess(&throttle, &format!("u{n}@example.com"), "198.51.100.7", START_MS);
    }
    throttle.check_at("mallory@example.com", ip("198.51.100.7"), START_MS).unwrap();
    throttle.succeeded("mallory@example.com", ip("198.51.100.7"));
    assert!(guess(&throttle, "ana@example.com", "198.51.100.7", START_MS));
    assert!(!guess(&throttle, "ana@example.com", "198.51.100.7", START_MS));
}

#[test]
fn all_is_forgotten_after_half_an_hour() {
    let throttle = SignInThrottle::new();
    for n in 0..30 {
        guess(&throttle, "ana@example.com", "198.51.100.7", START_MS + n * 1_000);
    }
    let later = START_MS + 60 * MINUTE_MS;
    let admitted = (0..30).filter(|_| guess(&throttle, "ana@example.com", "198.51.100.7", later)).count();
    assert_eq!(admitted, 10);
}

#[test]
fn memory_is_bounded_under_a_flood_of_addresses() {
    let throttle = SignInThrottle::new();
    for n in 0..120_000_u32 {
        let from = IpAddr::from((n << 8).to_be_bytes());
        throttle.failed_at(&format!("u{n}@example.com"), from, START_MS + i64::from(n) / 100);
    }
    let shown = format!("{throttle:?}");
    let sizes: Vec<usize> =
        shown.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|&size| (40_000..=50_000).contains(&size)), "{shown}");
}
