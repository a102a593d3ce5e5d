//! Passwords: which are refused, and Argon2id off the async threads. It knows no user and no table.
//! There are no composition rules; length and a list of what attackers try first do more.

use crate::db::DbError;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;

/// Shortest password, in characters.
pub const CHARS_MIN: usize = 8;
/// Longest password, in characters; a longer one adds nothing that hashing can use, only work.
pub const CHARS_MAX: usize = 128;
/// The same in bytes: UTF-8 has at most four per character. Checked first, it costs nothing for a megabyte.
const BYTES_MAX: usize = CHARS_MAX * 4;

/// Argon2id memory, in KiB: 19 MiB, OWASP's first choice together with t = 2 and p = 1.
const MEMORY_KIB: u32 = 19 * 1024;
/// Argon2id passes.
const PASSES: u32 = 2;
/// Argon2id lanes.
const LANES: u32 = 1;

/// Hashes computed at the same time. Each takes a core and 19 MiB; more would let a flood of sign-ins starve the node.
const AT_ONCE_MAX: usize = 2;
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE_MAX);
static DONE: AtomicU64 = AtomicU64::new(0);

static ARGON2: LazyLock<Argon2<'static>> = LazyLock::new(|| {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are valid parameters");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
});

/// What an unknown e-mail is checked against: a hash of random bytes that were thrown away, with today's parameters
/// (a test holds that). A constant, because computing it at first use would make the first unknown e-mail slower.
const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$7xJwED8tVOEJDwXHtgNVJg$mief+Xm3qaT943FZAt6Xsh4dbfI/HBb9PGx1YMhwDOQ";

/// Passwords that leaks show most often.
const COMMON: &str = include_str!("common_passwords.txt");
/// Words that somebody thinks of in front of this product. Alone or followed by digits and signs they are refused.
const PRODUCT_WORDS: [&str; 10] = [
    "broadcast",
    "broadcasting",
    "channels",
    "dashboard",
    "fanfare",
    "laravel",
    "password",
    "pusher",
    "reverb",
    "websocket",
];

/// Why a new password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Short,
    Long,
    Common,
}

/// Judges a new password; `email` is already lower-cased.
pub(crate) fn judge(password: &str, email: &str) -> Result<(), Refused> {
    if password.len() > BYTES_MAX || password.chars().count() > CHARS_MAX {
        return Err(Refused::Long);
    }
    if password.chars().count() < CHARS_MIN {
        return Err(Refused::Short);
    }
    let lower = password.to_lowercase();
    let word = lower.trim_end_matches(|c: char| c.is_ascii_digit() || c.is_ascii_punctuation());
    let local = email.split('@').next().unwrap_or_default();
    let common = COMMON.lines().any(|line| line == lower)
        || PRODUCT_WORDS.contains(&word)
        || lower == email
        || lower == local
        || word == local;
    if common { Err(Refused::Common) } else { Ok(()) }
}

/// Whether a text could have been accepted as a password; if not, it is not hashed.
pub(crate) fn may_be_password(text: &str) -> bool {
    text.len() <= BYTES_MAX && (CHARS_MIN..=CHARS_MAX).contains(&text.chars().count())
}

/// The PHC string of a password: algorithm, parameters, salt and hash. *Cancel*: the computation ends by itself.
pub(crate) async fn hash(password: &str) -> Result<String, DbError> {
    let password = password.to_owned();
    in_turn(move || {
        ARGON2.hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|_| DbError::stopped())
    })
    .await?
}

/// Whether the password fits the hash. `None` (nobody has this e-mail) costs the same and is always false.
pub(crate) async fn verify(password: &str, hash: Option<&str>) -> Result<bool, DbError> {
    let password = password.to_owned();
    let known = hash.is_some();
    let hash = hash.unwrap_or(NOBODYS_HASH).to_owned();
    let fits = in_turn(move || ARGON2.verify_password(password.as_bytes(), hash.as_str()).is_ok()).await?;
    Ok(fits && known)
}

/// Whether what stands in the place of a hash is one. The placeholder has an empty text there, who signs in elsewhere only `!`:
/// neither fits a password.
pub(crate) fn is_hash(stored: &str) -> bool {
    stored.starts_with('$')
}

/// Whether a hash was made with less work than a new one would be.
pub(crate) fn is_weaker_than_today(hash: &str) -> bool {
    let params = PasswordHash::new(hash).ok().and_then(|hash| Params::try_from(&hash).ok());
    params.is_none_or(|p| p.m_cost() < MEMORY_KIB || p.t_cost() < PASSES || p.p_cost() < LANES)
}

/// Argon2 computations of this process so far.
pub(crate) fn hashes_done() -> u64 {
    DONE.load(Ordering::Relaxed)
}

async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DbError> {
    let turn = TURNS.acquire().await.map_err(|_| DbError::stopped())?;
    let work = tokio::task::spawn_blocking(move || {
        // The turn goes along: when the caller goes away, the thread still works and still counts.
        let _turn = turn;
        DONE.fetch_add(1, Ordering::Relaxed);
        work()
    });
    work.await.map_err(|_| DbError::stopped())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_is_judged_by_length_and_by_what_attackers_try_first() {
        let judge = |password: &str| judge(password, "marianne@example.com");
        assert_eq!(judge("short 7"), Err(Refused::Short));
        assert_eq!(judge("ñandúes!"), Ok(()), "eight characters, ten bytes");
        assert_eq!(judge(&"x".repeat(129)), Err(Refused::Long));
        assert_eq!(judge(&"🎺".repeat(128)), Ok(()), "128 characters, 512 bytes");
        assert_eq!(judge(&"x".repeat(1_000_000)), Err(Refused::Long));
        for common in [
            "password",
            "Password1",
            "PASSWORD123!",
            "Fanfare2026",
            "pusher-123",
            "marianne",
            "Marianne1990",
            "marianne@example.com",
            "12345678",
        ] {
            assert_eq!(judge(common), Err(Refused::Common), "{common}");
        }
        assert_eq!(judge("fanfare for the common man"), Ok(()));
        assert_eq!(judge("        "), Ok(()), "spaces are characters");
    }

    #[test]
    fn the_hash_for_unknown_e_mails_costs_what_todays_hashes_cost() {
        let nobody = PasswordHash::new(NOBODYS_HASH).unwrap();
        let todays = PasswordHash::new(&ARGON2.hash_password(b"x").unwrap().to_string()).unwrap().to_string();
        let params = |text: &str| text.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(params(NOBODYS_HASH), params(&todays));
        assert_eq!(params(NOBODYS_HASH)[3], "m=19456,t=2,p=1");
        assert_eq!(nobody.hash.unwrap().len(), Params::DEFAULT_OUTPUT_LEN);
        assert!(!is_weaker_than_today(NOBODYS_HASH));
        assert!(is_weaker_than_today(&NOBODYS_HASH.replace("t=2", "t=1")));
        assert!(is_weaker_than_today("not a hash"));
    }
}
