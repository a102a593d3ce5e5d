//! Bodies and queries as Stripe takes them: pairs of a form whose names have brackets.

use std::collections::BTreeMap;

/// The pairs of a form. `None` if it is none.
pub(crate) fn decode(text: &str) -> Option<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        if pairs.insert(unescape(name)?, unescape(value)?).is_some() {
            return None;
        }
    }
    Some(pairs)
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest.get(..2)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = &rest[2..];
            }
            // What a form must escape.
            b' ' | b'"' | b'<' | b'>' => return None,
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

/// `line_items[0][price]` as `line_items[#][price]`, to compare with a list.
pub(crate) fn shape(name: &str) -> String {
    let mut out = String::new();
    for part in name.split_inclusive('[') {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && part[digits..].starts_with(']') {
            out.push('#');
            out.push_str(&part[digits..]);
        } else {
            out.push_str(part);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_brackets_and_numbers_become_one_shape() {
        let pairs = decode("a%5B0%5D%5Bb%5D=x+y%21&c=").unwrap();
        assert_eq!(pairs["a[0][b]"], "x y!");
        assert_eq!(pairs["c"], "");
        assert_eq!(shape("a[0][b]"), "a[#][b]");
        assert_eq!(shape("metadata[plan]"), "metadata[plan]");
        for bad in ["a", "a=1&a=2", "a=%zz", "a=\"x\"", "a=%e"] {
            assert!(decode(bad).is_none(), "{bad}");
        }
    }
}
