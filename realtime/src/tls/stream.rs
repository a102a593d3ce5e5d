//! A connection while it speaks HTTP over TLS: what hyper reads and writes, until an upgrade takes it apart.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::{Error, ServerConfig};

use super::session::Session;

/// Ciphertext read at once.
const READ_BYTES: usize = 8 * 1_024;

/// A TCP connection on which the handshake is done.
///
/// It bounds what it holds by itself: nothing is read while plaintext waits for its reader, nothing sealed while ciphertext
/// waits for the kernel.
#[derive(Debug)]
pub struct TlsStream {
    tcp: TcpStream,
    session: Box<Session>,
    /// Plaintext that nobody has read yet.
    opened: BytesMut,
    /// Where ciphertext is read to.
    space: Box<[u8]>,
    ended: bool,
}

impl TlsStream {
    /// Shakes hands as the server.
    ///
    /// *Errors*: the peer left, or speaks no TLS that we do; it has been sent the alert then. *Cancel*: closes the connection; who
    /// calls sets the deadline.
    pub async fn accept(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<TlsStream> {
        let session = Box::new(Session::new(config).map_err(broken)?);
        let space = vec![0; READ_BYTES].into_boxed_slice();
        let mut stream = TlsStream { tcp, session, opened: BytesMut::new(), space, ended: false };
        while stream.session.is_handshaking() {
            let read = stream.tcp.read(&mut stream.space).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let opened = stream.open(read);
            stream.tcp.write_all(stream.session.unsent()).await?;
            stream.session.sent(stream.session.unsent().len());
            opened?;
        }
        Ok(stream)
    }

    /// Takes the connection apart: the socket, its session, and plaintext that came already.
    pub(crate) fn into_parts(self) -> (TcpStream, Box<Session>, Bytes) {
        (self.tcp, self.session, self.opened.freeze())
    }

    /// Opens the first bytes of the space.
    fn open(&mut self, read: usize) -> io::Result<()> {
        let mut plain = Vec::new();
        let result = self.session.open(&mut self.space[..read], &mut plain);
        self.opened.extend_from_slice(&plain);
        result.map_err(broken)
    }

    /// Hands what was sealed to the kernel.
    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.session.unsent().is_empty() {
            match ready!(Pin::new(&mut self.tcp).poll_write(context, self.session.unsent()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.session.sent(sent),
            }
        }
        Poll::Ready(Ok(()))
    }
}

pub(crate) fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.opened.is_empty() && !this.ended {
            let mut space = ReadBuf::new(&mut this.space);
            ready!(Pin::new(&mut this.tcp).poll_read(context, &mut space))?;
            let read = space.filled().len();
            if read == 0 {
                this.ended = true;
                break;
            }
            let opened = this.open(read);
            // An answer of TLS itself; what the kernel doesn't take goes with the next write.
            let _ = this.poll_sent(context);
            opened?;
            this.ended = this.session.peer_closed();
        }
        let taken = this.opened.len().min(into.remaining());
        into.put_slice(&this.opened[..taken]);
        this.opened.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_sent(context))?;
        let sealed = self.session.seal(pieces, 0).map_err(broken)?;
        match self.poll_sent(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What the kernel didn't take goes with a flush or the next write.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(sealed)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.close();
        ready!(self.poll_sent(context))?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
