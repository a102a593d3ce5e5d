//! The queue into a shard, and its wake-up. Producers never wait; a shard that is behind shows it by [`Inbox::queued_bytes`],
//! and the publish door then holds back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use protocol::close::CloseCode;
use protocol::socket_id::SocketId;
use tokio::sync::oneshot;

use super::conn::NewConn;
use super::queue::{Queue, Wake};
use crate::fallback::outbox::Outbox;
use crate::hub::ChannelId;
use crate::key_use::Slot;

/// Bytes of frames (and 256 per command) waiting for one shard beyond which publishes are held back.
pub(crate) const QUEUED_BYTES_MAX: usize = 32 * 1_024 * 1_024;
const COMMAND_BYTES: usize = 256;

/// A frame for a channel's subscribers on this shard.
#[derive(Debug)]
pub(crate) struct Deliver {
    pub(crate) channel: ChannelId,
    pub(crate) seq: u64,
    pub(crate) frame: Bytes,
    pub(crate) exclude: Option<SocketId>,
}

/// Where a connection is; another one in the same slot has another generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) shard: u16,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// What came in the body of an HTTP client's send.
#[derive(Debug)]
pub(crate) enum Received {
    Messages(Vec<String>),
    /// Not an array of strings.
    Unreadable,
    TooLarge,
}

/// All that others may ask of a shard.
#[derive(Debug)]
pub(crate) enum Command {
    /// A socket after its upgrade.
    Connect(Box<NewConn>),
    Deliver(Deliver),
    /// A frame for one connection.
    Send(Place, Bytes),
    /// Close one connection.
    Close(Place, u16, Arc<str>),
    /// A connection waited to hear what other nodes have of a channel: it may join now.
    Resume(Place, Arc<str>),
    /// What an HTTP client sent; who sent it is told by `done` when the shard is through with it.
    Receive {
        from: Arc<Outbox>,
        received: Received,
        done: oneshot::Sender<()>,
    },
    /// Close all sockets of an app, or those that came with the key of one place.
    CloseApp {
        id: u64,
        slot: Option<Slot>,
        code: CloseCode,
        reason: Arc<str>,
    },
    /// Close the sockets of an app that are on a channel which begins with one of these, with 4200.
    CloseOn(u64, Arc<[String]>, Arc<str>),
    /// Close everything with 4200 and this reason, spread over this time.
    Drain(Duration, &'static str),
    /// End the thread.
    Stop,
}

/// Shared between the shard and everyone else.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Queue<Command, mio::Waker>,
    queued_bytes: AtomicUsize,
}

impl Wake for mio::Waker {
    fn wake(&self) {
        if let Err(error) = mio::Waker::wake(self) {
            tracing::error!(%error, "a shard can't be woken");
        }
    }
}

fn weight(command: &Command) -> usize {
    match command {
        Command::Deliver(deliver) => COMMAND_BYTES + deliver.frame.len(),
        Command::Send(_, frame) => COMMAND_BYTES + frame.len(),
        Command::Receive { received: Received::Messages(messages), .. } => {
            COMMAND_BYTES + messages.iter().map(String::len).sum::<usize>()
        }
        _ => COMMAND_BYTES,
    }
}

impl Inbox {
    pub(crate) fn new(waker: mio::Waker) -> Inbox {
        Inbox { queue: Queue::new(waker), queued_bytes: 0.into() }
    }

    /// Appends a command; wakes the shard if it sleeps.
    pub(crate) fn push(&self, command: Command) {
        self.queued_bytes.fetch_add(weight(&command), Relaxed);
        self.queue.push(command);
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Relaxed)
    }

    /// Says that the shard is about to sleep; `false` if there is work, then it must not.
    pub(crate) fn may_sleep(&self) -> bool {
        self.queue.may_sleep()
    }

    /// Moves all commands into `into`, which must be empty.
    pub(crate) fn take(&self, into: &mut Vec<Command>) {
        self.queue.take(into);
    }

    /// A command was carried out.
    pub(crate) fn done(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn weight_of(command: &Command) -> usize {
        weight(command)
    }
}
