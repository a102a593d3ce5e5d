//! One connection's state on its shard, over whichever transport. An idle WebSocket holds no read buffer, no queue and no task.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use protocol::close::CloseCode;
use protocol::limits::AUTHORIZE_SECONDS;
use protocol::socket_id::SocketId;
use tungstenite::protocol::WebSocketContext;

use crate::app::App;
use crate::fallback::outbox::{Outbox, Vitals};
use crate::hub::ChannelId;
use crate::meter::Permit;
use crate::transport::Transport;

/// Bytes waiting for one socket beyond which it is a slow reader and closed: a client a mebibyte behind won't catch up.
pub(crate) const BACKLOG_BYTES_MAX: usize = 1_024 * 1_024;
/// Seconds without progress of a backlog after which the socket is closed.
pub(crate) const STALLED_SECONDS_MAX: u32 = 10;
/// What a handshake came to.
#[derive(Debug)]
pub(crate) enum Verdict {
    Admit {
        app: Arc<App>,
        permit: Permit,
        key: Arc<str>,
    },
    Refuse {
        code: CloseCode,
        message: String,
    },
    /// See [`crate::node::Node::echo_all`].
    Echo {
        message_bytes_max: usize,
    },
}

/// What a new connection's frames travel by.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// An upgraded socket, and what the client sent right behind its upgrade request.
    Socket { stream: std::net::TcpStream, early: Bytes },
    /// An HTTP session: frames wait in its outbox for the client's receive requests.
    Http(Arc<Outbox>),
}

/// A connection on its way from the HTTP server to a shard.
#[derive(Debug)]
pub(crate) struct NewConn {
    pub(crate) carrier: Carrier,
    pub(crate) transport: Transport,
    pub(crate) verdict: Verdict,
    pub(crate) ip: IpAddr,
    pub(crate) sdk: Option<Box<str>>,
    pub(crate) origin: Option<Box<str>>,
    pub(crate) protocol: u8,
}

/// A connection's part in a channel.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) channel: ChannelId,
    /// Where the connection stands in the channel's list on this shard.
    pub(crate) at: u32,
    pub(crate) name: Arc<str>,
    /// On presence channels.
    pub(crate) user_id: Option<Arc<str>>,
}

/// Who a connection signed in as.
#[derive(Debug)]
pub(crate) struct SignedIn {
    pub(crate) id: Arc<str>,
    /// JSON text of `user_info`.
    pub(crate) info: Box<str>,
    pub(crate) watchlist: Box<[Arc<str>]>,
}

/// What only an admitted connection has.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) app: Arc<App>,
    pub(crate) socket_id: SocketId,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) opened: Instant,
    pub(crate) user: Option<Box<SignedIn>>,
    /// The second by which it must be authorized, where its app wants that.
    pub(crate) authorize_by: Option<u32>,
    /// Client events in the current second, and that second.
    pub(crate) client_events: (u32, u32),
    /// Frames that could not be read, in the current ten seconds.
    pub(crate) bad_frames: (u32, u32),
    pub(crate) permit: Permit,
}

impl Session {
    pub(crate) fn new(app: Arc<App>, permit: Permit, socket_id: SocketId, now: u32) -> Session {
        Session {
            app,
            socket_id,
            subscriptions: Vec::new(),
            opened: Instant::now(),
            user: None,
            authorize_by: (!permit.is_counted()).then_some(now + AUTHORIZE_SECONDS),
            client_events: (0, 0),
            bad_frames: (0, 0),
            permit,
        }
    }
}

/// The shard's side of a WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) parser: WebSocketContext,
    /// The parser met an error and must not be asked again: what still comes is thrown away.
    pub(crate) deaf: bool,
    /// Every message is sent back: a conformance test.
    pub(crate) echoes: bool,
    backlog: Option<Box<Backlog>>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Socket {
        Socket { stream, parser: crate::ws::parser(), deaf: false, echoes: false, backlog: None }
    }

    /// From now on messages up to this size are sent back.
    pub(crate) fn echo(&mut self, message_bytes_max: usize) {
        self.echoes = true;
        self.parser.set_config(|config| {
            config.max_message_size = Some(message_bytes_max);
            config.max_frame_size = Some(message_bytes_max);
        });
    }
}

/// The shard's end of an HTTP session. However the connection goes, the client's requests are told.
#[derive(Debug)]
pub(crate) struct HttpLink(pub(crate) Arc<Outbox>);

impl Drop for HttpLink {
    fn drop(&mut self) {
        self.0.end(1_011, "internal error"); // does nothing if it ended before
    }
}

/// Where a connection's frames go to.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are sockets, and a box would cost each of them a look-up"
)]
pub(crate) enum Link {
    Socket(Socket),
    Http(HttpLink),
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) link: Link,
    pub(crate) session: Option<Session>,
    /// Tells this connection from another one in the same slot.
    pub(crate) generation: u32,
    /// Second of the last sign of life.
    pub(crate) last_seen: u32,
    /// Second at which our unanswered ping went out.
    pub(crate) pinged: Option<u32>,
    /// We said good-bye; at this second the socket is dropped whatever the peer does.
    pub(crate) closing_until: Option<u32>,
    pub(crate) protocol: u8,
    pub(crate) transport: Transport,
}

#[derive(Debug, Default)]
struct Backlog {
    frames: VecDeque<Bytes>,
    bytes: usize,
    since: u32,
}

/// What became of bytes given to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sent {
    Ok,
    /// The first bytes had to wait: look after this socket.
    Backlogged,
    /// The backlog is full.
    TooSlow,
    /// The socket is gone.
    Gone,
}

impl Conn {
    pub(crate) fn new(link: Link, generation: u32, now: u32, protocol: u8, transport: Transport) -> Conn {
        Conn {
            link,
            session: None,
            generation,
            last_seen: now,
            pinged: None,
            closing_until: None,
            protocol,
            transport,
        }
    }

    /// Sends bytes that many sockets may share: `bytes` is copied by reference only if the kernel doesn't take all of it.
    pub(crate) fn send(&mut self, bytes: &Bytes, from: usize, now: u32) -> Sent {
        let socket = match &mut self.link {
            Link::Socket(socket) => socket,
            Link::Http(http) => return http.0.push(bytes.slice(from..)),
        };
        if let Some(backlog) = &mut socket.backlog {
            backlog.bytes += bytes.len() - from;
            backlog.frames.push_back(bytes.slice(from..));
            return if backlog.bytes > BACKLOG_BYTES_MAX { Sent::TooSlow } else { Sent::Ok };
        }
        let taken = match write(&mut socket.stream, &bytes[from..]) {
            Ok(taken) => taken,
            Err(_) => return Sent::Gone,
        };
        if from + taken == bytes.len() {
            return Sent::Ok;
        }
        let rest = bytes.slice(from + taken..);
        let backlog = Backlog { bytes: rest.len(), frames: [rest].into(), since: now };
        socket.backlog = Some(Box::new(backlog));
        Sent::Backlogged
    }

    /// Writes what waited, as far as the kernel takes it.
    pub(crate) fn flush(&mut self, now: u32) -> Sent {
        let Link::Socket(socket) = &mut self.link else { return Sent::Ok };
        let Some(backlog) = &mut socket.backlog else { return Sent::Ok };
        while !backlog.frames.is_empty() {
            let mut slices = [io::IoSlice::new(&[]); 32];
            let count =
                backlog.frames.iter().zip(slices.iter_mut()).map(|(f, s)| *s = io::IoSlice::new(f)).count();
            let mut taken = match socket.stream.write_vectored(&slices[..count]) {
                Ok(0) => return Sent::Gone,
                Ok(taken) => taken,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Sent::Backlogged,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Sent::Gone,
            };
            backlog.bytes -= taken;
            backlog.since = now;
            while let Some(front) = backlog.frames.front_mut().filter(|_| taken > 0) {
                let n = taken.min(front.len());
                front.advance(n);
                taken -= n;
                if front.is_empty() {
                    backlog.frames.pop_front();
                }
            }
        }
        socket.backlog = None;
        Sent::Ok
    }

    /// The second since which nothing moved of what waits.
    pub(crate) fn stalled_since(&self) -> Option<u32> {
        match &self.link {
            Link::Socket(socket) => socket.backlog.as_ref().map(|b| b.since),
            Link::Http(http) => http.0.stalled_since(),
        }
    }

    /// Takes note of what an HTTP client did since the last look. `true`: it has been away too long and is gone.
    pub(crate) fn is_lost(&mut self, now: u32) -> bool {
        let Link::Http(http) = &self.link else { return false };
        match http.0.look(now) {
            Vitals::Seen => {
                self.last_seen = now;
                self.pinged = None;
                false
            }
            Vitals::Silent => false,
            Vitals::Lost => true,
        }
    }

    /// Nothing more is written to the peer, nor read from it.
    pub(crate) fn shut(&mut self) {
        if let Link::Socket(socket) = &mut self.link {
            socket.deaf = true;
            let _ = socket.stream.shutdown(Shutdown::Write);
        }
    }
}

/// The one place that hands bytes to a socket's kernel side. Gives how many it took; 0 if it is full.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match stream.write(bytes) {
            Ok(0) if !bytes.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => return Ok(taken),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
