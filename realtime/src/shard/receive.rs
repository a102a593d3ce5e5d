//! From a socket's bytes to messages. The parser (sans-I/O tungstenite) gets what was read into the shard's scratch buffer.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tungstenite::{Error, Message};

use super::Shard;
use super::conn::Link;
use super::socket::Socket;
use crate::frame;

/// Reads of one socket in one turn.
const READS_PER_TURN: usize = 8;
pub(super) const TOO_LARGE: &str = "message too large: at most 32 KiB";

/// The parser's view of a socket: bytes that are here, and a place for its control frames.
struct Memory<'a> {
    input: &'a [u8],
    output: Vec<u8>,
}

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shard {
    /// Reads what the socket has. `to_the_end`: go on until nothing is left, since the peer may have closed.
    pub(super) fn receive(&mut self, index: usize, to_the_end: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut reads = 0;
        while let Some(conn) = self.conns.get_mut(index) {
            if reads == READS_PER_TURN {
                self.unread.push(index);
                break;
            }
            reads += 1;
            let Link::Socket(Socket { stream, deaf, .. }) = &mut conn.link else { break };
            match stream.read(&mut scratch) {
                Ok(0) => {
                    self.end(index, Some(1_006), "connection lost");
                    break;
                }
                Ok(_) if *deaf => {}
                Ok(n) => {
                    self.feed(index, &scratch[..n]);
                    if n < scratch.len() && !to_the_end {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.end(index, Some(1_006), "connection lost");
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    /// Parses bytes of a socket and acts on each message, in order.
    pub(super) fn feed(&mut self, index: usize, bytes: &[u8]) {
        let mut memory = Memory { input: bytes, output: Vec::new() };
        let mut peer_closed = None;
        loop {
            let Some(conn) = self.conns.get_mut(index) else { return };
            let Link::Socket(socket) = &mut conn.link else { return };
            conn.last_seen = self.now;
            conn.pinged = None;
            let result = socket.parser.read(&mut memory);
            let (closing, echoes) = (conn.closing_until.is_some(), socket.echoes);
            if !memory.output.is_empty() && !closing {
                let control = Bytes::from(std::mem::take(&mut memory.output));
                self.send(index, &control);
            }
            match result {
                Ok(Message::Text(text)) if echoes && !closing => {
                    self.send(index, &frame::text(text.as_bytes()));
                }
                Ok(Message::Binary(bytes)) if echoes && !closing => self.send(index, &frame::binary(&bytes)),
                Ok(Message::Text(text)) if !closing => self.message(index, &text),
                Ok(Message::Binary(_)) if !closing => {
                    self.refuse_frame(index, "binary frames are not supported; send JSON text");
                }
                Ok(Message::Close(frame)) => {
                    if closing {
                        return self.end(index, None, "closed");
                    }
                    peer_closed = Some(frame.map_or(1_005, |f| u16::from(f.code)));
                }
                Ok(_) => {}
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) if closing => return self.end(index, None, "closed"),
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    return self.end(index, peer_closed, "closed by client");
                }
                Err(error) => {
                    let (code, reason) = match error {
                        Error::Capacity(_) => (1_009, TOO_LARGE),
                        Error::Utf8(_) => (1_007, "text is not UTF-8"),
                        _ => (1_002, "WebSocket protocol error"),
                    };
                    self.leave_all(index, Some(code), reason);
                    self.send(index, &frame::close(code, reason));
                    // The parser can't go on after an error; what still comes is thrown away until the peer closes.
                    return self.end_gently(index);
                }
            }
        }
    }
}
