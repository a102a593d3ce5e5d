//! What a node has to tell Redis, in order. Publications are bounded by bytes: the door holds back while it is full, as it does
//! for a shard that is behind. What changes stands once per channel, so it is bounded by the channels that are held.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::app::App;

/// Bytes of publications that wait for Redis beyond which new ones are held back.
pub(crate) const WAITING_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Commands of one pipeline; the next one is filled while it is under way.
const BATCH_OPS: usize = 2_048;
const BATCH_BYTES: usize = 2 * 1_024 * 1_024;

/// What is done with an answer.
pub(crate) type Then = Box<dyn FnOnce(redis::Value) + Send>;

/// A command for Redis.
pub(crate) enum Op {
    /// Tell a topic; keep the frame, where a cache channel has it.
    Publish { topic: String, payload: Bytes, cache: Option<(String, Bytes)> },
    /// Listen to a channel.
    Listen(Arc<App>, Arc<str>),
    /// Listen to a channel, and ask what others have of it.
    Attach(Arc<App>, Arc<str>),
    /// Listen no more.
    Detach(u64, Arc<str>),
    /// Tell our part of a channel, as it is when its turn comes.
    Part(Arc<App>, Arc<str>),
    /// Ask something, and do this with the answer.
    Then(redis::Cmd, Then),
    /// Ask something.
    Ask(redis::Cmd, oneshot::Sender<redis::Value>),
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Op::Publish { payload, cache, .. } => {
                payload.len() + cache.as_ref().map_or(0, |(_, f)| f.len()) + 128
            }
            _ => 0,
        }
    }
}

#[derive(Default)]
pub(crate) struct Queue {
    ops: Mutex<VecDeque<Op>>,
    bytes: AtomicUsize,
    pub(crate) news: Notify,
}

impl Queue {
    pub(crate) fn push(&self, op: Op) {
        self.push_with(|| op);
    }

    /// Pushes what `make` makes at its place in the order.
    pub(crate) fn push_with(&self, make: impl FnOnce() -> Op) {
        let mut ops = self.ops.lock();
        let op = make();
        self.bytes.fetch_add(op.bytes(), Relaxed);
        ops.push_back(op);
        drop(ops);
        self.news.notify_one();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ops.lock().is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Relaxed) > WAITING_BYTES_MAX
    }

    /// The next ones that go together.
    pub(crate) fn take(&self) -> Vec<Op> {
        let mut ops = self.ops.lock();
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH_OPS.min(ops.len()) && bytes < BATCH_BYTES {
            bytes += ops[count].bytes();
            count += 1;
        }
        self.bytes.fetch_sub(bytes, Relaxed);
        ops.drain(..count).collect()
    }

    /// Publications that may not have arrived go again, before all others; the rest is told anew in another way.
    pub(crate) fn again(&self, failed: Vec<Op>) {
        let mut ops = self.ops.lock();
        for op in failed.into_iter().rev().filter(|op| matches!(op, Op::Publish { .. })) {
            self.bytes.fetch_add(op.bytes(), Relaxed);
            ops.push_front(op);
        }
    }

    /// Takes the publications out, which are to go later.
    pub(crate) fn take_publications(&self) -> Vec<Op> {
        let mut ops = self.ops.lock();
        let (publications, rest): (VecDeque<Op>, VecDeque<Op>) =
            std::mem::take(&mut *ops).into_iter().partition(|op| matches!(op, Op::Publish { .. }));
        *ops = rest;
        self.bytes.fetch_sub(publications.iter().map(Op::bytes).sum(), Relaxed);
        publications.into()
    }

    /// Forgets what is told anew after a break: all but publications.
    pub(crate) fn forget_states(&self) {
        self.ops.lock().retain(|op| matches!(op, Op::Publish { .. }));
    }
}
