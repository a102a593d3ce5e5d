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
            let unauthorized = conn.session.as_ref().and_then(|s| s.authorize_by).is_some_and(|by| now >= by);
            if stalled
                || unauthorized
                || over
                || unanswered
                || silent && conn.pinged.is_none() && conn.closing_until.is_none()
            {
                due.push((index, over, stalled, unanswered, unauthorized));
            }
        }
        for (index, over, stalled, unanswered, unauthorized) in due {
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
                } else if unauthorized {
                    let reason = "Connection not authorized within timeout: sign in, or join a private or presence channel";
                    shard.close(index, CloseCode::Unauthorized.code(), reason);
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::*;
    use crate::apps::{AppRecord, AppSource, SourceError};
    use crate::meter::Permit;
    use crate::node::{Node, NodeConfig};
    use crate::shard::Starter;
    use crate::shard::conn::{NewConn, Verdict};
    use crate::usage::{BoxFuture, UsageDelta, UsageSink};

    struct OneApp;

    impl AppSource for OneApp {
        fn by_key<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<AppRecord>, SourceError>> {
            self.by_id(1001)
        }

        fn by_id(&self, id: u64) -> BoxFuture<'_, Result<Option<AppRecord>, SourceError>> {
            let snapshot = crate::app::AppSnapshot { id, ..crate::app::tests::snapshot() };
            Box::pin(async { Ok(Some(AppRecord { snapshot, day: 0, scope_messages: 0, app_messages: 0 })) })
        }
    }

    impl UsageSink for OneApp {
        fn add(&self, _: Vec<UsageDelta>) -> BoxFuture<'_, Result<(), SourceError>> {
            Box::pin(async { Ok(()) })
        }
    }

    /// A shard whose clock the test moves, and the other end of its one socket.
    async fn shard_with_a_socket() -> (Shard, std::net::TcpStream) {
        let config = NodeConfig { workers: 1 };
        let node = Node::start(config, Arc::new(OneApp), Arc::new(OneApp)).await.unwrap();
        let app = node.apps().find_by_id(1001).await.unwrap().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut shard = Starter::new().unwrap().shard(0, node);
        let permit = Permit::take(&app).unwrap();
        shard.connect(NewConn {
            stream,
            early: bytes::Bytes::new(),
            verdict: Verdict::Admit { app, permit, key: "key".into() },
            ip: std::net::Ipv4Addr::LOCALHOST.into(),
            sdk: None,
            origin: None,
            protocol: 7,
        });
        (shard, peer)
    }

    fn at(shard: &mut Shard, second: u32) {
        shard.now = second;
        shard.sweep();
    }

    #[tokio::test]
    async fn a_silent_socket_is_pinged_then_closed_with_4201() {
        let (mut shard, mut peer) = shard_with_a_socket().await;
        let mut buffer = [0; 1_024];
        let established = peer.read(&mut buffer).unwrap();
        assert!(String::from_utf8_lossy(&buffer[..established]).contains("connection_established"));
        at(&mut shard, ACTIVITY_TIMEOUT_SECONDS - 1);
        at(&mut shard, ACTIVITY_TIMEOUT_SECONDS);
        assert_eq!(peer.read(&mut buffer).unwrap(), 2);
        assert_eq!(buffer[..2], [0x89, 0], "one ping, and not before its time");
        at(&mut shard, ACTIVITY_TIMEOUT_SECONDS + PONG_TIMEOUT_SECONDS - 1);
        at(&mut shard, ACTIVITY_TIMEOUT_SECONDS + PONG_TIMEOUT_SECONDS);
        let n = peer.read(&mut buffer).unwrap();
        assert_eq!(buffer[0], 0x88);
        assert_eq!(u16::from_be_bytes([buffer[2], buffer[3]]), 4_201, "{:?}", &buffer[..n]);
        assert_eq!(shard.conns.len(), 1, "the peer may still answer");
        at(&mut shard, ACTIVITY_TIMEOUT_SECONDS + PONG_TIMEOUT_SECONDS + CLOSE_SECONDS);
        assert!(shard.conns.is_empty());
    }

    #[tokio::test]
    async fn any_frame_is_a_sign_of_life() {
        let (mut shard, _peer) = shard_with_a_socket().await;
        at(&mut shard, ACTIVITY_TIMEOUT_SECONDS);
        shard.feed(0, &[0x8a, 0x80, 0, 0, 0, 0]); // a masked pong
        at(&mut shard, ACTIVITY_TIMEOUT_SECONDS + PONG_TIMEOUT_SECONDS);
        assert!(shard.conns[0].closing_until.is_none() && shard.conns[0].pinged.is_none());
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_for_ten_seconds_is_cut_off() {
        let (mut shard, _peer) = shard_with_a_socket().await;
        let frame = frame::text(&[b'x'; 64 * 1_024]);
        while shard.conns[0].stalled_since().is_none() {
            shard.send(0, &frame); // until the kernel takes no more
        }
        at(&mut shard, STALLED_SECONDS_MAX - 1);
        assert_eq!(shard.conns.len(), 1);
        at(&mut shard, STALLED_SECONDS_MAX);
        assert!(shard.conns.is_empty());
        let app = shard.node.apps().loaded(1001).unwrap();
        let row = app.console.after(None, 10).rows.pop().unwrap();
        assert_eq!((row.kind, row.code), (crate::console::Kind::Disconnection, Some(4_100)));
        assert!(row.details.contains("nothing read for 10 s"), "{}", row.details);
    }
}
