//! A connection's bytes, plain or over TLS. Over TLS it keeps the library's buffers; only the server's memory is measured.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use tokio_rustls::rustls::ClientConnection;

use super::KEPT_BYTES_MAX;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, tls: Option<ClientConnection>) -> Stream {
        Stream { tcp, tls: tls.map(Box::new) }
    }

    /// Reads as TCP does: what doesn't fill its room was all that is there.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.read(into) };
        let mut filled = 0;
        loop {
            match tls.reader().read(&mut into[filled..]) {
                Ok(0) => return Ok(filled), // full, or the end was said
                Ok(read) => {
                    filled += read;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Ok(filled), // an end that was not said
            }
            match tls.read_tls(&mut self.tcp) {
                Ok(_) => {
                    let result = tls.process_new_packets();
                    // The handshake goes on; a failure shows up in reading.
                    let _ = push(&mut self.tcp, tls);
                    result.map_err(io::Error::other)?;
                }
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what the kernel takes; the rest waits until the socket is writable again. Failures show up in reading.
    pub(super) fn flush(&mut self, unsent: &mut Vec<u8>) {
        while !unsent.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            let sent = match &mut self.tls {
                None => self.tcp.write(unsent),
                Some(tls) => push(&mut self.tcp, tls).and_then(|()| tls.writer().write(unsent)),
            };
            match sent {
                // Nothing more fits in before the handshake is done.
                Ok(0) if !unsent.is_empty() => return,
                Ok(sent) => drop(unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
        if unsent.capacity() > KEPT_BYTES_MAX {
            *unsent = Vec::new();
        }
    }
}

/// Hands sealed bytes to the kernel.
fn push(tcp: &mut TcpStream, tls: &mut ClientConnection) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(tcp) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => drop(other?),
        }
    }
    Ok(())
}
