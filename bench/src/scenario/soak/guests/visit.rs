//! A guest's visit: how it begins, when it has all that it must have, and the ways in which it ends.

use super::{CHANNELS_MAX, Doing, Guest, Guests, PATIENCE_NS};
use crate::load::{Load, STALLED_RECEIVE_BYTES};
use crate::net::Net;

/// From half a frame to the reset, so that the server reads the half.
const HALVED_NS: u64 = 30_000_000;
/// The beginning of a masked text frame of ten bytes.
const HALF_A_FRAME: &[u8] = &[0x81, 0x8A, 1, 2, 3, 4, b'{' ^ 1, b'"' ^ 2];

/// How a guest leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    CloseFrame,
    Fin,
    Reset,
    HalfFrame,
}

impl Way {
    pub(super) const ALL: [Way; 4] = [Way::CloseFrame, Way::Fin, Way::Reset, Way::HalfFrame];

    pub(super) fn key(self) -> &'static str {
        match self {
            Way::CloseFrame => "left_by_close_frame",
            Way::Fin => "left_by_fin",
            Way::Reset => "left_by_reset",
            Way::HalfFrame => "left_within_a_frame",
        }
    }
}

impl Guests {
    pub(super) fn arrive(&mut self, net: &mut Net, load: &Load, guest: usize, now: u64) {
        let all = load.channels().len();
        let Guest { visit, stalls, .. } = self.guests[guest];
        let channels: Vec<usize> = (0..all.min(CHANNELS_MAX)).map(|c| (guest + visit + c) % all).collect();
        self.guests[guest].subscribed = vec![false; channels.len()];
        self.guests[guest].channels = channels;
        match net.connect(self.first + guest, 0, stalls.then_some(STALLED_RECEIVE_BYTES)) {
            Ok(()) => self.set(guest, Doing::Arriving, now + PATIENCE_NS),
            Err(error) => {
                net.trouble.note(format!("connecting: {error}"));
                self.rest(guest, now);
            }
        }
    }

    /// Takes what was sent by now as what must come.
    fn want(&mut self, load: &Load, guest: usize) {
        let publishers = self.publishers;
        let guest = &mut self.guests[guest];
        let of = |channel: &usize| (0..publishers).map(|p| load.sent(p, *channel)).collect::<Vec<_>>();
        guest.wanted = guest.channels.iter().flat_map(of).collect();
    }

    /// How many messages are missing that must come.
    pub(super) fn missing(&self, guest: usize) -> u64 {
        let first = self.slot(guest, 0, 0);
        let wanted = self.guests[guest].wanted.iter().enumerate();
        wanted.map(|(stream, sent)| self.ledger.lost(first + stream, *sent)).sum()
    }

    pub(super) fn settle(&mut self, net: &mut Net, load: &Load, guest: usize, now: u64) {
        self.want(load, guest);
        self.set(guest, Doing::Settling, now + PATIENCE_NS);
        self.leave_if_settled(net, guest, now);
    }

    pub(super) fn catch_up(&mut self, net: &mut Net, load: &Load, guest: usize, now: u64) {
        self.want(load, guest);
        self.set(guest, Doing::CatchingUp, now + PATIENCE_NS);
        net.resume(self.first + guest);
    }

    pub(super) fn leave_if_settled(&mut self, net: &mut Net, guest: usize, now: u64) {
        if matches!(self.guests[guest].doing, Doing::Settling | Doing::CatchingUp) && self.missing(guest) == 0
        {
            self.leave(net, guest, now);
        }
    }

    /// Enters what is missing and goes.
    pub(super) fn leave(&mut self, net: &mut Net, guest: usize, now: u64) {
        let (id, doing) = (self.first + guest, self.guests[guest].doing);
        if matches!(doing, Doing::Settling | Doing::CatchingUp) {
            self.fault("lost by guests", self.missing(guest));
        } else {
            self.count_gaps(guest);
        }
        if doing == Doing::CatchingUp {
            self.tally.stalled_kept_open += 1;
            net.reset(id);
            return self.rest(guest, now);
        }
        match self.way(guest) {
            Way::CloseFrame => {
                net.say_goodbye(id);
                self.set(guest, Doing::Leaving, now + PATIENCE_NS);
            }
            Way::Fin => {
                net.finish(id);
                self.set(guest, Doing::Leaving, now + PATIENCE_NS);
            }
            Way::Reset => {
                net.reset(id);
                self.gone(guest, Way::Reset, now);
            }
            Way::HalfFrame => {
                net.send_bytes(id, HALF_A_FRAME);
                self.set(guest, Doing::Halved, now + HALVED_NS);
            }
        }
    }

    pub(super) fn way(&self, guest: usize) -> Way {
        Way::ALL[(guest + self.guests[guest].visit) % Way::ALL.len()]
    }

    pub(super) fn count_gaps(&mut self, guest: usize) {
        let (first, streams) = (self.slot(guest, 0, 0), CHANNELS_MAX * self.publishers);
        let gaps = (first..first + streams).map(|slot| self.ledger.gaps(slot)).sum();
        self.fault("lost by guests", gaps);
    }

    pub(super) fn gone(&mut self, guest: usize, way: Way, now: u64) {
        self.tally.cycles += 1;
        *self.tally.ways.entry(way.key()).or_default() += 1;
        self.rest(guest, now);
    }
}
