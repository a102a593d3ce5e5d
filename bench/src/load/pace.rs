//! Which publisher publishes when: paced, as fast as the window allows, or one after the other in turns; and whom a publish
//! leaves out.

use super::{Group, Load};
use crate::net::{Net, State};
use crate::payload::Stamp;

/// Times in which a paced group publishes as fast as its window allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bursts {
    /// From one's beginning to the next one's.
    pub(crate) every_ns: u64,
    /// From the beginning of such a time to its burst.
    pub(crate) after_ns: u64,
    pub(crate) length_ns: u64,
}

impl Bursts {
    /// Is one on, this long after the begin? And when does that change?
    fn at(&self, since_begin: u64) -> (bool, u64) {
        let (number, into) = (since_begin / self.every_ns, since_begin % self.every_ns);
        let (from, to) = (self.after_ns, self.after_ns + self.length_ns);
        let first = number * self.every_ns;
        match into {
            into if into < from => (false, first + from),
            into if into < to => (true, first + to),
            _ => (false, first + self.every_ns + from),
        }
    }
}

impl Load {
    /// When each publisher of a group is due, from now on.
    pub(super) fn pace(&mut self, group: usize, now: u64) {
        let Group { publishers, rate, .. } = self.groups[group];
        let first = self.bases[group].publisher;
        for publisher in &mut self.publishers[first..first + publishers] {
            publisher.due = now + if rate > 0.0 { (1e9 / rate * publisher.index as f64) as u64 } else { 0 };
        }
    }

    /// The socket that the next message of a stream leaves out: each subscriber of the channel in turn.
    fn left_out(&self, net: &Net, group: usize, channel: usize, number: u32) -> Option<usize> {
        let Group { subscribers, channels, excluding, .. } = self.groups[group];
        number.checked_rem(excluding).filter(|rest| rest + 1 == excluding)?;
        let listening = (subscribers - channel).div_ceil(channels);
        let which = (number / excluding) as usize % listening;
        let id = self.bases[group].socket + channel + which * channels;
        (net.sockets[id].state == State::Open && !self.is_stalled(id)).then_some(id)
    }

    fn publish(&mut self, net: &mut Net, publisher: usize, due: u64, now: u64) {
        let p = &mut self.publishers[publisher];
        let (g, channels) = (p.group, self.groups[p.group].channels);
        let (base, channel) = (&self.bases[g], (p.index + p.turn) % channels);
        p.turn += 1;
        p.stream = p.index * channels + channel;
        (p.busy, p.begun) = (true, now);
        let (index, stream) = (p.index, p.stream);
        let next = self.flight[g].sent(stream);
        let left_out = self.left_out(net, g, channel, next);
        let receivers = self.readers[base.channel + channel] - u32::from(left_out.is_some());
        let number = self.flight[g].launch(stream, receivers, due);
        self.publishers[publisher].number = number;
        let stamp = Stamp { at: due, stream: (base.stream + stream) as u32, number };
        self.body.clear();
        self.body.extend_from_slice(&self.bodies[base.channel + channel]);
        self.payload.write(&stamp, &mut self.body);
        self.body.push(b'"');
        if let Some(id) = left_out {
            let slot = base.slot + (id - base.socket) * self.groups[g].publishers + index;
            self.ledger.except(slot, number);
            self.body.extend_from_slice(br#","socket_id":""#);
            self.body.extend_from_slice(net.sockets[id].socket_id.as_bytes());
            self.body.push(b'"');
        }
        self.body.push(b'}');
        let outcome = &mut self.outcomes[g];
        outcome.excluding += u64::from(left_out.is_some());
        if self.window.holds(now) {
            outcome.publishes += 1;
            outcome.behind.record(now.saturating_sub(due));
        }
        net.post(publisher, "events", &self.body);
    }

    /// Publishes what is due; gives when to look again.
    pub(super) fn pump(&mut self, net: &mut Net, now: u64) -> u64 {
        let mut again = u64::MAX;
        for group in 0..self.groups.len() {
            let Group { publishers, rate, window, bursts, .. } = self.groups[group];
            let mut is_paced = rate > 0.0;
            if let Some(bursts) = bursts {
                let (is_on, until) = bursts.at(now - self.begun);
                again = again.min(self.begun + until);
                is_paced &= !is_on;
                if self.bursting[group] && !is_on {
                    self.pace(group, now); // what was due meanwhile is not made up for
                }
                self.outcomes[group].bursts += u64::from(is_on && !self.bursting[group]);
                self.bursting[group] = is_on;
            }
            let first = self.bases[group].publisher;
            for step in 0..publishers {
                let publisher = first + (self.next[group] + step) % publishers;
                if self.publishers[publisher].busy {
                    continue;
                }
                if is_paced {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_comes_in_each_round_and_the_next_change_is_told() {
        let bursts = Bursts { every_ns: 100, after_ns: 20, length_ns: 10 };
        for (at, expected) in
            [(0, (false, 20)), (20, (true, 30)), (29, (true, 30)), (30, (false, 120)), (125, (true, 130))]
        {
            assert_eq!(bursts.at(at), expected, "{at}");
        }
    }
}
