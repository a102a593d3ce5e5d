//! Publishers and subscribers under load: the driver behind `fanout`, `slow` and `tenants`.
//!
//! A group is one app's channels with their subscribers and publishers. A publisher has one request at a time; paced, it
//! publishes when it is due, and the stamp is the due time, so that a late publish counts as latency; otherwise it publishes
//! while fewer than `window` messages of its group are on their way to anybody.

mod outcome;
mod setup;

use std::collections::BTreeMap;

pub(crate) use self::outcome::Results;
use self::outcome::{Outcome, Stalled};
pub(crate) use self::setup::measure;
use crate::ledger::{Flight, Ledger};
use crate::machine::Server;
use crate::net::{Driver, Net, State};
use crate::payload::{Checker, Payload, Stamp};
use crate::pusher::{self, Said};
use crate::window::{Stage, Window};

/// Name of the measured events.
const EVENT: &str = "measured";
/// Wait without any progress after which what is on its way counts as lost.
const DRAIN_NS: u64 = 3_000_000_000;
/// Time for which readers that had stalled read again.
const RESUME_NS: u64 = 5_000_000_000;
/// Receive buffer of readers that will stall, in bytes.
const STALLED_RECEIVE_BYTES: usize = 4_096;
/// How often the server's memory is looked at in a run with stalled readers.
const MEMORY_EVERY_NS: u64 = 250_000_000;
/// Slack of the deadline of a whole run over what its parts may take.
const SLACK_NS: u64 = 30_000_000_000;

/// One app's part.
#[derive(Clone, Debug)]
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

struct Load {
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

    fn publish(&mut self, net: &mut Net, publisher: usize, due: u64, now: u64) {
        let p = &mut self.publishers[publisher];
        let (group, base) = (&self.groups[p.group], &self.bases[p.group]);
        let channel = (p.index + p.turn) % group.channels;
        p.turn += 1;
        p.stream = p.index * group.channels + channel;
        p.number = self.flight[p.group].launch(p.stream, self.readers[base.channel + channel], due);
        (p.busy, p.begun) = (true, now);
        let stamp = Stamp { at: due, stream: (base.stream + p.stream) as u32, number: p.number };
        self.body.clear();
        self.body.extend_from_slice(&self.bodies[base.channel + channel]);
        self.payload.write(&stamp, &mut self.body);
        self.body.extend_from_slice(b"\"}");
        if self.window.holds(now) {
            let outcome = &mut self.outcomes[p.group];
            outcome.publishes += 1;
            outcome.behind.record(now.saturating_sub(due));
        }
        net.post(publisher, "events", &self.body);
    }

    /// Publishes what is due; gives when to look again.
    fn pump(&mut self, net: &mut Net, now: u64) -> u64 {
        let mut again = u64::MAX;
        for group in 0..self.groups.len() {
            let Group { publishers, rate, window, .. } = self.groups[group];
            let first = self.bases[group].publisher;
            for step in 0..publishers {
                let publisher = first + (self.next[group] + step) % publishers;
                if self.publishers[publisher].busy {
                    continue;
                }
                if rate > 0.0 {
                    let due = self.publishers[publisher].due;
                    if due > now {
                        again = again.min(due);
                        continue;
                    }
                    self.publishers[publisher].due = due + (1e9 * publishers as f64 / rate) as u64;
                    self.publish(net, publisher, due, now);
                } else if self.flight[group].open < window {
                    self.next[group] = publisher - first + 1;
                    self.publish(net, publisher, now, now);
                } else {
                    break;
                }
            }
        }
        again
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

impl Driver for Load {
    #[inline]
    fn text(&mut self, net: &mut Net, id: usize, text: &[u8], now: u64) {
        let (group, channel) = self.places[id];
        let (group, channel) = (group as usize, channel as usize);
        let base = &self.bases[group];
        let Some(stamp) = self.checker.check(base.channel + channel, text) else {
            return self.rest(net, id, text);
        };
        let Group { channels, publishers, .. } = self.groups[group];
        let stream = (stamp.stream as usize).wrapping_sub(base.stream);
        let publisher = stream / channels;
        if publisher >= publishers || stream % channels != channel {
            self.invalid += 1;
            return;
        }
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
            (0..self.places.len())
                .filter(|id| self.is_stalled(*id))
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|id| {
                    net.resume(self, id);
                });
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
