//! The lines of a receive request's answer, and the body of a send. Each line ends with a line feed; there are no empty ones,
//! since a client's parser stops there.

use bytes::Bytes;
use protocol::json::push_string;

use crate::frame::{self, Opcode};

/// The session is open.
pub(super) const OPEN: &[u8] = b"o\n";
/// A heartbeat. A streaming pusher-js answers each with a `[]`.
pub(super) const HEARTBEAT: &[u8] = b"h\n";
/// Counts as activity and makes nobody do anything.
pub(super) const EMPTY: &[u8] = b"a[]\n";
/// To a receive request whose session another one took over (the code is SockJS').
pub(super) const TAKEN_OVER: &[u8] = b"c[2010,\"Another connection still open\"]\n";

/// Appends frames as one line. Nothing if there is no text among them.
pub(super) fn push_frames(out: &mut Vec<u8>, pieces: &[Bytes]) {
    let texts = pieces.iter().flat_map(frame::split).filter(|(opcode, _)| *opcode == Opcode::Text);
    let start = out.len();
    for (_, payload) in texts {
        out.extend_from_slice(if out.len() == start { b"a[" } else { b"," });
        push_string(out, &String::from_utf8_lossy(payload));
    }
    if out.len() > start {
        out.extend_from_slice(b"]\n");
    }
}

/// Appends the end of a session.
pub(super) fn push_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    out.extend_from_slice(format!("c[{code},").as_bytes());
    push_string(out, reason);
    out.extend_from_slice(b"]\n");
}

/// The messages in the body of a send: an array of strings.
pub(super) fn messages(body: &[u8]) -> Option<Vec<String>> {
    serde_json::from_slice(body).ok()
}

/// Characters as a browser counts them.
pub(super) fn utf16_units(utf8: &[u8]) -> usize {
    utf8.iter().map(|b| usize::from(b & 0xc0 != 0x80) + usize::from(*b >= 0xf0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_become_one_line_however_they_were_joined() {
        let joined: Bytes =
            [frame::text(br#"{"a":"1"}"#), frame::text("ü\n\u{2028}".as_bytes())].concat().into();
        let mut out = Vec::new();
        push_frames(&mut out, &[joined, frame::ping(), frame::text(b"z")]);
        let expected = "a[\"{\\\"a\\\":\\\"1\\\"}\",\"ü\\n\u{2028}\",\"z\"]\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        push_frames(&mut out, &[frame::ping()]);
        assert_eq!(out, b"");
        push_close(&mut out, 4_001, "no \"such\" app");
        assert_eq!(out, br#"c[4001,"no \"such\" app"]"#.iter().chain(b"\n").copied().collect::<Vec<_>>());
    }

    #[test]
    fn a_send_is_an_array_of_strings_and_nothing_else() {
        assert_eq!(messages(b"[]"), Some(vec![]));
        assert_eq!(messages(br#"["{\"event\":\"x\"}","y"]"#).unwrap(), [r#"{"event":"x"}"#, "y"]);
        for bad in ["", "{}", "[1]", "[\"a\"", "null", "\"a\"", "[[\"a\"]]", "[\"\\ud800\"]"] {
            assert_eq!(messages(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        /// Whatever the texts and however they are cut into pieces: a client reads them again, in order, on one line.
        #[test]
        fn a_line_reads_back_as_its_texts(
            texts in proptest::collection::vec(".{0,300}", 1..8),
            joined in any::<bool>(),
        ) {
            let mut pieces: Vec<Bytes> = texts.iter().map(|t| frame::text(t.as_bytes())).collect();
            if joined {
                pieces = vec![pieces.concat().into()];
            }
            let mut out = Vec::new();
            push_frames(&mut out, &pieces);
            prop_assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
            let read: Vec<String> = serde_json::from_slice(&out[1..]).unwrap();
            prop_assert_eq!(&read, &texts);
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(utf16_units(text.as_bytes()), text.encode_utf16().count());
        }
    }
}
