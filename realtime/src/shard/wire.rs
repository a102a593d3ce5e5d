//! A socket's bytes on their way through the kernel, plain or sealed. [`write`] is the only place that hands bytes to it.
//!
//! A plain socket pays one branch. Over TLS, plaintext is sealed only when nothing sealed waits any more, so that what a reader
//! leaves behind stays plaintext, shared with others, but for one helping.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::tls::session::Session;

/// Bytes read from a socket at once.
const READ_BYTES: usize = 64 * 1_024;

/// See the module.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(TcpStream, Box<Session>),
}

/// What became of bytes that were to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// So many need not be given again.
    pub(crate) taken: usize,
    /// The kernel took some, of these or of earlier ones.
    pub(crate) moved: bool,
}

/// Where a shard reads to. The buffers are the shard's, not the sockets'.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    raw: Vec<u8>,
    opened: Vec<u8>,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) bytes: &'a [u8],
    /// There may be more: read again.
    pub(crate) more: bool,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, tls: Option<Box<Session>>) -> Wire {
        match tls {
            None => Wire::Plain(stream),
            Some(session) => Wire::Tls(stream, session),
        }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        match self {
            Wire::Plain(stream) | Wire::Tls(stream, _) => stream,
        }
    }

    /// Something that was taken is not with the kernel yet: write again, if only nothing, when it has room.
    pub(crate) fn waits(&self) -> bool {
        match self {
            Wire::Plain(_) => false,
            Wire::Tls(_, session) => !session.unsent().is_empty(),
        }
    }

    /// Writes the pieces one behind the other until the kernel is full.
    pub(crate) fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<Written> {
        match self {
            Wire::Plain(stream) => write(stream, pieces).map(|taken| Written { taken, moved: taken > 0 }),
            Wire::Tls(stream, session) => {
                let mut written = Written { taken: 0, moved: false };
                loop {
                    written.moved |= send(stream, session)?;
                    if !session.unsent().is_empty() {
                        return Ok(written);
                    }
                    match session.seal(pieces, written.taken).map_err(io::Error::other)? {
                        0 => return Ok(written),
                        sealed => written.taken += sealed,
                    }
                }
            }
        }
    }

    /// Reads once; `None` at the end of what the peer had to say. `WouldBlock`: the kernel has nothing now.
    pub(crate) fn read<'a>(&mut self, scratch: &'a mut Scratch) -> io::Result<Option<Heard<'a>>> {
        let Scratch { raw, opened } = scratch;
        raw.resize(READ_BYTES, 0);
        match self {
            Wire::Plain(stream) => match stream.read(raw)? {
                0 => Ok(None),
                n => Ok(Some(Heard { bytes: &raw[..n], more: n == READ_BYTES })),
            },
            Wire::Tls(stream, session) => {
                opened.clear();
                loop {
                    if session.peer_closed() {
                        return Ok(None);
                    }
                    let n = match stream.read(raw)? {
                        0 => return Ok(None),
                        n => n,
                    };
                    let result = session.open(&mut raw[..n], opened);
                    // An alert, or another answer of TLS itself. A broken stream is found by the next read.
                    let _ = send(stream, session);
                    result.map_err(io::Error::other)?;
                    if !opened.is_empty() {
                        let more = n == READ_BYTES || session.peer_closed();
                        return Ok(Some(Heard { bytes: opened, more }));
                    }
                }
            }
        }
    }

    /// Tells the peer that nothing more comes, as far as the kernel takes it.
    pub(crate) fn say_goodbye(&mut self) {
        if let Wire::Tls(stream, session) = self {
            session.close();
            let _ = send(stream, session);
        }
    }

    /// Nothing more is written.
    pub(crate) fn shut(&mut self) {
        self.say_goodbye();
        let _ = self.stream().shutdown(Shutdown::Write);
    }
}

/// Hands to the kernel what was sealed. Did it take any?
fn send(stream: &mut TcpStream, session: &mut Session) -> io::Result<bool> {
    let mut moved = false;
    while !session.unsent().is_empty() {
        match write(stream, &[IoSlice::new(session.unsent())])? {
            0 => break,
            taken => session.sent(taken),
        }
        moved = true;
    }
    Ok(moved)
}

/// The one place that hands bytes to a socket's kernel side. Gives how many it took; 0 if it is full.
fn write(stream: &mut TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        let result = match pieces {
            // `send`, which costs a tenth less than `writev` of one.
            [piece] => stream.write(piece),
            _ => stream.write_vectored(pieces),
        };
        match result {
            Ok(0) if pieces.iter().any(|piece| !piece.is_empty()) => {
                return Err(io::ErrorKind::WriteZero.into());
            }
            Ok(taken) => return Ok(taken),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Interest, Poll, Token};

    use super::*;
    use crate::tls::testing::{Peer, WAYS, pair};

    /// Reads as a shard does, which is told once of what comes, until nothing more can come.
    fn hear_all(mut wire: Wire) -> (Vec<u8>, io::Result<()>) {
        let (mut poll, mut events, mut heard) = (Poll::new().unwrap(), Events::with_capacity(8), Vec::new());
        let mut scratch = Scratch::default();
        poll.registry().register(wire.stream(), Token(0), Interest::READABLE).unwrap();
        loop {
            poll.poll(&mut events, Some(std::time::Duration::from_secs(10))).unwrap();
            assert!(!events.is_empty(), "nothing told after {} bytes", heard.len());
            let to_the_end = events.iter().any(|event| event.is_read_closed());
            loop {
                match wire.read(&mut scratch) {
                    Ok(Some(Heard { bytes, more })) => {
                        heard.extend_from_slice(bytes);
                        if !more && !to_the_end {
                            break;
                        }
                    }
                    Ok(None) => return (heard, Ok(())),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return (heard, Err(e)),
                }
            }
        }
    }

    #[test]
    fn all_that_a_peer_says_before_it_leaves_is_heard() {
        for way in WAYS {
            for stays in [false, true] {
                let (wire, mut peer) = pair(way);
                let hearing = std::thread::spawn(move || hear_all(wire));
                let mut said = Vec::new();
                for n in 0..400_usize {
                    let bytes: Vec<u8> = (0..n * n % 20_011).map(|i| (i + n) as u8).collect();
                    said.extend_from_slice(&bytes);
                    peer.write_all(&bytes).unwrap();
                }
                // Over TLS, the last word may come without the end of the stream below, and the other way round.
                match &mut peer {
                    Peer::Tls(peer) if stays => {
                        peer.conn.send_close_notify();
                        peer.flush().unwrap();
                    }
                    Peer::Tls(peer) => peer.sock.shutdown(Shutdown::Write).unwrap(),
                    Peer::Plain(peer) => peer.shutdown(Shutdown::Write).unwrap(),
                }
                let (heard, end) = hearing.join().unwrap();
                assert!(heard == said, "{way:?}: {} bytes of {}", heard.len(), said.len());
                assert!(end.is_ok(), "{end:?}");
            }
        }
    }

    #[test]
    fn a_peer_is_told_the_end_and_what_broke_the_connection() {
        for way in &WAYS[1..] {
            let (mut wire, mut peer) = pair(*way);
            wire.say_goodbye();
            wire.say_goodbye();
            assert_eq!(peer.read(&mut [0; 10]).unwrap(), 0, "close_notify, and nothing else");

            let (wire, peer) = pair(*way);
            let mut peer = peer.tls();
            let record = [0x17, 3, 3, 0, 40, 1].into_iter().chain([7; 39]).collect::<Vec<u8>>();
            peer.sock.write_all(&record).unwrap();
            assert!(hear_all(wire).1.is_err());
            let told = peer.read(&mut [0; 10]).unwrap_err().to_string();
            assert!(told.contains("BadRecordMac"), "{told}");
        }
    }
}
