//! Publishers and subscribers under load: the driver behind `fanout`, `slow` and `tenants`, and a part of `soak`.
//!
//! A group is one app's channels with their subscribers and publishers. A publisher has one request at a time; paced, it
//! publishes when it is due, and the stamp is the due time, so that a late publish counts as latency; otherwise it publishes
//! while fewer than `window` messages of its group are on their way to anybody (`pace`).

mod outcome;
mod pace;
mod setup;

use std::collections::BTreeMap;

pub(crate) use self::outcome::Results;
use self::outcome::{Outcome, Stalled};
pub(crate) use self::pace::Bursts;
pub(crate) use self::setup::{measure, prepare};
use crate::ledger::{Flight, Ledger};
use crate::machine::Server;
use crate::net::{Driver, Net, State};
use crate::payload::{Checker, Payload};
use crate::pusher::{self, Said};
use crate::window::{Stage, Window};

/// Name of the measured events.
const EVENT: &str = "measured";
/// Wait without any progress after which what is on its way counts as lost.
const DRAIN_NS: u64 = 3_000_000_000;
/// Time for which readers that had stalled read again.
const RESUME_NS: u64 = 5_000_000_000;
/// Receive buffer of readers that will stall, in bytes.
pub(crate) const STALLED_RECEIVE_BYTES: usize = 4_096;
/// How often the server's memory is looked at in a run with stalled readers.
const MEMORY_EVERY_NS: u64 = 250_000_000;
/// Slack of the deadline of a whole run over what its parts may take.
const SLACK_NS: u64 = 30_000_000_000;

/// One app's part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// Which of the generator's apps.
    pub(crate) app: usize,
    pub(crate) subscribers: usize,
    pub(crate) channels: usize,
    pub(crate) publishers: usize,
    /// Messages on their way; unused if paced.
    pub(crate) window: usize,
    /// Publishes a second over all publishers; 0 = as fast as the window allows.
    pub(crate) rate: f64,
    /// The first of its subscribers stop reading.
    pub(crate) stalled: usize,
    /// Every how many messages of a stream one leaves out a subscriber of its channel; 0 = none does.
    pub(crate) excluding: u32,
    /// Times in which a paced group publishes as its window allows.
    pub(crate) bursts: Option<Bursts>,
}

/// Sizes and times of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) size: usize,
    pub(crate) warmup: f64,
    pub(crate) seconds: f64,
}

struct Publisher {
    group: usize,
    /// Within its group.
    index: usize,
    busy: bool,
    due: u64,
    begun: u64,
    turn: usize,
    stream: usize,
    number: u32,
}

/// Where a group's parts begin in the common tables.
struct Base {
    socket: usize,
    channel: usize,
    stream: usize,
    slot: usize,
    publisher: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    NotYet,
    Draining,
    Resuming(u64),
}

pub(crate) struct Load {
    groups: Vec<Group>,
    bases: Vec<Base>,
    channels: Vec<String>,
    bodies: Vec<Vec<u8>>,
    /// Of each socket: its group, and its channel within the group.
    places: Vec<(u32, u32)>,
    /// Subscribers of each channel that read.
    readers: Vec<u32>,
    flight: Vec<Flight>,
    ledger: Ledger,
    checker: Checker,
    payload: Payload,
    window: Window,
    publishers: Vec<Publisher>,
    next: Vec<usize>,
    /// When the load began, and which groups are in a burst.
    begun: u64,
    bursting: Vec<bool>,
    connect_s: f64,
    outcomes: Vec<Outcome>,
    body: Vec<u8>,
    progress: u64,
    ending: Ending,
    server: Server,
    memory_at: u64,
    stalled: Stalled,
    invalid: u64,
    closed: u64,
    refused: BTreeMap<u16, u64>,
    /// Deliveries that refused publishes did not make, by stream of each group.
    unsent: BTreeMap<(usize, usize), u32>,
}

impl Load {
    fn is_stalled(&self, id: usize) -> bool {
        let group = self.places[id].0 as usize;
        id - self.bases[group].socket < self.groups[group].stalled
    }

    fn rest(&mut self, net: &mut Net, id: usize, text: &[u8]) {
        match pusher::read(text) {
            Said::Ping => net.send(id, pusher::PONG),
            Said::Aside => {}
            Said::Error { code, message } => {
                net.trouble.note(format!("error {}: {message}", code.unwrap_or_default()));
            }
            _ => self.invalid += 1,
        }
    }

    /// The publisher (within the group) of a stream; `None` if it is not one of this channel.
    #[inline]
    fn publisher_of(&self, group: usize, channel: usize, stream: u32) -> Option<usize> {
        let Group { channels, publishers, .. } = self.groups[group];
        let stream = (stream as usize).wrapping_sub(self.bases[group].stream);
        let publisher = stream / channels;
        (publisher < publishers && stream % channels == channel).then_some(publisher)
    }

    fn is_drained(&self) -> bool {
        self.flight.iter().all(|flight| flight.open == 0) && !self.publishers.iter().any(|p| p.busy)
    }

    /// Messages that slots of a socket never got.
    fn lost(&self, id: usize) -> u64 {
        let (group, channel) = (self.places[id].0 as usize, self.places[id].1 as usize);
        let Group { publishers, channels, .. } = self.groups[group];
        let slot = self.bases[group].slot + (id - self.bases[group].socket) * publishers;
        let missing = (0..publishers).map(|publisher| {
            let stream = publisher * channels + channel;
            let unsent = self.unsent.get(&(group, stream)).copied().unwrap_or(0);
            let lost = self.ledger.lost(slot + publisher, self.flight[group].sent(stream));
            lost.saturating_sub(u64::from(unsent))
        });
        missing.sum()
    }
}

/// What receivers that are not of the load itself, but hear its first group, are checked by.
impl Load {
    /// Which of these channels of the first group a text is a right message of, its publisher, and its number.
    pub(crate) fn heard(&mut self, channels: &[usize], text: &[u8]) -> Option<(usize, usize, u32)> {
        let (channel, stamp) = self.checker.check_any(channels, text)?;
        Some((channel, self.publisher_of(0, channel, stamp.stream)?, stamp.number))
    }

    /// How many messages a publisher of the first group has sent to a channel.
    pub(crate) fn sent(&self, publisher: usize, channel: usize) -> u32 {
        self.flight[0].sent(publisher * self.groups[0].channels + channel)
    }

    /// Names of all channels.
    pub(crate) fn channels(&self) -> &[String] {
        &self.channels
    }

    /// The time that counts.
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }
}

impl Driver for Load {
    #[inline]
    fn text(&mut self, net: &mut Net, id: usize, text: &[u8], now: u64) {
        let (group, channel) = self.places[id];
        let (group, channel) = (group as usize, channel as usize);
        let Some(stamp) = self.checker.check(self.bases[group].channel + channel, text) else {
            return self.rest(net, id, text);
        };
        let Some(publisher) = self.publisher_of(group, channel, stamp.stream) else {
            self.invalid += 1;
            return;
        };
        let base = &self.bases[group];
        let Group { channels, publishers, .. } = self.groups[group];
        let stream = publisher * channels + channel;
        let slot = base.slot + (id - base.socket) * publishers + publisher;
        let is_new = self.ledger.enter(slot, stamp.number);
        if self.is_stalled(id) {
            return;
        }
        let outcome = &mut self.outcomes[group];
        outcome.deliveries += u64::from(self.window.holds(now));
        let counts = self.window.holds(stamp.at);
        if counts {
            outcome.latency.record(now.saturating_sub(stamp.at));
        }
        if is_new {
            self.progress = now;
            if let Some(at) = self.flight[group].landed(stream, stamp.number)
                && counts
            {
                outcome.complete.record(now.saturating_sub(at));
            }
        }
    }

    fn closed(&mut self, _: &mut Net, id: usize, _: Option<u16>) {
        if self.is_stalled(id) {
            self.stalled.closed += 1;
            return;
        }
        self.closed += 1;
        let (group, channel) = self.places[id];
        self.readers[self.bases[group as usize].channel + channel as usize] -= 1;
    }

    fn answered(&mut self, _: &mut Net, http: usize, status: u16, _: &[u8], now: u64) {
        let p = &mut self.publishers[http];
        p.busy = false;
        if status == 200 {
            if self.window.holds(p.begun) {
                self.outcomes[p.group].api.record(now - p.begun);
            }
            return;
        }
        *self.refused.entry(status).or_default() += 1;
        let (group, stream) = (p.group, p.stream);
        if self.flight[group].abandon(stream, p.number) > 0 {
            *self.unsent.entry((group, stream)).or_default() += 1;
        }
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        let stalls = self.groups.iter().any(|group| group.stalled > 0);
        if stalls && now >= self.memory_at {
            self.stalled.memory_max_kib = self.stalled.memory_max_kib.max(self.server.resident_kib());
            self.memory_at = now + MEMORY_EVERY_NS;
        }
        if self.window.stage(now, || net.now()) != Stage::Over {
            return Some(self.pump(net, now).min(self.window.next()));
        }
        if self.ending == Ending::NotYet {
            self.ending = Ending::Draining;
            self.progress = now;
        }
        if self.ending == Ending::Draining {
            if !self.is_drained() && now < self.progress + DRAIN_NS {
                return Some(self.progress + DRAIN_NS);
            }
            if !stalls {
                return None;
            }
            self.ending = Ending::Resuming(now + RESUME_NS);
            (0..self.places.len()).filter(|id| self.is_stalled(*id)).for_each(|id| net.resume(id));
        }
        let Ending::Resuming(until) = self.ending else { return None };
        let done = (0..self.places.len())
            .filter(|id| self.is_stalled(*id))
            .all(|id| net.sockets[id].state == State::Closed || self.lost(id) == 0);
        (now < until && !done).then_some(until.min(now + 50_000_000))
    }
}

#[cfg(test)]
mod tests;
