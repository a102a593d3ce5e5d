//! The shard's side of a WebSocket: where its client's frames stand, and the bytes that the kernel did not take yet.
//!
//! An idle socket holds no read buffer, no queue and no task. Bytes leave in the order in which they were given: while some
//! wait, all that follow wait behind them, by reference. What waits is bounded in bytes ([`BACKLOG_BYTES_MAX`]) and in time
//! ([`STALLED_SECONDS_MAX`]). The way through the kernel is the [`Wire`]'s.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use tungstenite::protocol::WebSocketContext;

use super::parsers::Edge;
use super::wire::{Wire, Written};

/// Bytes waiting for one socket beyond which it is a slow reader and closed: a client a mebibyte behind won't catch up.
pub(crate) const BACKLOG_BYTES_MAX: usize = 1_024 * 1_024;
/// Seconds without progress of a backlog after which the socket is closed.
pub(crate) const STALLED_SECONDS_MAX: u32 = 10;
/// Pieces in one call of the kernel.
const PIECES_MAX: usize = 32;

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) wire: Wire,
    /// While the client is in the middle of a message; else the shard's own serves.
    pub(super) parser: Option<Box<WebSocketContext>>,
    pub(super) edge: Edge,
    /// The parser met an error and must not be asked again: what still comes is thrown away.
    pub(crate) deaf: bool,
    /// Every message is sent back: a conformance test.
    pub(crate) echoes: bool,
    backlog: Option<Box<Backlog>>,
}

/// What waits: bytes for the wire, or only some that the wire took and the kernel did not.
#[derive(Debug)]
struct Backlog {
    pieces: VecDeque<Bytes>,
    /// Of the pieces.
    bytes: usize,
    since: u32,
}

/// What became of bytes given to a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Sent {
    Ok,
    /// The first bytes had to wait: look after this socket.
    Backlogged,
    /// The backlog is full.
    TooSlow,
    /// The socket is gone.
    Gone,
}

impl Backlog {
    fn new(now: u32) -> Backlog {
        Backlog { pieces: VecDeque::new(), bytes: 0, since: now }
    }
}

impl Sent {
    /// What became of both: the worse of the two.
    pub(crate) fn and(self, other: Sent) -> Sent {
        self.max(other)
    }
}

impl Socket {
    pub(crate) fn new(wire: Wire) -> Socket {
        Socket { wire, parser: None, edge: Edge::default(), deaf: false, echoes: false, backlog: None }
    }

    /// From now on messages up to this size are sent back.
    pub(crate) fn echo(&mut self, message_bytes_max: usize) {
        self.echoes = true;
        let mut parser = Box::new(crate::ws::parser());
        parser.set_config(|config| {
            config.max_message_size = Some(message_bytes_max);
            config.max_frame_size = Some(message_bytes_max);
        });
        self.parser = Some(parser);
    }

    /// Sends `bytes` without those before `from`. They are kept, by reference, only if the kernel doesn't take all of them.
    pub(crate) fn send(&mut self, bytes: &Bytes, from: usize, now: u32) -> Sent {
        if self.backlog.is_some() {
            return self.put_by(bytes.slice(from..), now);
        }
        match self.wire.write(&[IoSlice::new(&bytes[from..])]) {
            Ok(Written { taken, .. }) if from + taken == bytes.len() && !self.wire.waits() => Sent::Ok,
            Ok(Written { taken, .. }) => self.put_by(bytes.slice(from + taken..), now),
            Err(_) => Sent::Gone,
        }
    }

    /// Sends several pieces one behind the other, as many as go in one call of the kernel.
    pub(crate) fn send_all(&mut self, pieces: &[Bytes], now: u32) -> Sent {
        let mut sent = Sent::Ok;
        for pieces in pieces.chunks(PIECES_MAX) {
            let mut taken = 0;
            if self.backlog.is_none() {
                let mut slices = [IoSlice::new(&[]); PIECES_MAX];
                pieces.iter().zip(&mut slices).for_each(|(piece, slice)| *slice = IoSlice::new(piece));
                match self.wire.write(&slices[..pieces.len()]) {
                    Ok(written) => taken = written.taken,
                    Err(_) => return Sent::Gone,
                }
            }
            for piece in pieces {
                let of_piece = taken.min(piece.len());
                taken -= of_piece;
                if of_piece < piece.len() {
                    sent = sent.and(self.put_by(piece.slice(of_piece..), now));
                }
            }
        }
        if self.backlog.is_none() && self.wire.waits() {
            sent = sent.and(self.put_by(Bytes::new(), now));
        }
        sent
    }

    fn put_by(&mut self, bytes: Bytes, now: u32) -> Sent {
        let is_first = self.backlog.is_none();
        let backlog = self.backlog.get_or_insert_with(|| Box::new(Backlog::new(now)));
        backlog.bytes += bytes.len();
        if !bytes.is_empty() {
            backlog.pieces.push_back(bytes);
        }
        match (is_first, backlog.bytes > BACKLOG_BYTES_MAX) {
            (true, _) => Sent::Backlogged,
            (false, false) => Sent::Ok,
            (false, true) => Sent::TooSlow,
        }
    }

    /// Writes what waited, as far as the kernel takes it.
    pub(crate) fn flush(&mut self, now: u32) -> Sent {
        let Some(backlog) = &mut self.backlog else {
            // An answer of TLS itself may wait without a backlog.
            return if self.wire.waits() && self.wire.write(&[]).is_err() { Sent::Gone } else { Sent::Ok };
        };
        while !backlog.pieces.is_empty() || self.wire.waits() {
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            let count = backlog.pieces.len().min(PIECES_MAX);
            backlog.pieces.iter().zip(&mut slices).for_each(|(piece, slice)| *slice = IoSlice::new(piece));
            let Ok(Written { mut taken, moved }) = self.wire.write(&slices[..count]) else {
                return Sent::Gone;
            };
            backlog.bytes -= taken;
            while let Some(front) = backlog.pieces.front_mut().filter(|_| taken > 0) {
                let n = taken.min(front.len());
                front.advance(n);
                taken -= n;
                if front.is_empty() {
                    backlog.pieces.pop_front();
                }
            }
            if !moved {
                return Sent::Backlogged;
            }
            backlog.since = now;
        }
        self.backlog = None;
        Sent::Ok
    }

    /// The second since which nothing moved of what waits.
    pub(crate) fn stalled_since(&self) -> Option<u32> {
        self.backlog.as_ref().map(|backlog| backlog.since)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::tls::testing::{WAYS, Way, pair};

    #[test]
    fn whatever_the_kernel_takes_the_bytes_arrive_once_and_in_order() {
        WAYS.into_iter().for_each(bytes_arrive_once_and_in_order);
    }

    fn bytes_arrive_once_and_in_order(way: Way) {
        let (wire, mut peer) = pair(way);
        let mut socket = Socket::new(wire);
        let (mut expected, mut waited, mut n) = (Vec::new(), 0, 0u32);
        let (full, is_full) = std::sync::mpsc::channel::<()>();
        let reader = std::thread::spawn(move || {
            let _ = is_full.recv();
            let mut got = Vec::new();
            let mut buffer = vec![0; 10_000];
            loop {
                match peer.read(&mut buffer).unwrap() {
                    0 => return got,
                    n => got.extend_from_slice(&buffer[..n]),
                }
                std::thread::yield_now();
            }
        });
        while expected.len() < 24 * 1_024 * 1_024 {
            n += 1;
            let len = [1, 70, 700, 9_000, 130_000][n as usize % 5];
            let piece: Bytes = (0..len).map(|i| (i + n) as u8).collect::<Vec<u8>>().into();
            let pieces = vec![piece; if n.is_multiple_of(3) { 40 } else { 1 }];
            let sent = match &pieces[..] {
                [one] => {
                    expected.extend_from_slice(&one[1..]);
                    socket.send(one, 1, 0)
                }
                several => {
                    several.iter().for_each(|piece| expected.extend_from_slice(piece));
                    socket.send_all(several, 0)
                }
            };
            assert_ne!(sent, Sent::Gone);
            while socket.backlog.is_some() {
                let _ = full.send(());
                waited += 1;
                assert_ne!(socket.flush(0), Sent::Gone);
            }
        }
        socket.wire.say_goodbye();
        while socket.wire.waits() {
            assert_ne!(socket.flush(0), Sent::Gone);
        }
        drop(socket);
        let got = reader.join().unwrap();
        assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
        assert!(waited > 0, "the kernel took everything at once: nothing was tried");
    }

    #[test]
    fn a_backlog_over_its_bound_is_told() {
        WAYS.into_iter().for_each(bound_is_told);
    }

    fn bound_is_told(way: Way) {
        let (wire, _peer) = pair(way);
        let mut socket = Socket::new(wire);
        let piece: Bytes = vec![0; 100_000].into();
        while socket.send(&piece, 0, 5) != Sent::Backlogged {}
        assert_eq!(socket.stalled_since(), Some(5));
        let more = std::iter::repeat_with(|| socket.send_all(std::slice::from_ref(&piece), 9));
        let taken = more.take_while(|sent| *sent == Sent::Ok).count();
        assert!((9..=10).contains(&taken), "{taken} pieces of 100,000 bytes in a mebibyte");
        assert_eq!(socket.stalled_since(), Some(5), "what is added is no progress");
    }
}
