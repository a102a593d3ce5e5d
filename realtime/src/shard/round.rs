//! A channel on a shard: its subscribers, and the frames on their way to them.
//!
//! Frames that gather while the shard is busy go out joined, in one write per subscriber. A subscriber remembers the number
//! of the last frame it got, so a round that is interrupted, or a list that changes meanwhile, neither doubles nor skips one.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use protocol::socket_id::SocketId;

use super::inbox::Deliver;

/// Bytes joined into one write.
const JOINED_BYTES_MAX: usize = 256 * 1_024;
/// Spare [`Work`]s of a shard: as many channels are busy at once without an allocation.
const SPARES_MAX: usize = 1_024;
/// Frames that a spare has room for; a longer queue is given back to the allocator, else a burst would be kept for ever.
const SPARE_FRAMES_MAX: usize = 16;

/// A subscriber.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) conn: u32,
    /// Number of the last frame that it got, or that was before its time.
    pub(crate) seq: u64,
}

#[derive(Debug)]
pub(crate) struct LocalChannel {
    /// Whose it is: apps take turns.
    pub(crate) app: u64,
    pub(crate) subscribers: Vec<Subscriber>,
    /// While there are frames to send, which is also while the channel has its place in the shard's turns.
    pub(crate) work: Option<Box<Work>>,
}

/// The frames of a channel on their way.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) pending: VecDeque<Deliver>,
    pub(crate) round: Option<Round>,
}

/// Empty [`Work`] kept for the next channel that gets frames: a quiet channel keeps none, and a frame needs no allocation.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "they go to channels and come back as they are")]
pub(crate) struct Spares(Vec<Box<Work>>);

/// Frames going out together.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) joined: Bytes,
    /// Number and start of each frame.
    starts: Vec<(u64, u32)>,
    exclusions: Vec<(SocketId, u32)>,
    pub(crate) last_seq: u64,
    /// The next subscriber to serve.
    pub(crate) at: usize,
    /// The list changed during the round: go over it once more.
    pub(crate) again: bool,
}

impl LocalChannel {
    /// A channel of this app, nobody on it.
    pub(crate) fn new(app: u64) -> LocalChannel {
        LocalChannel { app, subscribers: Vec::new(), work: None }
    }

    /// Adds a subscriber. Says where it stands.
    pub(crate) fn add(&mut self, subscriber: Subscriber) -> u32 {
        // One is by far the most frequent number, and would keep the four places that a vector begins with.
        self.subscribers.reserve_exact(usize::from(self.subscribers.is_empty()));
        self.subscribers.push(subscriber);
        self.subscribers.len() as u32 - 1
    }
}

impl Spares {
    pub(crate) fn take(&mut self) -> Box<Work> {
        self.0.pop().unwrap_or_default()
    }

    /// Takes back what has nothing left to do.
    pub(crate) fn give_back(&mut self, work: Box<Work>) {
        debug_assert!(work.pending.is_empty() && work.round.is_none());
        if self.0.len() < SPARES_MAX && work.pending.capacity() <= SPARE_FRAMES_MAX {
            self.0.push(work);
        }
    }
}

impl Work {
    /// Begins a round with what is pending, if none runs. `false` if there is nothing to do.
    pub(crate) fn begin(&mut self) -> bool {
        if self.round.is_some() {
            return true;
        }
        let Some(first) = self.pending.pop_front() else { return false };
        let mut round = Round {
            joined: Bytes::new(),
            starts: vec![(first.seq, 0)],
            exclusions: first.exclude.map(|id| (id, 0)).into_iter().collect(),
            last_seq: first.seq,
            at: 0,
            again: false,
        };
        let fits = |bytes: usize, next: Option<&Deliver>| {
            next.is_some_and(|d| bytes + d.frame.len() <= JOINED_BYTES_MAX)
        };
        if fits(first.frame.len(), self.pending.front()) {
            let mut joined = BytesMut::from(&first.frame[..]);
            while fits(joined.len(), self.pending.front()) {
                let Some(next) = self.pending.pop_front() else { break };
                let index = round.starts.len() as u32;
                round.starts.push((next.seq, joined.len() as u32));
                round.exclusions.extend(next.exclude.map(|id| (id, index)));
                round.last_seq = next.seq;
                joined.extend_from_slice(&next.frame);
            }
            round.joined = joined.freeze();
        } else {
            round.joined = first.frame;
        }
        self.round = Some(round);
        true
    }
}

impl Round {
    /// Where the bytes begin that a subscriber with this last number has not had.
    pub(crate) fn start_for(&self, seq: u64) -> usize {
        let index = self.starts.partition_point(|&(s, _)| s <= seq);
        self.starts.get(index).map_or(self.joined.len(), |&(_, at)| at as usize)
    }

    pub(crate) fn excludes_some(&self) -> bool {
        !self.exclusions.is_empty()
    }

    pub(crate) fn excludes(&self, id: SocketId) -> bool {
        self.exclusions.iter().any(|(e, _)| *e == id)
    }

    /// The joined runs of frames for a socket that is left out of some, above its last number.
    pub(crate) fn runs_for(&self, id: SocketId, seq: u64) -> Vec<Bytes> {
        let mut runs = Vec::new();
        let mut from = self.start_for(seq);
        for &(_, index) in self.exclusions.iter().filter(|(excluded, _)| *excluded == id) {
            let start =
                |index: usize| self.starts.get(index).map_or(self.joined.len(), |&(_, at)| at as usize);
            let (without, next) = (start(index as usize), start(index as usize + 1));
            if without > from {
                runs.push(self.joined.slice(from..without));
            }
            from = from.max(next);
        }
        if from < self.joined.len() {
            runs.push(self.joined.slice(from..));
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ChannelId;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is joined and whoever is left out: each socket gets exactly its frames, in order.
        #[test]
        fn joined_rounds_give_each_socket_its_frames(
            frames in proptest::collection::vec((1usize..40, proptest::option::of(0u64..4)), 1..60),
            joined_at in 0u64..70,
        ) {
            let mut channel = Work::default();
            let id = |n| SocketId { node: 1, random: n };
            for (i, (len, exclude)) in frames.iter().enumerate() {
                channel.pending.push_back(Deliver {
                    channel: ChannelId(1),
                    seq: i as u64 + 1,
                    frame: vec![i as u8; *len].into(),
                    exclude: exclude.map(id),
                });
            }
            let mut got: Vec<Vec<u8>> = vec![vec![]; 5];
            while channel.begin() {
                let round = channel.round.take().unwrap();
                for (n, out) in got.iter_mut().enumerate() {
                    if round.excludes(id(n as u64)) {
                        let runs = round.runs_for(id(n as u64), joined_at);
                        prop_assert!(runs.iter().all(|run| !run.is_empty()));
                        runs.iter().for_each(|run| out.extend_from_slice(run));
                    } else {
                        out.extend_from_slice(&round.joined[round.start_for(joined_at)..]);
                    }
                }
            }
            for (n, out) in got.iter().enumerate() {
                let expected: Vec<u8> = frames.iter().enumerate()
                    .filter(|(i, (_, exclude))| *i as u64 + 1 > joined_at && *exclude != Some(n as u64))
                    .flat_map(|(i, (len, _))| vec![i as u8; *len]).collect();
                prop_assert_eq!(out, &expected);
            }
        }
    }
}
