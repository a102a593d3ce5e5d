//! Query strings as server SDKs really write them: some escape, some don't, and a `+` may mean either thing.

use std::borrow::Cow;

/// What a literal `+` stands for while decoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plus {
    /// Itself (Node, Go and Python put values unescaped on the wire).
    Literal,
    /// A blank (form encoding).
    Space,
}

/// Splits a query into decoded pairs, in order. A pair is cut at its *first* `=`, since raw values may hold more of them.
/// Invalid escapes stay as they are; bytes that are no UTF-8 become U+FFFD, so that their signature can't match.
pub fn parse(query: &str, plus: Plus) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, plus), decode(value, plus))
        })
        .collect()
}

/// Decodes percent escapes (and `+`, if it means a blank).
pub fn decode(text: &str, plus: Plus) -> Cow<'_, str> {
    if !text.bytes().any(|b| b == b'%' || b == b'+' && plus == Plus::Space) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escaped = (bytes[i] == b'%')
            .then(|| bytes.get(i + 1..i + 3))
            .flatten()
            .and_then(|two| Some((two[0] as char).to_digit(16)? * 16 + (two[1] as char).to_digit(16)?));
        match (bytes[i], escaped) {
            (_, Some(byte)) => {
                out.push(byte as u8);
                i += 3;
                continue;
            }
            (b'+', _) if plus == Plus::Space => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    Cow::Owned(String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_split_on_the_first_equals_sign_and_decode_once() {
        let pairs =
            parse("a=1&b=x=y,z@&info=user_count%2Csubscription_count&c&d=&&e=%zz%4&f=a+b", Plus::Literal);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(
            pairs,
            [
                ("a", "1"),
                ("b", "x=y,z@"),
                ("info", "user_count,subscription_count"),
                ("c", ""),
                ("d", ""),
                ("e", "%zz%4"),
                ("f", "a+b")
            ]
        );
        assert_eq!(decode("a+b%2B", Plus::Space), "a b+");
        assert_eq!(decode("%ff", Plus::Literal), "\u{fffd}");
    }
}
