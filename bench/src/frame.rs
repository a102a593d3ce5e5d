//! WebSocket frames of a client: writes masked ones, reads unmasked ones. No fragments and no extensions: the tool offers none,
//! so a server that sends them is reported.

/// Text.
pub(crate) const TEXT: u8 = 0x1;
/// Close.
pub(crate) const CLOSE: u8 = 0x8;
/// Ping.
pub(crate) const PING: u8 = 0x9;
/// Pong.
pub(crate) const PONG: u8 = 0xA;

/// A frame larger than this is taken for nonsense. A member list of 20,000 stays below.
const FRAME_BYTES_MAX: u64 = 64 * 1_024 * 1_024;

/// A whole frame at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    /// Where the payload begins.
    pub(crate) from: usize,
    /// Where it ends, and with it the frame.
    pub(crate) to: usize,
}

/// Reads the frame at the start of `bytes`; `None` while it is not whole.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Frame>, &'static str> {
    let &[first, second, ..] = bytes else { return Ok(None) };
    if first & 0x80 == 0 || first & 0x0F == 0 {
        return Err("fragmented frame");
    }
    if first & 0x70 != 0 {
        return Err("frame with bits of an extension that was not agreed on");
    }
    if second & 0x80 != 0 {
        return Err("masked frame from the server");
    }
    let (from, length) = match second {
        126 => {
            let Some(raw) = bytes.get(2..4) else { return Ok(None) };
            (4, u64::from(u16::from_be_bytes([raw[0], raw[1]])))
        }
        127 => {
            let Some(raw) = bytes.get(2..10) else { return Ok(None) };
            (10, raw.iter().fold(0, |length, b| length << 8 | u64::from(*b)))
        }
        short => (2, u64::from(short)),
    };
    if length > FRAME_BYTES_MAX {
        return Err("frame of more than 64 MiB");
    }
    let to = from + length as usize;
    Ok((bytes.len() >= to).then_some(Frame { opcode: first & 0x0F, from, to }))
}

/// Appends a masked frame.
pub(crate) fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    out.push(0x80 | opcode);
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let from = out.len();
    out.extend_from_slice(payload);
    for (byte, key) in out[from..].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As a server writes it.
    fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        write(&mut masked, opcode, payload, [0; 4]);
        let head = masked.len() - payload.len();
        masked[1] &= 0x7F;
        masked.drain(head - 4..head);
        masked
    }

    #[test]
    fn the_example_of_the_rfc() {
        let mut out = Vec::new();
        write(&mut out, TEXT, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        let frame = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        assert_eq!(read(&frame), Ok(Some(Frame { opcode: TEXT, from: 2, to: 7 })));
    }

    #[test]
    fn what_a_server_must_not_send_is_named() {
        for (bytes, word) in [
            ([0x01, 0x00], "fragment"),
            ([0x80, 0x00], "fragment"),
            ([0xC1, 0x00], "extension"),
            ([0x81, 0x80], "masked"),
        ] {
            assert!(read(&bytes).unwrap_err().contains(word), "{bytes:?}");
        }
        let mut huge = vec![0x82, 127];
        huge.extend_from_slice(&u64::MAX.to_be_bytes());
        assert!(read(&huge).unwrap_err().contains("MiB"));
    }

    proptest! {
        #[test]
        fn a_frame_is_read_once_it_is_whole(length in prop_oneof![0usize..300, 65_530usize..65_545], cut in 0.0..1.0) {
            let payload = vec![b'x'; length];
            let bytes = unmasked(TEXT, &payload);
            let frame = read(&bytes).unwrap().unwrap();
            prop_assert_eq!((frame.opcode, &bytes[frame.from..frame.to], frame.to), (TEXT, &payload[..], bytes.len()));
            let part = (bytes.len() as f64 * cut) as usize;
            prop_assert_eq!(read(&bytes[..part]), Ok(None));
        }
    }
}
