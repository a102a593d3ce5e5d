//! Recovery codes: ten of them, each good once, for who lost their authenticator app. Only hashes are kept. Taking one is in
//! [`super::check`].

use crate::secret::{random_hex, token_hash};
use crate::user::UserId;

/// Codes that a person has.
pub const CODES: usize = 10;
/// Letters of a code, in four groups: 80 random bits, so that a plain hash is enough.
const LETTERS: usize = 16;
const BYTES: usize = 10;
/// Without letters that look like others.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// New codes, as they are shown: `abcd-efgh-jkmn-pqrs`.
pub(crate) fn make() -> Vec<String> {
    (0..CODES).map(|_| one()).collect()
}

fn one() -> String {
    let bits = u128::from_str_radix(&random_hex::<BYTES>(), 16).unwrap_or_default();
    let letters = (0..LETTERS).map(|at| char::from(ALPHABET[(bits >> (5 * at) & 31) as usize]));
    let mut code = String::with_capacity(LETTERS + 3);
    for (at, letter) in letters.enumerate() {
        if at > 0 && at.is_multiple_of(4) {
            code.push('-');
        }
        code.push(letter);
    }
    code
}

/// What somebody typed, without groups and in small letters. `None`: it can't be such a code.
pub(crate) fn normal(text: &str) -> Option<String> {
    if text.len() > 64 {
        return None;
    }
    let code: String =
        text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    (code.len() == LETTERS && code.bytes().all(|b| ALPHABET.contains(&b))).then_some(code)
}

/// What is kept of a code; of two people with the same one, something else.
pub(crate) fn hash(user_id: &UserId, normal: &str) -> String {
    token_hash(&format!("{user_id}\0{normal}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_of_one_form_and_differ_and_are_read_as_people_type_them() {
        let mut codes = make();
        assert_eq!(codes.len(), CODES);
        for code in &codes {
            assert_eq!((code.len(), code.split('-').count()), (19, 4), "{code}");
            let kept = normal(code).unwrap();
            assert_eq!(normal(&code.to_uppercase()).as_ref(), Some(&kept));
            assert_eq!(normal(&code.replace('-', " ")).as_ref(), Some(&kept));
            assert_eq!(hash(&"a".to_owned(), &kept).len(), 64);
            assert_ne!(hash(&"a".to_owned(), &kept), hash(&"b".to_owned(), &kept));
        }
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), CODES);
        for wrong in ["", "abcd", "abcd-efgh-jkmn-pqr!", "abcd-efgh-jkmn-pqrl", &"a".repeat(1 << 20)] {
            assert_eq!(normal(wrong), None, "{wrong:.20}");
        }
    }
}
