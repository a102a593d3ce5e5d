//! What a measured message carries, and the check that a delivered frame carries exactly that.
//!
//! A payload is a stamp (when it was due, its stream, its number in that stream) of 32 hex digits, then letters up to the wanted
//! size. No character of it needs escaping in JSON, so every server must deliver the very bytes.

use serde_json::Value;

/// Bytes of a stamp, and so of the smallest payload.
pub(crate) const STAMP_BYTES: usize = 32;

/// What a message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Nanoseconds of the tool's clock at which it was due.
    pub(crate) at: u64,
    /// The stream: one publisher on one channel. Within it the order is defined.
    pub(crate) stream: u32,
    /// From 0 on in its stream.
    pub(crate) number: u32,
}

/// Value of each byte as a hex digit; 255 if it is none.
const DIGITS: [u8; 256] = {
    let mut digits = [255; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

#[inline]
fn number(hex: &[u8]) -> Option<u64> {
    let (mut value, mut wrong) = (0u64, 0u8);
    for byte in hex {
        let digit = DIGITS[*byte as usize];
        wrong |= digit;
        value = value << 4 | u64::from(digit);
    }
    (wrong < 16).then_some(value)
}

impl Stamp {
    fn write(&self, out: &mut Vec<u8>) {
        for (value, digits) in [(self.at, 16), (u64::from(self.stream), 8), (u64::from(self.number), 8)] {
            let digit = |place: u32| b"0123456789abcdef"[(value >> (place * 4)) as usize % 16];
            out.extend((0..digits).rev().map(digit));
        }
    }

    #[inline]
    fn read(bytes: &[u8]) -> Option<Stamp> {
        Some(Stamp {
            at: number(bytes.get(..16)?)?,
            stream: number(bytes.get(16..24)?)? as u32,
            number: number(bytes.get(24..32)?)? as u32,
        })
    }
}

/// Writes payloads of one size.
#[derive(Debug)]
pub(crate) struct Payload {
    filler: Vec<u8>,
}

impl Payload {
    /// Payloads of `size` bytes, at least [`STAMP_BYTES`].
    pub(crate) fn new(size: usize) -> Payload {
        let letters = (b'a'..=b'z').chain(b'A'..=b'Z').cycle();
        Payload { filler: letters.take(size.saturating_sub(STAMP_BYTES)).collect() }
    }

    /// Appends one.
    pub(crate) fn write(&self, stamp: &Stamp, out: &mut Vec<u8>) {
        stamp.write(out);
        out.extend_from_slice(&self.filler);
    }
}

/// What stands around the payload in a channel's frames: learnt from the first one by parsing it, compared byte by byte after.
#[derive(Debug)]
struct Around {
    before: Vec<u8>,
    after: Vec<u8>,
}

/// Tells whether a frame is a measured message, whole and on its channel.
#[derive(Debug)]
pub(crate) struct Checker {
    event: &'static str,
    channels: Vec<String>,
    around: Vec<Option<Around>>,
    payload: Payload,
}

impl Checker {
    /// For messages of `event` with payloads of `size` bytes on these channels.
    pub(crate) fn new(event: &'static str, channels: Vec<String>, size: usize) -> Checker {
        let around = channels.iter().map(|_| None).collect();
        Checker { event, channels, around, payload: Payload::new(size) }
    }

    /// The stamp of a message that is right in event, channel and every byte of its payload.
    #[inline]
    pub(crate) fn check(&mut self, channel: usize, text: &[u8]) -> Option<Stamp> {
        self.compare(channel, text).or_else(|| self.learn(channel, text))
    }

    /// The same for a receiver of several channels, with the channel that it is on.
    pub(crate) fn check_any(&mut self, channels: &[usize], text: &[u8]) -> Option<(usize, Stamp)> {
        let known = channels.iter().find_map(|channel| Some((*channel, self.compare(*channel, text)?)));
        known.or_else(|| channels.iter().find_map(|channel| Some((*channel, self.learn(*channel, text)?))))
    }

    #[inline]
    fn compare(&self, channel: usize, text: &[u8]) -> Option<Stamp> {
        let around = self.around[channel].as_ref()?;
        let data = text.strip_prefix(&around.before[..])?.strip_suffix(&around.after[..])?;
        let (stamp, filler) = data.split_at_checked(STAMP_BYTES)?;
        (filler == self.payload.filler).then(|| Stamp::read(stamp))?
    }

    #[cold]
    fn learn(&mut self, channel: usize, text: &[u8]) -> Option<Stamp> {
        let frame: Value = serde_json::from_slice(text).ok()?;
        if frame["event"] != self.event || frame["channel"] != self.channels[channel] {
            return None;
        }
        let data = frame["data"].as_str()?.as_bytes();
        let (stamp, filler) = data.split_at_checked(STAMP_BYTES)?;
        if filler != self.payload.filler {
            return None;
        }
        let stamp = Stamp::read(stamp)?;
        let at = text.windows(data.len()).position(|part| part == data)?;
        let (before, after) = (text[..at].to_vec(), text[at + data.len()..].to_vec());
        self.around[channel] = Some(Around { before, after });
        Some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { at: 0x0123_4567_89ab_cdef, stream: 7, number: 0xffff_fffe };

    fn data(size: usize) -> String {
        let mut out = Vec::new();
        Payload::new(size).write(&STAMP, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn frame(event: &str, channel: &str, data: &str) -> Vec<u8> {
        format!(r#"{{"event":"{event}","channel":"{channel}","data":"{data}"}}"#).into_bytes()
    }

    fn checker() -> Checker {
        Checker::new("measured", vec!["a".into(), "b".into()], 64)
    }

    #[test]
    fn a_payload_has_its_size_and_comes_back() {
        assert_eq!(data(64).len(), 64);
        assert_eq!(data(STAMP_BYTES).len(), STAMP_BYTES);
        let mut checker = checker();
        let good = frame("measured", "a", &data(64));
        assert_eq!(checker.check(0, &good), Some(STAMP), "by parsing");
        assert!(checker.around[0].is_some());
        assert_eq!(checker.check(0, &good), Some(STAMP), "by comparing");
    }

    #[test]
    fn of_several_channels_the_right_one_is_told() {
        let mut checker = checker();
        for text in [frame("measured", "b", &data(64)), frame("measured", "b", &data(64))] {
            assert_eq!(checker.check_any(&[0, 1], &text), Some((1, STAMP)));
            assert_eq!(checker.check_any(&[0], &text), None);
        }
    }

    #[test]
    fn every_byte_and_name_counts() {
        let good = frame("measured", "a", &data(64));
        let wrong = [
            ("another channel", frame("measured", "b", &data(64))),
            ("another event", frame("mesaured", "a", &data(64))),
            ("longer", frame("measured", "a", &data(65))),
            ("shorter", frame("measured", "a", &data(63))),
            ("a letter of the filler", frame("measured", "a", &data(64).replace('d', "D"))),
            ("a digit of the stamp", frame("measured", "a", &data(64).replacen('0', "g", 1))),
            ("cut", good[..good.len() - 1].to_vec()),
        ];
        for learnt in [false, true] {
            for (what, text) in &wrong {
                let mut checker = checker();
                if learnt {
                    checker.check(0, &good);
                }
                if *what == "a letter of the filler" || *what == "a digit of the stamp" {
                    assert_ne!(*text, good);
                }
                assert_eq!(checker.check(0, text), None, "{what}");
            }
        }
    }

    #[test]
    fn another_order_of_keys_is_as_good() {
        let mut checker = checker();
        let other = format!(r#"{{"channel":"a", "data":"{}", "event":"measured"}}"#, data(64));
        for text in [frame("measured", "a", &data(64)), other.into_bytes(), frame("measured", "a", &data(64))]
        {
            assert_eq!(checker.check(0, &text), Some(STAMP));
        }
    }
}
