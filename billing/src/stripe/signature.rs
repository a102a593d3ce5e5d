//! Is an event from Stripe? `Stripe-Signature: t=…,v1=…,v1=…` over time and body. A request that is old, or from the future, counts
//! as forged: who recorded one can't send it again.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tenancy::Secret;

/// Seconds between the time in the header and ours, either way: Stripe's own libraries allow these.
pub(crate) const TOLERANCE_S: i64 = 300;
/// Signatures of one header that are looked at: Stripe sends one for each secret that is not yet retired.
const CANDIDATES_MAX: usize = 8;

/// Why an event is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forged {
    /// The header is missing or can't be read.
    Header,
    /// Too old, or from the future.
    Time,
    /// Of another secret, or over another body.
    Signature,
}

/// Checks a request. Every candidate is compared with every secret, each in constant time.
pub(crate) fn check(header: &str, body: &[u8], secrets: &[Secret], now_s: i64) -> Result<(), Forged> {
    let (mut at, mut candidates) = (None, Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", time)) => at = at.or(time.parse::<i64>().ok().map(|seconds| (seconds, time))),
            Some(("v1", hash)) if candidates.len() < CANDIDATES_MAX => {
                candidates.extend(hex::decode(hash).ok())
            }
            _ => {}
        }
    }
    let Some((seconds, time)) = at.filter(|_| !candidates.is_empty()) else { return Err(Forged::Header) };
    let mut genuine = false;
    for secret in secrets {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
            .unwrap_or_else(|_| unreachable!("any length is a key"));
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(body);
        for candidate in &candidates {
            genuine |= mac.clone().verify_slice(candidate).is_ok();
        }
    }
    match (genuine, now_s.abs_diff(seconds) <= TOLERANCE_S.unsigned_abs()) {
        (true, true) => Ok(()),
        (true, false) => Err(Forged::Time),
        (false, _) => Err(Forged::Signature),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn sign(secret: &str, time: &str, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{time}.{body}").as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    fn secrets() -> Vec<Secret> {
        vec![Secret::new("whsec_new"), Secret::new("whsec_old")]
    }

    #[test]
    fn any_of_the_signatures_may_fit_any_of_the_secrets() {
        let (old, zeros) = (sign("whsec_old", &NOW.to_string(), "{}"), "00".repeat(32));
        for header in [
            format!("t={NOW},v1={old}"),
            format!("t={NOW},v1={zeros},v1={old},v0=abc"),
            format!("v1={old}, t={NOW}"),
        ] {
            assert_eq!(check(&header, b"{}", &secrets(), NOW), Ok(()), "{header}");
        }
    }

    #[test]
    fn a_changed_body_another_secret_and_a_missing_part_are_forged() {
        let good = sign("whsec_new", &NOW.to_string(), "{}");
        let other = sign("whsec_other", &NOW.to_string(), "{}");
        let check = |header: String, body: &[u8]| check(&header, body, &secrets(), NOW);
        assert_eq!(check(format!("t={NOW},v1={good}"), b"{} "), Err(Forged::Signature));
        assert_eq!(check(format!("t={NOW},v1={other}"), b"{}"), Err(Forged::Signature));
        assert_eq!(check(format!("t={},v1={good}", NOW + 1), b"{}"), Err(Forged::Signature));
        assert_eq!(check(format!("t={NOW},v0={good}"), b"{}"), Err(Forged::Header));
        assert_eq!(check(format!("v1={good}"), b"{}"), Err(Forged::Header));
        assert_eq!(check(format!("t={NOW},v1=zz"), b"{}"), Err(Forged::Header));
        assert_eq!(check(String::new(), b"{}"), Err(Forged::Header));
        assert_eq!(check(format!("t={NOW},v1={}", &good[..62]), b"{}"), Err(Forged::Signature));
    }

    #[test]
    fn a_request_is_believed_for_five_minutes() {
        for (ahead, expected) in
            [(0, Ok(())), (-300, Ok(())), (300, Ok(())), (-301, Err(Forged::Time)), (301, Err(Forged::Time))]
        {
            let time = (NOW + ahead).to_string();
            let header = format!("t={time},v1={}", sign("whsec_new", &time, "{}"));
            assert_eq!(check(&header, b"{}", &secrets(), NOW), expected, "{ahead}");
        }
    }
}
