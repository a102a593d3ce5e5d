//! A shard: one thread that owns its sockets, their subscriptions and all writes to them. Nobody else touches them, so there
//! is no lock and no task per connection; what is asked of a shard comes through its [`inbox`].
//!
//! After [`WRITES_PER_TURN`] writes of a fan-out the shard looks at its sockets and its inbox again, and channels with work
//! take turns, so that neither a large channel nor a busy app stands before the others.

pub(crate) mod conn;
mod dispatch;
pub(crate) mod inbox;
mod over_http;
mod queue;
mod receive;
pub(crate) mod round;
mod sign_in;
mod sweep;
mod sync;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Events, Interest, Poll, Token};
use protocol::close::CloseCode;
use protocol::server_message;
use protocol::socket_id::SocketId;
use slab::Slab;

use self::conn::{Carrier, Conn, HttpLink, Link, NewConn, Sent, Session, Socket, Verdict};
use self::inbox::{Command, Inbox, Place};
use self::round::LocalChannel;
use crate::console::{Kind, Row, Source, mask_ip};
use crate::frame;
use crate::hub::ChannelId;
use crate::node::Node;

const WAKE: Token = Token(usize::MAX);
/// Writes of fan-outs between two looks at sockets and inbox.
const WRITES_PER_TURN: usize = 256;
/// Bytes read from a socket at once; the buffer is the shard's, not the socket's.
const SCRATCH_BYTES: usize = 64 * 1_024;
/// Seconds that a peer has to answer our close frame.
const CLOSE_SECONDS: u32 = 5;

/// A shard before its thread runs.
pub(crate) struct Starter {
    poll: Poll,
    inbox: Arc<Inbox>,
}

impl Starter {
    pub(crate) fn new() -> io::Result<Starter> {
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox::new(mio::Waker::new(poll.registry(), WAKE)?));
        Ok(Starter { poll, inbox })
    }

    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    pub(crate) fn spawn(self, id: u16, node: Node) -> io::Result<()> {
        let shard = self.shard(id, node);
        std::thread::Builder::new().name(format!("shard-{id}")).spawn(move || shard.run()).map(drop)
    }

    fn shard(self, id: u16, node: Node) -> Shard {
        Shard {
            id,
            node,
            inbox: self.inbox,
            poll: self.poll,
            conns: Slab::new(),
            channels: HashMap::new(),
            work: VecDeque::new(),
            unread: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            started: Instant::now(),
            now: 0,
            swept: 0,
            generation: 0,
            drain: None,
            stop: false,
        }
    }
}

pub(crate) struct Shard {
    id: u16,
    node: Node,
    inbox: Arc<Inbox>,
    poll: Poll,
    conns: Slab<Conn>,
    channels: HashMap<ChannelId, LocalChannel>,
    /// Channels with frames to send, in turns.
    work: VecDeque<ChannelId>,
    /// Sockets that had more to read than one turn takes.
    unread: Vec<usize>,
    scratch: Vec<u8>,
    started: Instant,
    /// Seconds since the shard started.
    now: u32,
    swept: u32,
    generation: u32,
    drain: Option<sweep::Drain>,
    stop: bool,
}

impl Shard {
    fn run(mut self) {
        let mut events = Events::with_capacity(1_024);
        let mut commands = Vec::new();
        while !self.stop {
            let busy = !self.work.is_empty() || !self.unread.is_empty() || !self.inbox.may_sleep();
            let timeout = match (busy, &self.drain) {
                (true, _) => Duration::ZERO,
                (false, Some(_)) => Duration::from_millis(10),
                (false, None) => {
                    Duration::from_secs(1)
                        - Duration::from_millis(self.started.elapsed().subsec_millis().into())
                }
            };
            if let Err(error) = self.poll.poll(&mut events, Some(timeout))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "polling sockets failed");
            }
            self.now = self.started.elapsed().as_secs() as u32;
            for event in &events {
                if event.token() != WAKE {
                    let (writable, closed) =
                        (event.is_writable(), event.is_read_closed() || event.is_error());
                    let readable = event.is_readable() || closed;
                    self.guarded(event.token().0, |shard, index| {
                        if writable {
                            shard.flush(index);
                        }
                        if readable {
                            shard.receive(index, closed);
                        }
                    });
                }
            }
            for index in std::mem::take(&mut self.unread) {
                self.guarded(index, |shard, index| shard.receive(index, true));
            }
            self.inbox.take(&mut commands);
            for command in commands.drain(..) {
                let bytes = Inbox::weight_of(&command);
                self.carry_out(command);
                self.inbox.done(bytes);
            }
            self.fan_out();
            self.sweep();
        }
    }

    /// Runs work of one connection; if it panics, that connection ends and no other.
    fn guarded(&mut self, index: usize, work: impl FnOnce(&mut Shard, usize)) {
        if !self.conns.contains(index) {
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| work(self, index))).is_err() {
            tracing::error!("a connection's work panicked; the connection is closed");
            self.scratch.resize(SCRATCH_BYTES, 0);
            let ended = catch_unwind(AssertUnwindSafe(|| self.end(index, Some(1011), "internal error")));
            if ended.is_err() {
                self.conns.try_remove(index);
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Connect(new) => {
                if catch_unwind(AssertUnwindSafe(|| self.connect(*new))).is_err() {
                    tracing::error!("opening a connection panicked");
                }
            }
            Command::Deliver(deliver) => {
                // A channel that just lost its last subscriber here has no entry any more.
                if let Some(channel) = self.channels.get_mut(&deliver.channel) {
                    if !channel.queued {
                        channel.queued = true;
                        self.work.push_back(deliver.channel);
                    }
                    channel.pending.push_back(deliver);
                }
            }
            Command::Send(place, bytes) => {
                if let Some(index) = self.at(place) {
                    self.guarded(index, |shard, index| shard.send(index, &bytes));
                }
            }
            Command::Close(place, code, reason) => {
                if let Some(index) = self.at(place) {
                    self.guarded(index, |shard, index| shard.close(index, code, &reason));
                }
            }
            Command::Receive { from, received, done } => {
                self.receive_http(&from, &received);
                let _ = done.send(());
            }
            Command::CloseApp(id, code, reason) => {
                let of_app = |c: &Conn| c.session.as_ref().is_some_and(|s| s.app.id() == id);
                let indexes: Vec<usize> =
                    self.conns.iter().filter(|(_, c)| of_app(c)).map(|(i, _)| i).collect();
                for index in indexes {
                    self.guarded(index, |shard, index| shard.close(index, code.code(), &reason));
                }
            }
            Command::Drain(over) => self.begin_drain(over),
            Command::Stop => self.stop = true,
        }
    }

    /// The slot of a connection, if it is still the same one and not closing.
    fn at(&self, place: Place) -> Option<usize> {
        let index = place.index as usize;
        let is_same = |c: &&Conn| c.generation == place.generation && c.closing_until.is_none();
        self.conns.get(index).filter(is_same).map(|_| index)
    }

    fn connect(&mut self, new: NewConn) {
        let NewConn { carrier, transport, verdict, ip, sdk, origin, protocol } = new;
        let entry = self.conns.vacant_entry();
        let index = entry.key();
        self.generation = self.generation.wrapping_add(1);
        let (link, early) = match carrier {
            Carrier::Socket { stream, early } => {
                let mut stream = mio::net::TcpStream::from_std(stream);
                let interest = Interest::READABLE | Interest::WRITABLE;
                if let Err(error) = self.poll.registry().register(&mut stream, Token(index), interest) {
                    tracing::warn!(%error, "a socket can't be watched; it is closed");
                    return;
                }
                let mut socket = Socket::new(stream);
                if let Verdict::Echo { message_bytes_max } = verdict {
                    socket.echo(message_bytes_max);
                }
                (Link::Socket(socket), early)
            }
            Carrier::Http(outbox) => {
                let generation = self.generation;
                outbox.settle(Place { shard: self.id, index: index as u32, generation });
                (Link::Http(HttpLink(outbox)), Bytes::new())
            }
        };
        let conn = entry.insert(Conn::new(link, self.generation, self.now, protocol, transport));
        let (app, permit, key) = match verdict {
            Verdict::Admit { app, permit, key } => (app, permit, key),
            Verdict::Refuse { code, message } => return self.close(index, code.code(), &message),
            Verdict::Echo { .. } => return self.guarded(index, |shard, index| shard.feed(index, &early)),
        };
        let socket_id =
            SocketId { node: rand::random_range(1..1_000_000), random: rand::random_range(1..1 << 53) };
        conn.session = Some(Session::new(app.clone(), permit, socket_id, self.now));
        self.send(index, &frame::text(&server_message::connection_established(socket_id)));
        app.console.record(Kind::Connection, |row| {
            row.socket_id = Some(socket_id.to_string());
            row.source = Some(Source::Ws);
            row.ip = Some(mask_ip(ip));
            row.set_key(&key);
            row.sdk = sdk.as_deref().and_then(Row::text);
            row.origin = origin.as_deref().and_then(Row::text);
            row.transport = transport.shown();
            let parts = [
                row.sdk.clone(),
                row.transport.map(|name| format!("over {name}")),
                row.ip.clone().map(|ip| format!("from {ip}")),
                row.origin.clone(),
            ];
            row.details = parts.into_iter().flatten().collect::<Vec<_>>().join(" · ");
        });
        if !early.is_empty() {
            self.guarded(index, |shard, index| shard.feed(index, &early));
        }
    }

    /// Sends a frame to one socket.
    fn send(&mut self, index: usize, bytes: &Bytes) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        match conn.send(bytes, 0, self.now) {
            Sent::Ok | Sent::Backlogged => {}
            Sent::TooSlow => {
                self.end(index, Some(CloseCode::OverCapacity.code()), "slow reader: 1 MiB waiting")
            }
            Sent::Gone => self.end(index, None, "connection lost"),
        }
    }

    fn flush(&mut self, index: usize) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        if conn.flush(self.now) == Sent::Gone {
            self.end(index, None, "connection lost");
        }
    }

    /// Serves channels with work, at most [`WRITES_PER_TURN`] writes.
    fn fan_out(&mut self) {
        let mut writes = 0;
        while writes < WRITES_PER_TURN {
            let Some(id) = self.work.pop_front() else { return };
            match self.fan_out_channel(id, WRITES_PER_TURN - writes) {
                None => continue,
                Some((done, more)) => {
                    writes += done.max(1);
                    match self.channels.get_mut(&id) {
                        Some(_) if more => self.work.push_back(id),
                        Some(channel) => channel.queued = false,
                        None => {}
                    }
                }
            }
        }
    }

    /// Up to `budget` writes of one channel. `(writes, is there more)`, or `None` if the channel is gone.
    fn fan_out_channel(&mut self, id: ChannelId, budget: usize) -> Option<(usize, bool)> {
        let channel = self.channels.get_mut(&id)?;
        if !channel.begin() {
            return Some((0, false));
        }
        let mut round = channel.round.take()?;
        let (mut writes, mut doomed) = (0, Vec::new());
        while round.at < channel.subscribers.len() && writes < budget {
            let subscriber = &mut channel.subscribers[round.at];
            round.at += 1;
            if subscriber.seq >= round.last_seq {
                continue;
            }
            let seq = std::mem::replace(&mut subscriber.seq, round.last_seq);
            let index = subscriber.conn as usize;
            let Some(conn) = self.conns.get_mut(index) else { continue };
            writes += 1;
            let id = conn.session.as_ref().map(|s| s.socket_id).filter(|_| round.excludes_some());
            let sent = match id.filter(|&id| round.excludes(id)) {
                None => conn.send(&round.joined, round.start_for(seq), self.now),
                Some(id) => {
                    let pieces = round.pieces_for(id, seq);
                    pieces
                        .iter()
                        .map(|p| conn.send(p, 0, self.now))
                        .find(|s| matches!(s, Sent::TooSlow | Sent::Gone))
                        .unwrap_or(Sent::Ok)
                }
            };
            match sent {
                Sent::Ok | Sent::Backlogged => {}
                Sent::TooSlow => {
                    doomed.push((index, Some(CloseCode::OverCapacity.code()), "slow reader: 1 MiB waiting"))
                }
                Sent::Gone => doomed.push((index, None, "connection lost")),
            }
        }
        if round.at >= channel.subscribers.len() {
            if std::mem::take(&mut round.again) {
                round.at = 0;
                channel.round = Some(round);
            }
        } else {
            channel.round = Some(round);
        }
        let more = channel.round.is_some() || !channel.pending.is_empty();
        for (index, code, reason) in doomed {
            self.end(index, code, reason);
        }
        Some((writes, more))
    }

    /// Says good-bye with a code and a reason; the socket goes when the peer answers or [`CLOSE_SECONDS`] have passed.
    fn close(&mut self, index: usize, code: u16, reason: &str) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        if conn.closing_until.is_some() {
            return;
        }
        conn.closing_until = Some(self.now + CLOSE_SECONDS);
        // Older protocols, and sockets that never were established, are told in a frame too.
        let told = code >= 4_000 && (conn.session.is_none() || conn.protocol < 6);
        self.leave_all(index, Some(code), reason);
        if told {
            self.send(index, &frame::text(&server_message::error(Some(code), reason)));
        }
        self.send(index, &frame::close(code, reason));
    }

    /// The socket is over: everything it held is given back.
    fn end(&mut self, index: usize, code: Option<u16>, reason: &str) {
        self.leave_all(index, code, reason);
        if let Some(mut conn) = self.conns.try_remove(index) {
            match &mut conn.link {
                // Closing the descriptor ends the watch as well.
                Link::Socket(socket) => drop(self.poll.registry().deregister(&mut socket.stream)),
                Link::Http(http) => http.0.end(code.unwrap_or(1_000), reason),
            }
        }
    }

    /// Takes a connection out of its channels, gives its place back and tells the console, once.
    fn leave_all(&mut self, index: usize, code: Option<u16>, reason: &str) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        let Some(session) = &mut conn.session else { return };
        let (app, socket_id, opened) = (session.app.clone(), session.socket_id, session.opened);
        let transport = conn.transport.shown();
        let count = session.subscriptions.len();
        while let Some(last) =
            self.conns[index].session.as_ref().and_then(|s| s.subscriptions.len().checked_sub(1))
        {
            self.leave(index, last);
        }
        self.sign_out(index);
        self.conns[index].session = None;
        app.console.record(Kind::Disconnection, |row| {
            row.socket_id = Some(socket_id.to_string());
            row.source = Some(Source::Ws);
            row.code = code;
            row.transport = transport;
            let seconds = opened.elapsed().as_secs_f64();
            let code = code.map(|c| format!(" {c}")).unwrap_or_default();
            row.details = format!("lifetime {seconds:.1} s · {reason}{code} · was on {count} channels");
        });
    }
}
