//! From a socket's bytes to messages. A parser (sans-I/O tungstenite, see [`parsers`](super::parsers)) gets what was read into the
//! shard's scratch buffer.

use std::io::{self, Write};

use bytes::Bytes;
use tungstenite::protocol::WebSocketContext;
use tungstenite::{Error, Message};

use super::Shard;
use super::conn::{Conn, Link};
use super::socket::Socket;
use super::wire::Heard;
use crate::frame;

/// Reads of one socket in one turn.
const READS_PER_TURN: usize = 8;
pub(super) const TOO_LARGE: &str = "message too large: at most 32 KiB";

/// The parser's view of a socket: bytes that are here, and a place for its control frames.
pub(super) struct Memory<'a> {
    pub(super) input: &'a [u8],
    pub(super) output: Vec<u8>,
}

impl io::Read for Memory<'_> {
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

/// How far a parser came.
enum Read {
    /// Over all bytes.
    All,
    /// Over all bytes, a close frame among them: the parser is this client's alone.
    Closed,
    /// To the end of the connection: the parser is of no more use.
    Ended,
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
            let Link::Socket(Socket { wire, deaf, .. }) = &mut conn.link else { break };
            match wire.read(&mut scratch) {
                Ok(None) => {
                    self.end(index, Some(1_006), "connection lost");
                    break;
                }
                Ok(Some(_)) if *deaf => {}
                Ok(Some(Heard { bytes, more })) => {
                    self.feed(index, bytes);
                    if !more && !to_the_end {
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
        let Some(Conn { link: Link::Socket(socket), .. }) = self.conns.get_mut(index) else { return };
        socket.edge.pass(bytes);
        let between_messages = socket.edge.is_clean() && !socket.echoes;
        let mut parser = socket.parser.take().unwrap_or_else(|| self.parsers.take());
        match self.read_messages(index, &mut parser, bytes) {
            Read::Ended => {}
            Read::All if between_messages => self.parsers.give_back(parser),
            Read::All | Read::Closed => {
                if let Some(Conn { link: Link::Socket(socket), .. }) = self.conns.get_mut(index) {
                    socket.parser = Some(parser);
                }
            }
        }
    }

    fn read_messages(&mut self, index: usize, parser: &mut WebSocketContext, bytes: &[u8]) -> Read {
        let mut memory = Memory { input: bytes, output: Vec::new() };
        let mut peer_closed = None;
        loop {
            let Some(conn) = self.conns.get_mut(index) else { return Read::Ended };
            let Link::Socket(socket) = &mut conn.link else { return Read::Ended };
            conn.last_seen = self.now;
            conn.pinged = None;
            let result = parser.read(&mut memory);
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
                        self.end(index, None, "closed");
                        return Read::Ended;
                    }
                    peer_closed = Some(frame.map_or(1_005, |f| u16::from(f.code)));
                }
                Ok(_) => {}
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                    return if peer_closed.is_some() { Read::Closed } else { Read::All };
                }
                Err(_) if closing => {
                    self.end(index, None, "closed");
                    return Read::Ended;
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    self.end(index, peer_closed, "closed by client");
                    return Read::Ended;
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
                    self.end_gently(index);
                    return Read::Ended;
                }
            }
        }
    }
}
