//! Everything at once: the load with its steady subscribers, guests, vandals, and the samples, in one driver.

use super::guests::Guests;
use super::samples::Samples;
use super::vandals::Vandals;
use crate::load::Load;
use crate::net::{Driver, Net};

/// How soon to look again when the parts come to their end.
const ENDING_STEP_NS: u64 = 20_000_000;

/// The parts, in the order of their sockets.
pub(super) struct Mixed {
    pub(super) load: Load,
    pub(super) guests: Guests,
    pub(super) vandals: Vandals,
    pub(super) samples: Samples,
    /// Ids of the first guest's and the first vandal's sockets.
    pub(super) guests_from: usize,
    pub(super) vandals_from: usize,
    /// Publishers of the load; their HTTP connections come first.
    pub(super) publishers: usize,
    /// The load has come to its end; so do the others.
    pub(super) over: bool,
}

impl Driver for Mixed {
    fn text(&mut self, net: &mut Net, id: usize, text: &[u8], now: u64) {
        if id < self.guests_from {
            self.load.text(net, id, text, now);
        } else if id < self.vandals_from {
            self.guests.text(net, &mut self.load, id, text, now);
        } else {
            self.vandals.text(net, id, text, now);
        }
    }

    fn closed(&mut self, net: &mut Net, id: usize, code: Option<u16>) {
        let now = net.now();
        if id < self.guests_from {
            self.load.closed(net, id, code);
        } else if id < self.vandals_from {
            self.guests.closed(id, code, now);
        } else {
            self.vandals.closed(net, id, now);
        }
    }

    fn answered(&mut self, net: &mut Net, http: usize, status: u16, body: &[u8], now: u64) {
        if http < self.publishers {
            self.load.answered(net, http, status, body, now);
        } else {
            self.vandals.answered(status, now);
        }
    }

    fn turn(&mut self, net: &mut Net, now: u64) -> Option<u64> {
        let mut until = self.guests.turn(net, &self.load, now).min(self.vandals.turn(net, now));
        if !self.over {
            match self.load.turn(net, now) {
                Some(next) => until = until.min(next),
                None => {
                    self.over = true;
                    self.guests.stop(net, &self.load, now);
                    self.vandals.stop(net, now);
                }
            }
            if self.load.window().holds(now) {
                until = until.min(self.samples.turn(now));
            }
        }
        let ended = self.over && self.guests.all_away() && self.vandals.all_rest();
        (!ended).then_some(if self.over { until.min(now + ENDING_STEP_NS) } else { until })
    }
}
