//! One TLS connection without its socket: ciphertext in, plaintext out, and the other way round. It does no I/O.
//!
//! rustls' unbuffered interface underneath keeps no buffers of its own, so an idle session holds its keys and nothing else. What
//! may wait here is bounded: a record or handshake message that is not complete yet ([`PARTIAL_BYTES_MAX`]), and ciphertext that
//! the kernel did not take ([`SEALED_BYTES_MAX`] and a few alerts). Nobody seals more while some waits.

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

use tokio_rustls::rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use tokio_rustls::rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use tokio_rustls::rustls::{Error, ServerConfig};

/// Plaintext of a full record.
const RECORD_BYTES: usize = 16 * 1_024;
/// Plaintext sealed at once: four full records.
pub(crate) const SEALED_BYTES_MAX: usize = 4 * RECORD_BYTES;
/// What sealing adds to a record: header, nonce, tag. rustls says so if a suite should need more.
const RECORD_OVERHEAD: usize = 32;
/// Ciphertext kept until it is a whole record (18 KiB at most) or a whole handshake message, where 64 KiB is rustls' own limit.
const PARTIAL_BYTES_MAX: usize = 80 * 1_024;

/// See the module.
pub(crate) struct Session {
    connection: UnbufferedServerConnection,
    /// Ciphertext that is not complete yet. Must stay at hand whenever rustls is asked, which may know parts of it by position.
    partial: Vec<u8>,
    /// Ciphertext for the peer, and how much of it has gone already. Without memory when empty.
    sealed: Vec<u8>,
    sent: usize,
    peer_closed: bool,
    closed: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Session { partial, peer_closed, closed, .. } = self;
        let (partial, unsent) = (partial.len(), self.unsent().len());
        write!(f, "Session {{ partial: {partial}, unsent: {unsent}, closed: {peer_closed}/{closed} }}")
    }
}

impl Session {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Session, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        let (partial, sealed) = (Vec::new(), Vec::new());
        Ok(Session { connection, partial, sealed, sent: 0, peer_closed: false, closed: false })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The peer has said that nothing more comes.
    pub(crate) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Takes in what came from the peer; the bytes are worked on in place. Plaintext is appended to `plain`. What has to be
    /// answered waits in [`Session::unsent`] afterwards, after an error too: that is the alert.
    pub(crate) fn open(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<(), Error> {
        if self.partial.is_empty() {
            let used = self.advance(bytes, plain, |_, _| Ok(()))?;
            self.partial = bytes[used..].to_vec();
        } else {
            let mut all = std::mem::take(&mut self.partial);
            all.extend_from_slice(bytes);
            let used = self.advance(&mut all, plain, |_, _| Ok(()))?;
            self.partial = all[used..].to_vec();
        }
        match self.partial.len() > PARTIAL_BYTES_MAX {
            true => Err(Error::General("a message of the peer is too long".into())),
            false => Ok(()),
        }
    }

    /// Seals the first [`SEALED_BYTES_MAX`] bytes of the pieces, without those before `from`, into as few records as they fit.
    /// Gives how many bytes that were; zero if none are left.
    pub(crate) fn seal(&mut self, pieces: &[IoSlice<'_>], from: usize) -> Result<usize, Error> {
        let joined;
        let plain = match pieces {
            [one] => &one[from..],
            _ => {
                joined = join(pieces, from);
                &joined[..]
            }
        };
        let plain = &plain[..plain.len().min(SEALED_BYTES_MAX)];
        if !plain.is_empty() {
            self.send(|traffic, sealed| {
                let room = plain.len() + plain.len().div_ceil(RECORD_BYTES) * RECORD_OVERHEAD;
                fill(sealed, room, |free| traffic.encrypt(plain, free))
            })?;
        }
        Ok(plain.len())
    }

    /// Seals the word that nothing more comes from us, once.
    pub(crate) fn close(&mut self) {
        if !self.is_handshaking() && !std::mem::replace(&mut self.closed, true) {
            let _ = self.send(|traffic, sealed| {
                fill(sealed, 2 + RECORD_OVERHEAD, |free| traffic.queue_close_notify(free))
            });
        }
    }

    /// Ciphertext that the peer must get next.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.sealed[self.sent..]
    }

    /// So much of [`Session::unsent`] is on its way.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.sealed.len() {
            (self.sealed, self.sent) = (Vec::new(), 0);
        }
    }

    fn send(
        &mut self,
        write: impl FnMut(&mut Traffic<'_>, &mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut partial = std::mem::take(&mut self.partial);
        let used = self.advance(&mut partial, &mut Vec::new(), write)?;
        partial.drain(..used);
        self.partial = partial;
        Ok(())
    }

    /// Has rustls work through `bytes` until it wants more, then write. Gives how many of them are done with.
    fn advance(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        mut write: impl FnMut(&mut Traffic<'_>, &mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut at = 0;
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.connection.process_tls_records(&mut bytes[at..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    fill(&mut self.sealed, 0, |free| data.encode(free))?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    write(&mut traffic, &mut self.sealed)?;
                    // What stands behind the peer's last word is nothing to anybody.
                    return Ok(if self.peer_closed { bytes.len() } else { at + discard });
                }
                Ok(ConnectionState::BlockedHandshake) => return Ok(at + discard),
                Ok(ConnectionState::Closed) => return Ok(bytes.len()),
                Ok(_) => return Err(Error::General("early data was never offered".into())),
                Err(error) => {
                    self.take_alert();
                    // The alert was the last word; and rustls may know positions in bytes that are gone.
                    self.closed = true;
                    return Err(error);
                }
            }
            at += discard;
        }
    }

    fn take_alert(&mut self) {
        while self.connection.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(mut data)) =
                self.connection.process_tls_records(&mut []).state
            else {
                return;
            };
            if fill(&mut self.sealed, 0, |free| data.encode(free)).is_err() {
                return;
            }
        }
    }
}

type Traffic<'a> = WriteTraffic<'a, ServerConnectionData>;

/// How rustls says that it needs more room than it was given.
trait Refusal: fmt::Display {
    fn required_size(&self) -> Option<usize>;
}

impl Refusal for EncryptError {
    fn required_size(&self) -> Option<usize> {
        let EncryptError::InsufficientSize(error) = self else { return None };
        Some(error.required_size)
    }
}

impl Refusal for EncodeError {
    fn required_size(&self) -> Option<usize> {
        let EncodeError::InsufficientSize(error) = self else { return None };
        Some(error.required_size)
    }
}

/// Appends what `write` writes into a free space, which has as many bytes as it asks for if `room` are too few.
fn fill<E: Refusal>(
    into: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), Error> {
    let at = into.len();
    loop {
        into.resize(at + room, 0);
        match write(&mut into[at..]) {
            Ok(written) => {
                into.truncate(at + written);
                return Ok(());
            }
            Err(refusal) => match refusal.required_size().filter(|size| *size > room) {
                Some(size) => room = size,
                None => return Err(Error::General(refusal.to_string())),
            },
        }
    }
}

/// The first [`SEALED_BYTES_MAX`] bytes of the pieces behind `from`, in one.
fn join(pieces: &[IoSlice<'_>], from: usize) -> Vec<u8> {
    let mut joined = Vec::new();
    let mut before = from;
    for piece in pieces {
        let skipped = before.min(piece.len());
        before -= skipped;
        let room = SEALED_BYTES_MAX - joined.len();
        let piece = &piece[skipped..];
        joined.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    joined
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tokio_rustls::rustls::ClientConnection;

    use super::*;
    use crate::shard::wire::Wire;
    use crate::tls::testing::{WAYS, Way, pair};

    fn session(way: Way) -> (Box<Session>, ClientConnection) {
        let (Wire::Tls(stream, session), peer) = pair(way) else { panic!("a plain wire") };
        drop(stream);
        let mut peer = peer.tls();
        while peer.conn.read_tls(&mut peer.sock).unwrap() > 0 {
            peer.conn.process_new_packets().unwrap(); // the session's tickets
        }
        (session, peer.conn)
    }

    /// What the client reads of all that waits for it.
    fn read(session: &mut Session, client: &mut ClientConnection) -> Vec<u8> {
        let mut plain = Vec::new();
        let mut unsent = session.unsent();
        while !unsent.is_empty() {
            client.read_tls(&mut unsent).unwrap();
            client.process_new_packets().unwrap();
            let _ = client.reader().read_to_end(&mut plain);
        }
        session.sent(session.unsent().len());
        plain
    }

    #[test]
    fn records_may_come_in_any_pieces_while_others_go_the_other_way() {
        for way in &WAYS[1..] {
            let (mut session, mut client) = session(*way);
            let (mut said, mut ciphertext) = (Vec::new(), Vec::new());
            for n in 0..60_usize {
                let bytes: Vec<u8> = (0..n * n * n % 50_021).map(|i| (i + n) as u8).collect();
                said.extend_from_slice(&bytes);
                let mut left = &bytes[..];
                while !left.is_empty() {
                    let written = client.writer().write(left).unwrap();
                    left = &left[written..];
                    while client.wants_write() {
                        client.write_tls(&mut ciphertext).unwrap();
                    }
                }
                if *way == Way::Tls13 && n % 20 == 7 {
                    client.refresh_traffic_keys().unwrap(); // the server has to answer that
                }
            }
            let (mut heard, mut at, mut n) = (Vec::new(), 0, 0);
            while at < ciphertext.len() {
                n += 1;
                let end = (at + [1, 4, 5, 6, 900, 17_000, 70_000][n % 7]).min(ciphertext.len());
                session.open(&mut ciphertext[at..end], &mut heard).unwrap();
                at = end;
                let answer = format!("answer {n}");
                assert_eq!(session.seal(&[IoSlice::new(answer.as_bytes())], 0).unwrap(), answer.len());
                assert_eq!(String::from_utf8(read(&mut session, &mut client)).unwrap(), answer);
            }
            assert!(heard == said, "{way:?}: {} bytes of {}", heard.len(), said.len());
            assert_eq!((session.partial.capacity(), session.sealed.capacity()), (0, 0), "idle");
        }
    }

    #[test]
    fn after_an_alert_there_is_no_other_word() {
        for way in &WAYS[1..] {
            let (mut session, _client) = session(*way);
            let mut record = [0x17, 3, 3, 0, 40, 1].into_iter().chain([7; 39]).collect::<Vec<u8>>();
            assert!(session.open(&mut record, &mut Vec::new()).is_err());
            let alert = session.unsent().to_vec();
            assert!(!alert.is_empty());
            session.close();
            assert_eq!(session.unsent(), alert, "{way:?}");
        }
    }

    #[test]
    fn pieces_share_records_and_a_helping_is_bounded() {
        for way in &WAYS[1..] {
            let (mut session, mut client) = session(*way);
            let pieces: Vec<Vec<u8>> = (0..100).map(|n| vec![n; 1_000]).collect();
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let (mut from, mut got, mut records) = (0, Vec::new(), Vec::new());
            loop {
                match session.seal(&slices, from).unwrap() {
                    0 => break,
                    sealed => from += sealed,
                }
                let mut unsent = session.unsent();
                records.push(0);
                while let [_, _, _, high, low, rest @ ..] = unsent {
                    *records.last_mut().unwrap() += 1;
                    unsent = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
                }
                got.extend(read(&mut session, &mut client));
            }
            assert!(got == pieces.concat());
            assert_eq!(records, [4, 3], "{way:?}: full records of 16 KiB, four at once");
        }
    }
}
