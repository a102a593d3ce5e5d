//! Inner functions that `benches/` times. For nobody else: none of this is part of what the crate offers.

use bytes::Bytes;

use crate::frame;
use crate::hub::ChannelId;
use crate::shard::inbox::Deliver;
use crate::shard::round::Work;

/// Encodes a text frame.
pub fn encode(payload: &[u8]) -> Bytes {
    frame::text(payload)
}

/// A channel with frames that wait.
#[derive(Debug)]
pub struct Waiting(Work);

impl Waiting {
    /// `frames` frames like this one.
    pub fn new(frame: &Bytes, frames: usize) -> Waiting {
        let mut channel = Work::default();
        channel.pending.extend((0..frames).map(|number| Deliver {
            channel: ChannelId(1),
            seq: number as u64 + 1,
            frame: frame.clone(),
            exclude: None,
        }));
        Waiting(channel)
    }

    /// Joins what waits for the next round; gives the bytes that each subscriber is sent.
    pub fn join(&mut self) -> Bytes {
        self.0.begin();
        self.0.round.take().map_or_else(Bytes::new, |round| round.joined)
    }
}
