//! What happens by the clock, once a second: pings to the silent, an end to the dead, the slow and the closing; and the
//! drain.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use protocol::close::CloseCode;
use protocol::limits::{ACTIVITY_TIMEOUT_SECONDS, PONG_TIMEOUT_SECONDS};

use super::conn::STALLED_SECONDS_MAX;
use super::{CLOSE_SECONDS, Shard};
use crate::frame;

/// Closing all sockets in turn.
#[derive(Debug)]
pub(super) struct Drain {
    started: Instant,
    over: Duration,
    all: usize,
    /// Sockets still to close, with their generation.
    left: Vec<(usize, u32)>,
}

impl Shard {
    pub(super) fn sweep(&mut self) {
        self.go_on_draining();
        if self.swept == self.now {
            return;
        }
        self.swept = self.now;
        let now = self.now;
        let mut due = Vec::new();
        for (index, conn) in &self.conns {
            let stalled = conn.stalled_since().is_some_and(|(_, since)| now - since >= STALLED_SECONDS_MAX);
            let silent = now - conn.last_seen >= ACTIVITY_TIMEOUT_SECONDS;
            let unanswered = conn.pinged.is_some_and(|at| now - at >= PONG_TIMEOUT_SECONDS);
            let over = conn.closing_until.is_some_and(|at| now >= at);
            if stalled
                || over
                || unanswered
                || silent && conn.pinged.is_none() && conn.closing_until.is_none()
            {
                due.push((index, over, stalled, unanswered));
            }
        }
        for (index, over, stalled, unanswered) in due {
            self.guarded(index, |shard, index| {
                if over {
                    shard.end(index, None, "closed");
                } else if stalled {
                    shard.end(
                        index,
                        Some(CloseCode::OverCapacity.code()),
                        "slow reader: nothing read for 10 s",
                    );
                } else if unanswered {
                    shard.close(index, CloseCode::NoPong.code(), "No answer to a ping");
                } else {
                    shard.conns[index].pinged = Some(now);
                    shard.send(index, &frame::ping());
                }
            });
        }
    }

    /// No more of this peer is wanted: our side is shut, and the socket goes when the peer has seen that.
    pub(super) fn end_gently(&mut self, index: usize) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        conn.closing_until = Some(self.now + CLOSE_SECONDS);
        conn.deaf = true;
        let _ = conn.stream.shutdown(Shutdown::Write);
    }

    pub(super) fn begin_drain(&mut self, over: Duration) {
        let mut left: Vec<(usize, u32)> = self.conns.iter().map(|(i, c)| (i, c.generation)).collect();
        // In no order that means anything, so that neighbours don't come back together.
        for i in (1..left.len()).rev() {
            left.swap(i, rand::random_range(0..=i));
        }
        self.drain = Some(Drain { started: Instant::now(), over, all: left.len(), left });
    }

    fn go_on_draining(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let part = if drain.over.is_zero() {
            1.0
        } else {
            drain.started.elapsed().as_secs_f64() / drain.over.as_secs_f64()
        };
        let keep = (drain.all as f64 * (1.0 - part.min(1.0))) as usize;
        let now = drain.left.split_off(keep.min(drain.left.len()));
        for (index, generation) in now {
            if self.conns.get(index).is_some_and(|c| c.generation == generation) {
                self.guarded(index, |shard, index| {
                    shard.close(index, CloseCode::Reconnect.code(), "The server is restarting: reconnect");
                });
            }
        }
    }
}
