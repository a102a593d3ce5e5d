//! The receiving side of WebSocket clients: from wake-ups to whole text frames.

use std::io;

use mio::event::Event;

use super::{Driver, KEPT_BYTES_MAX, Net, State, is_later};
use crate::{frame, http};

/// Least room that is kept for a read behind what waits.
const READ_BYTES_MIN: usize = 64 * 1_024;

impl Net {
    pub(super) fn socket_event<D: Driver>(&mut self, driver: &mut D, token: usize, event: &Event) {
        let id = token & 0xFFFF_FFFF;
        let socket = &mut self.sockets[id];
        if socket.generation != token >> 32 {
            return;
        }
        let Some(stream) = &mut socket.stream else { return };
        if socket.state == State::Connecting && (event.is_writable() || event.is_error()) {
            match stream.tcp.take_error() {
                Ok(None) if !event.is_error() => {
                    socket.state = if socket.wild { State::Open } else { State::Upgrading };
                }
                Ok(error) => {
                    let what = error.map_or_else(|| "reset".to_owned(), |e| e.kind().to_string());
                    self.trouble.note(format!("connecting: {what}"));
                    return self.ended(driver, id);
                }
                Err(_) => return self.ended(driver, id),
            }
        }
        if event.is_writable() {
            stream.flush(&mut socket.unsent);
        }
        let ends = event.is_read_closed() || event.is_error();
        // Nothing more will come: what is here is read, and then the end.
        socket.paused &= !event.is_error();
        if event.is_readable() || ends {
            self.receive(driver, id, ends);
        }
    }

    fn ended<D: Driver>(&mut self, driver: &mut D, id: usize) {
        let code = self.sockets[id].close_code;
        self.drop_socket(id);
        driver.closed(self, id, code);
    }

    /// Reads what is there. A read that doesn't fill its room has emptied the socket, unless its end is known to follow.
    pub(super) fn receive<D: Driver>(&mut self, driver: &mut D, id: usize, to_the_end: bool) {
        let generation = self.sockets[id].generation;
        if to_the_end {
            self.take_in_unread(driver, id, generation);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let socket = &mut self.sockets[id];
            let Some(stream) = &mut socket.stream else { break };
            if socket.paused {
                break;
            }
            let waiting = socket.unread.len();
            if buffer.len() < waiting + READ_BYTES_MIN {
                buffer.resize((waiting + READ_BYTES_MIN).next_power_of_two(), 0);
            }
            buffer[..waiting].copy_from_slice(&socket.unread);
            let got = match stream.read(&mut buffer[waiting..]) {
                Ok(0) => {
                    self.note_close(id);
                    self.ended(driver, id);
                    break;
                }
                Ok(got) => got,
                Err(error) if is_later(&error) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.note_close(id);
                    self.ended(driver, id);
                    break;
                }
            };
            socket.unread.clear();
            let (now, end) = (self.now(), waiting + got);
            let used = self.take_in(driver, id, generation, &buffer[..end], now);
            let socket = &mut self.sockets[id];
            if socket.generation != generation {
                break;
            }
            if used < end {
                socket.unread.extend_from_slice(&buffer[used..end]);
            } else if socket.unread.capacity() > KEPT_BYTES_MAX {
                socket.unread = Vec::new();
            }
            if end < buffer.len() && !to_the_end {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// A client that had stopped reading may have stopped before whole frames.
    fn take_in_unread<D: Driver>(&mut self, driver: &mut D, id: usize, generation: usize) {
        let unread = std::mem::take(&mut self.sockets[id].unread);
        if unread.is_empty() {
            return;
        }
        let used = self.take_in(driver, id, generation, &unread, self.now());
        if self.sockets[id].generation == generation {
            self.sockets[id].unread = unread[used..].to_vec();
        }
    }

    fn note_close(&mut self, id: usize) {
        let code = self.sockets[id].close_code.unwrap_or(0);
        *self.trouble.closed.entry(code).or_default() += 1;
    }

    /// Hands on all whole frames; gives how many bytes they took.
    fn take_in<D: Driver>(
        &mut self,
        driver: &mut D,
        id: usize,
        generation: usize,
        bytes: &[u8],
        now: u64,
    ) -> usize {
        if self.sockets[id].wild {
            return bytes.len();
        }
        let mut at = 0;
        if self.sockets[id].state == State::Upgrading {
            match http::upgrade(bytes) {
                Ok(None) => return 0,
                Ok(Some(length)) => at = length,
                Err(what) => {
                    self.trouble.note(what);
                    self.ended(driver, id);
                    return 0;
                }
            }
            self.sockets[id].state = State::Open;
        }
        while self.sockets[id].generation == generation && !self.sockets[id].paused {
            let found = match frame::read(&bytes[at..]) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(what) => {
                    self.trouble.note(what);
                    self.ended(driver, id);
                    break;
                }
            };
            let payload = &bytes[at + found.from..at + found.to];
            at += found.to;
            match found.opcode {
                frame::TEXT => driver.text(self, id, payload, now),
                frame::PING => self.send_frame(id, frame::PONG, payload),
                frame::CLOSE => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    self.sockets[id].close_code = code;
                }
                frame::PONG => {}
                other => self.trouble.note(format!("frame with opcode {other}")),
            }
        }
        at
    }
}
