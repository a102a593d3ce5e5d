//! Subscriptions of a cluster's node that wait to hear what other nodes have of their channel: a few milliseconds, once per
//! channel and node. What a client says of such a channel meanwhile waits with them, so that its words keep their order.

use std::collections::HashMap;

use protocol::client_message::ClientMessage;
use protocol::member::Member;

/// Messages that wait for one subscription; the next ones are answered at once, as if the channel were not there.
const SAID_MAX: usize = 32;

/// A subscription that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    channel: Box<str>,
    pub(super) member: Option<Member>,
    pub(super) said: Vec<Box<str>>,
}

/// By connection. Bounded as subscriptions are.
#[derive(Debug, Default)]
pub(super) struct Parked(HashMap<usize, Vec<Waiter>>);

impl Parked {
    pub(super) fn add(&mut self, index: usize, channel: &str, member: Option<Member>) {
        self.0.entry(index).or_default().push(Waiter { channel: channel.into(), member, said: Vec::new() });
    }

    /// How many of a connection wait.
    pub(super) fn of(&self, index: usize) -> usize {
        self.0.get(&index).map_or(0, Vec::len)
    }

    pub(super) fn take(&mut self, index: usize, channel: &str) -> Option<Waiter> {
        let waiters = self.0.get_mut(&index)?;
        let at = waiters.iter().position(|waiter| *waiter.channel == *channel)?;
        let waiter = waiters.swap_remove(at);
        if waiters.is_empty() {
            self.0.remove(&index);
        }
        Some(waiter)
    }

    /// Keeps a message about a channel that the connection waits for.
    pub(super) fn keeps(&mut self, index: usize, message: &ClientMessage<'_>, text: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let channel: &str = match message {
            ClientMessage::Subscribe(wanted) => &wanted.channel,
            ClientMessage::Unsubscribe(channel) => channel,
            ClientMessage::ClientEvent(event) => &event.channel,
            _ => return false,
        };
        let waiters = self.0.get_mut(&index);
        let waiter = waiters.and_then(|all| all.iter_mut().find(|waiter| *waiter.channel == *channel));
        let Some(waiter) = waiter.filter(|waiter| waiter.said.len() < SAID_MAX) else { return false };
        waiter.said.push(text.into());
        true
    }

    /// A connection is over.
    pub(super) fn forget(&mut self, index: usize) {
        if !self.0.is_empty() {
            self.0.remove(&index);
        }
    }
}
