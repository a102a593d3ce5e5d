//! WebSocket frames of the server, encoded once for all who get them: unmasked, unfragmented. And taken apart again for those
//! who get them by other ways.

use bytes::Bytes;

fn encode(opcode: u8, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 10);
    out.push(0x80 | opcode);
    match payload.len() {
        n @ 0..=125 => out.push(n as u8),
        n @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out.into()
}

/// A text frame.
pub(crate) fn text(payload: &[u8]) -> Bytes {
    encode(0x1, payload)
}

/// A binary frame. No client of the protocol gets one.
pub(crate) fn binary(payload: &[u8]) -> Bytes {
    encode(0x2, payload)
}

/// The payload of one whole frame that this module encoded.
pub(crate) fn payload(frame: &[u8]) -> Option<&[u8]> {
    let head = match frame.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    frame.get(head..)
}

/// An empty ping.
pub(crate) fn ping() -> Bytes {
    Bytes::from_static(&[0x89, 0])
}

/// A close frame; the reason is cut to what a control frame holds.
pub(crate) fn close(code: u16, reason: &str) -> Bytes {
    let (reason, _) = protocol::json::clip(reason, 123);
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    encode(0x8, &payload)
}

/// What a frame of ours is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opcode {
    Text,
    Close,
    Ping,
    /// Nothing that this module encodes.
    Other,
}

/// The frames in a piece that holds whole ones, with their payloads. Only for what was encoded here.
pub(crate) fn split(frames: &Bytes) -> impl Iterator<Item = (Opcode, &[u8])> {
    let mut rest = &frames[..];
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        let (&short, after) = after.split_first()?;
        let (len, after) = match short {
            126 => {
                after.split_first_chunk().map(|(n, after)| (usize::from(u16::from_be_bytes(*n)), after))?
            }
            127 => after.split_first_chunk().map(|(n, after)| (u64::from_be_bytes(*n) as usize, after))?,
            n => (usize::from(n), after),
        };
        let (payload, after) = after.split_at_checked(len)?;
        rest = after;
        let opcode = match first & 0xf {
            0x1 => Opcode::Text,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            _ => Opcode::Other,
        };
        Some((opcode, payload))
    })
}

/// The first frame in a piece.
pub(crate) fn first(frames: &Bytes) -> (Opcode, &[u8]) {
    split(frames).next().unwrap_or((Opcode::Other, &[]))
}

/// Code and reason in the payload of a close frame of ours.
pub(crate) fn close_parts(payload: &[u8]) -> (u16, &str) {
    match payload.split_first_chunk() {
        Some((code, reason)) => (u16::from_be_bytes(*code), std::str::from_utf8(reason).unwrap_or_default()),
        None => (1_005, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_frames_come_apart_again() {
        for len in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let long = vec![b'x'; len];
            let joined: Bytes = [text(b"a"), text(&long), ping(), close(4_200, "bye")].concat().into();
            let parts: Vec<(Opcode, &[u8])> = split(&joined).collect();
            assert_eq!(parts[..3], [(Opcode::Text, &b"a"[..]), (Opcode::Text, &long), (Opcode::Ping, b"")]);
            assert_eq!((parts[3].0, close_parts(parts[3].1)), (Opcode::Close, (4_200, "bye")));
            assert_eq!(split(&joined.slice(..joined.len() - 1)).count(), 3, "a cut frame is none");
        }
    }

    #[test]
    fn lengths_take_one_three_or_nine_bytes() {
        for (len, head) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = text(&vec![b'x'; len]);
            assert_eq!(&frame[..head.len()], head);
            assert_eq!(frame.len(), head.len() + len);
            assert_eq!(payload(&frame).unwrap().len(), len);
        }
        assert_eq!(&close(4001, &"x".repeat(200))[..4], [0x88, 125, 0x0f, 0xa1]);
    }
}
