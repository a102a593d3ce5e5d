//! Frames of channels go out to their subscribers, channels in turns.
//!
//! A channel's turn is a part of its [`Round`](super::round::Round), which remembers where it stopped. Per delivery there is one
//! look-up in a slab and one call of the kernel: no lock, no allocation, no task.

use protocol::close::CloseCode;

use super::socket::{STALLED_SECONDS_MAX, Sent};
use super::turns::{COST_PER_TURN, cost_of};
use super::{Shard, sweep};
use crate::hub::ChannelId;

/// Work between two looks at sockets and inbox: half a millisecond of small writes. At 256 a quiet app waited two milliseconds
/// beside one at full load; a look costs a hundredth of this.
const COST_PER_LOOK: usize = 64;

impl Shard {
    /// Gives apps their turns, until [`COST_PER_LOOK`] is spent or nothing waits.
    pub(super) fn fan_out(&mut self) {
        let mut spent = 0;
        while spent < COST_PER_LOOK && self.turns.app().is_some() {
            let mut left = COST_PER_TURN;
            while left > 0
                && let Some(id) = self.turns.channel()
            {
                let Some((cost, more)) = self.fan_out_channel(id, left) else { continue };
                let cost = cost.max(1);
                spent += cost;
                left = left.saturating_sub(cost);
                if more {
                    self.turns.again(id);
                }
            }
            self.turns.pass();
        }
    }

    /// Writes of one channel up to this cost. `(cost, is there more)`, or `None` if the channel is gone. A channel that is
    /// through gives its [`Work`](super::round::Work) back.
    fn fan_out_channel(&mut self, id: ChannelId, budget: usize) -> Option<(usize, bool)> {
        let channel = self.channels.get_mut(&id)?;
        let mut work = channel.work.take()?;
        work.begin();
        let Some(mut round) = work.round.take() else {
            self.spares.give_back(work);
            return Some((0, false));
        };
        let (mut cost, mut doomed) = (0, Vec::new());
        while round.at < channel.subscribers.len() && cost < budget {
            let subscriber = &mut channel.subscribers[round.at];
            round.at += 1;
            if subscriber.seq >= round.last_seq {
                continue;
            }
            let seq = std::mem::replace(&mut subscriber.seq, round.last_seq);
            let index = subscriber.conn as usize;
            let Some(conn) = self.conns.get_mut(index) else { continue };
            let id = conn.session.as_ref().map(|s| s.socket_id).filter(|_| round.excludes_some());
            let sent = match id.filter(|&id| round.excludes(id)) {
                None => {
                    let from = round.start_for(seq);
                    cost += cost_of(round.joined.len() - from);
                    conn.send(&round.joined, from, self.now)
                }
                Some(id) => {
                    cost += cost_of(round.joined.len());
                    conn.send_all(&round.runs_for(id, seq), self.now)
                }
            };
            match sent {
                Sent::Ok => {}
                Sent::Backlogged => {
                    sweep::look_by(&mut self.wheel, conn, index, self.now + STALLED_SECONDS_MAX);
                }
                Sent::TooSlow => {
                    doomed.push((index, Some(CloseCode::OverCapacity.code()), "slow reader: 1 MiB waiting"))
                }
                Sent::Gone => doomed.push((index, None, "connection lost")),
            }
        }
        if round.at >= channel.subscribers.len() {
            if std::mem::take(&mut round.again) {
                round.at = 0;
                work.round = Some(round);
            }
        } else {
            work.round = Some(round);
        }
        let more = work.round.is_some() || !work.pending.is_empty();
        if more {
            channel.work = Some(work);
        } else {
            self.spares.give_back(work);
        }
        for (index, code, reason) in doomed {
            self.end(index, code, reason);
        }
        Some((cost, more))
    }
}
