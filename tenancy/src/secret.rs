//! A secret that does not show itself, and the random text that keys, secrets and tokens are made of.
//! It does not encrypt anything: app secrets must be readable again to sign with them.

use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// Random bytes in a session or sign-in token (256 bits).
pub const TOKEN_BYTES: usize = 32;
/// Random bytes in an app key or secret: 20 hex characters, as Pusher's.
pub const APP_KEY_BYTES: usize = 10;

/// Text that must not reach a log: `Debug` prints `…`, there is no `Display`. Comparing takes the same time wherever
/// two of one length differ.
#[derive(Clone, Eq)]
pub struct Secret(String);

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself. The one way to it, so that a search finds every use.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// `N` bytes from the operating system as lower-case hex.
pub(crate) fn random_hex<const N: usize>() -> String {
    let mut bytes = [0u8; N];
    // No key is better than a guessable one: without the system's randomness nothing here may go on.
    SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    hex::encode(bytes)
}

/// What the database keeps of a token. Plain SHA-256 is enough for 256 random bits; a slow hash would buy nothing.
pub(crate) fn token_hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// Whether a text can be a token of ours at all; spares the database absurd input.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == TOKEN_BYTES * 2 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_its_debug_output() {
        let secret = Secret::new("s3cr3t");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "… Some(…)");
        assert_eq!(secret.expose(), "s3cr3t");
        assert!(
            secret == Secret::new("s3cr3t") && secret != Secret::new("s3cr3T") && secret != Secret::new("")
        );
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (a, b) = (random_hex::<TOKEN_BYTES>(), random_hex::<TOKEN_BYTES>());
        assert!(is_token(&a) && is_token(&b) && a != b);
        assert_eq!(random_hex::<APP_KEY_BYTES>().len(), 20);
        assert!(!is_token(&a[1..]) && !is_token(&a.to_uppercase().replace('0', "A")));
    }
}
