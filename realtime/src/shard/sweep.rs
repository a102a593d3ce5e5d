//! What happens by the clock: pings to the silent, an end to the dead, the slow and the closing; and the drain.
//!
//! The [`Wheel`] says whom to look at in a second; what is due is read off the connection then, since most
//! deadlines move with every frame. Whoever sets a nearer deadline calls [`Shard::look_by`].

use std::time::{Duration, Instant};

use protocol::close::CloseCode;
use protocol::limits::{ACTIVITY_TIMEOUT_SECONDS, PONG_TIMEOUT_SECONDS};

use super::Shard;
use super::closing::CLOSE_SECONDS;
use super::conn::{Conn, Link};
use super::socket::STALLED_SECONDS_MAX;
use super::wheel::{Entry, Wheel};
use crate::frame;

/// Closing all sockets in turn.
#[derive(Debug)]
pub(super) struct Drain {
    started: Instant,
    over: Duration,
    reason: &'static str,
    all: usize,
    /// Sockets still to close, with their generation.
    left: Vec<(usize, u32)>,
}

/// What the clock has to say about a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    /// Its good-bye was not answered.
    Over,
    /// An HTTP client that stays away.
    Lost,
    Stalled,
    NoPong,
    Unauthorized,
    Silent,
    /// Nothing yet: look again at this second.
    At(u32),
}

impl Conn {
    fn due(&mut self, now: u32) -> Due {
        if self.is_lost(now) {
            return Due::Lost;
        }
        let silent = self.last_seen + ACTIVITY_TIMEOUT_SECONDS;
        let deadlines = [
            (self.closing_until, Due::Over),
            (self.stalled_since().map(|since| since + STALLED_SECONDS_MAX), Due::Stalled),
            (self.pinged.map(|at| at + PONG_TIMEOUT_SECONDS), Due::NoPong),
            (self.session.as_ref().and_then(|s| s.authorize_by), Due::Unauthorized),
            (self.pinged.or(self.closing_until).is_none().then_some(silent), Due::Silent),
            // What an HTTP client does is seen in its outbox only.
            (matches!(self.link, Link::Http(_)).then_some(now + 1), Due::At(now + 1)),
        ];
        let due = deadlines.iter().find(|(at, _)| at.is_some_and(|at| at <= now));
        let next = || deadlines.iter().filter_map(|(at, _)| *at).min().unwrap_or(now + 1);
        due.map_or_else(|| Due::At(next()), |(_, due)| *due)
    }
}

/// [`Shard::look_by`], where the connection is at hand.
pub(super) fn look_by(wheel: &mut Wheel, conn: &mut Conn, index: usize, second: u32) {
    if second < conn.look_at {
        conn.look_at = wheel.enter(Entry { index: index as u32, generation: conn.generation }, second);
    }
}

impl Shard {
    /// Looks at the connections whose second has come, and closes the next ones of a drain.
    pub(super) fn sweep(&mut self) {
        self.go_on_draining();
        while let Some((second, entries)) = self.wheel.turn(self.now) {
            for Entry { index, generation } in entries {
                let is_here = |c: &Conn| c.generation == generation && c.look_at == second;
                if self.conns.get(index as usize).is_some_and(is_here) {
                    self.guarded(index as usize, Shard::look);
                }
            }
        }
    }

    /// Has the connection looked at by this second.
    pub(super) fn look_by(&mut self, index: usize, second: u32) {
        if let Some(conn) = self.conns.get_mut(index) {
            look_by(&mut self.wheel, conn, index, second);
        }
    }

    fn look(&mut self, index: usize) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(index) else { return };
        conn.look_at = u32::MAX;
        match conn.due(now) {
            Due::Over => self.end(index, None, "closed"),
            Due::Lost => self.end(index, Some(1_006), "connection lost"),
            Due::Stalled => {
                self.end(index, Some(CloseCode::OverCapacity.code()), "slow reader: nothing read for 10 s");
            }
            Due::NoPong => self.close(index, CloseCode::NoPong.code(), "No answer to a ping"),
            Due::Unauthorized => {
                let reason = "Connection not authorized within timeout: sign in, or join a private or presence channel";
                self.close(index, CloseCode::Unauthorized.code(), reason);
            }
            Due::Silent => {
                conn.pinged = Some(now);
                self.send(index, &frame::ping());
            }
            Due::At(second) => return self.look_by(index, second),
        }
        // Whatever was done, the next thing to wait for is another one now.
        if let Some(conn) = self.conns.get_mut(index)
            && let Due::At(second) = conn.due(now)
        {
            self.look_by(index, second);
        }
    }

    /// No more of this peer is wanted: our side is shut, and the socket goes when the peer has seen that.
    pub(super) fn end_gently(&mut self, index: usize) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        conn.closing_until = Some(self.now + CLOSE_SECONDS);
        conn.shut();
        self.look_by(index, self.now + CLOSE_SECONDS);
    }

    pub(super) fn begin_drain(&mut self, over: Duration, reason: &'static str) {
        let mut left: Vec<(usize, u32)> = self.conns.iter().map(|(i, c)| (i, c.generation)).collect();
        // In no order that means anything, so that neighbours don't come back together.
        for i in (1..left.len()).rev() {
            left.swap(i, rand::random_range(0..=i));
        }
        self.drain = Some(Drain { started: Instant::now(), over, reason, all: left.len(), left });
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
        let reason = drain.reason;
        if drain.left.is_empty() {
            self.drain = None;
        }
        for (index, generation) in now {
            if self.conns.get(index).is_some_and(|c| c.generation == generation) {
                self.guarded(index, |shard, index| {
                    shard.close(index, CloseCode::Reconnect.code(), reason);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use protocol::limits::AUTHORIZE_SECONDS;

    use super::*;
    use crate::app::{AppSnapshot, Features};
    use crate::meter::Permit;
    use crate::shard::Starter;
    use crate::shard::conn::{Carrier, NewConn, Verdict};
    use crate::testing::node_with;
    use crate::transport::Transport;

    /// A shard whose clock the test moves, and the other end of its one socket.
    async fn shard_with_a_socket() -> (Shard, std::net::TcpStream) {
        shard_with_a_socket_of(crate::app::tests::snapshot()).await
    }

    async fn shard_with_a_socket_of(snapshot: AppSnapshot) -> (Shard, std::net::TcpStream) {
        let (node, app) = node_with(snapshot).await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut shard = Starter::new().unwrap().shard(0, node);
        let waits = app.snapshot().features.authorized_connections;
        let permit = if waits { Permit::unauthorized(&app).unwrap() } else { Permit::take(&app).unwrap() };
        shard.connect(NewConn {
            carrier: Carrier::Socket {
                stream: mio::net::TcpStream::from_std(stream),
                tls: None,
                answer: bytes::Bytes::new(),
                early: bytes::Bytes::new(),
            },
            transport: Transport::WebSocket,
            verdict: Verdict::Admit { app, permit: permit.with_key("key"), key: "key".into() },
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

    fn wants_authorization(connections_max: u64) -> AppSnapshot {
        let mut snapshot = crate::app::tests::snapshot();
        snapshot.features = Features { authorized_connections: true, ..Features::default() };
        snapshot.limits.connections_max = Some(connections_max);
        snapshot
    }

    fn sign_in(shard: &mut Shard, id: &str) {
        let socket_id = shard.conns[0].session.as_ref().unwrap().socket_id.to_string();
        let data = format!(r#"{{"id":"{id}"}}"#);
        let auth = format!("key:{}", protocol::signature::user_auth("hush", &socket_id, &data));
        let frame =
            serde_json::json!({ "event": "pusher:signin", "data": { "auth": auth, "user_data": data } });
        shard.message(0, &frame.to_string());
    }

    fn close_code(peer: &mut std::net::TcpStream) -> u16 {
        let mut bytes = Vec::new();
        let mut buffer = [0; 1_024];
        loop {
            let n = peer.read(&mut buffer).unwrap();
            bytes.extend_from_slice(&buffer[..n]);
            // The close frame is the only one that starts so; our texts are ASCII.
            if let Some(at) = bytes.iter().position(|b| *b == 0x88) {
                return u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]);
            }
            assert!(n > 0, "ended without a close frame");
        }
    }

    #[tokio::test]
    async fn who_is_not_authorized_in_time_is_closed_with_4009_and_never_counted() {
        let (mut shard, mut peer) = shard_with_a_socket_of(wants_authorization(5)).await;
        let app = shard.node.apps().loaded(1001).unwrap();
        shard.message(0, r#"{"event":"pusher:subscribe","data":{"channel":"public"}}"#);
        at(&mut shard, AUTHORIZE_SECONDS - 1);
        assert!(shard.conns[0].closing_until.is_none());
        assert_eq!((app.usage().connections, app.meter.open()), (0, 1));
        at(&mut shard, AUTHORIZE_SECONDS);
        assert_eq!(close_code(&mut peer), 4_009);
        assert_eq!(app.meter.open(), 0);
    }

    #[tokio::test]
    async fn who_signs_in_or_joins_a_private_channel_stays_and_counts() {
        for private in [false, true] {
            let (mut shard, _peer) = shard_with_a_socket_of(wants_authorization(5)).await;
            let app = shard.node.apps().loaded(1001).unwrap();
            if private {
                let socket_id = shard.conns[0].session.as_ref().unwrap().socket_id.to_string();
                let auth = protocol::signature::channel_auth("hush", &socket_id, "private-a", None);
                let data = serde_json::json!({ "channel": "private-a", "auth": format!("key:{auth}") });
                shard.message(
                    0,
                    &serde_json::json!({ "event": "pusher:subscribe", "data": data }).to_string(),
                );
            } else {
                sign_in(&mut shard, "ana");
            }
            at(&mut shard, AUTHORIZE_SECONDS);
            assert!(shard.conns[0].closing_until.is_none());
            assert_eq!((app.usage().connections, app.meter.open()), (1, 1));
        }
    }

    #[tokio::test]
    async fn who_is_authorized_when_all_places_are_taken_is_closed_with_4004() {
        let (mut shard, mut peer) = shard_with_a_socket_of(wants_authorization(0)).await;
        sign_in(&mut shard, "ana");
        assert_eq!(close_code(&mut peer), 4_004);
    }

    #[tokio::test]
    async fn who_is_authorized_when_all_places_are_taken_may_come_back_where_the_app_wants_it() {
        let mut snapshot = wants_authorization(0);
        snapshot.features.retry_over_limit = true;
        let (mut shard, mut peer) = shard_with_a_socket_of(snapshot).await;
        sign_in(&mut shard, "ana");
        assert_eq!(close_code(&mut peer), 4_100);
    }

    #[tokio::test]
    async fn a_terminated_user_loses_its_connections_and_is_forgotten() {
        let (mut shard, mut peer) = shard_with_a_socket().await;
        let app = shard.node.apps().loaded(1001).unwrap();
        sign_in(&mut shard, "ana");
        let places = app.users.places("ana");
        assert_eq!((places.len(), app.users.places("ben").len()), (1, 0));
        shard.carry_out(super::super::Command::Close(places[0], 4_009, "ended".into()));
        assert_eq!(close_code(&mut peer), 4_009);
        assert!(app.users.places("ana").is_empty());
    }
}
