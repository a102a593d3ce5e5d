//! WebSocket frames of the server, encoded once for all who get them: unmasked, unfragmented.

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

#[cfg(test)]
mod tests {
    use super::*;

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
