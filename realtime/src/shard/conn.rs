//! One connection's state on its shard, over whichever transport. What only admitted ones have is in their [`Session`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use protocol::close::CloseCode;
use protocol::limits::AUTHORIZE_SECONDS;
use protocol::socket_id::SocketId;

use super::socket::{Sent, Socket};
use crate::app::App;
use crate::fallback::outbox::{Outbox, Vitals};
use crate::hub::ChannelId;
use crate::meter::Permit;
use crate::tls::session::Session as TlsSession;
use crate::transport::Transport;

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
    Socket {
        stream: mio::net::TcpStream,
        tls: Option<Box<TlsSession>>,
        /// The answer to the upgrade request, if the client still waits for it.
        answer: Bytes,
        /// What the client sent right behind its request.
        early: Bytes,
    },
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
    /// The second at which the wheel has it looked at; `u32::MAX`: at none.
    pub(crate) look_at: u32,
    /// Second of the last sign of life.
    pub(crate) last_seen: u32,
    /// Second at which our unanswered ping went out.
    pub(crate) pinged: Option<u32>,
    /// We said good-bye; at this second the socket is dropped whatever the peer does.
    pub(crate) closing_until: Option<u32>,
    pub(crate) protocol: u8,
    pub(crate) transport: Transport,
}

impl Conn {
    pub(crate) fn new(link: Link, generation: u32, now: u32, protocol: u8, transport: Transport) -> Conn {
        Conn {
            link,
            session: None,
            generation,
            look_at: u32::MAX,
            last_seen: now,
            pinged: None,
            closing_until: None,
            protocol,
            transport,
        }
    }

    /// Sends bytes that many connections may share, without those before `from`.
    pub(crate) fn send(&mut self, bytes: &Bytes, from: usize, now: u32) -> Sent {
        match &mut self.link {
            Link::Socket(socket) => socket.send(bytes, from, now),
            Link::Http(http) => http.0.push(bytes.slice(from..)),
        }
    }

    /// Sends several pieces one behind the other.
    pub(crate) fn send_all(&mut self, pieces: &[Bytes], now: u32) -> Sent {
        match &mut self.link {
            Link::Socket(socket) => socket.send_all(pieces, now),
            Link::Http(http) => {
                pieces.iter().fold(Sent::Ok, |sent, piece| sent.and(http.0.push(piece.clone())))
            }
        }
    }

    /// Writes what waited, as far as the kernel takes it.
    pub(crate) fn flush(&mut self, now: u32) -> Sent {
        match &mut self.link {
            Link::Socket(socket) => socket.flush(now),
            Link::Http(_) => Sent::Ok,
        }
    }

    /// The second since which nothing moved of what waits.
    pub(crate) fn stalled_since(&self) -> Option<u32> {
        match &self.link {
            Link::Socket(socket) => socket.stalled_since(),
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
            socket.wire.shut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_keeps_a_small_slot() {
        assert!(size_of::<Conn>() <= 216, "docs/ARCHITECTURE.md names it: {} bytes", size_of::<Conn>());
    }
}
