//! A shard: one thread that owns its sockets, their subscriptions and all writes to them. Nobody else touches them, so there
//! is no lock and no task per connection; what is asked of a shard comes through its [`inbox`].
//!
//! One turn of its loop: sockets that are ready ([`receive`], [`conn::Conn::flush`]), what was asked (the inbox), a part of the
//! waiting fan-outs ([`fan_out`]), what the clock brings ([`sweep`]). It waits for nobody: a socket that takes nothing has its
//! bytes put by, a fan-out stops after a bound of work, and nothing here locks for longer than one step of a channel.

mod closing;
pub(crate) mod conn;
mod connect;
mod dispatch;
mod fan_out;
pub(crate) mod inbox;
mod over_http;
mod parked;
mod parsers;
mod queue;
mod receive;
pub(crate) mod round;
mod sign_in;
pub(crate) mod socket;
mod sweep;
mod sync;
mod turns;
mod wheel;
pub(crate) mod wire;

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Events, Poll, Token};
use protocol::close::CloseCode;
use slab::Slab;

use self::conn::{Conn, Session};
use self::inbox::{Command, Inbox, Place};
use self::parked::Parked;
use self::parsers::Parsers;
use self::round::{LocalChannel, Spares};
use self::socket::{STALLED_SECONDS_MAX, Sent};
use self::turns::Turns;
use self::wheel::Wheel;
use self::wire::Scratch;
use crate::hub::ChannelId;
use crate::node::Node;

const WAKE: Token = Token(usize::MAX);

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
            spares: Spares::default(),
            turns: Turns::default(),
            unread: Vec::new(),
            parsers: Parsers::default(),
            scratch: Scratch::default(),
            started: Instant::now(),
            now: 0,
            wheel: Wheel::default(),
            generation: 0,
            drain: None,
            parked: Parked::default(),
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
    /// In boxes, so that a table which doubles costs a few bytes for each.
    channels: HashMap<ChannelId, Box<LocalChannel>>,
    spares: Spares,
    /// Apps, and channels of each, with frames to send.
    turns: Turns,
    /// Sockets that had more to read than one turn takes.
    unread: Vec<usize>,
    parsers: Parsers,
    scratch: Scratch,
    started: Instant,
    /// Seconds since the shard started.
    now: u32,
    /// When each connection is looked at next.
    wheel: Wheel,
    generation: u32,
    drain: Option<sweep::Drain>,
    /// Who waits to hear what other nodes have of a channel.
    parked: Parked,
    stop: bool,
}

impl Shard {
    fn run(mut self) {
        let mut events = Events::with_capacity(1_024);
        let mut commands = Vec::new();
        while !self.stop {
            let busy = !self.turns.is_empty() || !self.unread.is_empty() || !self.inbox.may_sleep();
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
            if !self.turns.is_empty() {
                // The HTTP side may wait for this processor: a busy shard would keep it to the end of its time slice.
                std::thread::yield_now();
            }
        }
    }

    /// Runs work of one connection; if it panics, that connection ends and no other.
    fn guarded(&mut self, index: usize, work: impl FnOnce(&mut Shard, usize)) {
        if !self.conns.contains(index) {
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| work(self, index))).is_err() {
            tracing::error!("a connection's work panicked; the connection is closed");
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
                    let work = channel.work.get_or_insert_with(|| {
                        self.turns.push(channel.app, deliver.channel);
                        self.spares.take()
                    });
                    work.pending.push_back(deliver);
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
            Command::Resume(place, channel) => {
                if let Some(index) = self.at(place) {
                    self.guarded(index, |shard, index| shard.resume(index, &channel));
                }
            }
            Command::Receive { from, received, done } => {
                self.receive_http(&from, &received);
                let _ = done.send(());
            }
            Command::CloseApp { id, slot, code, reason } => {
                let meant =
                    |s: &conn::Session| s.app.id() == id && slot.is_none_or(|slot| s.permit.key() == slot);
                let of_app = |c: &Conn| c.session.as_ref().is_some_and(meant);
                let indexes: Vec<usize> =
                    self.conns.iter().filter(|(_, c)| of_app(c)).map(|(i, _)| i).collect();
                for index in indexes {
                    self.guarded(index, |shard, index| shard.close(index, code.code(), &reason));
                }
            }
            Command::CloseOn(id, prefixes, reason) => {
                let is_on = |s: &Session| {
                    let begins = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
                    s.app.id() == id && s.subscriptions.iter().any(|on| begins(&on.name))
                };
                let is_on = |c: &Conn| c.session.as_ref().is_some_and(is_on);
                let indexes: Vec<usize> =
                    self.conns.iter().filter(|(_, c)| is_on(c)).map(|(i, _)| i).collect();
                for index in indexes {
                    let code = CloseCode::Reconnect.code();
                    self.guarded(index, |shard, index| shard.close(index, code, &reason));
                }
            }
            Command::Drain(over, reason) => self.begin_drain(over, reason),
            Command::Stop => self.stop = true,
        }
    }

    /// The slot of a connection, if it is still the same one and not closing.
    fn at(&self, place: Place) -> Option<usize> {
        let index = place.index as usize;
        let is_same = |c: &&Conn| c.generation == place.generation && c.closing_until.is_none();
        self.conns.get(index).filter(is_same).map(|_| index)
    }

    /// Sends a frame to one socket.
    fn send(&mut self, index: usize, bytes: &Bytes) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        match conn.send(bytes, 0, self.now) {
            Sent::Ok => {}
            Sent::Backlogged => self.look_by(index, self.now + STALLED_SECONDS_MAX),
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
}
