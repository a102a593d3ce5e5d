//! Receivers that come and go while the load runs, and check what they get between the two: those that leave in every way there
//! is, and those that stop reading until the server closes them.
//!
//! From the moment a subscription succeeded, a guest must get every message that is published from then on, without a gap. Half of
//! the visits stay until all that was sent by their end has come; the others leave in the middle of it. A stalled reader may
//! lose the end of what it was sent when it is closed, never something in between.

mod visit;

use std::collections::BTreeMap;

use self::visit::Way;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::net::Net;
use crate::pusher::{self, Said};

/// Channels of one guest, if there are as many.
const CHANNELS_MAX: usize = 3;
/// What a guest waits for must come within this time: its subscriptions, the rest of its messages, the server's farewell.
const PATIENCE_NS: u64 = 10_000_000_000;
/// A visit takes from the first to the sum of both, in milliseconds.
const STAY_MS: (u64, u64) = (20, 1_500);
/// Longest rest between two visits.
const REST_MS: u64 = 100;
/// How often a stalled reader asks whether it is still connected.
const PROBE_NS: u64 = 500_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Away,
    Arriving,
    Listening,
    /// Waits for all that was sent by now, then leaves.
    Settling,
    /// Waits for the server to end the connection.
    Leaving,
    /// Has sent half a frame.
    Halved,
    /// Doesn't read; until then.
    Stalled(u64),
    /// Was not closed, and reads what it missed.
    CatchingUp,
}

#[derive(Debug)]
struct Guest {
    stalls: bool,
    doing: Doing,
    /// When to act.
    due: u64,
    visit: usize,
    channels: Vec<usize>,
    /// Which of them are subscribed to.
    subscribed: Vec<bool>,
    /// Of each of its streams: how many messages must have come before it leaves.
    wanted: Vec<u32>,
}

/// What came of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Visits of those that don't stall.
    pub(super) cycles: u64,
    pub(super) ways: BTreeMap<&'static str, u64>,
    pub(super) deliveries: u64,
    pub(super) stalled_closed: u64,
    pub(super) stalled_kept_open: u64,
    faults: BTreeMap<String, u64>,
}

/// All guests: first those that come and go, then those that stall.
#[derive(Debug)]
pub(super) struct Guests {
    /// Id of the first one's socket.
    first: usize,
    guests: Vec<Guest>,
    publishers: usize,
    ledger: Ledger,
    /// The earliest time at which one has something to do.
    due: u64,
    stall_ns: u64,
    over: bool,
    tally: Tally,
}

/// Spreads visits: any number from 0 to `below`, the same in every run.
fn spread(visit: usize, guest: usize, below: u64) -> u64 {
    let mixed = (visit as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (guest as u64).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 29) % below.max(1)
}

impl Guests {
    /// Guests on sockets from `first` on, none of them there yet.
    pub(super) fn new(
        first: usize,
        churning: usize,
        stalling: usize,
        publishers: usize,
        stall_ns: u64,
    ) -> Guests {
        let guest = |index: usize| Guest {
            stalls: index >= churning,
            doing: Doing::Away,
            due: spread(0, index, 500) * 1_000_000,
            visit: 0,
            channels: Vec::new(),
            subscribed: Vec::new(),
            wanted: Vec::new(),
        };
        let count = churning + stalling;
        Guests {
            first,
            guests: (0..count).map(guest).collect(),
            publishers,
            ledger: Ledger::new(count * CHANNELS_MAX * publishers),
            due: 0,
            stall_ns,
            over: false,
            tally: Tally::default(),
        }
    }

    fn fault(&mut self, what: impl Into<String>, times: u64) {
        if times > 0 {
            *self.tally.faults.entry(what.into()).or_default() += times;
        }
    }

    fn set(&mut self, guest: usize, doing: Doing, due: u64) {
        self.guests[guest].doing = doing;
        self.guests[guest].due = due;
        self.due = self.due.min(due);
    }

    /// The view of one guest's channel on one publisher.
    fn slot(&self, guest: usize, channel: usize, publisher: usize) -> usize {
        (guest * CHANNELS_MAX + channel) * self.publishers + publisher
    }

    /// Acts for all whose time has come; gives when to look again.
    pub(super) fn turn(&mut self, net: &mut Net, load: &Load, now: u64) -> u64 {
        if now >= self.due {
            self.due = u64::MAX;
            for guest in 0..self.guests.len() {
                if self.guests[guest].due <= now {
                    self.act(net, load, guest, now);
                }
                self.due = self.due.min(self.guests[guest].due);
            }
        }
        self.due
    }

    fn act(&mut self, net: &mut Net, load: &Load, guest: usize, now: u64) {
        let id = self.first + guest;
        match self.guests[guest].doing {
            Doing::Away if self.over => self.set(guest, Doing::Away, u64::MAX),
            Doing::Away => self.arrive(net, load, guest, now),
            Doing::Arriving => {
                self.fault("guests that were not subscribed within 10 s", 1);
                net.reset(id);
                self.rest(guest, now);
            }
            Doing::Listening if (self.guests[guest].visit / Way::ALL.len()).is_multiple_of(2) => {
                self.settle(net, load, guest, now)
            }
            Doing::Listening | Doing::Settling | Doing::CatchingUp => self.leave(net, guest, now),
            Doing::Leaving => {
                self.fault("guests that left and were not let go within 10 s", 1);
                net.reset(id);
                self.rest(guest, now);
            }
            Doing::Halved => {
                net.reset(id);
                self.gone(guest, Way::HalfFrame, now);
            }
            Doing::Stalled(until) if now < until => {
                net.probe(id);
                self.set(guest, Doing::Stalled(until), now + PROBE_NS);
            }
            Doing::Stalled(_) => self.catch_up(net, load, guest, now),
        }
    }

    fn rest(&mut self, guest: usize, now: u64) {
        let visit = &mut self.guests[guest].visit;
        *visit += 1;
        let rest = spread(*visit, guest, REST_MS) * 1_000_000;
        self.set(guest, Doing::Away, now + rest);
    }

    /// A frame for one of them.
    pub(super) fn text(&mut self, net: &mut Net, load: &mut Load, id: usize, text: &[u8], now: u64) {
        let guest = id - self.first;
        let here = &self.guests[guest];
        if matches!(here.doing, Doing::Leaving | Doing::Halved) {
            return;
        }
        let Some((channel, publisher, number)) = load.heard(&here.channels, text) else {
            return self.rest_of(net, load, guest, text, now);
        };
        let place = here.channels.iter().position(|c| *c == channel).unwrap_or_default();
        if !here.subscribed[place] {
            return self.fault("sent to guests before their subscription", 1);
        }
        self.ledger.enter(self.slot(guest, place, publisher), number);
        self.tally.deliveries += 1;
        // Only the last wanted message of a stream can make the guest complete. Asking at each one kept the generator, and with
        // it everybody, for half a second when many stalled readers read again.
        let stream = place * self.publishers + publisher;
        if self.guests[guest].wanted.get(stream).is_some_and(|wanted| number + 1 >= *wanted) {
            self.leave_if_settled(net, guest, now);
        }
    }

    fn rest_of(&mut self, net: &mut Net, load: &Load, guest: usize, text: &[u8], now: u64) {
        let id = self.first + guest;
        match pusher::read(text) {
            Said::Established { socket_id } => {
                for channel in &self.guests[guest].channels {
                    let text = net.apps[0].subscribe(&socket_id, &load.channels()[*channel], None);
                    net.send(id, text.as_bytes());
                }
            }
            Said::Subscribed { channel, .. } => self.subscribed(net, load, guest, &channel, now),
            Said::Ping => net.send(id, pusher::PONG),
            Said::Aside => {}
            Said::Error { code, message } => {
                self.fault(format!("error {}: {message}", code.unwrap_or_default()), 1)
            }
            Said::Member { .. } | Said::Other => self.fault("invalid frames for guests", 1),
        }
    }

    fn subscribed(&mut self, net: &mut Net, load: &Load, guest: usize, channel: &str, now: u64) {
        let here = &self.guests[guest];
        let place = here.channels.iter().position(|c| load.channels()[*c] == channel);
        let Some(place) = place.filter(|place| !here.subscribed[*place]) else {
            return self.fault("subscriptions that guests didn't ask for", 1);
        };
        let index = here.channels[place];
        for publisher in 0..self.publishers {
            self.ledger.join(self.slot(guest, place, publisher), load.sent(publisher, index));
        }
        let here = &mut self.guests[guest];
        here.subscribed[place] = true;
        if !here.subscribed.iter().all(|done| *done) {
            return;
        }
        if here.stalls && !self.over {
            net.pause(self.first + guest);
            return self.set(guest, Doing::Stalled(now + self.stall_ns), now + PROBE_NS);
        }
        let stay = STAY_MS.0 + spread(here.visit, guest + 7, STAY_MS.1);
        self.set(guest, Doing::Listening, now + stay * 1_000_000);
    }

    /// The server ended a connection.
    pub(super) fn closed(&mut self, id: usize, code: Option<u16>, now: u64) {
        let guest = id - self.first;
        match self.guests[guest].doing {
            Doing::Leaving => self.gone(guest, self.way(guest), now),
            Doing::Stalled(_) | Doing::CatchingUp => {
                self.tally.stalled_closed += 1;
                self.count_gaps(guest);
                self.rest(guest, now);
            }
            Doing::Halved => self.gone(guest, Way::HalfFrame, now),
            Doing::Away => {}
            Doing::Arriving | Doing::Listening | Doing::Settling => {
                let code = code.map_or_else(|| "without a code".into(), |code| format!("with {code}"));
                self.fault(format!("guests that were closed {code}"), 1);
                self.rest(guest, now);
            }
        }
    }

    /// No more visits: who is there takes in what was sent, and leaves.
    pub(super) fn stop(&mut self, net: &mut Net, load: &Load, now: u64) {
        self.over = true;
        for guest in 0..self.guests.len() {
            match self.guests[guest].doing {
                Doing::Listening => self.settle(net, load, guest, now),
                Doing::Stalled(_) => self.catch_up(net, load, guest, now),
                Doing::Away => self.set(guest, Doing::Away, u64::MAX),
                Doing::Arriving | Doing::Settling | Doing::Leaving | Doing::Halved | Doing::CatchingUp => {}
            }
        }
    }

    /// Nobody is there.
    pub(super) fn all_away(&self) -> bool {
        self.guests.iter().all(|guest| guest.doing == Doing::Away)
    }

    /// What came of it, and everything that must not happen.
    pub(super) fn results(mut self) -> (Tally, BTreeMap<String, u64>) {
        let mut faults = std::mem::take(&mut self.tally.faults);
        faults.entry("lost by guests".into()).or_default();
        faults.insert("doubled for guests".into(), self.ledger.doubled);
        faults.insert("swapped for guests".into(), self.ledger.swapped);
        (self.tally, faults)
    }
}
