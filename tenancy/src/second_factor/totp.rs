//! One-time codes by time: RFC 6238 with SHA-1, steps of 30 seconds and six digits, which is what every authenticator app
//! knows. Secrets and clocks are the caller's; nothing is stored here.

use crate::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// A code changes after this time.
pub const STEP_MS: i64 = 30_000;
/// Digits of a code.
pub const DIGITS: usize = 6;
/// Steps before and after the present one that are good too: clocks differ, and people type.
const STEPS_AROUND: i64 = 1;
/// Bytes of a shared secret: as many as SHA-1 gives, as RFC 4226 wants it.
pub const SECRET_BYTES: usize = 20;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The step of a time.
pub fn step_at(now_ms: i64) -> i64 {
    now_ms.div_euclid(STEP_MS)
}

/// The code of a step, for a secret in base 32. `None`: the secret is no base 32.
pub fn code(secret: &Secret, step: i64) -> Option<String> {
    let key = from_base32(secret.expose())?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&key).ok()?;
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest[digest.len() - 1] & 0x0f);
    let bytes: [u8; 4] = digest.get(offset..offset + 4)?.try_into().ok()?;
    let number = (u32::from_be_bytes(bytes) & 0x7fff_ffff) % 10u32.pow(DIGITS as u32);
    Some(format!("{number:06}"))
}

/// The step around now whose code this is, the latest first.
pub(crate) fn step_of(secret: &Secret, digits: [u8; DIGITS], now_ms: i64) -> Option<i64> {
    let now = step_at(now_ms);
    let mut found = None;
    // All are compared, so that the time says nothing about which was near.
    for step in now - STEPS_AROUND..=now + STEPS_AROUND {
        let one = code(secret, step)?;
        if bool::from(one.as_bytes().ct_eq(&digits)) {
            found = Some(step);
        }
    }
    found
}

/// The digits of what somebody typed, as apps show them in groups. `None`: it can't be such a code.
pub(crate) fn digits_of(text: &str) -> Option<[u8; DIGITS]> {
    // Bytes first: a megabyte is not worth filtering.
    if text.len() > 32 {
        return None;
    }
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'-').collect();
    let digits: [u8; DIGITS] = digits.try_into().ok()?;
    digits.iter().all(u8::is_ascii_digit).then_some(digits)
}

/// Base 32 without padding.
pub(crate) fn to_base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut bits) = (0u32, 0u32);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(held >> bits & 31) as usize]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[(held << (5 - bits) & 31) as usize]));
    }
    out
}

fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut bits) = (0u32, 0u32);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|one| *one == letter)?;
        held = (held << 5) | value as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits & 255) as u8);
        }
        held &= (1 << bits) - 1;
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 6238's appendix B: `12345678901234567890`.
    fn key() -> Secret {
        Secret::new(to_base32(b"12345678901234567890"))
    }

    #[test]
    fn the_codes_are_those_of_the_rfc() {
        assert_eq!(key().expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        // The RFC gives eight digits; six are their end.
        for (seconds, eight) in [
            (59i64, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(code(&key(), step_at(seconds * 1_000)).unwrap(), eight[2..], "{seconds}");
        }
    }

    #[test]
    fn base_32_is_that_of_rfc_4648_and_is_read_back() {
        for (bytes, text) in
            [("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(to_base32(bytes.as_bytes()), text);
            assert_eq!(from_base32(text).unwrap(), bytes.as_bytes());
        }
        for wrong in ["", "m", "MZ=", "01"] {
            assert_eq!(from_base32(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_step_before_and_the_one_after_are_good_and_no_other() {
        let now_ms = 1_111_111_111_000;
        let now = step_at(now_ms);
        for away in -3..=3i64 {
            let text = code(&key(), now + away).unwrap();
            let found = step_of(&key(), digits_of(&text).unwrap(), now_ms);
            assert_eq!(found, (away.abs() <= 1).then_some(now + away), "{away}");
        }
    }

    #[test]
    fn what_people_paste_is_read_and_what_is_no_code_is_not() {
        for good in ["123456", " 123 456 ", "123-456\n"] {
            assert_eq!(digits_of(good), Some(*b"123456"), "{good}");
        }
        for wrong in ["", "12345", "1234567", "12345a", "１２３４５６", &"1".repeat(1 << 20)] {
            assert_eq!(digits_of(wrong), None, "{wrong:.20}");
        }
    }
}
