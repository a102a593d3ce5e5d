//! A shard's parsers of clients' frames: one for all sockets whose client is between two messages, and one of its own for each
//! that is in the middle of one. An idle socket has none; that is a third of what it would hold otherwise.
//!
//! A parser is shared only while it has nothing of anybody in it. Whether a client stopped between two messages is known from
//! the lengths in its frames' heads ([`Edge`]), not from the parser; if the two ever disagreed, one client's bytes could be
//! taken for another's. So an edge is counted for every byte, a parser that said anything but a whole message is thrown away,
//! and a test compares both over any cut of any frames.

use tungstenite::protocol::WebSocketContext;

/// Longest head of a frame: two bytes, eight of length, four of mask.
const HEAD_BYTES_MAX: usize = 14;

/// Where a client's bytes stand in its frames.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Edge {
    head: [u8; HEAD_BYTES_MAX],
    /// Bytes of the next head that are here.
    have: u8,
    /// A message's first frames are here, its last one is not.
    in_message: bool,
    /// Bytes of the frame's payload that are still to come.
    left: u64,
}

impl Edge {
    /// Goes on over these bytes.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let payload = self.left.min(bytes.len() as u64);
            self.left -= payload;
            bytes = &bytes[payload as usize..];
            while self.left == 0
                && let Some((&byte, rest)) = bytes.split_first()
            {
                bytes = rest;
                self.head[usize::from(self.have)] = byte;
                self.have += 1;
                if usize::from(self.have) == head_bytes(&self.head[..usize::from(self.have)]) {
                    self.begin();
                }
            }
        }
    }

    /// A head is whole.
    fn begin(&mut self) {
        let [first, second, ..] = self.head;
        let (is_control, is_last) = (first & 0x08 != 0, first & 0x80 != 0);
        if !is_control {
            self.in_message = !is_last;
        }
        let long = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
        self.left = match second & 0x7f {
            126 => long(&self.head[2..4]),
            127 => long(&self.head[2..10]),
            n => u64::from(n),
        };
        self.have = 0;
    }

    /// Between two messages.
    pub(crate) fn is_clean(&self) -> bool {
        self.have == 0 && self.left == 0 && !self.in_message
    }
}

/// Bytes of the head that begins so; more than are there, if that can't be told yet.
fn head_bytes(head: &[u8]) -> usize {
    let Some(second) = head.get(1) else { return 2 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Parsers {
    spare: Option<Box<WebSocketContext>>,
}

impl Parsers {
    /// A parser for bytes that begin with a message.
    pub(super) fn take(&mut self) -> Box<WebSocketContext> {
        self.spare.take().unwrap_or_else(|| Box::new(crate::ws::parser()))
    }

    /// Gives one back that has nothing in it and never said anything but whole messages.
    pub(super) fn give_back(&mut self, parser: Box<WebSocketContext>) {
        self.spare = Some(parser);
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;
    use tungstenite::{Error, Message};

    use super::*;
    use crate::shard::receive::Memory;

    /// A client's frame, masked.
    fn frame(first: u8, len: usize, fill: u8) -> Vec<u8> {
        let mut out = vec![first];
        match len {
            0..=125 => out.push(0x80 | len as u8),
            126..=65_535 => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => unreachable!("no client may send that much"),
        }
        out.extend_from_slice(&[1, 2, 3, 4]);
        out.extend((0..len).map(|i| (b'a' + fill % 26) ^ [1, 2, 3, 4][i % 4]));
        out
    }

    /// One client's bytes: whole messages, messages in fragments with pings between them, pings.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let len = || prop_oneof![0usize..10, 120usize..130, 600usize..3_000];
        let message = (0u8..3, len(), len(), any::<u8>()).prop_map(|(kind, one, two, fill)| match kind {
            0 => frame(0x81, one, fill),
            1 => frame(0x89, one.min(125), fill),
            _ => {
                [frame(0x01, one, fill), frame(0x00, two, fill), frame(0x89, 3, fill), frame(0x80, one, fill)]
                    .concat()
            }
        });
        proptest::collection::vec(message, 1..12).prop_map(|messages| messages.concat())
    }

    fn read(parser: &mut WebSocketContext, bytes: &[u8], into: &mut Vec<Message>) {
        let mut memory = Memory { input: bytes, output: Vec::new() };
        loop {
            match parser.read(&mut memory) {
                Ok(message) => into.push(message),
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Its place in the frames, a parser of its own, bytes to come, messages read.
    type Client<'a> = (Edge, Option<Box<WebSocketContext>>, &'a [u8], Vec<Message>);

    proptest! {
        /// However the bytes of several clients are cut and mixed: each client's messages are those that a parser of its own
        /// reads from them.
        #[test]
        fn sharing_a_parser_changes_nothing(
            streams in proptest::collection::vec(stream(), 3),
            cuts in proptest::collection::vec((0usize..3, prop_oneof![1usize..8, 1usize..200, 100usize..4_000]), 1..200),
        ) {
            let mut parsers = Parsers::default();
            let mut clients: Vec<Client<'_>> =
                streams.iter().map(|stream| (Edge::default(), None, &stream[..], Vec::new())).collect();
            let all = cuts.into_iter().chain((0..3).map(|who| (who, usize::MAX)));
            for (who, len) in all {
                let (edge, own, rest, got) = &mut clients[who];
                let (now, later) = rest.split_at(len.min(rest.len()));
                *rest = later;
                let mut parser = own.take().unwrap_or_else(|| parsers.take());
                edge.pass(now);
                read(&mut parser, now, got);
                match edge.is_clean() {
                    true => parsers.give_back(parser),
                    false => *own = Some(parser),
                }
            }
            for ((edge, own, _, got), stream) in clients.iter().zip(&streams) {
                prop_assert!(edge.is_clean() && own.is_none(), "all messages are over");
                let mut expected = Vec::new();
                read(&mut crate::ws::parser(), stream, &mut expected);
                prop_assert_eq!(got, &expected);
            }
        }
    }
}
